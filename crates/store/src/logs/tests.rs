//! The log store against a model: whatever the order in which events come, pages are those of one
//! sorted list, and a source's batch is stored once whatever is cut off and sent again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::*;
use crate::limits::LOG_SEGMENT_BYTES_MAX;

const GROUP: &str = "/ecs/web";
const PAGE: PageLimit = PageLimit { events_max: 7, bytes_max: 1 << 20 };

/// A small generator, so that every run and every failure is the same.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % bound
    }
}

fn event(timestamp_ms: i64, message: &str) -> LogEvent {
    LogEvent { timestamp_ms, message: message.to_owned() }
}

fn source(offset: u64, end: u64) -> Option<Source> {
    Some(Source { id: "spool".to_owned(), offset, end })
}

fn messages(events: &[StoredEvent]) -> Vec<String> {
    events.iter().map(|event| event.message.clone()).collect()
}

async fn all(logs: &Logs, stream: &str) -> Vec<String> {
    let limit = PageLimit { events_max: usize::MAX, bytes_max: usize::MAX };
    let page = logs.read(GROUP, stream, PageStart::Head, TimeRange::ALL, limit).await.unwrap();
    messages(&page.events)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn pages_go_both_ways_and_stand_still_at_the_ends() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path(), Durability::Synced).unwrap();
    let mut random = Random(3);
    let mut sorted = BTreeMap::new();
    for sequence in 1..=100u64 {
        let at = random.below(40) as i64;
        sorted.insert((at, sequence), format!("m{sequence}"));
        let events = vec![event(at, &format!("m{sequence}"))];
        logs.append(GROUP, "s", None, events, 1000).await.unwrap();
    }
    let sorted: Vec<String> = sorted.into_values().collect();
    let read = |start| logs.read(GROUP, "s", start, TimeRange::ALL, PAGE);

    let (mut start, mut seen) = (PageStart::Head, Vec::new());
    let mut page = read(start).await.unwrap();
    while !page.events.is_empty() {
        seen.extend(messages(&page.events));
        start = PageStart::After(page.forward);
        page = read(start).await.unwrap();
    }
    assert_eq!(seen, sorted);
    assert_eq!(PageStart::After(page.forward), start, "the end repeats itself");
    let back = read(PageStart::Before(page.backward)).await.unwrap();
    assert_eq!(messages(&back.events), sorted[93..], "the way back misses nothing");

    // What comes later is found by the token of the end.
    logs.append(GROUP, "s", None, vec![event(99, "late")], 1).await.unwrap();
    assert_eq!(messages(&read(start).await.unwrap().events), ["late"]);

    let (mut start, mut seen) = (PageStart::Tail, Vec::new());
    let mut page = read(start).await.unwrap();
    while !page.events.is_empty() {
        seen.splice(0..0, messages(&page.events));
        start = PageStart::Before(page.backward);
        page = read(start).await.unwrap();
    }
    assert_eq!(seen[..100], sorted);
    assert_eq!(PageStart::Before(page.backward), start, "the beginning repeats itself");
    let forth = read(PageStart::After(page.forward)).await.unwrap();
    assert_eq!(messages(&forth.events), sorted[..7]);
}

#[tokio::test]
async fn a_range_holds_its_start_and_not_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path(), Durability::Written).unwrap();
    let events = (0..10).map(|at| event(at, &at.to_string())).collect();
    logs.append(GROUP, "s", None, events, 1).await.unwrap();
    let range = TimeRange { start_ms: 3, end_ms: 6 };
    for start in [PageStart::Head, PageStart::Tail] {
        let page = logs.read(GROUP, "s", start, range, PAGE).await.unwrap();
        assert_eq!(messages(&page.events), ["3", "4", "5"]);
    }
    let small = PageLimit { events_max: 100, bytes_max: 60 };
    let page = logs.read(GROUP, "s", PageStart::Head, TimeRange::ALL, small).await.unwrap();
    assert_eq!(messages(&page.events), ["0", "1"], "27 bytes an event");
    let tiny = PageLimit { events_max: 100, bytes_max: 1 };
    let page = logs.read(GROUP, "s", PageStart::Tail, TimeRange::ALL, tiny).await.unwrap();
    assert_eq!(messages(&page.events), ["9"], "one is always served");
    let none = logs.read(GROUP, "none", PageStart::Tail, TimeRange::ALL, PAGE).await.unwrap();
    assert!(none.events.is_empty());
    assert_eq!(logs.stats(GROUP, "none").await.unwrap(), StreamStats::default());
}

/// Batches with a source, over segments and reopenings, each sent several times.
#[tokio::test]
async fn a_source_is_stored_exactly_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut logs = Logs::open(dir.path(), Durability::Written).unwrap();
    let big = "x".repeat(50_000);
    let mut expected = Vec::new();
    for batch in 0..120u64 {
        let message = format!("{batch} {big}");
        expected.push(message.clone());
        let (offset, end) = (batch * 10, batch * 10 + 10);
        for repeat in 0..3 {
            if batch % 7 == repeat {
                logs = Logs::open(dir.path(), Durability::Written).unwrap();
            }
            let events = vec![event(batch as i64, &message)];
            let appended = logs.append(GROUP, "s", source(offset, end), events, 1).await.unwrap();
            let wanted = if repeat == 0 { Appended::Stored } else { Appended::Known };
            assert_eq!(appended, wanted);
        }
    }
    assert!(all(&logs, "s").await == expected);
    assert!(files(dir.path()).len() > 2, "several segments");
    assert_eq!(logs.source_end(GROUP, "s", "spool").await.unwrap(), 1200);
    let overlap = logs.append(GROUP, "s", source(1195, 1205), vec![event(1, "")], 1).await;
    assert!(matches!(overlap, Err(LogFailure::Overlap { known: 1200, offset: 1195, .. })));
    let empty = logs.append(GROUP, "s", source(1300, 1300), vec![event(1, "")], 1).await;
    assert!(matches!(empty, Err(LogFailure::Overlap { .. })));
    let stats = logs.stats(GROUP, "s").await.unwrap();
    let again = Logs::open(dir.path(), Durability::Written).unwrap();
    assert_eq!(again.stats(GROUP, "s").await.unwrap(), stats);
    assert_eq!((stats.first_event_ms, stats.last_event_ms), (Some(0), Some(119)));
    let bytes: usize = expected.iter().map(|message| message.len() + 26).sum();
    assert_eq!(stats.stored_bytes, bytes as u64);
}

/// A crash may leave any part of the last write: events and source go or stay together.
#[tokio::test]
async fn a_torn_tail_is_cut_wherever_it_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path(), Durability::Synced).unwrap();
    logs.append(GROUP, "s", source(0, 10), vec![event(1, "one")], 1).await.unwrap();
    let [path] = &files(dir.path())[..] else { panic!("one segment") };
    let before = std::fs::read(path).unwrap();
    logs.append(GROUP, "s", source(10, 20), vec![event(2, "two")], 1).await.unwrap();
    let after = std::fs::read(path).unwrap();
    assert_eq!(after[..before.len()], before);
    for bytes in before.len()..=after.len() {
        for garbage in [&[][..], &[0; 40][..], &[0xff; 40][..]] {
            let whole = bytes == after.len();
            let torn = [&after[..bytes], garbage].concat();
            std::fs::write(path, &torn).unwrap();
            let logs = Logs::open(dir.path(), Durability::Synced).unwrap();
            let known = logs.source_end(GROUP, "s", "spool").await.unwrap();
            assert_eq!(known, if whole { 20 } else { 10 }, "at {bytes}");
            let again = logs.append(GROUP, "s", source(10, 20), vec![event(2, "two")], 1).await;
            assert_eq!(again.unwrap() == Appended::Known, whole);
            assert_eq!(all(&logs, "s").await, ["one", "two"]);
            assert_eq!(std::fs::read(path).unwrap(), after, "the same bytes again");
        }
    }
    // Torn within the head of the very first segment: nothing had been stored.
    std::fs::write(path, &before[..20]).unwrap();
    let logs = Logs::open(dir.path(), Durability::Synced).unwrap();
    assert_eq!(all(&logs, "s").await, [""; 0]);
    logs.append(GROUP, "s", None, vec![event(1, "new")], 1).await.unwrap();
    assert_eq!(all(&logs, "s").await, ["new"]);
}

#[tokio::test]
async fn a_damaged_middle_is_said_and_not_served() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path(), Durability::Written).unwrap();
    for at in 0..3 {
        logs.append(GROUP, "s", None, vec![event(at, "message")], 1).await.unwrap();
    }
    let [path] = &files(dir.path())[..] else { panic!("one segment") };
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() - 60;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
    let read = logs.read(GROUP, "s", PageStart::Head, TimeRange::ALL, PAGE).await;
    assert!(matches!(read, Err(LogFailure::Damaged(_))));
}

#[tokio::test]
async fn a_filter_merges_streams_by_time_and_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path(), Durability::Written).unwrap();
    let mut random = Random(9);
    let names: Vec<String> = (0..5).map(|n| format!("web/{n}")).collect();
    let mut model = BTreeMap::new();
    for sequence in 1..=60u64 {
        for name in &names {
            let at = random.below(30) as i64;
            let message = format!("{name} {sequence}");
            model.insert((at, name.clone(), sequence), message.clone());
            logs.append(GROUP, name, None, vec![event(at, &message)], 1).await.unwrap();
        }
    }
    let wanted = |event: &LogEvent| event.message.ends_with('7');
    let range = TimeRange { start_ms: 5, end_ms: 25 };
    let expected: Vec<String> = model
        .into_iter()
        .filter(|((at, ..), message)| (5..25).contains(at) && message.ends_with('7'))
        .map(|(_, message)| message)
        .collect();
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let limit = PageLimit { events_max: 4, bytes_max: 1 << 20 };
        let page = logs.filter(GROUP, names.clone(), after, range, limit, wanted).await.unwrap();
        assert!(page.events.len() <= 4);
        for found in page.events {
            assert!(found.event.message.starts_with(&found.stream));
            seen.push(found.event.message);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn trimming_frees_whole_segments_and_keeps_sources() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path(), Durability::Synced).unwrap();
    let big = "y".repeat(LOG_SEGMENT_BYTES_MAX as usize / 3);
    for batch in 0..9u64 {
        let events = vec![event(batch as i64, &big)];
        let range = source(batch, batch + 1);
        logs.append(GROUP, "s", range, events, 1).await.unwrap();
    }
    let freed = logs.trim(GROUP, 5).await.unwrap();
    assert!(freed >= 4 * big.len() as u64, "{freed}");
    assert_eq!(all(&logs, "s").await.len(), 4, "5, 6, 7 and 8");
    let again = Logs::open(dir.path(), Durability::Synced).unwrap();
    assert_eq!(again.source_end(GROUP, "s", "spool").await.unwrap(), 9);
    again.trim(GROUP, 100).await.unwrap();
    assert_eq!(all(&again, "s").await.len(), 0);
    assert_eq!(again.stats(GROUP, "s").await.unwrap().stored_bytes, 0);
    let last = Logs::open(dir.path(), Durability::Synced).unwrap();
    let known = last.append(GROUP, "s", source(8, 9), vec![event(8, "old")], 1).await.unwrap();
    assert_eq!(known, Appended::Known);
    last.append(GROUP, "s", source(9, 10), vec![event(200, "new")], 1).await.unwrap();
    assert_eq!(all(&last, "s").await, ["new"]);
    let page = last.read(GROUP, "s", PageStart::Tail, TimeRange::ALL, PAGE).await.unwrap();
    assert_eq!(page.events[0].position.sequence, 10, "numbers go on");
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_may_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path(), Durability::Synced).unwrap();
    for name in ["a", "../b", "c/d"] {
        logs.append(GROUP, name, source(0, 5), vec![event(1, name)], 1).await.unwrap();
    }
    logs.append("other", "a", None, vec![event(1, "other")], 1).await.unwrap();
    assert!(logs.delete_stream(GROUP, "a").await.unwrap());
    assert!(!logs.delete_stream(GROUP, "a").await.unwrap());
    assert_eq!(all(&logs, "a").await, [""; 0]);
    logs.append(GROUP, "a", source(0, 5), vec![event(1, "anew")], 1).await.unwrap();
    assert_eq!(all(&logs, "a").await, ["anew"]);
    assert!(logs.delete_group(GROUP).await.unwrap());
    assert!(!logs.delete_group(GROUP).await.unwrap());
    for name in ["a", "../b", "c/d"] {
        assert_eq!(all(&logs, name).await, [""; 0]);
    }
    assert_eq!(files(dir.path()).len(), 1, "the other group's");
}

/// Appends from many sides while the stream is deleted again and again: none fails, and what
/// follows the last deletion is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_survive_deletions_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path(), Durability::Written).unwrap();
    let mut writers = Vec::new();
    for writer in 0..4 {
        let logs = logs.clone();
        writers.push(tokio::spawn(async move {
            for n in 0..100 {
                let message = format!("{writer} {n}");
                logs.append(GROUP, "s", None, vec![event(n, &message)], 1).await.unwrap();
            }
        }));
    }
    for round in 0..40 {
        match round % 2 {
            0 => logs.delete_stream(GROUP, "s").await.unwrap(),
            _ => logs.delete_group(GROUP).await.unwrap(),
        };
    }
    for writer in writers {
        writer.await.unwrap();
    }
    logs.append(GROUP, "s", None, vec![event(1000, "last")], 1).await.unwrap();
    let found = all(&logs, "s").await;
    assert_eq!(found.last().map(String::as_str), Some("last"));
    let again = Logs::open(dir.path(), Durability::Written).unwrap();
    assert_eq!(all(&again, "s").await, found);
}

#[tokio::test]
async fn bounds_are_held() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs::open(dir.path(), Durability::Written).unwrap();
    let many = vec![event(1, ""); 10_001];
    let failure = logs.append(GROUP, "s", None, many, 1).await;
    assert!(matches!(failure, Err(LogFailure::TooManyEvents { found: 10_001, .. })));
    let large = vec![event(1, &"x".repeat(2 * 1024 * 1024 + 1))];
    let failure = logs.append(GROUP, "s", None, large, 1).await;
    assert!(matches!(failure, Err(LogFailure::TooLarge { .. })));
    // The largest allowed batch is larger than a segment and still stored and served.
    let large = vec![event(1, &"x".repeat(2 * 1024 * 1024))];
    logs.append(GROUP, "s", None, large, 1).await.unwrap();
    assert_eq!(all(&logs, "s").await.len(), 1);
}
