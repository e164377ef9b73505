//! How groups and streams are named and found, and what is said of those that are not there.

use crate::context::Context;
use crate::fault::Fault;
use model::arn::Arn;
use model::logs::{LogGroup, LogStream};
use std::sync::Arc;
use store::kinds::log_stream_key;
use store::logs::LogFailure;
use store::{Snapshot, TransactFailure, Txn};
use wire::logs::ErrorCode;

/// Milliseconds of a day.
pub const DAY_MS: i64 = 24 * 3600 * 1000;

pub fn unknown_token() -> Fault {
    invalid("The specified nextToken is invalid.")
}

pub fn invalid(message: impl Into<String>) -> Fault {
    ErrorCode::InvalidParameterException.fault(message)
}

/// The refusal of a value that breaks a constraint which the model states but its types don't hold.
pub fn constraint(value: &str, path: &str, constraint: &str) -> Fault {
    invalid(format!(
        "1 validation error detected: Value '{value}' at '{path}' failed to satisfy constraint: \
         {constraint}"
    ))
}

pub fn group_missing() -> Fault {
    ErrorCode::ResourceNotFoundException.fault("The specified log group does not exist.")
}

pub fn stream_missing() -> Fault {
    ErrorCode::ResourceNotFoundException.fault("The specified log stream does not exist.")
}

/// What a failure of the log store becomes.
pub fn storage(failure: &LogFailure) -> Fault {
    let source = std::error::Error::source(failure).map(ToString::to_string);
    tracing::error!(%failure, source, "log events could not be read or stored");
    ErrorCode::ServiceUnavailableException.fault("The service cannot complete the request.")
}

/// What a transaction that did not commit becomes.
pub fn transact(failure: TransactFailure<Fault>) -> Fault {
    match failure {
        TransactFailure::Aborted(fault) => fault,
        failure => {
            let source = std::error::Error::source(&failure).map(ToString::to_string);
            tracing::error!(?failure, source, "a change of log groups was not committed");
            ErrorCode::ServiceUnavailableException.fault("The service cannot complete the request.")
        }
    }
}

/// Letters, digits, `.`, `-`, `_`, `/` and `#`.
pub fn check_group(name: &str, path: &str) -> Result<(), Fault> {
    let good = |c: char| c.is_ascii_alphanumeric() || "._-/#".contains(c);
    match name.chars().all(good) {
        true => Ok(()),
        false => Err(constraint(
            name,
            path,
            "Member must satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
        )),
    }
}

/// Anything but `:` and `*`.
pub fn check_stream(name: &str, path: &str) -> Result<(), Fault> {
    match name.contains([':', '*']) {
        false => Ok(()),
        true => {
            Err(constraint(name, path, "Member must satisfy regular expression pattern: [^:*]*"))
        }
    }
}

/// The name in a group's ARN, with or without the `:*` at its end. None: it is no group's, or not
/// ours.
pub fn group_of_arn<'a>(cx: &Context, arn: &'a str) -> Option<&'a str> {
    let arn = Arn::parse(arn).filter(|arn| arn.service == "logs" && cx.locality.owns(arn))?;
    let name = arn.resource.strip_prefix("log-group:")?;
    let name = name.strip_suffix(":*").unwrap_or(name);
    (!name.is_empty() && !name.contains(':')).then_some(name)
}

/// The group that a call means, which it names by its name or by an identifier: a name or an ARN.
pub fn requested_group(
    cx: &Context,
    name: Option<String>,
    identifier: Option<String>,
) -> Result<String, Fault> {
    match (name, identifier) {
        (Some(name), None) => {
            check_group(&name, "logGroupName")?;
            Ok(name)
        }
        (None, Some(identifier)) if identifier.starts_with("arn:") => {
            group_of_arn(cx, &identifier).map(str::to_owned).ok_or_else(group_missing)
        }
        (None, Some(identifier)) => {
            check_group(&identifier, "logGroupIdentifier")?;
            Ok(identifier)
        }
        (Some(_), Some(_)) => Err(Fault::client(
            "ValidationException",
            "LogGroup name and LogGroup ARN are mutually exclusive parameters.",
        )),
        (None, None) => Err(Fault::client(
            "ValidationException",
            "Either LogGroup name or LogGroup ARN must be specified.",
        )),
    }
}

pub fn find_group(snapshot: &Snapshot, name: &str) -> Result<Arc<LogGroup>, Fault> {
    snapshot.get::<LogGroup>(name).map(|found| found.value).ok_or_else(group_missing)
}

pub fn find_stream(snapshot: &Snapshot, group: &str, name: &str) -> Result<Arc<LogStream>, Fault> {
    let found = snapshot.get::<LogStream>(&log_stream_key(group, name));
    found.map(|found| found.value).ok_or_else(stream_missing)
}

/// Changes a group in one transaction.
pub async fn change_group(
    cx: &Context,
    name: &str,
    missing: fn() -> Fault,
    mut change: impl FnMut(&mut LogGroup) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let changed = cx.store.transact(|txn: &mut Txn| {
        let group = txn.get::<LogGroup>(name).ok_or_else(missing)?;
        let mut group = LogGroup::clone(&group);
        change(&mut group)?;
        txn.put(group);
        Ok(())
    });
    changed.await.map(|_| ()).map_err(transact)
}

/// Events before this are past the group's retention.
pub fn kept_from_ms(cx: &Context, group: &LogGroup) -> i64 {
    match group.retention_days {
        Some(days) => cx.now().0 - i64::from(days) * DAY_MS,
        None => i64::MIN,
    }
}

pub fn stream_arn(cx: &Context, group: &str, stream: &str) -> String {
    format!("{}:log-stream:{stream}", cx.locality.log_group(group))
}
