//! Which addresses are taken: of a subnet, and of the range that public addresses are from. They go
//! round, so that one that was given back rests as long as it can.

use super::Cidr;
use crate::ids::SubnetId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Addresses of a subnet reserved at its start: network, router, DNS, one for later; and one at its
/// end. Source: EC2 user guide, subnet sizing.
pub const RESERVED_AT_START: u64 = 4;
pub const RESERVED_AT_END: u64 = 1;

/// Which addresses of a subnet are taken, as offsets from its start. Whoever makes an interface
/// takes, whoever removes it gives back, in the same transaction: placement and release for tasks,
/// frontend for all others. An address is handed out again only after its interface is gone. The
/// record is there as long as the subnet is, and every transaction that adds an interface to the
/// subnet writes it: who must know that a subnet is empty reads it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct AddressPool {
    pub subnet: SubnetId,
    #[serde(with = "ranges")]
    pub taken: BTreeSet<u32>,
    /// Where the search for a free one starts: addresses go round, so that a freed one rests for
    /// long.
    pub next: u32,
}

impl AddressPool {
    pub fn new(subnet: SubnetId) -> Self {
        Self { subnet, taken: BTreeSet::new(), next: 0 }
    }

    /// Takes the next free address of the subnet's range, if there is one.
    pub fn take(&mut self, cidr: &Cidr) -> Option<Ipv4Addr> {
        let end = cidr.size().saturating_sub(RESERVED_AT_END);
        let offset = next_free(&self.taken, self.next, RESERVED_AT_START, end)?;
        self.taken.insert(offset);
        self.next = offset + 1;
        cidr.nth(u64::from(offset))
    }

    /// Takes this address; false when it is not the subnet's to give, or taken.
    pub fn take_this(&mut self, cidr: &Cidr, address: Ipv4Addr) -> bool {
        let Some(offset) = offset(cidr, address) else { return false };
        let usable = RESERVED_AT_START..cidr.size().saturating_sub(RESERVED_AT_END);
        usable.contains(&u64::from(offset)) && self.taken.insert(offset)
    }

    /// Whether it was taken.
    pub fn give_back(&mut self, cidr: &Cidr, address: Ipv4Addr) -> bool {
        offset(cidr, address).is_some_and(|offset| self.taken.remove(&offset))
    }
}

/// Which public addresses are taken. There is one such record; it is made at the first start, with
/// the range that the operator chose (ADR 0008). An address is taken with an allocation
/// (AllocateAddress) or with an interface that has one of its own, and given back with it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PublicPool {
    pub range: Cidr,
    #[serde(with = "ranges")]
    pub taken: BTreeSet<u32>,
    pub next: u32,
}

impl PublicPool {
    /// Not routed on the internet (RFC 2544), clear of 198.18.0.0/16, where proxies on developers'
    /// machines put their made-up addresses, and of the upper half, where virtual machines of
    /// macOS have theirs.
    pub const RANGE_DEFAULT: Cidr = Cidr { address: Ipv4Addr::new(198, 19, 0, 0), prefix: 17 };
    /// Neither the network's own address nor the first one, which the host may use, are given out.
    const FIRST: u64 = 2;

    pub fn new(range: Cidr) -> Self {
        Self { range, taken: BTreeSet::new(), next: 0 }
    }

    pub fn take(&mut self) -> Option<Ipv4Addr> {
        let end = self.range.size().saturating_sub(1);
        let offset = next_free(&self.taken, self.next, Self::FIRST, end)?;
        self.taken.insert(offset);
        self.next = offset + 1;
        self.range.nth(u64::from(offset))
    }

    /// Takes this address; false when it is not the pool's to give, or taken.
    pub fn take_this(&mut self, address: Ipv4Addr) -> bool {
        let Some(offset) = offset(&self.range, address) else { return false };
        let usable = Self::FIRST..self.range.size().saturating_sub(1);
        usable.contains(&u64::from(offset)) && self.taken.insert(offset)
    }

    /// How many are left.
    pub fn free(&self) -> u64 {
        let all = self.range.size().saturating_sub(Self::FIRST + 1);
        all.saturating_sub(self.taken.len() as u64)
    }

    /// Whether it was taken.
    pub fn give_back(&mut self, address: Ipv4Addr) -> bool {
        offset(&self.range, address).is_some_and(|offset| self.taken.remove(&offset))
    }
}

fn offset(cidr: &Cidr, address: Ipv4Addr) -> Option<u32> {
    cidr.contains(address).then(|| u32::from(address) - u32::from(cidr.address))
}

/// The first that is not taken, from `next` to the end and round from `first`.
fn next_free(taken: &BTreeSet<u32>, next: u32, first: u64, end: u64) -> Option<u32> {
    let first = u32::try_from(first).ok()?;
    let end = u32::try_from(end).unwrap_or(u32::MAX);
    let start = if (first..end).contains(&next) { next } else { first };
    let free = |from: u32, to: u32| {
        let mut held = taken.range(from..to.max(from)).copied().peekable();
        (from..to).find(|offset| held.next_if_eq(offset).is_none())
    };
    free(start, end).or_else(|| free(first, start))
}

/// A set of numbers stored as its runs, first and last: addresses are taken one after the other, so
/// a pool of thousands is a few numbers.
mod ranges {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeSet;

    pub fn serialize<S: Serializer>(set: &BTreeSet<u32>, to: S) -> Result<S::Ok, S::Error> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for &n in set {
            match runs.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(n) => *last = n,
                _ => runs.push((n, n)),
            }
        }
        runs.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeSet<u32>, D::Error> {
        let runs = Vec::<(u32, u32)>::deserialize(from)?;
        if runs.iter().any(|(first, last)| first > last) {
            return Err(D::Error::custom("a run that ends before it begins"));
        }
        Ok(runs.into_iter().flat_map(|(first, last)| first..=last).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_stored_as_runs_and_read_back() {
        let taken = BTreeSet::from([4, 5, 6, 9, 11, 12]);
        let pool = AddressPool { subnet: SubnetId::from("subnet-1"), taken, next: 13 };
        let json = serde_json::to_string(&pool).expect("serializable");
        assert!(json.contains("[[4,6],[9,9],[11,12]]"), "{json}");
        assert_eq!(serde_json::from_str::<AddressPool>(&json).expect("valid"), pool);
        let empty = AddressPool { taken: BTreeSet::new(), ..pool };
        let json = serde_json::to_string(&empty).expect("serializable");
        assert_eq!(serde_json::from_str::<AddressPool>(&json).expect("valid"), empty);
        assert!(serde_json::from_str::<AddressPool>(&json.replace("[]", "[[2,1]]")).is_err());
    }

    #[test]
    fn addresses_go_round_and_come_back_once() {
        let cidr = Cidr::parse("10.0.0.0/29").expect("valid");
        let mut pool = AddressPool::new(SubnetId::from("subnet-1"));
        let take = |pool: &mut AddressPool| pool.take(&cidr).map(|ip| ip.octets()[3]);
        assert_eq!([take(&mut pool), take(&mut pool)], [Some(4), Some(5)]);
        assert!(pool.give_back(&cidr, Ipv4Addr::new(10, 0, 0, 4)));
        assert!(!pool.give_back(&cidr, Ipv4Addr::new(10, 0, 0, 4)));
        assert_eq!([take(&mut pool), take(&mut pool), take(&mut pool)], [Some(6), Some(4), None]);
        assert!(!pool.take_this(&cidr, Ipv4Addr::new(10, 0, 0, 4)), "taken");
        assert!(!pool.take_this(&cidr, Ipv4Addr::new(10, 0, 0, 7)), "reserved");
        assert!(!pool.take_this(&cidr, Ipv4Addr::new(10, 0, 1, 4)), "another subnet's");
        assert!(pool.give_back(&cidr, Ipv4Addr::new(10, 0, 0, 5)));
        assert!(pool.take_this(&cidr, Ipv4Addr::new(10, 0, 0, 5)));
    }

    #[test]
    fn public_addresses_are_of_the_pools_range() {
        let mut pool = PublicPool::new(Cidr::parse("198.19.0.0/30").expect("valid"));
        assert_eq!((pool.free(), pool.take()), (1, Some(Ipv4Addr::new(198, 19, 0, 2))));
        assert_eq!((pool.free(), pool.take()), (0, None));
        assert!(!pool.take_this(Ipv4Addr::new(198, 19, 0, 1)));
        assert!(pool.give_back(Ipv4Addr::new(198, 19, 0, 2)));
        assert!(pool.take_this(Ipv4Addr::new(198, 19, 0, 2)));
    }
}
