//! What ties an operation's name to its Rust types. A request type belongs to exactly one
//! operation, so `call.decode::<RunTaskRequest>()` needs no further word; reading and writing are
//! compiled here, once, and not again in every crate that serves an operation.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::form::{Form, FromForm};
use crate::xml::{ToXml, XML_DECLARATION, XmlWriter};
use crate::{DecodeError, Operation, Protocol, Service, Violation};

/// What a request brings, before its operation's type is known.
#[derive(Debug)]
pub enum Payload<'a> {
    Json(&'a [u8]),
    Cbor(&'a [u8]),
    Form(Form<'a>),
}

/// The input of an operation.
pub trait Request: Sized {
    type Output: Output;
    const OPERATION: &'static str;

    fn service() -> &'static Service;
    fn decode(payload: &Payload<'_>) -> Result<Self, DecodeError>;
    /// Where the input breaks the model's constraints; empty if nowhere.
    fn violations(&self) -> Vec<Violation>;
}

/// What an operation answers.
pub trait Output {
    fn encode(&self, frame: &Frame<'_>) -> Vec<u8>;
}

/// What a reply needs to know beside its content.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub service: &'static Service,
    pub operation: &'static Operation,
    pub protocol: Protocol,
    pub request_id: &'a str,
}

/// The answer of operations that have none: an empty body, or what each XML protocol says instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoOutput;

impl Output for NoOutput {
    fn encode(&self, frame: &Frame<'_>) -> Vec<u8> {
        match frame.protocol {
            Protocol::AwsJson10 | Protocol::AwsJson11 | Protocol::RpcV2Cbor => Vec::new(),
            Protocol::AwsQuery => query_envelope(frame, None),
            Protocol::Ec2Query => ec2_envelope(frame, |out| out.leaf("return", "true")),
        }
    }
}

/// Wraps an XML reply as its protocol does.
pub(crate) fn envelope(frame: &Frame<'_>, content: &dyn ToXml) -> Vec<u8> {
    if frame.protocol == Protocol::Ec2Query {
        ec2_envelope(frame, |out| content.write_xml(out))
    } else {
        query_envelope(frame, Some(content))
    }
}

fn query_envelope(frame: &Frame<'_>, content: Option<&dyn ToXml>) -> Vec<u8> {
    let name = frame.operation.name;
    let (response, result) = (format!("{name}Response"), format!("{name}Result"));
    let mut out = XmlWriter::new(false);
    out.open_with_namespace(&response, frame.service.xml_namespace);
    if let Some(content) = content {
        out.open(&result);
        content.write_xml(&mut out);
        out.close(&result);
    }
    out.open("ResponseMetadata");
    out.leaf("RequestId", frame.request_id);
    out.close("ResponseMetadata");
    out.close(&response);
    out.finish()
}

fn ec2_envelope(frame: &Frame<'_>, content: impl FnOnce(&mut XmlWriter)) -> Vec<u8> {
    let response = format!("{}Response", frame.operation.name);
    let mut out = XmlWriter::new(true);
    out.raw(XML_DECLARATION);
    out.open_with_namespace(&response, frame.service.xml_namespace);
    out.leaf("requestId", frame.request_id);
    content(&mut out);
    out.close(&response);
    out.finish()
}

/// The common part of all that ties a request's type to its operation.
macro_rules! operation {
    ($name:literal, $input:ident, $output:ident, $decode:path) => {
        impl $crate::Request for $input {
            type Output = $output;
            const OPERATION: &'static str = $name;

            fn service() -> &'static $crate::Service {
                &SERVICE
            }

            fn decode(payload: &$crate::Payload<'_>) -> Result<$input, $crate::DecodeError> {
                $decode(payload)
            }

            fn violations(&self) -> Vec<$crate::Violation> {
                $crate::Violations::of(self)
            }
        }
    };
}
pub(crate) use operation;

macro_rules! json_operation {
    ($name:literal, $input:ident, $output:ident) => {
        $crate::operation!($name, $input, $output, $crate::outcome::decode_json);
    };
}
pub(crate) use json_operation;

macro_rules! query_operation {
    ($name:literal, $input:ident, $output:ident) => {
        $crate::operation!($name, $input, $output, $crate::outcome::decode_form);
    };
}
pub(crate) use query_operation;

macro_rules! many_operation {
    ($name:literal, $input:ident, $output:ident) => {
        $crate::operation!($name, $input, $output, $crate::outcome::decode_any);
    };
}
pub(crate) use many_operation;

/// JSON, or its younger brother, which has the same members.
pub(crate) fn decode_json<T>(payload: &Payload<'_>) -> Result<T, DecodeError>
where
    T: DeserializeOwned + Default,
{
    match payload {
        Payload::Json(body) => crate::json::decode(body),
        Payload::Cbor(body) => crate::cbor::decode(body),
        Payload::Form(_) => Err(DecodeError::new("expected JSON")),
    }
}

pub(crate) fn decode_form<T: FromForm>(payload: &Payload<'_>) -> Result<T, DecodeError> {
    match payload {
        Payload::Form(form) => FromForm::from_form(form.root()),
        Payload::Json(_) | Payload::Cbor(_) => Err(DecodeError::new("expected a form")),
    }
}

pub(crate) fn decode_any<T>(payload: &Payload<'_>) -> Result<T, DecodeError>
where
    T: DeserializeOwned + Default + FromForm,
{
    match payload {
        Payload::Form(_) => decode_form(payload),
        Payload::Json(_) | Payload::Cbor(_) => decode_json(payload),
    }
}

pub(crate) fn encode_json(frame: &Frame<'_>, content: &impl Serialize) -> Vec<u8> {
    if frame.protocol == Protocol::RpcV2Cbor {
        crate::cbor::encode(content)
    } else {
        crate::json::encode(content)
    }
}

macro_rules! json_reply {
    ($output:ident) => {
        impl $crate::Output for $output {
            fn encode(&self, frame: &$crate::Frame<'_>) -> Vec<u8> {
                $crate::outcome::encode_json(frame, self)
            }
        }
    };
}
pub(crate) use json_reply;

macro_rules! query_reply {
    ($output:ident) => {
        impl $crate::Output for $output {
            fn encode(&self, frame: &$crate::Frame<'_>) -> Vec<u8> {
                $crate::outcome::envelope(frame, self)
            }
        }
    };
}
pub(crate) use query_reply;

macro_rules! many_reply {
    ($output:ident) => {
        impl $crate::Output for $output {
            fn encode(&self, frame: &$crate::Frame<'_>) -> Vec<u8> {
                if frame.protocol.is_query() {
                    $crate::outcome::envelope(frame, self)
                } else {
                    $crate::outcome::encode_json(frame, self)
                }
            }
        }
    };
}
pub(crate) use many_reply;
