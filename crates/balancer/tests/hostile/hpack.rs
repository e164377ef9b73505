//! As much of HTTP/2 as a client needs that wants to break its rules: frames and header blocks by
//! hand. Nothing is checked on the way out, and only what tells about the other side on the way in.

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub fn setting(id: u16, value: u32) -> Vec<u8> {
    [id.to_be_bytes().as_slice(), &value.to_be_bytes()].concat()
}

/// A literal header that is not put into the table.
pub fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0], text(name).as_slice(), &text(value)].concat()
}

/// A literal header that is put into the dynamic table, as its newest.
pub fn remembered(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0x40], text(name).as_slice(), &text(value)].concat()
}

/// The newest header of the dynamic table.
pub const NEWEST: u8 = 0x80 | 62;

fn text(bytes: &[u8]) -> Vec<u8> {
    let mut out = number(bytes.len());
    out.extend(bytes);
    out
}

/// An integer with a prefix of seven bits.
fn number(mut value: usize) -> Vec<u8> {
    if value < 127 {
        return vec![value as u8];
    }
    let mut out = vec![127];
    value -= 127;
    while value >= 128 {
        out.push((value % 128) as u8 | 0x80);
        value /= 128;
    }
    out.push(value as u8);
    out
}

/// The headers of a request, in full.
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let literals = headers.iter().map(|(name, value)| literal(name.as_bytes(), value.as_bytes()));
    literals.collect::<Vec<_>>().concat()
}

pub fn request(path: &str) -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "https"), (":authority", "h"), (":path", path)])
}

/// A request of one frame.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &request(path))
}
