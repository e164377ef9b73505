//! Who a container's program is: `user` of a task definition or an image, looked up in the image's
//! own user database; and what it may do: capabilities by name.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::limits::USER_FILE_BYTES_MAX;
use crate::sys::mount::{Follow, open_below};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    pub home: String,
}

/// Docker's default capabilities, which Fargate's are.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// All capabilities, each at the place of its number.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

fn bit(name: &str) -> Result<u64, String> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let at = CAPABILITIES.iter().position(|c| *c == short);
    at.map(|at| 1 << at).ok_or_else(|| format!("unknown capability {name}"))
}

/// The capabilities of a container, as bits by number. Only SYS_PTRACE may be added.
pub fn capabilities(add: &[String], drop: &[String]) -> Result<u64, String> {
    let mut mask = 0;
    for name in DEFAULT_CAPABILITIES {
        mask |= bit(name)?;
    }
    for name in drop {
        mask &= if name.eq_ignore_ascii_case("all") { 0 } else { !bit(name)? };
    }
    for name in add {
        let wanted = bit(name)?;
        if wanted != bit("SYS_PTRACE")? {
            return Err(format!("capability {name} can't be added to a container"));
        }
        mask |= wanted;
    }
    Ok(mask)
}

/// Every capability that some container may have.
pub fn possible() -> u64 {
    capabilities(&["SYS_PTRACE".to_owned()], &[]).expect("these names are known")
}

/// The numbers of the bits that are set.
pub fn numbers(mask: u64) -> impl Iterator<Item = u8> {
    (0..64).filter(move |n| mask & (1 << n) != 0)
}

/// Takes the capability to make device nodes away.
pub fn without_mknod(capabilities: u64) -> u64 {
    capabilities & !bit("MKNOD").expect("MKNOD is in the list")
}

/// Reads `user` with the user database of this process's root.
pub fn resolve(user: Option<&str>) -> Result<Identity, String> {
    let read = |path: &str| read_database(path).unwrap_or_default();
    resolve_in(user.unwrap_or(""), &read("etc/passwd"), &read("etc/group"))
}

/// The text of a regular file; an image may have anything else in its place.
fn read_database(path: &str) -> std::io::Result<String> {
    let root = File::open("/")?;
    let flags = libc::O_RDONLY | libc::O_NONBLOCK;
    let file = File::from(open_below(root.as_fd(), Path::new(path), flags, Follow::InRoot)?);
    let mut bytes = Vec::new();
    if file.metadata()?.mode() & libc::S_IFMT == libc::S_IFREG {
        file.take(USER_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn resolve_in(user: &str, passwd: &str, group: &str) -> Result<Identity, String> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|g| !g.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let fields = |text: &str| -> Vec<Vec<String>> {
        let split = |line: &str| line.split(':').map(str::to_owned).collect();
        text.lines().map(split).collect()
    };
    let number: Option<u32> = user.parse().ok().filter(|n| *n <= i32::MAX as u32);
    let passwd = fields(passwd);
    // A name wins over a number, as with Docker: a user may be called 1000.
    let by_name = passwd.iter().find(|f| f.first().is_some_and(|n| n == user));
    let by_number = || {
        let number = number?;
        passwd.iter().find(|f| f.get(2).and_then(|n| n.parse().ok()) == Some(number))
    };
    let entry = by_name.or_else(by_number);
    let parsed = |at: usize| entry.and_then(|e| e.get(at)?.parse::<u32>().ok());
    let uid = match (parsed(2), number) {
        (Some(uid), _) | (None, Some(uid)) => uid,
        (None, None) => {
            let text = format!("unable to find user {user}: no matching entries in passwd file");
            return Err(text);
        }
    };
    let home = entry.and_then(|e| e.get(5)).filter(|h| !h.is_empty());
    let home = home.cloned().unwrap_or_else(|| "/".to_owned());
    let name = entry.and_then(|e| e.first()).cloned().unwrap_or_default();
    let database = fields(group);
    let gid_of = |f: &[String]| f.get(2).and_then(|n| n.parse::<u32>().ok());
    if let Some(wanted) = wanted_group {
        let by_name = database.iter().find(|f| f.first().is_some_and(|n| n == wanted));
        let by_number = || wanted.parse().ok().filter(|n| *n <= i32::MAX as u32);
        let gid = by_name.and_then(|f| gid_of(f)).or_else(by_number).ok_or_else(|| {
            format!("unable to find group {wanted}: no matching entries in group file")
        })?;
        return Ok(Identity { uid, gid, groups: vec![gid], home });
    }
    let gid = parsed(3).unwrap_or(0);
    let member = |f: &&Vec<String>| {
        !name.is_empty() && f.get(3).is_some_and(|m| m.split(',').any(|m| m == name))
    };
    let mut groups: Vec<u32> = database.iter().filter(member).filter_map(|f| gid_of(f)).collect();
    if !groups.contains(&gid) {
        groups.insert(0, gid);
    }
    Ok(Identity { uid, gid, groups, home })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nweb:x:33:\nlogs:x:4:web,other\n";

    fn who(user: &str) -> Result<Identity, String> {
        resolve_in(user, PASSWD, GROUP)
    }

    #[test]
    fn users_are_found_as_docker_finds_them() {
        let web = who("web").expect("known");
        assert_eq!((web.uid, web.gid, web.home.as_str()), (33, 33, "/var/www"));
        assert_eq!(web.groups, [33, 4]);
        assert_eq!(who("33").expect("known"), web);
        let grouped = who("web:logs").expect("known");
        assert_eq!((grouped.uid, grouped.gid, grouped.groups), (33, 4, vec![4]));
        let bare = who("1234:567").expect("numbers need no entry");
        assert_eq!((bare.uid, bare.gid, bare.home.as_str()), (1234, 567, "/"));
        assert_eq!(who("1234").expect("a number").gid, 0);
        assert_eq!(who("").expect("root").home, "/root");
        assert!(who("nobody-here").expect_err("unknown").contains("nobody-here"));
        assert!(who("web:nogroup").is_err());
        assert!(who("4294967295").is_err(), "-1 would mean: leave as it is");
    }

    #[test]
    fn capabilities_can_only_shrink_but_for_ptrace() {
        let names = |n: &[&str]| n.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let all = capabilities(&[], &[]).expect("defaults");
        assert_eq!(all, 0xa804_25fb);
        assert_eq!(capabilities(&[], &names(&["ALL"])), Ok(0));
        assert_eq!(capabilities(&names(&["SYS_PTRACE"]), &names(&["all"])), Ok(1 << 19));
        assert!(capabilities(&names(&["SYS_ADMIN"]), &[]).is_err());
        assert!(capabilities(&[], &names(&["NOPE"])).is_err());
        assert_eq!(without_mknod(all), all & !(1 << 27));
    }
}
