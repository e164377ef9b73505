//! The API and the registry as an agent elsewhere reaches them: a port on the machine's loopback
//! whose connections are carried, byte for byte, through TLS to the control plane. Signatures and
//! passwords are checked there as those of any other caller.

use super::HTTP;
use super::membership::Membership;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections carried at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;
/// How long to wait after the system refused a connection, in milliseconds.
const ACCEPT_RETRY_MS: u64 = 50;

pub async fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Carries until it is dropped.
pub async fn carry(listener: TcpListener, membership: Arc<Membership>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // They end with this.
    let mut open = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let membership = Arc::clone(&membership);
                    open.spawn(async move {
                        if let Err(failure) = carry_one(stream, &membership).await {
                            tracing::debug!(%failure, "a connection to the control plane ended");
                        }
                        drop(place);
                    });
                }
                Err(failure) => {
                    tracing::warn!(%failure, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(ACCEPT_RETRY_MS)).await;
                }
            },
            Some(ended) = open.join_next() => {
                if let Err(failure) = ended {
                    tracing::error!(%failure, "a carried connection ended badly");
                }
            }
        }
    }
}

async fn carry_one(mut near: TcpStream, membership: &Membership) -> io::Result<()> {
    near.set_nodelay(true)?;
    let mut far = membership.connect(HTTP).await?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}
