//! CPU time and membership of everything a contender runs, however many processes it starts and
//! forgets: a control group of its own. It counts children that have ended too, which the
//! processes' own counters don't. What is left in the group at the end is ours to kill, since
//! nobody else could have got in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

const ROOT: &str = "/sys/fs/cgroup";
/// Inside a contender's group: its daemons, apart from its containers, as version 2 demands.
const DAEMONS: &str = "daemons";
/// For the containers of peers. (`tasks` is a file of version 1.)
const CONTAINERS: &str = "containers";
/// How long processes that were killed and groups that are empty may take to go away.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub struct Meter {
    name: String,
    /// Groups whose CPU time counts: our own, and those a contender makes by itself.
    counted: Vec<PathBuf>,
}

impl Meter {
    pub fn make(contender: &str) -> Result<Meter> {
        let name = format!("neargate-bench-{}-{contender}", std::process::id());
        let group = accounting().join(&name);
        let daemons = group.join(DAEMONS);
        fs::create_dir_all(&daemons).with_context(|| format!("can't make {daemons:?}"))?;
        Ok(Meter { name, counted: vec![group] })
    }

    /// Of a group that the contender has made itself, by its path in the hierarchy.
    pub fn count_also(&mut self, group: &str) {
        let folder = accounting().join(group.trim_start_matches('/'));
        if !self.counted.contains(&folder) {
            self.counted.push(folder);
        }
    }

    /// Where peers are to make their containers' groups.
    pub fn containers_group(&self) -> String {
        format!("/{}/{CONTAINERS}", self.name)
    }

    /// A command that runs inside the group.
    pub fn command(&self, program: &str) -> Command {
        let door = accounting().join(&self.name).join(DAEMONS).join("cgroup.procs");
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(door).arg(program);
        command
    }

    /// CPU time used so far, in milliseconds.
    pub fn cpu_ms(&self) -> f64 {
        self.counted.iter().map(|group| group_cpu_ms(group)).sum()
    }

    /// All processes inside.
    pub fn processes(&self) -> Vec<u32> {
        let mut found = Vec::new();
        self.counted.iter().for_each(|group| collect(group, &mut found));
        found
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let own = &accounting().join(&self.name);
        let give_up = Instant::now() + PATIENCE;
        loop {
            let mut left = Vec::new();
            collect(own, &mut left);
            if left.is_empty() || Instant::now() > give_up {
                break;
            }
            for process in left.into_iter().filter_map(pid) {
                // It may have ended just now, which is what is wanted.
                kill_process(process, Signal::KILL).ok();
            }
            std::thread::sleep(LOOK_AGAIN_AFTER);
        }
        // Peers make groups of that name in every hierarchy.
        let mut folders: Vec<PathBuf> = vec![Path::new(ROOT).join(&self.name)];
        let hierarchies = fs::read_dir(ROOT).into_iter().flatten().flatten();
        folders.extend(hierarchies.map(|entry| entry.path().join(&self.name)));
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            while !remove(folder) {
                if Instant::now() > give_up {
                    eprintln!("bench: left behind: {}", folder.display());
                    break;
                }
                std::thread::sleep(LOOK_AGAIN_AFTER);
            }
        }
    }
}

/// A process id as the kernel takes it.
pub fn pid(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

fn accounting() -> PathBuf {
    ["cpuacct", "cpu,cpuacct", "unified"]
        .iter()
        .map(|name| Path::new(ROOT).join(name))
        .find(|folder| folder.is_dir())
        .unwrap_or_else(|| PathBuf::from(ROOT))
}

/// Version 1 counts nanoseconds, version 2 microseconds. A group that has gone used what was seen.
fn group_cpu_ms(group: &Path) -> f64 {
    if let Ok(text) = fs::read_to_string(group.join("cpuacct.usage")) {
        return text.trim().parse::<f64>().map_or(0.0, |ns| ns / 1e6);
    }
    let text = fs::read_to_string(group.join("cpu.stat")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
    line.and_then(|us| us.trim().parse::<f64>().ok()).map_or(0.0, |us| us / 1e3)
}

fn collect(group: &Path, found: &mut Vec<u32>) {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    for folder in subgroups(group) {
        collect(&folder, found);
    }
}

fn subgroups(group: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir())
}

/// Whether the group and all below it are gone.
fn remove(group: &Path) -> bool {
    for folder in subgroups(group) {
        remove(&folder);
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}
