//! A request of a client over HTTP/2, carried to a target over HTTP/1.1: its body is written while
//! its answer is read, both driven by whoever reads the answer (hyper). Dropped in mid-way, it
//! closes the target's connection, which is how the target learns that the client went away.

use crate::answer::Trouble;
use crate::buffer::Buffer;
use crate::counts::GroupCount;
use crate::dial::{dial, failed, reach, turn_away};
use crate::exchange::{has, status};
use crate::framing::{Decoder, Encoder, Length, answer_length};
use crate::head::{Head, Kind, Known, Version};
use crate::http2::{Guest, Held, Stay, tell_target};
use crate::incoming;
use crate::limits::{
    ANSWER_HEAD_BYTES_MAX, BUFFER_BYTES_MAX, IDLE_TARGET_MS, IDLE_UNREPEATABLE_MS,
};
use crate::link::{Link, is_silence};
use crate::outgoing::Trace;
use crate::patience::Patience;
use crate::record::Record;
use crate::request::Route;
use crate::table::Site;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

/// The body of an answer to a client over HTTP/2.
pub enum Body {
    Whole(Option<Bytes>),
    Http1(Box<Carried>),
    Http2(Box<crate::target_http2::Streamed>),
}

impl Body {
    pub fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Http1(carried) => carried.poll_answer(context),
            Self::Http2(streamed) => streamed.poll_answer(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Http1(carried) => carried.is_over(),
            Self::Http2(streamed) => streamed.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Http1(_) | Self::Http2(_) => SizeHint::default(),
        }
    }
}

/// What goes on for a request.
pub struct Carried {
    /// None once it was given back or is of no more use.
    link: Option<Link>,
    from_target: Buffer,
    up: Vec<u8>,
    written: usize,
    body: Option<Incoming>,
    body_as: Encoder,
    repeatable: bool,
    head: Head,
    decoder: Decoder,
    keep_target: bool,
    up_broken: bool,
    idle: Duration,
    patience: Patience,
    held: Held,
}

enum Met {
    Answer,
    /// Closed before it said anything.
    Unanswered,
    /// The same, as its machine is gone.
    Lost,
    Trouble(Trouble),
}

pub async fn over_http1(
    guest: &Arc<Guest>,
    site: &Arc<Site>,
    request: Request<Incoming>,
    mut route: Route,
    stay: Stay,
    mut record: Record,
) -> Result<Response<Body>, (Trouble, Record)> {
    let (core, worker) = (&guest.core, guest.worker);
    let (up, body_as) = match head(guest, site, &request, record.trace) {
        Ok(written) => written,
        Err(trouble) => return Err((trouble, record)),
    };
    let (parts, body) = request.into_parts();
    let empty = body.is_end_stream();
    let repeatable = empty && parts.method.is_idempotent();
    let fresh_ms = if repeatable { IDLE_TARGET_MS } else { IDLE_UNREPEATABLE_MS };
    route.group.memory.tally.add(worker, GroupCount::Requests, 1);
    let headless = parts.method == http::Method::HEAD;
    let mut body = Some(body).filter(|_| !empty);
    let reached = reach(core, worker, &guest.seat, &mut route, fresh_ms, &mut record).await;
    let (link, reused) = match reached {
        Ok(reached) => reached,
        Err(trouble) => return Err((trouble, record)),
    };
    if !repeatable {
        link.mind_silence(false);
    }
    let sent = Instant::now();
    record.sent_at = Some(sent);
    let idle = crate::connection::idle(site);
    let mut carried = Box::new(Carried {
        link: Some(link),
        from_target: Buffer::default(),
        up,
        written: 0,
        body: body.take(),
        body_as,
        repeatable,
        head: Head::default(),
        decoder: Decoder::new(Length::Exactly(0)),
        keep_target: false,
        up_broken: false,
        idle,
        patience: Patience::new(idle),
        held: Held::new(guest, site, route, record, stay),
    });
    match carried.answer_safely(headless, reused).await {
        Met::Answer => {
            let status = carried.status();
            carried.held.answered(status, sent);
            Ok(carried.into_response(status))
        }
        Met::Unanswered | Met::Lost => {
            core.suspect(&carried.held.route.lease);
            Err((Trouble::BadGateway, std::mem::take(&mut carried.held.record)))
        }
        Met::Trouble(trouble) => Err((trouble, std::mem::take(&mut carried.held.record))),
    }
}

/// The request's head for the target, and how its body is framed.
fn head(
    guest: &Guest,
    site: &Site,
    request: &Request<Incoming>,
    trace: Trace,
) -> Result<(Vec<u8>, Encoder), Trouble> {
    let mut out = Vec::with_capacity(512);
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    for part in [request.method().as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let put = |name: &[u8], value: &[u8]| incoming::put(&mut out, name, value);
    tell_target(guest, site, request, trace, put)?;
    let body = request.body();
    let length = request.headers().get(http::header::CONTENT_LENGTH);
    let mut encoder = Encoder::Plain;
    match (length, body.is_end_stream()) {
        (Some(length), _) => incoming::put(&mut out, b"Content-Length", length.as_bytes()),
        (None, true) => {}
        (None, false) => {
            encoder = Encoder::Chunked;
            incoming::put(&mut out, b"Transfer-Encoding", b"chunked");
        }
    }
    out.extend_from_slice(b"\r\n");
    Ok((out, encoder))
}

impl Carried {
    /// Sent again where that is safe: over a new connection, or to another target.
    async fn answer_safely(&mut self, headless: bool, reused: bool) -> Met {
        match self.answer(headless).await {
            Met::Unanswered if reused && self.repeatable => self.answer_anew(headless).await,
            Met::Lost if self.repeatable => {
                let Held { guest, route, .. } = &mut self.held;
                failed(&guest.core, guest.worker, route);
                turn_away(&guest.core, guest.worker, &guest.seat, route);
                self.answer_anew(headless).await
            }
            met => met,
        }
    }

    /// Over a new connection: the kept one was closed before it was used.
    async fn answer_anew(&mut self, headless: bool) -> Met {
        let Held { guest, route, .. } = &self.held;
        match dial(&guest.core, guest.worker, &route.group, &route.lease).await {
            Ok(link) => {
                link.mind_silence(true);
                self.link = Some(link);
            }
            Err(failure) => return Met::Trouble(failure.trouble()),
        }
        self.written = 0;
        self.up_broken = false;
        self.answer(headless).await
    }

    async fn answer(&mut self, headless: bool) -> Met {
        std::future::poll_fn(|context| self.poll_head(context, headless)).await
    }

    /// Sends on what there is of the request.
    fn poll_up(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(link) = self.link.as_mut().filter(|_| !self.up_broken) else {
                return Poll::Ready(());
            };
            while self.written < self.up.len() {
                match ready!(Pin::new(&mut *link).poll_write(context, &self.up[self.written..])) {
                    Ok(count) if count > 0 => {
                        self.written += count;
                        self.held.record.received += count as u64;
                        self.patience.renew(Instant::now(), self.idle);
                    }
                    _ => {
                        self.up_broken = true;
                        return Poll::Ready(());
                    }
                }
            }
            // A failure shows when the answer is read.
            let _ = Pin::new(link).poll_flush(context);
            let Some(body) = &mut self.body else { return Poll::Ready(()) };
            let frame = ready!(Pin::new(body).poll_frame(context));
            self.up.clear();
            self.written = 0;
            match frame {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.body_as.write(&mut self.up, data);
                    }
                }
                Some(Err(_)) => {
                    // The client gave up in the middle of its body: so does the target's side.
                    self.link = None;
                    return Poll::Ready(());
                }
                None => {
                    self.body_as.finish(&mut self.up);
                    self.body = None;
                }
            }
        }
    }

    fn poll_head(&mut self, context: &mut Context<'_>, headless: bool) -> Poll<Met> {
        loop {
            let _progress = self.poll_up(context);
            let Some(link) = &mut self.link else {
                return Poll::Ready(Met::Trouble(Trouble::ClientClosed));
            };
            if !self.from_target.is_empty() {
                let bytes = self.from_target.data();
                match self.head.read(Kind::Answer, bytes, ANSWER_HEAD_BYTES_MAX) {
                    Ok(true) => match self.take_head(headless) {
                        Some(met) => return Poll::Ready(met),
                        None => continue,
                    },
                    Ok(false) => {}
                    Err(_) => return Poll::Ready(Met::Trouble(Trouble::BadGateway)),
                }
            }
            match self.from_target.poll_fill(context, link) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(ended) if self.from_target.is_empty() => {
                    let lost = ended.is_err_and(|failure| is_silence(&failure));
                    return Poll::Ready(if lost { Met::Lost } else { Met::Unanswered });
                }
                Poll::Ready(_) => return Poll::Ready(Met::Trouble(Trouble::BadGateway)),
                Poll::Pending => {
                    ready!(self.patience.poll(context));
                    return Poll::Ready(Met::Trouble(Trouble::GatewayTimeout));
                }
            }
        }
    }

    /// None: it was an interim answer, and the next is awaited.
    fn take_head(&mut self, headless: bool) -> Option<Met> {
        let bytes = self.from_target.data();
        let status = status(self.head.line.first.of(bytes));
        if status < 200 {
            if status == 101 {
                return Some(Met::Trouble(Trouble::BadGateway));
            }
            self.from_target.consume(self.head.length);
            self.head.clear();
            return None;
        }
        let Ok(length) = answer_length(bytes, &self.head, headless) else {
            return Some(Met::Trouble(Trouble::BadGateway));
        };
        let connection = self.head.value(bytes, Known::Connection);
        self.keep_target = self.head.line.version == Version::Http11
            && !connection.is_some_and(|list| has(list, b"close"))
            && length != Length::UntilClose;
        self.decoder = Decoder::new(length);
        Some(Met::Answer)
    }

    fn status(&self) -> StatusCode {
        let digits = self.head.line.first.of(self.from_target.data());
        StatusCode::from_bytes(digits).unwrap_or(StatusCode::BAD_GATEWAY)
    }

    fn into_response(mut self: Box<Self>, status: StatusCode) -> Response<Body> {
        let mut headers = http::HeaderMap::with_capacity(self.head.fields.len() + 2);
        let bytes = self.from_target.data();
        let connection = self.head.value(bytes, Known::Connection);
        for field in &self.head.fields {
            let name = field.name.of(bytes);
            if field.known == Known::Invalid || connection.is_some_and(|list| has(list, name)) {
                continue;
            }
            let name = HeaderName::from_bytes(name);
            let value = HeaderValue::from_bytes(field.value.of(bytes));
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        self.held.complete(&mut headers);
        self.from_target.consume(self.head.length);
        self.give_back_if_over();
        let mut response = Response::new(Body::Http1(self));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    pub fn is_over(&self) -> bool {
        self.decoder.is_done()
    }

    pub fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            let _progress = self.poll_up(context);
            if self.decoder.is_done() {
                self.give_back_if_over();
                return Poll::Ready(None);
            }
            let mut piece = Vec::new();
            while !self.from_target.is_empty() && piece.len() < BUFFER_BYTES_MAX {
                let Ok(taken) = self.decoder.take(self.from_target.data()) else {
                    return Poll::Ready(Some(Err(io::ErrorKind::InvalidData.into())));
                };
                piece.extend_from_slice(&self.from_target.data()[taken.body]);
                self.from_target.consume(taken.used);
                if self.decoder.is_done() {
                    break;
                }
            }
            if !piece.is_empty() {
                self.held.record.sent += piece.len() as u64;
                self.give_back_if_over();
                return Poll::Ready(Some(Ok(Frame::data(piece.into()))));
            }
            let Some(link) = &mut self.link else {
                return Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into())));
            };
            match self.from_target.poll_fill(context, link) {
                Poll::Ready(Ok(count)) if count > 0 => {
                    self.patience.renew(Instant::now(), self.idle);
                }
                Poll::Ready(Ok(_)) if self.decoder.may_close() => {
                    self.link = None;
                    self.decoder = Decoder::new(Length::Exactly(0));
                }
                Poll::Ready(_) => {
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                Poll::Pending => {
                    ready!(self.patience.poll(context));
                    return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
                }
            }
        }
    }

    fn give_back_if_over(&mut self) {
        let sent = self.body.is_none() && self.written == self.up.len() && !self.up_broken;
        let good = sent && self.keep_target && self.from_target.is_empty();
        if let Some(link) = self.link.take_if(|_| self.decoder.is_done() && good) {
            if !self.repeatable {
                link.mind_silence(true);
            }
            self.held.route.lease.keep(self.held.guest.worker, link);
        }
    }
}
