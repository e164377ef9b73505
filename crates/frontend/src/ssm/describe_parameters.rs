//! DescribeParameters: everything of parameters but their values.

use super::filters;
use super::get::after;
use super::parameters::{Found, find, time};
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::fault::Fault;
use model::secret::Parameter;
use wire::ssm::{
    DescribeParametersRequest, DescribeParametersResult, ParameterMetadata, ParameterStringFilter,
};

/// Parameters of one page when the caller names no number. Source: API reference.
const PAGE_PARAMETERS: usize = 50;

pub async fn describe_parameters(
    cx: &Context,
    _caller: &Caller,
    input: DescribeParametersRequest,
) -> Result<DescribeParametersResult, Fault> {
    let snapshot = cx.store.snapshot();
    let mut given = input.parameter_filters.unwrap_or_default();
    // The older form: keys of the same names; names are looked for by how they begin.
    given.extend(input.filters.unwrap_or_default().into_iter().map(|filter| {
        let key = filter.key.map(|key| key.as_str().to_owned());
        let option = key.as_deref().filter(|key| *key == "Name").map(|_| "BeginsWith".to_owned());
        ParameterStringFilter { key, option, values: filter.values }
    }));
    filters::check(&given, filters::DESCRIBE)?;
    let cursor = Cursor::new(&["DescribeParameters", &format!("{given:?}")]);
    let after = after(&cursor, input.next_token.as_deref())?.unwrap_or_default();
    let limit = page_items(input.max_results, PAGE_PARAMETERS);
    let mut page = Vec::new();
    let mut more = false;
    // Nothing is shared with us by other accounts: there are none.
    if !input.shared.unwrap_or(false) {
        for (key, parameter) in snapshot.scan_from::<Parameter>("", &after) {
            if key <= after.as_str() {
                continue;
            }
            let Some(found) = find(cx, &snapshot, &parameter.name)? else { continue };
            if !given.iter().all(|filter| filters::passes(&found, filter)) {
                continue;
            }
            more = page.len() == limit;
            if more {
                break;
            }
            page.push(found);
        }
    }
    let last = page.last().filter(|_| more);
    Ok(DescribeParametersResult {
        next_token: last.map(|last| cursor.seal(&last.parameter.name)),
        parameters: Some(page.iter().map(|found| show(cx, found)).collect()),
    })
}

fn show(cx: &Context, found: &Found) -> ParameterMetadata {
    let Found { parameter, version, .. } = found;
    ParameterMetadata {
        arn: Some(Parameter::arn(&cx.locality, &parameter.name)),
        allowed_pattern: version.allowed_pattern.clone(),
        data_type: Some(version.data_type.clone()),
        description: version.description.clone(),
        key_id: version.key_id.clone(),
        last_modified_date: Some(time(version.modified_at)),
        last_modified_user: Some(version.modified_by.clone()),
        name: Some(parameter.name.clone()),
        policies: Some(Vec::new()),
        tier: Some(version.tier.as_str().into()),
        r#type: Some(version.kind.as_str().into()),
        version: i64::try_from(version.number).ok(),
    }
}
