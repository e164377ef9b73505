//! nftables by netlink: tables of a few rules, replaced as a whole and atomically. Ten times faster
//! than asking the nft command, which need not be installed.

use super::netlink::{self, ACK, Batch, CREATE};
use crate::spec::Cidr;
use crate::sys::socket;
use std::io;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const GET_CHAIN: u16 = SUBSYSTEM << 8 | 4;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const APPEND: u16 = 0x800;
const IPV4: u8 = 2;
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
const META_INPUT_NAME: u32 = 6;
const META_OUTPUT_NAME: u32 = 7;
const CONNECTION_STATE: u32 = 0;
/// Established, related.
const STATE_KNOWN: u32 = 2 | 4;
const DROP_POLICY: u32 = 0;
const FORWARD_HOOK: u32 = 2;
const NETWORK_HEADER: u32 = 1;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
/// Bytes of an interface's name with its zeros.
const NAME_BYTES: usize = 16;

#[derive(Clone, Copy)]
pub enum Hook {
    Input,
    Forward,
    /// Where source addresses are rewritten.
    Postrouting,
}

impl Hook {
    /// Name and type of the chain, number and priority of the hook.
    fn chain(self) -> (&'static str, &'static str, u32, u32) {
        match self {
            Self::Input => ("input", "filter", 1, 0),
            Self::Forward => ("forward", "filter", FORWARD_HOOK, 0),
            Self::Postrouting => ("postrouting", "nat", 4, 100),
        }
    }
}

/// What a rule looks at.
pub enum Match {
    /// The interface a packet came in by; a name ending in `*` stands for all that begin so.
    InputName(String),
    OutputName(String),
    NotOutputName(String),
    Source(Cidr),
    Destination(Cidr),
    /// Part of, or related to, a connection that was allowed.
    KnownConnection,
}

#[derive(Clone, Copy)]
pub enum Action {
    Accept,
    Drop,
    Masquerade,
}

pub struct Rule {
    pub hook: Hook,
    pub matches: Vec<Match>,
    pub action: Action,
}

/// `struct nfgenmsg`; `resource` is in network order.
fn head(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// Makes the table in this thread's network namespace what `rules` say, all or nothing.
pub fn replace_table(table: &str, rules: &[Rule]) -> io::Result<()> {
    let mut batch = Batch::default();
    batch.message(BATCH_BEGIN, 0, &head(0, SUBSYSTEM));
    // Made first so that it can be deleted.
    for (kind, flags) in [(NEW_TABLE, CREATE), (DELETE_TABLE, 0), (NEW_TABLE, CREATE)] {
        batch.message(kind, flags | ACK, &head(IPV4, 0)).text(1, table);
    }
    for hook in [Hook::Input, Hook::Forward, Hook::Postrouting] {
        let (name, kind, number, priority) = hook.chain();
        batch
            .message(NEW_CHAIN, CREATE | ACK, &head(IPV4, 0))
            .text(1, table)
            .text(3, name)
            .nested(4, |b| {
                b.number_be(1, number).number_be(2, priority);
            })
            .text(7, kind);
    }
    for rule in rules {
        batch
            .message(NEW_RULE, CREATE | APPEND | ACK, &head(IPV4, 0))
            .text(1, table)
            .text(2, rule.hook.chain().0)
            .nested(4, |b| {
                rule.matches.iter().for_each(|m| add_match(b, m));
                add_action(b, rule.action);
            });
    }
    batch.message(BATCH_END, 0, &head(0, SUBSYSTEM));
    batch.exchange(&socket::netlink(libc::NETLINK_NETFILTER)?)
}

/// Names of the IPv4 tables of this thread's network namespace.
pub fn tables() -> io::Result<Vec<String>> {
    let socket = socket::netlink(libc::NETLINK_NETFILTER)?;
    let found = netlink::dump(&socket, GET_TABLE, &head(IPV4, 0))?;
    let name = |attributes: Vec<(u16, Vec<u8>)>| {
        let (_, name) = attributes.into_iter().find(|(kind, _)| *kind == 1)?;
        Some(String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned())
    };
    Ok(found.into_iter().filter_map(name).collect())
}

/// IPv4 tables of this thread's network namespace that drop forwarded packets unless a rule of
/// theirs says otherwise. No rule in another table can let those packets pass.
pub fn tables_that_drop_forwarded() -> io::Result<Vec<String>> {
    let socket = socket::netlink(libc::NETLINK_NETFILTER)?;
    let found = netlink::dump(&socket, GET_CHAIN, &head(IPV4, 0))?;
    let name = |attributes: Vec<(u16, Vec<u8>)>| {
        let of = |kind: u16| {
            let (_, value) = attributes.iter().find(|(k, _)| *k == kind)?;
            Some(value.as_slice())
        };
        // The hook's number is the first attribute inside.
        let hook = of(4)?.get(4..8)?;
        let drops = of(5)? == DROP_POLICY.to_be_bytes() && hook == FORWARD_HOOK.to_be_bytes();
        let table = String::from_utf8_lossy(of(1)?).trim_end_matches('\0').to_owned();
        drops.then_some(table)
    };
    Ok(found.into_iter().filter_map(name).collect())
}

/// Tries every expression that rules of ours use, in a namespace that is thrown away.
pub fn probe() -> io::Result<()> {
    let everything = [
        (Hook::Input, Match::InputName("a*".to_owned()), Action::Accept),
        (Hook::Forward, Match::KnownConnection, Action::Drop),
        (Hook::Forward, Match::OutputName("a".to_owned()), Action::Drop),
        (Hook::Postrouting, Match::NotOutputName("a".to_owned()), Action::Masquerade),
    ];
    let rule = |(hook, one, action)| Rule { hook, matches: vec![one], action };
    replace_table("neargate-probe", &everything.map(rule))
}

/// No failure when it isn't there.
pub fn delete_table(table: &str) -> io::Result<()> {
    let mut batch = Batch::default();
    batch.message(BATCH_BEGIN, 0, &head(0, SUBSYSTEM));
    for (kind, flags) in [(NEW_TABLE, CREATE), (DELETE_TABLE, 0)] {
        batch.message(kind, flags | ACK, &head(IPV4, 0)).text(1, table);
    }
    batch.message(BATCH_END, 0, &head(0, SUBSYSTEM));
    batch.exchange(&socket::netlink(libc::NETLINK_NETFILTER)?)
}

fn expression(b: &mut Batch, name: &str, data: impl FnOnce(&mut Batch)) {
    b.nested(1, |b| {
        b.text(1, name).nested(2, data);
    });
}

fn compare(b: &mut Batch, operation: u32, value: &[u8]) {
    expression(b, "cmp", |b| {
        b.number_be(1, REGISTER).number_be(2, operation).nested(3, |b| {
            b.attribute(1, value);
        });
    });
}

fn mask(b: &mut Batch, bits: [u8; 4]) {
    expression(b, "bitwise", |b| {
        b.number_be(1, REGISTER).number_be(2, REGISTER).number_be(3, 4);
        b.nested(4, |b| {
            b.attribute(1, &bits);
        });
        b.nested(5, |b| {
            b.attribute(1, &[0; 4]);
        });
    });
}

fn name_match(b: &mut Batch, key: u32, operation: u32, name: &str) {
    expression(b, "meta", |b| {
        b.number_be(1, REGISTER).number_be(2, key);
    });
    match name.strip_suffix('*') {
        Some(beginning) => compare(b, operation, beginning.as_bytes()),
        None => {
            let mut bytes = [0; NAME_BYTES];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            compare(b, operation, &bytes);
        }
    }
}

fn address_match(b: &mut Batch, offset: u32, range: Cidr) {
    expression(b, "payload", |b| {
        b.number_be(1, REGISTER).number_be(2, NETWORK_HEADER);
        b.number_be(3, offset).number_be(4, 4);
    });
    mask(b, range.mask().to_be_bytes());
    compare(b, EQUAL, &range.address.octets());
}

fn add_match(b: &mut Batch, one: &Match) {
    match one {
        Match::InputName(name) => name_match(b, META_INPUT_NAME, EQUAL, name),
        Match::OutputName(name) => name_match(b, META_OUTPUT_NAME, EQUAL, name),
        Match::NotOutputName(name) => name_match(b, META_OUTPUT_NAME, NOT_EQUAL, name),
        Match::Source(range) => address_match(b, 12, *range),
        Match::Destination(range) => address_match(b, 16, *range),
        Match::KnownConnection => {
            expression(b, "ct", |b| {
                b.number_be(1, REGISTER).number_be(2, CONNECTION_STATE);
            });
            mask(b, STATE_KNOWN.to_ne_bytes());
            compare(b, NOT_EQUAL, &[0; 4]);
        }
    }
}

fn add_action(b: &mut Batch, action: Action) {
    let verdict = match action {
        Action::Masquerade => return expression(b, "masq", |_| {}),
        Action::Accept => 1,
        Action::Drop => 0,
    };
    expression(b, "immediate", |b| {
        b.number_be(1, VERDICT_REGISTER).nested(2, |b| {
            b.nested(2, |b| {
                b.number_be(1, verdict);
            });
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a namespace of its own, which ends with the thread.
    #[test]
    fn a_table_that_drops_what_is_forwarded_is_found() {
        let found = std::thread::spawn(|| {
            crate::sys::process::unshare(libc::CLONE_NEWNET)?;
            replace_table("harmless", &[])?;
            let before = tables_that_drop_forwarded()?;
            let mut batch = Batch::default();
            batch.message(BATCH_BEGIN, 0, &head(0, SUBSYSTEM));
            batch.message(NEW_TABLE, CREATE | ACK, &head(IPV4, 0)).text(1, "filter");
            batch
                .message(NEW_CHAIN, CREATE | ACK, &head(IPV4, 0))
                .text(1, "filter")
                .text(3, "FORWARD")
                .nested(4, |b| {
                    b.number_be(1, FORWARD_HOOK).number_be(2, 0);
                })
                .number_be(5, DROP_POLICY)
                .text(7, "filter");
            batch.message(BATCH_END, 0, &head(0, SUBSYSTEM));
            batch.exchange(&socket::netlink(libc::NETLINK_NETFILTER)?)?;
            let after = tables_that_drop_forwarded()?;
            Ok::<_, io::Error>((before, after, tables()?))
        });
        let (before, after, tables) = found.join().expect("ran").expect("root can do this");
        assert_eq!(before, [] as [String; 0]);
        assert_eq!(after, ["filter"]);
        assert_eq!(tables, ["harmless", "filter"]);
    }
}
