//! Requests to the load balancer's name, one after the other from a few clients, as long as
//! somebody wants them: how many were answered, by which version, and what went wrong.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

const CLIENTS: usize = 4;
/// Between a client's requests, in milliseconds.
const PAUSE_MS: u64 = 5;
/// How long an answer may take, in seconds.
const ANSWER_SECONDS: u64 = 10;
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A client with connections of its own.
pub struct Visitor {
    http: Client<HttpConnector, Empty<Bytes>>,
    url: String,
}

impl Visitor {
    pub fn new(url: &str) -> Self {
        Self { http: Client::builder(TokioExecutor::new()).build_http(), url: url.to_owned() }
    }

    /// The text of one good answer.
    pub async fn visit(&self) -> Result<String> {
        let asking = self.http.get(self.url.parse().context("the URL is none")?);
        let limit = Duration::from_secs(ANSWER_SECONDS);
        let answer = tokio::time::timeout(limit, asking).await;
        let answer = answer.with_context(|| format!("no answer within {ANSWER_SECONDS} s"))??;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect();
        let body = tokio::time::timeout(limit, body).await.context("the answer stopped")?;
        let body = body.map_err(|failure| anyhow::anyhow!("the answer was cut off: {failure}"))?;
        let text = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        ensure!(status.is_success(), "{status}: {text}");
        Ok(text)
    }
}

/// What came of all requests.
#[derive(Default)]
pub struct Counts {
    /// By what answered: the first line up to its comma.
    pub answered: BTreeMap<String, u64>,
    pub failed: Vec<String>,
}

impl Counts {
    pub fn total(&self) -> u64 {
        self.answered.values().sum::<u64>() + self.failed.len() as u64
    }
}

pub struct Traffic {
    end: watch::Sender<bool>,
    answers: Arc<AtomicU64>,
    clients: JoinSet<Counts>,
}

impl Traffic {
    pub fn start(url: &str) -> Self {
        let (end, ended) = watch::channel(false);
        let (mut clients, answers) = (JoinSet::new(), Arc::<AtomicU64>::default());
        for _ in 0..CLIENTS {
            clients.spawn(send(Visitor::new(url), Arc::clone(&answers), ended.clone()));
        }
        Self { end, answers, clients }
    }

    /// Waits until so many more answers have come, good ones or not.
    pub async fn more(&self, count: u64) {
        let wanted = self.answers.load(Ordering::Relaxed) + count;
        while self.answers.load(Ordering::Relaxed) < wanted {
            tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
        }
    }

    /// Lets requests under way be answered.
    pub async fn end(mut self) -> Result<Counts> {
        self.end.send_replace(true);
        let mut all = Counts::default();
        while let Some(counts) = self.clients.join_next().await {
            let counts = counts.context("a client ended badly")?;
            for (what, count) in counts.answered {
                *all.answered.entry(what).or_default() += count;
            }
            all.failed.extend(counts.failed);
        }
        Ok(all)
    }
}

async fn send(visitor: Visitor, answers: Arc<AtomicU64>, end: watch::Receiver<bool>) -> Counts {
    let mut counts = Counts::default();
    while !*end.borrow() {
        match visitor.visit().await {
            Ok(text) => {
                let what = text.split(',').next().unwrap_or_default().to_owned();
                *counts.answered.entry(what).or_default() += 1;
            }
            Err(failure) => counts.failed.push(format!("{failure:#}")),
        }
        answers.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
    }
    counts
}
