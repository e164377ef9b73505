//! What is kept of a request while it goes on: the times for metrics, and, for a load balancer
//! whose access log is on, what its line says. Nothing is copied for others.
//! Source: ELB user guide, "Access logs for your Application Load Balancer".

use crate::answer::{Answer, Trouble};
use crate::connection::{Connection, Tls};
use crate::core::Core;
use crate::desync::Verdict;
use crate::head::Known;
use crate::http2::Guest;
use crate::outgoing::Trace;
use crate::request::{Decision, Way};
use crate::table::Site;
use crate::target::Target;
use crate::time::{iso, unix};
use http::Request;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Default)]
pub struct Record {
    pub trace: Trace,
    pub verdict: Option<Verdict>,
    pub sent_at: Option<Instant>,
    pub first_byte_at: Option<Instant>,
    pub target_status: u16,
    pub received: u64,
    pub sent: u64,
    line: Option<Box<Line>>,
}

/// What only the access log needs.
struct Line {
    kind: &'static str,
    began: Instant,
    began_unix: Duration,
    client: SocketAddr,
    method: String,
    target: String,
    host: String,
    version: &'static str,
    user_agent: String,
    cipher: &'static str,
    protocol: &'static str,
    server_name: String,
    certificate: String,
    group_arn: String,
    tried: Vec<String>,
    status: u16,
    priority: Option<u32>,
    actions: &'static str,
    redirect: String,
    reason: &'static str,
    /// Of the connection, as the log of connections has it.
    connection: u128,
}

fn is_wanted(core: &Core, site: &Site) -> bool {
    site.front.settings.access_log && core.access_log.is_some()
}

fn line(client: SocketAddr, tls: Option<&Tls>, connection: u128) -> Line {
    let dash = || "-".to_owned();
    Line {
        kind: if tls.is_some() { "https" } else { "http" },
        began: Instant::now(),
        began_unix: unix(),
        client,
        method: dash(),
        target: dash(),
        host: dash(),
        version: "-",
        user_agent: dash(),
        cipher: tls.map_or("-", |tls| tls.cipher),
        protocol: tls.map_or("-", |tls| tls.version),
        server_name: tls.and_then(|tls| tls.server_name.clone()).unwrap_or_else(dash),
        certificate: tls.and_then(|tls| tls.certificate.clone()).unwrap_or_else(dash),
        group_arn: dash(),
        tried: Vec::new(),
        status: 0,
        priority: None,
        actions: "-",
        redirect: dash(),
        reason: "-",
        connection,
    }
}

impl Record {
    /// For the head that a connection over HTTP/1.1 has read, as far as it has.
    pub fn begin(connection: &Connection, site: &Site) -> Self {
        let trace = Trace::draw(&connection.core, connection.worker);
        if !is_wanted(&connection.core, site) {
            return Self { trace, ..Self::default() };
        }
        let (bytes, head) = (connection.buffer.data(), &connection.head);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut line = line(connection.client, connection.tls.as_ref(), connection.trace);
        if head.length > 0 {
            let value = |known| head.value(bytes, known).map_or_else(|| "-".to_owned(), text);
            line.method = text(head.line.first.of(bytes));
            line.target = text(head.line.second.of(bytes));
            line.host = value(Known::Host);
            line.user_agent = value(Known::UserAgent);
            line.version = match head.line.version {
                crate::head::Version::Http10 => "HTTP/1.0",
                crate::head::Version::Http11 => "HTTP/1.1",
            };
        }
        Self { trace, line: Some(Box::new(line)), ..Self::default() }
    }

    pub fn begin_http2<B>(guest: &Guest, site: &Site, request: &Request<B>) -> Self {
        let trace = Trace::draw(&guest.core, guest.worker);
        if !is_wanted(&guest.core, site) {
            return Self { trace, ..Self::default() };
        }
        let mut line = line(guest.client, guest.tls.as_ref(), guest.trace);
        let agent = request.headers().get(http::header::USER_AGENT);
        let agent = agent.map(|agent| String::from_utf8_lossy(agent.as_bytes()).into_owned());
        line.kind = "h2";
        line.method = request.method().to_string();
        line.target = request.uri().path_and_query().map_or("/", |target| target.as_str()).into();
        line.host = request.uri().authority().map_or_else(|| "-".to_owned(), ToString::to_string);
        line.user_agent = agent.unwrap_or_else(|| "-".to_owned());
        line.version = "HTTP/2.0";
        Self { trace, line: Some(Box::new(line)), ..Self::default() }
    }

    pub fn rule(&mut self, site: &Site, decision: &Decision) {
        let Some(line) = &mut self.line else { return };
        line.priority = site.entry.rules.get(decision.rule).map(|rule| rule.priority);
        match &decision.way {
            Way::Answer(answer) if answer.location.is_some() => line.actions = "redirect",
            Way::Answer(_) => line.actions = "fixed-response",
            Way::Forward(route) => {
                line.actions = "forward";
                line.group_arn.clone_from(&route.group.arn);
            }
        }
    }

    pub fn target(&mut self, target: &Target) {
        let Some(line) = &mut self.line else { return };
        line.tried.push(target.shown.clone());
    }

    pub fn trouble(&mut self, trouble: Trouble) {
        let Some(line) = &mut self.line else { return };
        line.status = trouble.status();
    }

    pub fn answered(&mut self, answer: &Answer) {
        let Some(line) = &mut self.line else { return };
        line.status = answer.status;
        if let Some(location) = &answer.location {
            line.redirect.clone_from(location);
        }
    }

    pub fn upgraded(&mut self) {
        let Some(line) = &mut self.line else { return };
        line.kind = if line.kind == "https" { "wss" } else { "ws" };
    }

    pub fn end(&self, core: &Core, site: &Site) {
        if let (Some(line), Some(log)) = (&self.line, &core.access_log) {
            log.write(self.spell(line, site));
        }
    }

    fn spell(&self, line: &Line, site: &Site) -> String {
        let now = Instant::now();
        let seconds = |from: Option<Instant>, to: Option<Instant>| match (from, to) {
            (Some(from), Some(to)) => format!("{:.3}", to.duration_since(from).as_secs_f64()),
            _ => "-1".to_owned(),
        };
        let status = if line.status > 0 { line.status } else { self.target_status };
        let target_status = match self.target_status {
            0 => "-".to_owned(),
            status => status.to_string(),
        };
        let target = line.tried.last().map_or("-", String::as_str);
        let listed = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let (class, reason) = match self.verdict {
            Some(verdict) => (verdict.tier.name(), verdict.reason),
            None => ("-", "-"),
        };
        let url = match line.target.starts_with('/') {
            true => format!("{}://{}:{}{}", site.scheme, bare(&line.host), site.port, line.target),
            false => line.target.clone(),
        };
        let ended = iso(line.began_unix + now.duration_since(line.began));
        [
            line.kind.to_owned(),
            ended,
            format!("app/{}/{}", site.front.name, site.front.id),
            line.client.to_string(),
            target.to_owned(),
            seconds(Some(line.began), self.sent_at),
            seconds(self.sent_at, self.first_byte_at),
            seconds(self.first_byte_at, Some(now)),
            if status == 0 { "-".to_owned() } else { status.to_string() },
            target_status.clone(),
            self.received.to_string(),
            self.sent.to_string(),
            quoted(&format!("{} {url} {}", line.method, line.version)),
            quoted(&line.user_agent),
            line.cipher.to_owned(),
            line.protocol.to_owned(),
            line.group_arn.clone(),
            quoted(&format!("Root={}", self.trace.id())),
            quoted(&line.server_name),
            quoted(&line.certificate),
            line.priority.map_or_else(|| "-".to_owned(), |priority| priority.to_string()),
            iso(line.began_unix),
            quoted(line.actions),
            quoted(&line.redirect),
            quoted(line.reason),
            quoted(&listed(&line.tried.join(" "))),
            quoted(&target_status),
            quoted(class),
            quoted(reason),
            crate::connection_log::trace_id(line.connection),
        ]
        .join(" ")
    }
}

fn bare(host: &str) -> &str {
    crate::request::without_port(host)
}

/// Whoever sends a quote or a line end can't forge a field.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\x22"),
            '\\' => quoted.push_str("\\x5C"),
            letter if letter.is_control() => quoted.push('?'),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
