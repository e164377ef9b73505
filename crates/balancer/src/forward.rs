//! One request of a client's connection over HTTP/1.1: judged, decided on, answered or carried to a
//! target over HTTP/1.1, tried again where that is safe.

use crate::answer::Trouble;
use crate::connection::{After, Asked, Connection, Shared, idle};
use crate::counts::{BalancerCount, GroupCount};
use crate::desync::{self, Measure, Tier, Verdict};
use crate::dial::{failed, reach, turn_away};
use crate::exchange::{End, Exchange, Pipe, Told};
use crate::framing::{Decoder, Encoder, Length};
use crate::head::{Head, Known, Version};
use crate::http1::{Heard, Sent, host};
use crate::incoming::{self, Terms};
use crate::limits::{ATTEMPTS_MAX, IDLE_TARGET_MS, IDLE_UNREPEATABLE_MS};
use crate::link::Link;
use crate::outgoing::{self, Origin};
use crate::record::Record;
use crate::request::{Decision, Route, Spoken, Way, decide};
use crate::table::Site;
use model::balancing::ProtocolVersion;
use plan::routes::RequestView;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

/// A request that a target is to get.
struct Bound {
    route: Route,
    asked: Asked,
    /// What the client wants to speak from then on.
    upgrade: Option<Vec<u8>>,
    /// Neither side's connection is used again after it.
    last: bool,
}

impl Connection {
    /// The request whose head is in the buffer, to its end.
    pub async fn request(&mut self, shared: &Shared, site: &mut Arc<Site>) -> After {
        self.count_request(site);
        let mut record = Record::begin(self, site);
        let after = match self.judge(site, &mut record) {
            Ok((asked, last)) => self.decided(shared, site, asked, last, &mut record).await,
            Err(trouble) => {
                record.trouble(trouble);
                self.answer_trouble(site, trouble).await
            }
        };
        record.end(&self.core, site);
        after
    }

    /// Whether it may be what it seems, and whether its connections end with it.
    fn judge(&self, site: &Site, record: &mut Record) -> Result<(Asked, bool), Trouble> {
        let bytes = &self.buffer.data()[self.head.line.whole.start as usize..self.head.length];
        let verdict = desync::verdict_of_bytes(bytes);
        if verdict.tier != Tier::Compliant {
            self.note(site, verdict);
            record.verdict = Some(verdict);
        }
        let last = match desync::measure(site.front.settings.desync, verdict.tier) {
            Measure::Route => false,
            Measure::RouteAndClose => true,
            Measure::Refuse => return Err(Trouble::BadRequest),
        };
        let asked = Asked::read(self.buffer.data(), &self.head)?;
        match self.head.line.first.of(self.buffer.data()) {
            b"CONNECT" => Err(Trouble::BadRequest),
            b"TRACE" | b"TRACK" => Err(Trouble::MethodNotAllowed),
            _ => Ok((asked, last)),
        }
    }

    fn note(&self, site: &Site, verdict: Verdict) {
        site.front.tally.add(self.worker, BalancerCount::DesyncNonCompliant, 1);
        let Verdict { tier, reason } = verdict;
        tracing::debug!(client = %self.client, tier = tier.name(), reason, "desync");
    }

    async fn decided(
        &mut self,
        shared: &Shared,
        site: &mut Arc<Site>,
        asked: Asked,
        last: bool,
        record: &mut Record,
    ) -> After {
        let length = self.head.length;
        let mut decided = self.decide(site, &asked, record);
        // Nobody left to send it to, but that was by a table which is replaced by now.
        while matches!(decided, Err(Trouble::Unavailable)) && shared.seat.renew(site) {
            decided = self.decide(site, &asked, record);
        }
        if let Ok((decision, _)) = &decided {
            record.rule(site, decision);
        }
        match decided.map(|(decision, upgrade)| (decision.way, upgrade)) {
            Ok((Way::Forward(route), upgrade)) => {
                self.buffer.consume(length);
                let bound = Bound { route, asked, upgrade, last };
                self.forward(shared, site, bound, record).await
            }
            Ok((Way::Answer(answer), _)) => {
                self.buffer.consume(length);
                record.answered(&answer);
                let read = self.discard(asked.length).await;
                let keep = read && asked.keep && !last && self.may_go_on(site);
                site.front.tally.answered(self.worker, answer.status);
                self.answer(&answer, keep, asked.headless).await
            }
            Err(trouble) => {
                self.buffer.consume(length);
                record.trouble(trouble);
                site.front.tally.answered(self.worker, trouble.status());
                let read = self.discard(asked.length).await;
                let keep = read
                    && asked.keep
                    && !last
                    && self.may_go_on(site)
                    && trouble == Trouble::Unavailable;
                self.answer(&trouble.answer(), keep, asked.headless).await
            }
        }
    }

    /// What is to happen; for a target, its head is then in `up`.
    fn decide(
        &mut self,
        site: &Site,
        asked: &Asked,
        record: &Record,
    ) -> Result<(Decision, Option<Vec<u8>>), Trouble> {
        let bytes = self.buffer.data();
        let head = &self.head;
        let heard = Heard { bytes, head };
        let method = text(head.line.first.of(bytes))?;
        let (authority, target) = split_target(text(head.line.second.of(bytes))?)?;
        let host = host(&heard, authority, asked.version)?.unwrap_or(&site.front.dns_name);
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let bare = crate::request::without_port(host);
        let source = self.client.ip();
        let view = RequestView { host: bare, method, path, query, headers: &heard, source };
        let decision = decide(&self.core, self.worker, site, &view, Spoken::Http1)?;
        let Way::Forward(route) = &decision.way else { return Ok((decision, None)) };
        site.front.tally.add(self.worker, BalancerCount::ProcessedBytes, head.length as u64);
        if route.group.entry.version != ProtocolVersion::Http1 {
            return Err(Trouble::Incompatible);
        }
        let connection = head.value(bytes, Known::Connection);
        let upgrades = connection.is_some_and(|list| crate::exchange::has(list, b"upgrade"));
        let upgrade = head.value(bytes, Known::Upgrade).filter(|_| {
            upgrades && asked.version == Version::Http11 && asked.length == Length::Exactly(0)
        });
        let origin = Origin::of(site, self.client, self.tls.as_ref(), record.trace);
        let out = &mut self.up;
        out.clear();
        for part in [method, " ", target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        let put = |name: &[u8], value: &[u8]| incoming::put(out, name, value);
        let dropped = outgoing::write(&Sent { bytes, head }, &origin, host, connection, put)?;
        if dropped.invalid > 0 {
            let tally = &site.front.tally;
            tally.add(self.worker, BalancerCount::DroppedInvalidHeaders, dropped.invalid);
        }
        finish_head(&mut self.up, head, bytes, asked.length, upgrade);
        let upgrade = upgrade.map(<[u8]>::to_vec);
        Ok((decision, upgrade))
    }

    async fn forward(
        &mut self,
        shared: &Shared,
        site: &Arc<Site>,
        bound: Bound,
        record: &mut Record,
    ) -> After {
        let Bound { mut route, asked, upgrade, last } = bound;
        let mut body = Decoder::new(asked.length);
        let Shared { core, seat } = shared;
        route.group.memory.tally.add(self.worker, GroupCount::Requests, 1);
        let mut fresh_ms = if asked.repeatable { IDLE_TARGET_MS } else { IDLE_UNREPEATABLE_MS };
        let mut lost = 0;
        loop {
            let reached = reach(core, self.worker, seat, &mut route, fresh_ms, record).await;
            let (mut link, reused) = match reached {
                Ok(reached) => reached,
                Err(trouble) => {
                    record.trouble(trouble);
                    return self.refuse(site, &asked, trouble, body.is_done()).await;
                }
            };
            let cookies = |application| route.set_cookies(core, application);
            if !asked.repeatable || upgrade.is_some() {
                link.mind_silence(false);
            }
            let terms = Terms {
                version: asked.version,
                headless: asked.headless,
                keep: asked.keep && !last && self.may_go_on(site),
                upgrade: upgrade.as_deref(),
                cookies: route.is_sticky().then_some(&cookies),
                application_cookie: route.application_cookie(),
                imposed: &site.imposed,
            };
            record.sent_at = Some(Instant::now());
            let (end, told) = self.exchange(site, &mut link, &mut body, terms, record).await;
            if let Some(at) = told.at {
                let sent = record.sent_at.unwrap_or(at);
                let micros = (at - sent).as_micros();
                let micros = u64::try_from(micros).unwrap_or(u64::MAX);
                route.group.memory.tally.answered(self.worker, told.status, micros);
            }
            // A kept connection may have been closed just now; a new one can't have been.
            if end == End::Unanswered && reused && asked.repeatable {
                fresh_ms = 0;
                continue;
            }
            // Whoever is gone answers nobody: another one may.
            if end == End::Lost && asked.repeatable && lost < ATTEMPTS_MAX {
                lost += 1;
                failed(core, self.worker, &route);
                turn_away(core, self.worker, seat, &mut route);
                fresh_ms = 0;
                continue;
            }
            let bound = Bound { route, asked, upgrade, last };
            return self.ended(site, end, told, link, bound, record, body.is_done()).await;
        }
    }

    async fn exchange(
        &mut self,
        site: &Site,
        link: &mut Link,
        body: &mut Decoder,
        terms: Terms<'_>,
        record: &mut Record,
    ) -> (End, Told) {
        self.answer_head.clear();
        self.down.clear();
        let idle = idle(site);
        self.patience.renew(record.sent_at.unwrap_or_else(Instant::now), idle);
        let keep_client = terms.keep;
        let body_as = match body.is_chunked() {
            true => Encoder::Chunked,
            false => Encoder::Plain,
        };
        let mut exchange = Exchange {
            client: &mut self.link,
            from_client: &mut self.buffer,
            target: link,
            from_target: &mut self.from_target,
            answer_head: &mut self.answer_head,
            up: Pipe::new(&mut self.up),
            down: Pipe::new(&mut self.down),
            body: std::mem::replace(body, Decoder::new(Length::Exactly(0))),
            body_as,
            terms,
            idle,
            patience: &mut self.patience,
            told: Told::new(keep_client),
        };
        let end = exchange.run().await;
        *body = exchange.body;
        record.received += exchange.up.total;
        record.sent += exchange.down.total;
        (end, exchange.told)
    }

    #[allow(clippy::too_many_arguments)]
    async fn ended(
        &mut self,
        site: &Arc<Site>,
        end: End,
        told: Told,
        link: Link,
        bound: Bound,
        record: &mut Record,
        body_done: bool,
    ) -> After {
        record.first_byte_at = told.at;
        record.target_status = told.status;
        let tally = &site.front.tally;
        tally.add(self.worker, BalancerCount::ProcessedBytes, record.received + record.sent);
        let leftover = !self.from_target.is_empty();
        if end == End::Upgraded {
            record.upgraded();
            self.splice(site, link, &bound.route).await;
            return After::Close;
        }
        if leftover {
            let unread = self.from_target.data().len();
            self.from_target.consume(unread);
        }
        let nothing_yet = record.sent == 0;
        match end {
            End::Whole => {
                if told.keep_target && !leftover && body_done && !bound.last {
                    if !bound.asked.repeatable || bound.upgrade.is_some() {
                        link.mind_silence(true);
                    }
                    bound.route.lease.keep(self.worker, link);
                }
                match (told.keep_client && body_done, body_done) {
                    (true, _) => After::Next,
                    (false, true) if self.buffer.is_empty() => After::Close,
                    (false, _) => After::Linger,
                }
            }
            End::ClientGone => {
                record.trouble(Trouble::ClientClosed);
                After::Close
            }
            _ if !nothing_yet => After::Break,
            End::TimedOut if !body_done => {
                record.trouble(Trouble::RequestTimeout);
                self.answer_trouble(site, Trouble::RequestTimeout).await
            }
            End::TimedOut => {
                record.trouble(Trouble::GatewayTimeout);
                self.refuse(site, &bound.asked, Trouble::GatewayTimeout, true).await
            }
            End::BadBody => {
                record.trouble(Trouble::BadRequest);
                self.answer_trouble(site, Trouble::BadRequest).await
            }
            End::Unanswered | End::Lost | End::Nonsense | End::Cut | End::Upgraded => {
                if matches!(end, End::Unanswered | End::Lost) {
                    self.core.suspect(&bound.route.lease);
                }
                record.trouble(Trouble::BadGateway);
                self.refuse(site, &bound.asked, Trouble::BadGateway, body_done).await
            }
        }
    }

    /// Answers for a target that could not.
    async fn refuse(
        &mut self,
        site: &Site,
        asked: &Asked,
        trouble: Trouble,
        body_done: bool,
    ) -> After {
        site.front.tally.answered(self.worker, trouble.status());
        let keep = asked.keep && body_done && self.may_go_on(site);
        self.answer(&trouble.answer(), keep, asked.headless).await
    }

    /// From here on bytes are carried both ways, whatever they are.
    async fn splice(&mut self, site: &Arc<Site>, mut target: Link, route: &Route) {
        let early = async {
            self.link.write_all(self.from_target.data()).await?;
            target.write_all(self.buffer.data()).await
        };
        if early.await.is_err() {
            return;
        }
        let mut gone = route.lease.gone.subscribe();
        let leash = self.leash.clone();
        let told = async {
            tokio::select! {
                () = leash.pulled() => {}
                _ = gone.wait_for(|gone| *gone) => {}
            }
        };
        let carried = crate::stream::carry(&mut self.link, target, idle(site), told).await;
        let bytes = carried.to_target + carried.to_client;
        site.front.tally.add(self.worker, BalancerCount::ProcessedBytes, bytes);
    }
}

/// A request for a target over HTTP/1.1 ends with what frames its body.
fn finish_head(
    out: &mut Vec<u8>,
    head: &Head,
    bytes: &[u8],
    length: Length,
    upgrade: Option<&[u8]>,
) {
    if let Some(upgrade) = upgrade {
        incoming::put(out, b"Connection", b"upgrade");
        incoming::put(out, b"Upgrade", upgrade);
    }
    match length {
        Length::Chunked => incoming::put(out, b"Transfer-Encoding", b"chunked"),
        Length::Exactly(count) => {
            if count > 0 || head.value(bytes, Known::ContentLength).is_some() {
                incoming::put_number(out, "Content-Length", count);
            }
        }
        Length::UntilClose => {}
    }
    out.extend_from_slice(b"\r\n");
}

fn text(bytes: &[u8]) -> Result<&str, Trouble> {
    std::str::from_utf8(bytes).map_err(|_| Trouble::BadRequest)
}

/// A target in absolute form has a host of its own. Source: RFC 9112, 3.2.
fn split_target(target: &str) -> Result<(Option<&str>, &str), Trouble> {
    if target.starts_with('/') || target == "*" {
        return Ok((None, target));
    }
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let head = target.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then(|| &target[scheme.len()..])
    });
    let rest = rest.ok_or(Trouble::BadRequest)?;
    match rest.find(['/', '?']) {
        Some(at) if rest.as_bytes()[at] == b'/' => Ok((Some(&rest[..at]), &rest[at..])),
        // A query without a path would need one made up; nobody sends that.
        Some(_) => Err(Trouble::BadRequest),
        None => Ok((Some(rest), "/")),
    }
}
