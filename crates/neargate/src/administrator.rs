//! The administrator's key, made at first start. The secret lies in two places: sealed in the state
//! database, where signatures are checked against it, and in the data folder's `credentials` file,
//! for its owner's tools.

use crate::data_dir::{Credentials, DataDir};
use crate::world::Random;
use anyhow::{Context, Result};
use model::account::AccessKey;
use model::arn::Locality;
use model::{AccessKeyId, Timestamp};
use store::Store;
use store::secret::{Sealer, Secret};

const ID_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const ID_RANDOM_CHARACTERS: usize = 16;
const SECRET_CHARACTERS: usize = 40;

/// Makes the key if there is none, and sees to it that state and file agree: the file wins, since
/// its secret is the one that is in use.
pub async fn ensure(
    dir: &DataDir,
    store: &Store,
    sealer: &Sealer,
    locality: &Locality,
    now: Timestamp,
    random: &Random,
) -> Result<Credentials> {
    let credentials = match dir.read_credentials()? {
        Some(credentials) => credentials,
        None => {
            let made = mint(random);
            dir.write_credentials(&made)?;
            made
        }
    };
    let id = AccessKeyId::from(credentials.access_key_id.as_str());
    if store.snapshot().get::<AccessKey>(id.as_str()).is_some() {
        return Ok(credentials);
    }
    let secret = Secret::new(credentials.secret_access_key.clone().into_bytes());
    let key = frontend::root_access_key(locality, sealer, id, &secret, now);
    let key = key.context("cannot seal the administrator's key")?;
    let mut txn = store.begin();
    txn.put(key);
    txn.commit().await.context("cannot store the administrator's key")?;
    Ok(credentials)
}

fn mint(random: &Random) -> Credentials {
    let id = text(random, ID_ALPHABET, ID_RANDOM_CHARACTERS);
    Credentials {
        access_key_id: format!("AKIA{id}"),
        secret_access_key: text(random, SECRET_ALPHABET, SECRET_CHARACTERS),
    }
}

/// Characters of an alphabet whose size is a power of two, so that each is as likely as any other.
pub fn text(random: &Random, alphabet: &[u8], characters: usize) -> String {
    assert!(alphabet.len().is_power_of_two());
    let mut bits = 0u128;
    let per_draw = 128 / alphabet.len().trailing_zeros() as usize;
    let mut out = String::with_capacity(characters);
    for n in 0..characters {
        if n % per_draw == 0 {
            bits = random();
        }
        out.push(char::from(alphabet[(bits % alphabet.len() as u128) as usize]));
        bits /= alphabet.len() as u128;
    }
    out
}

/// A password that only processes of ours exchange; it lasts as long as this process.
pub fn password(random: &Random) -> String {
    text(random, SECRET_ALPHABET, SECRET_CHARACTERS)
}

/// What signs the registry's tokens. Its key outlives restarts, so that a `docker login` does too.
pub fn registry_signer(dir: &DataDir, random: &Random) -> Result<registry::token::Signer> {
    let key = match dir.read_registry_key()? {
        Some(key) => key,
        None => {
            let made = password(random).into_bytes();
            dir.write_registry_key(&made)?;
            made
        }
    };
    Ok(registry::token::Signer::new(&key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_look_like_awss_and_differ() {
        let random = crate::world::random();
        let (one, two) = (mint(&random), mint(&random));
        assert_eq!((one.access_key_id.len(), one.secret_access_key.len()), (20, 40));
        assert!(one.access_key_id.starts_with("AKIA"));
        assert!(one.secret_access_key != two.secret_access_key);
    }
}
