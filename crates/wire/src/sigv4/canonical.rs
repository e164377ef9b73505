//! The canonical request: the one text that client and server must both arrive at.

use std::fmt::Write;

use http::HeaderMap;
use ring::digest;

use crate::RequestParts;

/// How the canonical path comes from the path that was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PathStyle {
    /// Dots and doubled slashes are resolved and the path is encoded once more: every service
    /// but S3.
    #[default]
    Normalized,
    /// The path as it was sent: S3, where `a//b` and `a/./b` are names of different objects.
    AsSent,
}

/// The text whose hash is signed. `signed_headers` are lower-case and sorted; `skip_parameter` is
/// the query parameter that can't be part of what it signs.
pub fn request(
    parts: &RequestParts<'_>,
    style: PathStyle,
    signed_headers: &[String],
    skip_parameter: Option<&str>,
    payload_hash: &str,
) -> String {
    let mut out = String::with_capacity(512);
    out.push_str(parts.method);
    out.push('\n');
    match style {
        PathStyle::Normalized => encode_into(&normalize(parts.path), true, &mut out),
        PathStyle::AsSent => encode_into(&percent_decode(parts.path, false), true, &mut out),
    }
    out.push('\n');
    query_into(parts.query, skip_parameter, &mut out);
    out.push('\n');
    for name in signed_headers {
        header_into(parts.headers, name, &mut out);
    }
    out.push('\n');
    out.push_str(&signed_headers.join(";"));
    out.push('\n');
    out.push_str(payload_hash);
    out
}

/// Resolves `.`, `..` and empty segments, as all of AWS's signers do before they sign.
fn normalize(path: &str) -> Vec<u8> {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let mut out = format!("/{}", kept.join("/"));
    if path.ends_with('/') && !kept.is_empty() {
        out.push('/');
    }
    out.into_bytes()
}

/// The parameters decoded, encoded again in the one canonical way, and sorted by their encoded
/// names, then values. A plus sign is a space: that is how the form is read afterwards, and a
/// signature must not hold for a request that means something else.
fn query_into(query: &str, skip: Option<&str>, out: &mut String) {
    if query.is_empty() {
        return;
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, value) in parameters(query) {
        if skip.is_some_and(|skip| name == skip.as_bytes()) {
            continue;
        }
        pairs.push((encode(&name, false), encode(&value, false)));
    }
    pairs.sort_unstable();
    for (index, (name, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        out.push_str(value);
    }
}

/// The decoded names and values of a query string; a name without `=` has an empty value.
pub fn parameters(query: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decode(name, true), percent_decode(value, true))
    })
}

/// A percent sign that begins no escape stands for itself.
fn percent_decode(text: &str, plus_is_space: bool) -> Vec<u8> {
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect();
    if plus_is_space && text.contains('+') {
        return decoded(&text.replace('+', " "));
    }
    decoded(text)
}

pub fn encode(bytes: &[u8], keep_slash: bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    encode_into(bytes, keep_slash, &mut out);
    out
}

fn encode_into(bytes: &[u8], keep_slash: bool, out: &mut String) {
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte));
            }
            b'/' if keep_slash => out.push('/'),
            byte => write!(out, "%{byte:02X}").expect("writing to a String can't fail"),
        }
    }
}

/// `name:value1,value2` with the values' outer white space cut and inner runs folded to one space.
fn header_into(headers: &HeaderMap, name: &str, out: &mut String) {
    out.push_str(name);
    out.push(':');
    for (index, value) in headers.get_all(name).iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        let text = String::from_utf8_lossy(value.as_bytes());
        for (index, word) in text.split_ascii_whitespace().enumerate() {
            if index > 0 {
                out.push(' ');
            }
            out.push_str(word);
        }
    }
    out.push('\n');
}

/// What is signed: the moment, the scope and the hash of the canonical request.
pub fn string_to_sign(moment: &str, scope: &str, canonical_request: &str) -> String {
    let hash = sha256_hex(canonical_request.as_bytes());
    format!("{}\n{moment}\n{scope}\n{hash}", super::ALGORITHM)
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 0xf)]));
    }
    out
}
