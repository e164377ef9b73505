//! What a listener has every answer say, whoever gave it: headers of its attributes, in place of
//! the target's where that sent some, and whether an answer says what serves it. Made ready once
//! for each table. Source: ELB user guide, "HTTP header modification for your Application Load
//! Balancer".

use crate::answer::SERVER;
use http::header::SERVER as SERVER_NAME;
use http::{HeaderMap, HeaderName, HeaderValue};
use model::balancing::ListenerSettings;

#[derive(Default, Debug)]
pub struct Imposed {
    hides_server: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The same for HTTP/1.1.
    lines: Vec<u8>,
}

impl Imposed {
    /// What can't stand in a head is left out: it was refused when it was given.
    pub fn new(settings: &ListenerSettings) -> Self {
        let mut made = Self { hides_server: settings.hides_server, ..Self::default() };
        for (name, value) in &settings.answer_headers {
            let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value));
            if let (Ok(known), Ok(told)) = parsed {
                crate::incoming::put(&mut made.lines, name.as_bytes(), told.as_bytes());
                made.headers.push((known, told));
            }
        }
        made
    }

    /// Whether a target's header of that name gives way.
    pub fn replaces(&self, name: &[u8]) -> bool {
        let is = |own: &HeaderName| own.as_str().as_bytes().eq_ignore_ascii_case(name);
        self.headers.iter().any(|(own, _)| is(own))
    }

    /// Our name, if it may be told.
    pub fn server(&self) -> Option<&'static str> {
        (!self.hides_server).then_some(SERVER)
    }

    /// To a head of HTTP/1.1 that has none of them.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.lines);
    }

    /// To a head of HTTP/2, over what it has.
    pub fn put(&self, headers: &mut HeaderMap) {
        if let Some(server) = self.server() {
            headers.entry(SERVER_NAME).or_insert(HeaderValue::from_static(server));
        }
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
    }
}
