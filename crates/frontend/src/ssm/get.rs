//! GetParameter, GetParameters, GetParametersByPath, GetParameterHistory: values.

use super::filters;
use super::parameters::{Found, find, get, invalid, not_found, show, time, value, versions};
use super::public;
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::fault::Fault;
use model::secret::Parameter;
use std::collections::BTreeSet;
use store::kinds::parameter_version_key;
use wire::ssm::{
    self, ErrorCode, GetParameterHistoryRequest, GetParameterHistoryResult, GetParameterRequest,
    GetParameterResult, GetParametersByPathRequest, GetParametersByPathResult,
    GetParametersRequest, GetParametersResult, ParameterHistory,
};

/// Parameters of one page, and versions of one page. Source: API reference.
const PAGE_BY_PATH: usize = 10;
const PAGE_HISTORY: usize = 50;

pub async fn get_parameter(
    cx: &Context,
    _caller: &Caller,
    input: GetParameterRequest,
) -> Result<GetParameterResult, Fault> {
    let name = input.name.unwrap_or_default();
    let decrypted = input.with_decryption.unwrap_or(false);
    let parameter = get(cx, &cx.store.snapshot(), &name, decrypted)?;
    Ok(GetParameterResult { parameter: Some(parameter.ok_or_else(|| not_found(&name))?) })
}

pub async fn get_parameters(
    cx: &Context,
    _caller: &Caller,
    input: GetParametersRequest,
) -> Result<GetParametersResult, Fault> {
    let snapshot = cx.store.snapshot();
    let decrypted = input.with_decryption.unwrap_or(false);
    // Each once, in the order of their names; what is not there does not fail the others.
    let names: BTreeSet<String> = input.names.unwrap_or_default().into_iter().collect();
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        match get(cx, &snapshot, &name, decrypted) {
            Ok(Some(parameter)) => found.push(parameter),
            Ok(None) => missing.push(name),
            Err(fault) if fault.status < 500 => missing.push(name),
            Err(fault) => return Err(fault),
        }
    }
    Ok(GetParametersResult { invalid_parameters: Some(missing), parameters: Some(found) })
}

pub async fn get_parameters_by_path(
    cx: &Context,
    _caller: &Caller,
    input: GetParametersByPathRequest,
) -> Result<GetParametersByPathResult, Fault> {
    let path = input.path.unwrap_or_default();
    if !path.starts_with('/') {
        return Err(invalid(
            "The parameter doesn't meet the parameter name requirements. The parameter name must \
             begin with a forward slash \"/\". It can't be prefixed with \"aws\" or \"ssm\" \
             (case-insensitive). It must use only letters, numbers, or the following symbols: . \
             (period), - (hyphen), _ (underscore). Special characters are not allowed. All \
             sub-paths, if specified, must use the forward slash symbol \"/\". Valid example: \
             /get/parameters2-/by1./path0_.",
        ));
    }
    let snapshot = cx.store.snapshot();
    let recursive = input.recursive.unwrap_or(false);
    let decrypted = input.with_decryption.unwrap_or(false);
    let given = input.parameter_filters.unwrap_or_default();
    filters::check(&given, filters::BY_PATH)?;
    let request = format!("{path} {recursive} {given:?}");
    let cursor = Cursor::new(&["GetParametersByPath", &request]);
    let after = after(&cursor, input.next_token.as_deref())?;
    let prefix = format!("{}/", path.trim_end_matches('/'));
    let mut all: Vec<ssm::Parameter> = Vec::new();
    for (_, parameter) in snapshot.scan::<Parameter>(&prefix) {
        let below = public::is_below(&parameter.name, &path, recursive);
        let Some(found) = find(cx, &snapshot, &parameter.name)? else { continue };
        if below && given.iter().all(|filter| filters::passes(&found, filter)) {
            all.push(show(cx, &found, decrypted)?);
        }
    }
    if given.is_empty() {
        all.extend(public::below(cx, &path, recursive));
    }
    let named = all.into_iter().map(|it| (it.name.clone().unwrap_or_default(), it));
    let limit = page_items(input.max_results, PAGE_BY_PATH);
    let (page, next_token) = cursor.page(named, after.as_deref(), limit);
    Ok(GetParametersByPathResult { next_token, parameters: Some(page) })
}

/// Where a token says that the next page begins.
pub fn after(cursor: &Cursor, token: Option<&str>) -> Result<Option<String>, Fault> {
    let bad = || ErrorCode::InvalidNextToken.fault("The specified token is not valid.");
    cursor.after(token.filter(|token| !token.is_empty()), bad)
}

pub async fn get_parameter_history(
    cx: &Context,
    _caller: &Caller,
    input: GetParameterHistoryRequest,
) -> Result<GetParameterHistoryResult, Fault> {
    let name = input.name.unwrap_or_default();
    let snapshot = cx.store.snapshot();
    let found: Found = find(cx, &snapshot, &name)?.ok_or_else(|| not_found(&name))?;
    let parameter = found.parameter;
    let decrypted = input.with_decryption.unwrap_or(false);
    let cursor = Cursor::new(&["GetParameterHistory", &parameter.name]);
    let after = after(&cursor, input.next_token.as_deref())?;
    let all = versions(&snapshot, &parameter.name).into_iter();
    let keyed = all.map(|it| (parameter_version_key(&parameter.name, it.number), it));
    let limit = page_items(input.max_results, PAGE_HISTORY);
    let (page, next_token) = cursor.page(keyed, after.as_deref(), limit);
    let mut shown = Vec::with_capacity(page.len());
    for version in &page {
        shown.push(ParameterHistory {
            allowed_pattern: version.allowed_pattern.clone(),
            data_type: Some(version.data_type.clone()),
            description: version.description.clone(),
            key_id: version.key_id.clone(),
            labels: Some(version.labels.iter().cloned().collect()),
            last_modified_date: Some(time(version.modified_at)),
            last_modified_user: Some(version.modified_by.clone()),
            name: Some(parameter.name.clone()),
            policies: Some(Vec::new()),
            tier: Some(version.tier.as_str().into()),
            r#type: Some(version.kind.as_str().into()),
            value: Some(value(cx, &parameter, version, decrypted)?),
            version: i64::try_from(version.number).ok(),
        });
    }
    Ok(GetParameterHistoryResult { next_token, parameters: Some(shown) })
}
