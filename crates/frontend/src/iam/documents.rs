//! Policy documents: JSON that is looked at only as far as to see that it is one, kept as given,
//! and told percent-encoded, as IAM does.

use crate::fault::Fault;
use serde_json::Value;
use std::fmt::Write;
use wire::iam::ErrorCode;

/// Characters of a document that is a policy of its own, without white space. Source: IAM user
/// guide, quotas.
pub const DOCUMENT_CHARS_MAX: usize = 10_240;

pub fn fits(document: &str) -> bool {
    document.chars().filter(|c| !c.is_whitespace()).count() <= DOCUMENT_CHARS_MAX
}

pub fn check(document: &str) -> Result<(), Fault> {
    let malformed = |text: &str| Err(ErrorCode::MalformedPolicyDocumentException.fault(text));
    if !fits(document) {
        let text = format!("Cannot exceed quota for PolicySize: {DOCUMENT_CHARS_MAX}");
        return Err(ErrorCode::LimitExceededException.fault(text));
    }
    let Ok(Value::Object(policy)) = serde_json::from_str::<Value>(document) else {
        return malformed("This policy contains invalid Json");
    };
    let valid = |statement: &Value| {
        matches!(statement.get("Effect").and_then(Value::as_str), Some("Allow" | "Deny"))
    };
    match policy.get("Statement") {
        Some(Value::Array(all)) if all.iter().all(valid) => Ok(()),
        Some(one @ Value::Object(_)) if valid(one) => Ok(()),
        Some(_) => malformed("Syntax errors in policy."),
        None => malformed("Missing required field Statement"),
    }
}

/// As RFC 3986 has it.
pub fn encode(document: &str) -> String {
    let mut encoded = String::with_capacity(document.len() * 2);
    for byte in document.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_a_policy_or_refused() {
        let allow = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*"}]}"#;
        assert!(check(allow).is_ok());
        assert!(check(r#"{"Statement":{"Effect":"Deny"}}"#).is_ok());
        for bad in ["", "[]", "{}", r#"{"Statement":[{"Effect":"Maybe"}]}"#, r#"{"Statement":1}"#] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check(&format!(r#"{{"Statement":[],"Id":"{}"}}"#, "x".repeat(10_240))).is_err());
        assert_eq!(encode("{\"a\": ~1}"), "%7B%22a%22%3A%20~1%7D");
    }
}
