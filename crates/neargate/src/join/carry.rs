//! The API and the registry as an agent elsewhere reaches them: a port on the machine's loopback
//! whose connections are carried, byte for byte, through TLS to the control plane. Signatures and
//! passwords are checked there as those of any other caller.

use super::HTTP;
use super::accept::accept;
use super::membership::Membership;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// Connections carried at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 1024;

pub async fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Carries until it is dropped.
pub async fn carry(listener: TcpListener, membership: Arc<Membership>) {
    accept(listener, CONNECTIONS_MAX, |stream, _| {
        let membership = Arc::clone(&membership);
        async move {
            if let Err(failure) = carry_one(stream, &membership).await {
                tracing::debug!(%failure, "a connection to the control plane ended");
            }
        }
    })
    .await;
}

async fn carry_one(mut near: TcpStream, membership: &Membership) -> io::Result<()> {
    near.set_nodelay(true)?;
    let mut far = membership.connect(HTTP).await?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}
