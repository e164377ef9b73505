//! Connections to targets: one that is kept, or a new one.

use crate::answer::Trouble;
use crate::core::Core;
use crate::counts::GroupCount;
use crate::group::Group;
use crate::limits::{ATTEMPTS_MAX, CONNECT_IMPATIENT_MS, CONNECT_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS};
use crate::link::Link;
use crate::listener::Seat;
use crate::record::Record;
use crate::request::Route;
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

/// A connection to the route's target, kept (for at most `fresh_ms`) or new, which fails when the
/// target's machine falls silent. If that target takes none, to another, which the route leads to
/// from then on. Also: whether it was kept.
pub async fn reach(
    core: &Core,
    worker: usize,
    seat: &Seat,
    route: &mut Route,
    fresh_ms: u64,
    record: &mut Record,
) -> Result<(Link, bool), Trouble> {
    let mut attempt = 1;
    loop {
        record.target(&route.lease);
        let kept = (fresh_ms > 0).then(|| route.lease.take_kept(worker, fresh_ms)).flatten();
        if let Some(link) = kept {
            return Ok((link, true));
        }
        match dial(core, worker, &route.group, &route.lease).await {
            Ok(link) => {
                link.mind_silence(true);
                return Ok((link, false));
            }
            Err(failure) => {
                tracing::debug!(%failure, target = %route.lease.shown, "a target was not reached");
                failed(core, worker, route);
                if attempt == ATTEMPTS_MAX || !turn_away(core, worker, seat, route) {
                    return Err(failure.trouble());
                }
            }
        }
        attempt += 1;
    }
}

/// The route's target did not take a connection.
pub fn failed(core: &Core, worker: usize, route: &Route) {
    route.group.memory.tally.add(worker, GroupCount::ConnectionErrors, 1);
    core.suspect(&route.lease);
}

/// Another target, by the table as it is now. False: there is none.
pub fn turn_away(core: &Core, worker: usize, seat: &Seat, route: &mut Route) -> bool {
    if let Some(group) = seat.site().group(&route.group.id) {
        route.group = group.clone();
    }
    route.turn_away(core.draw(worker))
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
