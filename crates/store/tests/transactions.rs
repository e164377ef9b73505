//! The interface's promises one by one: conflicts, bounds, scans, watches, closing. Most run on
//! the memory engine, which is the same code without a disk.

use std::convert::Infallible;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use store::limits::{
    HISTORY_BATCHES_MAX, KEY_BYTES_MAX, TRANSACT_ATTEMPTS_MAX, TRANSACTION_BYTES_MAX,
    TRANSACTION_OPERATIONS_MAX,
};
use store::{CommitFailure, Kinds, Record, Revision, Store, TransactFailure, WatchFailure};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair {
    key: String,
    text: String,
}

impl Record for Pair {
    const KIND: &'static str = "pair";
    const VERSION: u8 = 1;
    fn key(&self) -> String {
        self.key.clone()
    }
}

/// Another kind with the same keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Twin(String);

impl Record for Twin {
    const KIND: &'static str = "twin";
    const VERSION: u8 = 1;
    fn key(&self) -> String {
        self.0.clone()
    }
}

fn store() -> Store {
    Store::in_memory(Kinds::new().with::<Pair>().with::<Twin>())
}

fn pair(key: &str, text: &str) -> Pair {
    Pair { key: key.to_owned(), text: text.to_owned() }
}

async fn put(store: &Store, key: &str, text: &str) -> Revision {
    let mut txn = store.begin();
    txn.put(pair(key, text));
    txn.commit().await.unwrap()
}

#[tokio::test]
async fn what_was_read_must_be_unchanged() {
    let store = store();
    put(&store, "a", "1").await;

    let mut written = store.begin();
    written.get::<Pair>("a");
    written.put(pair("b", "x"));
    put(&store, "a", "2").await;
    let failure = written.commit().await.unwrap_err();
    assert!(matches!(&failure, CommitFailure::Conflict { key } if key == "pair/a"), "{failure}");
    assert!(store.snapshot().get::<Pair>("b").is_none(), "nothing of it was written");

    let mut appeared = store.begin();
    assert!(appeared.get::<Pair>("new").is_none());
    appeared.put(pair("b", "x"));
    put(&store, "new", "1").await;
    assert!(matches!(appeared.commit().await, Err(CommitFailure::Conflict { .. })));

    let mut absent = store.begin();
    absent.expect_absent::<Pair>("new");
    absent.put(pair("new", "2"));
    assert!(matches!(absent.commit().await, Err(CommitFailure::Conflict { .. })));

    let revision = store.snapshot().get::<Pair>("a").unwrap().revision;
    let mut expected = store.begin();
    expected.expect_revision::<Pair>("a", revision);
    expected.put(pair("a", "3"));
    expected.commit().await.unwrap();
    let mut late = store.begin();
    late.expect_revision::<Pair>("a", revision);
    late.put(pair("a", "4"));
    assert!(matches!(late.commit().await, Err(CommitFailure::Conflict { .. })));

    // Written again with the same content: changed all the same.
    let mut same = store.begin();
    let now = same.get::<Pair>("a").unwrap();
    same.put(pair("b", "x"));
    put(&store, "a", &now.text).await;
    assert!(matches!(same.commit().await, Err(CommitFailure::Conflict { .. })));
}

#[tokio::test]
async fn what_was_only_peeked_or_scanned_is_not_guarded() {
    let store = store();
    put(&store, "a", "1").await;
    let mut txn = store.begin();
    assert_eq!(txn.peek::<Pair>("a").unwrap().text, "1");
    assert_eq!(txn.snapshot().scan::<Pair>("").count(), 1);
    assert!(txn.get::<Twin>("a").is_none(), "kinds do not mix");
    txn.put(pair("b", "1"));
    put(&store, "a", "2").await;
    txn.commit().await.unwrap();
}

#[tokio::test]
async fn a_transaction_sees_its_own_writes_and_nobody_else_does() {
    let store = store();
    put(&store, "a", "1").await;
    let mut txn = store.begin();
    txn.put(pair("a", "2"));
    txn.put(pair("b", "2"));
    assert_eq!(txn.get::<Pair>("a").unwrap().text, "2");
    txn.delete::<Pair>("a");
    assert!(txn.get::<Pair>("a").is_none());
    assert!(txn.peek::<Pair>("a").is_none());
    assert_eq!(txn.peek::<Pair>("b").unwrap().text, "2");
    assert_eq!(txn.snapshot().get::<Pair>("a").unwrap().text, "1");
    assert_eq!(store.snapshot().get::<Pair>("a").unwrap().text, "1");
    drop(txn);
    assert!(store.snapshot().get::<Pair>("b").is_none());
}

#[tokio::test]
async fn what_changes_nothing_makes_no_revision() {
    let store = store();
    let revision = put(&store, "a", "1").await;
    let mut read_only = store.begin();
    read_only.get::<Pair>("a");
    assert!(read_only.is_read_only());
    assert_eq!(read_only.commit().await.unwrap(), revision);
    let mut nothing = store.begin();
    nothing.delete::<Pair>("none");
    assert_eq!(nothing.commit().await.unwrap(), revision);
    let mut stale = store.begin();
    stale.get::<Pair>("a");
    let later = put(&store, "a", "2").await;
    assert!(matches!(stale.commit().await, Err(CommitFailure::Conflict { .. })));
    assert_eq!(store.revision(), later);
}

#[tokio::test]
async fn bounds_are_held() {
    let store = store();
    let key = |n: usize| format!("{n:05}");
    let mut full = store.begin();
    for n in 0..TRANSACTION_OPERATIONS_MAX {
        full.get::<Pair>(&key(n));
        full.put(pair(&key(n), ""));
    }
    full.commit().await.unwrap();
    let mut writes = store.begin();
    let mut reads = store.begin();
    for n in 0..=TRANSACTION_OPERATIONS_MAX {
        writes.put(pair(&key(n), ""));
        reads.get::<Pair>(&key(n));
    }
    for txn in [writes, reads] {
        let failure = txn.commit().await.unwrap_err();
        assert!(matches!(failure, CommitFailure::TooManyOperations { found: 129 }), "{failure}");
    }
    let mut large = store.begin();
    large.put(pair("large", &"x".repeat(TRANSACTION_BYTES_MAX)));
    let failure = large.commit().await.unwrap_err();
    assert!(matches!(failure, CommitFailure::TooLarge { .. }), "{failure}");
    let mut long = store.begin();
    long.put(Twin("k".repeat(KEY_BYTES_MAX + 1)));
    let failure = long.commit().await.unwrap_err();
    assert!(failure.to_string().contains("a key of kind twin"), "{failure}");
    assert_eq!(store.revision(), Revision(1));
}

#[tokio::test]
async fn scans_are_in_key_order_by_prefix_and_page() {
    let store = store();
    for key in ["b/2", "a", "b/1", "b", "b/3", "b0", "c/1"] {
        put(&store, key, key).await;
    }
    let snapshot = store.snapshot();
    let keys = |found: &mut dyn Iterator<Item = (&str, Arc<Pair>)>| -> Vec<String> {
        found
            .map(|(key, record)| {
                assert_eq!(record.key, key);
                key.to_owned()
            })
            .collect()
    };
    assert_eq!(keys(&mut snapshot.scan("b/")), ["b/1", "b/2", "b/3"]);
    assert_eq!(keys(&mut snapshot.scan("")).len(), 7);
    assert_eq!(keys(&mut snapshot.scan("d")), [""; 0]);
    assert_eq!(keys(&mut snapshot.scan_from("b/", "b/1")), ["b/2", "b/3"]);
    assert_eq!(keys(&mut snapshot.scan_from("b/", "b/15")), ["b/2", "b/3"]);
    assert_eq!(keys(&mut snapshot.scan_from("b/", "")), ["b/1", "b/2", "b/3"]);
    assert_eq!(keys(&mut snapshot.scan_from("b/", "a")), ["b/1", "b/2", "b/3"]);
    assert_eq!(keys(&mut snapshot.scan_from("b/", "z")), [""; 0]);
    assert_eq!(snapshot.count::<Pair>("b/"), 3);
    assert_eq!(snapshot.count::<Pair>(""), 7);
    assert_eq!(snapshot.count::<Twin>(""), 0);
    put(&store, "b/4", "").await;
    assert_eq!(snapshot.count::<Pair>("b/"), 3, "a snapshot never changes");
}

#[tokio::test]
async fn transact_tries_again_and_gives_up_in_the_end() {
    let store = store();
    put(&store, "a", "0").await;
    let mut runs = 0;
    let (seen, revision) = store
        .transact(|txn| {
            runs += 1;
            let now = txn.get::<Pair>("a").unwrap();
            if runs == 1 {
                // Somebody comes between: the memory engine commits at once.
                let mut other = store.begin();
                other.put(pair("a", "1"));
                let commit = std::pin::pin!(other.commit());
                assert!(futures_poll(commit).is_ok());
            }
            txn.put(pair("a", "2"));
            Ok::<_, Infallible>(now.text.clone())
        })
        .await
        .unwrap();
    assert_eq!((seen.as_str(), runs, revision), ("1", 2, store.revision()));

    let aborted = store.transact(|_| Err::<(), _>("no")).await.unwrap_err();
    assert!(matches!(aborted, TransactFailure::Aborted("no")));

    let mut runs = 0;
    let contended = store
        .transact(|txn| {
            runs += 1;
            txn.get::<Pair>("a");
            txn.put(pair("b", ""));
            let mut other = store.begin();
            other.put(pair("a", "again"));
            assert!(futures_poll(std::pin::pin!(other.commit())).is_ok());
            Ok::<_, Infallible>(())
        })
        .await
        .unwrap_err();
    assert_eq!(runs, TRANSACT_ATTEMPTS_MAX);
    assert!(matches!(&contended, TransactFailure::Contended { key, .. } if key == "pair/a"));
}

/// The result of a future that does not wait.
fn futures_poll<F: Future>(future: std::pin::Pin<&mut F>) -> F::Output {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[tokio::test]
async fn a_watch_begins_anywhere_and_says_when_it_can_not() {
    let store = store();
    let first = put(&store, "a", "1").await;
    let mut from_start = store.watch(Revision(0));
    let mut from_first = store.watch(first);
    assert!(from_first.try_next().unwrap().is_none());
    let mut txn = store.begin();
    txn.delete::<Pair>("a");
    txn.put(Twin("t".to_owned()));
    let second = txn.commit().await.unwrap();

    let batch = from_start.next().await.unwrap();
    assert_eq!((batch.revision, batch.changes.len()), (first, 1));
    let batch = from_first.next().await.unwrap();
    assert_eq!((batch.revision, from_first.position()), (second, second));
    let (old, new) = batch.changes[0].of::<Pair>().unwrap();
    assert_eq!((old.unwrap().text.as_str(), new), ("1", None));
    assert!(batch.changes[0].of::<Twin>().is_none());
    assert_eq!(batch.changes[1].of::<Twin>().unwrap().1.unwrap().0, "t");

    // A watcher that sleeps too long is told so, and goes on from a snapshot.
    for n in 0..HISTORY_BATCHES_MAX {
        put(&store, "a", &n.to_string()).await;
    }
    let failure = from_start.next().await.unwrap_err();
    assert_eq!(failure, WatchFailure::Compacted { up_to: second });
    let snapshot = store.snapshot();
    let mut again = store.watch(snapshot.revision());
    let last = put(&store, "a", "last").await;
    assert_eq!(again.next().await.unwrap().revision, last);
    store.close().await;
    assert_eq!(again.next().await.unwrap_err(), WatchFailure::Closed);
}

#[tokio::test]
async fn history_is_bounded_by_bytes_too() {
    let store = store();
    let text = "x".repeat(500_000);
    let mut watch = store.watch(Revision(0));
    for _ in 0..50 {
        put(&store, "a", &text).await;
    }
    assert!(matches!(watch.next().await, Err(WatchFailure::Compacted { .. })));
}

#[tokio::test]
async fn a_wake_up_comes_once_there_is_something() {
    let store = store();
    put(&store, "a", "1").await;
    assert_eq!(store.changed_after(Revision(0)).await, Revision(1), "it has come already");
    let waiter = tokio::spawn({
        let store = store.clone();
        async move { store.changed_after(Revision(1)).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiter.is_finished());
    put(&store, "a", "2").await;
    assert_eq!(waiter.await.unwrap(), Revision(2));
}

#[tokio::test]
async fn a_closed_store_refuses_commits_and_still_reads() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = Kinds::new().with::<Pair>();
    for store in [Store::in_memory(kinds.clone()), Store::open(dir.path(), kinds.clone()).unwrap()]
    {
        put(&store, "a", "1").await;
        let begun = {
            let mut txn = store.begin();
            txn.put(pair("b", "1"));
            txn
        };
        store.clone().close().await;
        assert!(matches!(begun.commit().await, Err(CommitFailure::Closed)));
        assert_eq!(store.snapshot().get::<Pair>("a").unwrap().text, "1");
        store.close().await;
    }
    // Closing gives the folder free at once.
    let store = Store::open(dir.path(), kinds).unwrap();
    assert_eq!(store.snapshot().get::<Pair>("a").unwrap().text, "1");
    // What was opened has no history from before: a watch of it must begin at its revision.
    let failure = store.watch(Revision(0)).next().await.unwrap_err();
    assert_eq!(failure, WatchFailure::Compacted { up_to: Revision(1) });
    store.close().await;
}

/// Many at once share few syncs; each gets its own revision and all are there afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_commits_at_once_are_each_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = Kinds::new().with::<Pair>();
    let store = Store::open(dir.path(), kinds.clone()).unwrap();
    let writers: Vec<_> = (0..500)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { put(&store, &n.to_string(), "x").await })
        })
        .collect();
    let mut revisions = Vec::new();
    for writer in writers {
        revisions.push(writer.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=500).map(Revision).collect::<Vec<_>>());
    store.close().await;
    let store = Store::open(dir.path(), kinds).unwrap();
    assert_eq!(store.snapshot().count::<Pair>(""), 500);
    assert_eq!(store.revision(), Revision(500));
    store.close().await;
}
