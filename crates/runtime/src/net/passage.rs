//! Other firewalls of this machine. A table that drops what is forwarded unless a rule of its own
//! says otherwise, as Docker makes one, stops tasks from getting out, and no rule of ours elsewhere
//! can change that. So two rules of ours stand at the head of such a chain: what comes from our
//! uplinks and what goes to them passes there; our own table decides about it. They are put back
//! whenever the machine's rules change, as Docker may come after us, and start again.
//!
//! The older kind of tables (iptables-legacy) can't be seen from here; `preflight` says what to do.

use super::netlink;
use super::nft::{self, Action, Match, Rule};
use crate::sys::socket;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The multicast group of everything that happens to nftables.
const CHANGES_GROUP: u32 = 7;
/// Firewalls change in bursts; they are looked at when one is over.
const BURST: Duration = Duration::from_millis(200);

/// Lets packets of the uplinks pass in every chain that would drop them. Returns the tables that
/// were changed.
pub fn open(uplinks: &str, own_table: &str) -> io::Result<Vec<String>> {
    let netlink = socket::netlink(libc::NETLINK_NETFILTER)?;
    let mut changed = Vec::new();
    for chain in nft::chains_that_drop_forwarded(&netlink)? {
        if chain.table == own_table || !ours(&netlink, &chain, uplinks)?.is_empty() {
            continue;
        }
        let rule = |one| Rule { matches: vec![one], action: Action::Accept };
        let name = uplinks.to_owned();
        let rules = [rule(Match::InputName(name.clone())), rule(Match::OutputName(name))];
        nft::insert_rules(&netlink, &chain, &rules)?;
        changed.push(chain.table);
    }
    Ok(changed)
}

/// Takes our rules out of others' chains.
pub fn close(uplinks: &str) -> io::Result<()> {
    let netlink = socket::netlink(libc::NETLINK_NETFILTER)?;
    for chain in nft::chains_that_drop_forwarded(&netlink)? {
        for handle in ours(&netlink, &chain, uplinks)? {
            nft::delete_rule(&netlink, &chain, handle)?;
        }
    }
    Ok(())
}

/// Rules that name our uplinks.
fn ours(netlink: &OwnedFd, chain: &nft::ChainName, uplinks: &str) -> io::Result<Vec<u64>> {
    let name = uplinks.trim_end_matches('*').as_bytes();
    let rules = nft::rules_of(netlink, chain)?;
    let names = |rule: &netlink::Answer| {
        let expressions = rule.get(nft::RULE_EXPRESSIONS)?;
        expressions.windows(name.len()).any(|part| part == name).then_some(())?;
        rule.get(nft::RULE_HANDLE)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    };
    Ok(rules.iter().filter_map(names).collect())
}

/// Keeps the way open, for ever.
pub async fn keep_open(uplinks: String, own_table: String) -> io::Result<()> {
    let changes = socket::netlink(libc::NETLINK_NETFILTER)?;
    socket::join(&changes, CHANGES_GROUP)?;
    socket::set_nonblocking(&changes)?;
    let changes = socket::watched(changes)?;
    loop {
        let (uplinks, own_table) = (uplinks.clone(), own_table.clone());
        let opened = tokio::task::spawn_blocking(move || open(&uplinks, &own_table)).await;
        match opened.expect("work of ours doesn't panic") {
            Ok(tables) => {
                for table in tables {
                    tracing::info!(table, "a firewall that drops what tasks send lets it pass now");
                }
            }
            Err(e) => tracing::warn!("another firewall could not be asked to let tasks pass: {e}"),
        }
        let mut ready = changes.readable().await?;
        tokio::time::sleep(BURST).await;
        // Nothing of what is told matters but that something was.
        while ready.try_io(|fd| socket::skip(fd.get_ref())).is_ok() {}
    }
}
