# A Fargate service behind a load balancer with all that people's ECS modules make around it: a VPC
# whose defaults are adopted, private subnets behind a NAT gateway, roles and policies, log groups,
# capacity providers, scaling by target tracking and by schedule, a Cloud Map namespace, a parameter
# that is looked up, rules of security groups of both kinds, a definition that is not run.

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

variable "image" {
  type = string
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Suite = var.name
    }
  }
}

data "aws_availability_zones" "available" {
  state = "available"
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

data "aws_ssm_parameter" "fluentbit" {
  name = "/aws/service/aws-for-fluent-bit/stable"
}

locals {
  zones = slice(data.aws_availability_zones.available.names, 0, 2)
  port  = 80

  # Rules of the default ACL, by their number.
  any = {
    100 = { cidr_block = "0.0.0.0/0", ipv6_cidr_block = null }
    101 = { cidr_block = null, ipv6_cidr_block = "::/0" }
  }
}

# The network: the load balancer is in public subnets, the tasks are in private ones.

resource "aws_vpc" "this" {
  cidr_block           = "10.66.0.0/16"
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_default_route_table" "this" {
  default_route_table_id = aws_vpc.this.default_route_table_id

  timeouts {
    create = "5m"
    update = "5m"
  }
}

resource "aws_default_network_acl" "this" {
  default_network_acl_id = aws_vpc.this.default_network_acl_id

  dynamic "ingress" {
    for_each = local.any

    content {
      rule_no         = ingress.key
      action          = "allow"
      protocol        = "-1"
      from_port       = 0
      to_port         = 0
      cidr_block      = ingress.value.cidr_block
      ipv6_cidr_block = ingress.value.ipv6_cidr_block
    }
  }

  dynamic "egress" {
    for_each = local.any

    content {
      rule_no         = egress.key
      action          = "allow"
      protocol        = "-1"
      from_port       = 0
      to_port         = 0
      cidr_block      = egress.value.cidr_block
      ipv6_cidr_block = egress.value.ipv6_cidr_block
    }
  }

  # Subnets that are made are its own by themselves.
  lifecycle {
    ignore_changes = [subnet_ids]
  }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_subnet" "public" {
  count             = 2
  vpc_id            = aws_vpc.this.id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(aws_vpc.this.cidr_block, 8, count.index)
}

resource "aws_subnet" "private" {
  count             = 2
  vpc_id            = aws_vpc.this.id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(aws_vpc.this.cidr_block, 4, 1 + count.index)
}

resource "aws_eip" "nat" {
  domain     = "vpc"
  depends_on = [aws_internet_gateway.this]
}

resource "aws_nat_gateway" "this" {
  allocation_id = aws_eip.nat.id
  subnet_id     = aws_subnet.public[0].id
  depends_on    = [aws_internet_gateway.this]
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id
}

resource "aws_route_table" "private" {
  vpc_id = aws_vpc.this.id
}

resource "aws_route" "internet" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id

  timeouts {
    create = "5m"
  }
}

resource "aws_route" "nat" {
  route_table_id         = aws_route_table.private.id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this.id

  timeouts {
    create = "5m"
  }
}

resource "aws_route_table_association" "public" {
  count          = 2
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table_association" "private" {
  count          = 2
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private.id
}

# Modules that are given subnets only ask these for their VPC.
data "aws_subnet" "first" {
  id = aws_subnet.private[0].id
}

resource "aws_security_group" "balancer" {
  name_prefix = "${var.name}-lb-"
  description = "Of the load balancer"
  vpc_id      = aws_vpc.this.id

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "http" {
  security_group_id = aws_security_group.balancer.id
  from_port         = 80
  to_port           = 80
  ip_protocol       = "tcp"
  cidr_ipv4         = "0.0.0.0/0"
  tags              = { Name = "http" }
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  security_group_id = aws_security_group.balancer.id
  ip_protocol       = "-1"
  cidr_ipv4         = aws_vpc.this.cidr_block
}

resource "aws_security_group" "service" {
  name_prefix = "${var.name}-svc-"
  vpc_id      = data.aws_subnet.first.vpc_id

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_security_group_rule" "from_balancer" {
  security_group_id        = aws_security_group.service.id
  type                     = "ingress"
  from_port                = local.port
  to_port                  = local.port
  protocol                 = "tcp"
  description              = "Service port"
  source_security_group_id = aws_security_group.balancer.id
}

resource "aws_security_group_rule" "to_all" {
  security_group_id = aws_security_group.service.id
  type              = "egress"
  from_port         = 0
  to_port           = 0
  protocol          = "-1"
  cidr_blocks       = ["0.0.0.0/0"]
}

# The load balancer.

resource "aws_lb" "this" {
  name                       = var.name
  load_balancer_type         = "application"
  subnets                    = aws_subnet.public[*].id
  security_groups            = [aws_security_group.balancer.id]
  enable_deletion_protection = false
  drop_invalid_header_fields = true

  timeouts {
    create = "4m"
  }
}

resource "aws_lb_target_group" "this" {
  name_prefix          = "tf-"
  port                 = local.port
  protocol             = "HTTP"
  target_type          = "ip"
  vpc_id               = aws_vpc.this.id
  deregistration_delay = 5

  load_balancing_cross_zone_enabled = true

  health_check {
    enabled             = true
    healthy_threshold   = 2
    interval            = 5
    matcher             = "200"
    path                = "/"
    port                = "traffic-port"
    protocol            = "HTTP"
    timeout             = 2
    unhealthy_threshold = 2
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "forward"

    forward {
      target_group {
        arn    = aws_lb_target_group.this.arn
        weight = 1
      }
    }
  }
}

resource "aws_lb_listener_rule" "teapot" {
  listener_arn = aws_lb_listener.http.arn
  priority     = 10

  action {
    type = "fixed-response"

    fixed_response {
      content_type = "text/plain"
      message_body = "short and stout"
      status_code  = "418"
    }
  }

  condition {
    path_pattern {
      values = ["/teapot"]
    }
  }
}

# Roles, policies, log groups.

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values = [join(":", [
        "arn", data.aws_partition.current.partition, "ecs", data.aws_region.current.name,
        data.aws_caller_identity.current.account_id, "*",
      ])]
    }
  }
}

resource "aws_iam_role" "execution" {
  name_prefix        = "${var.name}-exec-"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role" "task" {
  name_prefix           = "${var.name}-task-"
  description           = "Role of the tasks"
  assume_role_policy    = data.aws_iam_policy_document.assume.json
  force_detach_policies = true
}

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["*"]
  }
}

resource "aws_iam_policy" "execution" {
  name_prefix = "${var.name}-exec-"
  policy      = data.aws_iam_policy_document.execution.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = aws_iam_policy.execution.arn
}

resource "aws_iam_role_policy_attachment" "managed" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy" "task" {
  name_prefix = "messages-"
  role        = aws_iam_role.task.id
  policy      = data.aws_iam_policy_document.execution.json
}

resource "aws_cloudwatch_log_group" "cluster" {
  name              = "/aws/ecs/${var.name}"
  retention_in_days = 90
}

resource "aws_cloudwatch_log_group" "web" {
  name              = "/aws/ecs/${var.name}/web"
  retention_in_days = 30
}

# The cluster, the definition, the service.

resource "aws_ecs_cluster" "this" {
  name = var.name

  configuration {
    execute_command_configuration {
      logging = "DEFAULT"
    }
  }

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 50
    base              = 20
  }

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE_SPOT"
    weight            = 50
  }
}

resource "aws_service_discovery_http_namespace" "this" {
  name        = var.name
  description = "Cloud Map namespace of ${var.name}"
}

resource "aws_ecs_task_definition" "web" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  runtime_platform {
    cpu_architecture        = "X86_64"
    operating_system_family = "LINUX"
  }

  container_definitions = jsonencode([{
    name      = "web"
    image     = var.image
    essential = true
    environment = [{
      name  = "FLUENT_BIT"
      value = nonsensitive(data.aws_ssm_parameter.fluentbit.value)
    }]
    portMappings = [{
      name          = "web"
      containerPort = local.port
      hostPort      = local.port
      protocol      = "tcp"
    }]
    linuxParameters = {
      capabilities       = { add = [], drop = ["NET_RAW"] }
      initProcessEnabled = false
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.web.name
        awslogs-region        = data.aws_region.current.name
        awslogs-stream-prefix = "ecs"
      }
    }
    mountPoints            = []
    volumesFrom            = []
    readonlyRootFilesystem = false
  }])
}

# What nobody here could run is kept all the same: another architecture, and FireLens.
resource "aws_ecs_task_definition" "standalone" {
  family                   = "${var.name}-standalone"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 1024
  memory                   = 4096
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  runtime_platform {
    cpu_architecture        = "ARM64"
    operating_system_family = "LINUX"
  }

  volume {
    name = "scratch"
  }

  container_definitions = jsonencode([
    {
      name                  = "fluent-bit"
      image                 = nonsensitive(data.aws_ssm_parameter.fluentbit.value)
      cpu                   = 512
      memory                = 1024
      memoryReservation     = 50
      essential             = true
      user                  = "0"
      environment           = []
      firelensConfiguration = { type = "fluentbit" }
      linuxParameters       = { initProcessEnabled = true }
      systemControls        = []
      volumesFrom           = []
    },
    {
      name              = "app"
      image             = "public.ecr.aws/amazonlinux/amazonlinux:2023-minimal"
      cpu               = 512
      memory            = 1024
      memoryReservation = 100
      essential         = true
      command           = ["echo hello world"]
      entryPoint        = ["/usr/bin/sh", "-c"]
      dependsOn         = [{ containerName = "fluent-bit", condition = "START" }]
      interactive       = false
      privileged        = false
      pseudoTerminal    = false
      startTimeout      = 30
      stopTimeout       = 120
      user              = "0"
      mountPoints       = [{ sourceVolume = "scratch", containerPath = "/var/www/scratch" }]
      volumesFrom       = [{ sourceContainer = "fluent-bit", readOnly = false }]
      logConfiguration = {
        logDriver = "awsfirelens"
        options = {
          Name                    = "firehose"
          region                  = data.aws_region.current.name
          delivery_stream         = "my-stream"
          log-driver-buffer-limit = "2097152"
        }
      }
    },
  ])

  lifecycle {
    create_before_destroy = true
  }
}

# The newest revision, whoever has registered it.
data "aws_ecs_task_definition" "web" {
  task_definition = aws_ecs_task_definition.web.family
  depends_on      = [aws_ecs_task_definition.web]
}

locals {
  revision = max(aws_ecs_task_definition.web.revision, data.aws_ecs_task_definition.web.revision)
}

resource "aws_ecs_service" "web" {
  name                               = "web"
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = "${aws_ecs_task_definition.web.family}:${local.revision}"
  desired_count                      = 1
  launch_type                        = "FARGATE"
  enable_execute_command             = true
  health_check_grace_period_seconds  = 10
  deployment_minimum_healthy_percent = 66
  deployment_maximum_percent         = 200
  force_new_deployment               = true
  propagate_tags                     = "NONE"
  wait_for_steady_state              = true

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets         = aws_subnet.private[*].id
    security_groups = [aws_security_group.service.id]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "web"
    container_port   = local.port
  }

  service_connect_configuration {
    enabled   = true
    namespace = aws_service_discovery_http_namespace.this.arn

    service {
      port_name      = "web"
      discovery_name = "web"

      client_alias {
        port     = local.port
        dns_name = "web"
      }
    }
  }

  lifecycle {
    ignore_changes = [desired_count]
  }

  depends_on = [aws_lb_listener.http]
}

# Scaling.

resource "aws_appautoscaling_target" "web" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.web.name}"
  min_capacity       = 1
  max_capacity       = 10
}

resource "aws_appautoscaling_policy" "tracking" {
  for_each = {
    cpu    = "ECSServiceAverageCPUUtilization"
    memory = "ECSServiceAverageMemoryUtilization"
  }

  name               = each.key
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.web.service_namespace
  scalable_dimension = aws_appautoscaling_target.web.scalable_dimension
  resource_id        = aws_appautoscaling_target.web.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = 75
    scale_in_cooldown  = 300
    scale_out_cooldown = 60

    predefined_metric_specification {
      predefined_metric_type = each.value
    }
  }
}

resource "aws_appautoscaling_policy" "steps" {
  name               = "steps"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.web.service_namespace
  scalable_dimension = aws_appautoscaling_target.web.scalable_dimension
  resource_id        = aws_appautoscaling_target.web.resource_id

  step_scaling_policy_configuration {
    adjustment_type         = "ChangeInCapacity"
    cooldown                = 60
    metric_aggregation_type = "Maximum"

    step_adjustment {
      metric_interval_lower_bound = 0
      metric_interval_upper_bound = 10
      scaling_adjustment          = 1
    }

    step_adjustment {
      metric_interval_lower_bound = 10
      scaling_adjustment          = 2
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "busy" {
  alarm_name          = "${var.name}-busy"
  namespace           = "AWS/ECS"
  metric_name         = "CPUUtilization"
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  threshold           = 95
  comparison_operator = "GreaterThanOrEqualToThreshold"
  alarm_actions       = [aws_appautoscaling_policy.steps.arn]

  dimensions = {
    ClusterName = aws_ecs_cluster.this.name
    ServiceName = aws_ecs_service.web.name
  }
}

resource "aws_appautoscaling_scheduled_action" "night" {
  name               = "night"
  service_namespace  = aws_appautoscaling_target.web.service_namespace
  scalable_dimension = aws_appautoscaling_target.web.scalable_dimension
  resource_id        = aws_appautoscaling_target.web.resource_id
  schedule           = "cron(0 3 1 1 ? *)"
  timezone           = "UTC"

  scalable_target_action {
    min_capacity = 1
    max_capacity = 2
  }
}

output "url" {
  value = "http://${aws_lb.this.dns_name}/"
}

output "cluster" {
  value = aws_ecs_cluster.this.name
}

output "vpc_id" {
  value = aws_vpc.this.id
}
