//! The stream of events, for the operator: each as EventBridge would give it, with its place in the
//! stream beside it. Source of the forms: ECS developer guide, ecs_task_events, ecs_service_events,
//! ecs_service_deployment_events.

use super::json;
use super::operator::{refuse, to_json};
use crate::context::Context;
use crate::dispatch::Reply;
use crate::limits::EVENTS_SHOWN_MAX;
use ::http::StatusCode;
use model::Timestamp;
use model::event::{Event, Happening};
use serde::Serialize;
use serde_json::{Map, Value, json as value};
use store::Snapshot;
use store::kinds::event_key;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    sequence: u64,
    event: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Events {
    events: Vec<Shown>,
    /// What to ask for next as `after`.
    last: u64,
}

/// `after` is the place of the last event that is known, `limit` how many to show.
pub fn answer(cx: &Context, query: &str, request_id: &str) -> Reply {
    let (mut after, mut limit) = (0, EVENTS_SHOWN_MAX);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let read = match pair.split_once('=') {
            Some(("after", text)) => text.parse().map(|number| after = number).is_ok(),
            Some(("limit", text)) => {
                let given = text.parse().ok();
                let given = given.filter(|given| (1..=EVENTS_SHOWN_MAX).contains(given));
                given.map(|given| limit = given).is_some()
            }
            _ => false,
        };
        if !read {
            let message = format!(
                "the parameters are after, a number, and limit, 1 to {EVENTS_SHOWN_MAX}, not {pair}"
            );
            return refuse(StatusCode::BAD_REQUEST, "BadParameter", message, request_id);
        }
    }
    let snapshot = cx.store.snapshot();
    let after_key = event_key(after);
    let later = snapshot.scan_from::<Event>("", &after_key).take(limit);
    let events: Vec<Shown> = later
        .map(|(_, event)| Shown { sequence: event.sequence, event: show(cx, &snapshot, &event) })
        .collect();
    let last = events.last().map_or(after, |shown| shown.sequence);
    json(StatusCode::OK, request_id, to_json(&Events { events, last }))
}

fn iso(at: Timestamp) -> String {
    wire::Timestamp::from_unix_ms(at.0).iso8601(true)
}

fn show(cx: &Context, snapshot: &Snapshot, event: &Event) -> Value {
    let (resource, detail) = match &event.happening {
        Happening::Task(task) => {
            let shown = crate::ecs::show_task(cx, snapshot, task, false);
            let text = serde_json::to_value(&shown).unwrap_or_default();
            (cx.locality.task(&task.cluster, &task.id), moments(text))
        }
        Happening::ServiceAction { cluster, service, name, level, reason } => {
            let detail = value!({
                "eventType": level.as_str(),
                "eventName": name,
                "clusterArn": cx.locality.cluster(cluster),
                "createdAt": iso(event.at),
                "reason": reason,
            });
            (cx.locality.service(cluster, service), detail)
        }
        Happening::Deployment { cluster, service, deployment, name, level, reason, updated_at } => {
            let detail = value!({
                "eventType": level.as_str(),
                "eventName": name,
                "deploymentId": deployment.as_str(),
                "updatedAt": iso(*updated_at),
                "reason": reason,
            });
            (cx.locality.service(cluster, service), detail)
        }
    };
    value!({
        "version": "0",
        "id": event.id,
        "detail-type": event.happening.detail_type(),
        "source": "aws.ecs",
        "account": cx.locality.account.as_str(),
        "time": iso(event.at),
        "region": cx.locality.region.as_str(),
        "resources": [resource],
        "detail": detail,
    })
}

/// Moments in events are text, where the API has seconds. Their names all end in `At`.
fn moments(shown: Value) -> Value {
    match shown {
        Value::Object(members) => {
            let read = |(name, member): (String, Value)| {
                let member = match member.as_f64().filter(|_| name.ends_with("At")) {
                    Some(seconds) => iso(Timestamp((seconds * 1000.0).round() as i64)).into(),
                    None => moments(member),
                };
                (name, member)
            };
            Value::Object(members.into_iter().map(read).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(moments).collect()),
        other => other,
    }
}
