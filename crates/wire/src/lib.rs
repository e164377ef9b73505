//! Everything AWS looks like on the wire: shapes, error codes, protocols, signatures. The shapes
//! are generated from AWS's own service models (`cargo xtask codegen`); what is written by hand is
//! the few rules that the models only imply. Nothing here knows what an operation does, reads a
//! clock or opens a socket.

mod call;
mod cbor;
mod choice;
mod decode;
mod fault;
mod form;
pub mod json;
pub mod limits;
mod outcome;
mod scalar;
mod service;
pub mod sigv4;
#[cfg(test)]
mod tests;
mod violation;
mod xml;

#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/acm.rs"]
pub mod acm;
#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/application_autoscaling.rs"]
pub mod application_autoscaling;
#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/cloudwatch.rs"]
pub mod cloudwatch;
#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/ec2.rs"]
pub mod ec2;
#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/ecr.rs"]
pub mod ecr;
#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/ecs.rs"]
pub mod ecs;
#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/elbv2.rs"]
pub mod elbv2;
#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/events.rs"]
pub mod events;
#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/iam.rs"]
pub mod iam;
#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/logs.rs"]
pub mod logs;
#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/secretsmanager.rs"]
pub mod secretsmanager;
#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/servicediscovery.rs"]
pub mod servicediscovery;
#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/ssm.rs"]
pub mod ssm;
#[allow(clippy::all, clippy::pedantic)]
#[path = "generated/sts.rs"]
pub mod sts;

pub use call::{Call, RequestParts, Unclassified, classify, seeming};
pub use choice::Choice;
pub use decode::DecodeError;
pub use fault::Fault;
pub use form::{Form, FromForm, Node};
pub use outcome::{Frame, NoOutput, Output, Payload, Request};
pub use scalar::{Blob, Sensitive, Timestamp};
pub use service::{ErrorEntry, Operation, Protocol, Service};
pub use violation::{Bound, Rules, Violation, Violations};
pub use xml::{ToXml, XmlWriter};

/// Every service we know by name, whether or not anything of it is served.
pub static SERVICES: &[&Service] = &[
    &ecs::SERVICE,
    &sts::SERVICE,
    &ecr::SERVICE,
    &logs::SERVICE,
    &ec2::SERVICE,
    &application_autoscaling::SERVICE,
    &elbv2::SERVICE,
    &iam::SERVICE,
    &secretsmanager::SERVICE,
    &servicediscovery::SERVICE,
    &ssm::SERVICE,
    &acm::SERVICE,
    &cloudwatch::SERVICE,
    &events::SERVICE,
];

/// What the generated modules mean by their unqualified names.
mod prelude {
    pub use std::collections::BTreeMap;

    pub use crate::outcome::NoOutput;
    pub use crate::scalar::{Blob, Sensitive, Timestamp};
}

pub(crate) use choice::string_enum;
pub(crate) use fault::error_codes;
pub(crate) use form::{form_input, form_reader};
pub(crate) use json::{json_input, json_output, json_shape};
pub(crate) use outcome::{
    json_operation, json_reply, many_operation, many_reply, operation, query_operation, query_reply,
};
pub(crate) use scalar::hidden;
pub(crate) use violation::rules;
pub(crate) use xml::xml_output;
