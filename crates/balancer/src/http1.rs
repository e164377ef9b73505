//! The headers of an HTTP/1 head, as rules and rewriting ask for them.

use crate::answer::Trouble;
use crate::head::{Head, Known, Version};
use crate::outgoing::Fields;
use plan::routes::Headers;

/// As rules see them.
pub struct Heard<'a> {
    pub bytes: &'a [u8],
    pub head: &'a Head,
}

impl std::fmt::Debug for Heard<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Heard(..)")
    }
}

impl Headers for Heard<'_> {
    fn any(&self, name: &str, look: &mut dyn FnMut(&str) -> bool) -> bool {
        self.head.fields.iter().any(|field| {
            let own = field.name.of(self.bytes).eq_ignore_ascii_case(name.as_bytes());
            own && std::str::from_utf8(field.value.of(self.bytes)).is_ok_and(&mut *look)
        })
    }
}

/// As they are passed on.
pub struct Sent<'a> {
    pub bytes: &'a [u8],
    pub head: &'a Head,
}

impl Fields for Sent<'_> {
    fn each(&self, mut look: impl FnMut(Known, &[u8], &[u8])) {
        for field in &self.head.fields {
            look(field.known, field.name.of(self.bytes), field.value.of(self.bytes));
        }
    }
}

/// The request's host: of its target, else of its one Host header. None for HTTP/1.0 without one.
pub fn host<'a>(
    heard: &Heard<'a>,
    authority: Option<&'a str>,
    version: Version,
) -> Result<Option<&'a str>, Trouble> {
    let mut all = heard.head.fields.iter().filter(|field| field.known == Known::Host);
    let given = all.next();
    if all.next().is_some() || (given.is_none() && version == Version::Http11) {
        return Err(Trouble::BadRequest);
    }
    let given = given.map(|field| std::str::from_utf8(field.value.of(heard.bytes)));
    let given = given.transpose().map_err(|_| Trouble::BadRequest)?;
    let host = authority.or(given);
    match host.is_none_or(is_host) {
        true => Ok(host),
        false => Err(Trouble::BadRequest),
    }
}

/// Letters, digits and the few marks of names, addresses and ports.
fn is_host(host: &str) -> bool {
    let fits =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    host.bytes().all(fits)
}
