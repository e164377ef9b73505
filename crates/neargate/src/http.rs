//! The one endpoint: connections are accepted here and each request goes to the registry or the
//! frontend by its path. HTTP/1.1 and HTTP/2 without TLS, as a local AWS endpoint is spoken to.

use bytes::Bytes;
use frontend::Frontend;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use registry::Registry;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Connections served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 8192;
/// How long a client may take to send a request's head, in milliseconds.
const HEAD_TIMEOUT_MS: u64 = 30_000;
/// How long requests under way may take to finish at the end, in milliseconds.
const FINISH_TIMEOUT_MS: u64 = 5_000;
/// How long to wait after the system refused a connection (out of descriptors, say), in
/// milliseconds.
const ACCEPT_RETRY_MS: u64 = 50;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, BoxError>;

#[derive(Clone)]
pub struct Router {
    pub frontend: Arc<Frontend>,
    pub registry: Registry,
}

impl Router {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        if Registry::serves(request.uri().path()) {
            let response = self.registry.handle(request).await;
            return Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()));
        }
        let response = self.frontend.handle(request).await;
        Ok(response.map(|body| body.map_err(|never| match never {}).boxed_unsync()))
    }
}

/// Serves until told to end, then lets requests under way finish.
pub async fn serve(listener: TcpListener, router: Router, mut end: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(failure) => {
                    tracing::warn!(%failure, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
                    continue;
                }
            },
            () = told(&mut end) => break,
        };
        let watcher = graceful.watcher();
        let router = router.clone();
        tokio::spawn(async move {
            converse(stream, router, watcher).await;
            drop(place);
        });
    }
    drop(listener);
    let finished =
        tokio::time::timeout(Duration::from_millis(FINISH_TIMEOUT_MS), graceful.shutdown());
    if finished.await.is_err() {
        tracing::warn!("some requests were cut off: they took too long to finish");
    }
}

pub async fn told(end: &mut watch::Receiver<bool>) {
    // A sender that is gone means the end as well.
    let _ = end.wait_for(|end| *end).await;
}

/// HTTP on a stream that an agent opened; requests under way at the end are cut off.
pub async fn converse_with_agent<S>(stream: S, router: Router)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| router.clone().answer(request));
    let builder = builder();
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(failure) = served.await {
        tracing::debug!(%failure, "an agent's connection ended early");
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(HEAD_TIMEOUT_MS));
    builder.http2().timer(TokioTimer::new());
    builder
}

async fn converse(
    stream: TcpStream,
    router: Router,
    watcher: hyper_util::server::graceful::Watcher,
) {
    if let Err(failure) = stream.set_nodelay(true) {
        tracing::debug!(%failure, "a connection was lost as it was made");
        return;
    }
    let builder = builder();
    let service = service_fn(move |request| router.clone().answer(request));
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    if let Err(failure) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%failure, "a connection ended early");
    }
}
