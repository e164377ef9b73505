//! Messages on the wire: one question is read, one answer is written. Source: RFC 1035, 4; RFC 6891
//! (EDNS). A question's name can't be compressed, as nothing stands before it, so there is no
//! pointer to follow; names are kept in the client's own spelling, which it compares.

use crate::limits::{UDP_BYTES_DEFAULT, UDP_BYTES_MAX};
use std::net::{Ipv4Addr, Ipv6Addr};

const HEADER_BYTES: usize = 12;
const NAME_BYTES_MAX: usize = 255;
const LABEL_BYTES_MAX: usize = 63;
const CLASS_INTERNET: u16 = 1;
const CLASS_ANY: u16 = 255;
/// A name that is the question's, which always stands at the same place.
const QUESTION_POINTER: [u8; 2] = [0xc0, HEADER_BYTES as u8];

const FLAG_RESPONSE: u16 = 0x8000;
const FLAG_AUTHORITATIVE: u16 = 0x0400;
const FLAG_TRUNCATED: u16 = 0x0200;
const FLAG_RECURSION_DESIRED: u16 = 0x0100;
const FLAG_RECURSION_AVAILABLE: u16 = 0x0080;
const OPCODE_MASK: u16 = 0x7800;

/// A record's type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Kind(pub u16);

impl Kind {
    pub const A: Self = Self(1);
    pub const NS: Self = Self(2);
    pub const CNAME: Self = Self(5);
    pub const SOA: Self = Self(6);
    pub const PTR: Self = Self(12);
    pub const AAAA: Self = Self(28);
    pub const SRV: Self = Self(33);
    pub const OPT: Self = Self(41);
    pub const ANY: Self = Self(255);
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    NoError,
    FormErr,
    ServFail,
    NxDomain,
    NotImp,
    Refused,
    /// Of EDNS; partly in the OPT record.
    BadVers,
}

impl Code {
    fn number(self) -> u16 {
        match self {
            Self::NoError => 0,
            Self::FormErr => 1,
            Self::ServFail => 2,
            Self::NxDomain => 3,
            Self::NotImp => 4,
            Self::Refused => 5,
            Self::BadVers => 16,
        }
    }
}

/// What can't be read. With an id, it can at least be refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Malformed {
    /// Not even a header, or itself an answer: say nothing.
    Noise,
    Refuse(u16, Code),
}

/// The extension record of a question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extension {
    pub udp_bytes: u16,
    pub version: u8,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    pub id: u16,
    pub recursion_desired: bool,
    /// As sent: labels with their lengths, the last one empty.
    pub wire_name: Vec<u8>,
    /// In lower case, without a dot at the end; bytes that are no text are replaced.
    pub name: String,
    pub kind: Kind,
    pub class: u16,
    pub extension: Option<Extension>,
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The end of an uncompressed name.
fn name_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let length = usize::from(*bytes.get(at)?);
        if length > LABEL_BYTES_MAX {
            return None;
        }
        at += 1 + length;
        if at - start > NAME_BYTES_MAX {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

fn text(wire_name: &[u8]) -> String {
    let mut name = String::with_capacity(wire_name.len());
    let mut at = 0;
    while let Some(length) = wire_name.get(at).map(|b| usize::from(*b)).filter(|n| *n > 0) {
        if !name.is_empty() {
            name.push('.');
        }
        let label = wire_name.get(at + 1..at + 1 + length).unwrap_or_default();
        for byte in label {
            // A dot within a label is not a dot between two.
            let plain = byte.is_ascii_graphic() && *byte != b'.';
            name.push(if plain { char::from(byte.to_ascii_lowercase()) } else { '\u{fffd}' });
        }
        at += 1 + length;
    }
    name
}

impl Question {
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let (Some(id), Some(flags)) = (number(bytes, 0), number(bytes, 2)) else {
            return Err(Malformed::Noise);
        };
        if bytes.len() < HEADER_BYTES || flags & FLAG_RESPONSE != 0 {
            return Err(Malformed::Noise);
        }
        let refuse = |code| Malformed::Refuse(id, code);
        if flags & OPCODE_MASK != 0 {
            return Err(refuse(Code::NotImp));
        }
        let counts: Vec<u16> = (0..4).filter_map(|n| number(bytes, 4 + n * 2)).collect();
        if counts[0] != 1 || counts[1] != 0 {
            return Err(refuse(Code::FormErr));
        }
        let read = || {
            let end = name_end(bytes, HEADER_BYTES)?;
            let (kind, class) = (number(bytes, end)?, number(bytes, end + 2)?);
            let wire_name = bytes[HEADER_BYTES..end].to_vec();
            let extras = counts[2].saturating_add(counts[3]);
            let extension = extension(bytes, end + 4, extras)?;
            Some(Self {
                id,
                recursion_desired: flags & FLAG_RECURSION_DESIRED != 0,
                name: text(&wire_name),
                wire_name,
                kind: Kind(kind),
                class,
                extension,
            })
        };
        let question = read().ok_or_else(|| refuse(Code::FormErr))?;
        if question.class != CLASS_INTERNET && question.class != CLASS_ANY {
            return Err(refuse(Code::Refused));
        }
        Ok(question)
    }

    /// Whether this is an answer to that very question, whatever it says.
    pub fn is_answered_by(&self, id: u16, answer: &[u8]) -> bool {
        let end = HEADER_BYTES + self.wire_name.len();
        let name = answer.get(HEADER_BYTES..end);
        number(answer, 0) == Some(id)
            && number(answer, 2).is_some_and(|flags| flags & FLAG_RESPONSE != 0)
            && number(answer, 4) == Some(1)
            && name.is_some_and(|name| name.eq_ignore_ascii_case(&self.wire_name))
            && number(answer, end) == Some(self.kind.0)
            && number(answer, end + 2) == Some(self.class)
    }

    /// Bytes of an answer over UDP that the client can take.
    pub fn udp_bytes(&self) -> usize {
        self.extension.map_or(UDP_BYTES_DEFAULT, |extension| {
            usize::from(extension.udp_bytes).clamp(UDP_BYTES_DEFAULT, UDP_BYTES_MAX)
        })
    }
}

/// The OPT record among what follows the question. Outer None: what follows can't be read.
#[expect(clippy::option_option, reason = "unreadable and absent are two things here")]
fn extension(bytes: &[u8], start: usize, records: u16) -> Option<Option<Extension>> {
    let (mut at, mut found) = (start, None);
    for _ in 0..records {
        let end = name_end(bytes, at)?;
        let (kind, class) = (number(bytes, end)?, number(bytes, end + 2)?);
        let length = usize::from(number(bytes, end + 8)?);
        at = end + 10 + length;
        if at > bytes.len() {
            return None;
        }
        if Kind(kind) == Kind::OPT {
            if found.is_some() {
                return None;
            }
            found = Some(Extension { udp_bytes: class, version: *bytes.get(end + 5)? });
        }
    }
    Some(found)
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(String),
    Ptr(String),
    Ns(String),
    Srv { priority: u16, weight: u16, port: u16, target: String },
    Soa { primary: String, serial: u32, negative_ttl_seconds: u32 },
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// None: the question's name, in its spelling.
    pub name: Option<String>,
    pub ttl_seconds: u32,
    pub data: Data,
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    pub code: Code,
    pub authoritative: bool,
    pub answers: Vec<Record>,
    pub authority: Vec<Record>,
}

impl Reply {
    pub fn of(code: Code) -> Self {
        Self { code, authoritative: false, answers: Vec::new(), authority: Vec::new() }
    }

    /// Within so many bytes, and marked as cut off if that is too few.
    pub fn write(&self, question: &Question, bytes_max: usize) -> Vec<u8> {
        let whole = self.write_with(question, &self.answers, &self.authority, 0);
        if whole.len() <= bytes_max { whole } else { self.write_cut(question) }
    }

    /// Without what it says: the client is to ask again over TCP.
    pub fn write_cut(&self, question: &Question) -> Vec<u8> {
        self.write_with(question, &[], &[], FLAG_TRUNCATED)
    }

    fn write_with(
        &self,
        question: &Question,
        answers: &[Record],
        authority: &[Record],
        more_flags: u16,
    ) -> Vec<u8> {
        let mut flags = FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | more_flags;
        flags |= self.code.number() & 0xf;
        if question.recursion_desired {
            flags |= FLAG_RECURSION_DESIRED;
        }
        if self.authoritative {
            flags |= FLAG_AUTHORITATIVE;
        }
        let extras = u16::from(question.extension.is_some());
        let mut out = Vec::with_capacity(UDP_BYTES_MAX);
        for number in [question.id, flags, 1, count(answers), count(authority), extras] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(&question.wire_name);
        out.extend_from_slice(&question.kind.0.to_be_bytes());
        out.extend_from_slice(&question.class.to_be_bytes());
        for record in answers.iter().chain(authority) {
            write_record(&mut out, record);
        }
        if question.extension.is_some() {
            out.push(0);
            out.extend_from_slice(&Kind::OPT.0.to_be_bytes());
            out.extend_from_slice(&(UDP_BYTES_MAX as u16).to_be_bytes());
            // The upper bits of the code, and version 0.
            let upper = u8::try_from(self.code.number() >> 4).unwrap_or(0);
            out.extend_from_slice(&[upper, 0, 0, 0, 0, 0]);
        }
        out
    }
}

fn count(records: &[Record]) -> u16 {
    u16::try_from(records.len()).unwrap_or(u16::MAX)
}

/// The refusal of what can't be read.
pub fn refusal(id: u16, code: Code) -> Vec<u8> {
    let flags = FLAG_RESPONSE | FLAG_RECURSION_AVAILABLE | (code.number() & 0xf);
    [id, flags, 0, 0, 0, 0].iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn write_record(out: &mut Vec<u8>, record: &Record) {
    match &record.name {
        None => out.extend_from_slice(&QUESTION_POINTER),
        Some(name) => write_name(out, name),
    }
    let kind = match &record.data {
        Data::A(_) => Kind::A,
        Data::Aaaa(_) => Kind::AAAA,
        Data::Cname(_) => Kind::CNAME,
        Data::Ptr(_) => Kind::PTR,
        Data::Ns(_) => Kind::NS,
        Data::Srv { .. } => Kind::SRV,
        Data::Soa { .. } => Kind::SOA,
    };
    out.extend_from_slice(&kind.0.to_be_bytes());
    out.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
    out.extend_from_slice(&record.ttl_seconds.to_be_bytes());
    let mut data = Vec::with_capacity(64);
    match &record.data {
        Data::A(address) => data.extend_from_slice(&address.octets()),
        Data::Aaaa(address) => data.extend_from_slice(&address.octets()),
        Data::Cname(name) | Data::Ptr(name) | Data::Ns(name) => write_name(&mut data, name),
        Data::Srv { priority, weight, port, target } => {
            for number in [priority, weight, port] {
                data.extend_from_slice(&number.to_be_bytes());
            }
            write_name(&mut data, target);
        }
        Data::Soa { primary, serial, negative_ttl_seconds } => {
            write_name(&mut data, primary);
            write_name(&mut data, "awsdns-hostmaster.amazon.com");
            // Refresh, retry and expire as Route 53 has them.
            for number in [*serial, 7200, 900, 1_209_600, *negative_ttl_seconds] {
                data.extend_from_slice(&number.to_be_bytes());
            }
        }
    }
    let length = u16::try_from(data.len()).expect("names have at most 255 bytes");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&data);
}

/// A name whose labels are too long to be written is cut: nothing that is told is made of such.
fn write_name(out: &mut Vec<u8>, name: &str) {
    let mut left = NAME_BYTES_MAX - 1;
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(LABEL_BYTES_MAX)];
        let Some(rest) = left.checked_sub(label.len() + 1) else { break };
        left = rest;
        out.push(u8::try_from(label.len()).expect("at most 63"));
        out.extend_from_slice(label);
    }
    out.push(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub fn query(name: &str, kind: Kind, udp_bytes: Option<u16>) -> Vec<u8> {
        let extras = u16::from(udp_bytes.is_some());
        let head = [7u16, FLAG_RECURSION_DESIRED, 1, 0, 0, extras];
        let mut bytes: Vec<u8> = head.iter().flat_map(|n| n.to_be_bytes()).collect();
        write_name(&mut bytes, name);
        bytes.extend_from_slice(&kind.0.to_be_bytes());
        bytes.extend_from_slice(&CLASS_INTERNET.to_be_bytes());
        if let Some(udp_bytes) = udp_bytes {
            bytes.extend_from_slice(&[0, 0, 41]);
            bytes.extend_from_slice(&udp_bytes.to_be_bytes());
            bytes.extend_from_slice(&[0; 6]);
        }
        bytes
    }

    #[test]
    fn a_question_is_read_in_its_own_spelling() {
        let question = Question::read(&query("Web.LOCAL", Kind::SRV, Some(4096))).expect("valid");
        assert_eq!((question.name.as_str(), question.kind), ("web.local", Kind::SRV));
        assert_eq!(question.wire_name, b"\x03Web\x05LOCAL\x00");
        assert_eq!(question.udp_bytes(), UDP_BYTES_MAX);
        let plain = Question::read(&query("x", Kind::A, None)).expect("valid");
        assert_eq!((plain.extension, plain.udp_bytes()), (None, UDP_BYTES_DEFAULT));
    }

    #[test]
    fn what_is_no_question_is_refused_or_left_alone() {
        let good = query("web.local", Kind::A, Some(1232));
        for end in 0..good.len() {
            assert!(Question::read(&good[..end]).is_err(), "{end} bytes");
        }
        let changed = |at: usize, to: u8| {
            let mut bytes = good.clone();
            bytes[at] = to;
            Question::read(&bytes)
        };
        assert_eq!(changed(2, 0x81), Err(Malformed::Noise), "an answer");
        assert_eq!(changed(2, 0x29), Err(Malformed::Refuse(7, Code::NotImp)), "an update");
        assert_eq!(changed(5, 2), Err(Malformed::Refuse(7, Code::FormErr)), "two questions");
        assert_eq!(changed(12, 0xc0), Err(Malformed::Refuse(7, Code::FormErr)), "a pointer");
        let class = good.len() - 11 - 1;
        assert_eq!(changed(class, 3), Err(Malformed::Refuse(7, Code::Refused)), "chaos");
    }

    #[test]
    fn an_answer_that_does_not_fit_is_marked() {
        let question = Question::read(&query("web.local", Kind::A, None)).expect("valid");
        let record =
            Record { name: None, ttl_seconds: 60, data: Data::A(Ipv4Addr::new(10, 0, 0, 1)) };
        let mut reply = Reply::of(Code::NoError);
        reply.answers = vec![record; 40];
        let cut = reply.write(&question, UDP_BYTES_DEFAULT);
        assert_eq!(number(&cut, 2).expect("flags") & FLAG_TRUNCATED, FLAG_TRUNCATED);
        assert_eq!(number(&cut, 6), Some(0));
        let whole = reply.write(&question, 65_535);
        assert_eq!(number(&whole, 6), Some(40));
        assert!(question.is_answered_by(7, &whole));
        assert!(!question.is_answered_by(8, &whole));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(question) = Question::read(&bytes) {
                let reply = Reply::of(Code::NxDomain).write(&question, question.udp_bytes());
                prop_assert!(question.is_answered_by(question.id, &reply));
            }
        }

        #[test]
        fn nor_do_questions_with_some_bytes_changed(
            changes in proptest::collection::vec((0usize..60, any::<u8>()), 0..8),
        ) {
            let mut bytes = query("some.host.of.web.local", Kind::A, Some(1232));
            let length = bytes.len();
            for (at, to) in changes {
                bytes[at % length] = to;
            }
            if let Ok(question) = Question::read(&bytes) {
                let reply = Reply::of(Code::NoError).write(&question, 512);
                prop_assert!(question.is_answered_by(question.id, &reply));
            }
        }
    }
}
