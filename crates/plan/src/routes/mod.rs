//! Where a load balancer sends a request: the table it serves from, out of the records, and the
//! choice of a rule for one request. Both are functions of data; the balancer only carries them
//! out. Source: Elastic Load Balancing user guide, listener rules.

mod attributes;
mod pattern;
mod regex;
mod rules;
mod table;

pub use attributes::{balancer_settings, group_settings, listener_settings};
pub use regex::is_regex;
pub use rules::Rules;
pub use table::{Records, table, used};

use model::balancing::{FixedResponse, Redirect};
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
    use std::net::Ipv4Addr;

    #[derive(Debug)]
    struct Given(Vec<(&'static str, &'static str)>);

    impl Headers for Given {
        fn any(&self, name: &str, look: &mut dyn FnMut(&str) -> bool) -> bool {
            let mut all = self.0.iter();
            all.any(|(key, value)| key.eq_ignore_ascii_case(name) && look(value))
        }
    }

    fn view<'a>(path: &'a str, query: Option<&'a str>, headers: &'a Given) -> RequestView<'a> {
        let source = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 5));
        RequestView { host: "Web.Example.com", method: "GET", path, query, headers, source }
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
