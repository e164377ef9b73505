//! What all connections share: the doors, the workers, the board of targets, the seal of cookies,
//! the logs. Read only, or counted on.

use crate::board::Board;
use crate::doors::Doors;
use crate::health::Checks;
use crate::limits::CONNECTIONS_MAX;
use crate::log_file::LogFile;
use crate::settings::Settings;
use crate::sticky::Seal;
use crate::target::Target;
use crate::worker::Worker;
use model::balancing::TargetKey;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub struct Core {
    pub doors: Arc<dyn Doors>,
    pub settings: Settings,
    pub board: Arc<Board>,
    pub seal: Seal,
    pub workers: Vec<Worker>,
    pub access_log: Option<LogFile>,
    pub connection_log: Option<LogFile>,
    pub checks: Checks,
    pub client_tls: tokio_rustls::TlsConnector,
    next_worker: AtomicU32,
    connections: AtomicU32,
}

/// A place among the connections; given back when it is dropped.
pub struct Admitted(Arc<Core>);

impl Core {
    pub fn new(doors: Arc<dyn Doors>, settings: Settings) -> Self {
        let workers =
            (0..settings.workers.max(1)).map(|index| Worker::start(index, &settings.seed));
        let workers: Vec<Worker> = workers.collect();
        let board = Arc::new(Board::new());
        let told = board.clone();
        let publish = Arc::new(move |key: &TargetKey, opinion| told.opine(key, opinion));
        let checks = Checks::new(doors.clone(), publish, workers[0].handle.clone());
        let log = |name| settings.access_log.clone().map(|at| LogFile::start(at, name));
        Self {
            doors,
            board,
            seal: Seal::new(&settings.seed),
            workers,
            checks,
            access_log: log("access.log"),
            connection_log: log("connection.log"),
            client_tls: crate::tls::to_targets(),
            settings,
            next_worker: AtomicU32::new(0),
            connections: AtomicU32::new(0),
        }
    }

    /// The worker that the next connection stays on.
    pub fn next_worker(&self) -> usize {
        let turn = self.next_worker.fetch_add(1, Ordering::Relaxed);
        turn as usize % self.workers.len()
    }

    /// None: there are as many connections as there may be.
    pub fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let admitted = Admitted(self.clone());
        (before < CONNECTIONS_MAX).then_some(admitted)
    }

    /// It did not take a connection, or closed it: the health checks are to look.
    pub fn suspect(&self, target: &Target) {
        self.checks.suspect(&target.place.key);
    }

    /// 128 random bits, for what needs no secrecy.
    pub fn draw_wide(&self, worker: usize) -> u128 {
        let half = || u128::from(self.draw(worker));
        half() << 64 | half()
    }

    /// 64 random bits, for what needs no secrecy.
    pub fn draw(&self, worker: usize) -> u64 {
        self.workers[worker].random.next()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// SplitMix64. Each worker has one of its own, so that plain loads and stores do.
pub struct Random(AtomicU64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub fn next(&self) -> u64 {
        let state = self.0.load(Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.store(state, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
