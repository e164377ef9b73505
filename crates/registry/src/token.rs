//! The password that `docker login` and the like use: what GetAuthorizationToken hands out.
//!
//! It carries its own end and a signature over it under a secret of the server, so nothing is
//! stored for it and any frontend can make one that any registry of the same secret accepts.

use crate::limits::PASSWORD_SECONDS;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Timestamp;
use ring::hmac;

/// The user name that goes with a password, as on ECR.
pub const USER: &str = "AWS";

/// Bytes of an HMAC-SHA256.
const MAC_BYTES: usize = 32;
/// The first byte of a password's content: what follows is an end in milliseconds (eight bytes,
/// big-endian) and the signature over both.
const FORMAT: u8 = 1;
const SIGNED_BYTES: usize = 1 + 8;
/// The first byte of what is signed for a presigned path.
const PRESIGNED_FORMAT: u8 = 2;
/// How long a presigned path can be fetched, in seconds.
const PRESIGNED_SECONDS: i64 = 3600;
/// The members of a presigned query.
pub const PRESIGNED_END: &str = "expires";
pub const PRESIGNED_MAC: &str = "signature";

/// Makes and checks passwords. Clones share the secret.
#[derive(Clone)]
pub struct Signer {
    key: hmac::Key,
}

/// What a presigned path and its end are signed as; no password begins so.
fn presigned(path: &str, end: &str) -> Vec<u8> {
    [&[PRESIGNED_FORMAT], end.as_bytes(), b" ", path.as_bytes()].concat()
}

/// What a password turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Good,
    /// It was good once.
    Expired,
    Wrong,
}

impl Signer {
    /// The secret should have 32 random bytes; it is used for nothing else.
    pub fn new(secret: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// A new password and its end.
    pub fn mint(&self, now: Timestamp) -> (String, Timestamp) {
        let expires_at = now.plus_seconds(PASSWORD_SECONDS);
        let mut content = Vec::with_capacity(SIGNED_BYTES + MAC_BYTES);
        content.push(FORMAT);
        content.extend_from_slice(&expires_at.0.to_be_bytes());
        let mac = hmac::sign(&self.key, &content);
        content.extend_from_slice(mac.as_ref());
        (URL_SAFE_NO_PAD.encode(content), expires_at)
    }

    /// A query with which a GET of this path needs no password for a while.
    pub fn presign(&self, path: &str, now: Timestamp) -> String {
        let end = now.plus_seconds(PRESIGNED_SECONDS).0.to_string();
        let mac = hmac::sign(&self.key, &presigned(path, &end));
        let mac = URL_SAFE_NO_PAD.encode(mac.as_ref());
        format!("{PRESIGNED_END}={end}&{PRESIGNED_MAC}={mac}")
    }

    /// `end` and `mac` are what the query holds under `PRESIGNED_END` and `PRESIGNED_MAC`.
    pub fn verify_presigned(&self, path: &str, end: &str, mac: &str, now: Timestamp) -> Verdict {
        let Ok(mac) = URL_SAFE_NO_PAD.decode(mac) else { return Verdict::Wrong };
        if hmac::verify(&self.key, &presigned(path, end), &mac).is_err() {
            return Verdict::Wrong;
        }
        match end.parse().is_ok_and(|end| now < Timestamp(end)) {
            true => Verdict::Good,
            false => Verdict::Expired,
        }
    }

    /// The signature is compared in constant time, and before anything else is believed.
    pub fn verify(&self, password: &str, now: Timestamp) -> Verdict {
        let Ok(content) = URL_SAFE_NO_PAD.decode(password) else { return Verdict::Wrong };
        if content.len() != SIGNED_BYTES + MAC_BYTES {
            return Verdict::Wrong;
        }
        let (signed, mac) = content.split_at(SIGNED_BYTES);
        if hmac::verify(&self.key, signed, mac).is_err() || signed[0] != FORMAT {
            return Verdict::Wrong;
        }
        let end =
            i64::from_be_bytes(signed[1..].try_into().expect("eight bytes follow the format"));
        match now < Timestamp(end) {
            true => Verdict::Good,
            false => Verdict::Expired,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_750_000_000_000);

    #[test]
    fn a_password_is_good_for_twelve_hours_and_only_under_its_secret() {
        let signer = Signer::new(b"one secret");
        let (password, end) = signer.mint(NOW);
        assert_eq!(end.since_ms(NOW), 12 * 3600 * 1000);
        assert_eq!(signer.verify(&password, NOW), Verdict::Good);
        assert_eq!(signer.verify(&password, end.plus_ms(-1)), Verdict::Good);
        assert_eq!(signer.verify(&password, end), Verdict::Expired);
        assert_eq!(Signer::new(b"another").verify(&password, NOW), Verdict::Wrong);
    }

    #[test]
    fn a_presigned_path_is_good_for_an_hour_and_for_itself_alone() {
        let signer = Signer::new(b"one secret");
        let query = signer.presign("/v2/web/blobs/sha256:00", NOW);
        let (end, mac) = query.split_once('&').expect("two members");
        let end = end.strip_prefix("expires=").expect("an end");
        let mac = mac.strip_prefix("signature=").expect("a signature");
        let check = |path: &str, end: &str, seconds: i64| {
            signer.verify_presigned(path, end, mac, NOW.plus_seconds(seconds))
        };
        assert_eq!(check("/v2/web/blobs/sha256:00", end, 0), Verdict::Good);
        assert_eq!(check("/v2/web/blobs/sha256:00", end, 3599), Verdict::Good);
        assert_eq!(check("/v2/web/blobs/sha256:00", end, 3600), Verdict::Expired);
        assert_eq!(check("/v2/web/blobs/sha256:01", end, 0), Verdict::Wrong);
        assert_eq!(check("/v2/web/blobs/sha256:00", "9999999999999", 0), Verdict::Wrong);
        let other = Signer::new(b"another");
        let verdict = other.verify_presigned("/v2/web/blobs/sha256:00", end, mac, NOW);
        assert_eq!(verdict, Verdict::Wrong);
    }

    #[test]
    fn no_changed_byte_of_a_password_goes_unnoticed() {
        let signer = Signer::new(b"one secret");
        let (password, _) = signer.mint(NOW);
        let content = URL_SAFE_NO_PAD.decode(&password).expect("base64");
        for at in 0..content.len() {
            let mut changed = content.clone();
            changed[at] ^= 0x20;
            let verdict = signer.verify(&URL_SAFE_NO_PAD.encode(changed), NOW);
            assert_eq!(verdict, Verdict::Wrong, "byte {at}");
        }
        for wrong in ["", "AWS", "AA", &password[1..], &password.repeat(2)] {
            assert_eq!(signer.verify(wrong, NOW), Verdict::Wrong, "{wrong:?}");
        }
    }
}
