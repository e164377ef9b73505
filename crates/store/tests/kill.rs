//! A process that writes is killed at random moments, 500 times: while it opens, commits, folds
//! the log or closes. What it was told is committed is there afterwards, transactions are whole,
//! and its watcher never saw a gap.
//!
//! The process is this test's own binary, told by its environment to be the one that is killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use store::{Kinds, Record, Revision, Store};
use tempfile::TempDir;

const FOLDER: &str = "STORE_KILL_FOLDER";
const WRITERS: u64 = 4;
const KEYS: [&str; 3] = ["a", "b", "c"];
const ROUNDS: u64 = 100;

/// Every transaction of a writer gives all of its keys the next number.
#[derive(Debug, Serialize, Deserialize)]
struct Number {
    key: String,
    number: u64,
}

impl Record for Number {
    const KIND: &'static str = "number";
    const VERSION: u8 = 1;
    fn key(&self) -> String {
        self.key.clone()
    }
}

/// Passing: made and deleted by turns, so that folding has deletions to do.
#[derive(Debug, Serialize, Deserialize)]
struct Passing(u64);

impl Record for Passing {
    const KIND: &'static str = "passing";
    const VERSION: u8 = 1;
    fn key(&self) -> String {
        self.0.to_string()
    }
}

fn kinds() -> Kinds {
    Kinds::new().with::<Number>().with::<Passing>()
}

fn key(writer: u64, name: &str) -> String {
    format!("{writer}/{name}")
}

/// One line, one write: a pipe keeps it whole. A reader that is gone ends the process.
fn say(line: &str) {
    let done = std::io::stdout().write_all(format!("\n{line}\n").as_bytes());
    if done.is_err() {
        std::process::exit(1);
    }
}

async fn write(store: Store, writer: u64, count: u64) {
    for _ in 0..count {
        let next = store
            .transact(|txn| {
                let now = txn.get::<Number>(&key(writer, "a")).map_or(0, |found| found.number);
                for name in KEYS {
                    txn.put(Number { key: key(writer, name), number: now + 1 });
                }
                match txn.get::<Passing>(&writer.to_string()) {
                    Some(_) => txn.delete::<Passing>(&writer.to_string()),
                    None => txn.put(Passing(writer)),
                }
                Ok::<_, ()>(now + 1)
            })
            .await;
        let (number, revision) = next.expect("nobody else writes these keys");
        say(&format!("ack {writer} {number} {}", revision.0));
    }
}

async fn watch(store: Store, from: Revision) {
    let mut watch = store.watch(from);
    let mut last = from;
    loop {
        let Ok(batch) = watch.next().await else { return };
        if batch.revision.0 != last.0 + 1 || store.revision() < batch.revision {
            say(&format!("bad {} after {}", batch.revision, last));
        }
        last = batch.revision;
    }
}

/// Writes until it is killed; by itself only a few times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let given = std::env::var_os(FOLDER);
    // None of its own when it is to be killed: it would stay.
    let own = given.is_none().then(|| tempfile::tempdir().unwrap());
    let folder = own.as_ref().map_or_else(|| Path::new(given.as_ref().unwrap()), TempDir::path);
    let count = if given.is_some() { u64::MAX } else { 5 };
    let store = Store::open(folder, kinds()).unwrap();
    say("open");
    let watcher = tokio::spawn(watch(store.clone(), store.revision()));
    let writers: Vec<_> =
        (0..WRITERS).map(|writer| tokio::spawn(write(store.clone(), writer, count))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let snapshot = store.snapshot();
    assert!((0..WRITERS).all(|w| snapshot.get::<Number>(&key(w, "c")).unwrap().number == 5));
    store.close().await;
    watcher.await.unwrap();
}

/// Kills its process when dropped, so that a failing test leaves none behind.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the process for a while and kills it. Returns what it said.
fn kill_after(folder: &Path, wait: Duration, opened_first: bool) -> Vec<String> {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_killed", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut victim = Victim(child);
    let mut lines = BufReader::new(victim.0.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    if opened_first {
        for line in lines.by_ref() {
            let line = line.unwrap();
            if line == "open" {
                break;
            }
            said.push(line);
        }
    }
    // Read meanwhile: a full pipe would stop it.
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    let until = Instant::now() + wait;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        // How long it may run is the very thing that is drawn.
        std::thread::park_timeout(left);
    }
    drop(victim);
    said.extend(reader.join().unwrap());
    said
}

#[derive(Default)]
struct Told {
    /// By writer: the last number it was told, and the revision.
    last: BTreeMap<u64, (u64, Revision)>,
    /// By writer: kills since, each of which may have come between a commit and its word.
    silent: BTreeMap<u64, u64>,
    acknowledged: u64,
}

impl Told {
    fn hear(&mut self, said: &[String]) {
        for writer in 0..WRITERS {
            *self.silent.entry(writer).or_default() += 1;
        }
        for line in said {
            assert!(!line.starts_with("bad"), "{line}");
            let Some(ack) = line.strip_prefix("ack ") else { continue };
            let numbers: Vec<u64> = ack.split(' ').filter_map(|n| n.parse().ok()).collect();
            let [writer, number, revision] = numbers[..] else { panic!("torn: {line:?}") };
            self.last.insert(writer, (number, Revision(revision)));
            self.silent.insert(writer, 1);
            self.acknowledged += 1;
        }
    }

    async fn check(&mut self, folder: &Path, round: u64) {
        let store = Store::open(folder, kinds()).unwrap_or_else(|f| panic!("{round}: {f}"));
        let snapshot = store.snapshot();
        for writer in 0..WRITERS {
            let found: Vec<_> =
                KEYS.iter().map(|name| snapshot.get::<Number>(&key(writer, name))).collect();
            let Some(first) = &found[0] else {
                assert!(!self.last.contains_key(&writer), "round {round}: lost");
                assert!(found.iter().all(Option::is_none), "round {round}: torn");
                continue;
            };
            for other in &found {
                let other = other.as_ref().expect("written together");
                let place = (other.number, other.revision);
                assert_eq!(place, (first.number, first.revision), "round {round}: torn");
            }
            let passing = snapshot.get::<Passing>(&writer.to_string()).is_some();
            assert_eq!(passing, first.number % 2 == 1, "round {round}: torn");
            if let Some((number, revision)) = self.last.get(&writer) {
                let most = number + self.silent[&writer];
                assert!((*number..=most).contains(&first.number), "round {round}: lost");
                assert!(first.number != *number || first.revision == *revision);
            }
            // Whatever is there now must stay.
            self.silent.insert(writer, 0);
            self.last.insert(writer, (first.number, first.revision));
        }
        store.close().await;
    }
}

async fn rounds(seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    let mut random = seed;
    for round in 0..ROUNDS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let wait = Duration::from_micros((random >> 33) % 12_000);
        // Every fifth time it may be killed before it has opened, while it recovers.
        told.hear(&kill_after(dir.path(), wait, round % 5 != 0));
        // Sometimes killed again before anybody looks.
        if round % 3 != 0 {
            told.check(dir.path(), round).await;
            let names = std::fs::read_dir(dir.path()).unwrap().count();
            assert!(names < 20, "segments are never folded: {names} files");
        }
    }
    told.check(dir.path(), ROUNDS).await;
    assert!(told.acknowledged > ROUNDS, "{}", told.acknowledged);
}

#[tokio::test]
async fn killed_a_hundred_times_a() {
    rounds(1).await;
}

#[tokio::test]
async fn killed_a_hundred_times_b() {
    rounds(2).await;
}

#[tokio::test]
async fn killed_a_hundred_times_c() {
    rounds(3).await;
}

#[tokio::test]
async fn killed_a_hundred_times_d() {
    rounds(4).await;
}

#[tokio::test]
async fn killed_a_hundred_times_e() {
    rounds(5).await;
}
