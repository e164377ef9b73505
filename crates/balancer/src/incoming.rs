//! What a client is told of a target's answer: its headers, without those that were meant for us,
//! with our cookies and our own framing.

use crate::framing::Encoder;
use crate::head::{Head, Known, Version};
use crate::imposed::Imposed;
use crate::time::http_date;
use std::io::Write;

/// What the client's request allows for the answer.
pub struct Terms<'a> {
    pub version: Version,
    /// Whether it was a HEAD request.
    pub headless: bool,
    /// Whether the client's connection may go on after it.
    pub keep: bool,
    /// What the client asked to upgrade to.
    pub upgrade: Option<&'a [u8]>,
    /// Values of Set-Cookie, given whether the target's answer sets the application's cookie.
    pub cookies: Option<&'a (dyn Fn(bool) -> Vec<String> + Send + Sync)>,
    /// The application's cookie that is followed.
    pub application_cookie: Option<&'a str>,
    pub imposed: &'a Imposed,
}

/// The head of a final answer.
pub fn write(
    head: &Head,
    bytes: &[u8],
    terms: &Terms<'_>,
    keep: bool,
    encoder: Encoder,
    out: &mut Vec<u8>,
) {
    line(head, bytes, out);
    let named = head.value(bytes, Known::Connection);
    let (mut dated, mut served, mut followed) = (false, false, false);
    for field in &head.fields {
        let (name, value) = (field.name.of(bytes), field.value.of(bytes));
        match field.known {
            // Framing is ours but for a length, which is the same on both sides.
            Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::Te
            | Known::TransferEncoding
            | Known::Upgrade
            | Known::Trailer
            | Known::Invalid => continue,
            Known::ContentLength if encoder == Encoder::Chunked => continue,
            Known::Date => dated = true,
            Known::Server => served = true,
            Known::SetCookie => followed |= sets(value, terms.application_cookie),
            _ if named.is_some_and(|named| crate::exchange::has(named, name)) => continue,
            _ if terms.imposed.replaces(name) => continue,
            _ => {}
        }
        put(out, name, value);
    }
    if !dated {
        put(out, b"Date", http_date().as_bytes());
    }
    if let Some(server) = terms.imposed.server().filter(|_| !served) {
        put(out, b"Server", server.as_bytes());
    }
    terms.imposed.write(out);
    for cookie in terms.cookies.map(|cookies| cookies(followed)).unwrap_or_default() {
        put(out, b"Set-Cookie", cookie.as_bytes());
    }
    if encoder == Encoder::Chunked && !terms.headless {
        put(out, b"Transfer-Encoding", b"chunked");
    }
    put(out, b"Connection", if keep { b"keep-alive" } else { b"close" });
    out.extend_from_slice(b"\r\n");
}

/// As 100 or 103: everything as it is, as there is more to come.
pub fn interim(head: &Head, bytes: &[u8], out: &mut Vec<u8>) {
    line(head, bytes, out);
    for field in &head.fields {
        if !matches!(field.known, Known::Invalid | Known::Connection | Known::TransferEncoding) {
            put(out, field.name.of(bytes), field.value.of(bytes));
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// 101: the client gets all the target said, Connection and Upgrade included.
pub fn switch(head: &Head, bytes: &[u8], imposed: &Imposed, out: &mut Vec<u8>) {
    line(head, bytes, out);
    for field in &head.fields {
        let framing = matches!(field.known, Known::TransferEncoding | Known::ContentLength);
        let name = field.name.of(bytes);
        let ours = field.known == Known::Connection || imposed.replaces(name);
        if field.known != Known::Invalid && !ours && !framing {
            put(out, name, field.value.of(bytes));
        }
    }
    imposed.write(out);
    put(out, b"Connection", b"upgrade");
    out.extend_from_slice(b"\r\n");
}

fn line(head: &Head, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(head.line.first.of(bytes));
    out.push(b' ');
    out.extend_from_slice(head.line.second.of(bytes));
    out.extend_from_slice(b"\r\n");
}

pub fn put(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Whether a Set-Cookie sets the cookie of that name.
pub fn sets(value: &[u8], cookie: Option<&str>) -> bool {
    let Some(cookie) = cookie else { return false };
    let name = value.split(|byte| *byte == b'=').next().unwrap_or(value);
    name.trim_ascii() == cookie.as_bytes()
}

/// For headers that are written number by number.
pub fn put_number(out: &mut Vec<u8>, name: &str, number: u64) {
    write!(out, "{name}: {number}\r\n").expect("a Vec takes everything");
}
