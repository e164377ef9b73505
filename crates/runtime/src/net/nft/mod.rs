//! nftables by netlink: a table is data, and a change is what differs between two tables, sent as
//! one transaction that happens whole or not at all. Connections that are allowed go on meanwhile,
//! as what is kept is not touched. Ten times faster than asking the nft command, which need not be
//! installed.

mod encode;

use super::netlink::{self, ACK, Batch, CREATE};
use crate::spec::Cidr;
use crate::sys::socket;
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const GET_TABLE: u16 = SUBSYSTEM << 8 | 1;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const GET_CHAIN: u16 = SUBSYSTEM << 8 | 4;
const DELETE_CHAIN: u16 = SUBSYSTEM << 8 | 5;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;
const GET_RULE: u16 = SUBSYSTEM << 8 | 7;
const DELETE_RULE: u16 = SUBSYSTEM << 8 | 8;
const NEW_SET: u16 = SUBSYSTEM << 8 | 9;
const DELETE_SET: u16 = SUBSYSTEM << 8 | 11;
const NEW_ELEMENT: u16 = SUBSYSTEM << 8 | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM << 8 | 14;
const APPEND: u16 = 0x800;
const IPV4: u8 = 2;
const DROP_POLICY: u32 = 0;
const FORWARD_HOOK: u32 = 2;
const DELETE_CONNECTION: u16 = 1 << 8 | 2;
const CONNECTION_ORIGINAL: u16 = 1;
const CONNECTION_FILTER: u16 = 25;
/// Elements in one message: an attribute has at most 65,535 bytes.
const ELEMENTS_PER_MESSAGE: usize = 256;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hook {
    /// Before destination addresses are rewritten.
    Arrival,
    /// Where destination addresses are rewritten.
    Prerouting,
    Input,
    Forward,
    Output,
    /// Where source addresses are rewritten.
    Postrouting,
}

/// What a rule looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Match {
    /// The interface a packet came in by; a name ending in `*` stands for all that begin so.
    InputName(String),
    NotInputName(String),
    OutputName(String),
    NotOutputName(String),
    Source(Cidr),
    NotSource(Cidr),
    Destination(Cidr),
    NotDestination(Cidr),
    /// Of a set, or a key of a map.
    SourceIn(String),
    DestinationIn(String),
    /// The number of a VXLAN packet's network; to be asked behind protocol and port.
    NetworkIn(String),
    /// That number and the source address, together.
    PeerNotIn(String),
    /// Destination address, protocol and port.
    ServiceIn(String),
    Protocol(u8),
    /// Destination ports of TCP, UDP and their like; to be asked behind `Protocol`.
    Ports {
        first: u16,
        last: u16,
    },
    IcmpType(u8),
    IcmpCode(u8),
    /// Part of, or related to, a connection that was allowed.
    KnownConnection,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    Accept,
    Drop,
    /// Back to the chain that jumped here.
    Return,
    Jump(String),
    /// To where a map says; goes on when the map says nothing.
    JumpBySource(String),
    JumpByDestination(String),
    Masquerade,
    SourceNat(Ipv4Addr),
    /// To what a map says; goes on when the map says nothing.
    SourceNatBySource(String),
    DestinationNatByDestination(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    pub matches: Vec<Match>,
    pub action: Action,
}

/// Rules in their order; at a hook, or to be jumped to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Chain {
    /// With its priority: lower comes first.
    pub hook: Option<(Hook, i32)>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetKind {
    Addresses,
    /// Address, protocol, port.
    Services,
    /// Numbers of VXLAN's networks.
    Networks,
    /// Such a number and an address.
    Peers,
    /// From addresses to chains.
    Jumps,
    /// From addresses to addresses.
    Translations,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    Address(Ipv4Addr),
    Jump(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Set {
    pub kind: SetKind,
    pub elements: BTreeMap<Vec<u8>, Option<Value>>,
}

/// One element, and which set it is of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    pub set: String,
    pub key: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Table {
    pub chains: BTreeMap<String, Chain>,
    pub sets: BTreeMap<String, Set>,
}

/// The key of an element of `SetKind::Services`.
pub fn service_key(address: Ipv4Addr, protocol: u8, port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    [&address.octets()[..], &[protocol, 0, 0, 0], &[high, low, 0, 0]].concat()
}

/// The key of an element of `SetKind::Networks`.
pub fn network_key(number: u32) -> Vec<u8> {
    number.to_be_bytes()[1..].to_vec()
}

/// The key of an element of `SetKind::Peers`.
pub fn peer_key(number: u32, source: Ipv4Addr) -> Vec<u8> {
    [&network_key(number)[..], &[0], &source.octets()].concat()
}

impl Table {
    pub fn add_set(&mut self, name: impl Into<String>, kind: SetKind) {
        let set = Set { kind, elements: BTreeMap::new() };
        self.sets.entry(name.into()).or_insert(set);
    }

    /// The element in a set that is there; nothing happens when it isn't.
    pub fn put(&mut self, place: Place, value: Option<Value>) {
        if let Some(set) = self.sets.get_mut(&place.set) {
            set.elements.insert(place.key, value);
        }
    }

    pub fn take(&mut self, place: &Place) {
        if let Some(set) = self.sets.get_mut(&place.set) {
            set.elements.remove(&place.key);
        }
    }

    fn get(&self, place: &Place) -> Option<&Option<Value>> {
        self.sets.get(&place.set)?.elements.get(&place.key)
    }
}

/// `struct nfgenmsg`; `resource` is in network order.
fn head(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// Changes of one table that happen together.
pub struct Transaction<'a> {
    table: &'a str,
    batch: Batch,
    messages: usize,
}

impl<'a> Transaction<'a> {
    pub fn new(table: &'a str) -> Self {
        let mut batch = Batch::default();
        batch.message(BATCH_BEGIN, 0, &head(0, SUBSYSTEM));
        Self { table, batch, messages: 0 }
    }

    fn message(&mut self, kind: u16, flags: u16) -> &mut Batch {
        self.messages += 1;
        self.batch.message(kind, flags, &head(IPV4, 0)).text(1, self.table)
    }

    /// The table is there, with nothing in it.
    fn begin_anew(&mut self) {
        // Made first so that it can be deleted.
        for (kind, flags) in [(NEW_TABLE, CREATE), (DELETE_TABLE, 0), (NEW_TABLE, CREATE)] {
            self.message(kind, flags);
        }
    }

    fn delete_table(&mut self) {
        self.message(NEW_TABLE, CREATE);
        self.message(DELETE_TABLE, 0);
    }

    pub fn chain(&mut self, name: &str, chain: &Chain) {
        encode::chain(self.message(NEW_CHAIN, CREATE).text(3, name), chain);
    }

    pub fn rules(&mut self, chain: &str, rules: &[Rule]) {
        for rule in rules {
            encode::rule(self.message(NEW_RULE, CREATE | APPEND).text(2, chain), rule);
        }
    }

    pub fn elements<'e>(
        &mut self,
        new: bool,
        set: &str,
        elements: impl Iterator<Item = (&'e Vec<u8>, &'e Option<Value>)>,
    ) {
        let (kind, flags) = if new { (NEW_ELEMENT, CREATE) } else { (DELETE_ELEMENT, 0) };
        let mut elements = elements.peekable();
        while elements.peek().is_some() {
            self.message(kind, flags).text(2, set).nested(3, |b| {
                for (key, value) in elements.by_ref().take(ELEMENTS_PER_MESSAGE) {
                    encode::element(b, key, value.as_ref().filter(|_| new));
                }
            });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    pub fn commit(mut self, netlink: &OwnedFd) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        // The last one's word is enough: refusals are told in any case, and a word for each would
        // not fit the socket's buffer. A listing of no chain's rules to delete is no change.
        self.batch.ask_last();
        self.batch.message(BATCH_END, 0, &head(0, SUBSYSTEM));
        self.batch.exchange(netlink)
    }

    /// Everything that differs. What `old` lacks is made before it is needed, what `new` lacks goes
    /// when nothing refers to it any more.
    pub fn difference(&mut self, old: &Table, new: &Table) {
        let kept =
            |name: &String, set: &Set| old.sets.get(name).is_some_and(|o| o.kind == set.kind);
        for (number, (name, set)) in (1..).zip(&new.sets) {
            if !kept(name, set) {
                encode::set(self.message(NEW_SET, CREATE).text(2, name), set.kind, number);
            }
        }
        for (name, chain) in &new.chains {
            if !old.chains.contains_key(name) {
                self.chain(name, chain);
            }
        }
        for (name, chain) in &new.chains {
            let before = old.chains.get(name);
            if before == Some(chain) {
                continue;
            }
            if before.is_some_and(|before| !before.rules.is_empty()) {
                self.message(DELETE_RULE, 0).text(2, name);
            }
            self.rules(name, &chain.rules);
        }
        for (name, chain) in old.chains.iter().filter(|(name, _)| !new.chains.contains_key(*name)) {
            if !chain.rules.is_empty() {
                self.message(DELETE_RULE, 0).text(2, name);
            }
        }
        self.differing_elements(old, new);
        for name in old.chains.keys().filter(|name| !new.chains.contains_key(*name)) {
            self.message(DELETE_CHAIN, 0).text(3, name);
        }
        for name in old.sets.keys().filter(|name| !new.sets.contains_key(*name)) {
            self.message(DELETE_SET, 0).text(2, name);
        }
    }

    fn differing_elements(&mut self, old: &Table, new: &Table) {
        let differs = |in_one: &BTreeMap<Vec<u8>, Option<Value>>, key: &Vec<u8>, value| {
            in_one.get(key) != Some(value)
        };
        for (name, before) in &old.sets {
            // A set that goes takes its elements along.
            let Some(after) = new.sets.get(name) else { continue };
            let gone = before.elements.iter().filter(|(k, v)| differs(&after.elements, k, v));
            self.elements(false, name, gone);
        }
        let nothing = BTreeMap::new();
        for (name, after) in &new.sets {
            let before = old.sets.get(name).map_or(&nothing, |set| &set.elements);
            let come = after.elements.iter().filter(|(k, v)| differs(before, k, v));
            self.elements(true, name, come);
        }
    }

    /// Some elements as `table` has them, after a change: (place, what it had before).
    pub fn changed(&mut self, table: &Table, before: &BTreeMap<Place, Option<Option<Value>>>) {
        for (place, had) in before {
            let has = table.get(place);
            if has == had.as_ref() {
                continue;
            }
            if let Some(had) = had {
                self.elements(false, &place.set, std::iter::once((&place.key, had)));
            }
            if let Some(has) = has {
                self.elements(true, &place.set, std::iter::once((&place.key, has)));
            }
        }
    }
}

/// What `Transaction::changed` needs to know of a place before it is written to.
pub fn remember(table: &Table, place: &Place, before: &mut BTreeMap<Place, Option<Option<Value>>>) {
    if !before.contains_key(place) && table.sets.contains_key(&place.set) {
        before.insert(place.clone(), table.get(place).cloned());
    }
}

/// Makes the table what `new` says, all or nothing. `old` is what it is now; None: whatever is
/// there is thrown away.
pub fn replace(netlink: &OwnedFd, name: &str, old: Option<&Table>, new: &Table) -> io::Result<()> {
    let mut transaction = Transaction::new(name);
    match old {
        Some(old) => transaction.difference(old, new),
        None => {
            transaction.begin_anew();
            transaction.difference(&Table::default(), new);
        }
    }
    transaction.commit(netlink)
}

/// No failure when it isn't there.
pub fn delete_table(name: &str) -> io::Result<()> {
    let mut transaction = Transaction::new(name);
    transaction.delete_table();
    transaction.commit(&socket::netlink(libc::NETLINK_NETFILTER)?)
}

/// Names of the IPv4 tables of this thread's network namespace.
pub fn tables() -> io::Result<Vec<String>> {
    let socket = socket::netlink(libc::NETLINK_NETFILTER)?;
    let found = netlink::dump(&socket, GET_TABLE, &head(IPV4, 0))?;
    Ok(found.iter().filter_map(|table| Some(text(table.get(1)?))).collect())
}

/// A chain, by its table's name and its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainName {
    pub table: String,
    pub chain: String,
}

/// Chains of IPv4 that drop forwarded packets unless a rule of theirs says otherwise. No rule in
/// another table can let those packets pass.
pub fn chains_that_drop_forwarded(netlink: &OwnedFd) -> io::Result<Vec<ChainName>> {
    let found = netlink::dump(netlink, GET_CHAIN, &head(IPV4, 0))?;
    let name = |chain: &netlink::Answer| {
        // The hook's number is the first attribute inside.
        let hook = chain.get(4)?.get(4..8)?;
        let drops = chain.get(5)? == DROP_POLICY.to_be_bytes();
        let name = ChainName { table: text(chain.get(1)?), chain: text(chain.get(3)?) };
        (drops && hook == FORWARD_HOOK.to_be_bytes()).then_some(name)
    };
    Ok(found.iter().filter_map(name).collect())
}

pub const RULE_HANDLE: u16 = 3;
pub const RULE_EXPRESSIONS: u16 = 4;

pub fn rules_of(netlink: &OwnedFd, chain: &ChainName) -> io::Result<Vec<netlink::Answer>> {
    let mut all = netlink::dump(netlink, GET_RULE, &head(IPV4, 0))?;
    let is = |rule: &netlink::Answer, kind, name: &str| {
        rule.get(kind).is_some_and(|bytes| text(bytes) == name)
    };
    all.retain(|rule| is(rule, 1, &chain.table) && is(rule, 2, &chain.chain));
    Ok(all)
}

/// At the head of somebody's chain.
pub fn insert_rules(netlink: &OwnedFd, chain: &ChainName, rules: &[Rule]) -> io::Result<()> {
    let mut transaction = Transaction::new(&chain.table);
    for rule in rules {
        encode::rule(transaction.message(NEW_RULE, CREATE).text(2, &chain.chain), rule);
    }
    transaction.commit(netlink)
}

pub fn delete_rule(netlink: &OwnedFd, chain: &ChainName, handle: u64) -> io::Result<()> {
    let mut transaction = Transaction::new(&chain.table);
    let message = transaction.message(DELETE_RULE, 0).text(2, &chain.chain);
    message.attribute(RULE_HANDLE, &handle.to_be_bytes());
    transaction.commit(netlink)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

/// Forgets every connection of the socket's network namespace that an address began or answers to.
pub fn forget_connections(netlink: &OwnedFd, address: Ipv4Addr) -> io::Result<()> {
    for (field, flag) in [(1, 1_u32), (2, 2)] {
        let mut batch = Batch::default();
        batch.message(DELETE_CONNECTION, ACK, &head(IPV4, 0));
        batch.nested(CONNECTION_ORIGINAL, |b| {
            b.nested(1, |b| {
                b.attribute(field, &address.octets());
            });
        });
        // Which parts of the above count.
        batch.nested(CONNECTION_FILTER, |b| {
            b.number(1, flag);
        });
        match batch.exchange(netlink) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does something in a network namespace of its own, which ends with the thread.
    fn apart<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> T {
        let done = std::thread::spawn(|| {
            crate::sys::process::unshare(libc::CLONE_NEWNET)?;
            work()
        });
        done.join().expect("ran").expect("root can do this")
    }

    #[test]
    fn a_table_that_drops_what_is_forwarded_is_found() {
        let (before, after, tables) = apart(|| {
            let socket = socket::netlink(libc::NETLINK_NETFILTER)?;
            replace(&socket, "harmless", None, &Table::default())?;
            let before = chains_that_drop_forwarded(&socket)?;
            let mut transaction = Transaction::new("filter");
            transaction.begin_anew();
            let chain = Chain { hook: Some((Hook::Forward, 0)), rules: Vec::new() };
            encode::chain(transaction.message(NEW_CHAIN, CREATE).text(3, "FORWARD"), &chain);
            transaction.batch.number_be(5, DROP_POLICY);
            transaction.commit(&socket)?;
            Ok((before, chains_that_drop_forwarded(&socket)?, tables()?))
        });
        assert_eq!(before, []);
        let name = ChainName { table: "filter".to_owned(), chain: "FORWARD".to_owned() };
        assert_eq!(after, [name]);
        assert_eq!(tables, ["harmless", "filter"]);
    }

    /// As nft lists it, without handles.
    fn listed(table: &str) -> String {
        let shown = std::process::Command::new("nft").args(["list", "table", "ip", table]).output();
        String::from_utf8_lossy(&shown.expect("this test needs nftables").stdout).into_owned()
    }

    fn table(jump_to: &[(u8, &str)], ports: (u16, u16)) -> Table {
        let mut table = Table::default();
        table.add_set("jumps", SetKind::Jumps);
        let rule = |matches, action| Rule { matches, action };
        for (last, chain) in jump_to {
            let place = Place { set: "jumps".to_owned(), key: vec![10, 0, 0, *last] };
            table.put(place, Some(Value::Jump((*chain).to_owned())));
            let ports = Match::Ports { first: ports.0, last: ports.1 };
            let rules = vec![rule(vec![Match::Protocol(6), ports], Action::Accept)];
            table.chains.insert((*chain).to_owned(), Chain { hook: None, rules });
        }
        let rules = vec![
            rule(vec![Match::KnownConnection], Action::Accept),
            rule(Vec::new(), Action::JumpBySource("jumps".to_owned())),
            rule(Vec::new(), Action::Drop),
        ];
        let chain = Chain { hook: Some((Hook::Forward, 0)), rules };
        table.chains.insert("forward".to_owned(), chain);
        table
    }

    #[test]
    fn changing_a_table_ends_where_making_it_anew_does() {
        let tables = [
            table(&[(1, "a"), (2, "b")], (80, 90)),
            table(&[(1, "b"), (3, "c")], (80, 80)),
            table(&[], (1, 1)),
            table(&[(1, "a"), (2, "a"), (3, "a")], (0, 65535)),
        ];
        let seen = apart(move || {
            let socket = socket::netlink(libc::NETLINK_NETFILTER)?;
            let mut seen = Vec::new();
            let mut before = None;
            for new in &tables {
                replace(&socket, "changed", before, new)?;
                replace(&socket, "anew", None, new)?;
                seen.push((listed("changed").replace("ip changed", "ip anew"), listed("anew")));
                before = Some(new);
            }
            Ok(seen)
        });
        for (changed, anew) in seen {
            assert_eq!(sorted(&changed), sorted(&anew));
            assert!(anew.contains("vmap @jumps"), "{anew}");
        }
    }

    /// Chains are listed in the order they were made.
    fn sorted(listing: &str) -> Vec<&str> {
        let mut blocks: Vec<&str> = listing.split("\n\n").map(str::trim).collect();
        let last = blocks.len() - 1;
        blocks[last] = blocks[last].trim_end_matches(['}', '\n']).trim_end();
        for block in &mut blocks {
            *block = block.trim_end_matches(['}', '\n', '\t']);
        }
        blocks.sort_unstable();
        blocks
    }
}
