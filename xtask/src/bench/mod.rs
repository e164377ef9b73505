//! `cargo xtask bench …`: measurements, each paired in the same run with the product it is compared
//! with, because absolute numbers of a shared machine say little. The benchmarks themselves are one
//! program, `examples/bench`: it is built optimised, and needs crates that must not stand in the
//! way of `cargo xtask codegen`. Here the binaries are built and it is started.

use anyhow::{Result, bail};

use crate::shell::Run;

const BENCHMARKS: &str = "\
  launch [--profile]  from a signed RunTask to RUNNING, beside dockerd and crun
  api                 calls a second, beside moto_server
  store               durable commits a second, beside etcd
  idle                memory, CPU and start-up when nothing happens, beside moto_server and dockerd
options: --rounds N   how often each is measured, in turn with its peers (5)
         --folder DIR where all of them keep their data (/var/tmp); in memory (/dev/shm), the
                      difference tells what the disk costs";

const NAMES: [&str; 4] = ["launch", "api", "store", "idle"];

/// Builds what is measured, then measures.
pub fn run(args: &[String]) -> Result<()> {
    match args.first().map(String::as_str) {
        None => bail!("name a benchmark:\n{BENCHMARKS}"),
        Some(name) if !NAMES.contains(&name) => {
            bail!("no benchmark `{name}`; there are:\n{BENCHMARKS}")
        }
        Some("store") => {
            Run::line("cargo build --release --quiet -p store --example store_rate").check()?;
        }
        Some(_) => Run::line("cargo build --release --quiet -p neargate").check()?,
    }
    let line = "cargo run --release --quiet -p xtask --example bench --";
    Run::line(line).args(args).check()
}
