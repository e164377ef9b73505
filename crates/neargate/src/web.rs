//! The demo's web application: it says which version it is, and as which task it runs, which it
//! asks of the task metadata endpoint as any application would. Told to end, it finishes what it
//! began.

use crate::http::told;
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::Value;
use std::convert::Infallible;
use std::env;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub const PORT: u16 = 8080;
/// The variable that says which version it is.
pub const VERSION: &str = "VERSION";
/// Bytes of the metadata endpoint's answer.
const METADATA_BYTES_MAX: usize = 1 << 20;
/// How long requests under way may take at the end, in seconds.
const FINISH_SECONDS: u64 = 10;
/// Characters of a task's id that tell it from the few others of a demo.
pub const SHORT_ID: usize = 8;

/// What is told of itself.
struct Page {
    version: String,
    task: String,
    address: String,
}

pub async fn run() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let (end, ended) = watch::channel(false);
    let page = Arc::new(Page::of_this_task().await?);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    println!("version {} listens as task {}", page.version, page.task);
    let serving = tokio::spawn(serve(listener, Arc::clone(&page), ended));
    terminate.recv().await;
    end.send_replace(true);
    serving.await.context("serving ended badly")?;
    println!("version {} ends as task {}", page.version, page.task);
    Ok(())
}

async fn serve(listener: TcpListener, page: Arc<Page>, mut end: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(failure) => {
                    eprintln!("a connection could not be accepted: {failure}");
                    continue;
                }
            },
            () = told(&mut end) => break,
        };
        let page = Arc::clone(&page);
        let service = service_fn(move |request| {
            let answer = page.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new());
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // Who goes away in the middle knows it.
            let _ = watched.await;
        });
    }
    drop(listener);
    let finished = tokio::time::timeout(Duration::from_secs(FINISH_SECONDS), graceful.shutdown());
    if finished.await.is_err() {
        eprintln!("requests were cut off: they took too long to finish");
    }
}

impl Page {
    async fn of_this_task() -> Result<Self> {
        let version = env::var(VERSION).unwrap_or_else(|_| "unknown".to_owned());
        let told = match env::var("ECS_CONTAINER_METADATA_URI_V4") {
            Ok(base) => metadata(&format!("{base}/task")).await?,
            // It also runs where there is no such endpoint.
            Err(_) => Value::Null,
        };
        let text = |pointer: &str| told.pointer(pointer).and_then(Value::as_str);
        let task = text("/TaskARN").and_then(|arn| arn.rsplit('/').next()).unwrap_or("unknown");
        let address = text("/Containers/0/Networks/0/IPv4Addresses/0").unwrap_or("unknown");
        let task = task.chars().take(SHORT_ID).collect();
        Ok(Self { version, task, address: address.to_owned() })
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let Self { version, task, address } = self;
        let accepts = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        let (kind, text) = if accepts.is_some_and(|kinds| kinds.contains("text/html")) {
            let text = format!(
                "<!doctype html><meta charset=utf-8><title>Neargate</title>\
                 <body style=\"font: 1.5em sans-serif; margin: 4em\">\
                 <h1>Hello from version {version}</h1>\
                 <p>I am task <b>{task}</b>, and my address is {address}. \
                 Reload, and another task may answer.</p>\n"
            );
            ("text/html; charset=utf-8", text)
        } else {
            let text = format!("Hello from version {version}, task {task} at {address}\n");
            ("text/plain; charset=utf-8", text)
        };
        let response = Response::builder().header(CONTENT_TYPE, kind);
        response.body(Full::from(text)).expect("the header's value is a constant")
    }
}

async fn metadata(url: &str) -> Result<Value> {
    let client: Client<HttpConnector, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let asking = client.get(url.parse().with_context(|| format!("{url} is no address"))?);
    let answer = asking.await.context("the metadata endpoint does not answer")?;
    let body = Limited::new(answer.into_body(), METADATA_BYTES_MAX).collect().await;
    let body = body.map_err(|failure| anyhow::anyhow!("the metadata were cut off: {failure}"))?;
    serde_json::from_slice(&body.to_bytes()).context("the metadata are no JSON")
}
