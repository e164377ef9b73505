//! LabelParameterVersion, UnlabelParameterVersion: a label is on one version at a time.

use super::parameters::{invalid, not_found, version_not_found, versions};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::secret::{Parameter, ParameterVersion, parameter_name};
use std::sync::Arc;
use store::Txn;
use store::kinds::parameter_version_key;
use wire::ssm::{
    ErrorCode, LabelParameterVersionRequest, LabelParameterVersionResult,
    UnlabelParameterVersionRequest, UnlabelParameterVersionResult,
};

/// Labels of one version, and characters of one. Source: API reference, LabelParameterVersion.
const LABELS_MAX: usize = 10;
const LABEL_CHARS_MAX: usize = 100;

pub async fn label_parameter_version(
    cx: &Context,
    _caller: &Caller,
    input: LabelParameterVersionRequest,
) -> Result<LabelParameterVersionResult, Fault> {
    let text = input.name.unwrap_or_default();
    let labels = input.labels.unwrap_or_default();
    if labels.is_empty() || labels.iter().any(|label| label.chars().count() > LABEL_CHARS_MAX) {
        return Err(invalid(format!(
            "A call has at least one label, and a label at most {LABEL_CHARS_MAX} characters."
        )));
    }
    let (good, bad): (Vec<String>, Vec<String>) = labels.into_iter().partition(|it| is_label(it));
    let number = cx
        .transact(|txn| {
            let parameter = find(cx, txn, &text)?;
            let number = version(&parameter, input.parameter_version)?;
            let all = versions(&txn.snapshot().clone(), &parameter.name);
            let target = all.iter().find(|version| version.number == number);
            let target =
                target.ok_or_else(|| version_not_found(&parameter.name, &number.to_string()))?;
            let mut labels = target.labels.clone();
            labels.extend(good.iter().cloned());
            if labels.len() > LABELS_MAX {
                return Err(ErrorCode::ParameterVersionLabelLimitExceeded.fault(format!(
                    "A parameter version can have maximum {LABELS_MAX} labels. Move one or more \
                     labels to another version and try again."
                )));
            }
            for other in all.iter().filter(|version| version.number != number) {
                if good.iter().any(|label| other.labels.contains(label)) {
                    set(txn, other, |labels| labels.retain(|label| !good.contains(label)));
                }
            }
            set(txn, target, |now| now.clone_from(&labels));
            Ok(number)
        })
        .await?;
    Ok(LabelParameterVersionResult {
        invalid_labels: Some(bad),
        parameter_version: i64::try_from(number).ok(),
    })
}

pub async fn unlabel_parameter_version(
    cx: &Context,
    _caller: &Caller,
    input: UnlabelParameterVersionRequest,
) -> Result<UnlabelParameterVersionResult, Fault> {
    let text = input.name.unwrap_or_default();
    let labels = input.labels.unwrap_or_default();
    let (removed, missing) = cx
        .transact(|txn| {
            let parameter = find(cx, txn, &text)?;
            let number = version(&parameter, input.parameter_version)?;
            let key = parameter_version_key(&parameter.name, number);
            let target = txn.get::<ParameterVersion>(&key);
            let target =
                target.ok_or_else(|| version_not_found(&parameter.name, &number.to_string()))?;
            let split = labels.iter().cloned().partition(|label| target.labels.contains(label));
            let (removed, missing): (Vec<String>, Vec<String>) = split;
            set(txn, &target, |now| now.retain(|label| !removed.contains(label)));
            Ok((removed, missing))
        })
        .await?;
    Ok(UnlabelParameterVersionResult {
        invalid_labels: Some(missing),
        removed_labels: Some(removed),
    })
}

fn find(cx: &Context, txn: &mut Txn, text: &str) -> Result<Arc<Parameter>, Fault> {
    let named = parameter_name(&cx.locality, text).ok_or_else(|| not_found(text))?;
    let found = named.names.iter().find_map(|name| txn.get::<Parameter>(name));
    found.ok_or_else(|| not_found(text))
}

/// The newest one when none is named.
fn version(parameter: &Parameter, given: Option<i64>) -> Result<u64, Fault> {
    let Some(given) = given else { return Ok(parameter.newest) };
    u64::try_from(given).map_err(|_| version_not_found(&parameter.name, &given.to_string()))
}

fn set(
    txn: &mut Txn,
    version: &ParameterVersion,
    change: impl FnOnce(&mut std::collections::BTreeSet<String>),
) {
    // Guarded: who labels it meanwhile must not be forgotten.
    txn.get::<ParameterVersion>(&parameter_version_key(&version.parameter, version.number));
    let mut changed = version.clone();
    change(&mut changed.labels);
    txn.put(changed);
}

/// Letters, digits, `.`, `-` and `_`; not beginning with a digit, `aws` or `ssm`.
/// Source: API reference, LabelParameterVersion.
fn is_label(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    !label.is_empty()
        && label.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c))
        && !label.starts_with(|c: char| c.is_ascii_digit())
        && !lower.starts_with("aws")
        && !lower.starts_with("ssm")
}
