//! Secrets at rest: sealed with AES-256-GCM under a root key that lies in a file of its own, so
//! that a copy of the state alone gives nothing away. The context (what the secret belongs to) is
//! authenticated too, so a sealed value can't be moved from one owner to another.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

/// Bytes of the root key.
const KEY_BYTES: usize = 32;
/// Bytes of a key's id: enough to tell apart the keys that one installation ever has.
const KEY_ID_BYTES: usize = 8;
/// The first byte of a sealed value.
const FORMAT: u8 = 1;

/// A secret in the clear. It can't be printed and is wiped when dropped.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(bytes.into())
    }

    /// The bytes, for the one place that must have them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The secret as text, for keys and passwords that are text.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(..)")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the compiler from dropping a write that nobody reads.
        std::hint::black_box(&self.0);
    }
}

/// A sealed secret: safe to store, useless without the root key.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// The stored form: format byte, key id, nonce, ciphertext with tag.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Sealed {
        Sealed(bytes.into())
    }

    /// Lower-case hex, for JSON records.
    pub fn to_hex(&self) -> String {
        crate::hex::encode(&self.0)
    }

    pub fn from_hex(text: &str) -> Option<Sealed> {
        crate::hex::decode(text).map(Sealed)
    }
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Sealed({} bytes)", self.0.len())
    }
}

impl serde::Serialize for Sealed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> serde::Deserialize<'de> for Sealed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Sealed, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Sealed::from_hex(&text).ok_or_else(|| serde::de::Error::custom("not a sealed secret"))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SecretFailure {
    #[error("the root key file {path} can't be used")]
    KeyFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the root key file {path} must have {KEY_BYTES} bytes, it has {bytes}")]
    KeySize { path: PathBuf, bytes: usize },
    #[error("the root key file {path} may be read by others (mode {mode:03o}): make it 600")]
    KeyExposed { path: PathBuf, mode: u32 },
    #[error("the sealed secret belongs to another root key")]
    OtherKey,
    #[error("the sealed secret has an unknown format")]
    Format,
    #[error("the sealed secret was damaged or belongs to something else")]
    Tampered,
    #[error("the system has no randomness to give")]
    Randomness,
}

/// Seals and unseals under the root key of an installation.
pub struct Sealer {
    key: LessSafeKey,
    /// For `derive`; a key of its own, so that the root key has one use.
    deriving: hmac::Key,
    id: [u8; KEY_ID_BYTES],
    random: SystemRandom,
}

impl Sealer {
    /// Reads the root key, making it at first use. Losing the file loses every secret, so it is
    /// never made anew beside an old, damaged one.
    pub fn open(path: &Path) -> Result<Sealer, SecretFailure> {
        let failed = |source| SecretFailure::KeyFile { path: path.to_owned(), source };
        let random = SystemRandom::new();
        let mut file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_key_file(path, &random)?;
                fs::File::open(path).map_err(failed)?
            }
            Err(error) => return Err(failed(error)),
        };
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SecretFailure::KeyExposed { path: path.to_owned(), mode });
        }
        let mut bytes = Vec::with_capacity(KEY_BYTES + 1);
        (&mut file).take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        let root = Secret(bytes);
        if root.0.len() != KEY_BYTES {
            let bytes = root.0.len();
            return Err(SecretFailure::KeySize { path: path.to_owned(), bytes });
        }
        let key = UnboundKey::new(&AES_256_GCM, &root.0).expect("the length was just checked");
        let mut id = [0; KEY_ID_BYTES];
        let mut named = b"neargate root key id ".to_vec();
        named.extend_from_slice(&root.0);
        let hash = digest::digest(&digest::SHA256, &Secret(named).0);
        id.copy_from_slice(&hash.as_ref()[..KEY_ID_BYTES]);
        let root_hmac = hmac::Key::new(hmac::HMAC_SHA256, &root.0);
        let deriving = hmac::sign(&root_hmac, b"neargate deriving key");
        let deriving = hmac::Key::new(hmac::HMAC_SHA256, deriving.as_ref());
        Ok(Sealer { key: LessSafeKey::new(key), deriving, id, random })
    }

    /// Bytes that follow from the root key, a purpose and a text, and that nobody without the root
    /// key can tell from random ones.
    pub fn derive(&self, purpose: &str, from: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.deriving);
        // The length in front keeps purpose and text from running into each other.
        context.update(&(purpose.len() as u64).to_be_bytes());
        context.update(purpose.as_bytes());
        context.update(from);
        let mut derived = [0; 32];
        derived.copy_from_slice(context.sign().as_ref());
        derived
    }

    /// Seals a secret that belongs to `context`, such as `"access-key/AKIA…"`.
    pub fn seal(&self, context: &str, secret: &Secret) -> Result<Sealed, SecretFailure> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| SecretFailure::Randomness)?;
        let mut body = secret.0.clone();
        let sealing = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(sealing, Aad::from(context.as_bytes()), &mut body)
            .expect("AES-GCM takes any secret that fits in memory");
        let mut sealed = vec![FORMAT];
        sealed.extend_from_slice(&self.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        Ok(Sealed(sealed))
    }

    /// Opens what was sealed for the same context; a value changed in any bit is an error.
    pub fn unseal(&self, context: &str, sealed: &Sealed) -> Result<Secret, SecretFailure> {
        let rest = match sealed.0.split_first() {
            Some((&FORMAT, rest)) if rest.len() >= KEY_ID_BYTES + NONCE_LEN => rest,
            _ => return Err(SecretFailure::Format),
        };
        let (id, rest) = rest.split_at(KEY_ID_BYTES);
        let (nonce, body) = rest.split_at(NONCE_LEN);
        if id != self.id {
            return Err(SecretFailure::OtherKey);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SecretFailure::Format)?;
        let mut clear = body.to_vec();
        let bytes = self
            .key
            .open_in_place(nonce, Aad::from(context.as_bytes()), &mut clear)
            .map_err(|_| SecretFailure::Tampered)?
            .len();
        clear.truncate(bytes);
        Ok(Secret(clear))
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Sealer(..)")
    }
}

/// Writes a new key under a passing name first, so that a crash leaves a whole key or none; two
/// processes that race for it end up with the same one.
fn make_key_file(path: &Path, random: &SystemRandom) -> Result<(), SecretFailure> {
    let failed = |source| SecretFailure::KeyFile { path: path.to_owned(), source };
    let mut key = Secret(vec![0; KEY_BYTES]);
    random.fill(&mut key.0).map_err(|_| SecretFailure::Randomness)?;
    let mut passing = path.as_os_str().to_owned();
    passing.push(format!(".{}.new", std::process::id()));
    let passing = PathBuf::from(passing);
    let write = || -> io::Result<()> {
        match fs::remove_file(&passing) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&passing)?;
        file.write_all(&key.0)?;
        file.sync_all()?;
        match fs::hard_link(&passing, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        fs::remove_file(&passing)?;
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => fs::File::open(parent)?.sync_all(),
            None => fs::File::open(".")?.sync_all(),
        }
    };
    write().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_sealing_and_reopening_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("root.key");
        let sealer = Sealer::open(&path).unwrap();
        let sealed = sealer.seal("user/a", &Secret::new("s3cret")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Sealer::open(&path).unwrap();
        let json = serde_json::to_string(&sealed).unwrap();
        let back: Sealed = serde_json::from_str(&json).unwrap();
        assert_eq!(again.unseal("user/a", &back).unwrap().expose_str(), Some("s3cret"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let sealer = Sealer::open(&dir.path().join("root.key")).unwrap();
        let sealed = sealer.seal("user/a", &Secret::new("s3cret")).unwrap();
        for bit in 0..sealed.0.len() * 8 {
            let mut changed = sealed.clone();
            changed.0[bit / 8] ^= 1 << (bit % 8);
            assert!(sealer.unseal("user/a", &changed).is_err(), "bit {bit}");
        }
        for bytes in 0..sealed.0.len() {
            assert!(sealer.unseal("user/a", &Sealed(sealed.0[..bytes].to_vec())).is_err());
        }
        assert!(matches!(sealer.unseal("user/b", &sealed), Err(SecretFailure::Tampered)));
    }

    #[test]
    fn other_keys_and_bad_key_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("1"), dir.path().join("2"));
        let sealed = Sealer::open(&one).unwrap().seal("c", &Secret::new("x")).unwrap();
        let other = Sealer::open(&two).unwrap();
        assert!(matches!(other.unseal("c", &sealed), Err(SecretFailure::OtherKey)));
        fs::write(&one, "short").unwrap();
        assert!(matches!(Sealer::open(&one), Err(SecretFailure::KeySize { bytes: 5, .. })));
        fs::set_permissions(&two, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Sealer::open(&two), Err(SecretFailure::KeyExposed { .. })));
    }

    #[test]
    fn nothing_prints() {
        let secret = Secret::new("s3cret");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
