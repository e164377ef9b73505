//! Resource limits (`ulimits`) of a container's processes. One above what this machine allows is
//! clamped and told; nothing is silently different.

use super::StartFailure;
use crate::limits::NOFILE_DEFAULT;
use crate::spec::Ulimit;
use crate::sys::process;

fn number(name: &str) -> Option<u32> {
    Some(match name {
        "core" => libc::RLIMIT_CORE,
        "cpu" => libc::RLIMIT_CPU,
        "data" => libc::RLIMIT_DATA,
        "fsize" => libc::RLIMIT_FSIZE,
        "locks" => libc::RLIMIT_LOCKS,
        "memlock" => libc::RLIMIT_MEMLOCK,
        "msgqueue" => libc::RLIMIT_MSGQUEUE,
        "nice" => libc::RLIMIT_NICE,
        "nofile" => libc::RLIMIT_NOFILE,
        "nproc" => libc::RLIMIT_NPROC,
        "rss" => libc::RLIMIT_RSS,
        "rtprio" => libc::RLIMIT_RTPRIO,
        "rttime" => libc::RLIMIT_RTTIME,
        "sigpending" => libc::RLIMIT_SIGPENDING,
        "stack" => libc::RLIMIT_STACK,
        _ => return None,
    })
}

/// Sets the limits, `nofile` to its default when it isn't named. Returns what had to be clamped.
pub fn apply(ulimits: &[Ulimit]) -> Result<Vec<String>, StartFailure> {
    let mut warnings = Vec::new();
    if !ulimits.iter().any(|u| u.name == "nofile") {
        // What a task didn't ask for needs no warning when the machine allows less.
        set(libc::RLIMIT_NOFILE, NOFILE_DEFAULT, NOFILE_DEFAULT)?;
    }
    for ulimit in ulimits {
        let unknown = || StartFailure::new(format!("unknown ulimit {}", ulimit.name));
        let resource = number(&ulimit.name).ok_or_else(unknown)?;
        // -1 is "unlimited", which is how the kernel writes it too.
        let (soft, hard) = (ulimit.soft as u64, ulimit.hard as u64);
        if let Some(allowed) = set(resource, soft, hard)? {
            warnings.push(format!(
                "ulimit {} of {}:{} is above this machine's limit and was set to {allowed}",
                ulimit.name, ulimit.soft, ulimit.hard
            ));
        }
    }
    Ok(warnings)
}

/// Returns the hard limit when it was lower than asked for and could not be raised.
fn set(resource: u32, soft: u64, hard: u64) -> Result<Option<u64>, StartFailure> {
    let at = StartFailure::at("setting a ulimit");
    match process::set_limit(resource, soft.min(hard), hard) {
        Ok(()) => Ok(None),
        Err(e) if e.raw_os_error() == Some(libc::EPERM) => {
            let (_, allowed) = process::limit(resource).map_err(&at)?;
            process::set_limit(resource, soft.min(allowed), allowed).map_err(&at)?;
            Ok(Some(allowed))
        }
        Err(e) => Err(at(e)),
    }
}
