//! A fault is AWS's answer when an operation is refused: a code that programs switch on, a message
//! that people read, a status. How it looks on the wire depends on the protocol of the request.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value};

use crate::xml::{XML_DECLARATION, XmlWriter};
use crate::{Protocol, Service};

#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub code: Cow<'static, str>,
    pub message: String,
    pub status: u16,
    /// Members of the error beside its message, such as ConflictException's `resourceIds`.
    pub fields: Map<String, Value>,
}

impl Fault {
    pub fn new(
        code: impl Into<Cow<'static, str>>,
        status: u16,
        message: impl Into<String>,
    ) -> Fault {
        Fault { code: code.into(), message: message.into(), status, fields: Map::new() }
    }

    /// The caller is wrong: status 400.
    pub fn client(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Fault {
        Fault::new(code, 400, message)
    }

    /// We are wrong: status 500.
    pub fn server(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Fault {
        Fault::new(code, 500, message)
    }

    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Fault {
        self.fields.insert(member.to_owned(), value.into());
        self
    }

    /// The whole reply. `service` gives XML its namespace and may be unknown.
    pub fn render(
        &self,
        protocol: Protocol,
        service: Option<&Service>,
        request_id: &str,
    ) -> Response<Vec<u8>> {
        let body = match protocol {
            Protocol::AwsJson10 | Protocol::AwsJson11 => self.json(service),
            Protocol::AwsQuery => self.query_xml(service, request_id),
            Protocol::Ec2Query => self.ec2_xml(request_id),
            Protocol::RpcV2Cbor => crate::cbor::encode(&self.members(service)),
        };
        let mut response = reply(protocol, request_id, body);
        // A status out of HTTP's range would be a bug of ours; the client still gets an answer.
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut header = |name, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                response.headers_mut().insert(HeaderName::from_static(name), value);
            }
        };
        if !protocol.is_query() {
            header("x-amzn-errortype", self.shape(service));
            if service.is_some_and(Service::speaks_many) {
                let whose = if self.status >= 500 { "Receiver" } else { "Sender" };
                header("x-amzn-query-error", &format!("{};{whose}", self.code));
            }
        }
        response
    }

    fn json(&self, service: Option<&Service>) -> Vec<u8> {
        let members = self.members(service);
        serde_json::to_vec(&members).expect("a map of values has string keys only")
    }

    fn members(&self, service: Option<&Service>) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("__type".to_owned(), Value::from(self.shape(service)));
        let member = self.message_member(service.map_or("", |service| service.id));
        body.insert(member.to_owned(), Value::from(self.message.as_str()));
        body.extend(self.fields.clone());
        body
    }

    /// The error's name for those who speak JSON or CBOR.
    fn shape(&self, service: Option<&Service>) -> &str {
        let Some(many) = service.filter(|service| service.speaks_many()) else { return &self.code };
        // Several errors may share a code; the one that is called so is the general one.
        let own = many.errors.iter().any(|entry| entry.shape == self.code);
        let found = many.error(&self.code).filter(|_| !own);
        found.map_or(&self.code, |entry| entry.shape)
    }

    /// What the model calls an error's message: all errors of some services, and some of Systems
    /// Manager's, write it with a capital.
    fn message_member(&self, service: &str) -> &'static str {
        match (service, &*self.code) {
            ("secretsmanager" | "servicediscovery" | "application_autoscaling", _)
            | ("ssm", "InvalidNextToken" | "InvalidFilterValue") => "Message",
            _ => "message",
        }
    }

    fn query_xml(&self, service: Option<&Service>, request_id: &str) -> Vec<u8> {
        let mut out = XmlWriter::new(false);
        let namespace = service.map_or("", |service| service.xml_namespace);
        out.open_with_namespace("ErrorResponse", namespace);
        out.open("Error");
        out.leaf("Type", if self.status >= 500 { "Receiver" } else { "Sender" });
        out.leaf("Code", &self.code);
        out.leaf("Message", &self.message);
        self.fields_xml(&mut out);
        out.close("Error");
        out.leaf("RequestId", request_id);
        out.close("ErrorResponse");
        out.finish()
    }

    fn ec2_xml(&self, request_id: &str) -> Vec<u8> {
        let mut out = XmlWriter::new(true);
        out.raw(XML_DECLARATION);
        out.open("Response");
        out.open("Errors");
        out.open("Error");
        out.leaf("Code", &self.code);
        out.leaf("Message", &self.message);
        self.fields_xml(&mut out);
        out.close("Error");
        out.close("Errors");
        out.leaf("RequestID", request_id);
        out.close("Response");
        out.finish()
    }

    fn fields_xml(&self, out: &mut XmlWriter) {
        for (name, value) in &self.fields {
            value_xml(out, name, value);
        }
    }
}

fn value_xml(out: &mut XmlWriter, name: &str, value: &Value) {
    out.open(name);
    match value {
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => out.text(&value.to_string()),
        Value::String(text) => out.text(text),
        Value::Array(items) => items.iter().for_each(|item| value_xml(out, "member", item)),
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| value_xml(out, name, value));
        }
    }
    out.close(name);
}

/// A reply of status 200 with the headers that every reply has.
pub(crate) fn reply(protocol: Protocol, request_id: &str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let content_type = HeaderValue::from_static(protocol.content_type());
    headers.insert(header::CONTENT_TYPE, content_type);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-amzn-requestid"), id);
    }
    if protocol == Protocol::RpcV2Cbor {
        let name = HeaderName::from_static("smithy-protocol");
        headers.insert(name, HeaderValue::from_static("rpc-v2-cbor"));
    }
    response
}

/// A service's errors: `ErrorCode::ClusterNotFoundException.fault("Cluster not found.")`.
macro_rules! error_codes {
    ([$($name:ident = ($code:literal, $status:literal)),* $(,)?]) => {
        /// The errors that the service's model names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ErrorCode {
            $($name,)*
        }

        impl ErrorCode {
            pub const TABLE: &'static [$crate::ErrorEntry] = &[
                $($crate::ErrorEntry {
                    shape: stringify!($name),
                    code: $code,
                    status: $status,
                },)*
            ];

            fn entry(self) -> &'static $crate::ErrorEntry {
                &ErrorCode::TABLE[self as usize]
            }

            pub fn code(self) -> &'static str {
                self.entry().code
            }

            pub fn status(self) -> u16 {
                self.entry().status
            }

            pub fn fault(self, message: impl Into<String>) -> $crate::Fault {
                $crate::Fault::new(self.code(), self.status(), message)
            }
        }
    };
}
pub(crate) use error_codes;
