//! Heads of HTTP/1 messages: where in the buffer what stands. Nothing is copied; a head that comes
//! in pieces goes on where it was. Lenient in what a line may look like, so that request smuggling
//! is judged by what was sent (`desync`), strict in what it passes on: what is written to a target
//! is always written anew.

use crate::limits::{HEADER_BYTES_MAX, HEADERS_MAX, REQUEST_LINE_BYTES_MAX};
use memchr::memchr;

/// A piece of the buffer, counted from the head's first byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    fn new(start: usize, end: usize) -> Self {
        let short = |at: usize| u32::try_from(at).expect("heads are far shorter than 4 GiB");
        Self { start: short(start), end: short(end) }
    }

    pub fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

/// The headers that mean something to a balancer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Known {
    Connection,
    ContentLength,
    Cookie,
    Date,
    Expect,
    ForwardedFor,
    ForwardedPort,
    ForwardedProto,
    Host,
    KeepAlive,
    ProxyConnection,
    Server,
    SetCookie,
    Te,
    TraceId,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    /// A name that is no token.
    Invalid,
    Other,
}

#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// As sent, spaces before the colon included.
    pub name: Span,
    /// Without spaces around it.
    pub value: Span,
    pub known: Known,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    Syntax,
    /// The request line is too long.
    Line,
    /// A header is too long, there are too many, or the head is.
    Long,
    Version,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    Http10,
    #[default]
    Http11,
}

/// Method and target, or status and reason.
#[derive(Clone, Copy, Debug, Default)]
pub struct FirstLine {
    pub whole: Span,
    /// The method; of an answer, the status.
    pub first: Span,
    /// The target; of an answer, the reason.
    pub second: Span,
    pub version: Version,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Request,
    Answer,
}

/// One head; used again for the next, so that its list is allocated once.
#[derive(Debug, Default)]
pub struct Head {
    pub line: FirstLine,
    pub fields: Vec<Field>,
    /// Bytes of the whole head; set when it is whole.
    pub length: usize,
    has_line: bool,
    /// Where the line begins that is not whole yet, and how far that was looked for.
    line_start: usize,
    searched: usize,
}

impl Head {
    pub fn clear(&mut self) {
        self.fields.clear();
        self.line = FirstLine::default();
        (self.has_line, self.length, self.line_start, self.searched) = (false, 0, 0, 0);
    }

    /// Whether anything of a message is there.
    pub fn has_begun(&self, bytes: &[u8]) -> bool {
        self.has_line || bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }

    /// Reads on. True when the head is whole.
    pub fn read(&mut self, kind: Kind, bytes: &[u8], bytes_max: usize) -> Result<bool, Malformed> {
        while let Some(at) = memchr(b'\n', &bytes[self.searched..]) {
            let newline = self.searched + at;
            let start = self.line_start;
            let mut end = newline;
            if end > start && bytes[end - 1] == b'\r' {
                end -= 1;
            }
            self.line_start = newline + 1;
            self.searched = newline + 1;
            if newline > bytes_max {
                return Err(Malformed::Long);
            }
            if !self.has_line {
                // Empty lines before a request are skipped. Source: RFC 9112, 2.2.
                if start < end {
                    self.line = first_line(kind, bytes, start, end)?;
                    self.has_line = true;
                }
            } else if start == end {
                self.length = newline + 1;
                return Ok(true);
            } else {
                let field = field(bytes, start, end)?;
                if self.fields.len() == HEADERS_MAX {
                    return Err(Malformed::Long);
                }
                self.fields.push(field);
            }
        }
        self.searched = bytes.len();
        let open = bytes.len() - self.line_start;
        match self.has_line {
            false if open > REQUEST_LINE_BYTES_MAX => Err(Malformed::Line),
            true if open > HEADER_BYTES_MAX => Err(Malformed::Long),
            _ if bytes.len() > bytes_max => Err(Malformed::Long),
            _ => Ok(false),
        }
    }

    /// The first value of a header.
    pub fn value<'a>(&self, bytes: &'a [u8], known: Known) -> Option<&'a [u8]> {
        let field = self.fields.iter().find(|field| field.known == known)?;
        Some(field.value.of(bytes))
    }
}

fn first_line(kind: Kind, bytes: &[u8], start: usize, end: usize) -> Result<FirstLine, Malformed> {
    if end - start > REQUEST_LINE_BYTES_MAX {
        return Err(Malformed::Line);
    }
    let line = &bytes[start..end];
    let space = memchr(b' ', line).ok_or(Malformed::Syntax)?;
    let whole = Span::new(start, end);
    if kind == Kind::Answer {
        let version = version(&line[..space])?;
        let status = line.get(space + 1..space + 4).ok_or(Malformed::Syntax)?;
        let ends = line.get(space + 4).is_none_or(|byte| *byte == b' ');
        if !ends || !status.iter().all(u8::is_ascii_digit) || status[0] == b'0' {
            return Err(Malformed::Syntax);
        }
        let first = Span::new(start + space + 1, start + space + 4);
        let second = Span::new((start + space + 5).min(end), end);
        let spoken = second.of(bytes).iter().all(|byte| *byte >= b' ' || *byte == b'\t');
        return spoken
            .then_some(FirstLine { whole, first, second, version })
            .ok_or(Malformed::Syntax);
    }
    let rest = &line[space + 1..];
    let second_space = memchr(b' ', rest).ok_or(Malformed::Syntax)?;
    let (method, target) = (&line[..space], &rest[..second_space]);
    let version = version(&rest[second_space + 1..])?;
    let visible = target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(Malformed::Syntax);
    }
    if target.is_empty() || !visible || std::str::from_utf8(target).is_err() {
        return Err(Malformed::Syntax);
    }
    let first = Span::new(start, start + space);
    let second = Span::new(start + space + 1, start + space + 1 + second_space);
    Ok(FirstLine { whole, first, second, version })
}

fn version(text: &[u8]) -> Result<Version, Malformed> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] => {
            match major.is_ascii_digit() && minor.is_ascii_digit() && *major != b'1' {
                true => Err(Malformed::Version),
                false => Err(Malformed::Syntax),
            }
        }
        _ => Err(Malformed::Syntax),
    }
}

fn field(bytes: &[u8], start: usize, end: usize) -> Result<Field, Malformed> {
    let line = &bytes[start..end];
    if line.len() > HEADER_BYTES_MAX {
        return Err(Malformed::Long);
    }
    // Lines that go on with the one before are of the past. Source: RFC 9112, 5.2.
    if matches!(line[0], b' ' | b'\t') {
        return Err(Malformed::Syntax);
    }
    let colon = memchr(b':', line).ok_or(Malformed::Syntax)?;
    let (mut from, mut to) = (colon + 1, line.len());
    while from < to && matches!(line[from], b' ' | b'\t') {
        from += 1;
    }
    while to > from && matches!(line[to - 1], b' ' | b'\t') {
        to -= 1;
    }
    if line[from..to].iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
        return Err(Malformed::Syntax);
    }
    Ok(Field {
        name: Span::new(start, start + colon),
        value: Span::new(start + from, start + to),
        known: known(&line[..colon]),
    })
}

/// Which header it is, whatever its case.
pub fn known(name: &[u8]) -> Known {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    let found = match name.len() {
        2 if is("te") => Known::Te,
        4 if is("host") => Known::Host,
        4 if is("date") => Known::Date,
        6 if is("cookie") => Known::Cookie,
        6 if is("expect") => Known::Expect,
        6 if is("server") => Known::Server,
        7 if is("upgrade") => Known::Upgrade,
        7 if is("trailer") => Known::Trailer,
        10 if is("connection") => Known::Connection,
        10 if is("keep-alive") => Known::KeepAlive,
        10 if is("set-cookie") => Known::SetCookie,
        10 if is("user-agent") => Known::UserAgent,
        14 if is("content-length") => Known::ContentLength,
        15 if is("x-forwarded-for") => Known::ForwardedFor,
        15 if is("x-amzn-trace-id") => Known::TraceId,
        16 if is("x-forwarded-port") => Known::ForwardedPort,
        16 if is("proxy-connection") => Known::ProxyConnection,
        17 if is("x-forwarded-proto") => Known::ForwardedProto,
        17 if is("transfer-encoding") => Known::TransferEncoding,
        _ => Known::Other,
    };
    if found == Known::Other && (name.is_empty() || !name.iter().all(|byte| is_token(*byte))) {
        return Known::Invalid;
    }
    found
}

/// Source: RFC 9110, 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_'
        )
        || matches!(byte, b'`' | b'|' | b'~')
}

/// Whether ALB calls a header's name valid. Source: API reference, LoadBalancerAttribute,
/// routing.http.drop_invalid_header_fields.enabled.
pub fn is_valid_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::HEAD_BYTES_MAX;

    fn read(bytes: &[u8]) -> Result<Option<Head>, Malformed> {
        let mut head = Head::default();
        let whole = head.read(Kind::Request, bytes, HEAD_BYTES_MAX)?;
        Ok(whole.then_some(head))
    }

    #[test]
    fn a_head_says_where_everything_stands_however_it_comes() {
        let bytes = b"\r\nGET /a?b HTTP/1.1\r\nHost: x\r\nX_y:  z \r\nA b: c\n\r\nrest";
        for cut in 0..bytes.len() {
            let mut head = Head::default();
            let first = head.read(Kind::Request, &bytes[..cut], HEAD_BYTES_MAX).expect("good");
            let whole = first || head.read(Kind::Request, bytes, HEAD_BYTES_MAX).expect("good");
            assert!(whole, "{cut}");
            assert_eq!(&bytes[head.length..], b"rest");
            assert_eq!(head.line.first.of(bytes), b"GET");
            assert_eq!(head.line.second.of(bytes), b"/a?b");
            let fields = head.fields.iter();
            let fields: Vec<_> = fields.map(|f| (f.known, f.value.of(bytes))).collect();
            let expected: Vec<(Known, &[u8])> =
                vec![(Known::Host, b"x"), (Known::Other, b"z"), (Known::Invalid, b"c")];
            assert_eq!(fields, expected);
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for (bytes, why) in [
            (&b"GET /\r\n"[..], Malformed::Syntax),
            (b"GET  / HTTP/1.1\r\n", Malformed::Syntax),
            (b"G(T / HTTP/1.1\r\n", Malformed::Syntax),
            (b"GET / HTTP/2.0\r\n", Malformed::Version),
            (b"GET / HTTP/1.1 \r\n", Malformed::Syntax),
            (b"GET / HTTP/1.1\r\nnocolon\r\n", Malformed::Syntax),
            (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n", Malformed::Syntax),
            (b"GET / HTTP/1.1\r\nA: b\0\r\n", Malformed::Syntax),
            (b"GET / HTTP/1.1\r\nA: b\rc\r\n", Malformed::Syntax),
        ] {
            assert_eq!(read(bytes).err(), Some(why), "{}", String::from_utf8_lossy(bytes));
        }
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(REQUEST_LINE_BYTES_MAX));
        assert_eq!(read(long.as_bytes()).err(), Some(Malformed::Line));
        assert_eq!(read(&long.as_bytes()[..long.len() - 12]).err(), Some(Malformed::Line));
        let long = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(HEADER_BYTES_MAX));
        assert_eq!(read(long.as_bytes()).err(), Some(Malformed::Long));
        let many = "A: b\r\n".repeat(HEADERS_MAX + 1);
        let many = format!("GET / HTTP/1.1\r\n{many}");
        assert_eq!(read(many.as_bytes()).err(), Some(Malformed::Long));
    }
}
