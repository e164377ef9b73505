//! The power goes at a random operation, hundreds of times, several times in a row, also while
//! the store recovers from the last time. What was acknowledged is there, whole, and nothing is
//! there in part.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::medium::Faulty;
use super::{Random, SMALL, check_whole, do_deed, kinds};
use crate::{OpenFailure, Revision, Store};

/// What writers were told.
#[derive(Default)]
struct Told {
    begun: u64,
    acknowledged: BTreeMap<u64, Revision>,
}

async fn write_until_dark(store: &Store, told: &mut Told, seed: u64) {
    let mut writers = Vec::new();
    for writer in 0..3u64 {
        let store = store.clone();
        let first = told.begun + writer * 10_000;
        writers.push(tokio::spawn(async move {
            let mut random = Random(seed ^ (writer << 32));
            let mut acknowledged = BTreeMap::new();
            for id in first..first + 200 {
                match do_deed(&store, id, &mut random).await {
                    Ok(revision) => acknowledged.insert(id, revision),
                    Err(_) => break,
                };
            }
            acknowledged
        }));
    }
    for writer in writers {
        told.acknowledged.extend(writer.await.unwrap());
    }
    told.begun += 30_000;
}

fn open(medium: &Faulty) -> Result<Store, OpenFailure> {
    Store::open_on(Arc::new(medium.clone()), kinds(), SMALL)
}

async fn check(medium: &Faulty, told: &Told, seed: u64) {
    let store = open(medium).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
    let deeds = check_whole(&store.snapshot());
    for (id, revision) in &told.acknowledged {
        assert_eq!(deeds.get(id), Some(revision), "seed {seed}: an acknowledged write is lost");
    }
    assert!(deeds.keys().all(|id| *id < told.begun), "seed {seed}");
    store.close().await;
}

async fn rounds(seeds: std::ops::Range<u64>) {
    let (mut survived, mut cut_while_opening) = (0, 0);
    for seed in seeds {
        let mut random = Random(seed);
        let mut medium = Faulty::created(seed);
        let mut told = Told::default();
        for _ in 0..4 {
            // Short enough, now and then, that the power goes while the store opens.
            let longest = if random.below(4) == 0 { 30 } else { 500 };
            medium.world().fuse = Some(1 + random.below(longest));
            match open(&medium) {
                Ok(store) => {
                    write_until_dark(&store, &mut told, random.below(u64::MAX)).await;
                    store.close().await;
                }
                Err(failure) => {
                    assert!(medium.is_dark(), "seed {seed}: {failure}");
                    cut_while_opening += 1;
                }
            }
            medium = medium.lose_power(&mut random);
            // Half of the time the next start is cut too, before anybody could look.
            if random.below(2) == 0 {
                check(&medium, &told, seed).await;
            }
        }
        check(&medium, &told, seed).await;
        survived += told.acknowledged.len();
    }
    // Else this test would hold nothing.
    assert!(survived > 1000 && cut_while_opening > 2, "{survived} {cut_while_opening}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_power_cuts_a() {
    rounds(0..150).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_power_cuts_b() {
    rounds(1000..1150).await;
}
