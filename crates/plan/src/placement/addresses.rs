//! Addresses of one subnet while a plan is made: what its pool has taken, and what the plan takes.
//! They go round, so that an address that was given back rests as long as it can.

use model::network::{AddressPool, RESERVED_AT_END, RESERVED_AT_START, Subnet};
use model::{SubnetId, VpcId, ZoneName};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// A subnet and its pool; no pool means that no address was ever taken.
#[derive(Clone, Copy, Debug)]
pub struct SubnetRoom<'a> {
    pub subnet: &'a Subnet,
    pub pool: Option<&'a AddressPool>,
}

/// An address chosen for a task. To be committed with it: `offset` into the pool's `taken`, and
/// `next` set to `next_after`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    pub subnet: SubnetId,
    pub vpc: VpcId,
    pub ip: Ipv4Addr,
    pub offset: u32,
    pub next_after: u32,
}

pub(super) struct Addresses<'a> {
    room: SubnetRoom<'a>,
    /// By this plan.
    taken: BTreeSet<u32>,
    next: u32,
    free: u64,
    /// Offsets that may be handed out: from the first to before the second.
    first: u32,
    end: u32,
}

impl<'a> Addresses<'a> {
    pub fn new(room: SubnetRoom<'a>) -> Self {
        let size = room.subnet.cidr.size();
        let end = size.saturating_sub(RESERVED_AT_END).min(u64::from(u32::MAX));
        let first = RESERVED_AT_START.min(end);
        let [first, end] = [first, end].map(|n| u32::try_from(n).expect("bounded by u32::MAX"));
        let taken = room.pool.map_or(0, |p| p.taken.range(first..end).count());
        Self {
            room,
            taken: BTreeSet::new(),
            next: room.pool.map_or(first, |p| p.next),
            free: u64::from(end - first) - taken as u64,
            first,
            end,
        }
    }

    pub fn zone(&self) -> &'a ZoneName {
        &self.room.subnet.zone
    }

    pub fn has_free(&self) -> bool {
        self.free > 0
    }

    /// The next free address round from the last. Costs the length of the run of taken ones that it
    /// passes, and passes each once a round.
    pub fn take(&mut self) -> Option<Address> {
        if !self.has_free() {
            return None;
        }
        let start =
            if (self.first..self.end).contains(&self.next) { self.next } else { self.first };
        let offset = self
            .first_free(start, self.end)
            .or_else(|| self.first_free(self.first, start))
            .expect("an address is free, so a whole round finds it");
        self.taken.insert(offset);
        self.free -= 1;
        self.next = offset + 1;
        let subnet = self.room.subnet;
        Some(Address {
            subnet: subnet.id.clone(),
            vpc: subnet.vpc.clone(),
            ip: subnet.cidr.nth(u64::from(offset)).expect("an offset inside the range"),
            offset,
            next_after: self.next,
        })
    }

    fn first_free(&self, from: u32, to: u32) -> Option<u32> {
        let empty = BTreeSet::new();
        let pool = self.room.pool.map_or(&empty, |p| &p.taken);
        let mut before = pool.range(from..to).copied().peekable();
        let mut now = self.taken.range(from..to).copied().peekable();
        (from..to).find(|offset| {
            let was_taken = before.next_if_eq(offset).is_some();
            let is_taken = now.next_if_eq(offset).is_some();
            !was_taken && !is_taken
        })
    }
}
