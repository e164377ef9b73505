//! Secrets and what is derived from them. A signing key is good for one day, region and service;
//! deriving it takes four HMACs, which a busy client would otherwise cost us on every call.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use ring::hmac;

use super::claim::Scope;
use super::{TERMINATOR, canonical};
use crate::limits::SIGNING_KEYS_MAX;

/// The secret half of an access key. Not shown by Debug.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(String);

impl SecretKey {
    pub fn new(text: impl Into<String>) -> SecretKey {
        SecretKey(text.into())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SecretKey(hidden)")
    }
}

/// The key of one day, region and service.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SigningKey(hidden)")
    }
}

impl SigningKey {
    pub fn derive(secret: &SecretKey, scope: &Scope) -> SigningKey {
        let step = |key: &[u8], text: &str| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
        };
        let date = step(format!("AWS4{}", secret.0).as_bytes(), &scope.date);
        let region = step(date.as_ref(), &scope.region);
        let service = step(region.as_ref(), &scope.service);
        let signing = step(service.as_ref(), TERMINATOR);
        SigningKey(hmac::Key::new(hmac::HMAC_SHA256, signing.as_ref()))
    }

    pub(crate) fn sign(&self, text: &str) -> String {
        canonical::hex(hmac::sign(&self.0, text.as_bytes()).as_ref())
    }

    /// Compares in constant time.
    pub(crate) fn is_signature(&self, text: &str, signature: &[u8]) -> bool {
        hmac::verify(&self.0, text.as_bytes(), signature).is_ok()
    }
}

/// Derived keys of late, at most `SIGNING_KEYS_MAX`; the oldest goes first.
#[derive(Default)]
pub struct SigningKeys {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    keys: HashMap<Place, (SecretKey, SigningKey)>,
    order: VecDeque<Place>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    access_key_id: String,
    scope: Scope,
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SigningKeys")
    }
}

impl SigningKeys {
    pub fn new() -> SigningKeys {
        SigningKeys::default()
    }

    /// The signing key of `secret`, derived unless it was before. `secret` is compared as well:
    /// a key made anew under an old id must not be answered with the old one's.
    pub fn get(&self, access_key_id: &str, scope: &Scope, secret: &SecretKey) -> SigningKey {
        let place = Place { access_key_id: access_key_id.to_owned(), scope: scope.clone() };
        if let Some((known, key)) = self.lock().keys.get(&place)
            && known == secret
        {
            return key.clone();
        }
        let key = SigningKey::derive(secret, scope);
        let mut inner = self.lock();
        if inner.keys.insert(place.clone(), (secret.clone(), key.clone())).is_none() {
            inner.order.push_back(place);
        }
        while inner.order.len() > SIGNING_KEYS_MAX {
            if let Some(oldest) = inner.order.pop_front() {
                inner.keys.remove(&oldest);
            }
        }
        key
    }

    pub fn len(&self) -> usize {
        self.lock().keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing under the lock can leave the two halves at odds, so a panic elsewhere is no
        // reason to refuse everybody.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
