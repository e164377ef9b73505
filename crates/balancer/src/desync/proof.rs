//! The proof that a request is compliant, in one pass over its bytes. It may miss compliant ones
//! (then the library is asked), but must never accept another.

use super::RawHead;

/// The characters of a token (RFC 9110, 5.6.2).
const TOKEN: [bool; 256] = token_table();

const fn token_table() -> [bool; 256] {
    let marks = b"!#$%&'*+-.^_`|~";
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut mark = 0;
    while mark < marks.len() {
        table[marks[mark] as usize] = true;
        mark += 1;
    }
    table
}

const CONTENT_LENGTH: &[u8] = b"content-length";
const TRANSFER_ENCODING: &[u8] = b"transfer-encoding";

/// Digits of a length that fits in 64 bits whatever they are.
const LENGTH_DIGITS_MAX: usize = 18;

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| TOKEN[usize::from(*byte)])
}

fn is_visible(byte: u8) -> bool {
    (b'!'..=b'~').contains(&byte)
}

fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| is_visible(*byte) || *byte == b' ' || *byte == b'\t')
}

pub fn is_plain(head: &RawHead<'_>) -> bool {
    let line = is_token(head.method)
        && !head.target.is_empty()
        && head.target.iter().all(|byte| is_visible(*byte))
        && head.version == b"HTTP/1.1";
    let mut framed = head.method == b"GET" || head.method == b"HEAD";
    line && head.fields.iter().all(|(name, value)| is_plain_field(name, value, &mut framed))
}

/// `framed`: no further header may frame the body, as one has or as it must have none.
fn is_plain_field(name: &[u8], value: &[u8], framed: &mut bool) -> bool {
    if !is_token(name) || !is_value(value) {
        return false;
    }
    if !may_frame(name) {
        return true;
    }
    let first = !std::mem::replace(framed, true);
    first && frames(name, value.trim_ascii())
}

/// Whether a parser might take the name for one of the two that frame a body. Wider than what the
/// library calls similar: it compares letters, in their order, so both begin with these.
fn may_frame(name: &[u8]) -> bool {
    if name.len() < CONTENT_LENGTH.len() {
        return false;
    }
    let second_is = |letter| name[1] | 0x20 == letter || !name[1].is_ascii_alphabetic();
    match name[0] | 0x20 {
        b'c' => second_is(b'o'),
        b't' => second_is(b'r'),
        _ => !name[0].is_ascii_alphabetic(),
    }
}

fn frames(name: &[u8], value: &[u8]) -> bool {
    if name.eq_ignore_ascii_case(CONTENT_LENGTH) {
        let length = 1..=LENGTH_DIGITS_MAX;
        return length.contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    }
    name.eq_ignore_ascii_case(TRANSFER_ENCODING) && value.eq_ignore_ascii_case(b"chunked")
}

/// The same for a whole head in bytes.
pub fn is_plain_head(head: &[u8]) -> bool {
    let Some((line, mut rest)) = line(head) else { return false };
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let version = words.next().unwrap_or_default();
    if !is_plain(&RawHead { method, target, version, fields: &[] }) {
        return false;
    }
    let mut framed = method == b"GET" || method == b"HEAD";
    loop {
        let Some((field, after)) = self::line(rest) else { return false };
        if field.is_empty() {
            return after.is_empty();
        }
        let Some(colon) = memchr::memchr(b':', field) else { return false };
        if !is_plain_field(&field[..colon], &field[colon + 1..], &mut framed) {
            return false;
        }
        rest = after;
    }
}

/// The first line, which must end in CR LF, and what comes after it.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = bytes[..end].strip_suffix(b"\r")?;
    Some((line, &bytes[end + 1..]))
}
