//! Parameters that AWS publishes for everybody, as far as tools we serve read them. They belong to
//! no account and are in no list.

use super::parameters::time;
use crate::context::Context;
use model::Timestamp;
use model::arn::Arn;
use wire::Sensitive;
use wire::ssm::Parameter;

/// When our list was last changed: 2025-01-01.
const PUBLISHED_AT: Timestamp = Timestamp(1_735_689_600_000);

/// Names and values. AWS's own values are images of an AWS account's repository, which nobody
/// without AWS credentials can pull; the same images are public under these names.
/// Source: ECS developer guide, firelens-docker-image.
const PUBLISHED: &[(&str, &str)] = &[
    (
        "/aws/service/aws-for-fluent-bit/latest",
        "public.ecr.aws/aws-observability/aws-for-fluent-bit:latest",
    ),
    (
        "/aws/service/aws-for-fluent-bit/stable",
        "public.ecr.aws/aws-observability/aws-for-fluent-bit:stable",
    ),
];

pub fn get(cx: &Context, text: &str) -> Option<Parameter> {
    let arn = Arn::parse(text).filter(|arn| arn.service == "ssm" && arn.account.is_empty());
    let name = arn.and_then(|arn| arn.resource.strip_prefix("parameter")).unwrap_or(text);
    let (name, value) = PUBLISHED.iter().find(|(published, _)| *published == name)?;
    Some(show(cx, name, value))
}

/// Those below a path, by name.
pub fn below(cx: &Context, path: &str, recursive: bool) -> Vec<Parameter> {
    let inside = PUBLISHED.iter().filter(|(name, _)| is_below(name, path, recursive));
    inside.map(|(name, value)| show(cx, name, value)).collect()
}

/// Whether a name is in a hierarchy, at any depth or directly.
pub fn is_below(name: &str, path: &str, recursive: bool) -> bool {
    let path = path.trim_end_matches('/');
    let rest = name.strip_prefix(path).and_then(|rest| rest.strip_prefix('/'));
    rest.is_some_and(|rest| recursive || !rest.contains('/'))
}

fn show(cx: &Context, name: &str, value: &str) -> Parameter {
    Parameter {
        arn: Some(format!("arn:aws:ssm:{}::parameter{name}", cx.locality.region)),
        data_type: Some("text".to_owned()),
        last_modified_date: Some(time(PUBLISHED_AT)),
        name: Some(name.to_owned()),
        r#type: Some("String".into()),
        value: Some(Sensitive::new(value)),
        version: Some(1),
        ..Parameter::default()
    }
}
