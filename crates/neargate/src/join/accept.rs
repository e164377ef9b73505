//! A port whose connections are served side by side, up to so many at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long to wait after the system refused a connection, in milliseconds.
const ACCEPT_RETRY_MS: u64 = 50;

/// Serves each connection with what `serve` makes of it, until this is dropped. More than
/// `connections_max` wait to be accepted.
pub async fn accept<F, Fut>(listener: TcpListener, connections_max: usize, serve: F)
where
    F: Fn(TcpStream, SocketAddr) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(connections_max));
    // They end with this.
    let mut open = JoinSet::new();
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let served = serve(stream, peer);
                    open.spawn(async move {
                        served.await;
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
                    tracing::error!(%failure, "a connection ended badly");
                }
            }
        }
    }
}
