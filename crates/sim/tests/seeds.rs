//! Many seeds, each a cluster's life of some minutes with everything going wrong; the checkers are
//! shown to be some by mistakes that they must find.

use sim::{Mistake, run};
use std::collections::BTreeMap;

/// Seeds of one test; nextest runs the tests side by side.
const SEEDS: u64 = 250;
/// Some mistakes need much to come together.
const SEEDS_OF_MISTAKES: u64 = 1000;

fn all_is_well(first: u64) {
    let mut outcomes = BTreeMap::<String, u32>::new();
    for seed in first..first + SEEDS {
        let run = run(seed, None, false);
        assert_eq!(run.violation, None, "cargo run -p sim -- --seed {seed}");
        for (outcome, count) in run.outcomes {
            *outcomes.entry(outcome).or_default() += count;
        }
    }
    println!("tasks by their end: {outcomes:?}");
    for code in
        ["EssentialContainerExited", "TaskFailedToStart", "TerminationNotice", "UserInitiated"]
    {
        assert!(outcomes.get(code).copied().unwrap_or(0) > 20, "too few {code}: {outcomes:?}");
    }
}

#[test]
fn seeds_from_0() {
    all_is_well(0);
}

#[test]
fn seeds_from_250() {
    all_is_well(250);
}

#[test]
fn seeds_from_500() {
    all_is_well(500);
}

#[test]
fn seeds_from_750() {
    all_is_well(750);
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 0..10 {
        let first = run(seed, None, true);
        assert!(first.transcript.len() > 10);
        assert_eq!(first, run(seed, None, true));
    }
    assert_ne!(run(1, None, true).transcript, run(2, None, true).transcript);
}

/// Within these seeds a violation follows from the mistake.
fn is_found(mistake: Mistake) {
    let mut violations =
        (0..SEEDS_OF_MISTAKES).filter_map(|seed| run(seed, Some(mistake), false).violation);
    let first = violations.next();
    println!("{mistake:?}: {first:?}");
    assert!(first.is_some(), "{SEEDS_OF_MISTAKES} seeds don't find {mistake:?}");
}

#[test]
fn a_trace_removed_too_early_is_found() {
    is_found(Mistake::ForgetsTraces);
}

#[test]
fn a_start_before_anything_was_asked_for_is_found() {
    is_found(Mistake::StartsUnasked);
}

#[test]
fn a_plan_committed_on_changed_records_is_found() {
    is_found(Mistake::CommitsBlindly);
}

#[test]
fn an_address_freed_while_its_machine_is_silent_is_found() {
    is_found(Mistake::FreesWhatIsLost);
}
