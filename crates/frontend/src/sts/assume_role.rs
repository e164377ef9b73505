//! AssumeRole: keys of a stored role, for a while. Who may assume it its trust policy says; like
//! all policies it is kept and not yet asked.

use crate::auth::unique_id_of;
use crate::context::{Caller, Context};
use crate::fault::{self, Fault};
use model::arn::Arn;
use model::credentials::{SessionOrigin, SessionStatement};
use model::iam::Role;
use store::kinds::role_key;
use store::session_token;
use wire::Protocol;
use wire::sts::{AssumeRoleRequest, AssumeRoleResponse, AssumedRoleUser, Credentials};

/// Seconds when the caller names none. Source: API reference, AssumeRole.
const DURATION_SECONDS_DEFAULT: i64 = 3600;
/// Seconds of a session begun by a session. Source: API reference, AssumeRole, role chaining.
const CHAINED_SECONDS_MAX: i64 = 3600;

pub async fn assume_role(
    cx: &Context,
    caller: &Caller,
    input: AssumeRoleRequest,
) -> Result<AssumeRoleResponse, Fault> {
    let arn = input.role_arn.unwrap_or_default();
    let session = input.role_session_name.unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if !session.chars().all(allowed) {
        return Err(invalid(format!(
            "1 validation error detected: Value '{session}' at 'roleSessionName' failed to \
             satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*"
        )));
    }
    let name = role_name(&arn).ok_or_else(|| invalid(format!("{arn} is invalid")))?;
    let snapshot = cx.store.snapshot();
    let role = snapshot.get::<Role>(&role_key(name));
    let ours = format!("arn:aws:iam::{}:role", cx.locality.account);
    let role = role.filter(|role| format!("{ours}{}{}", role.path, role.name) == arn);
    let role = role.ok_or_else(|| {
        let who = &caller.principal_arn;
        let text =
            format!("User: {who} is not authorized to perform: sts:AssumeRole on resource: {arn}");
        Fault::new("AccessDenied", 403, text)
    })?;
    let seconds = input.duration_seconds.map_or(DURATION_SECONDS_DEFAULT, i64::from);
    if seconds > role.max_session_seconds {
        let text =
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.";
        return Err(invalid(text.to_owned()));
    }
    if caller.principal_arn.contains(":assumed-role/") && seconds > CHAINED_SECONDS_MAX {
        let text = "The requested DurationSeconds exceeds the 1 hour session limit for roles \
                    assumed by role chaining";
        return Err(invalid(text.to_owned()));
    }
    let statement = SessionStatement {
        access_key: session_token::mint_access_key(cx.random()),
        role_arn: arn,
        session_name: session.clone(),
        origin: SessionOrigin::AssumedRole { role: role.name.clone(), role_id: role.id.clone() },
        expires_at: cx.now().plus_seconds(seconds),
    };
    let keys = session_token::seal(&cx.sealer, &statement).map_err(|failure| {
        tracing::error!(%failure, "keys of a role could not be made");
        fault::internal(Protocol::AwsQuery)
    })?;
    Ok(AssumeRoleResponse {
        assumed_role_user: Some(AssumedRoleUser {
            arn: Some(statement.principal_arn(cx.locality.account.as_str())),
            assumed_role_id: Some(unique_id_of(cx, &snapshot, &statement)),
        }),
        credentials: Some(Credentials {
            access_key_id: Some(keys.access_key.to_string()),
            expiration: Some(wire::Timestamp::from_unix_ms(keys.expires_at.0)),
            secret_access_key: Some(keys.secret.expose().into()),
            session_token: Some(keys.token.expose().to_owned()),
        }),
        packed_policy_size: None,
        source_identity: None,
    })
}

fn invalid(text: String) -> Fault {
    Fault::client("ValidationError", text)
}

/// The name in a role's ARN, without its path.
fn role_name(arn: &str) -> Option<&str> {
    let parsed = Arn::parse(arn).filter(|arn| arn.service == "iam")?;
    let path = parsed.resource.strip_prefix("role/")?;
    path.rsplit('/').next().filter(|name| !name.is_empty())
}
