//! `bench store`: durable commits a second of the state database, beside etcd. The two are not the
//! same thing: ours is called within the process, reads, guards and writes one record a
//! transaction; etcd's is a plain Put over loopback, which checks nothing. Each is what a control
//! plane pays with it for one change of state, on one node. Both call fdatasync; what a disk makes
//! of that on a virtual machine is not known, so the figures say nothing of other disks.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::etcd::Etcd;
use crate::launch::or_say;
use crate::stats::{Round, Series, Table, short};
use crate::{Setting, beside_us};

const WRITERS: [usize; 3] = [1, 16, 64];

/// One line of the store's own benchmark.
#[derive(Debug, Clone, Copy)]
struct Line {
    writers: usize,
    per_second: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us: f64,
}

pub async fn run(setting: &Setting) -> Result<()> {
    let mut ours: Vec<Vec<Line>> = WRITERS.map(|_| Vec::new()).to_vec();
    let mut theirs = WRITERS.map(|writers| Series::new(&format!("etcd, {writers}")));
    let mut version = None;
    for round in 0..setting.rounds {
        let lines = store_rate(setting)?;
        for (writers, all) in WRITERS.iter().zip(&mut ours) {
            let line = lines.iter().find(|line| line.writers == *writers);
            all.push(*line.with_context(|| format!("no line of {writers} writers"))?);
        }
        let etcd = Etcd::start(setting, &format!("etcd-{round}")).await;
        if let Some(etcd) = or_say("etcd", etcd) {
            for (writers, series) in WRITERS.iter().zip(&mut theirs) {
                series.rounds.push(etcd.round(*writers).await?);
            }
            version = Some(etcd.version.clone());
        }
    }
    println!("peer: {}\n", version.as_deref().unwrap_or("MISSING"));
    print(&ours, &theirs);
    Ok(())
}

fn store_rate(setting: &Setting) -> Result<Vec<Line>> {
    let program = beside_us("store_rate")?;
    let output = Command::new(&program).arg(setting.folder("store")?).output();
    let output = output.with_context(|| format!("can't start {}", program.display()))?;
    if !output.status.success() {
        bail!("store_rate: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(parse).collect())
}

/// `     64      12345      110      420      980        12.3`; None for a line of words.
fn parse(line: &str) -> Option<Line> {
    let numbers: Option<Vec<f64>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
    match numbers?.as_slice() {
        [writers, per_second, p50_us, p99_us, _, cpu_us] => Some(Line {
            writers: *writers as usize,
            per_second: *per_second,
            p50_us: *p50_us,
            p99_us: *p99_us,
            cpu_us: *cpu_us,
        }),
        _ => None,
    }
}

fn print(ours: &[Vec<Line>], theirs: &[Series]) {
    let mut table = Table::new(&[
        "writers",
        "contender",
        "commits/s",
        "p50 us",
        "p99 us",
        "CPU us/commit",
        "ours / theirs, commits/s (range)",
    ]);
    for ((writers, lines), peer) in WRITERS.iter().zip(ours).zip(theirs) {
        let own = own_series(lines);
        // Its quantiles are of each round, since it does not tell its samples.
        let p99_us = lines.iter().map(|line| line.p99_us).collect::<crate::stats::Samples>();
        let all = peer.all();
        let rows = [
            (&own, own.median_of(|round| round.times_ms.median()) * 1e3, p99_us.median()),
            (peer, all.median() * 1e3, all.quantile(0.99) * 1e3),
        ];
        for (it, p50_us, p99_us) in rows {
            let is_peer = std::ptr::eq(it, peer);
            table.row(&[
                &writers.to_string(),
                if is_peer { "etcd, Put over loopback" } else { "store, in process" },
                &short(it.median_of(|round| round.per_second)),
                &short(p50_us),
                &short(p99_us),
                &short(it.median_of(|round| round.cpu_ms) * 1e3),
                &if is_peer { own.rate_ratio_to(peer) } else { String::new() },
            ]);
        }
    }
    table.print();
}

fn own_series(lines: &[Line]) -> Series {
    let round = |line: &Line| Round {
        times_ms: [line.p50_us / 1e3].into_iter().collect(),
        cpu_ms: line.cpu_us / 1e3,
        per_second: line.per_second,
    };
    Series { name: "store".to_owned(), rounds: lines.iter().map(round).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_numbers_are_told_from_lines_of_words() {
        let line = parse("     64      12345      110      420      980        12.3");
        let line = line.expect("six numbers");
        assert_eq!((line.writers, line.p99_us), (64, 420.0));
        assert!(parse("writers  commits/s   p50 µs   p99 µs   max µs   CPU µs/commit").is_none());
        assert!(parse("reopened with 10000 records in 12ms").is_none());
    }
}
