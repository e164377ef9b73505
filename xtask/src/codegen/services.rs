//! The one table of what gets generated: which services, and which of their operations get types.
//! The names of all operations of a service listed here go into its operation table in any case,
//! so that an operation without types is still told apart from one that does not exist.

pub struct ServicePlan {
    /// The Rust module and file.
    pub module: &'static str,
    /// The folder in botocore's data.
    pub botocore: &'static str,
    pub version: &'static str,
    pub typed: Typed,
}

pub enum Typed {
    All,
    Only(&'static [&'static str]),
}

impl Typed {
    pub fn has(&self, operation: &str) -> bool {
        match self {
            Typed::All => true,
            Typed::Only(names) => names.contains(&operation),
        }
    }
}

pub const SERVICES: &[ServicePlan] = &[
    ServicePlan { module: "ecs", botocore: "ecs", version: "2014-11-13", typed: Typed::All },
    ServicePlan {
        module: "sts",
        botocore: "sts",
        version: "2011-06-15",
        typed: Typed::Only(&[
            "AssumeRole",
            "DecodeAuthorizationMessage",
            "GetAccessKeyInfo",
            "GetCallerIdentity",
            "GetSessionToken",
        ]),
    },
    ServicePlan {
        module: "ecr",
        botocore: "ecr",
        version: "2015-09-21",
        typed: Typed::Only(&[
            "BatchDeleteImage",
            "BatchGetImage",
            "CreateRepository",
            "DeleteRepository",
            "DescribeImages",
            "DescribeRegistry",
            "DescribeRepositories",
            "GetAuthorizationToken",
            "ListImages",
            "ListTagsForResource",
            "PutImage",
            "PutImageScanningConfiguration",
            "PutImageTagMutability",
            "TagResource",
            "UntagResource",
        ]),
    },
    ServicePlan {
        module: "logs",
        botocore: "logs",
        version: "2014-03-28",
        typed: Typed::Only(&[
            "CreateLogGroup",
            "CreateLogStream",
            "DeleteLogGroup",
            "DeleteLogStream",
            "DeleteRetentionPolicy",
            "DescribeLogGroups",
            "DescribeLogStreams",
            "FilterLogEvents",
            "GetLogEvents",
            "ListTagsForResource",
            "ListTagsLogGroup",
            "PutLogEvents",
            "PutRetentionPolicy",
            "TagLogGroup",
            "TagResource",
            "UntagLogGroup",
            "UntagResource",
        ]),
    },
    ServicePlan {
        module: "ec2",
        botocore: "ec2",
        version: "2016-11-15",
        typed: Typed::Only(&[
            "DescribeAccountAttributes",
            "DescribeAvailabilityZones",
            "DescribeInternetGateways",
            "DescribeNetworkInterfaces",
            "DescribeRegions",
            "DescribeRouteTables",
            "DescribeSecurityGroupRules",
            "DescribeSecurityGroups",
            "DescribeSubnets",
            "DescribeTags",
            "DescribeVpcAttribute",
            "DescribeVpcs",
        ]),
    },
];
