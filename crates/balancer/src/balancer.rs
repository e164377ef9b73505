//! The balancer as the assembly sees it: it learns tables, says what it found of targets, and ends.

use crate::doors::Doors;
use crate::settings::Settings;
use model::balancing::{BalancerTable, Certificates, Found, Served, TargetKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Why part of a table is not served; the rest is.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("no listening on {at}: {source}")]
    Listen { at: std::net::SocketAddrV4, source: std::io::Error },
    #[error("certificate {arn}: {reason}")]
    Certificate { arn: String, reason: String },
    #[error("listener {at} has no certificate that could be used")]
    NoCertificate { at: std::net::SocketAddrV4 },
}

/// Cheap to clone; all clones are one balancer.
#[derive(Clone)]
pub struct Balancer {
    found: watch::Sender<Arc<BTreeMap<TargetKey, Found>>>,
}

impl Balancer {
    pub fn new(_doors: Arc<dyn Doors>, _settings: Settings) -> Self {
        Self { found: watch::Sender::new(Arc::new(BTreeMap::new())) }
    }

    /// Replaces the table whole; listeners that stay keep their connections. Names what could not
    /// be served (port taken, bad PEM).
    pub fn learn(
        &self,
        _table: Arc<BalancerTable>,
        _certificates: Arc<Certificates>,
    ) -> Vec<Failure> {
        Vec::new()
    }

    /// What is found of every target: changes wake the receiver.
    pub fn found(&self) -> watch::Receiver<Arc<BTreeMap<TargetKey, Found>>> {
        self.found.subscribe()
    }

    /// What was served since this was last asked.
    pub fn served(&self) -> Served {
        Served::default()
    }

    /// Stops listening, lets requests end, at most for `limit`.
    pub async fn end(&self, _limit: Duration) {}
}
