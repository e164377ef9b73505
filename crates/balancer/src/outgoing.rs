//! What a target is told of a request: its headers, without those that were meant for us, with
//! those that say where it came from. Source: ELB user guide, "HTTP headers and Application Load
//! Balancers".

use crate::answer::Trouble;
use crate::connection::Tls;
use crate::core::Core;
use crate::head::{Known, is_valid_name};
use crate::limits::FORWARDED_ADDRESSES_MAX;
use crate::table::Site;
use crate::time::unix;
use model::balancing::ForwardedFor;
use std::io::Write;
use std::net::SocketAddr;

/// The headers of a request, however they came.
pub trait Fields {
    /// Calls `look` with what it is, its name and its value, for each header in order.
    fn each(&self, look: impl FnMut(Known, &[u8], &[u8]));
}

/// What is told of where a request came from.
pub struct Origin<'a> {
    pub client: SocketAddr,
    pub scheme: &'a str,
    /// The listener's.
    pub port: u16,
    pub forwarded_for: ForwardedFor,
    pub forwarded_client_port: bool,
    pub preserve_host: bool,
    pub drop_invalid: bool,
    /// Version and cipher of the client's TLS, if targets are told, each with its header's name.
    pub tls: Option<[(&'a str, &'a str); 2]>,
    /// A new root for traces: 24 hexadecimal digits' worth of bits, and the time.
    pub trace: Trace,
}

impl<'a> Origin<'a> {
    /// By the attributes of load balancer and listener.
    pub fn of(site: &'a Site, client: SocketAddr, tls: Option<&'a Tls>, trace: Trace) -> Self {
        let settings = &site.front.settings;
        let told = |tls: &'a Tls| {
            let [version, cipher] = &site.tls_headers;
            [(version.as_str(), tls.version), (cipher.as_str(), tls.cipher)]
        };
        Self {
            client,
            scheme: site.scheme,
            port: site.port,
            forwarded_for: settings.forwarded_for,
            forwarded_client_port: settings.forwarded_client_port,
            preserve_host: settings.preserve_host,
            drop_invalid: settings.drop_invalid_headers,
            tls: tls.filter(|_| settings.tls_headers).map(told),
            trace,
        }
    }

    /// Whether we tell something by that name, which nobody else may then.
    fn tells(&self, name: &[u8]) -> bool {
        let is = |own: &str| own.as_bytes().eq_ignore_ascii_case(name);
        self.tls.is_some_and(|tls| tls.iter().any(|(own, _)| is(own)))
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Trace {
    pub seconds: u32,
    pub random: u128,
}

impl Trace {
    pub fn draw(core: &Core, worker: usize) -> Self {
        let seconds = u32::try_from(unix().as_secs()).unwrap_or(u32::MAX);
        Self { seconds, random: core.draw_wide(worker) }
    }

    pub fn id(self) -> String {
        String::from_utf8_lossy(&self.spelled()).into_owned()
    }

    /// As in `1-58337262-36d228ad5d99923122bbe354`.
    fn spelled(self) -> [u8; 35] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut id = *b"1-        -                        ";
        let mut spell = |at: usize, number: u128, digits: usize| {
            for place in 0..digits {
                let digit = (number >> (4 * (digits - 1 - place))) & 15;
                id[at + place] = DIGITS[digit as usize];
            }
        };
        spell(2, u128::from(self.seconds), 8);
        spell(11, self.random >> 32, 24);
        id
    }
}

/// What `write` left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dropped {
    pub invalid: u64,
}

/// Hands `put` every header for the target but those of framing and connection, Host first of
/// those that were sent. `host` is the request's own; `named` are the headers its Connection names.
pub fn write(
    fields: &impl Fields,
    origin: &Origin<'_>,
    host: &str,
    named: Option<&[u8]>,
    mut put: impl FnMut(&[u8], &[u8]),
) -> Result<Dropped, Trouble> {
    let mut forwarded: Option<Vec<u8>> = None;
    let mut trace: Option<Vec<u8>> = None;
    let mut invalid = 0;
    fields.each(|known, _, value| match known {
        Known::ForwardedFor => match &mut forwarded {
            Some(before) => {
                before.extend_from_slice(b", ");
                before.extend_from_slice(value);
            }
            None => forwarded = Some(value.to_vec()),
        },
        Known::TraceId => trace = trace.take().or(Some(value.to_vec())),
        _ => {}
    });
    forwarded_for(origin, forwarded, &mut put)?;
    put(b"X-Forwarded-Proto", origin.scheme.as_bytes());
    let mut number = [0; 5];
    put(b"X-Forwarded-Port", decimal(&mut number, origin.port));
    for (name, value) in origin.tls.iter().flatten() {
        put(name.as_bytes(), value.as_bytes());
    }
    write_host(origin, host, &mut put);
    match trace {
        None => {
            let mut root = *b"Root=                                   ";
            root[5..].copy_from_slice(&origin.trace.spelled());
            put(b"X-Amzn-Trace-Id", &root);
        }
        Some(given) => put(b"X-Amzn-Trace-Id", trace_id(origin.trace, &given).as_bytes()),
    }
    fields.each(|known, name, value| match known {
        Known::Other
        | Known::Cookie
        | Known::Date
        | Known::Server
        | Known::UserAgent
        | Known::SetCookie
        | Known::Expect => {
            if origin.drop_invalid && !is_valid_name(name) {
                invalid += 1;
            } else if !named.is_some_and(|named| is_named(named, name)) && !origin.tells(name) {
                put(name, value);
            }
        }
        Known::Invalid => invalid += 1,
        _ => {}
    });
    Ok(Dropped { invalid })
}

fn forwarded_for(
    origin: &Origin<'_>,
    given: Option<Vec<u8>>,
    put: &mut impl FnMut(&[u8], &[u8]),
) -> Result<(), Trouble> {
    let addresses = given.as_deref().map_or(0, |given| given.split(|b| *b == b',').count());
    if addresses > FORWARDED_ADDRESSES_MAX {
        return Err(Trouble::ForwardedTooLong);
    }
    match origin.forwarded_for {
        ForwardedFor::Remove => {}
        ForwardedFor::Preserve => {
            if let Some(given) = given {
                put(b"X-Forwarded-For", &given);
            }
        }
        ForwardedFor::Append => {
            // Room for the longest address with its port.
            let mut own = [0; 64];
            let mut rest = &mut own[..];
            match origin.forwarded_client_port {
                true => write!(rest, "{}", origin.client),
                false => write!(rest, "{}", origin.client.ip()),
            }
            .expect("there is room");
            let left = rest.len();
            let own = &own[..own.len() - left];
            match given.filter(|given| !given.is_empty()) {
                Some(given) => put(b"X-Forwarded-For", &[&given, &b", "[..], own].concat()),
                None => put(b"X-Forwarded-For", own),
            }
        }
    }
    Ok(())
}

/// The port is added on ports other than the usual ones, and taken away on those. Source: ELB user
/// guide, "Host header preservation".
fn write_host(origin: &Origin<'_>, host: &str, put: &mut impl FnMut(&[u8], &[u8])) {
    let usual = matches!(origin.port, 80 | 443);
    let bare = crate::request::without_port(host);
    if origin.preserve_host || (usual && bare.len() == host.len()) {
        put(b"Host", host.as_bytes());
    } else if usual {
        put(b"Host", bare.as_bytes());
    } else if bare.len() == host.len() {
        put(b"Host", format!("{host}:{}", origin.port).as_bytes());
    } else {
        put(b"Host", host.as_bytes());
    }
}

/// Source: ELB user guide, "Request tracing".
fn trace_id(trace: Trace, given: &[u8]) -> String {
    let given = std::str::from_utf8(given).unwrap_or("");
    let kept = given.split(';').map(str::trim).filter(|field| !field.starts_with("Self="));
    let kept: Vec<&str> = kept.filter(|field| !field.is_empty()).collect();
    match kept.iter().any(|field| field.starts_with("Root=")) {
        true => format!("Self={};{}", trace.id(), kept.join(";")),
        false if kept.is_empty() => format!("Root={}", trace.id()),
        false => format!("Root={};{}", trace.id(), kept.join(";")),
    }
}

/// Whether a Connection header names this one as meant for us only.
fn is_named(connection: &[u8], name: &[u8]) -> bool {
    let mut tokens = connection.split(|byte| *byte == b',');
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(name))
}

fn decimal(room: &mut [u8; 5], number: u16) -> &[u8] {
    let mut left = number;
    let mut at = room.len();
    loop {
        at -= 1;
        room[at] = b'0' + u8::try_from(left % 10).expect("a digit");
        left /= 10;
        if left == 0 {
            return &room[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Given(Vec<(&'static str, &'static str)>);

    impl Fields for Given {
        fn each(&self, mut look: impl FnMut(Known, &[u8], &[u8])) {
            for (name, value) in &self.0 {
                look(crate::head::known(name.as_bytes()), name.as_bytes(), value.as_bytes());
            }
        }
    }

    fn origin() -> Origin<'static> {
        Origin {
            client: "192.0.2.7:4711".parse().expect("an address"),
            scheme: "http",
            port: 80,
            forwarded_for: ForwardedFor::Append,
            forwarded_client_port: false,
            preserve_host: false,
            drop_invalid: false,
            tls: None,
            trace: Trace { seconds: 0x5833_7262, random: 0x36d2_28ad << 96 },
        }
    }

    fn told(fields: &[(&'static str, &'static str)], origin: &Origin<'_>, host: &str) -> String {
        let mut text = String::new();
        let put = |name: &[u8], value: &[u8]| {
            text += &String::from_utf8_lossy(name);
            text += ": ";
            text += &String::from_utf8_lossy(value);
            text += "\n";
        };
        write(&Given(fields.to_vec()), origin, host, Some(b"close, X-Mine"), put).expect("told");
        text
    }

    const ROOT: &str = "1-58337262-36d228ad0000000000000000";

    #[test]
    fn a_target_is_told_where_a_request_came_from() {
        let sent =
            [("Accept", "*/*"), ("connection", "close, X-Mine"), ("x-mine", "1"), ("TE", "x")];
        assert_eq!(
            told(&sent, &origin(), "a.b:80"),
            format!(
                "X-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: http\nX-Forwarded-Port: 80\n\
                 Host: a.b\nX-Amzn-Trace-Id: Root={ROOT}\nAccept: */*\n"
            )
        );
    }

    #[test]
    fn the_three_ways_with_forwarded_for() {
        let sent = [("x-forwarded-for", "10.0.0.1"), ("X-Forwarded-For", "10.0.0.2")];
        let line = |mode, port| {
            let origin = Origin { forwarded_for: mode, forwarded_client_port: port, ..origin() };
            let told = told(&sent, &origin, "h");
            told.lines().find_map(|l| l.strip_prefix("X-Forwarded-For: ").map(str::to_owned))
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(line(ForwardedFor::Append, false), text("10.0.0.1, 10.0.0.2, 192.0.2.7"));
        assert_eq!(line(ForwardedFor::Append, true), text("10.0.0.1, 10.0.0.2, 192.0.2.7:4711"));
        assert_eq!(line(ForwardedFor::Preserve, false), text("10.0.0.1, 10.0.0.2"));
        assert_eq!(line(ForwardedFor::Remove, false), None);
    }

    #[test]
    fn too_many_addresses_are_refused() {
        let many = vec!["10.0.0.1"; 31].join(",");
        let given = Given(vec![("X-Forwarded-For", Box::leak(many.into_boxed_str()))]);
        let refused = write(&given, &origin(), "h", None, |_, _| {});
        assert_eq!(refused, Err(Trouble::ForwardedTooLong));
    }

    #[test]
    fn the_host_has_the_listeners_port_where_that_is_unusual() {
        let host = |port, preserve_host, host| {
            let origin = Origin { port, preserve_host, ..origin() };
            let told = told(&[], &origin, host);
            let line = told.lines().find_map(|l| l.strip_prefix("Host: "));
            line.unwrap_or("").to_owned()
        };
        assert_eq!(host(443, false, "a:443"), "a");
        assert_eq!(host(8080, false, "a"), "a:8080");
        assert_eq!(host(8080, false, "a:1"), "a:1");
        assert_eq!(host(8080, true, "a"), "a");
        assert_eq!(host(80, true, "a:80"), "a:80");
    }

    #[test]
    fn a_trace_goes_on() {
        let trace = origin().trace;
        let of = |given: &str| trace_id(trace, given.as_bytes());
        assert_eq!(of("Root=1-a-b;Parent=c"), format!("Self={ROOT};Root=1-a-b;Parent=c"));
        assert_eq!(of("Self=x;Root=1-a-b"), format!("Self={ROOT};Root=1-a-b"));
        assert_eq!(of("CalledFrom=app"), format!("Root={ROOT};CalledFrom=app"));
    }

    #[test]
    fn what_we_tell_of_tls_nobody_else_does() {
        let tls = Some([("X-Tls", "TLSv1.3"), ("x-amzn-tls-cipher-suite", "C")]);
        let sent = [("x-tls", "SSLv2"), ("X-Amzn-Tls-Cipher-Suite", "none"), ("A", "b")];
        let text = told(&sent, &Origin { tls, ..origin() }, "h");
        assert!(text.contains("80\nX-Tls: TLSv1.3\nx-amzn-tls-cipher-suite: C\nHost"), "{text}");
        assert!(text.ends_with("\nA: b\n") && !text.contains("SSLv2") && !text.contains("none"));
        // Otherwise it is a header as any.
        assert!(told(&sent, &origin(), "h").contains("\nx-tls: SSLv2\n"));
    }

    #[test]
    fn invalid_names_go_when_that_is_asked_for() {
        let sent = [("X_Under", "1"), ("X-Fine", "2"), ("Bad Name", "3")];
        assert!(told(&sent, &origin(), "h").ends_with("X_Under: 1\nX-Fine: 2\n"));
        let strict = Origin { drop_invalid: true, ..origin() };
        let given = Given(sent.to_vec());
        assert_eq!(write(&given, &strict, "h", None, |_, _| {}), Ok(Dropped { invalid: 2 }));
    }
}
