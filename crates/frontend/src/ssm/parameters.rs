//! What all operations on parameters share: what names look like, finding one by a name that may
//! carry a version or a label, sealing and showing values, and Parameter Store's words for what
//! can't be done.

use super::public;
use crate::context::Context;
use crate::fault::{self, Fault};
use model::Timestamp;
use model::secret::{Parameter, ParameterKind, ParameterVersion, parameter_name};
use std::sync::Arc;
use store::kinds::parameter_version_prefix;
use store::secret::{Sealed, Secret as Value};
use store::{Snapshot, vault};
use wire::Sensitive;
use wire::ssm::{self, ErrorCode};

/// Versions of one parameter. Source: user guide, sysman-paramstore-versions.
pub const VERSIONS_MAX: usize = 100;
/// Parts of a name. Source: API reference, PutParameter (Name).
const LEVELS_MAX: usize = 15;
/// Characters of a name. Source: API reference, PutParameter (Name).
const NAME_CHARS_MAX: usize = 1011;

pub fn invalid(text: impl Into<String>) -> Fault {
    Fault::client("ValidationException", text)
}

pub fn not_found(name: &str) -> Fault {
    ErrorCode::ParameterNotFound.fault(format!("Parameter {name} not found."))
}

pub fn version_not_found(name: &str, selector: &str) -> Fault {
    ErrorCode::ParameterVersionNotFound.fault(format!(
        "Systems Manager could not find version {selector} of {name}. Verify the version and try \
         again."
    ))
}

/// Source: API reference, PutParameter (Name).
pub fn check_name(name: &str) -> Result<(), Fault> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let part = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
    };
    let lower = bare.to_ascii_lowercase();
    let reserved = lower.starts_with("aws") || lower.starts_with("ssm");
    if reserved || !bare.split('/').all(part) || name.len() > NAME_CHARS_MAX {
        return Err(invalid(
            "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive). If \
             formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path \
             can be formed as a mix of letters, numbers and the following 3 symbols .-_",
        ));
    }
    if bare.contains('/') && !name.starts_with('/') {
        return Err(invalid("Parameter name must be a fully qualified name."));
    }
    if bare.split('/').count() > LEVELS_MAX {
        return Err(ErrorCode::HierarchyLevelLimitExceededException
            .fault(format!("A hierarchy can have a maximum of {LEVELS_MAX} levels.")));
    }
    Ok(())
}

/// One value of a parameter, found.
pub struct Found {
    pub parameter: Arc<Parameter>,
    pub version: Arc<ParameterVersion>,
    /// As it was named: `:3` or `:label`.
    pub selector: Option<String>,
}

/// What a name means. None: there is no such parameter.
pub fn find(cx: &Context, snapshot: &Snapshot, text: &str) -> Result<Option<Found>, Fault> {
    let Some(name) = parameter_name(&cx.locality, text) else { return Ok(None) };
    let Some((parameter, version)) = vault::find_parameter(snapshot, &name) else {
        return Ok(None);
    };
    let selector = name.selector.map(|selector| format!(":{selector}"));
    let version = version.ok_or_else(|| {
        let named = selector.as_deref().unwrap_or_default().trim_start_matches(':');
        version_not_found(&parameter.name, named)
    })?;
    Ok(Some(Found { parameter, version, selector }))
}

/// A parameter as GetParameter and its like show it; those that AWS publishes are among them.
pub fn get(
    cx: &Context,
    snapshot: &Snapshot,
    text: &str,
    decrypted: bool,
) -> Result<Option<ssm::Parameter>, Fault> {
    match find(cx, snapshot, text)? {
        Some(found) => Ok(Some(show(cx, &found, decrypted)?)),
        None => Ok(public::get(cx, text)),
    }
}

pub fn show(cx: &Context, found: &Found, decrypted: bool) -> Result<ssm::Parameter, Fault> {
    let Found { parameter, version, selector } = found;
    Ok(ssm::Parameter {
        arn: Some(Parameter::arn(&cx.locality, &parameter.name)),
        data_type: Some(version.data_type.clone()),
        last_modified_date: Some(time(version.modified_at)),
        name: Some(parameter.name.clone()),
        selector: selector.clone(),
        source_result: None,
        r#type: Some(version.kind.as_str().into()),
        value: Some(value(cx, parameter, version, decrypted)?),
        version: i64::try_from(version.number).ok(),
    })
}

/// The value; of a SecureString that is not to be decrypted its sealed form, as AWS gives KMS's.
pub fn value(
    cx: &Context,
    parameter: &Parameter,
    version: &ParameterVersion,
    decrypted: bool,
) -> Result<Sensitive, Fault> {
    if version.kind == ParameterKind::SecureString && !decrypted {
        let sealed = Sealed::from_hex(&version.sealed_value);
        let sealed = sealed.map(|sealed| wire::Blob(sealed.as_bytes().to_vec()).base64());
        return Ok(Sensitive::new(sealed.unwrap_or_default()));
    }
    let opened = vault::open_parameter(&cx.sealer, parameter, version).map_err(|failure| {
        tracing::error!(parameter = parameter.name, %failure, "a parameter can't be opened");
        fault::internal(wire::Protocol::AwsJson11)
    })?;
    Ok(Sensitive::new(opened.expose_str().unwrap_or_default()))
}

/// Seals a value for the version it will be.
pub fn seal(
    cx: &Context,
    name: &str,
    number: u64,
    created_at: Timestamp,
    value: &Value,
) -> Result<String, Fault> {
    let context = ParameterVersion::seal_context(name, number, created_at);
    let sealed = cx.sealer.seal(&context, value).map_err(|failure| {
        tracing::error!(parameter = name, %failure, "a parameter can't be sealed");
        fault::internal(wire::Protocol::AwsJson11)
    })?;
    Ok(sealed.to_hex())
}

/// All versions of a parameter, the oldest first.
pub fn versions(snapshot: &Snapshot, name: &str) -> Vec<Arc<ParameterVersion>> {
    let prefix = parameter_version_prefix(name);
    snapshot.scan::<ParameterVersion>(&prefix).map(|(_, version)| version).collect()
}

pub fn time(at: Timestamp) -> wire::Timestamp {
    wire::Timestamp::from_unix_ms(at.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_parameter_store_takes() {
        for good in ["a", "/a", "/a/b.c/d-e_f", "MyParameter", "/x/aws"] {
            assert_eq!(check_name(good).map_err(|fault| fault.message), Ok(()), "{good}");
        }
        for bad in ["", "/", "a b", "/a//b", "/a/", "aws", "/AWS/x", "/ssm/x", "a/b", "a:1", "é"] {
            let fault = check_name(bad).expect_err(bad);
            assert_eq!(fault.code, "ValidationException", "{bad}");
        }
        let deep = "/x".repeat(16);
        let fault = check_name(&deep).expect_err("too deep");
        assert_eq!(fault.code, "HierarchyLevelLimitExceededException");
    }
}
