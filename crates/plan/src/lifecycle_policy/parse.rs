//! Reads a lifecycle policy and refuses what ECR refuses, in its words where they are known (they
//! are a JSON schema checker's). What ECR can and we can't, moving images to an archive, is refused
//! as well.

use super::{Limit, Policy, Rule, Selection};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Stars of one tag pattern. Source: ECR user guide, lifecycle_policy_parameters.
const STARS_MAX: usize = 4;
/// Rules of one policy. Source: ECR user guide, service-quotas.
const RULES_MAX: usize = 50;

/// Why a text is no lifecycle policy.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("Lifecycle policy validation failure: {0}")]
pub struct PolicyFault(pub String);

type Read<T> = Result<T, PolicyFault>;

fn fault<T>(text: impl Into<String>) -> Read<T> {
    Err(PolicyFault(text.into()))
}

pub fn parse(text: &str) -> Read<Policy> {
    let Ok(Value::Object(policy)) = serde_json::from_str(text) else {
        return fault("Could not map policyString into LifecyclePolicy.");
    };
    let policy = members(&policy, &["rules"], &[])?;
    let Some(given) = policy["rules"].as_array() else {
        return fault(wrong_type(&policy["rules"], "array"));
    };
    if given.is_empty() {
        return fault(
            "array is too short: must have at least 1 elements but instance has 0 elements",
        );
    }
    if given.len() > RULES_MAX {
        return fault(format!(
            "array is too long: must have at most {RULES_MAX} elements but instance has {}",
            given.len()
        ));
    }
    let mut rules = given.iter().map(rule).collect::<Read<Vec<_>>>()?;
    rules.sort_by_key(|rule| rule.priority);
    check_together(&rules)?;
    Ok(Policy { rules })
}

fn rule(given: &Value) -> Read<Rule> {
    let rule = object(given, &["rulePriority", "selection", "action"], &["description"])?;
    let priority = positive(&rule["rulePriority"])?;
    if let Some(description) = rule.get("description").filter(|it| !it.is_string()) {
        return fault(wrong_type(description, "string"));
    }
    action(&rule["action"])?;
    let optional = ["tagPrefixList", "tagPatternList", "countUnit", "storageClass"];
    let given = object(&rule["selection"], &["tagStatus", "countType", "countNumber"], &optional)?;
    if let Some(class) = given.get("storageClass") {
        one_of(class, &["standard", "archive"])?;
        if class == "archive" {
            return fault("storageClass 'archive' is not supported by Neargate");
        }
    }
    Ok(Rule {
        priority: u32::try_from(priority).map_or_else(|_| fault("rulePriority is too high"), Ok)?,
        selection: selection(given)?,
        limit: limit(given)?,
    })
}

fn action(given: &Value) -> Read<()> {
    let action = object(given, &["type"], &["targetStorageClass"])?;
    one_of(&action["type"], &["expire", "transition"])?;
    if action["type"] == "transition" {
        return fault("action type 'transition' is not supported by Neargate");
    }
    match action.contains_key("targetStorageClass") {
        true => fault("targetStorageClass may only be used with action type 'transition'"),
        false => Ok(()),
    }
}

fn selection(given: &Map<String, Value>) -> Read<Selection> {
    one_of(&given["tagStatus"], &["any", "tagged", "untagged"])?;
    let prefixes = given.get("tagPrefixList").map(strings).transpose()?.unwrap_or_default();
    let patterns = given.get("tagPatternList").map(strings).transpose()?.unwrap_or_default();
    let listed = !prefixes.is_empty() || !patterns.is_empty();
    match (given["tagStatus"].as_str(), listed) {
        (Some("tagged"), true) if !prefixes.is_empty() && !patterns.is_empty() => {
            fault("tagPrefixList and tagPatternList may not both be specified")
        }
        (Some("tagged"), true) => {
            if patterns.iter().any(|pattern| pattern.matches('*').count() > STARS_MAX) {
                return fault(format!(
                    "a tag pattern may have at most {STARS_MAX} wildcards ('*')"
                ));
            }
            // A star is no character of a tag, so a prefix has none that would count as one.
            let prefixes = prefixes.into_iter().map(|prefix| format!("{prefix}*"));
            Ok(Selection::Tagged(prefixes.chain(patterns).collect()))
        }
        (Some("tagged"), false) => {
            fault("tagPrefixList or tagPatternList must be specified when tagStatus is 'tagged'")
        }
        (_, true) => {
            fault("tagPrefixList and tagPatternList may only be used when tagStatus is 'tagged'")
        }
        (Some("untagged"), false) => Ok(Selection::Untagged),
        (_, false) => Ok(Selection::Any),
    }
}

fn limit(given: &Map<String, Value>) -> Read<Limit> {
    let number = positive(&given["countNumber"])?;
    let unit = given.get("countUnit");
    if let Some(unit) = unit {
        one_of(unit, &["days"])?;
    }
    match (given["countType"].as_str(), unit.is_some()) {
        (Some("imageCountMoreThan"), false) => Ok(Limit::CountMoreThan(number)),
        (Some("sinceImagePushed"), true) => Ok(Limit::SincePushedDays(number)),
        (Some("sinceImagePulled"), true) => {
            fault("countType 'sinceImagePulled' must be used with action type 'transition'")
        }
        (Some("sinceImageTransitioned"), true) => {
            fault("countType 'sinceImageTransitioned' is not supported by Neargate")
        }
        // What ECR says of a count type that is unknown, and of one with or without its unit.
        _ => fault("instance failed to match exactly one schema (matched 0 out of 2)"),
    }
}

/// What no rule shows by itself.
fn check_together(rules: &[Rule]) -> Read<()> {
    if rules.windows(2).any(|pair| pair[0].priority == pair[1].priority) {
        return fault("the rulePriority of each rule must be unique");
    }
    let untagged = rules.iter().filter(|rule| rule.selection == Selection::Untagged).count();
    if untagged > 1 {
        return fault("only one rule is allowed to select untagged images");
    }
    let not_last = rules.iter().rev().skip(1).any(|rule| rule.selection == Selection::Any);
    if not_last {
        return fault("a rule with tagStatus 'any' must have the highest rulePriority");
    }
    let mut known = BTreeSet::new();
    for rule in rules {
        let Selection::Tagged(patterns) = &rule.selection else { continue };
        let mut patterns = patterns.clone();
        patterns.sort();
        if !known.insert(patterns) {
            return fault("the set of rules must contain a unique set of tag prefixes");
        }
    }
    Ok(())
}

fn object<'a>(given: &'a Value, required: &[&str], more: &[&str]) -> Read<&'a Map<String, Value>> {
    match given {
        Value::Object(given) => members(given, required, more),
        other => fault(wrong_type(other, "object")),
    }
}

fn members<'a>(
    given: &'a Map<String, Value>,
    required: &[&str],
    more: &[&str],
) -> Read<&'a Map<String, Value>> {
    let missing: Vec<&&str> = required.iter().filter(|name| !given.contains_key(**name)).collect();
    if !missing.is_empty() {
        return fault(format!("object has missing required properties ({})", list(&missing)));
    }
    let known = |name: &&String| required.iter().chain(more).any(|known| known == name);
    let unknown: Vec<&String> = given.keys().filter(|name| !known(name)).collect();
    match unknown.is_empty() {
        true => Ok(given),
        false => fault(format!(
            "object instance has properties which are not allowed by the schema: ({})",
            list(&unknown)
        )),
    }
}

fn list<T: std::fmt::Display>(names: &[T]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("[{}]", quoted.join(","))
}

fn wrong_type(given: &Value, wanted: &str) -> String {
    let found = match given {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    format!(
        "instance type ({found}) does not match any allowed primitive type (allowed: \
         [\"{wanted}\"])"
    )
}

fn positive(given: &Value) -> Read<u64> {
    match (given.as_u64(), given.as_i64()) {
        (Some(number), _) if number > 0 => Ok(number),
        (Some(number), _) => fault(too_low(&number)),
        (None, Some(number)) => fault(too_low(&number)),
        (None, None) => fault(wrong_type(given, "integer")),
    }
}

fn too_low(number: &impl std::fmt::Display) -> String {
    format!("numeric instance is lower than the required minimum (minimum: 1, found: {number})")
}

fn one_of(given: &Value, values: &[&str]) -> Read<()> {
    let Some(text) = given.as_str() else { return fault(wrong_type(given, "string")) };
    match values.contains(&text) {
        true => Ok(()),
        false => fault(format!(
            "instance value (\"{text}\") not found in enum (possible values: {})",
            list(values)
        )),
    }
}

fn strings(given: &Value) -> Read<Vec<String>> {
    let Some(given) = given.as_array() else { return fault(wrong_type(given, "array")) };
    let text = |value: &Value| match value.as_str() {
        Some("") => fault("string \"\" is too short (length: 0, required minimum: 1)"),
        Some(text) => Ok(text.to_owned()),
        None => fault(wrong_type(value, "string")),
    };
    given.iter().map(text).collect()
}
