//! What the kernel holds of ours, counted before and after the tests. Everything Neargate makes
//! carries its name, so a leak is whatever stands in the second census and not in the first. The
//! kernel tears down some things a moment after their last user is gone, so the second census is
//! taken until it agrees, within a deadline.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell::{self, Run};

/// How long the kernel may take to forget what has no user any more.
const SETTLE: Duration = Duration::from_secs(15);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// The name in the paths, cgroups, tables and programs that are ours.
const NAME: &str = "neargate";
/// Network interfaces have 15 characters, so theirs is shorter.
const LINK_PREFIX: &str = "ng";
/// Metrics of our routes are higher than any that others give.
const OWN_METRICS: u32 = 1 << 31;

/// One line for each thing that exists.
#[derive(Debug)]
pub struct Census(BTreeSet<String>);

impl Census {
    pub fn take() -> Result<Census> {
        let mut lines = BTreeSet::new();
        mounts(&mut lines)?;
        network_namespaces(&mut lines)?;
        cgroups(Path::new("/sys/fs/cgroup"), &mut lines);
        links(&mut lines)?;
        tables(&mut lines)?;
        routes(&mut lines)?;
        loop_devices(&mut lines)?;
        processes(&mut lines)?;
        folders(&mut lines)?;
        hosts(&mut lines)?;
        Ok(Census(lines))
    }

    /// Compares this census, taken before, with now; a difference is an error that lists it.
    pub fn compare(&self) -> Result<()> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let now = Census::take()?;
            let left: Vec<&String> = now.0.difference(&self.0).collect();
            let gone: Vec<&String> = self.0.difference(&now.0).collect();
            if left.is_empty() && gone.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                for line in &left {
                    println!("left behind: {line}");
                }
                for line in &gone {
                    println!("was here before the tests and is gone: {line}");
                }
                bail!("{} things left behind, {} gone", left.len(), gone.len());
            }
            std::thread::sleep(LOOK_AGAIN_AFTER);
        }
    }
}

pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.is_some_and(|uids| uids.split_whitespace().nth(1) == Some("0"))
}

/// All mounts of this mount namespace: whatever a test mounts it must unmount, named or not.
fn mounts(lines: &mut BTreeSet<String>) -> Result<()> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("can't list mounts")?;
    for line in text.lines() {
        let mut fields = line.split(' ');
        let point = fields.nth(4).unwrap_or_default();
        let kind = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').next());
        lines.insert(format!("mount {point} ({})", kind.unwrap_or("unknown kind")));
    }
    Ok(())
}

fn network_namespaces(lines: &mut BTreeSet<String>) -> Result<()> {
    for name in names("/run/netns")? {
        lines.insert(format!("network namespace {name}"));
    }
    Ok(())
}

fn cgroups(folder: &Path, lines: &mut BTreeSet<String>) {
    // A cgroup may go away while it is being listed: that is what is hoped for.
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        if path.to_string_lossy().contains(NAME) {
            lines.insert(format!("cgroup {}", path.display()));
        }
        cgroups(&path, lines);
    }
}

fn links(lines: &mut BTreeSet<String>) -> Result<()> {
    for name in names("/sys/class/net")? {
        if name.starts_with(LINK_PREFIX) {
            lines.insert(format!("link {name}"));
        }
    }
    Ok(())
}

fn tables(lines: &mut BTreeSet<String>) -> Result<()> {
    if !shell::on_path("nft") {
        bail!("`nft` is not installed, so leaked tables would not be seen");
    }
    for table in Run::line("nft list tables").read()?.lines() {
        if table.contains(NAME) {
            lines.insert(format!("nft {table}"));
        }
    }
    Ok(())
}

/// By which runtimes say that the pool of public addresses, 198.19.0.0/17, is not there.
fn routes(lines: &mut BTreeSet<String>) -> Result<()> {
    let text = fs::read_to_string("/proc/net/route").context("can't list routes")?;
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let metric = fields.get(6).and_then(|metric| metric.parse::<u32>().ok());
        if let (Some(&"000013C6"), Some(&"0080FFFF"), Some(metric @ OWN_METRICS..)) =
            (fields.get(1), fields.get(7), metric)
        {
            lines.insert(format!("route of the pool with metric {metric}"));
        }
    }
    Ok(())
}

/// All that have a file, ours or not, as with mounts.
fn loop_devices(lines: &mut BTreeSet<String>) -> Result<()> {
    for name in names("/sys/block")? {
        let file = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file"));
        if let Ok(file) = file {
            lines.insert(format!("loop device {name} of {}", file.trim_end()));
        }
    }
    Ok(())
}

/// Processes that carry our name (the zygote's begins with it), and those in our cgroups.
fn processes(lines: &mut BTreeSet<String>) -> Result<()> {
    for id in names("/proc")?.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
        let folder = Path::new("/proc").join(id);
        let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        let cgroup = fs::read_to_string(folder.join("cgroup")).unwrap_or_default();
        let ours = name.starts_with(NAME) || cgroup.contains(NAME);
        if ours {
            let command = fs::read_to_string(folder.join("cmdline")).unwrap_or_default();
            lines.insert(format!("process {id}: {}", command.replace('\0', " ").trim_end()));
        }
    }
    Ok(())
}

/// The machine's hosts file, in which the names of load balancers stand for a while: whoever else
/// wrote there must find it as it was.
fn hosts(lines: &mut BTreeSet<String>) -> Result<()> {
    let text = match fs::read("/etc/hosts") {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.context("can't read the hosts file")?,
    };
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        lines.insert(format!(
            "line {number} of the hosts file: {:?}",
            String::from_utf8_lossy(line)
        ));
    }
    Ok(())
}

/// Run-time folders and temporary ones of ours.
fn folders(lines: &mut BTreeSet<String>) -> Result<()> {
    let temporary = std::env::temp_dir();
    for parent in ["/run", "/dev/shm", &temporary.to_string_lossy()] {
        for name in names(parent)? {
            if name.contains(NAME) {
                lines.insert(format!("folder {parent}/{name}"));
            }
        }
    }
    Ok(())
}

/// What a folder holds; nothing, where there is no such folder.
fn names(folder: &str) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("can't list {folder}")),
    };
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    Ok(entries.flatten().map(name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_census_sees_this_machines_mounts() {
        let mut lines = BTreeSet::new();
        mounts(&mut lines).expect("mounts can be listed");
        assert!(lines.iter().any(|line| line.starts_with("mount /proc (proc)")), "{lines:?}");
    }

    #[test]
    fn a_folder_left_behind_is_seen() {
        let name = format!("neargate-census-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        fs::create_dir(&path).expect("a fresh name");
        let mut lines = BTreeSet::new();
        let seen = folders(&mut lines);
        fs::remove_dir(&path).expect("it was just made");
        seen.expect("folders can be listed");
        assert!(lines.iter().any(|line| line.ends_with(&name)), "{lines:?}");
    }
}
