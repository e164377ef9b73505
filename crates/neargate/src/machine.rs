//! What this machine is: what an agent says of it. Read from the kernel once, at start.

use anyhow::{Context, Result};
use runtime::DnsSpec;
use std::fs;
use std::net::IpAddr;

/// CPU units of one core.
const CPU_UNITS_PER_CORE: u32 = 1024;
/// Nameservers that a resolver asks at most. Source: resolv.conf(5), MAXNS.
const NAMESERVERS_MAX: usize = 3;

pub struct Machine {
    pub name: String,
    /// ECS's name, as in `X86_64`.
    pub cpu_architecture: &'static str,
    pub cpu_units: u32,
    pub memory_mib: u32,
    pub boot_id: String,
    pub dns: DnsSpec,
}

impl Machine {
    pub fn read() -> Result<Self> {
        let line = |path: &str| {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
            anyhow::Ok(text.trim().to_owned())
        };
        let cores = std::thread::available_parallelism().context("cannot count the CPUs")?;
        let cores = u32::try_from(cores.get()).context("more CPUs than can be counted")?;
        let meminfo = line("/proc/meminfo")?;
        Ok(Self {
            name: line("/proc/sys/kernel/hostname")?,
            cpu_architecture: if cfg!(target_arch = "aarch64") { "ARM64" } else { "X86_64" },
            cpu_units: cores.saturating_mul(CPU_UNITS_PER_CORE),
            memory_mib: memory_mib(&meminfo).context("/proc/meminfo names no MemTotal")?,
            boot_id: line("/proc/sys/kernel/random/boot_id")?,
            // A machine without the file resolves nothing, and neither do its tasks.
            dns: dns(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default()),
        })
    }
}

fn memory_mib(meminfo: &str) -> Option<u32> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    u32::try_from(kib / 1024).ok()
}

/// What tasks get as resolv.conf: the machine's own, but for nameservers on its loopback, which a
/// task can't reach.
fn dns(resolv_conf: &str) -> DnsSpec {
    let mut spec = DnsSpec::default();
    for line in resolv_conf.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => {
                let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                let reachable = address.filter(|a| !a.is_loopback() && a.is_ipv4());
                if let Some(address) = reachable
                    && spec.nameservers.len() < NAMESERVERS_MAX
                {
                    spec.nameservers.push(address);
                }
            }
            Some("search") => spec.search = words.map(str::to_owned).collect(),
            Some("options") => spec.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tasks_resolver_leaves_out_what_it_cannot_reach() {
        let spec = dns("# made by hand\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch a b\n");
        assert_eq!(spec.nameservers, [IpAddr::from([10, 0, 0, 2])]);
        assert_eq!(spec.search, ["a", "b"]);
    }

    #[test]
    fn memory_is_read_in_mebibytes() {
        assert_eq!(memory_mib("MemTotal:       2048000 kB\nMemFree: 1 kB"), Some(2000));
        assert_eq!(memory_mib("MemFree: 1 kB"), None);
    }
}
