//! A target group as the data plane sees it: its settings, its targets, and which of them are
//! ready for requests now. Made anew when its entry in the table changes; what it remembers from
//! request to request (whose turn it is, its counts) goes over to the new one.

use crate::choose;
use crate::counts::GroupTally;
use crate::sticky::Tag;
use crate::stream::{Flow, by_flow};
use crate::target::{Lease, Target};
use crate::time::now_ms;
use arc_swap::ArcSwap;
use model::TargetGroupId;
use model::balancing::{Algorithm, GroupEntry, GroupSettings, TargetState};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub struct Group {
    pub id: TargetGroupId,
    pub tag: Tag,
    pub arn: String,
    pub entry: GroupEntry,
    pub targets: Vec<Arc<Target>>,
    pub memory: Arc<Memory>,
    /// Addresses of the load balancer, from which targets are connected to.
    pub from: Vec<Ipv4Addr>,
    by_tag: BTreeMap<Tag, Arc<Target>>,
    ready: ArcSwap<Vec<Arc<Target>>>,
}

/// What outlives a change of the group's entry.
pub struct Memory {
    turn: AtomicUsize,
    pub tally: GroupTally,
}

impl Memory {
    pub fn new(workers: usize) -> Self {
        Self { turn: AtomicUsize::new(0), tally: GroupTally::new(workers) }
    }
}

/// What a group is made of, beside its targets.
pub struct Parts {
    pub id: TargetGroupId,
    pub tag: Tag,
    pub arn: String,
    pub entry: GroupEntry,
    pub memory: Arc<Memory>,
    pub from: Vec<Ipv4Addr>,
}

impl Group {
    pub fn new(parts: Parts, targets: Vec<Arc<Target>>) -> Self {
        let Parts { id, tag, arn, entry, memory, from } = parts;
        let by_tag = targets.iter().map(|target| (target.tag, target.clone())).collect();
        let ready = ArcSwap::from_pointee(ready(&targets, &entry.settings));
        Self { id, tag, arn, entry, targets, memory, from, by_tag, ready }
    }

    /// After a target's state changed.
    pub fn refresh(&self) {
        self.ready.store(Arc::new(ready(&self.targets, &self.entry.settings)));
    }

    /// Whether there is a choice of targets.
    pub fn has_others(&self) -> bool {
        self.ready.load().len() > 1
    }

    /// A target for a request: the one that its cookie names if that is healthy, else by the
    /// group's algorithm; never `avoided`. None: there is no (other) target.
    pub fn pick(&self, wanted: Option<&Tag>, avoided: Option<&Tag>, draw: u64) -> Option<Lease> {
        let wanted = wanted.and_then(|tag| self.by_tag.get(tag));
        let wanted = wanted.filter(|target| target.state() == TargetState::Healthy);
        let wanted = wanted.filter(|target| Some(&target.tag) != avoided);
        if let Some(lease) = wanted.and_then(Lease::take) {
            return Some(lease);
        }
        let ready = self.ready.load();
        let first = self.choose(&ready, draw)?;
        let count = ready.len();
        // One that drains since a moment ago, or is avoided, leaves its turn to the next.
        let mut turns = (0..count).map(|step| &ready[(first + step) % count]);
        let fresh = |target: &Arc<Target>| {
            (Some(&target.tag) != avoided).then(|| Lease::take(target)).flatten()
        };
        // Without a healthy one all are asked, also when that is so since a moment ago.
        turns.find_map(fresh).or_else(|| self.targets.iter().find_map(fresh))
    }

    /// The target of a TCP connection, but for those that did not take it.
    pub fn pick_by_flow(&self, flow: &Flow, avoided: &[Tag]) -> Option<Lease> {
        let ready = self.ready.load();
        [ready.as_slice(), &self.targets].into_iter().find_map(|targets| {
            let tags = targets.iter().filter(|target| !target.is_draining());
            let tags = tags.map(|target| target.tag).filter(|tag| !avoided.contains(tag));
            Lease::take(self.by_tag.get(&by_flow(flow, tags)?)?)
        })
    }

    fn choose(&self, ready: &[Arc<Target>], draw: u64) -> Option<usize> {
        let count = ready.len();
        if count < 2 {
            return (count == 1).then_some(0);
        }
        let turn = self.memory.turn.fetch_add(1, Ordering::Relaxed);
        Some(match self.entry.settings.algorithm {
            Algorithm::RoundRobin if self.entry.settings.slow_start_seconds > 0 => {
                self.choose_warm(ready, turn, draw)
            }
            Algorithm::RoundRobin => choose::in_turn(turn, count),
            Algorithm::LeastOutstanding => {
                let outstanding = ready.iter().map(|target| target.outstanding());
                choose::least_outstanding(outstanding, turn, count)
            }
            Algorithm::Random => choose::evenly(draw, count),
        })
    }

    /// In turn, but a target in slow start passes some of its turns on.
    fn choose_warm(&self, ready: &[Arc<Target>], turn: usize, draw: u64) -> usize {
        let count = ready.len();
        let (now, lasts) = (now_ms(), u64::from(self.entry.settings.slow_start_seconds) * 1000);
        for step in 0..count {
            let at = choose::in_turn(turn.wrapping_add(step), count);
            let since = ready[at].slow_since_ms.load(Ordering::Relaxed);
            if since == 0 || choose::takes_in_slow_start(now.saturating_sub(since), lasts, draw) {
                return at;
            }
        }
        choose::in_turn(turn, count)
    }

    /// Whether some target has left slow start behind: only beside such a one does another begin.
    pub fn has_warm(&self) -> bool {
        self.targets.iter().any(|target| {
            let warm = target.slow_since_ms.load(Ordering::Relaxed) == 0;
            warm && target.state() == TargetState::Healthy && !target.is_draining()
        })
    }
}

/// The healthy ones; if there are too few, by default none, all (ALB fails open). Never one that
/// drains. Source: ELB user guide, "Target group health".
fn ready(targets: &[Arc<Target>], settings: &GroupSettings) -> Vec<Arc<Target>> {
    let open = targets.iter().filter(|target| !target.is_draining());
    let healthy = open.clone().filter(|target| target.state() == TargetState::Healthy);
    let healthy: Vec<_> = healthy.cloned().collect();
    let count = healthy.len();
    let too_few = count < settings.healthy_min.max(1) as usize
        || count * 100 < open.clone().count() * settings.healthy_min_percent as usize;
    if too_few { open.cloned().collect() } else { healthy }
}
