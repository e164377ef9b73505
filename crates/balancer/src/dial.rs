//! Connections to targets: one that is kept, or a new one.

use crate::answer::Trouble;
use crate::core::Core;
use crate::group::Group;
use crate::limits::{CONNECT_IMPATIENT_MS, CONNECT_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS};
use crate::link::Link;
use crate::target::Target;
use rustls::pki_types::ServerName;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    #[error("no connection in time")]
    TimedOut,
    #[error("no TLS: {0}")]
    Tls(io::Error),
}

impl Failure {
    pub const fn trouble(&self) -> Trouble {
        match self {
            Self::TimedOut => Trouble::GatewayTimeout,
            Self::Connect(_) | Self::Tls(_) => Trouble::BadGateway,
        }
    }
}

/// A new connection, from one of the load balancer's addresses.
pub async fn dial(core: &Core, worker: usize, group: &Group, to: &Target) -> Result<Link, Failure> {
    let stream = connect(core, worker, group, to).await?;
    if !to.place.secure {
        return Ok(Link::Plain(stream));
    }
    let name = ServerName::IpAddress((*to.place.address.ip()).into());
    let handshake = core.client_tls.connect(name, stream);
    match tokio::time::timeout(Duration::from_millis(HANDSHAKE_TIMEOUT_MS), handshake).await {
        Ok(Ok(stream)) => Ok(Link::Tls(Box::new(stream.into()))),
        Ok(Err(failure)) => Err(Failure::Tls(failure)),
        Err(_) => Err(Failure::TimedOut),
    }
}

pub async fn connect(
    core: &Core,
    worker: usize,
    group: &Group,
    to: &Target,
) -> Result<TcpStream, Failure> {
    let turn = crate::choose::evenly(core.draw(worker), group.from.len().max(1));
    let from = group.from.get(turn).copied().unwrap_or(std::net::Ipv4Addr::UNSPECIFIED);
    let stream = core.doors.connect(&to.place.vpc, from, to.place.address)?;
    let stream = TcpStream::from_std(stream)?;
    let limit = if group.has_others() { CONNECT_IMPATIENT_MS } else { CONNECT_TIMEOUT_MS };
    let limit = Duration::from_millis(limit);
    match tokio::time::timeout(limit, stream.writable()).await {
        Ok(ready) => ready?,
        Err(_) => return Err(Failure::TimedOut),
    }
    if let Some(failure) = stream.take_error()? {
        return Err(failure.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}
