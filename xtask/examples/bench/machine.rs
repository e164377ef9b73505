//! Which machine a result is of: without that a number is gossip.

use std::fs;
use std::process::{Command, Stdio};

/// Prints one paragraph on this machine.
pub fn print() {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or("unknown", |(_, value)| value.trim()).to_owned()
    };
    let cpus = read("/proc/cpuinfo");
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let memory = value(&read("/proc/meminfo"), "MemTotal");
    let memory_kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
    println!(
        "machine: {cores} cores ({}), {} MiB, Linux {}, cgroup {}, load {}",
        value(&cpus, "model name"),
        memory_kib / 1024,
        read("/proc/sys/kernel/osrelease").trim(),
        if read("/proc/self/mountinfo").contains(" - cgroup ") { "v1" } else { "v2" },
        read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
    );
    println!("Load generator and servers share these cores; ratios, not times, carry over.\n");
}

/// The first line of what a program says of itself, or None when it can't be run.
pub fn version(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().next().unwrap_or(program).trim().to_owned())
}
