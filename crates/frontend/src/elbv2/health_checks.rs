//! The health check of a target group: AWS's defaults, and what may be asked of one. Ranges of the
//! numbers are the model's. Source: API reference, CreateTargetGroup; user guides, health checks.

use super::validation;
use crate::fault::Fault;
use model::balancing::{HealthCheck, Protocol, ProtocolVersion};
use wire::elbv2::{Matcher, ProtocolEnum};

/// What a call says about it.
#[derive(Default)]
pub struct Given {
    pub enabled: Option<bool>,
    pub protocol: Option<ProtocolEnum>,
    pub port: Option<String>,
    pub path: Option<String>,
    pub interval_seconds: Option<i32>,
    pub timeout_seconds: Option<i32>,
    pub healthy_threshold: Option<i32>,
    pub unhealthy_threshold: Option<i32>,
    pub matcher: Option<Matcher>,
}

/// What the group is, as far as its health check goes by it.
#[derive(Clone, Copy)]
pub struct Of {
    pub protocol: Protocol,
    pub version: ProtocolVersion,
}

impl Of {
    fn is_tcp(self) -> bool {
        self.protocol == Protocol::Tcp
    }

    fn default_path(self) -> &'static str {
        match self.version {
            ProtocolVersion::Grpc => "/AWS.ALB/healthcheck",
            _ => "/",
        }
    }

    fn default_matcher(self) -> &'static str {
        match self.version {
            ProtocolVersion::Grpc => "12",
            _ if self.is_tcp() => "200-399",
            _ => "200",
        }
    }

    /// The greatest code a matcher may name, and the least.
    fn codes(self) -> (u32, u32) {
        match self.version {
            ProtocolVersion::Grpc => (0, 99),
            _ if self.is_tcp() => (200, 599),
            _ => (200, 499),
        }
    }
}

/// The check as given over the one there was, or over the defaults.
pub fn read(of: Of, given: Given, before: Option<&HealthCheck>) -> Result<HealthCheck, Fault> {
    if given.enabled == Some(false) {
        let text = "Health check enabled must be true for target groups with target type \
                    'instance' or 'ip'";
        return Err(validation(text));
    }
    let protocol = match &given.protocol {
        Some(asked) => protocol(of, asked)?,
        None => before
            .map_or(if of.is_tcp() { Protocol::Tcp } else { Protocol::Http }, |it| it.protocol),
    };
    let is_tcp = protocol == Protocol::Tcp;
    // What belonged to another protocol is no default.
    let before = before.filter(|before| (before.protocol == Protocol::Tcp) == is_tcp);
    check_tcp(is_tcp, &given)?;
    let number = |given: Option<i32>, before: Option<u32>, default: u32| {
        given.and_then(|it| u32::try_from(it).ok()).or(before).unwrap_or(default)
    };
    let timeout_default = match (of.is_tcp(), is_tcp) {
        (_, true) => 10,
        (true, false) => 6,
        (false, false) => 5,
    };
    let read = HealthCheck {
        enabled: true,
        protocol,
        port: match given.port.as_deref() {
            None => before.and_then(|it| it.port),
            Some(text) => port(text)?,
        },
        path: match given.path {
            Some(path) => checked_path(path)?,
            None if is_tcp => String::new(),
            None => before.map_or_else(|| of.default_path().to_owned(), |it| it.path.clone()),
        },
        interval_seconds: number(given.interval_seconds, before.map(|it| it.interval_seconds), 30),
        timeout_seconds: number(
            given.timeout_seconds,
            before.map(|it| it.timeout_seconds),
            timeout_default,
        ),
        healthy_threshold: number(
            given.healthy_threshold,
            before.map(|it| it.healthy_threshold),
            5,
        ),
        unhealthy_threshold: number(
            given.unhealthy_threshold,
            before.map(|it| it.unhealthy_threshold),
            2,
        ),
        matcher: match given.matcher {
            Some(asked) => matcher(of, asked)?,
            None if is_tcp => String::new(),
            None => before.map_or_else(|| of.default_matcher().to_owned(), |it| it.matcher.clone()),
        },
    };
    check_timeout(of, &read)?;
    Ok(read)
}

/// A connection has neither a path nor an answer's code.
fn check_tcp(is_tcp: bool, given: &Given) -> Result<(), Fault> {
    if is_tcp && given.path.is_some() {
        return Err(validation("Health check paths are not supported for TCP health checks"));
    }
    if is_tcp && given.matcher.is_some() {
        let text = "Custom health check matchers are not supported for health checks for target \
                    groups with the TCP protocol";
        return Err(validation(text));
    }
    Ok(())
}

fn check_timeout(of: Of, read: &HealthCheck) -> Result<(), Fault> {
    if read.timeout_seconds >= read.interval_seconds && !of.is_tcp() {
        return Err(validation("Health check interval must be greater than the timeout."));
    }
    if read.timeout_seconds > read.interval_seconds {
        return Err(validation("Health check interval must not be less than the timeout."));
    }
    Ok(())
}

fn protocol(of: Of, asked: &ProtocolEnum) -> Result<Protocol, Fault> {
    match asked {
        ProtocolEnum::Http => Ok(Protocol::Http),
        ProtocolEnum::Https => Ok(Protocol::Https),
        ProtocolEnum::Tcp if of.is_tcp() => Ok(Protocol::Tcp),
        other => {
            let wanted = if of.is_tcp() { "HTTP, HTTPS, TCP" } else { "HTTP, HTTPS" };
            let text =
                format!("Health check protocol '{}' must be one of '{wanted}'", other.as_str());
            Err(validation(text))
        }
    }
}

fn port(text: &str) -> Result<Option<u16>, Fault> {
    if text == "traffic-port" {
        return Ok(None);
    }
    let number = text.parse::<u16>().ok().filter(|port| *port > 0);
    let why = || {
        let text = format!("Health check port '{text}' must be 'traffic-port' or a port number");
        validation(text)
    };
    number.map(Some).ok_or_else(why)
}

fn checked_path(path: String) -> Result<String, Fault> {
    if !path.starts_with('/') {
        let text = format!("Health check path '{path}' must begin with a '/' character");
        return Err(validation(text));
    }
    if !path.bytes().all(|b| b.is_ascii_graphic()) {
        let text = format!("Health check path '{path}' contains characters that are not allowed");
        return Err(validation(text));
    }
    Ok(path)
}

/// Codes, and ranges of codes, with commas between.
fn matcher(of: Of, asked: Matcher) -> Result<String, Fault> {
    let is_grpc = of.version == ProtocolVersion::Grpc;
    let (text, other) = match is_grpc {
        true => (asked.grpc_code, asked.http_code),
        false => (asked.http_code, asked.grpc_code),
    };
    let kind = if is_grpc { "GRPC" } else { "HTTP" };
    if other.is_some() {
        return Err(validation(format!("The matcher must have {kind} codes for this group")));
    }
    let Some(text) = text else {
        return Err(validation("A health check matcher must have a code"));
    };
    let (least, most) = of.codes();
    let code = |text: &str| {
        text.parse::<u32>().ok().filter(|code| (least..=most).contains(code) && text.len() <= 3)
    };
    let fits = |part: &str| match part.split_once('-') {
        None => code(part).is_some(),
        Some((from, to)) => code(from).zip(code(to)).is_some_and(|(from, to)| from <= to),
    };
    if text.split(',').all(fits) {
        return Ok(text);
    }
    let why = format!(
        "Health check matcher {kind} code '{text}' must be within '{least}-{most}' inclusive"
    );
    Err(validation(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTTP: Of = Of { protocol: Protocol::Http, version: ProtocolVersion::Http1 };
    const TCP: Of = Of { protocol: Protocol::Tcp, version: ProtocolVersion::Http1 };

    #[test]
    fn what_is_not_given_has_awss_default() {
        let http = read(HTTP, Given::default(), None).expect("valid");
        assert_eq!((http.path.as_str(), http.matcher.as_str(), http.port), ("/", "200", None));
        assert_eq!((http.interval_seconds, http.timeout_seconds), (30, 5));
        assert_eq!((http.healthy_threshold, http.unhealthy_threshold), (5, 2));
        let grpc = Of { version: ProtocolVersion::Grpc, ..HTTP };
        let grpc = read(grpc, Given::default(), None).expect("valid");
        assert_eq!((grpc.path.as_str(), grpc.matcher.as_str()), ("/AWS.ALB/healthcheck", "12"));
        let tcp = read(TCP, Given::default(), None).expect("valid");
        assert_eq!((tcp.protocol, tcp.path.as_str(), tcp.timeout_seconds), (Protocol::Tcp, "", 10));
        let given = Given { protocol: Some(ProtocolEnum::Http), ..Given::default() };
        let over_http = read(TCP, given, Some(&tcp)).expect("valid");
        assert_eq!((over_http.path.as_str(), over_http.matcher.as_str()), ("/", "200-399"));
    }

    #[test]
    fn a_change_keeps_the_rest() {
        let given = Given {
            path: Some("/up".to_owned()),
            port: Some("81".to_owned()),
            interval_seconds: Some(10),
            ..Given::default()
        };
        let before = read(HTTP, given, None).expect("valid");
        let given = Given { healthy_threshold: Some(2), ..Given::default() };
        let after = read(HTTP, given, Some(&before)).expect("valid");
        assert_eq!(after, HealthCheck { healthy_threshold: 2, ..before });
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let http_code = |text: &str| Given {
            matcher: Some(Matcher { http_code: Some(text.to_owned()), grpc_code: None }),
            ..Given::default()
        };
        for fine in ["200", "200,204", "200-299", "200-299,404"] {
            assert!(read(HTTP, http_code(fine), None).is_ok(), "{fine}");
        }
        for bad in ["", "2xx", "99", "500", "299-200", "200,", "0200"] {
            assert!(read(HTTP, http_code(bad), None).is_err(), "{bad}");
        }
        let wrong = [
            Given { enabled: Some(false), ..Given::default() },
            Given { path: Some("up".to_owned()), ..Given::default() },
            Given { port: Some("0".to_owned()), ..Given::default() },
            Given { protocol: Some(ProtocolEnum::Tcp), ..Given::default() },
            Given { interval_seconds: Some(5), timeout_seconds: Some(5), ..Given::default() },
        ];
        for given in wrong {
            assert!(read(HTTP, given, None).is_err());
        }
        assert!(read(TCP, http_code("200"), None).is_err());
    }
}
