//! The constraints of input shapes (required, length, range, size, enumerations) as lines of the
//! `rules!` macro. Patterns are left out: they need a regular expression engine, and where one
//! matters the operation checks it by hand, in AWS's own words.

use std::collections::BTreeSet;

use super::emit::is_enum;
use super::names;
use super::reach::{Reach, targets};
use super::shapes::{Kind, Model, Shape, ShapeRef};

/// The structures and collections under which any rule stands.
pub fn constrained(model: &Model, reach: &Reach) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = BTreeSet::new();
    loop {
        let before = found.len();
        for name in &reach.inputs {
            let shape = model.shape(name);
            let own = !shape.required.is_empty() || has_bounds(shape) || is_enum(shape);
            if own || targets(shape).any(|next| found.contains(&next.shape)) {
                found.insert(name.clone());
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn has_bounds(shape: &Shape) -> bool {
    shape.min.is_some_and(|min| min != 0.0 || is_number(shape)) || shape.max.is_some()
}

fn is_number(shape: &Shape) -> bool {
    matches!(shape.kind, Kind::Integer | Kind::Long | Kind::Float | Kind::Double)
}

/// The rules of one structure: `field = kind("wireName", …)`.
pub fn of(model: &Model, constrained: &BTreeSet<String>, shape: &Shape) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, member) in &shape.members {
        let field = names::field(name);
        if shape.required.contains(name) {
            lines.push(format!("{field} = required({name:?})"));
        }
        for (rule, bound) in member_rules(model, constrained, member) {
            let bound = bound.map(|bound| format!(", {bound}")).unwrap_or_default();
            lines.push(format!("{field} = {rule}({name:?}{bound})"));
        }
    }
    lines
}

type Rule = (String, Option<String>);

fn member_rules(model: &Model, constrained: &BTreeSet<String>, member: &ShapeRef) -> Vec<Rule> {
    let shape = model.shape(&member.shape);
    let mut rules = scalar_rules(shape, "");
    match shape.kind {
        Kind::Structure if constrained.contains(&member.shape) => {
            rules.push(("inside".to_owned(), None));
        }
        Kind::List => {
            bounds(shape, "min_size", "max_size", "", &mut rules);
            let item = shape.member.as_ref().expect("a list has a member");
            rules.extend(element_rules(model, constrained, item, "each"));
        }
        Kind::Map => {
            bounds(shape, "min_size", "max_size", "", &mut rules);
            let key = shape.key.as_ref().expect("a map has a key");
            let value = shape.value.as_ref().expect("a map has a value");
            rules.extend(scalar_rules(model.shape(&key.shape), "key_"));
            rules.extend(element_rules(model, constrained, value, "value"));
        }
        _ => {}
    }
    rules
}

/// Lists of lists have no rules of their own in what we speak; they are passed over.
fn element_rules(
    model: &Model,
    constrained: &BTreeSet<String>,
    item: &ShapeRef,
    prefix: &str,
) -> Vec<Rule> {
    let shape = model.shape(&item.shape);
    if shape.kind == Kind::Structure {
        if constrained.contains(&item.shape) {
            return vec![(format!("{prefix}_inside"), None)];
        }
        return Vec::new();
    }
    scalar_rules(shape, &format!("{prefix}_"))
}

fn scalar_rules(shape: &Shape, prefix: &str) -> Vec<Rule> {
    let mut rules = Vec::new();
    if is_enum(shape) {
        // A map's keys are plain strings on our side, so there is nothing to ask.
        if prefix != "key_" {
            rules.push((format!("{prefix}choice"), None));
        }
    } else if matches!(shape.kind, Kind::String | Kind::Blob) {
        bounds(shape, "min_length", "max_length", prefix, &mut rules);
    } else if is_number(shape) {
        bounds(shape, "at_least", "at_most", prefix, &mut rules);
    }
    rules
}

fn bounds(shape: &Shape, min: &str, max: &str, prefix: &str, rules: &mut Vec<Rule>) {
    if let Some(bound) = shape.min
        && (bound != 0.0 || is_number(shape))
    {
        rules.push((format!("{prefix}{min}"), Some(number(shape, bound))));
    }
    if let Some(bound) = shape.max {
        rules.push((format!("{prefix}{max}"), Some(number(shape, bound))));
    }
}

fn number(shape: &Shape, bound: f64) -> String {
    match shape.kind {
        Kind::Double | Kind::Float => format!("{bound:?}"),
        // AWS writes "no limit" as a number beyond i64 here and there; `as` saturates.
        _ => format!("{}", bound as i64),
    }
}
