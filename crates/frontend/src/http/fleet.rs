//! The operator's calls about the machines of the fleet: what there is, which of them takes no more
//! tasks, which never returns, and the token with which another one joins.

use super::json;
use super::operator::{refuse, to_json};
use crate::context::Context;
use crate::dispatch::Reply;
use crate::limits::{
    JOIN_TOKEN_SECONDS, JOIN_TOKEN_SECONDS_MAX, JOIN_TOKEN_USES_MAX, LEFT_TASKS_SHOWN_MAX,
};
use ::http::StatusCode;
use model::facts::TaskStatus;
use model::instance::{Allocation, Instance, InstanceState};
use model::join::{AgentCertificate, JoinToken};
use model::service::SERVICE_GROUP_PREFIX;
use model::task::Task;
use model::{InstanceId, Timestamp};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use store::{Snapshot, TransactFailure};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InstanceView<'a> {
    id: &'a str,
    name: &'a str,
    zone: &'a str,
    state: &'static str,
    /// Whether its agent has a session with this control plane now.
    connected: bool,
    /// Where other instances reach it.
    address: Option<String>,
    cpu_architecture: &'a str,
    cpu_units: u32,
    cpu_units_allocated: u32,
    memory_mib: u32,
    memory_mib_allocated: u32,
    tasks: u32,
    agent_version: &'a str,
    registered_at_ms: i64,
    seen_at_ms: i64,
    /// Of one that drains: what it still has.
    left: Option<Left>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct Left {
    /// Tasks of services, which are moved elsewhere.
    to_move: u32,
    /// Tasks of nobody, which end by themselves or by StopTask.
    to_end: u32,
    /// The first of them, by cluster and id.
    tasks: Vec<LeftTask>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeftTask {
    id: String,
    cluster: String,
    group: String,
    status: &'static str,
    /// Until when it is not moved.
    protected_until_ms: Option<i64>,
}

#[derive(Serialize)]
struct Instances<'a> {
    instances: Vec<InstanceView<'a>>,
}

/// Why an instance is not changed.
enum Kept {
    Unknown,
    Connected,
    Forgotten,
}

pub async fn instances(cx: &Context, method: &str, path: &str, request_id: &str) -> Reply {
    let rest = path.strip_prefix("/neargate/v1/instances").unwrap_or(path);
    let parts: Vec<&str> = rest.split('/').skip(1).collect();
    let changed = match (method, parts.as_slice()) {
        ("GET", []) => return list(cx, request_id),
        ("POST", [id, "drain"]) => set_drains(cx, id, true).await,
        ("POST", [id, "activate"]) => set_drains(cx, id, false).await,
        ("POST", [id, "forget"]) => forget(cx, id).await,
        _ => {
            let message = format!("the operator API has no {method} {path}");
            return refuse(StatusCode::NOT_FOUND, "NotFound", message, request_id);
        }
    };
    let refused = match changed {
        Ok(()) => return json(StatusCode::OK, request_id, b"{}".to_vec()),
        Err(refused) => refused,
    };
    let (status, code, message) = match refused {
        TransactFailure::Aborted(Kept::Unknown) => {
            (StatusCode::NOT_FOUND, "NoSuchInstance", "there is no such instance")
        }
        TransactFailure::Aborted(Kept::Connected) => (
            StatusCode::CONFLICT,
            "Connected",
            "its agent is connected: drain it, wait until it has no tasks and end the agent first",
        ),
        TransactFailure::Aborted(Kept::Forgotten) => {
            (StatusCode::CONFLICT, "Forgotten", "the instance is being forgotten")
        }
        TransactFailure::Commit(_) | TransactFailure::Contended { .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, "NotStored", "it could not be stored; try again")
        }
    };
    refuse(status, code, message.to_owned(), request_id)
}

fn list(cx: &Context, request_id: &str) -> Reply {
    let snapshot = cx.store.snapshot();
    let rows: Vec<_> = snapshot
        .scan::<Instance>("")
        .map(|(key, instance)| (instance, snapshot.get::<Allocation>(key)))
        .collect();
    let mut left = left(&snapshot, rows.iter().map(|(instance, _)| &**instance), cx.now());
    let instances = rows
        .iter()
        .map(|(instance, allocation)| InstanceView {
            id: instance.id.as_str(),
            name: &instance.name,
            zone: instance.zone.as_str(),
            state: match instance.state {
                InstanceState::Active => "ACTIVE",
                InstanceState::Draining => "DRAINING",
                InstanceState::Lost => "LOST",
                InstanceState::Forgotten => "FORGOTTEN",
            },
            connected: (cx.is_connected)(&instance.id),
            address: instance.underlay.map(|address| address.to_string()),
            cpu_architecture: &instance.cpu_architecture,
            cpu_units: instance.cpu_units,
            cpu_units_allocated: allocation.as_ref().map_or(0, |a| a.cpu_units),
            memory_mib: instance.memory_mib,
            memory_mib_allocated: allocation.as_ref().map_or(0, |a| a.memory_mib),
            tasks: allocation.as_ref().map_or(0, |a| a.tasks),
            agent_version: &instance.agent_version,
            registered_at_ms: instance.registered_at.0,
            seen_at_ms: instance.seen_at.0,
            left: left.remove(&instance.id),
        })
        .collect();
    json(StatusCode::OK, request_id, to_json(&Instances { instances }))
}

/// What the instances that drain still have.
fn left<'a>(
    snapshot: &Snapshot,
    instances: impl Iterator<Item = &'a Instance>,
    now: Timestamp,
) -> BTreeMap<InstanceId, Left> {
    let draining = instances.filter(|instance| instance.state == InstanceState::Draining);
    let mut left: BTreeMap<InstanceId, Left> =
        draining.map(|instance| (instance.id.clone(), Left::default())).collect();
    if left.is_empty() {
        return left;
    }
    for (_, task) in snapshot.scan::<Task>("") {
        let placed = task.facts.placed.as_ref();
        let Some(left) = placed.and_then(|placed| left.get_mut(&placed.instance)) else { continue };
        if task.last_status() == TaskStatus::Stopped {
            continue;
        }
        match task.group.starts_with(SERVICE_GROUP_PREFIX) {
            true => left.to_move += 1,
            false => left.to_end += 1,
        }
        if left.tasks.len() < LEFT_TASKS_SHOWN_MAX {
            left.tasks.push(LeftTask {
                id: task.id.to_string(),
                cluster: task.cluster.to_string(),
                group: task.group.clone(),
                status: task.last_status().as_str(),
                protected_until_ms: task.protected_until.filter(|at| *at > now).map(|at| at.0),
            });
        }
    }
    left
}

/// One that is lost stays so until its agent is back, and is what was wished then.
async fn set_drains(cx: &Context, id: &str, drains: bool) -> Result<(), TransactFailure<Kept>> {
    let set = cx.store.transact(|txn| {
        let known = txn.get::<Instance>(id).ok_or(Kept::Unknown)?;
        let state = match known.state {
            InstanceState::Forgotten => return Err(Kept::Forgotten),
            InstanceState::Active | InstanceState::Draining => InstanceState::wished(drains),
            InstanceState::Lost => InstanceState::Lost,
        };
        txn.put(Instance { state, drains, ..(*known).clone() });
        Ok(())
    });
    set.await.map(|_| ())
}

/// What it held is given back, and its certificates open nothing any more.
async fn forget(cx: &Context, id: &str) -> Result<(), TransactFailure<Kept>> {
    let now = cx.now();
    let snapshot = cx.store.snapshot();
    let certificates = snapshot.scan::<AgentCertificate>("");
    let its = certificates.filter(|(_, certificate)| certificate.instance.as_str() == id);
    let certificates: Vec<String> = its.map(|(key, _)| key.to_owned()).collect();
    let forgotten = cx.store.transact(|txn| {
        let known = txn.get::<Instance>(id).ok_or(Kept::Unknown)?;
        if (cx.is_connected)(&InstanceId::from(id)) {
            return Err(Kept::Connected);
        }
        txn.put(Instance { state: InstanceState::Forgotten, ..(*known).clone() });
        for key in &certificates {
            if let Some(certificate) = txn.get::<AgentCertificate>(key) {
                txn.put(AgentCertificate { revoked_at: Some(now), ..(*certificate).clone() });
            }
        }
        Ok(())
    });
    forgotten.await.map(|_| ())
}

/// `validSeconds` is how long it may be used, `uses` by how many machines.
pub async fn join_token(cx: &Context, query: &str, request_id: &str) -> Reply {
    let (mut valid_seconds, mut uses) = (JOIN_TOKEN_SECONDS, 1);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let number = text.parse::<i64>().ok();
        match (name, number) {
            ("validSeconds", Some(n)) if (1..=JOIN_TOKEN_SECONDS_MAX).contains(&n) => {
                valid_seconds = n;
            }
            ("uses", Some(n)) if (1..=i64::from(JOIN_TOKEN_USES_MAX)).contains(&n) => {
                uses = u32::try_from(n).expect("JOIN_TOKEN_USES_MAX is one");
            }
            _ => {
                let message = format!(
                    "the parameters are validSeconds, 1 to {JOIN_TOKEN_SECONDS_MAX}, and uses, 1 \
                     to {JOIN_TOKEN_USES_MAX}, not {pair}"
                );
                return refuse(StatusCode::BAD_REQUEST, "BadParameter", message, request_id);
            }
        }
    }
    let Some(minted) = (cx.mint_join_token)() else {
        let message = "nobody listens for agents here: start `neargate up` with --listen-agents";
        return refuse(StatusCode::CONFLICT, "NotListening", message.to_owned(), request_id);
    };
    let now = cx.now();
    let token = JoinToken {
        id: minted.id,
        secret_sha256: minted.secret_sha256,
        created_at: now,
        expires_at: now.plus_seconds(valid_seconds),
        uses_max: uses,
        used: BTreeMap::new(),
    };
    let expires_at_ms = token.expires_at.0;
    let mut txn = cx.store.begin();
    txn.put(token);
    if let Err(failure) = txn.commit().await {
        tracing::error!(%failure, "a token could not be stored");
        let message = "the token could not be stored; the log says why".to_owned();
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "NotStored", message, request_id);
    }
    let answer = json!({
        "token": minted.text.expose(),
        "address": minted.address,
        "expiresAtMs": expires_at_ms,
        "uses": uses,
    });
    json(StatusCode::OK, request_id, answer.to_string().into_bytes())
}
