//! What a task and each of its containers use, read from their groups: the kernel's own accounts,
//! under its own names where Docker passes those on. A file that this kernel doesn't have counts as
//! zero; a number is never made up.

use super::{Cgroups, read_keyed, read_number};
use crate::event::{ContainerUsage, Throttling, Usage};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The kernel counts the time in /proc/stat in hundredths of a second on every machine we run on.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;
/// Columns of the first line of /proc/stat that Docker adds up: user to softirq and steal.
const STAT_COLUMNS: usize = 8;
/// The kernel writes "no limit" as the highest whole number of pages; anything near it is none.
const NO_LIMIT_FROM: u64 = 1 << 62;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// Folders in which something is counted; none where the controller is missing.
pub struct Accounts {
    pub version: Version,
    pub cpu: Option<PathBuf>,
    /// The task's, which holds its CPU ceiling.
    pub ceiling: Option<PathBuf>,
    pub memory: Option<PathBuf>,
}

impl Cgroups {
    pub fn usage(&self, task: &str, containers: &[String]) -> Usage {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        Usage {
            cpu_nanoseconds: self.cpu_nanoseconds(task, None),
            memory_bytes: self.memory_bytes(task, None),
            pids: self.pids(task),
            containers: containers.iter().map(|name| self.container_usage(task, name)).collect(),
            machine_cpu_nanoseconds: machine_cpu_nanoseconds(&stat),
            machine_cpus: machine_cpus(&stat),
            ..Usage::default()
        }
    }

    fn accounts(&self, task: &str, container: Option<&str>) -> Accounts {
        match self {
            Self::V1(v1) => v1.accounts(task, container),
            Self::V2(v2) => v2.accounts(task, container),
        }
    }

    fn container_usage(&self, task: &str, name: &str) -> ContainerUsage {
        let own = self.accounts(task, Some(name));
        let (user, kernel) = own.cpu_shares();
        let limit = own.memory_limit().min(self.accounts(task, None).memory_limit());
        ContainerUsage {
            name: name.to_owned(),
            cpu_nanoseconds: self.cpu_nanoseconds(task, Some(name)),
            memory_bytes: self.memory_bytes(task, Some(name)),
            out_of_memory_kills: self.out_of_memory_kills(task, name),
            cpu_user_nanoseconds: user,
            cpu_kernel_nanoseconds: kernel,
            throttling: own.throttling(),
            memory_peak_bytes: own.memory_peak(),
            memory_limit_bytes: limit,
            memory_details: own.memory_details(),
            pids: own.pids(),
        }
    }
}

impl Accounts {
    /// Nanoseconds in user and in kernel mode.
    fn cpu_shares(&self) -> (u64, u64) {
        let Some(dir) = &self.cpu else { return (0, 0) };
        match self.version {
            Version::V1 => {
                (read_number(dir, "cpuacct.usage_user"), read_number(dir, "cpuacct.usage_sys"))
            }
            Version::V2 => (
                read_keyed(dir, "cpu.stat", "user_usec") * 1000,
                read_keyed(dir, "cpu.stat", "system_usec") * 1000,
            ),
        }
    }

    fn throttling(&self) -> Throttling {
        let Some(dir) = &self.ceiling else { return Throttling::default() };
        let stat = |key| read_keyed(dir, "cpu.stat", key);
        Throttling {
            periods: stat("nr_periods"),
            throttled_periods: stat("nr_throttled"),
            throttled_nanoseconds: match self.version {
                Version::V1 => stat("throttled_time"),
                Version::V2 => stat("throttled_usec") * 1000,
            },
        }
    }

    fn memory_peak(&self) -> u64 {
        let Some(dir) = &self.memory else { return 0 };
        let file = match self.version {
            Version::V1 => "memory.max_usage_in_bytes",
            Version::V2 => "memory.peak",
        };
        read_number(dir, file)
    }

    fn memory_limit(&self) -> u64 {
        let file = match self.version {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        };
        let read = self.memory.as_ref().and_then(|dir| fs::read_to_string(dir.join(file)).ok());
        let limit = read.and_then(|text| text.trim().parse().ok());
        limit.filter(|limit| *limit < NO_LIMIT_FROM).unwrap_or(u64::MAX)
    }

    fn memory_details(&self) -> BTreeMap<String, u64> {
        let read = |dir: &PathBuf| fs::read_to_string(dir.join("memory.stat")).ok();
        let text = self.memory.as_ref().and_then(read).unwrap_or_default();
        let pair = |line: &str| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        };
        text.lines().filter_map(pair).collect()
    }

    /// Threads. Version 1 has no group for them of the container's own; those in its group of
    /// memory are the same.
    fn pids(&self) -> u64 {
        let Some(dir) = &self.memory else { return 0 };
        let threads = |dir: &Path, file: &str| {
            let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
            text.lines().count() as u64
        };
        match self.version {
            Version::V1 => threads(dir, "tasks"),
            Version::V2 => read_number(dir, "pids.current"),
        }
    }
}

fn machine_cpu_nanoseconds(stat: &str) -> u64 {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "));
    let columns = all.unwrap_or_default().split_whitespace().take(STAT_COLUMNS);
    let ticks: u64 = columns.filter_map(|column| column.parse::<u64>().ok()).sum();
    ticks.saturating_mul(NANOSECONDS_PER_TICK)
}

fn machine_cpus(stat: &str) -> u32 {
    let is_cpu = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    u32::try_from(stat.lines().filter(is_cpu).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_cpus_are_counted_and_added_up() {
        let stat = "cpu  1 2 3 4 5 6 7 8 900 900\ncpu0 1 1\ncpu1 0 1\nintr 1\n";
        assert_eq!(machine_cpu_nanoseconds(stat), 36 * NANOSECONDS_PER_TICK);
        assert_eq!(machine_cpus(stat), 2);
        assert_eq!((machine_cpu_nanoseconds(""), machine_cpus("")), (0, 0));
    }
}
