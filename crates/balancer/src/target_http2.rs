//! HTTP/2 to targets, for groups of that version and of gRPC: one connection for each target and
//! worker, which carries many requests at once, trailers included.

use crate::answer::Trouble;
use crate::carried::Body;
use crate::counts::{BalancerCount, GroupCount};
use crate::dial::{self, dial};
use crate::group::Group;
use crate::http2::{Guest, Held, Stay, host, tell_target};
use crate::limits::ATTEMPTS_MAX;
use crate::outgoing::Trace;
use crate::patience::Patience;
use crate::record::Record;
use crate::request::Route;
use crate::table::Site;
use crate::target::Target;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri, Version};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// A worker's connection to a target.
#[derive(Default)]
pub struct Streams(Mutex<Option<SendRequest<Incoming>>>);

impl Streams {
    /// No new request goes there; those that do go on.
    pub fn close(&self) {
        let closed = self.0.lock().expect("no panic while it is held").take();
        drop(closed);
    }

    fn open(&self) -> Option<SendRequest<Incoming>> {
        let kept = self.0.lock().expect("no panic while it is held");
        kept.as_ref().filter(|kept| !kept.is_closed()).cloned()
    }

    fn put(&self, sender: SendRequest<Incoming>) {
        *self.0.lock().expect("no panic while it is held") = Some(sender);
    }
}

async fn sender(
    guest: &Guest,
    group: &Group,
    target: &Target,
) -> Result<SendRequest<Incoming>, Trouble> {
    let streams = &target.streams[guest.worker];
    if let Some(open) = streams.open() {
        return Ok(open);
    }
    let link = dial(&guest.core, guest.worker, group, target).await;
    let link = link.map_err(|failure| failure.trouble())?;
    let handshake = Builder::new(TokioExecutor::new()).handshake(TokioIo::new(link)).await;
    let (sender, connection) = handshake.map_err(|_| Trouble::BadGateway)?;
    let shown = target.shown.clone();
    tokio::spawn(async move {
        if let Err(failure) = connection.await {
            tracing::debug!(%failure, target = shown, "HTTP/2 to a target ended");
        }
    });
    if !target.is_draining() {
        streams.put(sender.clone());
    }
    Ok(sender)
}

pub async fn over_http2(
    guest: &Arc<Guest>,
    site: &Arc<Site>,
    request: Request<Incoming>,
    mut route: Route,
    stay: Stay,
    mut record: Record,
) -> Result<Response<Body>, (Trouble, Record)> {
    let worker = guest.worker;
    let idle = crate::connection::idle(site);
    route.group.memory.tally.add(worker, GroupCount::Requests, 1);
    if route.group.entry.version == model::balancing::ProtocolVersion::Grpc {
        site.front.tally.add(worker, BalancerCount::GrpcRequests, 1);
    }
    let request = match rewritten(guest, site, request, &route, record.trace) {
        Ok(request) => request,
        Err(trouble) => return Err((trouble, record)),
    };
    let (response, sent) = match ask(guest, &mut route, request, idle, &mut record).await {
        Ok(answered) => answered,
        Err(trouble) => return Err((trouble, record)),
    };
    let mut held = Held::new(guest, site, route, record, stay);
    held.answered(response.status(), sent);
    let (mut parts, body) = response.into_parts();
    parts.version = Version::HTTP_2;
    held.complete(&mut parts.headers);
    let streamed = Streamed { body, idle, patience: Patience::new(idle), held };
    Ok(Response::from_parts(parts, Body::Http2(Box::new(streamed))))
}

/// The head of the target's answer, and when it was asked; of another target's if this one can't
/// have begun the request.
async fn ask(
    guest: &Guest,
    route: &mut Route,
    mut request: Request<Incoming>,
    idle: Duration,
    record: &mut Record,
) -> Result<(Response<Incoming>, Instant), Trouble> {
    let (core, worker) = (&guest.core, guest.worker);
    for attempt in 1.. {
        record.target(&route.lease);
        let (failed, unsent) = match sender(guest, &route.group, &route.lease).await {
            Ok(mut sender) => {
                let sent = Instant::now();
                record.sent_at = Some(sent);
                let answer = async {
                    // Not ready: it closed since; sending says so and gives the request back.
                    let _ = sender.ready().await;
                    sender.try_send_request(request).await
                };
                match tokio::time::timeout(idle, answer).await {
                    Ok(Ok(response)) => return Ok((response, sent)),
                    Ok(Err(mut failure)) => (Trouble::BadGateway, failure.take_message()),
                    Err(_) => return Err(Trouble::GatewayTimeout),
                }
            }
            Err(trouble) => {
                dial::failed(core, worker, route);
                if !dial::turn_away(core, worker, &guest.seat, route) {
                    return Err(trouble);
                }
                (trouble, Some(request))
            }
        };
        route.lease.streams[worker].forget_closed();
        match unsent {
            Some(unsent) if attempt < ATTEMPTS_MAX => request = unsent,
            _ => return Err(failed),
        }
    }
    unreachable!("the last attempt returns")
}

impl Streams {
    fn forget_closed(&self) {
        let mut kept = self.0.lock().expect("no panic while it is held");
        kept.take_if(|kept| kept.is_closed());
    }
}

/// The request as the target gets it.
fn rewritten(
    guest: &Guest,
    site: &Site,
    request: Request<Incoming>,
    route: &Route,
    trace: Trace,
) -> Result<Request<Incoming>, Trouble> {
    let host = host(&request).unwrap_or(&site.front.dns_name).to_owned();
    let mut headers = HeaderMap::with_capacity(request.headers().len() + 6);
    let mut told_host = None;
    let put = |name: &[u8], value: &[u8]| {
        if name == b"Host" {
            told_host = Some(value.to_vec());
            return;
        }
        let name = HeaderName::from_bytes(name);
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    };
    tell_target(guest, site, &request, trace, put)?;
    for kept in [http::header::TE, http::header::TRAILER, http::header::CONTENT_LENGTH] {
        let value = request.headers().get(&kept);
        let value = value.filter(|value| kept != http::header::TE || *value == "trailers");
        if let Some(value) = value {
            headers.insert(kept, value.clone());
        }
    }
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().cloned();
    let authority = told_host.unwrap_or_else(|| host.into_bytes());
    let uri = Uri::builder()
        .scheme(if route.lease.place.secure { "https" } else { "http" })
        .authority(authority.as_slice())
        .path_and_query(path.unwrap_or(http::uri::PathAndQuery::from_static("/")))
        .build();
    parts.uri = uri.map_err(|_| Trouble::BadRequest)?;
    parts.headers = headers;
    Ok(Request::from_parts(parts, body))
}

/// A target's answer over HTTP/2 on its way.
pub struct Streamed {
    body: Incoming,
    idle: Duration,
    patience: Patience,
    held: Held,
}

impl Streamed {
    pub fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }

    pub fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.patience.renew(Instant::now(), self.idle);
                self.held.record.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(failure))) => Poll::Ready(Some(Err(io::Error::other(failure)))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending if self.patience.poll(context).is_ready() => {
                Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
