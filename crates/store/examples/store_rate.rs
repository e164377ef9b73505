//! How many transactions a second the store makes durable, and how long one takes. Each reads a
//! record, guards it and writes it back, as a task's transitions do; records are about 700 bytes.
//!
//! `cargo run --release -p store --example store_rate [FOLDER]`; without a folder it uses one
//! beside the build's output, because `/tmp` may be memory.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use store::{Kinds, Record, Store};

const RECORDS: u64 = 10_000;
const ROUND: Duration = Duration::from_secs(3);

#[derive(Clone, Serialize, Deserialize)]
struct Item {
    id: u64,
    version: u64,
    body: String,
}

impl Record for Item {
    const KIND: &'static str = "item";
    const VERSION: u8 = 1;
    fn key(&self) -> String {
        key(self.id)
    }
}

fn key(id: u64) -> String {
    // Keys as random as task ids are.
    format!("default/{:016x}", id.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn main() {
    let folder = std::env::args().nth(1).map_or_else(default_folder, PathBuf::from);
    let data = folder.join(format!("store-rate-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    runtime.block_on(measure(&data));
    std::fs::remove_dir_all(&data).expect("the folder is ours");
}

fn default_folder() -> PathBuf {
    let binary = std::env::current_exe().expect("a running program has a path");
    binary.parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

async fn measure(data: &Path) {
    let kinds = Kinds::new().with::<Item>();
    let store = Store::open(data, kinds.clone()).expect("a new folder opens");
    fill(&store).await;
    println!("writers  commits/s   p50 µs   p99 µs   max µs   CPU µs/commit");
    for writers in [1, 16, 64, 256, 1024] {
        round(&store, writers).await;
    }
    store.close().await;
    let begun = Instant::now();
    let store = Store::open(data, kinds).expect("it opens again");
    let records = store.snapshot().count::<Item>("");
    println!("reopened with {records} records in {:?}", begun.elapsed());
    store.close().await;
}

async fn fill(store: &Store) {
    for first in (0..RECORDS).step_by(100) {
        let filled = store
            .transact(|txn| {
                for id in first..first + 100 {
                    txn.put(Item { id, version: 0, body: "x".repeat(640) });
                }
                Ok::<_, ()>(())
            })
            .await;
        filled.expect("nobody else writes");
    }
}

async fn round(store: &Store, writers: u64) {
    let begun = Instant::now();
    let cpu_begun = cpu_us();
    let mut tasks = Vec::new();
    for writer in 0..writers {
        tasks.push(tokio::spawn(write(store.clone(), writer, writers, begun + ROUND)));
    }
    let mut times_us = Vec::new();
    for task in tasks {
        times_us.extend(task.await.expect("a writer does not panic"));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu_us = cpu_us() - cpu_begun;
    times_us.sort_unstable();
    let at = |share: f64| times_us[((times_us.len() - 1) as f64 * share) as usize];
    println!(
        "{writers:7}  {:9.0}  {:7}  {:7}  {:7}  {:10.1}",
        times_us.len() as f64 / seconds,
        at(0.5),
        at(0.99),
        at(1.0),
        cpu_us as f64 / times_us.len() as f64,
    );
}

async fn write(store: Store, writer: u64, writers: u64, until: Instant) -> Vec<u32> {
    let mut times_us = Vec::new();
    let mut random = writer + 1;
    while Instant::now() < until {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        // Writers keep out of each other's way: this measures commits, not conflicts.
        let id = (random >> 33) % (RECORDS / writers) * writers + writer;
        let begun = Instant::now();
        let done = store
            .transact(|txn| {
                let mut item = txn.get::<Item>(&key(id)).ok_or(())?.as_ref().clone();
                item.version += 1;
                txn.put(item);
                Ok::<_, ()>(())
            })
            .await;
        done.expect("the record is there and no one else's");
        times_us.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    times_us
}

/// CPU time of this process so far.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let after_name = stat.rsplit_once(')').expect("it has a name").1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    // User and system time in clock ticks, 100 a second on every Linux we know.
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    (ticks(11) + ticks(12)) * 10_000
}
