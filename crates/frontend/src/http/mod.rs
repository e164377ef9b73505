//! One request through the pipeline: bounded body, signature, operation, function, reply. The order
//! matters: nothing of a body is interpreted before its signature holds, and whatever goes wrong is
//! answered in the protocol the client seems to speak, always with a request id.

mod body;
mod events;
mod fleet;
mod operator;

use crate::auth;
use crate::context::Context;
use crate::dispatch::{Reply, Table};
use crate::fault::{self, Fault};
use ::http::{Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::Full;
use std::panic::AssertUnwindSafe;
use wire::{Protocol, RequestParts, Service, classify};

/// What a path has to begin with to mean our own operator API.
const OPERATOR_PREFIX: &str = "/neargate/";

/// The API endpoint. Stateless but for caches; several may serve one store.
pub struct Frontend {
    context: Context,
    table: Table,
    keys: auth::Keys,
}

impl Frontend {
    pub fn new(context: Context) -> Self {
        Self { context, table: Table::new(), keys: auth::Keys::new() }
    }

    /// Answers one request. Never fails: what can't be done is said in the answer.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<body::Failure>,
    {
        if request.uri().path() == "/healthz" {
            return healthy();
        }
        let (head, body) = request.into_parts();
        let request_id = request_id(self.context.random());
        let parts = RequestParts {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or(""),
            headers: &head.headers,
        };
        let body = match body::read(&head.headers, body).await {
            Ok(body) => body,
            Err(fault) => return finish(refuse(&parts, &fault, &request_id)),
        };
        let answer = AssertUnwindSafe(self.answer(&parts, &body, &request_id));
        let reply = match answer.catch_unwind().await {
            Ok(reply) => reply,
            // The panic's message went to standard error with its place.
            Err(_) => {
                let (protocol, _) = seeming(&parts);
                tracing::error!(request_id, path = parts.path, "an operation panicked");
                refuse(&parts, &fault::internal(protocol), &request_id)
            }
        };
        finish(reply)
    }

    async fn answer(&self, parts: &RequestParts<'_>, body: &[u8], request_id: &str) -> Reply {
        let signed = match auth::verify(&self.context, &self.keys, parts, body) {
            Ok(signed) => signed,
            Err(fault) => {
                let (protocol, service) = seeming(parts);
                return fault.into_fault(protocol).render(protocol, service, request_id);
            }
        };
        if parts.path.starts_with(OPERATOR_PREFIX) {
            return operator::answer(&self.context, &signed, parts, request_id).await;
        }
        let call = match classify(parts, Some(&signed.service), body) {
            Ok(call) => call,
            Err(unknown) => {
                let protocol = unknown.protocol;
                return unknown.fault.render(protocol, unknown.service, request_id);
            }
        };
        let Some(route) = self.table.find(&call) else {
            let fault = fault::unserved(call.service, call.operation.name, call.protocol);
            return call.refuse(&fault, request_id);
        };
        match (route.handler)(&self.context, &signed.caller, &call, request_id).await {
            Ok(reply) => reply,
            Err(fault) => call.refuse(&fault, request_id),
        }
    }
}

fn healthy() -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from_static(b"ok\n")))
}

/// What the client seems to speak and to whom, for refusals that come before that is known for
/// sure.
fn seeming(parts: &RequestParts<'_>) -> (Protocol, Option<&'static Service>) {
    wire::seeming(parts, auth::claimed_service(parts).as_deref())
}

/// A refusal before the operation is known.
fn refuse(parts: &RequestParts<'_>, fault: &Fault, request_id: &str) -> Reply {
    let (protocol, service) = seeming(parts);
    fault.render(protocol, service, request_id)
}

fn finish(reply: Reply) -> Response<Full<Bytes>> {
    reply.map(|body| Full::new(Bytes::from(body)))
}

/// The form AWS uses, a UUID.
fn request_id(random: u128) -> String {
    let h = format!("{random:032x}");
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

/// A JSON reply of our own API.
fn json(status: StatusCode, request_id: &str, body: Vec<u8>) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    let json = http::HeaderValue::from_static("application/json");
    headers.insert(http::header::CONTENT_TYPE, json);
    if let Ok(id) = http::HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    reply
}
