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
  images              push, pull, manifests of a 300 MiB image, beside docker-registry and dockerd
  balancer            requests a second through a load balancer, beside nginx and haproxy
  network [--rounds N] a task's network set up and removed, and what goes through it, on one
                      instance and between two, beside dockerd's bridge
  deploy [--tasks N]  a rolling deployment of N tasks (10) behind a load balancer, and a task
                      killed, under requests that are counted when they fail, beside Docker swarm
options: --rounds N   how often each is measured, in turn with its peers (5)
         --folder DIR where all of them keep their data (/var/tmp); in memory (/dev/shm), the
                      difference tells what the disk costs";

const NAMES: [&str; 8] =
    ["launch", "api", "store", "idle", "images", "balancer", "network", "deploy"];

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
        Some("balancer") => {
            // The data plane alone: no control plane is in it.
            Run::line("cargo build --release --quiet -p balancer --example serve").check()?;
        }
        Some("network") => {
            // Of the runtime alone: no control plane is in it.
            let line = "cargo run --release --quiet -p runtime --example network_rate --";
            let rounds = args.iter().skip(1).filter(|arg| *arg != "--rounds");
            return Run::line(line).args(rounds).check();
        }
        Some(_) => Run::line("cargo build --release --quiet -p neargate").check()?,
    }
    let line = "cargo run --release --quiet -p xtask --example bench --";
    Run::line(line).args(args).check()
}
