//! Session tokens: a statement, sealed with the root key, in the form that clients carry about in
//! `x-amz-security-token`. Opening one is all it takes to know whose it is and what its secret is,
//! on any frontend that has the key; nothing about a session is written down.

use crate::secret::{Sealed, Sealer, Secret, SecretFailure};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::AccessKeyId;
use model::credentials::{Hidden, SessionKeys, SessionStatement};

/// What tokens are sealed for: no other sealed value can be passed off as one.
const CONTEXT: &str = "session-token";
/// Characters of a secret, as AWS's have.
const SECRET_CHARACTERS: usize = 40;
/// Characters of a token; ours have some five hundred.
pub const TOKEN_CHARACTERS_MAX: usize = 4096;
const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// `ASIA` and 16 upper-case letters and digits: a key that is nothing without its token.
pub fn mint_access_key(random: u128) -> AccessKeyId {
    let mut id = "ASIA".to_owned();
    for n in 0..16 {
        id.push(char::from(ID_ALPHABET[(random >> (n * 5)) as usize % ID_ALPHABET.len()]));
    }
    AccessKeyId::from(id)
}

/// The keys that a statement stands for.
pub fn seal(sealer: &Sealer, statement: &SessionStatement) -> Result<SessionKeys, SecretFailure> {
    let said = serde_json::to_vec(statement).expect("a statement has string keys only");
    let sealed = sealer.seal(CONTEXT, &Secret::new(said.clone()))?;
    Ok(SessionKeys {
        role_arn: statement.role_arn.clone(),
        access_key: statement.access_key.clone(),
        secret: Hidden::new(secret(sealer, &said)),
        token: Hidden::new(URL_SAFE_NO_PAD.encode(sealed.as_bytes())),
        expires_at: statement.expires_at,
    })
}

/// What a token says, and the secret that belongs to it. None: it is not one of ours.
pub fn open(sealer: &Sealer, token: &str) -> Option<(SessionStatement, Hidden)> {
    if token.len() > TOKEN_CHARACTERS_MAX {
        return None;
    }
    let sealed = Sealed::from_bytes(URL_SAFE_NO_PAD.decode(token).ok()?);
    let said = sealer.unseal(CONTEXT, &sealed).ok()?;
    let statement = serde_json::from_slice(said.expose()).ok()?;
    Some((statement, Hidden::new(secret(sealer, said.expose()))))
}

fn secret(sealer: &Sealer, said: &[u8]) -> String {
    let mut text = STANDARD.encode(sealer.derive("session-secret", said));
    text.truncate(SECRET_CHARACTERS);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Timestamp;
    use model::credentials::SessionOrigin;

    fn statement() -> SessionStatement {
        SessionStatement {
            access_key: mint_access_key(u128::MAX / 3),
            role_arn: "arn:aws:iam::000000000000:role/web".to_owned(),
            session_name: "s".to_owned(),
            origin: SessionOrigin::AssumedRole { role: "web".to_owned(), role_id: "A".to_owned() },
            expires_at: Timestamp(1),
        }
    }

    #[test]
    fn a_token_opens_to_what_was_sealed_and_no_other_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let sealer = Sealer::open(&folder.path().join("one")).expect("a key");
        let keys = seal(&sealer, &statement()).expect("sealed");
        assert_eq!(keys.secret.expose().len(), SECRET_CHARACTERS);
        assert_eq!(keys.access_key.as_str().len(), 20);
        let token = keys.token.expose();
        let (said, secret) = open(&sealer, token).expect("ours");
        assert_eq!((said, &secret), (statement(), &keys.secret));
        for at in 0..token.len() {
            let mut bytes = token.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            // The last characters hold bits that decode to nothing; those must be refused too.
            assert!(open(&sealer, &changed).is_none(), "character {at}");
        }
        assert!(open(&sealer, "").is_none());
        assert!(open(&sealer, &"A".repeat(TOKEN_CHARACTERS_MAX + 1)).is_none());
        let other = Sealer::open(&folder.path().join("two")).expect("a key");
        assert!(open(&other, token).is_none());
        // A secret of another kind is no token.
        let sealed = sealer.seal("access-key/x", &Secret::new("{}")).expect("sealed");
        assert!(open(&sealer, &URL_SAFE_NO_PAD.encode(sealed.as_bytes())).is_none());
    }
}
