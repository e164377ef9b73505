//! The application that `bench deploy` rolls out: this program itself, by a hidden subcommand: it
//! is static and so a whole image by itself. It answers every request with a name that no other
//! instance has, so that a prober sees who serves. Its port is shared (SO_REUSEPORT), as Docker
//! swarm's tasks lie beside each other in the host's network, where the kernel is their balancer.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// The hidden subcommand.
pub const WORKER: &str = "deploy-task";
/// Where the program lies in its image.
pub const PROGRAM: &str = "/serve";
pub const PORT: u16 = 8080;
const BACKLOG: u32 = 1024;
/// Connections that are in the queue when it is told to end are served still.
const LAST_ACCEPT: Duration = Duration::from_millis(20);
/// And so are requests under way.
const LAST_ANSWER: Duration = Duration::from_millis(100);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

pub fn command() -> [String; 2] {
    [PROGRAM.to_owned(), WORKER.to_owned()]
}

pub fn worker() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve())
}

async fn serve() -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let born = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock after 1970")?;
    let mut noise = [0; 8];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut noise)?;
    let name: Arc<str> = format!("{}-{:x}", born.as_millis(), u64::from_le_bytes(noise)).into();
    let listener = socket.listen(BACKLOG)?;
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => take(accepted, &mut open, &name),
            _ = terminate.recv() => break,
            // What has ended is forgotten.
            Some(_) = open.join_next() => {}
        }
    }
    finish(listener, open, &name).await;
    Ok(())
}

fn take(
    accepted: std::io::Result<(TcpStream, SocketAddr)>,
    open: &mut JoinSet<()>,
    name: &Arc<str>,
) {
    // Who gave up before it was accepted wants no answer.
    if let Ok((stream, _)) = accepted {
        open.spawn(answer(stream, Arc::clone(name)));
    }
}

async fn finish(listener: TcpListener, mut open: JoinSet<()>, name: &Arc<str>) {
    while let Ok(accepted) = tokio::time::timeout(LAST_ACCEPT, listener.accept()).await {
        take(accepted, &mut open, name);
    }
    drop(listener);
    // Connections that are kept and idle need not end by themselves.
    tokio::time::timeout(LAST_ANSWER, async { while open.join_next().await.is_some() {} })
        .await
        .ok();
}

async fn answer(mut stream: TcpStream, name: Arc<str>) {
    let mut buffer: Vec<u8> = Vec::new();
    loop {
        while let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let closes = head.contains("\r\nconnection: close\r\n");
            let connection = if closes { "close" } else { "keep-alive" };
            let text = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: {connection}\r\n\r\n{name}",
                name.len()
            );
            if stream.write_all(text.as_bytes()).await.is_err() || closes {
                return;
            }
        }
        let read = stream.read_buf(&mut buffer).await;
        if !matches!(read, Ok(1..)) || buffer.len() > HEAD_BYTES_MAX {
            return;
        }
    }
}
