//! ParameterFilters of GetParametersByPath and DescribeParameters.
//! Source: API reference, ParameterStringFilter.

use super::parameters::Found;
use super::public::is_below;
use crate::fault::Fault;
use wire::ssm::{ErrorCode, ParameterStringFilter};

/// The keys an operation knows, each with its options; the first is what no option means.
pub type Keys = &'static [(&'static str, &'static [&'static str])];

pub const BY_PATH: Keys = &[
    ("Type", &["Equals", "BeginsWith"]),
    ("KeyId", &["Equals", "BeginsWith"]),
    ("Label", &["Equals", "BeginsWith"]),
];

pub const DESCRIBE: Keys = &[
    ("Name", &["Equals", "BeginsWith", "Contains"]),
    ("Type", &["Equals", "BeginsWith"]),
    ("KeyId", &["Equals", "BeginsWith"]),
    ("Path", &["OneLevel", "Recursive"]),
    ("Tier", &["Equals", "BeginsWith"]),
    ("DataType", &["Equals", "BeginsWith"]),
];

/// How a key for tags begins.
const TAG: &str = "tag:";

pub fn check(filters: &[ParameterStringFilter], keys: Keys) -> Result<(), Fault> {
    for filter in filters {
        let key = filter.key.as_deref().unwrap_or_default();
        let tagged = key.starts_with(TAG) && keys.iter().any(|(known, _)| *known == "Name");
        let options = match keys.iter().find(|(known, _)| *known == key) {
            Some((_, options)) => options,
            None if tagged => &["Equals"][..],
            None => {
                let text = format!("The filter key {key} is not valid for this operation.");
                return Err(ErrorCode::InvalidFilterKey.fault(text));
            }
        };
        let option = filter.option.as_deref();
        if let Some(option) = option.filter(|option| !options.contains(option)) {
            return Err(ErrorCode::InvalidFilterOption.fault(format!(
                "The filter option {option} is not valid for the key {key}. Valid options: {}.",
                options.join(", ")
            )));
        }
        if key == "Path" && filter.values.iter().flatten().any(|path| !path.starts_with('/')) {
            let text = "A path must begin with a forward slash \"/\".";
            return Err(ErrorCode::InvalidFilterValue.fault(text));
        }
    }
    Ok(())
}

/// One of the filter's values must match.
pub fn passes(found: &Found, filter: &ParameterStringFilter) -> bool {
    let Found { parameter, version, .. } = found;
    let key = filter.key.as_deref().unwrap_or_default();
    let option = filter.option.as_deref().unwrap_or_default();
    let values: Vec<&str> = filter.values.iter().flatten().map(String::as_str).collect();
    let is = |text: &str| {
        values.iter().any(|value| match option {
            "BeginsWith" => begins_with(text, value, key == "Name"),
            "Contains" => text.contains(value),
            _ => text == *value || (key == "Name" && text.strip_prefix('/') == Some(*value)),
        })
    };
    match key {
        "Name" => is(&parameter.name),
        "Type" => is(version.kind.as_str()),
        "KeyId" => version.key_id.as_deref().is_some_and(is),
        "Tier" => is(&version.tier),
        "DataType" => is(&version.data_type),
        "Label" => version.labels.iter().any(|label| is(label)),
        "Path" => {
            let recursive = option == "Recursive";
            values.iter().any(|path| is_below(&parameter.name, path, recursive))
        }
        _ => key.strip_prefix(TAG).is_some_and(|key| match parameter.tags.get(key) {
            Some(value) => values.is_empty() || is(value),
            None => false,
        }),
    }
}

/// A name is found with and without the slash it begins with.
fn begins_with(text: &str, value: &str, is_name: bool) -> bool {
    let bare = text.strip_prefix('/').filter(|_| is_name);
    text.starts_with(value) || bare.is_some_and(|bare| bare.starts_with(value))
}
