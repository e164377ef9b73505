# Load balancers as people describe them: an application load balancer with a redirect to HTTPS,
# weighted groups, rules of every kind and certificates, and a network load balancer with TCP.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}

variable "region" {
  type = string
}

variable "name" {
  type = string
}

variable "certificate" {
  type = string
}

variable "key" {
  type = string
}

variable "path" {
  type    = string
  default = "/up"
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Suite = var.name
    }
  }
}

data "aws_vpc" "this" {
  default = true
}

data "aws_subnets" "this" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.this.id]
  }
}

resource "aws_security_group" "web" {
  name        = var.name
  description = "The web"
  vpc_id      = data.aws_vpc.this.id

  ingress {
    from_port   = 80
    to_port     = 80
    protocol    = "tcp"
    cidr_blocks = ["0.0.0.0/0"]
  }
}

resource "aws_lb" "web" {
  name                       = var.name
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.web.id]
  subnets                    = data.aws_subnets.this.ids
  idle_timeout               = 90
  client_keep_alive          = 1800
  drop_invalid_header_fields = true
  desync_mitigation_mode     = "strictest"
  preserve_host_header       = true
  xff_header_processing_mode = "preserve"
  enable_http2               = false
  enable_deletion_protection = false
}

resource "aws_lb_target_group" "blue" {
  name                          = "${var.name}-b"
  port                          = 8080
  protocol                      = "HTTP"
  target_type                   = "ip"
  vpc_id                        = data.aws_vpc.this.id
  deregistration_delay          = 5
  slow_start                    = 30
  load_balancing_algorithm_type = "round_robin"

  health_check {
    path                = var.path
    matcher             = "200-299"
    interval            = 10
    timeout             = 4
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  stickiness {
    type            = "lb_cookie"
    cookie_duration = 3600
  }
}

resource "aws_lb_target_group" "green" {
  name_prefix      = "green-"
  port             = 50051
  protocol         = "HTTP"
  protocol_version = "GRPC"
  target_type      = "ip"
  vpc_id           = data.aws_vpc.this.id

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_target_group_attachment" "outside" {
  target_group_arn  = aws_lb_target_group.blue.arn
  target_id         = "192.168.77.1"
  port              = 9090
  availability_zone = "all"
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.web.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_acm_certificate" "web" {
  certificate_body = var.certificate
  private_key      = var.key
}

resource "aws_acm_certificate" "more" {
  certificate_body = var.certificate
  private_key      = var.key
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.web.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = aws_acm_certificate.web.arn

  default_action {
    type = "forward"

    forward {
      target_group {
        arn    = aws_lb_target_group.blue.arn
        weight = 90
      }

      target_group {
        arn    = aws_lb_target_group.green.arn
        weight = 10
      }
    }
  }
}

resource "aws_lb_listener_certificate" "more" {
  listener_arn    = aws_lb_listener.https.arn
  certificate_arn = aws_acm_certificate.more.arn
}

resource "aws_lb_listener_rule" "forward" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 100

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.blue.arn
  }

  condition {
    path_pattern {
      values = ["/static/*"]
    }
  }

  condition {
    host_header {
      values = ["*.example.com"]
    }
  }
}

resource "aws_lb_listener_rule" "weighted" {
  listener_arn = aws_lb_listener.https.arn
  priority     = 110

  action {
    type = "forward"

    forward {
      target_group {
        arn    = aws_lb_target_group.blue.arn
        weight = 1
      }

      target_group {
        arn    = aws_lb_target_group.green.arn
        weight = 2
      }

      stickiness {
        enabled  = true
        duration = 60
      }
    }
  }

  condition {
    http_header {
      http_header_name = "X-Team"
      values           = ["blue", "green"]
    }
  }

  condition {
    source_ip {
      values = ["10.0.0.0/8"]
    }
  }
}

# Without a priority: the next one that is free.
resource "aws_lb_listener_rule" "fixed" {
  listener_arn = aws_lb_listener.https.arn

  action {
    type = "fixed-response"

    fixed_response {
      content_type = "text/plain"
      message_body = "healthy"
      status_code  = "200"
    }
  }

  condition {
    query_string {
      key   = "health"
      value = "check"
    }

    query_string {
      value = "bar"
    }
  }

  condition {
    http_request_method {
      values = ["GET"]
    }
  }

  tags = {
    Name = "fixed"
  }
}

resource "aws_lb" "inside" {
  name                             = "${var.name}-n"
  internal                         = true
  load_balancer_type               = "network"
  subnets                          = slice(data.aws_subnets.this.ids, 0, 1)
  enable_cross_zone_load_balancing = true
}

resource "aws_lb_target_group" "tcp" {
  name        = "${var.name}-t"
  port        = 5432
  protocol    = "TCP"
  target_type = "ip"
  vpc_id      = data.aws_vpc.this.id

  health_check {
    protocol = "TCP"
    interval = 10
  }
}

resource "aws_lb_listener" "tcp" {
  load_balancer_arn = aws_lb.inside.arn
  port              = 5432
  protocol          = "TCP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.tcp.arn
  }
}

data "aws_lb" "web" {
  name       = aws_lb.web.name
  depends_on = [aws_lb_listener.https]
}

data "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.web.arn
  port              = 443
  depends_on        = [aws_lb_listener.https]
}

data "aws_lb_target_group" "blue" {
  name       = aws_lb_target_group.blue.name
  depends_on = [aws_lb_listener.https]
}

output "arn" {
  value = data.aws_lb.web.arn
}
