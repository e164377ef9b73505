//! Keys of a task's role, made when its agent asks: only for a task that is on that instance, has
//! a role, and is not over. Nothing is stored; see `store::session_token`.

use crate::Context;
use model::credentials::{SessionKeys, SessionOrigin, SessionStatement, TASK_ROLE_SECONDS};
use model::facts::ContainersFact;
use model::task::Task;
use model::task_definition::TaskDefinition;
use model::{ClusterName, InstanceId, TaskId};
use store::Snapshot;
use store::kinds::{task_definition_key, task_key};
use store::session_token;

/// The role of a task, overrides applied.
pub fn role(snapshot: &Snapshot, task: &Task) -> Option<String> {
    let chosen = task.overrides.task_role_arn.clone();
    chosen.or_else(|| {
        let key = task_definition_key(&task.family, task.revision);
        snapshot.get::<TaskDefinition>(&key)?.template.task_role_arn.clone()
    })
}

/// The last part of the path at which a task finds its role's keys: the same for as long as the
/// task lives, whoever asks, and not to be guessed.
pub fn path(cx: &Context, task: &TaskId) -> String {
    let derived = cx.sealer.derive("task-credentials-path", task.as_str().as_bytes());
    let h: String = derived.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

/// None: there are none for this task, or not for this instance.
pub fn mint(
    cx: &Context,
    instance: &InstanceId,
    cluster: &ClusterName,
    task: &TaskId,
) -> Option<SessionKeys> {
    let snapshot = cx.store.snapshot();
    let found = snapshot.get::<Task>(&task_key(cluster, task))?;
    let here = found.facts.placed.as_ref().is_some_and(|placed| placed.instance == *instance);
    if !here || found.facts.containers == ContainersFact::Stopped {
        return None;
    }
    let statement = SessionStatement {
        access_key: session_token::mint_access_key(cx.random()),
        role_arn: role(&snapshot, &found)?,
        session_name: task.to_string(),
        origin: SessionOrigin::Task { cluster: cluster.clone(), task: task.clone() },
        expires_at: cx.now().plus_seconds(TASK_ROLE_SECONDS),
    };
    match session_token::seal(&cx.sealer, &statement) {
        Ok(keys) => Some(keys),
        Err(failure) => {
            // The agent asks again.
            tracing::error!(%task, %failure, "keys of a task's role could not be made");
            None
        }
    }
}
