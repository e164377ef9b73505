//! Errors that come and go, and a disk that is full: a commit that fails leaves no trace in
//! memory, and none on disk once a later one has succeeded.

use std::sync::Arc;

use super::medium::Faulty;
use super::{Item, Random, SMALL, check_whole, do_deed, kinds};
use crate::{CommitFailure, Store};

fn open(medium: &Faulty) -> Store {
    Store::open_on(Arc::new(medium.clone()), kinds(), SMALL).unwrap()
}

#[tokio::test]
async fn failures_that_pass_leave_no_trace() {
    let mut failed = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let medium = Faulty::created(seed);
        let store = open(&medium);
        medium.world().failing_one_in = 2 + random.below(12);
        for id in 0..80 {
            let before = store.revision();
            match do_deed(&store, id, &mut random).await {
                Ok(revision) => assert_eq!(store.revision(), revision),
                Err(CommitFailure::Storage(_)) => {
                    failed += 1;
                    assert_eq!(store.revision(), before, "a failed commit shows");
                }
                Err(other) => panic!("{other}"),
            }
        }
        medium.world().failing_one_in = 0;
        do_deed(&store, 80, &mut random).await.unwrap();
        let in_memory = check_whole(&store.snapshot());
        store.close().await;
        // Whether it goes on at once or loses power, what failed stays away.
        let after_power_cut = medium.lose_power(&mut random);
        for medium in [&medium, &after_power_cut] {
            let store = open(medium);
            assert_eq!(check_whole(&store.snapshot()), in_memory, "seed {seed}");
            store.close().await;
        }
    }
    assert!(failed > 100, "{failed}");
}

#[tokio::test]
async fn a_full_disk_fails_commits_until_there_is_room() {
    let medium = Faulty::created(5);
    let store = open(&medium);
    let mut random = Random(5);
    let mut id = 0;
    for room_bytes in [3000, 10, 0, 700] {
        medium.world().room_bytes = Some(room_bytes);
        let failure = loop {
            // Every deed leaves a record, so the disk does fill up.
            assert!(id < 20_000, "the disk never fills");
            id += 1;
            match do_deed(&store, id, &mut random).await {
                Ok(_) => {}
                Err(failure) => break failure,
            }
        };
        assert!(matches!(failure, CommitFailure::Storage(_)), "{failure}");
        let before = check_whole(&store.snapshot());
        {
            let mut world = medium.world();
            world.greedy_neighbours = true;
            world.room_bytes = Some(0);
        }
        for _ in 0..5 {
            assert!(do_deed(&store, id, &mut random).await.is_err());
        }
        assert_eq!(check_whole(&store.snapshot()), before, "reads go on");
        {
            let mut world = medium.world();
            world.greedy_neighbours = false;
            world.room_bytes = None;
        }
        do_deed(&store, id, &mut random).await.unwrap();
    }
    let in_memory = check_whole(&store.snapshot());
    store.close().await;
    let store = open(&medium);
    assert_eq!(check_whole(&store.snapshot()), in_memory);
    store.close().await;
}

/// As long as the disk has not said that it is durable, nobody sees it in any way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_durable_is_not_shown() {
    let medium = Faulty::created(7);
    let store = open(&medium);
    let before = do_deed(&store, 1, &mut Random(1)).await.unwrap();
    let mut watch = store.watch(before);
    medium.gate().shut(true);
    let writer = tokio::spawn({
        let store = store.clone();
        async move { do_deed(&store, 2, &mut Random(2)).await }
    });
    let waker = tokio::spawn({
        let store = store.clone();
        async move { store.changed_after(before).await }
    });
    medium.gate().until_somebody_waits();
    assert_eq!(store.revision(), before);
    assert_eq!(check_whole(&store.snapshot()).len(), 1);
    assert!(watch.try_next().unwrap().is_none());
    // Who only reads does not wait for those who write.
    let mut reader = store.begin();
    assert!(reader.get::<Item>("0000").is_none_or(|item| item.written_by == 1));
    assert_eq!(reader.commit().await.unwrap(), before);
    assert!(!writer.is_finished() && !waker.is_finished());
    medium.gate().shut(false);
    let after = writer.await.unwrap().unwrap();
    assert_eq!(waker.await.unwrap(), after);
    assert_eq!(watch.next().await.unwrap().revision, after);
    assert_eq!(check_whole(&store.snapshot()).len(), 2);
    store.close().await;
}

/// Folding fails while the log goes on; the log's bound then fails commits instead of growing.
#[tokio::test]
async fn a_log_that_can_not_be_folded_is_bounded() {
    let medium = Faulty::created(6);
    let store = open(&medium);
    let put = |value: u64| {
        let mut txn = store.begin();
        txn.put(Item { id: value % 50, written_by: value, padding: "x".repeat(900) });
        txn.commit()
    };
    for value in 0..200 {
        put(value).await.unwrap();
    }
    medium.world().records_fail = true;
    let mut value = 200;
    let failure = loop {
        value += 1;
        assert!(value < 2000, "the log grows without bound");
        if let Err(failure) = put(value).await {
            break failure;
        }
    };
    assert!(matches!(failure, CommitFailure::Storage(_)));
    medium.world().records_fail = false;
    let begun = std::time::Instant::now();
    while put(value).await.is_err() {
        assert!(begun.elapsed().as_secs() < 20, "folding does not recover");
        tokio::task::yield_now().await;
    }
    store.close().await;
}
