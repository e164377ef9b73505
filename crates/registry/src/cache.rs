//! Manifests that were read lately, by digest. Their bytes never change, so nothing has to be told
//! when a manifest comes or goes: whether it is there is asked of the state each time.
//!
//! Two generations instead of an order of use: what is read goes to the young one, which becomes
//! the old one when it is half of the cache; the old one before it is forgotten. A hit in the young
//! one, the usual case, only reads.

use bytes::Bytes;
use model::Digest;
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

pub struct Cache {
    bytes_max: usize,
    generations: RwLock<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Digest, Bytes>,
    young_bytes: usize,
    old: HashMap<Digest, Bytes>,
}

impl Cache {
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, generations: RwLock::default() }
    }

    pub fn get(&self, digest: &Digest) -> Option<Bytes> {
        let content = {
            let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(content) = generations.young.get(digest) {
                return Some(content.clone());
            }
            generations.old.get(digest)?.clone()
        };
        self.put(digest, content.clone());
        Some(content)
    }

    pub fn put(&self, digest: &Digest, content: Bytes) {
        // One manifest must not push out all others.
        if content.len() > self.bytes_max / 8 {
            return;
        }
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        if generations.young_bytes + content.len() > self.bytes_max / 2 {
            generations.old = std::mem::take(&mut generations.young);
            generations.young_bytes = 0;
        }
        let bytes = content.len();
        if generations.young.insert(digest.clone(), content).is_none() {
            generations.young_bytes += bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_stays_and_the_bound_holds() {
        let cache = Cache::new(1000);
        let digest = |n: usize| Digest::from(format!("sha256:{n:064x}"));
        let content = |n: usize| Bytes::from(format!("{n:0100}"));
        for n in 0..50 {
            cache.put(&digest(n), content(n));
            assert_eq!(cache.get(&digest(0)), Some(content(0)), "{n}");
            let generations = cache.generations.read().expect("not poisoned");
            assert!(generations.young.len() + generations.old.len() <= 10);
        }
        assert_eq!(cache.get(&digest(49)), Some(content(49)));
        assert_eq!(cache.get(&digest(1)), None);
        cache.put(&digest(99), Bytes::from(vec![0; 200]));
        assert_eq!(cache.get(&digest(99)), None, "too large to be kept");
    }
}
