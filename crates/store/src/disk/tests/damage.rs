//! Damaged files: whatever byte is wrong, opening says so or gives the very state there was, and
//! what lies there is left as it is.

use std::sync::Arc;

use super::medium::Faulty;
use super::{Random, SMALL, check_whole, do_deed, kinds};
use crate::disk::{Bounds, Medium};
use crate::{OpenFailure, Store};

/// A medium with folded records and a few segments of log.
async fn filled(seed: u64) -> Faulty {
    let medium = Faulty::created(seed);
    let store = Store::open_on(Arc::new(medium.clone()), kinds(), SMALL).unwrap();
    let mut random = Random(seed);
    for id in 0..60 {
        do_deed(&store, id, &mut random).await.unwrap();
    }
    store.close().await;
    // And some that folding has not come to: the last of them could as well be unfinished.
    let store = open(&medium).unwrap();
    for id in 60..80 {
        do_deed(&store, id, &mut random).await.unwrap();
    }
    store.close().await;
    medium
}

/// Opens without folding, which would change what is looked at.
fn open(medium: &Faulty) -> Result<Store, OpenFailure> {
    let unfolded = Bounds { kept_bytes: 1 << 20, kept_segments: 100, ..SMALL };
    Store::open_on(Arc::new(medium.clone()), kinds(), unfolded)
}

#[tokio::test]
async fn a_damaged_log_is_refused() {
    let medium = filled(1).await;
    let intact = open(&medium).unwrap();
    let deeds = check_whole(&intact.snapshot());
    intact.close().await;
    let names = medium.segments().unwrap();
    assert!(names.len() > 1, "{names:?}");
    let mut random = Random(1);
    let (mut refused, mut cut) = (0, 0);
    for round in 0..300 {
        let damaged = medium.copy();
        let name = names[random.below(names.len() as u64) as usize];
        damaged.damage(Some(name), |content| {
            let at = random.below(content.len() as u64) as usize;
            match round % 3 {
                0 => content[at] ^= 1 << random.below(8),
                1 => content.truncate(at),
                _ => content[at..].fill(0),
            }
        });
        let before = damaged.content(Some(name));
        match open(&damaged) {
            Err(OpenFailure::Damaged { .. }) => {
                refused += 1;
                assert_eq!(damaged.content(Some(name)), before, "left as it is");
            }
            Err(other) => panic!("round {round}: {other}"),
            Ok(store) => {
                // The end of the newest segment: it looks like a write that was never finished.
                let found = check_whole(&store.snapshot());
                if found != deeds {
                    assert_eq!(Some(&name), names.last(), "round {round}");
                    assert!(found.len() < deeds.len());
                    assert!(round % 3 != 0 || found.len() + 1 == deeds.len(), "round {round}");
                    cut += 1;
                }
                store.close().await;
            }
        }
    }
    assert!(refused > 100 && cut > 3, "{refused} {cut}");
}

#[tokio::test]
async fn damaged_records_are_refused_or_do_not_matter() {
    let medium = filled(2).await;
    let intact = open(&medium).unwrap();
    let deeds = check_whole(&intact.snapshot());
    intact.close().await;
    let mut random = Random(2);
    let pages: Vec<usize> = {
        let content = medium.content(None);
        (0..content.len() / 512)
            .filter(|at| content[at * 512..][..512].iter().any(|byte| *byte != 0))
            .collect()
    };
    let mut refused = 0;
    for round in 0..200 {
        let damaged = medium.copy();
        let page = pages[random.below(pages.len() as u64) as usize] * 512;
        damaged.damage(None, |content| match round % 2 {
            0 => content[page + random.below(512) as usize] ^= 1 << random.below(8),
            _ => content[page..page + 512].fill(random.below(256) as u8),
        });
        match open(&damaged) {
            Err(OpenFailure::Damaged { .. } | OpenFailure::Newer { .. }) => refused += 1,
            Err(other) => panic!("round {round}: {other}"),
            Ok(store) => {
                assert_eq!(check_whole(&store.snapshot()), deeds, "round {round}");
                store.close().await;
            }
        }
    }
    assert!(refused > 5, "{refused}");
}
