//! Which operation a request asks for. Six protocols share one port, so the answer lies in the
//! headers, the form or the signature's scope; a request that asks for nothing we know gets the
//! refusal of the protocol it seems to speak.

use http::{HeaderMap, Response, header};

use crate::form::Form;
use crate::outcome::{Frame, Output, Payload, Request};
use crate::{Fault, Operation, Protocol, SERVICES, Service};

/// A request without its body, as it came: nothing decoded, nothing normalised. HTTP/2 has the
/// host in `:authority`; who takes such a request puts it among the headers as `host` before.
#[derive(Clone, Copy, Debug)]
pub struct RequestParts<'a> {
    pub method: &'a str,
    /// Still percent-encoded, without the query string.
    pub path: &'a str,
    /// Still encoded, without the question mark; empty if there is none.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
}

impl<'a> RequestParts<'a> {
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A request whose operation is known.
#[derive(Debug)]
pub struct Call<'a> {
    pub service: &'static Service,
    pub operation: &'static Operation,
    pub protocol: Protocol,
    pub payload: Payload<'a>,
}

/// A request that names no operation of ours, with all that is needed to answer it.
#[derive(Debug)]
pub struct Unclassified {
    pub protocol: Protocol,
    pub service: Option<&'static Service>,
    pub fault: Fault,
}

impl Call<'_> {
    pub fn decode<R: Request>(&self) -> Result<R, Fault> {
        let wanted = (R::service().id, R::OPERATION);
        assert_eq!(wanted, (self.service.id, self.operation.name), "decoded as another operation");
        R::decode(&self.payload).map_err(|error| error.into_fault(self.protocol))
    }

    pub fn reply(&self, output: &impl Output, request_id: &str) -> Response<Vec<u8>> {
        let Call { service, operation, protocol, .. } = *self;
        let frame = Frame { service, operation, protocol, request_id };
        crate::fault::reply(protocol, request_id, output.encode(&frame))
    }

    pub fn refuse(&self, fault: &Fault, request_id: &str) -> Response<Vec<u8>> {
        fault.render(self.protocol, Some(self.service), request_id)
    }
}

/// The protocol a request seems to speak and the service it seems to want, from what is known
/// without the body: enough to answer a request whose signature does not hold.
pub fn seeming(
    parts: &RequestParts<'_>,
    scope_service: Option<&str>,
) -> (Protocol, Option<&'static Service>) {
    if is_cbor(parts) {
        let named = cbor_names(parts).and_then(|(service, _)| by_target_prefix(service));
        return (Protocol::RpcV2Cbor, named.or_else(|| scope_service.and_then(by_signing_name)));
    }
    if let Some(target) = parts.header("x-amz-target") {
        let prefix = target.split_once('.').map_or(target, |(prefix, _)| prefix);
        return (json_version(parts), by_target_prefix(prefix));
    }
    match scope_service.and_then(by_signing_name) {
        Some(service) if service.protocol.is_query() => (service.protocol, Some(service)),
        service if content_type(parts).starts_with("application/x-amz-json") => {
            (json_version(parts), service)
        }
        Some(service) if !is_form(parts) => (service.protocol, Some(service)),
        service => (Protocol::AwsQuery, service),
    }
}

/// Finds the operation. `scope_service` is the service in the signature's scope, if it was signed.
pub fn classify<'a>(
    parts: &RequestParts<'a>,
    scope_service: Option<&str>,
    body: &'a [u8],
) -> Result<Call<'a>, Unclassified> {
    let (protocol, service) = seeming(parts, scope_service);
    let refusal = |service, fault| Unclassified { protocol, service, fault };
    if protocol == Protocol::RpcV2Cbor {
        let (_, name) = cbor_names(parts).unwrap_or_default();
        let payload = Payload::Cbor(body);
        return named_call(parts, scope_service, protocol, service, name, payload)
            .map_err(|fault| refusal(service, fault));
    }
    if protocol.is_json() {
        let target = parts.header("x-amz-target").unwrap_or("");
        let name = target.split_once('.').map_or("", |(_, name)| name);
        let payload = Payload::Json(body);
        return named_call(parts, scope_service, protocol, service, name, payload)
            .map_err(|fault| refusal(service, fault));
    }
    let form_body = if is_form(parts) { body } else { &[] };
    let form = Form::parse(&[parts.query.as_bytes(), form_body])
        .map_err(|error| refusal(service, error.into_fault(protocol)))?;
    // An unsigned request has no scope; its API version tells the service as well.
    let service = service.or_else(|| {
        let version = form.get("Version")?;
        SERVICES
            .iter()
            .copied()
            .find(|service| service.protocol.is_query() && service.api_version == version)
    });
    let protocol = match service {
        Some(service) if service.protocol.is_query() => service.protocol,
        _ => protocol,
    };
    query_call(protocol, service, form).map_err(|fault| Unclassified { protocol, service, fault })
}

/// A call of the protocols that name service and operation outside of the body.
fn named_call<'a>(
    parts: &RequestParts<'a>,
    scope_service: Option<&str>,
    protocol: Protocol,
    service: Option<&'static Service>,
    name: &str,
    payload: Payload<'a>,
) -> Result<Call<'a>, Fault> {
    let unknown = || {
        let asked = parts.header("x-amz-target").unwrap_or(parts.path);
        Fault::client("UnknownOperationException", format!("Unknown operation {asked}"))
    };
    if parts.method != "POST" {
        return Err(unknown());
    }
    let service = service.ok_or_else(unknown)?;
    // A signature for one service must not reach another.
    if scope_service.is_some_and(|scope| scope != service.signing_name) {
        return Err(unknown());
    }
    let spoken = service.protocol.is_json() || service.speaks_many();
    let operation = service.operation(name).filter(|_| spoken).ok_or_else(unknown)?;
    Ok(Call { service, operation, protocol, payload })
}

fn query_call<'a>(
    protocol: Protocol,
    service: Option<&'static Service>,
    form: Form<'a>,
) -> Result<Call<'a>, Fault> {
    let Some(action) = form.get("Action") else {
        let text = "The request is missing an action or a required parameter.";
        return Err(Fault::client("MissingAction", text));
    };
    let not_found = |service: Option<&Service>| {
        let version = form.get("Version").unwrap_or("");
        let text = match service {
            Some(service) if service.protocol == Protocol::Ec2Query => {
                format!("The action {action} is not valid for this web service.")
            }
            _ => format!("Could not find operation {action} for version {version}"),
        };
        Fault::client("InvalidAction", text)
    };
    let service = service.filter(|service| service.protocol.is_query());
    let service = service.ok_or_else(|| not_found(None))?;
    let operation = service.operation(action).ok_or_else(|| not_found(Some(service)))?;
    // EC2 serves old clients of all versions; the other services have had one version ever.
    if protocol == Protocol::AwsQuery
        && form.get("Version").is_some_and(|version| version != service.api_version)
    {
        return Err(not_found(Some(service)));
    }
    Ok(Call { service, operation, protocol, payload: Payload::Form(form) })
}

fn by_signing_name(name: &str) -> Option<&'static Service> {
    SERVICES.iter().copied().find(|service| service.signing_name == name)
}

/// JSON's and CBOR's name of a service; the query services have none.
fn by_target_prefix(prefix: &str) -> Option<&'static Service> {
    let found = SERVICES.iter().copied().find(|service| service.target_prefix == prefix);
    found.filter(|_| !prefix.is_empty())
}

fn content_type<'a>(parts: &RequestParts<'a>) -> &'a str {
    parts.header(header::CONTENT_TYPE.as_str()).unwrap_or("")
}

fn is_form(parts: &RequestParts<'_>) -> bool {
    content_type(parts).starts_with("application/x-www-form-urlencoded")
}

fn json_version(parts: &RequestParts<'_>) -> Protocol {
    if content_type(parts).starts_with("application/x-amz-json-1.0") {
        Protocol::AwsJson10
    } else {
        Protocol::AwsJson11
    }
}

fn is_cbor(parts: &RequestParts<'_>) -> bool {
    parts.header("smithy-protocol") == Some("rpc-v2-cbor")
}

/// Service and operation of `/service/NAME/operation/NAME`, which may stand under a path.
fn cbor_names<'a>(parts: &RequestParts<'a>) -> Option<(&'a str, &'a str)> {
    let mut steps = parts.path.rsplit('/');
    let (operation, word) = (steps.next()?, steps.next()?);
    let (service, first) = (steps.next()?, steps.next()?);
    (word == "operation" && first == "service").then_some((service, operation))
}
