//! Callers with short-lived keys: the token that comes with the call says whose they are, and the
//! snapshot whether that still holds. A task's keys end with the task, an assumed role's with the
//! role, and both with their time.

use crate::context::Context;
use model::Timestamp;
use model::credentials::{Hidden, SessionOrigin, SessionStatement};
use model::facts::ContainersFact;
use model::iam::Role;
use model::task::Task;
use store::Snapshot;
use store::kinds::{role_key, task_key};
use store::session_token;
use wire::sigv4::{Claim, SignatureFault};

/// Characters of a role's unique id after its prefix.
const ID_CHARACTERS: usize = 17;
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What a call's token says, with the secret it must be signed with. Whether it still holds is not
/// asked yet: nobody learns that who can't sign.
pub fn open(
    cx: &Context,
    claim: &Claim,
    token: &str,
) -> Result<(SessionStatement, Hidden), SignatureFault> {
    let opened = session_token::open(&cx.sealer, token);
    let opened = opened.filter(|(said, _)| said.access_key.as_str() == claim.access_key_id);
    opened.ok_or(SignatureFault::InvalidToken)
}

/// Whether a session is still good.
pub fn check(
    snapshot: &Snapshot,
    said: &SessionStatement,
    now: Timestamp,
) -> Result<(), SignatureFault> {
    let lives = match &said.origin {
        SessionOrigin::Task { cluster, task } => snapshot
            .get::<Task>(&task_key(cluster, task))
            .is_some_and(|task| task.facts.containers != ContainersFact::Stopped),
        SessionOrigin::AssumedRole { role, role_id } => {
            snapshot.get::<Role>(&role_key(role)).is_some_and(|role| role.id == *role_id)
        }
    };
    if lives && now < said.expires_at { Ok(()) } else { Err(SignatureFault::ExpiredToken) }
}

/// `AROA…:SESSION`. A role that was only named has an id too, always the same for the same name.
pub fn user_id(cx: &Context, snapshot: &Snapshot, said: &SessionStatement) -> String {
    let stored = snapshot.get::<Role>(&role_key(said.role_name()));
    let id = stored.map_or_else(
        || {
            let derived = cx.sealer.derive("role-id", said.role_arn.as_bytes());
            unique_id("AROA", u128::from_be_bytes(derived[..16].try_into().expect("16 of 32")))
        },
        |role| role.id.clone(),
    );
    format!("{id}:{}", said.session_name)
}

/// An id as IAM makes them: a prefix and upper-case letters and digits.
pub fn unique_id(prefix: &str, mut random: u128) -> String {
    let mut id = prefix.to_owned();
    for _ in 0..ID_CHARACTERS {
        id.push(char::from(ID_ALPHABET[(random % 32) as usize]));
        random /= 32;
    }
    id
}
