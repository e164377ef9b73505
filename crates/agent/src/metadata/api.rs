//! A way from tasks to our API, at 169.254.170.2:4566 of every VPC: bytes are carried to the
//! endpoint as they are, so that signatures, which cover the host name, hold. What a caller may do
//! there its signature says; that it is a task of ours is all that is asked here.

use super::server::accept;
use crate::Shared;
use crate::images::Images;
use crate::limits::API_CONNECT_TIMEOUT_MS;
use model::VpcId;
use runtime::Runtime;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::net::TcpStream;

/// Where our API is, as the newest session said.
#[derive(Default)]
pub struct Api(Mutex<Option<String>>);

impl Api {
    /// `http://HOST:PORT`.
    pub fn learn(&self, endpoint: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(endpoint.to_owned());
    }

    pub fn endpoint(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `HOST:PORT`.
    fn authority(&self) -> Option<String> {
        let endpoint = self.endpoint()?;
        let (_, rest) = endpoint.split_once("://")?;
        Some(rest.trim_end_matches('/').to_owned())
    }
}

pub async fn serve<R: Runtime, I: Images>(
    shared: Weak<Shared<R, I>>,
    vpc: VpcId,
    listener: std::net::TcpListener,
) -> io::Result<()> {
    accept(listener, move |stream, peer| {
        let SocketAddr::V4(peer) = peer else { return None };
        let shared = shared.upgrade()?;
        let resident = shared.residents.at(&vpc, *peer.ip())?;
        let place = resident.api_connections.clone().try_acquire_owned().ok()?;
        let authority = shared.api.authority()?;
        Some(async move {
            if let Err(failure) = carry(stream, &authority).await {
                tracing::debug!(%failure, "a task's connection to the API ended early");
            }
            drop(place);
        })
    })
    .await
}

async fn carry(mut task: TcpStream, authority: &str) -> io::Result<()> {
    let patience = Duration::from_millis(API_CONNECT_TIMEOUT_MS);
    let mut api = tokio::time::timeout(patience, TcpStream::connect(authority)).await??;
    task.set_nodelay(true)?;
    api.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut task, &mut api).await?;
    Ok(())
}
