//! Keys of tasks' roles: asked for in good time, held in memory only, told to the task they belong
//! to and to nobody else. The control plane makes them; while it is away those at hand go on until
//! they expire. Source: developer guide, task-iam-roles; words of refusals are amazon-ecs-agent's.

use crate::images::Images;
use crate::link::Link;
use crate::limits::{KEYS_ASK_AGAIN_MS, KEYS_WAIT_MS};
use crate::metadata::{Answer, Resident, Residents, json};
use crate::Shared;
use hyper::StatusCode;
use model::credentials::{SessionKeys, TASK_ROLE_LEFT_SECONDS_MIN, TASK_ROLE_SECONDS};
use model::session::ToControl;
use model::{TaskId, Timestamp};
use runtime::Runtime;
use serde::Serialize;
use std::time::Duration;

/// Milliseconds left at which new keys are asked for: half of their life.
const RENEW_LEFT_MS: i64 = TASK_ROLE_SECONDS * 1000 / 2;
const LEFT_MS_MIN: i64 = TASK_ROLE_LEFT_SECONDS_MIN * 1000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Told<'a> {
    role_arn: &'a str,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
}

#[derive(Serialize)]
struct Refusal<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(rename = "HTTPErrorCode")]
    status: u16,
}

fn refuse(status: StatusCode, code: &str, message: &str) -> Answer {
    json(status, &Refusal { code, message, status: status.as_u16() })
}

/// `GET /v2/credentials/ID`.
pub async fn answer<R: Runtime, I: Images>(
    shared: &Shared<R, I>,
    resident: &Resident,
    id: &str,
) -> Answer {
    if id.is_empty() {
        let why = "CredentialsV2Request: No Credential ID in the request";
        return refuse(StatusCode::BAD_REQUEST, "NoIdInRequest", why);
    }
    if resident.assignment().inside.credentials.as_deref() != Some(id) {
        let why = "CredentialsV2Request: Credentials not found";
        return refuse(StatusCode::BAD_REQUEST, "InvalidIdInRequest", why);
    }
    let mut newest = resident.keys.subscribe();
    let fresh = |keys: &Option<SessionKeys>| {
        keys.as_ref().is_some_and(|keys| keys.expires_at.since_ms(shared.now()) > LEFT_MS_MIN)
    };
    // The first request may come before the first answer of the control plane.
    let patience = Duration::from_millis(KEYS_WAIT_MS);
    let waited = tokio::time::timeout(patience, newest.wait_for(fresh)).await;
    drop(waited);
    let keys = newest.borrow().clone();
    match keys.filter(|keys| keys.expires_at > shared.now()) {
        Some(keys) => json(
            StatusCode::OK,
            &Told {
                role_arn: &keys.role_arn,
                access_key_id: keys.access_key.as_str(),
                secret_access_key: keys.secret.expose(),
                token: keys.token.expose(),
                expiration: wire::Timestamp::from_unix_ms(keys.expires_at.0).iso8601(false),
            },
        ),
        None => {
            let why = "CredentialsV2Request: Credentials uninitialized for ID";
            refuse(StatusCode::SERVICE_UNAVAILABLE, "CredentialsUninitialized", why)
        }
    }
}

/// Takes in what the control plane gave.
pub fn learn(residents: &Residents, task: &TaskId, keys: Option<SessionKeys>) {
    let Some(resident) = residents.of(task) else { return };
    match keys {
        Some(keys) => {
            resident.keys.send_replace(Some(keys));
        }
        // What is at hand lasts until it expires, or until the task is over.
        None => tracing::warn!(%task, "no keys are to be had for the task's role"),
    }
}

/// Asks for keys before they are needed, for as long as the agent lives.
pub async fn keep_fresh(
    residents: &Residents,
    link: &Link,
    now: impl Fn() -> Timestamp,
) -> std::convert::Infallible {
    let mut sessions = link.sessions();
    loop {
        let session = sessions.borrow_and_update().clone();
        if let Some(session) = session {
            for resident in residents.all() {
                let assignment = resident.assignment();
                if assignment.inside.credentials.is_none() {
                    continue;
                }
                let until = resident.keys.borrow().as_ref().map(|keys| keys.expires_at);
                if until.is_some_and(|until| until.since_ms(now()) > RENEW_LEFT_MS) {
                    continue;
                }
                let (task, cluster) = (assignment.task.clone(), assignment.cluster.clone());
                // A session that ended is noticed below; the next is asked anew.
                let _ = session.send(ToControl::KeysWanted { task, cluster }).await;
            }
        }
        tokio::select! {
            () = residents.arrivals.notified() => {}
            // The sender lives as long as the link.
            _ = sessions.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(KEYS_ASK_AGAIN_MS)) => {}
        }
    }
}
