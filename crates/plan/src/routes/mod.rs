//! Where a load balancer sends a request: the table it serves from, out of the records, and the
//! choice of a rule for one request. Both are functions of data; the balancer only carries them
//! out. Source: Elastic Load Balancing user guide, listener rules.

mod attributes;
mod pattern;
mod regex;
mod table;

pub use attributes::{balancer_settings, group_settings};
pub use pattern::matches_pattern;
pub use regex::{is_regex, matches_regex};
pub use table::{Records, table, used};

use model::balancing::{Action, Condition, FixedResponse, ListenerEntry, Redirect};
use std::net::IpAddr;

/// What of a request a rule may ask about. The balancer fills it in from whatever it speaks.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// Without its port.
    pub host: &'a str,
    pub method: &'a str,
    /// Percent-encoded, as sent.
    pub path: &'a str,
    /// Without the `?`; None: the target had none.
    pub query: Option<&'a str>,
    pub headers: &'a dyn Headers,
    pub source: IpAddr,
}

/// The headers of a request, by any means.
pub trait Headers: std::fmt::Debug {
    /// Calls `look` with each value of the header; ends when it returns true, and then is true.
    fn any(&self, name: &str, look: &mut dyn FnMut(&str) -> bool) -> bool;
}

/// The action of the first rule that fits. A listener's last rule has no condition, so there is
/// one; None only for a listener without rules, which no table has.
pub fn choose<'a>(listener: &'a ListenerEntry, request: &RequestView<'_>) -> Option<&'a Action> {
    position(listener, request).map(|at| &listener.rules[at].action)
}

/// As `choose`: which of the listener's rules it is.
pub fn position(listener: &ListenerEntry, request: &RequestView<'_>) -> Option<usize> {
    let fits = |condition: &Condition| holds(condition, request);
    listener.rules.iter().position(|rule| rule.conditions.iter().all(fits))
}

fn holds(condition: &Condition, request: &RequestView<'_>) -> bool {
    match condition {
        Condition::Host(patterns) => {
            let host = request.host.to_ascii_lowercase();
            patterns.iter().any(|p| matches_pattern(&p.to_ascii_lowercase(), &host))
        }
        Condition::HostRegex(all) => all.iter().any(|it| matches_regex(it, request.host, true)),
        Condition::Path(patterns) => patterns.iter().any(|p| matches_pattern(p, request.path)),
        Condition::PathRegex(all) => all.iter().any(|it| matches_regex(it, request.path, false)),
        Condition::Header { name, values } => request.headers.any(name, &mut |value| {
            let value = value.to_ascii_lowercase();
            values.iter().any(|p| matches_pattern(&p.to_ascii_lowercase(), &value))
        }),
        Condition::HeaderRegex { name, values } => request
            .headers
            .any(name, &mut |value| values.iter().any(|it| matches_regex(it, value, false))),
        Condition::Query(wanted) => has_query(wanted, request.query.unwrap_or("")),
        Condition::Method(methods) => methods.iter().any(|method| method == request.method),
        Condition::Source(ranges) => match request.source {
            IpAddr::V4(address) => ranges.iter().any(|range| range.contains(address)),
            IpAddr::V6(address) => address
                .to_ipv4_mapped()
                .is_some_and(|address| ranges.iter().any(|range| range.contains(address))),
        },
    }
}

/// Keys and values are compared without regard to case.
fn has_query(wanted: &[(Option<String>, String)], query: &str) -> bool {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.any(|(key, value)| {
        let (key, value) = (key.to_ascii_lowercase(), value.to_ascii_lowercase());
        wanted.iter().any(|(wanted_key, pattern)| {
            let keyed = wanted_key.as_ref().is_none_or(|k| k.to_ascii_lowercase() == key);
            keyed && matches_pattern(&pattern.to_ascii_lowercase(), &value)
        })
    })
}

/// The location a redirect leads to. `port` and `scheme` are those of the listener. ALB writes the
/// port also where it is the protocol's own.
pub fn location(redirect: &Redirect, request: &RequestView<'_>, scheme: &str, port: u16) -> String {
    let port_text = port.to_string();
    let fill = |template: &str| {
        template
            .replace("#{protocol}", scheme)
            .replace("#{host}", request.host)
            .replace("#{port}", &port_text)
            .replace("#{path}", request.path.trim_start_matches('/'))
            .replace("#{query}", request.query.unwrap_or(""))
    };
    let protocol = match redirect.protocol.as_str() {
        "HTTP" => "http".to_owned(),
        "HTTPS" => "https".to_owned(),
        other => fill(other),
    };
    let (host, to_port) = (fill(&redirect.host), fill(&redirect.port));
    let mut location = format!("{protocol}://{host}:{to_port}");
    let path = fill(&redirect.path);
    if !path.starts_with('/') {
        location.push('/');
    }
    location.push_str(&path);
    let query = fill(&redirect.query);
    if !query.is_empty() {
        location.push('?');
        location.push_str(&query);
    }
    location
}

/// The content type of a fixed response, as ELB sends it when none was given.
pub fn content_type(fixed: &FixedResponse) -> &str {
    fixed.content_type.as_deref().unwrap_or("text/plain")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::balancing::{Protocol, RuleEntry};
    use model::network::Cidr;
    use std::net::Ipv4Addr;

    #[derive(Debug)]
    struct Given(Vec<(&'static str, &'static str)>);

    impl Headers for Given {
        fn any(&self, name: &str, look: &mut dyn FnMut(&str) -> bool) -> bool {
            let mut all = self.0.iter();
            all.any(|(key, value)| key.eq_ignore_ascii_case(name) && look(value))
        }
    }

    fn fixed(status: u16) -> Action {
        Action::Fixed(FixedResponse { status, content_type: None, body: String::new() })
    }

    fn view<'a>(path: &'a str, query: Option<&'a str>, headers: &'a Given) -> RequestView<'a> {
        let source = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 5));
        RequestView { host: "Web.Example.com", method: "GET", path, query, headers, source }
    }

    fn holds_alone(condition: Condition, request: &RequestView<'_>) -> bool {
        let rule =
            |conditions, status| RuleEntry { priority: 0, conditions, action: fixed(status) };
        let listener = ListenerEntry {
            protocol: Protocol::Http,
            ssl_policy: None,
            certificates: Vec::new(),
            rules: vec![rule(vec![condition], 200), rule(Vec::new(), 404)],
        };
        choose(&listener, request) == Some(&fixed(200))
    }

    #[test]
    fn each_kind_of_condition_holds_where_it_should() {
        let headers = Given(vec![("X-Team", "Blue-1"), ("x-team", "red")]);
        let request = view("/api/v1/users", Some("Stage=Beta&flag"), &headers);
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let cases = [
            (Condition::Host(strings(&["*.example.COM"])), true),
            (Condition::Host(strings(&["example.com"])), false),
            (Condition::Path(strings(&["/img/*", "/api/*"])), true),
            (Condition::Path(strings(&["/API/*"])), false),
            (Condition::Header { name: "x-team".into(), values: strings(&["blue-?"]) }, true),
            (Condition::Header { name: "x-team".into(), values: strings(&["green"]) }, false),
            (Condition::Header { name: "x-none".into(), values: strings(&["*"]) }, false),
            (Condition::HostRegex(strings(&["^web[.](example|test)[.]com$"])), true),
            (Condition::HostRegex(strings(&["^example"])), false),
            (Condition::PathRegex(strings(&["^/api/v[0-9]+/"])), true),
            (Condition::PathRegex(strings(&["^/API/"])), false),
            (Condition::HeaderRegex { name: "x-team".into(), values: strings(&["^re.$"]) }, true),
            (Condition::HeaderRegex { name: "x-team".into(), values: strings(&["^RE"]) }, false),
            (Condition::Query(vec![(Some("stage".into()), "beta".into())]), true),
            (Condition::Query(vec![(None, "bet?".into())]), true),
            (Condition::Query(vec![(Some("flag".into()), "on".into())]), false),
            (Condition::Method(strings(&["GET"])), true),
            (Condition::Method(strings(&["get"])), false),
            (Condition::Source(vec![Cidr::parse("10.0.0.0/16").expect("a range")]), true),
            (Condition::Source(vec![Cidr::parse("10.1.0.0/16").expect("a range")]), false),
        ];
        for (condition, expected) in cases {
            assert_eq!(holds_alone(condition.clone(), &request), expected, "{condition:?}");
        }
    }

    #[test]
    fn a_redirect_keeps_what_it_does_not_name() {
        let headers = Given(Vec::new());
        let request = view("/a/b", Some("x=1"), &headers);
        let redirect = |protocol: &str, port: &str, path: &str, query: &str| Redirect {
            protocol: protocol.into(),
            host: "#{host}".into(),
            port: port.into(),
            path: path.into(),
            query: query.into(),
            status: 301,
        };
        let to = |r: Redirect| location(&r, &request, "http", 80);
        let all = redirect("HTTPS", "443", "/#{path}", "#{query}");
        assert_eq!(to(all), "https://Web.Example.com:443/a/b?x=1");
        let moved = redirect("#{protocol}", "8080", "/new/#{path}", "");
        assert_eq!(to(moved), "http://Web.Example.com:8080/new/a/b");
    }
}
