//! A target as the data plane sees it: how it fares, what it is doing for us, and the connections
//! to it that are kept. It lives on through tables for as long as it is registered.

use crate::board::Board;
use crate::limits::{IDLE_PER_TARGET_MAX, IDLE_TARGET_MS};
use crate::link::Link;
use crate::sticky::Tag;
use crate::target_http2::Streams;
use crate::time::now_ms;
use model::VpcId;
use model::balancing::{ProtocolVersion, TargetKey, TargetState};
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What about a target never changes: with another of these it is another target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub key: TargetKey,
    pub vpc: VpcId,
    pub address: SocketAddrV4,
    pub secure: bool,
    pub version: ProtocolVersion,
}

pub struct Target {
    pub place: Place,
    pub tag: Tag,
    /// As the access log has it.
    pub shown: String,
    board: Arc<Board>,
    state: AtomicU8,
    /// When it became healthy while others were, for slow start; 0: it needs none.
    pub slow_since_ms: AtomicU64,
    /// Requests and upgraded connections.
    outstanding: AtomicU32,
    draining: AtomicBool,
    /// No longer in any table: what is upgraded ends.
    pub gone: tokio::sync::watch::Sender<bool>,
    /// Changes when it was healthy, or not known yet, and is unhealthy now.
    pub fell_ill: tokio::sync::watch::Sender<()>,
    /// One for each worker, so that nobody waits for another.
    idle: Box<[Mutex<Vec<Kept>>]>,
    pub streams: Box<[Streams]>,
}

/// A connection that waits for its next request.
pub struct Kept {
    pub link: Link,
    since_ms: u64,
}

impl Target {
    pub fn new(place: Place, tag: Tag, board: Arc<Board>, workers: usize) -> Self {
        Self {
            shown: place.address.to_string(),
            place,
            tag,
            board,
            state: AtomicU8::new(INITIAL),
            slow_since_ms: AtomicU64::new(0),
            outstanding: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            gone: tokio::sync::watch::Sender::new(false),
            fell_ill: tokio::sync::watch::Sender::new(()),
            idle: (0..workers).map(|_| Mutex::default()).collect(),
            streams: (0..workers).map(|_| Streams::default()).collect(),
        }
    }

    pub fn state(&self) -> TargetState {
        match self.state.load(Ordering::Relaxed) {
            INITIAL => TargetState::Initial,
            HEALTHY => TargetState::Healthy,
            _ => TargetState::Unhealthy,
        }
    }

    /// Whether it is to be found in the same place, however it is spoken to there.
    pub fn is_at(&self, place: &Place) -> bool {
        self.place.address == place.address && self.place.vpc == place.vpc
    }

    pub fn set_state(&self, state: TargetState) {
        let byte = match state {
            TargetState::Initial => INITIAL,
            TargetState::Healthy => HEALTHY,
            TargetState::Unhealthy => UNHEALTHY,
        };
        let before = self.state.swap(byte, Ordering::Relaxed);
        if byte == UNHEALTHY && before != UNHEALTHY {
            self.fell_ill.send_replace(());
        }
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// From now on it gets no new request. What is kept for it is closed.
    pub fn set_draining(&self, draining: bool) {
        self.draining.store(draining, Ordering::SeqCst);
        if draining {
            self.close_kept();
        }
    }

    pub fn retire(&self) {
        self.set_draining(true);
        self.gone.send_replace(true);
    }

    pub fn is_drained(&self) -> bool {
        self.is_draining() && self.outstanding.load(Ordering::SeqCst) == 0
    }

    pub fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// A kept connection that is still good, at most `fresh_ms` old.
    pub fn take_kept(&self, worker: usize, fresh_ms: u64) -> Option<Link> {
        let mut idle = self.idle[worker].lock().expect("no panic while it is held");
        while let Some(mut kept) = idle.pop() {
            if !kept.link.rests() {
                continue;
            }
            if now_ms().saturating_sub(kept.since_ms) > fresh_ms {
                // The others are older still.
                idle.push(kept);
                return None;
            }
            return Some(kept.link);
        }
        None
    }

    pub fn keep(&self, worker: usize, link: Link) {
        let mut idle = self.idle[worker].lock().expect("no panic while it is held");
        // Looked at under the lock: who closes what is kept comes before this, or sees it.
        if !self.is_draining() && idle.len() < IDLE_PER_TARGET_MAX {
            idle.push(Kept { link, since_ms: now_ms() });
        }
    }

    /// Closes what was closed by the target, or was kept for too long.
    pub fn sweep(&self, worker: usize) {
        let now = now_ms();
        let mut idle = self.idle[worker].lock().expect("no panic while it is held");
        idle.retain_mut(|kept| {
            now.saturating_sub(kept.since_ms) < IDLE_TARGET_MS && kept.link.rests()
        });
    }

    fn close_kept(&self) {
        for idle in &self.idle {
            let closed = std::mem::take(&mut *idle.lock().expect("no panic while it is held"));
            drop(closed);
        }
        for streams in &self.streams {
            streams.close();
        }
    }
}

const INITIAL: u8 = 0;
const HEALTHY: u8 = 1;
const UNHEALTHY: u8 = 2;

/// A request's claim on its target: while it is there the target is not drained.
pub struct Lease(Arc<Target>);

impl Lease {
    /// None for a target that drains. The claim is made before that is looked at, so that of a
    /// request and the end of draining one sees the other.
    pub fn take(target: &Arc<Target>) -> Option<Self> {
        target.outstanding.fetch_add(1, Ordering::SeqCst);
        let lease = Self(target.clone());
        (!target.is_draining()).then_some(lease)
    }
}

impl std::ops::Deref for Lease {
    type Target = Arc<Target>;

    fn deref(&self) -> &Arc<Target> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let last = self.0.outstanding.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.0.is_draining() {
            self.0.board.drained(&self.0);
        }
    }
}
