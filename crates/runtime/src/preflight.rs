//! What this machine lacks, asked by trying and said before anything starts: each finding is a
//! sentence for an operator, with what to do about it.

use crate::cgroup::{self, Cgroups};
use crate::limits::STORAGE_ROOM_WARN_MIB;
use crate::net::nft;
use crate::storage::{Bound, Image, OwnMounts, STORAGE_FOLDER};
use crate::sys::mount;
use crate::sys::process::{self, Ended, Fork};
use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Tasks run, but something is less than it should be.
    Warning,
    /// No task can run.
    Fatal,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub severity: Severity,
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Warning => "warning",
            Severity::Fatal => "cannot run tasks",
        };
        write!(f, "{word}: {}", self.text)
    }
}

fn fatal(text: impl Into<String>) -> Finding {
    Finding { severity: Severity::Fatal, text: text.into() }
}

fn warning(text: impl Into<String>) -> Finding {
    Finding { severity: Severity::Warning, text: text.into() }
}

/// Capabilities that the runtime uses: number, name, for what.
const CAPABILITIES: [(u32, &str, &str); 6] = [
    (21, "CAP_SYS_ADMIN", "namespaces and mounts"),
    (12, "CAP_NET_ADMIN", "task networks"),
    (27, "CAP_MKNOD", "/dev of containers"),
    (1, "CAP_DAC_OVERRIDE", "files of images"),
    (7, "CAP_SETUID", "users of containers"),
    (8, "CAP_SETPCAP", "dropping capabilities"),
];
const CAP_SYS_RESOURCE: u32 = 24;

/// The oldest kernel with everything the runtime calls: mount_setattr and clone3 into a cgroup.
const KERNEL_MIN: (u32, u32) = (5, 12);

/// Everything that is wrong, worst first; empty when all is well. `root` is the runtime's folder,
/// or where it will be.
pub fn preflight(root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(kernel());
    findings.extend(mount_namespace());
    if !am_root() {
        return vec![fatal("this is not root; start it as root, with sudo for example")];
    }
    findings.extend(capabilities());
    findings.extend(control_groups());
    if findings.iter().all(|f| f.severity != Severity::Fatal) {
        findings.extend(overlay(root));
        findings.extend(storage_bound(root));
        findings.extend(storage_room(root));
        findings.extend(network());
        findings.extend(seccomp());
    }
    findings.sort_by_key(|f| std::cmp::Reverse(f.severity));
    findings
}

fn am_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0)
}

fn kernel() -> Option<Finding> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    let version: (u32, u32) = (numbers.next()?, numbers.next()?);
    let (major, minor) = KERNEL_MIN;
    (version < KERNEL_MIN)
        .then(|| fatal(format!("Linux {release} is too old; {major}.{minor} or newer is needed")))
}

/// Pins of VPCs are mounts: an agent that gets another mount namespace each time it starts would
/// not find them again.
fn mount_namespace() -> Option<Finding> {
    let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    (of("1").is_some() && of("1") != of("self")).then(|| {
        warning(
            "this process has a mount namespace of its own: after a restart it finds its VPCs only \
             if it gets the same one again (in a systemd unit: no PrivateTmp or ProtectSystem)",
        )
    })
}

fn capabilities() -> Vec<Finding> {
    let have = match process::capabilities() {
        Ok(have) => have,
        Err(e) => return vec![fatal(format!("capabilities can't be read: {e}"))],
    };
    let lacks = |number: u32| have & (1 << number) == 0;
    let mut findings: Vec<Finding> = CAPABILITIES
        .into_iter()
        .filter(|(number, ..)| lacks(*number))
        .map(|(_, name, what)| {
            let text = format!(
                "root lacks {name}, which {what} need; give it to the container or \
                unit that this runs in"
            );
            fatal(text)
        })
        .collect();
    if lacks(CAP_SYS_RESOURCE) {
        let limit = process::limit(libc::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard);
        findings.push(warning(format!(
            "root lacks CAP_SYS_RESOURCE: ulimits above this process's own are clamped \
            (nofile: {limit})"
        )));
    }
    findings
}

fn control_groups() -> Vec<Finding> {
    let cgroups = match Cgroups::detect("neargate-preflight") {
        Ok(cgroups) => cgroups,
        Err(e) => return vec![fatal(format!("{e}; mount cgroup2 at /sys/fs/cgroup"))],
    };
    let missing = cgroups.missing_controllers();
    let mut findings: Vec<Finding> = missing
        .into_iter()
        .map(|c| {
            warning(format!(
                "control group controller {c} is not available: its limits are not enforced"
            ))
        })
        .collect();
    for root in cgroups.roots() {
        let made = fs::create_dir(&root).and_then(|()| fs::remove_dir(&root));
        if let Err(e) = made {
            let at = root.parent().unwrap_or(&root).display();
            findings.push(fatal(format!("no control groups can be made in {at}: {e}")));
        }
    }
    if !cgroups.filters_devices() {
        findings.push(warning(
            "the kernel has no device filter for control groups: containers get no CAP_MKNOD",
        ));
    }
    if cgroup::hierarchies().is_empty() {
        findings.push(fatal("nothing is mounted at /sys/fs/cgroup"));
    }
    findings
}

/// Tries `work` in a child with namespaces of its own, which all end with it.
fn try_in_child(flags: i32, work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    match process::fork()? {
        Fork::Child => process::exit(match process::unshare(flags).and_then(|()| work()) {
            Ok(()) => 0,
            Err(e) => e.raw_os_error().unwrap_or(libc::EIO),
        }),
        Fork::Parent(child) => match process::wait_pid(child, true)? {
            Some(Ended { code: 0, .. }) => Ok(()),
            Some(Ended { code, signal: None }) => Err(io::Error::from_raw_os_error(code)),
            _ => Err(io::Error::other("the trial was killed")),
        },
    }
}

fn overlay(root: &Path) -> Vec<Finding> {
    let folder = root.join(format!("preflight.{}", std::process::id()));
    let [lower, upper, work, merged] = ["lower", "upper", "work", "merged"].map(|f| folder.join(f));
    for path in [&lower, &upper, &work, &merged] {
        if let Err(e) = fs::create_dir_all(path) {
            return vec![fatal(format!("{} can't be made: {e}", path.display()))];
        }
    }
    let tried = try_in_child(
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS,
        || {
            mount::mount_flags(None, Path::new("/"), libc::MS_REC | libc::MS_PRIVATE)?;
            let (lower, upper, work) = (lower.display(), upper.display(), work.display());
            let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
            mount::mount("overlay", &merged, "overlay", 0, &options)
        },
    );
    let mut findings = Vec::new();
    if let Err(e) = tried {
        findings.push(fatal(format!(
            "no overlay file system can be made in {}: {e}; the kernel needs CONFIG_OVERLAY_FS, \
             and the folder a file system that is not an overlay itself, such as ext4 or xfs",
            root.display()
        )));
    }
    if let Err(e) = fs::remove_dir_all(&folder) {
        findings.push(warning(format!("{} can't be removed: {e}", folder.display())));
    }
    findings
}

/// Tries the way that tasks' disk space is bounded by here.
fn storage_bound(root: &Path) -> Option<Finding> {
    let unbounded = |why: String| {
        Some(warning(format!(
            "ephemeralStorage is no bound here, tasks may fill the disk: {why}; either the kernel \
             needs CONFIG_BLK_DEV_LOOP and CONFIG_EXT4_FS (try: modprobe loop), or {} \
             be on XFS with project quotas (mount option prjquota)",
            root.display()
        )))
    };
    match Bound::detect(root) {
        None => unbounded("there are no loop devices".to_owned()),
        Some(Bound::Projects) => None,
        Some(Bound::Images) => {
            let folder = root.join(format!("preflight.{}", std::process::id()));
            let tried = fs::create_dir_all(folder.join(STORAGE_FOLDER)).and_then(|()| {
                try_in_child(0, || {
                    let mounts = OwnMounts::enter()?;
                    Image::mount(&folder, 1, "neargate-preflight", &mounts)?.end()
                })
            });
            let removed = fs::remove_dir_all(&folder);
            tried.and(removed).err().and_then(|e| unbounded(e.to_string()))
        }
    }
}

/// Whether images and tasks have room at all.
fn storage_room(root: &Path) -> Option<Finding> {
    let mib = mount::room(root).ok()?.available_bytes >> 20;
    let text =
        format!("only {mib} MiB are free for {}: images and tasks need room", root.display());
    (mib < STORAGE_ROOM_WARN_MIB).then(|| warning(text))
}

fn network() -> Vec<Finding> {
    let mut findings = Vec::new();
    let flags = libc::CLONE_NEWNET;
    let veth = try_in_child(flags, || {
        let links = crate::net::link::Links::here()?;
        let own = fs::File::open("/proc/self/ns/net")?;
        links.add_veth(&crate::net::link::Veth {
            name: "a",
            peer_name: "b",
            peer_namespace: std::os::fd::AsFd::as_fd(&own),
            peer_mac: None,
            mtu: None,
        })
    });
    if let Err(e) = veth {
        findings.push(fatal(format!(
            "no virtual interfaces can be made: {e}; the kernel needs \
            CONFIG_NET_NS and CONFIG_VETH (try: modprobe veth)"
        )));
    }
    if let Err(e) = try_in_child(flags, probe_rules) {
        findings.push(fatal(format!(
            "nftables doesn't take our rules: {e}; the kernel needs \
            CONFIG_NF_TABLES, NFT_NAT, NFT_MASQ and NFT_CT (try: modprobe nf_tables nft_masq)"
        )));
    }
    if legacy_drops_forwarded() {
        findings.push(warning(
            "a firewall of the older kind (iptables-legacy) is there; if it drops forwarded \
             packets, as Docker's does, tasks have no way out until it lets interfaces ng* pass \
             (iptables-legacy -I FORWARD -i ng+ -j ACCEPT; the same with -o)",
        ));
    }
    findings
}

/// Whether tables of the older kind are in use; what they say can't be asked by netlink.
fn legacy_drops_forwarded() -> bool {
    fs::read_to_string("/proc/self/net/ip_tables_names")
        .is_ok_and(|names| names.lines().any(|name| name == "filter"))
}

/// Tries the machine's own table, in a namespace that is thrown away.
fn probe_rules() -> io::Result<()> {
    let netlink = crate::sys::socket::netlink(libc::NETLINK_NETFILTER)?;
    nft::replace(&netlink, "neargate-probe", None, &crate::net::host::table("ng0-*", Some(0)))
}

fn seccomp() -> Option<Finding> {
    let filter = crate::seccomp::filter(0);
    let tried = try_in_child(0, || {
        process::set_no_new_privileges()?;
        process::set_seccomp(&filter)
    });
    tried.err().map(|e| {
        fatal(format!("no seccomp filter can be set: {e}; the kernel needs CONFIG_SECCOMP_FILTER"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_can_run_tasks() {
        let root = std::env::temp_dir().join(format!("neargate-preflight-{}", std::process::id()));
        let findings = preflight(&root);
        fs::remove_dir(&root).expect("nothing is left in the folder");
        assert!(findings.iter().all(|f| f.severity != Severity::Fatal), "{findings:#?}");
    }

    #[test]
    fn a_folder_that_cannot_carry_containers_is_found() {
        let findings = overlay(Path::new("/proc/neargate"));
        assert_eq!(findings.len(), 1);
        assert!(findings[0].text.contains("/proc/neargate"), "{}", findings[0]);
    }
}
