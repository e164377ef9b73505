//! What `valueFrom` of a container's secret means: a part of a secret, or a parameter.
//! Source: ECS developer guide, secrets-envvar-secrets-manager and secrets-envvar-ssm-paramstore.

use model::arn::Arn;
use serde_json::Value;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ValueFrom {
    Secret {
        /// The secret's ARN, whole or without its last six characters.
        arn: String,
        /// None: the whole text.
        json_key: Option<String>,
        stage: Option<String>,
        version: Option<String>,
    },
    /// A parameter's name or ARN.
    Parameter(String),
}

/// None: an ARN of something else, or one with too many parts.
pub fn parse(text: &str) -> Option<ValueFrom> {
    if !text.starts_with("arn:") {
        return Some(ValueFrom::Parameter(text.to_owned()));
    }
    let arn = Arn::parse(text)?;
    match arn.service {
        "ssm" => Some(ValueFrom::Parameter(text.to_owned())),
        "secretsmanager" => {
            let rest = arn.resource.strip_prefix("secret:")?;
            let mut parts = rest.split(':');
            let name = parts.next().filter(|name| !name.is_empty())?;
            // An empty part is one that is left out.
            let mut part = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
            let (json_key, stage, version) = (part(), part(), part());
            if parts.next().is_some() {
                return None;
            }
            let end = text.len() - rest.len() + name.len();
            Some(ValueFrom::Secret { arn: text[..end].to_owned(), json_key, stage, version })
        }
        _ => None,
    }
}

/// One member of a secret that is a JSON object, as an environment variable's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MemberFault {
    #[error("the secret is not a JSON object")]
    NoObject,
    #[error("retrieved secret from Secrets Manager did not contain json key")]
    NoKey,
}

pub fn member(secret: &str, key: &str) -> Result<String, MemberFault> {
    let Ok(Value::Object(object)) = serde_json::from_str(secret) else {
        return Err(MemberFault::NoObject);
    };
    match object.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Ok(other.to_string()),
        None => Err(MemberFault::NoKey),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:us-east-1:000000000000:secret:prod/db-AbCdEf";

    #[test]
    fn every_form_of_the_developer_guide_is_read() {
        let secret = |text: &str| match parse(text) {
            Some(ValueFrom::Secret { arn, json_key, stage, version }) => {
                assert_eq!(arn, ARN);
                [json_key, stage, version].map(Option::unwrap_or_default)
            }
            other => panic!("{text} is {other:?}"),
        };
        assert_eq!(secret(ARN), ["", "", ""]);
        assert_eq!(secret(&format!("{ARN}:user::")), ["user", "", ""]);
        assert_eq!(secret(&format!("{ARN}::AWSPREVIOUS:")), ["", "AWSPREVIOUS", ""]);
        assert_eq!(secret(&format!("{ARN}:::0123")), ["", "", "0123"]);
        assert_eq!(secret(&format!("{ARN}:user:AWSPENDING:0123")), ["user", "AWSPENDING", "0123"]);
        for parameter in ["name", "/a/b", "arn:aws:ssm:us-east-1:000000000000:parameter/a"] {
            assert_eq!(parse(parameter), Some(ValueFrom::Parameter(parameter.to_owned())));
        }
        for bad in [&format!("{ARN}:a:b:c:d"), "arn:aws:s3:::bucket/key", "arn:aws"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_member_of_a_json_object_is_a_value() {
        let secret = r#"{"user":"ada","port":5432,"tls":true}"#;
        assert_eq!(member(secret, "user"), Ok("ada".to_owned()));
        assert_eq!(member(secret, "port"), Ok("5432".to_owned()));
        assert_eq!(member(secret, "tls"), Ok("true".to_owned()));
        assert_eq!(member(secret, "none"), Err(MemberFault::NoKey));
        assert_eq!(member("ada", "user"), Err(MemberFault::NoObject));
    }
}
