//! A request whose body can't be read as its operation's input. The texts are those of AWS's own
//! parser where they are known, because people search the web for them.

use std::fmt;

use crate::{Fault, Protocol};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    message: String,
}

impl DecodeError {
    pub fn new(message: impl Into<String>) -> DecodeError {
        DecodeError { message: message.into() }
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn into_fault(self, protocol: Protocol) -> Fault {
        let code = match protocol {
            Protocol::AwsQuery => "MalformedInput",
            Protocol::Ec2Query => "InvalidParameterValue",
            Protocol::AwsJson10 | Protocol::AwsJson11 | Protocol::RpcV2Cbor => {
                "SerializationException"
            }
        };
        Fault::client(code, self.message)
    }

    pub(crate) fn from_json(error: &serde_json::Error) -> DecodeError {
        if !error.is_data() {
            let place = format!("line {} column {}", error.line(), error.column());
            return DecodeError::new(format!("The request body is not valid JSON: {place}"));
        }
        let text = error.to_string();
        DecodeError::new(aws_text(&text).unwrap_or_else(|| text.clone()))
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}

/// Turns serde's "invalid type: integer `5`, expected a string at line 1 column 13" into what
/// AWS's parser says of the same: the found token and the wanted Java type.
fn aws_text(text: &str) -> Option<String> {
    let text = text.rsplit_once(" at line ").map_or(text, |(text, _)| text);
    let (found, wanted) = match text.strip_prefix("invalid type: ") {
        Some(rest) => rest.rsplit_once(", expected ")?,
        None => text.strip_prefix("invalid value: ")?.rsplit_once(", expected ")?,
    };
    let token = match found.split([' ', '`']).next()? {
        "integer" | "floating" => "NUMBER_VALUE",
        "string" | "character" => "STRING_VALUE",
        "boolean" if found.contains("true") => "TRUE_VALUE",
        "boolean" => "FALSE_VALUE",
        "null" => "NULL_VALUE",
        "map" => return Some("Start of structure or map found where not expected.".to_owned()),
        "sequence" => return Some("Start of list found where not expected".to_owned()),
        _ => return None,
    };
    Some(match wanted {
        "a string" => format!("{token} can not be converted to a String"),
        "i32" if text.starts_with("invalid value") => "Integer out of range".to_owned(),
        "i64" if text.starts_with("invalid value") => "Long out of range".to_owned(),
        "i32" => format!("{token} can not be converted to an Integer"),
        "i64" => format!("{token} can not be converted to a Long"),
        "f64" => format!("{token} can not be converted to a Double"),
        "a boolean" => format!("{token} can not be converted to a Boolean"),
        "a timestamp" => format!("{token} can not be converted to a Date"),
        "base64" => "Invalid base64 in a blob".to_owned(),
        "a sequence" => "Expected list or null".to_owned(),
        "a map" | "a structure" => "Expected null".to_owned(),
        _ => return None,
    })
}
