//! Everything in the kernel that bears our names: what a leak check, a test that kills things and
//! an operator who wonders need to see. It finds things by name alone and asks no runtime, so it
//! also sees what nobody remembers.

use crate::cgroup;
use crate::failure::Failure;
use crate::net::{host, nft, vpc};
use crate::remains;
use crate::sys::{block, mount, process};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long killed processes may take to go.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// One thing that is there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Trace {
    Process {
        pid: u32,
        name: String,
    },
    Cgroup(PathBuf),
    /// A mount in this process's mount namespace, among them the pins of network namespaces.
    Mount(PathBuf),
    /// The disk of a task's file system.
    LoopDevice(PathBuf),
    Link(String),
    NftTable(String),
    /// The route by which a runtime says that the pool of public addresses is not there, by its
    /// metric.
    Refusal(u32),
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, name } => write!(f, "process {pid} ({name})"),
            Self::Cgroup(path) => write!(f, "control group {}", path.display()),
            Self::Mount(path) => write!(f, "mount {}", path.display()),
            Self::LoopDevice(path) => write!(f, "loop device {}", path.display()),
            Self::Link(name) => write!(f, "link {name}"),
            Self::NftTable(name) => write!(f, "nftables table {name}"),
            Self::Refusal(metric) => write!(f, "route of the pool with metric {metric}"),
        }
    }
}

/// What is there of the runtime with this tag, or of all runtimes, sorted.
pub fn census(tag: Option<&str>) -> Result<Vec<Trace>, Failure> {
    let mut all = Vec::new();
    let parents = parents(tag);
    for parent in &parents {
        for pid in cgroup::processes(parent) {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            all.push(Trace::Process { pid, name: name.trim().to_owned() });
        }
    }
    for parent in parents {
        collect_groups(&parent, &mut all);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo");
    let mounts = mounts.map_err(Failure::of("reading mounts"))?;
    all.extend(our_mounts(&mounts, tag).map(Trace::Mount));
    let devices = block::loop_devices().into_iter();
    let ours = |(_, name): &(PathBuf, String)| is_parent(name, tag);
    all.extend(devices.filter(ours).map(|(path, _)| Trace::LoopDevice(path)));
    let links = vpc::interfaces().map_err(Failure::of("listing interfaces"))?;
    let prefix = format!("ng{}", tag.unwrap_or(""));
    let ours = |name: &String| match tag {
        Some(_) => name.starts_with(&format!("{prefix}-")),
        None => name.starts_with(&prefix) && name.contains('-'),
    };
    all.extend(links.into_iter().filter(ours).map(Trace::Link));
    let tables = nft::tables().map_err(Failure::of("listing nftables tables"))?;
    let wanted = |name: &String| match tag {
        Some(tag) => *name == host::table_name(tag),
        None => name.starts_with("neargate"),
    };
    all.extend(tables.into_iter().filter(wanted).map(Trace::NftTable));
    let mut refusals = vpc::refusals().map_err(Failure::of("listing routes"))?;
    refusals.retain(|metric| tag.is_none_or(|tag| *metric == host::refusal_metric(tag)));
    all.extend(refusals.into_iter().map(Trace::Refusal));
    all.sort();
    all.dedup();
    Ok(all)
}

/// Our parent groups in every hierarchy.
fn parents(tag: Option<&str>) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hierarchy in cgroup::hierarchies() {
        for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_parent(&name, tag) && entry.file_type().is_ok_and(|t| t.is_dir()) {
                found.push(entry.path());
            }
        }
    }
    found
}

/// Whether a name is that of a runtime's parent group.
fn is_parent(name: &str, tag: Option<&str>) -> bool {
    match tag {
        Some(tag) => name == crate::embedded::cgroup_parent(tag),
        None => name.starts_with(&crate::embedded::cgroup_parent("")),
    }
}

fn collect_groups(dir: &Path, all: &mut Vec<Trace>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            collect_groups(&entry.path(), all);
        }
    }
    all.push(Trace::Cgroup(dir.to_owned()));
}

/// Pins of VPCs' namespaces, and whatever else is mounted below a folder of ours.
fn our_mounts(mountinfo: &str, tag: Option<&str>) -> impl Iterator<Item = PathBuf> {
    let pin = match tag {
        Some(tag) => format!(".{tag}{}", vpc::PIN_SUFFIX),
        None => vpc::PIN_SUFFIX.to_owned(),
    };
    mountinfo.lines().filter_map(move |line| {
        let (head, tail) = line.split_once(" - ")?;
        let path = head.split(' ').nth(4)?;
        let ours = tail.starts_with("nsfs ") && path.ends_with(&pin);
        let root_of_ours = tag.is_none() && path.contains("/neargate");
        (ours || root_of_ours).then(|| PathBuf::from(path))
    })
}

/// Takes away whatever the census finds of a runtime, and its folder, asking nobody: kills its
/// processes, removes the rest. For tests that failed in the middle, and for operators who are done
/// with a runtime that no longer starts.
pub fn erase(root: &Path, tag: &str) -> Result<(), Failure> {
    let give_up = Instant::now() + KILL_PATIENCE;
    loop {
        let found = census(Some(tag))?;
        let pids = found.iter().filter_map(|t| match t {
            Trace::Process { pid, .. } => Some(*pid),
            _ => None,
        });
        let pids: Vec<u32> = pids.collect();
        if pids.is_empty() {
            break;
        }
        if Instant::now() > give_up {
            return Err(Failure::Refused(format!("processes {pids:?} survive SIGKILL")));
        }
        for pid in pids {
            // It may have ended since the census, and that is what we want.
            let _ = process::kill(pid, libc::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    for trace in census(Some(tag))? {
        match trace {
            Trace::Mount(path) => {
                mount::unmount_detach(&path).map_err(Failure::of("unmounting"))?;
            }
            Trace::Link(name) => vpc::delete_link(&name).map_err(Failure::of("deleting a link"))?,
            // It goes with the last process that saw it mounted, a moment after that one.
            Trace::LoopDevice(path) => {
                block::detach_loop(&path).map_err(Failure::of("detaching a loop device"))?;
            }
            Trace::NftTable(name) => {
                nft::delete_table(&name).map_err(Failure::of("deleting a table"))?;
            }
            Trace::Refusal(metric) => {
                vpc::refuse_no_more(metric).map_err(Failure::of("deleting a route"))?;
            }
            // Groups go from the top, below.
            Trace::Process { .. } | Trace::Cgroup(_) => {}
        }
    }
    for parent in parents(Some(tag)) {
        cgroup::remove_tree(&parent).map_err(Failure::of("removing control groups"))?;
    }
    remains::remove_folder(root).map_err(Failure::of(format!("removing {}", root.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_told_from_other_mounts() {
        let text = "\
40 30 0:4 net:[1] /var/lib/x/vpc/vpc-1.abc.ns rw - nsfs nsfs rw
41 30 0:4 net:[2] /run/netns/other rw - nsfs nsfs rw
42 30 0:5 / /proc rw - proc proc rw\n";
        let all = |tag| our_mounts(text, tag).collect::<Vec<_>>();
        assert_eq!(all(Some("abc")), [PathBuf::from("/var/lib/x/vpc/vpc-1.abc.ns")]);
        assert_eq!(all(Some("other")), [] as [PathBuf; 0]);
        assert_eq!(all(None).len(), 1);
    }
}
