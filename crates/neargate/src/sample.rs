//! What the demo's container runs: it says where it finds itself, slowly enough that its log can be
//! followed.

use std::fs;
use std::io::Write;
use std::time::Duration;

const PAUSE_MS: u64 = 150;

pub fn run() -> anyhow::Result<()> {
    let greeting = std::env::var("GREETING").unwrap_or_else(|_| "Hello".to_owned());
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    say(&greeting)?;
    say(&format!("I am process {} on host {}", std::process::id(), read("/etc/hostname")))?;
    say(&format!("my addresses: {}", addresses(&read("/proc/net/fib_trie")).join(", ")))?;
    let status = read("/proc/self/status");
    let facts = ["CapEff", "Seccomp", "NoNewPrivs"].map(|name| {
        let line = status.lines().find(|line| line.starts_with(&format!("{name}:")));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    });
    say(&format!("my limits of power: {}", facts.join(", ")))?;
    say("and now I end, with exit code 0")
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    out.flush()?;
    std::thread::sleep(Duration::from_millis(PAUSE_MS));
    Ok(())
}

/// The addresses of this network namespace but loopback's, out of the kernel's routing trie.
fn addresses(trie: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut last = "";
    for line in trie.lines() {
        if line.contains("/32 host LOCAL") && !last.starts_with("127.") {
            found.push(last.to_owned());
        }
        if let Some((_, address)) = line.split_once("-- ") {
            last = address.trim();
        }
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_addresses_are_told() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        \
                    /32 host LOCAL\n     |-- 172.31.0.4\n        /32 host LOCAL\n     \
                    |-- 172.31.0.1\n        /20 link\n";
        assert_eq!(addresses(trie), ["172.31.0.4"]);
    }
}
