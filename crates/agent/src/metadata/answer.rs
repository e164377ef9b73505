//! From a path to what is answered. A task asks by the ids of its own containers and of its own
//! role; those of others it could not name, and naming them would get it the same answer as a name
//! that nobody has. Words of refusals are amazon-ecs-agent's, which some clients show.

use super::document::{self, Version};
use super::protection;
use super::residents::Resident;
use super::stats::{self, Sample};
use crate::Shared;
use crate::credentials;
use crate::images::Images;
use crate::limits::{SAMPLE_APART_MS, SAMPLE_KEPT_MS};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use runtime::Runtime;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

pub type Answer = Response<Full<Bytes>>;

pub fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).expect("what is told has string keys only");
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}

pub fn unavailable() -> Answer {
    text(StatusCode::SERVICE_UNAVAILABLE, "the agent is ending\n")
}

/// What is asked for.
#[derive(PartialEq, Eq, Debug)]
enum Asked<'a> {
    Credentials { id: &'a str },
    Container(Version, &'a str),
    Task(Version, &'a str, WithTags),
    ContainerStats(Version, &'a str),
    TaskStats(Version, &'a str),
    Protection { id: &'a str },
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WithTags {
    Yes,
    No,
}

fn asked(path: &str) -> Asked<'_> {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let version = match parts[0] {
        "v3" => Version::V3,
        "v4" => Version::V4,
        "v2" if parts.get(1) == Some(&"credentials") && parts.len() <= 3 => {
            return Asked::Credentials { id: parts.get(2).unwrap_or(&"") };
        }
        "api" if parts.len() == 5 && parts[2..] == ["task-protection", "v1", "state"] => {
            return Asked::Protection { id: parts[1] };
        }
        _ => return Asked::Nothing,
    };
    let id = parts.get(1).unwrap_or(&"");
    match parts.get(2..).unwrap_or_default() {
        [] | [""] => Asked::Container(version, id),
        ["task"] => Asked::Task(version, id, WithTags::No),
        ["taskWithTags"] => Asked::Task(version, id, WithTags::Yes),
        ["stats"] => Asked::ContainerStats(version, id),
        ["task", "stats"] => Asked::TaskStats(version, id),
        _ => Asked::Nothing,
    }
}

pub async fn answer<R: Runtime, I: Images>(
    shared: &Shared<R, I>,
    resident: &Arc<Resident>,
    request: Request<Incoming>,
) -> Answer {
    if !resident.may_ask() {
        return text(StatusCode::TOO_MANY_REQUESTS, "You have reached maximum request limit.");
    }
    let path = request.uri().path().to_owned();
    let asked = asked(&path);
    if let Asked::Protection { id } = asked {
        return protection::answer(shared, resident, id, request).await;
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "405 method not allowed\n");
    }
    let assignment = resident.assignment();
    let report = shared.link.newest(&assignment.task);
    let report = report.as_ref();
    let place = |id: &str| assignment.inside.runtime_ids.iter().position(|own| own == id);
    match asked {
        Asked::Credentials { id } => credentials::answer(shared, resident, id).await,
        Asked::Container(version, id) => match place(id) {
            Some(at) => {
                json(StatusCode::OK, &document::container(version, &assignment, report, at))
            }
            None => not_found(version, "container metadata", NO_CONTAINER, id),
        },
        Asked::Task(version, id, with_tags) => match place(id) {
            Some(_) => {
                let with_tags = with_tags == WithTags::Yes;
                let storage = match version {
                    Version::V3 => None,
                    Version::V4 => shared.runtime.usage(&assignment.task).await.ok(),
                };
                let storage = storage.and_then(|usage| usage.storage);
                let told = document::task(version, &assignment, report, with_tags, storage);
                json(StatusCode::OK, &told)
            }
            None => not_found(version, "task metadata", NO_TASK, id),
        },
        Asked::ContainerStats(version, id) => match place(id) {
            Some(at) => match samples(shared, resident).await {
                Some((before, now)) => {
                    json(StatusCode::OK, &stats::container(&assignment, at, &before, &now))
                }
                None => failed(&format!("Unable to get container stats for: {id}")),
            },
            None => not_found(version, "container stats", NO_TASK, id),
        },
        Asked::TaskStats(version, id) => match place(id) {
            Some(_) => match samples(shared, resident).await {
                Some((before, now)) => {
                    json(StatusCode::OK, &stats::task(&assignment, &before, &now))
                }
                None => failed(&format!("Unable to get task stats for: {}", assignment.task_arn)),
            },
            None => not_found(version, "task stats", NO_TASK, id),
        },
        Asked::Protection { .. } | Asked::Nothing => {
            text(StatusCode::NOT_FOUND, "404 page not found\n")
        }
    }
}

const NO_CONTAINER: &str = "unable to get container ID from request: unable to get docker ID from \
                            v3 endpoint ID";
const NO_TASK: &str =
    "unable to get task arn from request: unable to get task Arn from v3 endpoint ID";

fn not_found(version: Version, handler: &str, why: &str, id: &str) -> Answer {
    // The older version's handlers call it a bad request.
    let status = match version {
        Version::V3 => StatusCode::BAD_REQUEST,
        Version::V4 => StatusCode::NOT_FOUND,
    };
    json(status, &format!("{version:?} {handler} handler: {why}: {id}"))
}

fn failed(why: &str) -> Answer {
    json(StatusCode::INTERNAL_SERVER_ERROR, &why)
}

/// What the task uses now and what it used a while before. None: it does not run.
async fn samples<R: Runtime, I: Images>(
    shared: &Shared<R, I>,
    resident: &Resident,
) -> Option<(Sample, Sample)> {
    let task = resident.assignment().task.clone();
    let take = async || {
        let usage = shared.runtime.usage(&task).await.ok()?;
        Some(Sample { at: shared.now(), usage })
    };
    // Whoever asks at the same time waits here for the same two moments.
    let mut last = resident.sample.lock().await;
    let age_ms = last.as_ref().map(|last| shared.now().since_ms(last.at));
    let before = match (&*last, age_ms) {
        (Some(last), Some(SAMPLE_APART_MS..=SAMPLE_KEPT_MS)) => last.clone(),
        _ => {
            let before = take().await?;
            tokio::time::sleep(Duration::from_millis(SAMPLE_APART_MS.unsigned_abs())).await;
            before
        }
    };
    let now = take().await?;
    *last = Some(now.clone());
    Some((before, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        let id = "0123-45";
        assert_eq!(asked("/v4/0123-45"), Asked::Container(Version::V4, id));
        assert_eq!(asked("/v4/0123-45/"), Asked::Container(Version::V4, id));
        assert_eq!(asked("/v3/0123-45/task"), Asked::Task(Version::V3, id, WithTags::No));
        assert_eq!(asked("/v4/0123-45/taskWithTags"), Asked::Task(Version::V4, id, WithTags::Yes));
        assert_eq!(asked("/v4/0123-45/stats"), Asked::ContainerStats(Version::V4, id));
        assert_eq!(asked("/v4/0123-45/task/stats"), Asked::TaskStats(Version::V4, id));
        assert_eq!(asked("/v2/credentials/abc"), Asked::Credentials { id: "abc" });
        assert_eq!(asked("/v2/credentials"), Asked::Credentials { id: "" });
        assert_eq!(asked("/v2/credentials/"), Asked::Credentials { id: "" });
        assert_eq!(asked("/api/0123-45/task-protection/v1/state"), Asked::Protection { id });
        assert_eq!(asked("/v4/"), Asked::Container(Version::V4, ""));
        for nothing in ["/", "", "/v5/x", "/v4/x/y", "/v2/credentials/a/b", "/v2", "/api/x"] {
            assert_eq!(asked(nothing), Asked::Nothing, "{nothing}");
        }
    }
}
