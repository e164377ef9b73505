//! Clients that speak HTTP/2 (hyper reads and writes its frames). Each request is decided on as one
//! over HTTP/1.1 is, and carried to a target in the version that its group has.

use crate::answer::{Answer, Trouble};
use crate::carried::Body;
use crate::connection::{Connection, Tls, idle};
use crate::core::Core;
use crate::counts::BalancerCount;
use crate::desync::{self, Measure, RawHead, Tier};
use crate::head::{Known, known};
use crate::imposed::Imposed;
use crate::leash::Leash;
use crate::limits::{HEAD_BYTES_MAX, REQUEST_LINE_BYTES_MAX, STREAMS_MAX};
use crate::listener::Seat;
use crate::outgoing::{self, Fields, Origin, Trace};
use crate::record::Record;
use crate::request::{Decision, Route, Spoken, Way, decide};
use crate::table::Site;
use crate::time::{http_date, now_ms};
use crate::watched::Watched;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, DATE, LOCATION};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use model::balancing::ProtocolVersion;
use plan::routes::{Headers, RequestView};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// What all requests of a connection share.
pub struct Guest {
    pub core: Arc<Core>,
    pub seat: Arc<Seat>,
    pub leash: Arc<Leash>,
    pub worker: usize,
    pub client: SocketAddr,
    pub tls: Option<Tls>,
    pub trace: u128,
    requests: AtomicU32,
    last_ms: AtomicU64,
    moved_ms: AtomicU64,
}

/// A request that goes on; the connection is not idle while one does.
pub struct Stay(Arc<Guest>);

impl Stay {
    fn new(guest: Arc<Guest>) -> Self {
        guest.requests.fetch_add(1, Ordering::Relaxed);
        Self(guest)
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.0.last_ms.store(now_ms(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Guest {
    /// How long until nothing has happened for `idle`; None: that is so now. A request may wait for
    /// its target for as long, so while there is one nothing may move for twice the time.
    fn patience(&self, idle: Duration) -> Option<Duration> {
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        let (since_ms, limit) = match self.requests.load(Ordering::Relaxed) {
            0 => (last_ms, idle),
            _ => (last_ms.max(self.moved_ms.load(Ordering::Relaxed)), idle * 2),
        };
        let quiet = Duration::from_millis(now_ms().saturating_sub(since_ms));
        limit.checked_sub(quiet).filter(|left| !left.is_zero())
    }

    /// Bytes came or went.
    pub fn moved(&self) {
        self.moved_ms.store(now_ms(), Ordering::Relaxed);
    }
}

pub async fn serve(connection: Connection) {
    let Connection { core, seat, leash, worker, link, client, tls, begun, trace, .. } = connection;
    let guest = Arc::new(Guest {
        core,
        seat,
        leash,
        worker,
        client,
        tls,
        trace,
        requests: AtomicU32::new(0),
        last_ms: AtomicU64::new(now_ms()),
        moved_ms: AtomicU64::new(now_ms()),
    });
    let own = guest.clone();
    let service = service_fn(move |request| {
        let guest = own.clone();
        async move { Ok::<_, Infallible>(respond(guest, request).await) }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).expect("it is small"));
    let link = Watched { link, guest: guest.clone() };
    let mut serving = pin!(builder.serve_connection(TokioIo::new(link), service));
    let site = guest.seat.site();
    let idle = idle(&site);
    let lasts = Duration::from_secs(u64::from(site.front.settings.client_keep_alive_seconds));
    drop(site);
    let mut leaving = false;
    loop {
        let wait = guest.patience(idle).unwrap_or_default();
        tokio::select! {
            served = serving.as_mut() => {
                if let Err(failure) = served {
                    tracing::debug!(%failure, client = %guest.client, "HTTP/2 ended");
                }
                return;
            }
            () = guest.leash.pulled(), if !leaving => {}
            () = tokio::time::sleep_until(begun + lasts), if !leaving => {}
            () = tokio::time::sleep(wait) => {
                if guest.patience(idle).is_some() {
                    continue;
                }
                if leaving {
                    return;
                }
            }
        }
        // GOAWAY: what goes on ends, nothing more begins.
        serving.as_mut().graceful_shutdown();
        leaving = true;
    }
}

async fn respond(guest: Arc<Guest>, request: Request<Incoming>) -> Response<Body> {
    let stay = Stay::new(guest.clone());
    let mut site = guest.seat.site();
    site.front.tally.add(guest.worker, BalancerCount::Requests, 1);
    let mut record = Record::begin_http2(&guest, &site, &request);
    let headless = request.method() == http::Method::HEAD;
    let decided = judge(&guest, &site, &request).and_then(|()| choose(&guest, &mut site, &request));
    if let Ok(decision) = &decided {
        record.rule(&site, decision);
    }
    let carried = match decided.map(|decision| decision.way) {
        Ok(Way::Answer(answer)) => {
            site.front.tally.answered(guest.worker, answer.status);
            record.answered(&answer);
            record.end(&guest.core, &site);
            return own(&answer, headless, &site.imposed);
        }
        Ok(Way::Forward(route)) => forward(&guest, &site, request, route, stay, record).await,
        Err(trouble) => Err((trouble, record)),
    };
    match carried {
        Ok(response) => response,
        Err((trouble, mut record)) => {
            site.front.tally.answered(guest.worker, trouble.status());
            record.trouble(trouble);
            record.end(&guest.core, &site);
            own(&trouble.answer(), headless, &site.imposed)
        }
    }
}

async fn forward(
    guest: &Arc<Guest>,
    site: &Arc<Site>,
    request: Request<Incoming>,
    route: Route,
    stay: Stay,
    record: Record,
) -> Result<Response<Body>, (Trouble, Record)> {
    match route.group.entry.version {
        ProtocolVersion::Http1 => {
            crate::carried::over_http1(guest, site, request, route, stay, record).await
        }
        ProtocolVersion::Http2 | ProtocolVersion::Grpc => {
            crate::target_http2::over_http2(guest, site, request, route, stay, record).await
        }
    }
}

/// HTTP/2 frames its messages itself; what is left to smuggle are names a target over HTTP/1 might
/// take for framing.
fn judge(guest: &Guest, site: &Site, request: &Request<Incoming>) -> Result<(), Trouble> {
    match *request.method() {
        http::Method::CONNECT => return Err(Trouble::BadRequest),
        http::Method::TRACE => return Err(Trouble::MethodNotAllowed),
        _ => {}
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    if target.len() > REQUEST_LINE_BYTES_MAX {
        return Err(Trouble::UriTooLong);
    }
    let named = |name: &http::HeaderName| known(name.as_str().as_bytes());
    let framing = |(name, _): &(&http::HeaderName, &HeaderValue)| {
        !matches!(named(name), Known::Te | Known::TraceId | Known::Trailer)
    };
    let fields = request.headers().iter().filter(framing);
    let fields: Vec<(&[u8], &[u8])> =
        fields.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())).collect();
    let verdict = desync::verdict(&RawHead {
        method: request.method().as_str().as_bytes(),
        target: target.as_bytes(),
        version: b"HTTP/1.1",
        fields: &fields,
    });
    if verdict.tier != Tier::Compliant {
        site.front.tally.add(guest.worker, BalancerCount::DesyncNonCompliant, 1);
    }
    match desync::measure(site.front.settings.desync, verdict.tier) {
        Measure::Refuse => Err(Trouble::BadRequest),
        Measure::Route | Measure::RouteAndClose => Ok(()),
    }
}

/// `site` is brought up to date when it has nobody left to send the request to.
fn choose(
    guest: &Guest,
    site: &mut Arc<Site>,
    request: &Request<Incoming>,
) -> Result<Decision, Trouble> {
    let host = host(request).ok_or(Trouble::BadRequest)?;
    let uri = request.uri();
    let view = RequestView {
        host: crate::request::without_port(host),
        method: request.method().as_str(),
        path: uri.path(),
        query: uri.query(),
        headers: &Heard(request.headers()),
        source: guest.client.ip(),
    };
    loop {
        let decided = decide(&guest.core, guest.worker, site, &view, Spoken::Http2);
        if !matches!(decided, Err(Trouble::Unavailable)) || !guest.seat.renew(site) {
            return decided;
        }
    }
}

/// The request's authority, or its Host.
pub fn host<B>(request: &Request<B>) -> Option<&str> {
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    authority.or_else(|| request.headers().get(http::header::HOST)?.to_str().ok())
}

/// Hands `put` every header for the target, as `outgoing` does.
pub fn tell_target<B>(
    guest: &Guest,
    site: &Site,
    request: &Request<B>,
    trace: Trace,
    put: impl FnMut(&[u8], &[u8]),
) -> Result<(), Trouble> {
    let host = host(request).unwrap_or(&site.front.dns_name);
    let origin = Origin::of(site, guest.client, guest.tls.as_ref(), trace);
    let dropped = outgoing::write(&Sent(request.headers()), &origin, host, None, put)?;
    let tally = &site.front.tally;
    tally.add(guest.worker, BalancerCount::DroppedInvalidHeaders, dropped.invalid);
    Ok(())
}

/// Headers as rules see them.
#[derive(Debug)]
struct Heard<'a>(&'a HeaderMap);

impl Headers for Heard<'_> {
    fn any(&self, name: &str, look: &mut dyn FnMut(&str) -> bool) -> bool {
        let mut values = self.0.get_all(name).iter();
        values.any(|value| std::str::from_utf8(value.as_bytes()).is_ok_and(&mut *look))
    }
}

/// Headers as they are passed on. Over HTTP/2 a cookie may come in crumbs; they are told as one.
struct Sent<'a>(pub &'a HeaderMap);

impl Fields for Sent<'_> {
    fn each(&self, mut look: impl FnMut(Known, &[u8], &[u8])) {
        let mut cookies: Vec<u8> = Vec::new();
        for (name, value) in self.0 {
            let name = name.as_str().as_bytes();
            match known(name) {
                Known::Cookie => {
                    if !cookies.is_empty() {
                        cookies.extend_from_slice(b"; ");
                    }
                    cookies.extend_from_slice(value.as_bytes());
                }
                known => look(known, name, value.as_bytes()),
            }
        }
        if !cookies.is_empty() {
            look(Known::Cookie, b"cookie", &cookies);
        }
    }
}

/// An answer of our own.
fn own(answer: &Answer, headless: bool, imposed: &Imposed) -> Response<Body> {
    let body = if headless { bytes::Bytes::new() } else { answer.body.clone() };
    let mut response = Response::new(Body::whole(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or_default();
    let headers = response.headers_mut();
    imposed.put(headers);
    headers.insert(CONTENT_LENGTH, answer.body.len().into());
    let mut put = |name, value: &str| {
        // What can't be told is left out rather than told wrong.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    put(DATE, &http_date());
    if !answer.body.is_empty() {
        put(CONTENT_TYPE, &answer.content_type);
    }
    if let Some(location) = &answer.location {
        put(LOCATION, location);
    }
    response
}

fn complete(headers: &mut HeaderMap, route: &Route, core: &Core, imposed: &Imposed) {
    for hop in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        headers.remove(hop);
    }
    headers.entry(DATE).or_insert_with(|| {
        HeaderValue::from_str(&http_date()).expect("a date has no odd characters")
    });
    imposed.put(headers);
    if !route.is_sticky() {
        return;
    }
    let followed = headers
        .get_all(http::header::SET_COOKIE)
        .iter()
        .any(|value| crate::incoming::sets(value.as_bytes(), route.application_cookie()));
    for cookie in route.set_cookies(core, followed) {
        let value = HeaderValue::from_str(&cookie).expect("our cookies have no odd characters");
        headers.append(http::header::SET_COOKIE, value);
    }
}

/// What is held until an answer is over: until then its target is not drained and the connection
/// not idle. Then what was carried is counted, and told to the access log.
pub struct Held {
    pub guest: Arc<Guest>,
    pub site: Arc<Site>,
    pub route: Route,
    pub record: Record,
    _stay: Stay,
}

impl Held {
    pub fn new(
        guest: &Arc<Guest>,
        site: &Arc<Site>,
        route: Route,
        record: Record,
        stay: Stay,
    ) -> Self {
        Self { guest: guest.clone(), site: site.clone(), route, record, _stay: stay }
    }

    /// The target's answer begins; it was asked at `sent`.
    pub fn answered(&mut self, status: StatusCode, sent: Instant) {
        self.record.target_status = status.as_u16();
        self.record.first_byte_at = Some(Instant::now());
        let micros = u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.route.group.memory.tally.answered(self.guest.worker, status.as_u16(), micros);
    }

    /// A target's answer lacks what ours must have; our cookies go with it.
    pub fn complete(&self, headers: &mut HeaderMap) {
        complete(headers, &self.route, &self.guest.core, &self.site.imposed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (tally, worker) = (&self.site.front.tally, self.guest.worker);
        let bytes = self.record.received + self.record.sent;
        tally.add(worker, BalancerCount::ProcessedBytes, bytes);
        if self.record.target_status > 0 {
            self.record.end(&self.guest.core, &self.site);
        }
    }
}
