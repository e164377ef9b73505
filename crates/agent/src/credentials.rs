//! Keys of tasks' roles: asked for in good time, held in memory only, told to the task they belong
//! to and to nobody else. The control plane makes them; while it is away those at hand go on until
//! they expire. Source: developer guide, task-iam-roles; words of refusals are amazon-ecs-agent's.

use crate::Shared;
use crate::images::Images;
use crate::limits::{KEYS_ASK_AGAIN_MS, KEYS_WAIT_MS};
use crate::link::Link;
use crate::metadata::{Answer, Resident, Residents, json};
use hyper::StatusCode;
use model::credentials::{SessionKeys, TASK_ROLE_LEFT_SECONDS_MIN, TASK_ROLE_SECONDS};
use model::session::ToControl;
use model::{TaskId, Timestamp};
use runtime::Runtime;
use serde::Serialize;
use std::collections::BTreeMap;
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
    let look_again = Duration::from_millis(KEYS_ASK_AGAIN_MS.unsigned_abs());
    let mut sessions = link.sessions();
    // When each was last asked for in this session: an answer takes a moment.
    let mut asked = BTreeMap::<TaskId, Timestamp>::new();
    loop {
        if sessions.has_changed().unwrap_or(false) {
            asked.clear();
        }
        let session = sessions.borrow_and_update().clone();
        if let Some(session) = session {
            asked.retain(|_, at| now().since_ms(*at) < KEYS_ASK_AGAIN_MS);
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
                if asked.contains_key(&task) {
                    continue;
                }
                asked.insert(task.clone(), now());
                // A session that ended is noticed below; the next is asked anew.
                let _ = session.send(ToControl::KeysWanted { task, cluster }).await;
            }
        }
        tokio::select! {
            () = residents.arrivals.notified() => {}
            // The sender lives as long as the link.
            _ = sessions.changed() => {}
            () = tokio::time::sleep(look_again) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::tests::assignment;
    use model::AccessKeyId;
    use model::credentials::Hidden;
    use std::sync::atomic::{AtomicI64, Ordering};
    use tokio::sync::mpsc;

    fn keys(expires_at: Timestamp) -> SessionKeys {
        SessionKeys {
            role_arn: "arn:aws:iam::000000000000:role/web".to_owned(),
            access_key: AccessKeyId::from("ASIA0000000000000000"),
            secret: Hidden::new("secret"),
            token: Hidden::new("token"),
            expires_at,
        }
    }

    #[tokio::test]
    async fn keys_are_asked_for_at_first_and_again_at_half_of_their_life() {
        let (residents, link) = (Residents::default(), Link::default());
        let (outbox, mut sent) = mpsc::channel(8);
        link.begin_session(outbox);
        let clock = AtomicI64::new(1_000_000);
        let now = || Timestamp(clock.load(Ordering::SeqCst));
        let with_role = assignment("1", Some("path"));
        let without = assignment("2", None);
        residents.enter(&without);
        residents.enter(&with_role);
        let wanted = ToControl::KeysWanted {
            task: with_role.task.clone(),
            cluster: with_role.cluster.clone(),
        };
        let story = async {
            assert_eq!(sent.recv().await, Some(wanted.clone()), "at first, and only with a role");
            let until = now().plus_seconds(TASK_ROLE_SECONDS);
            learn(&residents, &with_role.task, Some(keys(until)));
            residents.enter(&with_role);
            clock.fetch_add(TASK_ROLE_SECONDS * 500 + 1, Ordering::SeqCst);
            residents.enter(&with_role);
            assert_eq!(sent.recv().await, Some(wanted), "at half of their life");
            learn(&residents, &with_role.task, None);
            let held = residents.of(&with_role.task).expect("entered").keys.borrow().clone();
            assert_eq!(held, Some(keys(until)), "those at hand last until they expire");
            assert!(sent.try_recv().is_err(), "nobody else was asked for");
        };
        tokio::select! {
            () = story => {}
            never = keep_fresh(&residents, &link, now) => match never {},
        }
    }
}
