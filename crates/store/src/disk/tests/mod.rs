//! Faults under the engine: power cuts, errors that come and go, full disks, damaged and foreign
//! files. All on a medium of their own (`medium`), so that hundreds of seeds take seconds.

mod damage;
mod faults;
mod format;
mod medium;
mod power;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::disk::Bounds;
use crate::{CommitFailure, Kinds, Record, Revision, Snapshot, Store};

/// Small enough that a few dozen commits fill segments and fold them.
pub(crate) const SMALL: Bounds =
    Bounds { segment_bytes: 2048, kept_bytes: 4096, kept_segments: 3, log_bytes_max: 64 * 1024 };

/// A record that transactions fight over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub id: u64,
    pub written_by: u64,
    pub padding: String,
}

impl Record for Item {
    const KIND: &'static str = "item";
    const VERSION: u8 = 1;
    fn key(&self) -> String {
        format!("{:04}", self.id)
    }
}

/// What a transaction did, written by the transaction itself: a state can be checked against the
/// transactions it says it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Deed {
    pub id: u64,
    pub written: Vec<u64>,
    pub deleted: Vec<u64>,
}

impl Record for Deed {
    const KIND: &'static str = "deed";
    const VERSION: u8 = 1;
    fn key(&self) -> String {
        format!("{:08}", self.id)
    }
}

pub(crate) fn kinds() -> Kinds {
    Kinds::new().with::<Item>().with::<Deed>()
}

/// A small generator, so that a seed says what happens.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        // Two steps of SplitMix: neighbouring seeds must not look alike.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }
}

/// A transaction that writes a few items and says so.
pub(crate) async fn do_deed(
    store: &Store,
    id: u64,
    random: &mut Random,
) -> Result<Revision, CommitFailure> {
    let mut txn = store.begin();
    let mut deed = Deed { id, written: Vec::new(), deleted: Vec::new() };
    for item in 0..20 {
        match random.below(8) {
            0 => {
                let padding = "p".repeat(random.below(300) as usize);
                txn.put(Item { id: item, written_by: id, padding });
                deed.written.push(item);
            }
            1 => {
                txn.delete::<Item>(&format!("{item:04}"));
                deed.deleted.push(item);
            }
            _ => {}
        }
    }
    txn.put(deed);
    txn.commit().await
}

/// Checks that the items are what the deeds say, in the order of their revisions: no transaction
/// is torn, none is half there. Returns the deeds with their revisions.
pub(crate) fn check_whole(snapshot: &Snapshot) -> BTreeMap<u64, Revision> {
    let mut deeds = BTreeMap::new();
    let mut order = BTreeMap::new();
    for (key, deed) in snapshot.scan::<Deed>("") {
        let revision = snapshot.get::<Deed>(key).expect("just scanned").revision;
        deeds.insert(deed.id, revision);
        assert!(order.insert(revision, deed).is_none(), "two deeds at {revision}");
    }
    let mut expected = BTreeMap::new();
    for (revision, deed) in &order {
        for item in &deed.written {
            expected.insert(format!("{item:04}"), (deed.id, *revision));
        }
        for item in &deed.deleted {
            expected.remove(&format!("{item:04}"));
        }
    }
    let found: BTreeMap<_, _> = snapshot
        .scan::<Item>("")
        .map(|(key, item)| {
            let revision = snapshot.get::<Item>(key).expect("just scanned").revision;
            (key.to_owned(), (item.written_by, revision))
        })
        .collect();
    assert_eq!(found, expected);
    let last = order.last_key_value().map_or(Revision(0), |(revision, _)| *revision);
    assert_eq!(snapshot.revision(), last);
    deeds
}
