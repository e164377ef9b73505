//! The operator API, for what AWS has no call for: the machines of the fleet, and what the registry
//! may throw away. Signed like everything else, with service name `neargate`; described in
//! docs/operator-api.md.

use super::{events, fleet, json};
use crate::auth::Signed;
use crate::context::{Context, ImagesCall};
use crate::dispatch::Reply;
use crate::limits::{COLLECT_GRACE_SECONDS, COLLECT_GRACE_SECONDS_MAX};
use ::http::StatusCode;
use serde::Serialize;
use std::time::Duration;
use wire::RequestParts;

/// The service in the signature's scope.
pub const SERVICE: &str = "neargate";

#[derive(Serialize)]
struct Refusal<'a> {
    code: &'a str,
    message: String,
}

pub async fn answer(
    cx: &Context,
    signed: &Signed,
    parts: &RequestParts<'_>,
    request_id: &str,
) -> Reply {
    if signed.service != SERVICE {
        let message = format!("sign for service {SERVICE}, not {}", signed.service);
        return refuse(StatusCode::FORBIDDEN, "WrongService", message, request_id);
    }
    // What a task's keys are good for ends where the operator's business begins.
    if *signed.caller.principal_arn != *cx.locality.root_principal() {
        let message = format!("{} is not the account's root", signed.caller.principal_arn);
        return refuse(StatusCode::FORBIDDEN, "AccessDenied", message, request_id);
    }
    match (parts.method, parts.path) {
        (method, path) if path.starts_with("/neargate/v1/instances") => {
            fleet::instances(cx, method, path, request_id).await
        }
        ("POST", "/neargate/v1/join-tokens") => {
            fleet::join_token(cx, parts.query, request_id).await
        }
        ("GET", "/neargate/v1/events") => events::answer(cx, parts.query, request_id),
        ("GET", "/neargate/v1/images") => images(cx, ImagesCall::List, request_id).await,
        ("POST", "/neargate/v1/images/prune") => images(cx, ImagesCall::Prune, request_id).await,
        ("POST", "/neargate/v1/registry/gc") => collect(cx, parts.query, request_id).await,
        (method, path) => {
            let message = format!("the operator API has no {method} {path}");
            refuse(StatusCode::NOT_FOUND, "NotFound", message, request_id)
        }
    }
}

/// Of the agent in this process.
async fn images(cx: &Context, call: ImagesCall, request_id: &str) -> Reply {
    match (cx.instance_images)(call).await {
        Some(answer) => json(StatusCode::OK, request_id, answer.to_string().into_bytes()),
        None => {
            let message = "no agent of this process could answer; the log says why".to_owned();
            refuse(StatusCode::SERVICE_UNAVAILABLE, "NoAgent", message, request_id)
        }
    }
}

/// `graceSeconds` is how long content that nobody needs is spared.
async fn collect(cx: &Context, query: &str, request_id: &str) -> Reply {
    let mut grace_seconds = COLLECT_GRACE_SECONDS;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let given = pair.strip_prefix("graceSeconds=").and_then(|text| text.parse().ok());
        let Some(given) = given.filter(|given| (1..=COLLECT_GRACE_SECONDS_MAX).contains(given))
        else {
            let message = format!(
                "the only parameter is graceSeconds, 1 to {COLLECT_GRACE_SECONDS_MAX}, not {pair}"
            );
            return refuse(StatusCode::BAD_REQUEST, "BadParameter", message, request_id);
        };
        grace_seconds = given;
    }
    match (cx.collect_images)(Duration::from_secs(grace_seconds)).await {
        Some(collected) => json(StatusCode::OK, request_id, to_json(&collected)),
        None => {
            let message = "the collection failed; the log says why".to_owned();
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "CollectionFailed", message, request_id)
        }
    }
}

pub fn refuse(status: StatusCode, code: &str, message: String, request_id: &str) -> Reply {
    json(status, request_id, to_json(&Refusal { code, message }))
}

pub fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("these structures have string keys only")
}
