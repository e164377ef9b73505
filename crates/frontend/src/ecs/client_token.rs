//! Idempotency: a call with a client token that was used before answers with what was made then,
//! and makes nothing. Source: developer guide, ECS_Idempotency: a token is remembered for a day, or
//! for an hour after its tasks ended if that is sooner.

use crate::fault::{Fault, invalid_parameter};
use crate::limits::{CLIENT_TOKEN_CHARS_MAX, CLIENT_TOKEN_SECONDS};
use model::account::ClientToken;
use model::limits::STOPPED_TASK_KEPT_SECONDS;
use model::task::Task;
use model::{ClusterName, TaskId, Timestamp};
use ring::digest::{Context, SHA256};
use std::fmt::Write;
use std::sync::Arc;
use store::Txn;
use store::kinds::{client_token_key, task_key};
use wire::ecs::ErrorCode;

/// A token as a call brought it.
#[derive(Debug)]
pub struct Token {
    pub scope: String,
    pub text: String,
    pub fingerprint: String,
}

/// 1 to 64 visible ASCII characters.
pub fn check(text: &str) -> Result<(), Fault> {
    let fits = (1..=CLIENT_TOKEN_CHARS_MAX).contains(&text.len());
    if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(invalid_parameter("clientToken must have 1 to 64 visible ASCII characters."))
}

/// A digest over everything the call asks for, by way of its debug form: it has all fields in a
/// fixed order. A program of another version may write it differently; a call repeated across an
/// upgrade is then refused, not run twice.
pub fn fingerprint(input: &impl std::fmt::Debug) -> String {
    struct Hash(Context);
    impl Write for Hash {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.update(text.as_bytes());
            Ok(())
        }
    }
    let mut hash = Hash(Context::new(&SHA256));
    write!(hash, "{input:?}").expect("a digest takes everything");
    let mut hex = String::with_capacity(64);
    for byte in hash.0.finish().as_ref() {
        write!(hex, "{byte:02x}").expect("a string takes everything");
    }
    hex
}

/// The tasks that a call with this token has made already; None when it is new. The transaction
/// then depends on it staying new.
pub fn used(
    txn: &mut Txn,
    token: &Token,
    cluster: &ClusterName,
    now: Timestamp,
    arn: impl Fn(&TaskId) -> String,
) -> Result<Option<Vec<Arc<Task>>>, Fault> {
    let key = client_token_key(&token.scope, &token.text);
    let Some(known) = txn.get::<ClientToken>(&key) else { return Ok(None) };
    let ids = || known.resources.iter().map(|id| TaskId::from(id.as_str()));
    let tasks: Vec<Arc<Task>> =
        ids().filter_map(|id| txn.get::<Task>(&task_key(cluster, &id))).collect();
    let ended = |task: &Arc<Task>| {
        task.stopped_at.is_some_and(|at| at.plus_seconds(STOPPED_TASK_KEPT_SECONDS) <= now)
    };
    if known.expires_at <= now || tasks.iter().all(ended) {
        return Ok(None);
    }
    if known.fingerprint != token.fingerprint {
        let arns: Vec<String> = ids().map(|id| arn(&id)).collect();
        let text = "The clientToken was used before with other parameters.";
        return Err(ErrorCode::ConflictException.fault(text).with("resourceIds", arns));
    }
    Ok(Some(tasks))
}

/// Remembers what the call made, in its own transaction.
pub fn remember(txn: &mut Txn, token: &Token, tasks: &[Arc<Task>], now: Timestamp) {
    txn.put(ClientToken {
        scope: token.scope.clone(),
        token: token.text.clone(),
        fingerprint: token.fingerprint.clone(),
        resources: tasks.iter().map(|task| task.id.to_string()).collect(),
        expires_at: now.plus_seconds(CLIENT_TOKEN_SECONDS),
    });
}
