//! Policies that AWS manages and people attach without making them. They are there by name; their
//! documents are what they allow in short, as nothing is decided by them here.
//! Source: AWS managed policy reference guide.

use super::documents;
use crate::context::Context;
use model::Timestamp;
use model::iam::{ManagedPolicy, PolicyVersion};

/// When IAM says most of them were made: 2015-02-06.
const CREATED_AT: Timestamp = Timestamp(1_423_181_980_000);

/// Path, name, actions allowed.
const POLICIES: &[(&str, &str, &[&str])] = &[
    ("/", "AdministratorAccess", &["*"]),
    ("/", "AmazonEC2ContainerRegistryFullAccess", &["ecr:*", "cloudtrail:LookupEvents"]),
    (
        "/",
        "AmazonEC2ContainerRegistryPowerUser",
        &[
            "ecr:GetAuthorizationToken",
            "ecr:BatchCheckLayerAvailability",
            "ecr:GetDownloadUrlForLayer",
            "ecr:BatchGetImage",
            "ecr:InitiateLayerUpload",
            "ecr:UploadLayerPart",
            "ecr:CompleteLayerUpload",
            "ecr:PutImage",
        ],
    ),
    (
        "/",
        "AmazonEC2ContainerRegistryReadOnly",
        &[
            "ecr:GetAuthorizationToken",
            "ecr:BatchCheckLayerAvailability",
            "ecr:GetDownloadUrlForLayer",
            "ecr:GetRepositoryPolicy",
            "ecr:DescribeRepositories",
            "ecr:ListImages",
            "ecr:DescribeImages",
            "ecr:BatchGetImage",
        ],
    ),
    ("/", "AmazonECS_FullAccess", &["ecs:*", "elasticloadbalancing:*", "servicediscovery:*"]),
    ("/", "AmazonS3FullAccess", &["s3:*"]),
    ("/", "AmazonS3ReadOnlyAccess", &["s3:Get*", "s3:List*"]),
    ("/", "AmazonSSMFullAccess", &["ssm:*"]),
    ("/", "AmazonSSMManagedInstanceCore", &["ssm:*", "ssmmessages:*", "ec2messages:*"]),
    ("/", "AmazonSSMReadOnlyAccess", &["ssm:Describe*", "ssm:Get*", "ssm:List*"]),
    ("/", "AWSXRayDaemonWriteAccess", &["xray:PutTraceSegments", "xray:PutTelemetryRecords"]),
    (
        "/",
        "CloudWatchAgentServerPolicy",
        &["cloudwatch:PutMetricData", "logs:PutLogEvents", "logs:CreateLogStream"],
    ),
    ("/", "CloudWatchFullAccess", &["cloudwatch:*", "logs:*"]),
    ("/", "CloudWatchLogsFullAccess", &["logs:*"]),
    ("/", "CloudWatchLogsReadOnlyAccess", &["logs:Describe*", "logs:Get*", "logs:FilterLogEvents"]),
    ("/", "PowerUserAccess", &["*"]),
    ("/", "ReadOnlyAccess", &["*:Describe*", "*:Get*", "*:List*"]),
    ("/", "SecretsManagerReadWrite", &["secretsmanager:*"]),
    (
        "/service-role/",
        "AmazonEC2ContainerServiceAutoscaleRole",
        &["ecs:DescribeServices", "ecs:UpdateService", "cloudwatch:DescribeAlarms"],
    ),
    ("/service-role/", "AmazonEC2ContainerServiceEventsRole", &["ecs:RunTask", "iam:PassRole"]),
    (
        "/service-role/",
        "AmazonEC2ContainerServiceforEC2Role",
        &["ecs:*", "ecr:GetAuthorizationToken", "logs:CreateLogStream", "logs:PutLogEvents"],
    ),
    (
        "/service-role/",
        "AmazonEC2ContainerServiceRole",
        &["elasticloadbalancing:*", "ec2:Describe*"],
    ),
    ("/", "AmazonECSInfrastructureRolePolicyForLoadBalancers", &["elasticloadbalancing:*"]),
    (
        "/service-role/",
        "AmazonECSInfrastructureRolePolicyForServiceConnectTransportLayerSecurity",
        &["acm-pca:*", "secretsmanager:*"],
    ),
    (
        "/service-role/",
        "AmazonECSInfrastructureRolePolicyForVolumes",
        &["ec2:CreateVolume", "ec2:AttachVolume", "ec2:DetachVolume", "ec2:DeleteVolume"],
    ),
    (
        "/",
        "AmazonECSInfrastructureRolePolicyForVpcLattice",
        &["vpc-lattice:RegisterTargets", "vpc-lattice:DeregisterTargets"],
    ),
    (
        "/service-role/",
        "AmazonECSTaskExecutionRolePolicy",
        &[
            "ecr:GetAuthorizationToken",
            "ecr:BatchCheckLayerAvailability",
            "ecr:GetDownloadUrlForLayer",
            "ecr:BatchGetImage",
            "logs:CreateLogStream",
            "logs:PutLogEvents",
        ],
    ),
];

/// The policy of an ARN in AWS's own account.
pub fn find(cx: &Context, arn: &str) -> Option<ManagedPolicy> {
    let rest = arn.strip_prefix("arn:aws:iam::aws:policy")?;
    let row = POLICIES.iter().find(|(path, name, _)| rest == format!("{path}{name}"))?;
    Some(make(cx, row))
}

pub fn all(cx: &Context) -> impl Iterator<Item = ManagedPolicy> + '_ {
    POLICIES.iter().map(|row| make(cx, row))
}

fn make(cx: &Context, (path, name, actions): &(&str, &str, &[&str])) -> ManagedPolicy {
    let document = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }],
    });
    let document = document.to_string();
    debug_assert!(documents::check(&document).is_ok());
    let arn = format!("arn:aws:iam::aws:policy{path}{name}");
    let derived = cx.sealer.derive("policy-id", arn.as_bytes());
    let bits = u128::from_be_bytes(derived[..16].try_into().expect("16 of 32"));
    ManagedPolicy {
        arn,
        name: (*name).to_owned(),
        id: crate::auth::unique_id("ANPA", bits),
        path: (*path).to_owned(),
        description: None,
        versions: vec![PolicyVersion { number: 1, document, created_at: CREATED_AT }],
        default_version: 1,
        newest_version: 1,
        created_at: CREATED_AT,
        updated_at: CREATED_AT,
        tags: model::Tags::new(),
    }
}
