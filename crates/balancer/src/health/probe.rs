//! One question to one target: a TCP connection, a GET by HTTP/1.1 or HTTP/2, or a gRPC call, in
//! plain or over TLS, on a connection of its own that is closed afterwards, as ELB's is.

use super::Checked;
use super::codes::wanted;
use super::standing::Answer;
use crate::doors::Doors;
use crate::limits::CHECK_ANSWER_BYTES_MAX;
use crate::trust;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use model::balancing::{Protocol, ProtocolVersion};
use rustls::pki_types::ServerName;
use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

pub struct Prober {
    doors: Arc<dyn Doors>,
    turns: Semaphore,
    http1: TlsConnector,
    http2: TlsConnector,
}

/// Why there is no answer.
enum Silent {
    /// The target's doing: refused, closed, unintelligible.
    Theirs,
    Ours,
}

/// An empty message of gRPC: not compressed, no bytes.
const EMPTY_MESSAGE: &[u8] = &[0, 0, 0, 0, 0];

impl Prober {
    pub fn new(doors: Arc<dyn Doors>, at_once: usize) -> Prober {
        Prober {
            doors,
            turns: Semaphore::new(at_once),
            http1: TlsConnector::from(Arc::new(trust::client(&[b"http/1.1"]))),
            http2: TlsConnector::from(Arc::new(trust::client(&[b"h2"]))),
        }
    }

    pub async fn ask(&self, checked: &Checked) -> Answer {
        let Ok(_turn) = self.turns.acquire().await else { return Answer::Ours };
        let limit = Duration::from_secs(u64::from(checked.check.timeout_seconds.max(1)));
        match tokio::time::timeout(limit, self.answer(checked)).await {
            Err(_) => Answer::TimedOut,
            Ok(Ok(answer)) => answer,
            Ok(Err(Silent::Theirs)) => Answer::Failed,
            Ok(Err(Silent::Ours)) => Answer::Ours,
        }
    }

    async fn answer(&self, checked: &Checked) -> Result<Answer, Silent> {
        let port = checked.check.port.unwrap_or(checked.address.port());
        let at = SocketAddrV4::new(*checked.address.ip(), port);
        let stream = self.connect(checked, at).await?;
        let http2 = checked.version != ProtocolVersion::Http1;
        match checked.check.protocol {
            Protocol::Tcp => Ok(Answer::Passed),
            Protocol::Http => get(stream, checked, at, "http").await,
            Protocol::Https => {
                let connector = if http2 { &self.http2 } else { &self.http1 };
                let name = ServerName::IpAddress((*at.ip()).into());
                let stream = connector.connect(name, stream).await.map_err(|_| Silent::Theirs)?;
                get(stream, checked, at, "https").await
            }
        }
    }

    async fn connect(&self, checked: &Checked, at: SocketAddrV4) -> Result<TcpStream, Silent> {
        let begun = self.doors.connect(&checked.vpc, checked.from, at).map_err(|e| whose(&e))?;
        let stream = TcpStream::from_std(begun).map_err(|_| Silent::Ours)?;
        stream.writable().await.map_err(|_| Silent::Ours)?;
        match stream.take_error() {
            Ok(None) => Ok(stream),
            Ok(Some(error)) | Err(error) => Err(whose(&error)),
        }
    }
}

/// Refused or unreachable is the target's; no descriptor or no address left is ours.
fn whose(error: &io::Error) -> Silent {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable,
        TimedOut,
    };
    match error.kind() {
        ConnectionRefused | ConnectionReset | ConnectionAborted | HostUnreachable
        | NetworkUnreachable | TimedOut => Silent::Theirs,
        _ => Silent::Ours,
    }
}

async fn get<S>(
    stream: S,
    checked: &Checked,
    at: SocketAddrV4,
    scheme: &str,
) -> Result<Answer, Silent>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (answer, driver) = exchange(stream, checked, at, scheme).await?;
    let check = &checked.check;
    let judged = match checked.version {
        ProtocolVersion::Grpc => match grpc_code(answer).await {
            Some(code) if wanted(&check.matcher, code) => Answer::Passed,
            Some(code) => Answer::Code(code),
            None => Answer::Failed,
        },
        ProtocolVersion::Http1 | ProtocolVersion::Http2 => {
            let code = u32::from(answer.status().as_u16());
            let passed = wanted(&check.matcher, code);
            // Its end is read too: a target should not see its answer cut off.
            let mut body = answer.into_body();
            let mut rest = CHECK_ANSWER_BYTES_MAX;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(left) = rest.checked_sub(length) else { break };
                rest = left;
            }
            if passed { Answer::Passed } else { Answer::Code(code) }
        }
    };
    drop(driver);
    Ok(judged)
}

/// Ends the connection's task with the check, however that ends.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange<S>(
    stream: S,
    checked: &Checked,
    at: SocketAddrV4,
    scheme: &str,
) -> Result<(Response<Incoming>, Driver), Silent>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let io = TokioIo::new(stream);
    let theirs = |_| Silent::Theirs;
    let request = request(checked, at, scheme).ok_or(Silent::Ours)?;
    if checked.version == ProtocolVersion::Http1 {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(io).await.map_err(theirs)?;
        let driver = Driver(tokio::spawn(connection).abort_handle());
        return Ok((sender.send_request(request).await.map_err(theirs)?, driver));
    }
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut sender, connection) = handshake.await.map_err(theirs)?;
    let driver = Driver(tokio::spawn(connection).abort_handle());
    Ok((sender.send_request(request).await.map_err(theirs)?, driver))
}

fn request(checked: &Checked, at: SocketAddrV4, scheme: &str) -> Option<Request<Full<Bytes>>> {
    let path = &checked.check.path;
    let path = if path.starts_with('/') { path.clone() } else { format!("/{path}") };
    let builder = Request::builder().header(http::header::USER_AGENT, "ELB-HealthChecker/2.0");
    let request = match checked.version {
        ProtocolVersion::Http1 => builder
            .uri(path)
            .header(http::header::HOST, at.to_string())
            .header(http::header::CONNECTION, "close")
            .header(http::header::ACCEPT_ENCODING, "gzip, compressed")
            .body(Full::default()),
        ProtocolVersion::Http2 => builder
            .uri(format!("{scheme}://{at}{path}"))
            .header(http::header::ACCEPT_ENCODING, "gzip, compressed")
            .body(Full::default()),
        ProtocolVersion::Grpc => builder
            .method(Method::POST)
            .uri(format!("{scheme}://{at}{path}"))
            .header(http::header::CONTENT_TYPE, "application/grpc")
            .header(http::header::TE, "trailers")
            .body(Full::new(Bytes::from_static(EMPTY_MESSAGE))),
    };
    request.ok()
}

/// The code of a gRPC answer: in its trailers, or in its head when there is nothing else.
async fn grpc_code(answer: Response<Incoming>) -> Option<u32> {
    if answer.status() != StatusCode::OK {
        return None;
    }
    let code = |headers: &HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    if let Some(code) = code(answer.headers()) {
        return Some(code);
    }
    let mut body = answer.into_body();
    let mut rest = CHECK_ANSWER_BYTES_MAX;
    loop {
        let frame = body.frame().await?.ok()?;
        if let Some(trailers) = frame.trailers_ref() {
            return code(trailers);
        }
        rest = rest.checked_sub(frame.data_ref().map_or(0, Bytes::len))?;
    }
}
