//! What clients call things by: short names, `family:revision`, ARNs of ours and of others.
//! Everything comes out as a typed id, or as a fault in AWS's words. Whether the thing exists is
//! not asked here.

use crate::fault::{self, Fault};
use crate::limits::NAME_CHARS_MAX;
use model::arn::{Arn, Locality};
use model::{ClusterName, Family, TaskDefinitionRevision, TaskId};

/// The cluster that is meant when none is named. It exists only if somebody made it.
pub const DEFAULT_CLUSTER: &str = "default";

/// Letters, digits, `-` and `_`, 1 to 255: what clusters, families and containers may be called.
pub fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A cluster by name or ARN; none or an empty one means the default cluster.
pub fn cluster(locality: &Locality, given: Option<&str>) -> Result<ClusterName, Fault> {
    let text = match given {
        None | Some("") => return Ok(ClusterName::from(DEFAULT_CLUSTER)),
        Some(text) => text,
    };
    if !text.starts_with("arn:") {
        return checked_cluster(text);
    }
    let arn = ours(locality, text)?;
    match arn.kind_and_rest() {
        Some(("cluster", name)) => checked_cluster(name),
        Some((kind, _)) => Err(unsupported_kind(kind)),
        None => Err(malformed_arn()),
    }
}

fn checked_cluster(text: &str) -> Result<ClusterName, Fault> {
    if is_name(text) {
        return Ok(ClusterName::from(text));
    }
    Err(fault::invalid_parameter(format!(
        "Cluster must match ^[a-zA-Z0-9\\-_]{{1,255}}$, but was {text}"
    )))
}

/// An ECS ARN of this account and region, taken apart.
pub fn ours<'a>(locality: &Locality, text: &'a str) -> Result<Arn<'a>, Fault> {
    let arn = Arn::parse(text).ok_or_else(malformed_arn)?;
    if arn.service != "ecs" {
        return Err(fault::invalid_parameter(format!(
            "Invalid identifier: Identifier is for service {}. Your service is ecs",
            arn.service
        )));
    }
    if arn.account != locality.account.as_str() {
        return Err(fault::invalid_parameter(format!(
            "Invalid identifier: Identifier is for account {}. Your accountId is {}",
            arn.account, locality.account
        )));
    }
    if arn.region != locality.region.as_str() {
        return Err(fault::invalid_parameter(format!(
            "Invalid identifier: Identifier is for region {}. Your region is {}",
            arn.region, locality.region
        )));
    }
    Ok(arn)
}

fn malformed_arn() -> Fault {
    fault::invalid_parameter("Invalid identifier: Unexpected number of separators")
}

fn unsupported_kind(kind: &str) -> Fault {
    fault::invalid_parameter(format!("Unsupported resource type: {kind}"))
}

/// A task by id or ARN (`task/cluster/id`, or `task/id` of the old format). An ARN of another
/// cluster than the call's is refused.
pub fn task(locality: &Locality, cluster: &ClusterName, text: &str) -> Result<TaskId, Fault> {
    let id = if text.starts_with("arn:") {
        let arn = ours(locality, text)?;
        let rest = match arn.kind_and_rest() {
            Some(("task", rest)) => rest,
            Some((kind, _)) => return Err(unsupported_kind(kind)),
            None => return Err(malformed_arn()),
        };
        match rest.split_once('/') {
            None => rest,
            Some((_, id)) if id.contains('/') => return Err(malformed_arn()),
            Some((of, id)) if of == cluster.as_str() => id,
            Some((of, _)) => {
                return Err(fault::invalid_parameter(format!(
                    "Invalid identifier: Identifier is for cluster {of}. Your cluster is {cluster}"
                )));
            }
        }
    } else {
        text
    };
    if id.len() != 32 && id.len() != 36 {
        return Err(fault::invalid_parameter("taskId length should be one of [32,36]"));
    }
    Ok(TaskId::from(id))
}

/// A task definition as clients name it: a family alone means its newest active revision.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DefinitionName {
    pub family: Family,
    pub revision: Option<TaskDefinitionRevision>,
}

/// A task definition by `family`, `family:revision` or ARN.
pub fn task_definition(locality: &Locality, text: &str) -> Result<DefinitionName, Fault> {
    let name = if text.starts_with("arn:") {
        let arn = ours(locality, text)?;
        match arn.kind_and_rest() {
            Some(("task-definition", rest)) => rest,
            Some((kind, _)) => return Err(unsupported_kind(kind)),
            None => return Err(malformed_arn()),
        }
    } else {
        text
    };
    let (family, revision) = match name.split_once(':') {
        None => (name, None),
        Some((family, number)) => (family, Some(revision(number)?)),
    };
    if !is_name(family) {
        return Err(fault::client("Family contains invalid characters."));
    }
    Ok(DefinitionName { family: Family::from(family), revision })
}

fn revision(number: &str) -> Result<TaskDefinitionRevision, Fault> {
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    match number.parse() {
        Ok(value) if plain && value > 0 => Ok(TaskDefinitionRevision(value)),
        _ => Err(fault::invalid_parameter(format!("Invalid revision number. Number: {number}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Locality {
        Locality { region: "us-east-1".into(), account: "000000000000".into() }
    }

    #[test]
    fn a_cluster_goes_by_name_or_arn_and_the_default_by_nothing() {
        let read = |text| cluster(&here(), text).map(|name| name.to_string());
        assert_eq!(read(None).ok().as_deref(), Some("default"));
        assert_eq!(read(Some("")).ok().as_deref(), Some("default"));
        assert_eq!(read(Some("web")).ok().as_deref(), Some("web"));
        let arn = "arn:aws:ecs:us-east-1:000000000000:cluster/web";
        assert_eq!(read(Some(arn)).ok().as_deref(), Some("web"));
        for bad in [
            "a b",
            "web/x",
            "arn:aws:ecs:us-east-1:000000000000:task/web/0",
            "arn:aws:ecs:us-east-1:000000000000:cluster",
            "arn:aws:ecs:eu-west-1:000000000000:cluster/web",
            "arn:aws:ecs:us-east-1:111111111111:cluster/web",
            "arn:aws:elb:us-east-1:000000000000:cluster/web",
            "arn:aws",
        ] {
            assert!(read(Some(bad)).is_err(), "{bad}");
        }
        assert!(read(Some(&"x".repeat(256))).is_err());
    }

    #[test]
    fn a_task_goes_by_id_or_arn_of_the_calls_cluster() {
        let id = "0123456789abcdef0123456789abcdef";
        let read = |text: &str| task(&here(), &ClusterName::from("web"), text);
        let arn = |rest: &str| format!("arn:aws:ecs:us-east-1:000000000000:task/{rest}");
        assert!(read(id).is_ok());
        assert!(read(&arn(&format!("web/{id}"))).is_ok());
        assert!(read(&arn(id)).is_ok());
        assert!(read(&arn(&format!("other/{id}"))).is_err());
        assert!(read(&arn(&format!("web/x/{id}"))).is_err());
        assert!(read("None").is_err());
    }

    #[test]
    fn a_definition_goes_by_family_revision_or_arn() {
        let read = |text: &str| {
            task_definition(&here(), text)
                .ok()
                .map(|n| (n.family.to_string(), n.revision.map(|r| r.0)))
        };
        assert_eq!(read("web"), Some(("web".to_owned(), None)));
        assert_eq!(read("web:7"), Some(("web".to_owned(), Some(7))));
        let arn = "arn:aws:ecs:us-east-1:000000000000:task-definition/web:7";
        assert_eq!(read(arn), Some(("web".to_owned(), Some(7))));
        for bad in ["web:", "web:x", "web:0", "web:+7", "web:7:8", "we b", ":7", "web:99999999999"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
