//! A closed loop of HTTP requests that costs little itself: each connection writes the same bytes
//! again as soon as the answer is there. The requests are signed once, just before: a signature is
//! good for minutes, and the server has to check it every time all the same. Answers are read only
//! as far as their length, and every one must look like the first, which the caller checks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use http::HeaderMap;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::neargate::ms;
use crate::stats::Samples;

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_millis(500);
const COUNTED: Duration = Duration::from_secs(2);
const BUFFER_BYTES: usize = 64 * 1024;
/// An answer this much shorter than the first says something else.
const SHORTER_THAN_FIRST: f64 = 0.8;

pub struct Measured {
    pub times_ms: Samples,
    pub per_second: f64,
    /// CPU milliseconds of the server and of ourselves for one request.
    pub cpu_ms: f64,
    pub own_cpu_ms: f64,
    /// The first body of each connection.
    pub first: Vec<Vec<u8>>,
}

/// A whole request as it goes over the wire.
pub fn request(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"POST / HTTP/1.1\r\n".to_vec();
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// One connection for each of `requests`; `cpu_ms` tells the server's CPU time.
pub async fn run(
    address: &str,
    requests: Vec<Vec<u8>>,
    cpu_ms: impl Fn() -> f64,
) -> Result<Measured> {
    let begin = Instant::now() + WARM_UP;
    let end = begin + COUNTED;
    let loops: Vec<_> = requests
        .into_iter()
        .map(|request| tokio::spawn(repeat(address.to_owned(), request, begin, end)))
        .collect();
    tokio::time::sleep_until(begin.into()).await;
    let (server_begin, own_begin) = (cpu_ms(), own_cpu_ms());
    tokio::time::sleep_until(end.into()).await;
    let (server_end, own_end) = (cpu_ms(), own_cpu_ms());
    let mut times_ms = Samples::default();
    let mut first = Vec::new();
    for one in loops {
        let (times, body) = one.await.context("a connection was cut off")??;
        times_ms.extend(&times);
        first.push(body);
    }
    let count = times_ms.len() as f64;
    Ok(Measured {
        per_second: count / COUNTED.as_secs_f64(),
        times_ms,
        cpu_ms: (server_end - server_begin) / count,
        own_cpu_ms: (own_end - own_begin) / count,
        first,
    })
}

/// Repeats until `end`; gives the times of what was answered after `begin`, and the first body.
async fn repeat(
    address: String,
    request: Vec<u8>,
    begin: Instant,
    end: Instant,
) -> Result<(Samples, Vec<u8>)> {
    let mut wire = Wire::connect(&address).await?;
    let mut times_ms = Samples::default();
    let mut first: Option<Vec<u8>> = None;
    loop {
        let began = Instant::now();
        let answer = wire.exchange(&request).await?;
        let now = Instant::now();
        if now >= end {
            return Ok((times_ms, first.unwrap_or_default()));
        }
        if now >= begin {
            times_ms.push(ms(now - began));
        }
        let body = &wire.buffer[answer.head..answer.head + answer.body];
        if answer.status != 200 {
            bail!("answered {}: {}", answer.status, String::from_utf8_lossy(body));
        }
        let first = first.get_or_insert_with(|| body.to_vec());
        if (body.len() as f64) < first.len() as f64 * SHORTER_THAN_FIRST {
            bail!("answered otherwise than before: {}", String::from_utf8_lossy(body));
        }
        if answer.closes {
            wire = Wire::connect(&address).await?;
        }
    }
}

struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

struct Answer {
    status: u16,
    /// Bytes.
    head: usize,
    body: usize,
    closes: bool,
}

impl Wire {
    async fn connect(address: &str) -> Result<Wire> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Wire { stream, buffer: Vec::with_capacity(BUFFER_BYTES) })
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let mut answer: Option<Answer> = None;
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server has closed the connection in the middle of an answer");
            }
            if answer.is_none() {
                answer = parse_head(&self.buffer)?;
            }
            match answer.take() {
                Some(whole) if self.buffer.len() >= whole.head + whole.body => return Ok(whole),
                part => answer = part,
            }
        }
    }
}

/// None while the head is not complete.
fn parse_head(bytes: &[u8]) -> Result<Option<Answer>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).context("a head that is no text")?;
    let (first, rest) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut answer = Answer {
        status: status.with_context(|| format!("no status in {first}"))?,
        head: end + 4,
        body: usize::MAX,
        closes: first.starts_with("HTTP/1.0"),
    };
    for (name, value) in rest.split("\r\n").filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            answer.body = value.trim().parse().context("content-length is a number")?;
        } else if name.eq_ignore_ascii_case("connection") {
            answer.closes |= value.trim().eq_ignore_ascii_case("close");
        }
    }
    if answer.body == usize::MAX {
        bail!("an answer without its length: {head}");
    }
    Ok(Some(answer))
}

/// CPU time of this process so far.
fn own_cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok());
    // 100 ticks a second on every Linux we know.
    ticks.sum::<f64>() * 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_whole_or_not_at_all() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
        let answer = parse_head(whole).expect("well-formed").expect("complete");
        assert_eq!((answer.status, answer.body, answer.closes), (200, 5, true));
        assert_eq!(&whole[answer.head..], b"hello");
        assert!(parse_head(&whole[..30]).expect("nothing wrong so far").is_none());
        assert!(parse_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
