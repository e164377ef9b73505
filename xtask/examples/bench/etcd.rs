//! etcd as a contender: one member, loaded over gRPC as a control plane would. Of gRPC no more is
//! spoken than `KV.Put` takes: two fields of bytes in a frame, over a connection of HTTP/2.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::Setting;
use crate::machine;
use crate::meter::Meter;
use crate::neargate::ms;
use crate::process::Server;
use crate::stats::{Round, Samples};

/// As the store's own benchmark has them.
const RECORDS: u64 = 10_000;
const VALUE_BYTES: usize = 700;
const COUNTED: Duration = Duration::from_secs(3);
/// Writers share connections, as goroutines of one client would.
const WRITERS_PER_CONNECTION: usize = 16;

pub struct Etcd {
    pub version: String,
    address: String,
    // The server ends before its group is looked through.
    _server: Server,
    meter: Meter,
}

impl Etcd {
    /// On an empty folder.
    pub async fn start(setting: &Setting, name: &str) -> Result<Etcd> {
        let version = machine::version("etcd", "--version").context("etcd can't be run")?;
        let meter = Meter::make("etcd")?;
        let [client, peer] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0"));
        let (client, peer) = (client?.local_addr()?, peer?.local_addr()?);
        let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
        let mut command = meter.command("etcd");
        command.args(["--name", "bench", "--log-level", "error"]);
        command.arg("--data-dir").arg(setting.folder(name)?);
        command.args(["--initial-cluster", &format!("bench={peer_url}")]);
        for option in ["--listen-client-urls", "--advertise-client-urls"] {
            command.args([option, &client_url]);
        }
        for option in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
            command.args([option, &peer_url]);
        }
        let mut server = Server::start("etcd", command, setting.work.path())?;
        server.wait_for(|| std::net::TcpStream::connect(client).ok())?;
        let etcd = Etcd { version, address: client.to_string(), _server: server, meter };
        // It listens before it has elected itself; the first write waits for that.
        put(&mut etcd.connect().await?, 0).await?;
        Ok(etcd)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // Its failure is seen by the request that it takes with it.
        tokio::spawn(async move { driver.await.ok() });
        Ok(sender)
    }

    /// Puts in a closed loop by so many writers at once.
    pub async fn round(&self, writers: usize) -> Result<Round> {
        let mut connections = Vec::new();
        for _ in 0..writers.div_ceil(WRITERS_PER_CONNECTION) {
            connections.push(self.connect().await?);
        }
        let cpu_ms = self.meter.cpu_ms();
        let began = Instant::now();
        let loops: Vec<_> = (0..writers)
            .map(|writer| {
                let connection = connections[writer % connections.len()].clone();
                tokio::spawn(write(connection, writer as u64, writers as u64, began + COUNTED))
            })
            .collect();
        let mut times_ms = Samples::default();
        for writer in loops {
            times_ms.extend(&writer.await.context("a writer was cut off")??);
        }
        let count = times_ms.len() as f64;
        Ok(Round {
            per_second: count / began.elapsed().as_secs_f64(),
            cpu_ms: (self.meter.cpu_ms() - cpu_ms) / count,
            times_ms,
        })
    }
}

async fn write(
    mut connection: SendRequest<Full<Bytes>>,
    writer: u64,
    writers: u64,
    until: Instant,
) -> Result<Samples> {
    let mut times_ms = Samples::default();
    let mut random = writer + 1;
    while Instant::now() < until {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let began = Instant::now();
        put(&mut connection, (random >> 33) % (RECORDS / writers) * writers + writer).await?;
        times_ms.push(ms(began.elapsed()));
    }
    Ok(times_ms)
}

/// One `etcdserverpb.KV/Put`.
async fn put(connection: &mut SendRequest<Full<Bytes>>, record: u64) -> Result<()> {
    // Keys as random as task ids are.
    let key = format!("default/{:016x}", record.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let request = Request::post("http://etcd/etcdserverpb.KV/Put")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(frame(key.as_bytes(), &[b'x'; VALUE_BYTES])))?;
    connection.ready().await?;
    let answer = connection.send_request(request).await?;
    let headers = answer.headers().clone();
    let body = answer.into_body().collect().await?;
    // In the trailers, or in the headers of an answer without a body.
    let trailers = body.trailers().cloned().unwrap_or(headers);
    match trailers.get("grpc-status").map(http::HeaderValue::as_bytes) {
        Some(b"0") => Ok(()),
        _ => bail!("etcd answered {trailers:?}"),
    }
}

/// A gRPC frame with the fields 1 and 2 of a `PutRequest`.
fn frame(key: &[u8], value: &[u8]) -> Bytes {
    let mut message = Vec::with_capacity(key.len() + value.len() + 8);
    for (field, bytes) in [(1u8, key), (2, value)] {
        message.push(field << 3 | 2);
        let mut length = bytes.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(bytes);
    }
    let mut frame = vec![0];
    let length = u32::try_from(message.len()).expect("a message of two short fields");
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&message);
    Bytes::from(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_is_framed_as_protobuf_and_grpc_have_it() {
        let bytes = frame(b"k", &[7; 300]);
        assert_eq!(&bytes[..5], [0, 0, 0, 1, 50]);
        assert_eq!(&bytes[5..8], [0x0a, 1, b'k']);
        assert_eq!(&bytes[8..11], [0x12, 0xac, 2]);
        assert_eq!(bytes.len(), 5 + 3 + 3 + 300);
    }
}
