//! A task's own protection from scale-in: `$ECS_AGENT_URI/task-protection/v1/state`. The agent asks
//! our API in the task's name, with the keys of its role, as ECS's agent does: the API decides, and
//! what a task may do here it may do there. Source: developer guide,
//! task-scale-in-protection-endpoint.

use super::answer::{Answer, json};
use super::residents::Resident;
use crate::Shared;
use crate::images::Images;
use crate::limits::{API_ANSWER_BYTES_MAX, API_CALL_TIMEOUT_MS, INSIDE_BODY_BYTES_MAX};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use model::credentials::SessionKeys;
use runtime::Runtime;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use wire::sigv4::{PathStyle, SecretKey, Signer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(alias = "protectionEnabled")]
    #[serde(rename = "ProtectionEnabled")]
    enabled: Option<bool>,
    #[serde(alias = "expiresInMinutes")]
    #[serde(rename = "ExpiresInMinutes")]
    minutes: Option<i64>,
}

fn error(status: StatusCode, arn: &str, code: &str, message: &str) -> Answer {
    let mut error = json!({ "Code": code, "Message": message });
    if !arn.is_empty() {
        error["Arn"] = json!(arn);
    }
    json(status, &json!({ "error": error }))
}

pub async fn answer<R: Runtime, I: Images>(
    shared: &Shared<R, I>,
    resident: &Arc<Resident>,
    id: &str,
    request: Request<Incoming>,
) -> Answer {
    let assignment = resident.assignment();
    let invalid = |arn: &str, why: &str| {
        error(StatusCode::BAD_REQUEST, arn, "InvalidParameterException", why)
    };
    let wish = match *request.method() {
        Method::GET => None,
        Method::PUT => {
            let body = Limited::new(request.into_body(), INSIDE_BODY_BYTES_MAX).collect().await;
            let read = body.ok().and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
            match read {
                Some(wish) => Some::<Wish>(wish),
                None => return invalid("", "UpdateTaskProtection: failed to decode request"),
            }
        }
        _ => return error(StatusCode::METHOD_NOT_ALLOWED, "", "MethodNotAllowed", "GET or PUT"),
    };
    if !assignment.inside.runtime_ids.iter().any(|own| own == id) {
        let why = "Failed to find a task for the request";
        return error(StatusCode::NOT_FOUND, "", "ResourceNotFoundException", why);
    }
    let arn = assignment.task_arn.as_str();
    let mut input = json!({ "cluster": assignment.cluster.as_str(), "tasks": [arn] });
    let operation = match wish {
        None => "GetTaskProtection",
        Some(Wish { enabled: None, .. }) => {
            return invalid(arn, "Invalid request: does not contain 'ProtectionEnabled' field");
        }
        Some(Wish { enabled: Some(enabled), minutes }) => {
            input["protectionEnabled"] = json!(enabled);
            if let Some(minutes) = minutes {
                input["expiresInMinutes"] = json!(minutes);
            }
            "UpdateTaskProtection"
        }
    };
    let keys = resident.keys.borrow().clone();
    let Some(keys) = keys else {
        let why = "Invalid Request: no task IAM role credentials available for task";
        return error(StatusCode::FORBIDDEN, arn, "AccessDeniedException", why);
    };
    let endpoint = shared.api.endpoint().unwrap_or_default();
    let now = wire::Timestamp::from_unix_ms(shared.now().0);
    let region = &assignment.region;
    let call = call(&endpoint, region, &keys, operation, &input, now);
    let patience = Duration::from_millis(API_CALL_TIMEOUT_MS);
    match tokio::time::timeout(patience, call).await {
        Err(_) => {
            let why = "Timed out calling Amazon ECS Task Protection API";
            error(StatusCode::GATEWAY_TIMEOUT, arn, "RequestCanceled", why)
        }
        Ok(Err(failure)) => {
            tracing::warn!(task = %assignment.task, %failure, "the API could not be asked");
            let why = "The API could not be reached";
            error(StatusCode::INTERNAL_SERVER_ERROR, arn, "RequestError", why)
        }
        Ok(Ok(answered)) => tell(arn, &answered),
    }
}

struct Answered {
    status: StatusCode,
    request_id: String,
    body: Value,
}

fn tell(arn: &str, answered: &Answered) -> Answer {
    let body = &answered.body;
    let member = |value: &Value, name: &str| value.get(name).cloned().unwrap_or(Value::Null);
    if !answered.status.is_success() {
        let code = body.get("__type").and_then(Value::as_str).unwrap_or("ServerException");
        let message = body.get("message").and_then(Value::as_str).unwrap_or_default();
        let error = json!({ "Arn": arn, "Code": code, "Message": message });
        let told = json!({ "requestID": answered.request_id, "error": error });
        return json(answered.status, &told);
    }
    if let Some(failure) = body["failures"].get(0) {
        let failure = json!({
            "Arn": member(failure, "arn"),
            "Detail": member(failure, "detail"),
            "Reason": member(failure, "reason"),
        });
        return json(StatusCode::OK, &json!({ "failure": failure }));
    }
    let told = &body["protectedTasks"][0];
    let expires = told.get("expirationDate").and_then(Value::as_f64);
    let expires = expires.map(|seconds| (seconds * 1000.0).round() as i64);
    let protection = json!({
        "ExpirationDate": expires.map(|ms| wire::Timestamp::from_unix_ms(ms).iso8601(true)),
        "ProtectionEnabled": member(told, "protectionEnabled"),
        "TaskArn": member(told, "taskArn"),
    });
    json(StatusCode::OK, &json!({ "protection": protection }))
}

async fn call(
    endpoint: &str,
    region: &str,
    keys: &SessionKeys,
    operation: &str,
    input: &Value,
    now: wire::Timestamp,
) -> io::Result<Answered> {
    let authority = endpoint.strip_prefix("http://").unwrap_or(endpoint).trim_end_matches('/');
    let value = |text: &str| HeaderValue::from_str(text).map_err(io::Error::other);
    let mut headers = HeaderMap::new();
    headers.insert(HOST, value(authority)?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
    let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
    headers.insert("x-amz-target", value(&target)?);
    let body = input.to_string();
    let secret = SecretKey::new(keys.secret.expose());
    let signer = Signer {
        access_key_id: keys.access_key.as_str(),
        secret_key: &secret,
        session_token: Some(keys.token.expose()),
        region,
        service: "ecs",
        path_style: PathStyle::Normalized,
    };
    signer.sign("POST", "/", "", &mut headers, body.as_bytes(), now);
    let stream = TcpStream::connect(authority).await?;
    let connected = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.map_err(io::Error::other)?;
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = headers;
    // It ends by itself once the answer is read and the sender is dropped.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(io::Error::other)?;
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, API_ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    let id = head.headers.get("x-amzn-requestid").and_then(|id| id.to_str().ok());
    Ok(Answered {
        status: head.status,
        request_id: id.unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}
