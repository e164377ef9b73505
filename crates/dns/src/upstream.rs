//! Asking on: questions that are about nothing of ours go to the instance's resolvers, over UDP
//! from a port and with an id of their own each, over TCP where the client came so. An answer
//! counts only if it is one to that very question.

use crate::limits::{TCP_BYTES_MAX, UPSTREAM_ROUNDS, UPSTREAM_TIMEOUT_MS};
use crate::message::Question;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    Udp,
    Tcp,
}

/// The first answer that any of the resolvers gives, with the question's own id. None: none gave
/// one in time.
pub async fn ask(
    resolvers: &[SocketAddr],
    question: &Question,
    bytes: &[u8],
    transport: Transport,
    random: u128,
) -> Option<Vec<u8>> {
    for round in 0..UPSTREAM_ROUNDS {
        for (n, resolver) in resolvers.iter().enumerate() {
            let turn = round * resolvers.len() + n;
            let id = (random >> (16 * (turn % 8))) as u16;
            let patience = Duration::from_millis(UPSTREAM_TIMEOUT_MS);
            let asked = exchange(*resolver, question, bytes, transport, id);
            match tokio::time::timeout(patience, asked).await {
                Ok(Ok(mut answer)) => {
                    answer[..2].copy_from_slice(&question.id.to_be_bytes());
                    return Some(answer);
                }
                Ok(Err(failure)) => tracing::debug!(%resolver, %failure, "a resolver failed"),
                Err(_) => tracing::debug!(%resolver, "a resolver gave no answer in time"),
            }
        }
    }
    None
}

async fn exchange(
    resolver: SocketAddr,
    question: &Question,
    bytes: &[u8],
    transport: Transport,
    id: u16,
) -> io::Result<Vec<u8>> {
    let mut asked = bytes.to_vec();
    asked[..2].copy_from_slice(&id.to_be_bytes());
    match transport {
        Transport::Udp => over_udp(resolver, question, &asked, id).await,
        Transport::Tcp => over_tcp(resolver, question, &asked, id).await,
    }
}

async fn over_udp(
    resolver: SocketAddr,
    question: &Question,
    asked: &[u8],
    id: u16,
) -> io::Result<Vec<u8>> {
    let own: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).await?;
    socket.connect(resolver).await?;
    socket.send(asked).await?;
    let mut answer = vec![0; TCP_BYTES_MAX];
    loop {
        let length = socket.recv(&mut answer).await?;
        if question.is_answered_by(id, &answer[..length]) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn over_tcp(
    resolver: SocketAddr,
    question: &Question,
    asked: &[u8],
    id: u16,
) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    write(&mut stream, asked).await?;
    let answer = read(&mut stream).await?.unwrap_or_default();
    match question.is_answered_by(id, &answer) {
        true => Ok(answer),
        false => Err(io::Error::other("an answer to another question")),
    }
}

/// A message with its length in front. None: the stream has ended.
pub async fn read(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 2];
    match stream.read_exact(&mut length).await {
        Err(failure) if failure.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).await?;
    Ok(Some(bytes))
}

pub async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}
