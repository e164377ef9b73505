//! Private keys: whether one is a key, and whether it belongs to a certificate. PKCS #8, PKCS #1
//! and SEC 1, as openssl writes them.

use super::der::{Der, INTEGER, OCTET_STRING, OID, SEQUENCE};
use super::pem;
use super::x509::{EC, Key, RSA, X509};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair,
    RsaKeyPair,
};

/// What is wrong with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// Not PEM of an unencrypted key.
    Unreadable,
    /// Of a kind or size that can't be served with.
    Unsupported,
    /// Of another certificate.
    Other,
}

/// Checks a key of a certificate; the PEM of the key alone.
pub fn check(text: &str, certificate: &X509<'_>) -> Result<String, Wrong> {
    let blocks = pem::read(text).ok_or(Wrong::Unreadable)?;
    // openssl writes the curve's parameters in front.
    let mut keys = blocks.iter().filter(|block| block.label != "EC PARAMETERS");
    let (Some(block), None) = (keys.next(), keys.next()) else { return Err(Wrong::Unreadable) };
    let bytes = block.bytes.as_slice();
    let (id, key) = match block.label.as_str() {
        "PRIVATE KEY" => pkcs8(bytes).ok_or(Wrong::Unreadable)?,
        "RSA PRIVATE KEY" => (RSA, bytes),
        "EC PRIVATE KEY" => (EC, bytes),
        _ => return Err(Wrong::Unreadable),
    };
    match certificate.key {
        Key::Rsa(2048..=8192) if id == RSA => {
            let pair = RsaKeyPair::from_der(key).map_err(|_| Wrong::Unreadable)?;
            let same = pair.public_key().as_ref() == certificate.public_key;
            if !same {
                return Err(Wrong::Other);
            }
        }
        Key::P256 | Key::P384 if id == EC => {
            let secret = scalar(key).ok_or(Wrong::Unreadable)?;
            let algorithm = match certificate.key {
                Key::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
                _ => &ECDSA_P384_SHA384_ASN1_SIGNING,
            };
            // It is refused when the public key is not this one's.
            EcdsaKeyPair::from_private_key_and_public_key(
                algorithm,
                secret,
                certificate.public_key,
                &SystemRandom::new(),
            )
            .map_err(|_| Wrong::Other)?;
        }
        Key::Rsa(_) | Key::P521 => return Err(Wrong::Unsupported),
        Key::P256 | Key::P384 => return Err(Wrong::Other),
    }
    Ok(pem::write(&block.label, bytes))
}

/// The kind of key, and the key itself. Source: RFC 5208.
fn pkcs8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = Der(bytes).expect(SEQUENCE)?.inside();
    parts.expect(INTEGER)?;
    let id = parts.expect(SEQUENCE)?.inside().expect(OID)?.content;
    Some((id, parts.expect(OCTET_STRING)?.content))
}

/// The number of an EC private key. Source: RFC 5915.
fn scalar(bytes: &[u8]) -> Option<&[u8]> {
    let mut parts = Der(bytes).expect(SEQUENCE)?.inside();
    parts.expect(INTEGER)?;
    Some(parts.expect(OCTET_STRING)?.content)
}
