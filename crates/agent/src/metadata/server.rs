//! HTTP at 169.254.170.2:80 of one VPC: accepts, finds out which task calls, and lets it ask.

use super::answer;
use crate::Shared;
use crate::images::Images;
use crate::limits::{ACCEPT_RETRY_MS, INSIDE_HEAD_TIMEOUT_MS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::VpcId;
use runtime::Runtime;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Weak;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Accepts calls from a VPC's tasks until the agent ends; each is served by `talk`.
pub async fn accept<F, Fut>(listener: std::net::TcpListener, mut talk: F) -> io::Result<()>
where
    F: FnMut(TcpStream, SocketAddr) -> Option<Fut>,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::from_std(listener)?;
    // They end with this.
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(talking) = talk(stream, peer) {
                        open.spawn(talking);
                    }
                }
                Err(failure) => {
                    tracing::warn!(%failure, "a task's connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
                }
            },
            Some(ended) = open.join_next() => {
                if let Err(failure) = ended {
                    tracing::error!(%failure, "a task's connection ended badly");
                }
            }
        }
    }
}

pub async fn serve<R: Runtime, I: Images>(
    shared: Weak<Shared<R, I>>,
    vpc: VpcId,
    listener: std::net::TcpListener,
) -> io::Result<()> {
    accept(listener, move |stream, peer| {
        let SocketAddr::V4(peer) = peer else { return None };
        // A caller that is no task of ours is hung up on.
        let resident = shared.upgrade()?.residents.at(&vpc, *peer.ip())?;
        let place = resident.connections.clone().try_acquire_owned().ok()?;
        let shared = shared.clone();
        Some(async move {
            let service = service_fn(move |request| {
                let (shared, resident) = (shared.clone(), resident.clone());
                async move {
                    let answered = match shared.upgrade() {
                        Some(shared) => answer::answer(&shared, &resident, request).await,
                        None => answer::unavailable(),
                    };
                    Ok::<_, Infallible>(answered)
                }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_millis(INSIDE_HEAD_TIMEOUT_MS))
                .serve_connection(TokioIo::new(stream), service);
            if let Err(failure) = served.await {
                tracing::debug!(%failure, "a task's connection ended early");
            }
            drop(place);
        })
    })
    .await
}
