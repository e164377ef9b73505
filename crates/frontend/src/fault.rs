//! Faults, AWS's answers to a refused call, as the operations make them: ECS's usual ones by name,
//! what a failure of the store becomes, and how each service words a broken constraint of its
//! model.

use store::{CommitFailure, TransactFailure};
use wire::ecs::ErrorCode;
use wire::{Bound, Protocol, Service, Violation};

pub use wire::Fault;

pub fn client(message: impl Into<String>) -> Fault {
    ErrorCode::ClientException.fault(message)
}

pub fn invalid_parameter(message: impl Into<String>) -> Fault {
    ErrorCode::InvalidParameterException.fault(message)
}

pub fn cluster_not_found() -> Fault {
    ErrorCode::ClusterNotFoundException.fault("Cluster not found.")
}

/// We are wrong and say no more than that; the cause is in the log.
pub fn internal(protocol: Protocol) -> Fault {
    match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 | Protocol::RpcV2Cbor => {
            Fault::server("ServerException", "Service Unavailable. Please try again later.")
        }
        Protocol::AwsQuery => Fault::server("InternalFailure", "An internal error occurred."),
        Protocol::Ec2Query => Fault::server("InternalError", "An internal error has occurred"),
    }
}

/// The operation is one of AWS's, but not of ours yet.
pub fn unserved(service: &Service, operation: &str, protocol: Protocol) -> Fault {
    let text = format!("{operation} of {} is not supported by Neargate", service.service_id);
    match protocol {
        Protocol::AwsJson10 | Protocol::AwsJson11 | Protocol::RpcV2Cbor => {
            let modelled = service.error("UnsupportedFeatureException").is_some();
            let unknown = "UnknownOperationException";
            Fault::client(if modelled { "UnsupportedFeatureException" } else { unknown }, text)
        }
        Protocol::AwsQuery | Protocol::Ec2Query => Fault::client("InvalidAction", text),
    }
}

/// Refuses what breaks the constraints of the service's model, in that service's way of saying it.
pub fn check(service: &Service, violations: &[Violation]) -> Result<(), Fault> {
    let Some(first) = violations.first() else { return Ok(()) };
    let summary = Violation::summary(violations).unwrap_or_default();
    Err(match service.id {
        "ecs" => invalid_parameter(ecs_text(first)),
        "ec2" => match first.bound {
            Bound::Required => Fault::client(
                "MissingParameter",
                format!("The request must contain the parameter {}", first.path),
            ),
            _ => Fault::client(
                "InvalidParameterValue",
                format!("Value ({}) for parameter {} is invalid.", first.value, first.path),
            ),
        },
        "ecr" => Fault::client(
            "InvalidParameterException",
            format!(
                "Invalid parameter at '{}' failed to satisfy constraint: '{}'",
                first.path, first.bound
            ),
        ),
        "logs" => Fault::client("InvalidParameterException", summary),
        "servicediscovery" => Fault::client("InvalidInput", summary),
        "secretsmanager" | "ssm" | "application_autoscaling" | "acm" | "events" => {
            Fault::client("ValidationException", summary)
        }
        "cloudwatch" if first.bound == Bound::Required => {
            Fault::client("MissingParameter", format!("The parameter {} is required.", first.path))
        }
        _ => Fault::client("ValidationError", summary),
    })
}

fn ecs_text(violation: &Violation) -> String {
    let Violation { path, bound, .. } = violation;
    match bound {
        Bound::Required => {
            let mut text: String = path.chars().take(1).flat_map(char::to_uppercase).collect();
            text.extend(path.chars().skip(1));
            format!("{text} can not be blank.")
        }
        Bound::OneOf(values) => {
            // Of a list AWS names the list, not the element.
            let list = path.rsplit_once('[').map_or(path.as_str(), |(list, _)| list);
            let named = if path.ends_with(']') { list } else { path };
            format!("{named} should be one of [{}]", values.join(","))
        }
        Bound::MinLength(n) => format!("{path} should have a length of at least {n}"),
        Bound::MaxLength(n) => format!("{path} should have a length of at most {n}"),
        Bound::AtLeast(n) => format!("{path} should be at least {n}"),
        Bound::AtMost(n) => format!("{path} should be at most {n}"),
    }
}

/// What a call answers when its transaction was not committed. A failure of the store is told in
/// the log and shows as a 500 that may be tried again.
pub fn transact(failure: TransactFailure<Fault>) -> Fault {
    match failure {
        TransactFailure::Aborted(fault) => fault,
        TransactFailure::Commit(failure) => commit(&failure),
        TransactFailure::Contended { attempts, key } => {
            tracing::warn!(attempts, key, "a transaction found no quiet moment");
            Fault::server("ServerException", "Too many changes at once. Please try again later.")
        }
    }
}

pub fn commit(failure: &CommitFailure) -> Fault {
    match failure {
        CommitFailure::TooLarge { .. } | CommitFailure::TooManyOperations { .. } => {
            client(format!("The request is too large to be stored: {failure}"))
        }
        CommitFailure::Conflict { .. } | CommitFailure::Storage(_) | CommitFailure::Closed => {
            let source = std::error::Error::source(failure).map(ToString::to_string);
            tracing::error!(%failure, source, "a transaction was not committed");
            Fault::server("ServerException", "Service Unavailable. Please try again later.")
        }
    }
}
