//! Signing keys of late. A key is good for one day, region and service; unsealing the secret and
//! deriving the key anew for each call would be most of the call. Readers take no lock: the table
//! is replaced whole when something is added.

use super::seal_context;
use crate::limits::{SIGNING_KEYS_PER_ACCESS_KEY_MAX, UNSEALED_KEYS_MAX};
use arc_swap::ArcSwap;
use model::account::AccessKey;
use std::collections::HashMap;
use std::sync::Arc;
use store::secret::{Sealed, Sealer};
use wire::sigv4::{Scope, SecretKey, SigningKey};

#[derive(Clone)]
struct Derived {
    scope: Scope,
    /// As stored: a key made anew under an old id must not be answered with the old one's.
    sealed_secret: Arc<str>,
    key: SigningKey,
}

type Table = HashMap<String, Vec<Derived>>;

pub struct Keys {
    table: ArcSwap<Table>,
}

impl Keys {
    pub fn new() -> Self {
        Self { table: ArcSwap::from_pointee(Table::new()) }
    }

    /// The signing key of an access key; a decoy when there is none, so that the signature fails in
    /// its own time.
    pub fn signing_key(
        &self,
        sealer: &Sealer,
        record: Option<&AccessKey>,
        scope: &Scope,
    ) -> Candidate {
        let Some(record) = record else { return Candidate { key: decoy(scope), is_new: true } };
        let known = self.table.load();
        let known = known.get(record.id.as_str()).and_then(|keys| {
            let same =
                |d: &&Derived| d.scope == *scope && *d.sealed_secret == *record.sealed_secret;
            keys.iter().find(same)
        });
        match known {
            Some(derived) => Candidate { key: derived.key.clone(), is_new: false },
            None => Candidate { key: derive(sealer, record, scope), is_new: true },
        }
    }

    /// Keeps a key under which a signature held: what anybody can make us derive by naming a scope
    /// is not kept.
    pub fn keep(&self, record: &AccessKey, scope: &Scope, candidate: &Candidate) {
        if !candidate.is_new {
            return;
        }
        let derived = Derived {
            scope: scope.clone(),
            sealed_secret: record.sealed_secret.as_str().into(),
            key: candidate.key.clone(),
        };
        self.table.rcu(|table| with(table, record.id.as_str(), &derived));
    }

    /// Spends the time of a derivation if the candidate did without: called when a signature did
    /// not hold, so that a key in use takes as long to refuse as one that does not exist.
    pub fn spend(scope: &Scope, candidate: &Candidate) {
        if !candidate.is_new {
            std::hint::black_box(decoy(scope));
        }
    }
}

/// A key to try.
pub struct Candidate {
    pub key: SigningKey,
    /// Derived just now.
    is_new: bool,
}

fn derive(sealer: &Sealer, record: &AccessKey, scope: &Scope) -> SigningKey {
    let sealed = Sealed::from_hex(&record.sealed_secret);
    let secret = sealed.map(|sealed| sealer.unseal(&seal_context(&record.id), &sealed));
    let secret = match secret {
        Some(Ok(secret)) => secret,
        Some(Err(failure)) => {
            tracing::error!(key = %record.id, %failure, "an access key can't be unsealed");
            return decoy(scope);
        }
        None => {
            tracing::error!(key = %record.id, "an access key's sealed secret is malformed");
            return decoy(scope);
        }
    };
    let Some(text) = secret.expose_str() else { return decoy(scope) };
    SigningKey::derive(&SecretKey::new(text), scope)
}

/// The table with one more key. The oldest of the same access key goes first; a table of very many
/// access keys begins anew.
fn with(table: &Table, id: &str, derived: &Derived) -> Table {
    let full = table.len() >= UNSEALED_KEYS_MAX && !table.contains_key(id);
    let mut table = if full { Table::new() } else { table.clone() };
    let keys = table.entry(id.to_owned()).or_default();
    keys.retain(|known| known.scope != derived.scope);
    if keys.len() >= SIGNING_KEYS_PER_ACCESS_KEY_MAX {
        keys.remove(0);
    }
    keys.push(derived.clone());
    table
}

fn decoy(scope: &Scope) -> SigningKey {
    SigningKey::derive(&SecretKey::new("nobody knows a signature under the key of nobody"), scope)
}
