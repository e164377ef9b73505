//! Strict serialisability under concurrent writers and readers. Every operation notes when it
//! began, when it ended, what it read and what it wrote, and the revision it took place at. The
//! history is right if the revisions put all operations into one order in which each read is what
//! the writes before it left, and which agrees with real time: what ended before another began
//! comes before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use store::{Change, CommitFailure, Kinds, Record, Revision, Store, WatchFailure};

const KEYS: u64 = 6;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Register {
    key: u64,
    value: u64,
}

impl Record for Register {
    const KIND: &'static str = "register";
    const VERSION: u8 = 1;
    fn key(&self) -> String {
        self.key.to_string()
    }
}

/// One operation that took place. None stands for absent.
#[derive(Clone, Debug)]
struct Operation {
    began: u64,
    ended: u64,
    revision: Revision,
    read: BTreeMap<u64, Option<u64>>,
    wrote: BTreeMap<u64, Option<u64>>,
}

/// Finds what is wrong with a history, if anything.
fn check(history: &[Operation]) -> Result<(), String> {
    let mut order: Vec<&Operation> = history.iter().collect();
    // A write makes its revision, reads see it: so it comes first among equals. Reads of one
    // revision may be put in any order, and that of their beginnings is the most lenient.
    order.sort_by_key(|it| (it.revision, it.wrote.is_empty(), it.began));
    let mut state: BTreeMap<u64, u64> = BTreeMap::new();
    let mut written = Revision(0);
    let mut latest_begin = 0;
    for operation in order {
        // Nothing later in the order may have ended before this one began, and it suffices to
        // compare with the latest begin so far.
        if operation.ended < latest_begin {
            return Err(format!("out of real time: {operation:?}"));
        }
        latest_begin = latest_begin.max(operation.began);
        for (key, value) in &operation.read {
            if state.get(key) != value.as_ref() {
                return Err(format!("read {value:?} of {state:?}: {operation:?}"));
            }
        }
        if !operation.wrote.is_empty() {
            if operation.revision <= written {
                return Err(format!("two writes at one revision: {operation:?}"));
            }
            written = operation.revision;
        }
        for (key, value) in &operation.wrote {
            match value {
                Some(value) => state.insert(*key, *value),
                None => state.remove(key),
            };
        }
    }
    Ok(())
}

struct Client {
    store: Store,
    clock: Arc<AtomicU64>,
    random: u64,
    serial: u64,
    history: Vec<Operation>,
    conflicts: u64,
}

impl Client {
    fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % bound
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    /// Reads some registers in one snapshot.
    fn look(&mut self) {
        let began = self.now();
        let snapshot = self.store.snapshot();
        let value = |key: u64| snapshot.get::<Register>(&key.to_string()).map(|r| r.value.value);
        let read = (0..KEYS).map(|key| (key, value(key))).collect();
        let revision = snapshot.revision();
        let ended = self.now();
        self.history.push(Operation { began, ended, revision, read, wrote: BTreeMap::new() });
    }

    /// Reads, waits a little so that others come between, and writes what depends on it.
    async fn change(&mut self) {
        let began = self.now();
        let mut txn = self.store.begin();
        let (mut read, mut wrote) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..self.below(3) {
            let key = self.below(KEYS);
            let found = txn.get::<Register>(&key.to_string());
            read.insert(key, found.map(|register| register.value));
        }
        if self.below(3) == 0 {
            tokio::task::yield_now().await;
        }
        // Values never come twice, so that no read can be right by accident.
        for _ in 0..self.below(3) {
            let key = self.below(KEYS);
            self.serial += 1;
            let value = self.serial;
            if self.below(4) == 0 && read.get(&key).is_some_and(Option::is_some) {
                txn.delete::<Register>(&key.to_string());
                wrote.insert(key, None);
            } else {
                txn.put(Register { key, value });
                wrote.insert(key, Some(value));
            }
        }
        match txn.commit().await {
            Ok(revision) => {
                let ended = self.now();
                self.history.push(Operation { began, ended, revision, read, wrote });
            }
            Err(CommitFailure::Conflict { .. }) => self.conflicts += 1,
            Err(failure) => panic!("{failure}"),
        }
    }
}

/// Follows all changes and returns the state they lead to, from the beginning.
async fn follow(store: Store, lazy: bool) -> (BTreeMap<u64, u64>, Vec<Revision>) {
    let mut watch = store.watch(Revision(0));
    let (mut state, mut seen) = (BTreeMap::new(), Vec::new());
    loop {
        if lazy {
            tokio::task::yield_now().await;
        }
        let batch = match watch.next().await {
            Ok(batch) => batch,
            Err(WatchFailure::Closed) => return (state, seen),
            Err(failure) => panic!("{failure}"),
        };
        assert!(store.revision() >= batch.revision, "watched before it was visible");
        seen.push(batch.revision);
        for change in &batch.changes {
            apply(&mut state, change, batch.revision);
        }
    }
}

fn apply(state: &mut BTreeMap<u64, u64>, change: &Change, revision: Revision) {
    let (old, new) = change.of::<Register>().expect("there is one kind");
    let key: u64 = change.key.parse().unwrap();
    assert_eq!(state.get(&key).copied(), old.map(|register| register.value), "{change:?}");
    match new {
        Some(register) => {
            assert_eq!(change.new.as_ref().unwrap().revision, revision);
            state.insert(key, register.value);
        }
        None => {
            state.remove(&key);
        }
    }
}

async fn run(store: Store, seed: u64) {
    let clock = Arc::new(AtomicU64::new(0));
    let watchers: Vec<_> =
        [true, false].map(|lazy| tokio::spawn(follow(store.clone(), lazy))).into();
    let until = Instant::now() + Duration::from_millis(1500);
    let mut clients = Vec::new();
    for number in 0..8 {
        let mut client = Client {
            store: store.clone(),
            clock: Arc::clone(&clock),
            random: seed * 100 + number,
            serial: number << 32,
            history: Vec::new(),
            conflicts: 0,
        };
        clients.push(tokio::spawn(async move {
            while Instant::now() < until && client.history.len() < 3000 {
                match client.below(4) {
                    0 => client.look(),
                    _ => client.change().await,
                }
                // An in-memory store never waits by itself.
                tokio::task::yield_now().await;
            }
            client
        }));
    }
    let (mut history, mut conflicts) = (Vec::new(), 0);
    for client in clients {
        let client = client.await.unwrap();
        history.extend(client.history);
        conflicts += client.conflicts;
    }
    let snapshot = store.snapshot();
    store.close().await;
    if let Err(wrong) = check(&history) {
        panic!("{wrong}");
    }
    let writes = history.iter().filter(|operation| !operation.wrote.is_empty());
    let mut revisions: Vec<Revision> = writes.map(|operation| operation.revision).collect();
    revisions.sort_unstable();
    assert!(revisions.len() > 100 && conflicts > 10, "{} {conflicts}", revisions.len());
    let last: BTreeMap<u64, u64> =
        snapshot.scan::<Register>("").map(|(_, r)| (r.key, r.value)).collect();
    for watcher in watchers {
        let (state, seen) = watcher.await.unwrap();
        assert_eq!(seen, revisions, "every write once, in order");
        assert_eq!(state, last);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_embedded_engine_is_strictly_serialisable() {
    let dir = tempfile::tempdir().unwrap();
    run(Store::open(dir.path(), Kinds::new().with::<Register>()).unwrap(), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_engine_is_strictly_serialisable() {
    run(Store::in_memory(Kinds::new().with::<Register>()), 2).await;
}

/// The checker itself: each kind of wrong history is found out.
#[test]
fn wrong_histories_are_found_out() {
    let operation = |began, ended, revision, read: &[(u64, Option<u64>)], wrote: &[(u64, u64)]| {
        let wrote = wrote.iter().map(|(key, value)| (*key, Some(*value))).collect();
        let read = read.iter().copied().collect();
        Operation { began, ended, revision: Revision(revision), read, wrote }
    };
    let good = vec![
        operation(0, 3, 11, &[(1, None)], &[(1, 10)]),
        operation(1, 5, 12, &[(1, Some(10))], &[(2, 20)]),
        operation(6, 7, 12, &[(1, Some(10)), (2, Some(20))], &[]),
    ];
    assert_eq!(check(&good), Ok(()));
    // A read of the past.
    let mut stale = good.clone();
    stale.push(operation(8, 9, 11, &[(1, Some(10)), (2, None)], &[]));
    assert!(check(&stale).unwrap_err().contains("real time"));
    // A lost update: two that both read nothing.
    let mut lost = good.clone();
    lost.push(operation(2, 6, 13, &[(1, None)], &[(1, 11)]));
    assert!(check(&lost).unwrap_err().contains("read"));
    // Half of a transaction.
    let mut torn = good.clone();
    torn.push(operation(8, 9, 12, &[(1, Some(10)), (2, None)], &[]));
    assert!(check(&torn).unwrap_err().contains("read"));
    // A write that came after, put before.
    let mut swapped = good.clone();
    swapped.push(operation(20, 21, 5, &[], &[(3, 30)]));
    assert!(check(&swapped).unwrap_err().contains("real time"));
    let mut twice = good;
    twice.push(operation(4, 5, 12, &[], &[(3, 30)]));
    assert!(check(&twice).unwrap_err().contains("one revision"));
}
