# A repository with its policies, a pull-through cache, a secret and a parameter: what a team's first
# configuration has beside its network.

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

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Suite = var.name
    }
  }
}

resource "aws_ecr_repository" "web" {
  name                 = "${var.name}/web"
  image_tag_mutability = "IMMUTABLE"

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "web" {
  repository = aws_ecr_repository.web.name

  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep last 30 images"
      selection = {
        tagStatus     = "tagged"
        tagPrefixList = ["v"]
        countType     = "imageCountMoreThan"
        countNumber   = 30
      }
      action = { type = "expire" }
    }]
  })
}

resource "aws_ecr_repository_policy" "web" {
  repository = aws_ecr_repository.web.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "pull"
      Effect    = "Allow"
      Principal = "*"
      Action    = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    }]
  })
}

resource "aws_ecr_pull_through_cache_rule" "quay" {
  ecr_repository_prefix = substr(var.name, 0, 20)
  upstream_registry_url = "quay.io"
}

resource "aws_secretsmanager_secret" "db" {
  name                    = "${var.name}/db"
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "db" {
  secret_id     = aws_secretsmanager_secret.db.id
  secret_string = jsonencode({ user = "ada" })
}

resource "aws_ssm_parameter" "token" {
  name  = "/${var.name}/token"
  type  = "SecureString"
  value = "t0ken"
}

data "aws_ssm_parameter" "fluentbit" {
  name = "/aws/service/aws-for-fluent-bit/stable"
}

data "aws_secretsmanager_random_password" "password" {
  password_length = 20
}

output "secret" {
  value = aws_secretsmanager_secret.db.arn
}
