//! What ACM shows and checks of a certificate: names, time, key, who signed it. Not a judgement of
//! trust: whom a client trusts is the client's business.
//! Source: RFC 5280.

use super::der::{
    BIT_STRING, Der, Element, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, UTC_TIME,
};
use model::Timestamp;
use model::time::day_number;
use ring::signature;
use std::fmt::Write;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
pub const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
pub const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];

/// Short names of the parts of a name, as they are written out.
const ATTRIBUTES: &[(&[u8], &str)] = &[
    (COMMON_NAME, "CN"),
    (ORGANIZATION, "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x07], "L"),
];

/// Algorithms of signatures, with the name ACM gives them.
const ALGORITHMS: &[(&[u8], &str)] = &[
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b], "SHA256WITHRSA"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c], "SHA384WITHRSA"),
    (&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d], "SHA512WITHRSA"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02], "SHA256WITHECDSA"),
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03], "SHA384WITHECDSA"),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// With the bits of its modulus.
    Rsa(usize),
    P256,
    P384,
    P521,
}

/// A certificate, taken apart.
#[derive(Debug)]
pub struct X509<'a> {
    signed: &'a [u8],
    algorithm: &'a [u8],
    signature: &'a [u8],
    issuer_name: &'a [u8],
    subject_name: &'a [u8],
    pub serial: &'a [u8],
    pub subject: String,
    /// Who signed it: its common name, else its organization.
    pub issuer: String,
    pub common_name: Option<String>,
    /// Names of hosts, in lower case.
    pub alternative_names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub key: Key,
    /// As in the subject's public key: a point, or an RSAPublicKey.
    pub public_key: &'a [u8],
    /// Bits of the key usage, the first is digitalSignature; None: not said.
    pub key_usage: Option<u16>,
    /// Object identifiers in dotted form.
    pub extended_key_usage: Vec<String>,
}

impl<'a> X509<'a> {
    /// None when it is no certificate, or its key of a kind that ACM does not import.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut all = Der(bytes);
        let mut certificate = all.expect(SEQUENCE)?.inside();
        if !all.0.is_empty() {
            return None;
        }
        let signed = certificate.expect(SEQUENCE)?;
        let algorithm = certificate.expect(SEQUENCE)?.inside().expect(OID)?.content;
        let signature = certificate.expect(BIT_STRING)?.bits()?;
        let mut fields = signed.inside();
        fields.optional(0xa0);
        let serial = fields.expect(INTEGER)?.content;
        fields.expect(SEQUENCE)?;
        let issuer = fields.expect(SEQUENCE)?;
        let mut validity = fields.expect(SEQUENCE)?.inside();
        let (not_before, not_after) = (time(validity.next()?)?, time(validity.next()?)?);
        let subject = fields.expect(SEQUENCE)?;
        let (key, public_key) = public_key(fields.expect(SEQUENCE)?)?;
        fields.optional(0x81);
        fields.optional(0x82);
        let mut read = Self {
            signed: signed.whole,
            algorithm,
            signature,
            issuer_name: issuer.whole,
            subject_name: subject.whole,
            serial,
            subject: name(subject)?,
            issuer: part(issuer, COMMON_NAME)
                .or_else(|| part(issuer, ORGANIZATION))
                .unwrap_or_default(),
            common_name: part(subject, COMMON_NAME),
            alternative_names: Vec::new(),
            not_before,
            not_after,
            key,
            public_key,
            key_usage: None,
            extended_key_usage: Vec::new(),
        };
        if let Some(extensions) = fields.optional(0xa3) {
            let mut each = extensions.inside().expect(SEQUENCE)?.inside();
            while let Some(extension) = each.next() {
                read.extension(extension)?;
            }
        }
        Some(read)
    }

    fn extension(&mut self, extension: Element<'_>) -> Option<()> {
        let mut parts = extension.inside();
        let id = parts.expect(OID)?.content;
        parts.optional(0x01);
        let mut value = Der(parts.expect(OCTET_STRING)?.content);
        if id == SUBJECT_ALTERNATIVE_NAME {
            let mut names = value.expect(SEQUENCE)?.inside();
            while let Some(name) = names.next() {
                if name.tag == 0x82 {
                    let text = std::str::from_utf8(name.content).ok()?;
                    self.alternative_names.push(text.to_ascii_lowercase());
                }
            }
        } else if id == KEY_USAGE {
            let bits = value.expect(BIT_STRING)?.content.get(1..)?;
            let byte = |at: usize| u16::from(bits.get(at).copied().unwrap_or(0));
            self.key_usage = Some(byte(0) << 8 | byte(1));
        } else if id == EXTENDED_KEY_USAGE {
            let mut usages = value.expect(SEQUENCE)?.inside();
            while let Some(usage) = usages.next() {
                self.extended_key_usage.push(dotted(usage.content)?);
            }
        }
        Some(())
    }

    pub fn algorithm(&self) -> &'static str {
        let known = ALGORITHMS.iter().find(|(id, _)| *id == self.algorithm);
        known.map_or("UNKNOWN", |(_, name)| name)
    }

    /// The names a server with this certificate may be asked for: the alternative ones, and the
    /// common name where it is one.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.alternative_names.clone();
        if let Some(name) = self.common_name.as_ref().map(|name| name.to_ascii_lowercase())
            && name.contains('.')
            && !name.contains(' ')
            && !names.contains(&name)
        {
            names.insert(0, name);
        }
        names
    }

    /// Whether `other` signed this one, by name and by signature.
    pub fn is_signed_by(&self, other: &X509<'_>) -> bool {
        if self.issuer_name != other.subject_name {
            return false;
        }
        let algorithm: &dyn signature::VerificationAlgorithm = match (self.algorithm(), other.key) {
            ("SHA256WITHRSA", Key::Rsa(_)) => &signature::RSA_PKCS1_2048_8192_SHA256,
            ("SHA384WITHRSA", Key::Rsa(_)) => &signature::RSA_PKCS1_2048_8192_SHA384,
            ("SHA512WITHRSA", Key::Rsa(_)) => &signature::RSA_PKCS1_2048_8192_SHA512,
            ("SHA256WITHECDSA", Key::P256) => &signature::ECDSA_P256_SHA256_ASN1,
            ("SHA384WITHECDSA", Key::P256) => &signature::ECDSA_P256_SHA384_ASN1,
            ("SHA256WITHECDSA", Key::P384) => &signature::ECDSA_P384_SHA256_ASN1,
            ("SHA384WITHECDSA", Key::P384) => &signature::ECDSA_P384_SHA384_ASN1,
            _ => return false,
        };
        let key = signature::UnparsedPublicKey::new(algorithm, other.public_key);
        key.verify(self.signed, self.signature).is_ok()
    }
}

fn public_key(info: Element<'_>) -> Option<(Key, &[u8])> {
    let mut parts = info.inside();
    let mut algorithm = parts.expect(SEQUENCE)?.inside();
    let id = algorithm.expect(OID)?.content;
    let bits = parts.expect(BIT_STRING)?.bits()?;
    if id == RSA {
        let modulus = Der(bits).expect(SEQUENCE)?.inside().expect(INTEGER)?.content;
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let rest = modulus.get(zeros..)?;
        let first = rest.first().map_or(0, |byte| 8 - byte.leading_zeros() as usize);
        return Some((Key::Rsa((rest.len().saturating_sub(1)) * 8 + first), bits));
    }
    if id != EC {
        return None;
    }
    let curve = algorithm.expect(OID)?.content;
    let key = [(P256, Key::P256), (P384, Key::P384), (P521, Key::P521)];
    key.iter().find(|(id, _)| *id == curve).map(|(_, key)| (*key, bits))
}

/// A name's parts, the most general first, as they stand.
fn parts_of(name: Element<'_>) -> Option<Vec<(&[u8], String)>> {
    let mut parts = Vec::new();
    let mut sets = name.inside();
    while let Some(set) = sets.next() {
        let mut each = Element { tag: SET, ..set }.inside();
        while let Some(pair) = each.next() {
            let mut pair = pair.inside();
            let id = pair.expect(OID)?.content;
            let value = pair.next()?;
            parts.push((id, text(value)));
        }
    }
    Some(parts)
}

fn part(name: Element<'_>, id: &[u8]) -> Option<String> {
    parts_of(name)?.into_iter().find(|(of, _)| *of == id).map(|(_, text)| text)
}

fn name(name: Element<'_>) -> Option<String> {
    let parts = parts_of(name)?.into_iter().map(|(id, text)| {
        let known = ATTRIBUTES.iter().find(|(of, _)| *of == id);
        let short = known.map(|(_, short)| (*short).to_owned());
        format!("{}={text}", short.or_else(|| dotted(id)).unwrap_or_default())
    });
    Some(parts.collect::<Vec<_>>().join(","))
}

/// Strings of any of ASN.1's kinds; what is none shows replacement characters.
fn text(value: Element<'_>) -> String {
    const BMP: u8 = 0x1e;
    if value.tag != BMP {
        return String::from_utf8_lossy(value.content).into_owned();
    }
    let pairs = value.content.chunks_exact(2).map(|it| u16::from_be_bytes([it[0], it[1]]));
    char::decode_utf16(pairs).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

fn dotted(id: &[u8]) -> Option<String> {
    let first = *id.first()?;
    let mut text = format!("{}.{}", first.min(80) / 40, first - first.min(80) / 40 * 40);
    let mut number: u64 = 0;
    for byte in &id[1..] {
        number = number.checked_mul(128)? + u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            write!(text, ".{number}").ok()?;
            number = 0;
        }
    }
    Some(text)
}

/// UTCTime (two digits of the year) and GeneralizedTime, both in UTC.
fn time(value: Element<'_>) -> Option<Timestamp> {
    let text = std::str::from_utf8(value.content).ok()?.strip_suffix('Z')?;
    let (year, rest) = match value.tag {
        UTC_TIME => {
            let year = text.get(..2)?.parse::<u32>().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let two = |at: usize| rest.get(at..at + 2)?.parse::<u32>().ok();
    let (month, day) = (two(0)?, two(2)?);
    let seconds = i64::from(two(4)? * 3600 + two(6)? * 60 + two(8)?);
    let valid = (1..=12).contains(&month) && (1..=31).contains(&day);
    valid.then(|| Timestamp((day_number(year, month, day) * 86_400 + seconds) * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let at = |tag, text: &'static str| {
            time(Element { tag, content: text.as_bytes(), whole: &[] }).map(|at| at.0 / 1000)
        };
        assert_eq!(at(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(at(UTC_TIME, "240229120001Z"), Some(1_709_208_001));
        assert_eq!(at(GENERALIZED_TIME, "20500101000000Z"), Some(2_524_608_000));
        for bad in ["", "Z", "2402291200Z", "241329120000Z", "24022912000aZ", "240229120001"] {
            assert_eq!(at(UTC_TIME, bad), None, "{bad}");
        }
    }

    #[test]
    fn identifiers_are_written_with_dots() {
        assert_eq!(dotted(COMMON_NAME).as_deref(), Some("2.5.4.3"));
        assert_eq!(dotted(RSA).as_deref(), Some("1.2.840.113549.1.1.1"));
    }
}
