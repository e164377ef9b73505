//! Patterns over JSON events: `{ $.a.b[0] = 1 || $.['x y'] IS NULL }`. An event that is no JSON
//! never matches.

use super::Malformed;
use super::condition::{Expression, Parser, Test};
use super::lexer::{self, Token};
use serde_json::Value;

/// A way into a JSON document.
#[derive(Debug, PartialEq)]
pub struct Selector(Vec<Step>);

#[derive(Debug, PartialEq)]
enum Step {
    Member(String),
    Element(usize),
    /// `[*]`: any element.
    Any,
}

pub fn parse(text: &str) -> Result<Expression<Selector>, Malformed> {
    let tokens = lexer::tokens(text)?;
    match tokens.as_slice() {
        [Token::Sign("{"), inner @ .., Token::Sign("}")] => {
            Parser::new(inner, Selector::parse).whole()
        }
        _ => Err(Malformed::new("Unmatched { in filter pattern")),
    }
}

pub fn matches(expression: &Expression<Selector>, message: &str) -> bool {
    let Ok(document) = serde_json::from_str::<Value>(message) else { return false };
    if !matches!(document, Value::Object(_) | Value::Array(_)) {
        return false;
    }
    expression.holds(&|selector, test| judge(&document, &selector.0, test))
}

fn judge(value: &Value, steps: &[Step], test: &Test) -> bool {
    let Some((step, rest)) = steps.split_first() else { return test.judge(Some(value)) };
    let next = match step {
        Step::Member(name) => value.get(name),
        Step::Element(index) => value.get(index),
        Step::Any => {
            return match value.as_array() {
                Some(elements) => elements.iter().any(|element| judge(element, rest, test)),
                None => test.judge(None),
            };
        }
    };
    match next {
        Some(next) => judge(next, rest, test),
        None => test.judge(None),
    }
}

impl Selector {
    fn parse(word: &str) -> Result<Self, Malformed> {
        let bad = || Malformed::new(format!("Invalid selector '{word}' in filter pattern"));
        let mut rest = word.strip_prefix('$').ok_or_else(bad)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            // A dot may stand before a bracket, as in `$.['a b']`.
            let dotted = rest.strip_prefix('.');
            rest = dotted.unwrap_or(rest);
            if let Some(inside) = rest.strip_prefix('[') {
                let (step, after) = bracket(inside).ok_or_else(bad)?;
                steps.push(step);
                rest = after;
                continue;
            }
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if dotted.is_none() || end == 0 {
                return Err(bad());
            }
            steps.push(Step::Member(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        Ok(Self(steps))
    }
}

fn bracket(inside: &str) -> Option<(Step, &str)> {
    for quote in ['\'', '"'] {
        if let Some(quoted) = inside.strip_prefix(quote) {
            let (name, after) = quoted.split_once(quote)?;
            return Some((Step::Member(name.to_owned()), after.strip_prefix(']')?));
        }
    }
    let (index, after) = inside.split_once(']')?;
    match index.trim() {
        "*" => Some((Step::Any, after)),
        index => Some((Step::Element(index.parse().ok()?), after)),
    }
}
