//! A client's connection over HTTP/1.1: one request after the other, each to its end, until one of
//! the two has had enough.

use crate::answer::{Answer, Trouble};
use crate::buffer::Buffer;
use crate::core::Core;
use crate::counts::BalancerCount;
use crate::framing::{Decoder, Length, request_length};
use crate::head::{Head, Kind, Malformed, Version};
use crate::leash::Leash;
use crate::limits::{BUFFER_BYTES, HEAD_BYTES_MAX, LINGER_MS};
use crate::link::Link;
use crate::listener::Seat;
use crate::patience::Patience;
use crate::record::Record;
use crate::table::Site;
use crate::tls::Choice;
use rustls::{ProtocolVersion, ServerConnection};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

/// A connection with what it needs for all of its requests.
pub struct Connection {
    pub core: Arc<Core>,
    pub seat: Arc<Seat>,
    pub leash: Arc<Leash>,
    pub worker: usize,
    pub link: Link,
    pub client: SocketAddr,
    /// Version and cipher of its TLS, and the certificate it was shown.
    pub tls: Option<Tls>,
    pub buffer: Buffer,
    pub head: Head,
    /// What is on its way to the target, and to the client.
    pub up: Vec<u8>,
    pub down: Vec<u8>,
    pub from_target: Buffer,
    pub answer_head: Head,
    pub patience: Patience,
    pub begun: Instant,
    /// What logs call it.
    pub trace: u128,
}

/// Held beside the connection for as long as it lives, so that no request counts on what all
/// workers count on.
pub struct Shared {
    pub core: Arc<Core>,
    pub seat: Arc<Seat>,
}

pub struct Tls {
    pub version: &'static str,
    pub cipher: &'static str,
    pub server_name: Option<String>,
    pub certificate: Option<String>,
}

impl Tls {
    pub fn of(session: &ServerConnection, choice: &Choice) -> Self {
        let cipher = session.negotiated_cipher_suite();
        let server_name = session.server_name().map(str::to_owned);
        let certificate = choice.for_name(server_name.as_deref()).map(|usable| usable.arn.clone());
        Self {
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            cipher: cipher.and_then(|suite| suite.suite().as_str()).map_or("-", openssl_name),
            server_name,
            certificate,
        }
    }
}

/// ELB tells ciphers by OpenSSL's names, which for TLS 1.3 are the standard's.
fn openssl_name(standard: &'static str) -> &'static str {
    match standard {
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => "ECDHE-ECDSA-CHACHA20-POLY1305",
        other => other,
    }
}

/// What comes after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum After {
    Next,
    Close,
    /// In the middle of an answer: the client must not take it for the whole.
    Break,
    /// The client is told why it is closed, so it is given time to read that.
    Linger,
}

enum Arrival {
    Request,
    Nothing,
    Trouble(Trouble),
}

impl Connection {
    /// For a listener's new connection.
    pub fn new(
        core: Arc<Core>,
        seat: Arc<Seat>,
        leash: Arc<Leash>,
        worker: usize,
        link: Link,
        client: SocketAddr,
        tls: Option<Tls>,
    ) -> Self {
        let idle = idle(&seat.site());
        let trace = core.draw_wide(worker);
        Self {
            core,
            seat,
            leash,
            worker,
            link,
            client,
            tls,
            buffer: Buffer::default(),
            head: Head::default(),
            up: Vec::new(),
            down: Vec::new(),
            from_target: Buffer::default(),
            answer_head: Head::default(),
            patience: Patience::new(idle),
            begun: Instant::now(),
            trace,
        }
    }

    pub async fn serve(mut self) {
        let shared = Shared { core: self.core.clone(), seat: self.seat.clone() };
        let mut site = shared.seat.site();
        loop {
            shared.seat.renew(&mut site);
            let after = match self.arrival(&site).await {
                Arrival::Nothing => After::Close,
                Arrival::Request => {
                    shared.seat.renew(&mut site);
                    self.request(&shared, &mut site).await
                }
                Arrival::Trouble(trouble) => {
                    self.count_request(&site);
                    let mut record = Record::begin(&self, &site);
                    record.trouble(trouble);
                    record.end(&self.core, &site);
                    self.answer_trouble(&site, trouble).await
                }
            };
            match after {
                After::Next => {}
                After::Close => return self.part().await,
                After::Break => return,
                After::Linger => return self.linger().await,
            }
        }
    }

    /// Waits for the next head.
    async fn arrival(&mut self, site: &Site) -> Arrival {
        self.head.clear();
        self.patience.renew(Instant::now(), idle(site));
        self.rest();
        let mut timed = false;
        loop {
            if !self.buffer.is_empty() {
                match self.head.read(Kind::Request, self.buffer.data(), HEAD_BYTES_MAX) {
                    Ok(true) => return Arrival::Request,
                    Ok(false) => {}
                    Err(malformed) => return Arrival::Trouble(trouble(malformed)),
                }
            }
            let begun = self.head.has_begun(self.buffer.data());
            if begun && !timed {
                // A head has this long as a whole, however slowly it drips.
                self.patience.renew(Instant::now(), idle(site));
                timed = true;
            }
            let (link, buffer, patience) = (&mut self.link, &mut self.buffer, &mut self.patience);
            let leash = &self.leash;
            let filled = std::future::poll_fn(|context| {
                if let Poll::Ready(filled) = buffer.poll_fill(context, link) {
                    return Poll::Ready(Some(filled));
                }
                let over =
                    (leash.is_pulled(context) && !begun) || patience.poll(context).is_ready();
                if over { Poll::Ready(None) } else { Poll::Pending }
            })
            .await;
            match filled {
                Some(Ok(count)) if count > 0 => {}
                Some(_) => return Arrival::Nothing,
                None if begun => return Arrival::Trouble(Trouble::RequestTimeout),
                None => return Arrival::Nothing,
            }
        }
    }

    /// Gives back what large messages took; most connections wait most of the time.
    fn rest(&mut self) {
        self.buffer.rest();
        self.from_target.rest();
        for out in [&mut self.up, &mut self.down] {
            if out.capacity() > 4 * BUFFER_BYTES {
                *out = Vec::new();
            }
        }
    }

    pub fn count_request(&self, site: &Site) {
        site.front.tally.add(self.worker, BalancerCount::Requests, 1);
    }

    /// Whether this connection may go on after the request at hand.
    pub fn may_go_on(&self, site: &Site) -> bool {
        let lasts = Duration::from_secs(u64::from(site.front.settings.client_keep_alive_seconds));
        !self.leash.is_pulled_now() && self.begun.elapsed() < lasts
    }

    pub async fn answer_trouble(&mut self, site: &Site, trouble: Trouble) -> After {
        if trouble == Trouble::ClientClosed {
            return After::Close;
        }
        site.front.tally.answered(self.worker, trouble.status());
        self.answer(&trouble.answer(), false, false).await
    }

    /// An answer of our own.
    pub async fn answer(&mut self, answer: &Answer, keep: bool, headless: bool) -> After {
        let site = self.seat.site();
        self.down.clear();
        answer.write(&mut self.down, keep, headless, &site.imposed);
        let written = async {
            self.link.write_all(&self.down).await?;
            self.link.flush().await
        };
        let idle = idle(&site);
        let written = tokio::time::timeout(idle, written).await;
        self.down.clear();
        match written {
            Ok(Ok(())) if keep => After::Next,
            Ok(Ok(())) => After::Linger,
            _ => After::Close,
        }
    }

    /// Reads away the rest of a request that was answered, if that is little. False: it is not.
    pub async fn discard(&mut self, length: Length) -> bool {
        let mut decoder = Decoder::new(length);
        let deadline = Instant::now() + Duration::from_millis(LINGER_MS);
        let mut left = DISCARD_BYTES_MAX;
        loop {
            let Ok(taken) = decoder.take(self.buffer.data()) else { return false };
            self.buffer.consume(taken.used);
            left = left.saturating_sub(taken.used);
            if decoder.is_done() {
                return true;
            }
            if !self.buffer.is_empty() {
                continue;
            }
            let filled = self.buffer.fill(&mut self.link);
            match tokio::time::timeout_at(deadline, filled).await {
                Ok(Ok(count)) if count > 0 && left > 0 => {}
                _ => return false,
            }
        }
    }

    /// Closes. Over TLS the end is said, else it might be somebody else's doing.
    async fn part(mut self) {
        if matches!(self.link, Link::Tls(_)) {
            let said = tokio::time::timeout(Duration::from_millis(LINGER_MS), self.link.shutdown());
            // Who does not listen any more need not hear it.
            let _ = said.await;
        }
    }

    /// Closes so that what was written last is read: a socket that is closed with bytes unread
    /// resets the connection, and the client may lose our answer.
    async fn linger(mut self) {
        let closed = async {
            self.link.shutdown().await?;
            let mut left = DISCARD_BYTES_MAX;
            loop {
                let unread = self.buffer.data().len();
                self.buffer.consume(unread);
                let count = self.buffer.fill(&mut self.link).await?;
                left = left.saturating_sub(count);
                if count == 0 || left == 0 {
                    return std::io::Result::Ok(());
                }
            }
        };
        // However it closes, it is closed.
        let _ = tokio::time::timeout(Duration::from_millis(LINGER_MS), closed).await;
    }
}

/// Bytes of a request's body that are read for nothing.
const DISCARD_BYTES_MAX: usize = 256 * 1024;

pub fn idle(site: &Site) -> Duration {
    Duration::from_secs(u64::from(site.front.settings.idle_timeout_seconds.max(1)))
}

pub const fn trouble(malformed: Malformed) -> Trouble {
    match malformed {
        Malformed::Syntax | Malformed::Long => Trouble::BadRequest,
        Malformed::Line => Trouble::UriTooLong,
        Malformed::Version => Trouble::Version,
    }
}

/// What a head says of the request as a whole.
pub struct Asked {
    pub length: Length,
    pub keep: bool,
    pub headless: bool,
    /// It may be sent again if nobody answered: it changes nothing and has no body.
    pub repeatable: bool,
    pub version: Version,
}

impl Asked {
    pub fn read(bytes: &[u8], head: &Head) -> Result<Self, Trouble> {
        let length = request_length(bytes, head).map_err(trouble)?;
        let method = head.line.first.of(bytes);
        let version = head.line.version;
        let connection = head.value(bytes, crate::head::Known::Connection);
        let says = |token| connection.is_some_and(|list| crate::exchange::has(list, token));
        let keep = match version {
            Version::Http11 => !says(b"close"),
            Version::Http10 => says(b"keep-alive"),
        };
        // Source: RFC 9110, 9.2.2.
        let idempotent = matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE");
        let repeatable = idempotent && length == Length::Exactly(0);
        Ok(Self { length, keep, headless: method == b"HEAD", repeatable, version })
    }
}
