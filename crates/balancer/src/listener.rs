//! Listeners: an address and a port that connections come in by. The socket stays for as long as a
//! table has it; what it serves (its site) is replaced under it.

use crate::connection::{Connection, Tls};
use crate::connection_log::{Opening, note};
use crate::core::Core;
use crate::counts::BalancerCount;
use crate::leash::{Leashes, Tied};
use crate::limits::{ACCEPT_RETRY_MS, HANDSHAKE_TIMEOUT_MS};
use crate::link::Link;
use crate::table::Site;
use arc_swap::ArcSwap;
use model::balancing::Protocol;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Where a listener's connections find what they serve now.
pub struct Seat {
    pub at: SocketAddrV4,
    site: ArcSwap<Site>,
}

impl Seat {
    /// Brings it up to date; leaves it alone, and uncounted, if it is. Whether it was not.
    pub fn renew(&self, site: &mut Arc<Site>) -> bool {
        let now = self.site.load();
        let is_old = !Arc::ptr_eq(&now, site);
        if is_old {
            *site = arc_swap::Guard::into_inner(now);
        }
        is_old
    }

    pub fn site(&self) -> Arc<Site> {
        self.site.load_full()
    }
}

/// A listener that runs. Dropping it does not end it; `close` does.
pub struct Listening {
    pub seat: Arc<Seat>,
    pub leashes: Arc<Leashes>,
    stop: oneshot::Sender<()>,
    stopped: Receiver<()>,
}

impl Listening {
    pub fn start(
        core: &Arc<Core>,
        at: SocketAddrV4,
        socket: std::net::TcpListener,
        site: Arc<Site>,
    ) -> Self {
        let seat = Arc::new(Seat { at, site: ArcSwap::new(site) });
        let leashes = Arc::new(Leashes::default());
        let (stop, told) = oneshot::channel();
        let (closed, stopped) = sync_channel(1);
        let accepting = accept(core.clone(), seat.clone(), leashes.clone(), socket);
        core.workers[0].spawn(async move {
            tokio::select! {
                () = accepting => {}
                // Also when nobody is left who could tell.
                _ = told => {}
            }
            // Nobody may wait for it any more.
            let _ = closed.send(());
        });
        Self { seat, leashes, stop, stopped }
    }

    pub fn replace(&self, site: Arc<Site>) {
        self.seat.site.store(site);
    }

    /// Closes the socket at once, so that another may listen there; requests go on to their end.
    pub fn close(self) -> Arc<Leashes> {
        // It has ended already if nobody hears.
        let _ = self.stop.send(());
        if self.stopped.recv_timeout(Duration::from_secs(1)).is_err() {
            tracing::warn!(at = %self.seat.at, "a listener did not close in time");
        }
        self.leashes.pull_all();
        self.leashes
    }
}

async fn accept(
    core: Arc<Core>,
    seat: Arc<Seat>,
    leashes: Arc<Leashes>,
    socket: std::net::TcpListener,
) {
    let socket = match TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(failure) => {
            tracing::error!(%failure, at = %seat.at, "a socket can't be listened on");
            return;
        }
    };
    loop {
        match socket.accept().await {
            Ok((stream, client)) => admit(&core, &seat, &leashes, stream, client),
            Err(failure) => {
                tracing::debug!(%failure, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
            }
        }
    }
}

/// Gives the connection to the next worker.
fn admit(
    core: &Arc<Core>,
    seat: &Arc<Seat>,
    leashes: &Arc<Leashes>,
    stream: TcpStream,
    client: SocketAddr,
) {
    let worker = core.next_worker();
    let tally = &seat.site().front.tally;
    tally.add(worker, BalancerCount::NewConnections, 1);
    let Some(admitted) = core.admit() else {
        tally.add(worker, BalancerCount::RejectedConnections, 1);
        return;
    };
    let stream = match stream.into_std() {
        Ok(stream) => stream,
        Err(failure) => {
            tracing::debug!(%failure, "a connection was lost");
            return;
        }
    };
    let (own, seat, tied) = (core.clone(), seat.clone(), leashes.take());
    core.workers[worker].spawn(async move {
        let _admitted = admitted;
        let stream = TcpStream::from_std(stream).and_then(|stream| {
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        match stream {
            Ok(stream) => serve(own, seat, tied, worker, stream, client).await,
            Err(failure) => tracing::debug!(%failure, "a connection was lost"),
        }
    });
}

async fn serve(
    core: Arc<Core>,
    seat: Arc<Seat>,
    tied: Tied,
    worker: usize,
    stream: TcpStream,
    client: SocketAddr,
) {
    let site = seat.site();
    let leash = tied.leash.clone();
    match (&site.tls, site.entry.protocol) {
        (_, Protocol::Tcp) => crate::tcp::serve(&core, &seat, &leash, worker, stream, client).await,
        (None, _) => {
            let link = Link::Plain(stream);
            let connection = Connection::new(core, seat, leash, worker, link, client, None);
            note(&connection.core, &site, client, connection.trace, Opening::Plain);
            drop(site);
            Box::pin(connection.serve()).await;
        }
        (Some(served), _) => {
            let acceptor = tokio_rustls::TlsAcceptor::from(served.config.clone());
            let limit = Duration::from_millis(HANDSHAKE_TIMEOUT_MS);
            let began = Instant::now();
            let handshake = tokio::time::timeout(limit, acceptor.accept(stream)).await;
            let Ok(Ok(stream)) = handshake else {
                site.front.tally.add(worker, BalancerCount::TlsErrors, 1);
                note(&core, &site, client, core.draw_wide(worker), Opening::Failed);
                return;
            };
            let (_, session) = stream.get_ref();
            let http2 = session.alpn_protocol() == Some(b"h2");
            let tls = Tls::of(session, &served.choice);
            let handshake = began.elapsed();
            let link = Link::Tls(Box::new(stream.into()));
            let connection = Connection::new(core, seat, leash, worker, link, client, Some(tls));
            if let Some(tls) = &connection.tls {
                let opening = Opening::Secure { tls, handshake };
                note(&connection.core, &site, client, connection.trace, opening);
            }
            drop(site);
            if http2 {
                Box::pin(crate::http2::serve(connection)).await;
            } else {
                Box::pin(connection.serve()).await;
            }
        }
    }
}
