//! Health checks of targets: which to check, how often, and what follows from the answers.

use crate::doors::Doors;
use model::VpcId;
use model::balancing::{HealthCheck, ProtocolVersion, TargetKey, TargetState};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

/// A target to check, with the settings of its group.
#[derive(Clone, PartialEq, Debug)]
pub struct Checked {
    pub key: TargetKey,
    pub vpc: VpcId,
    /// An address of the load balancer.
    pub from: Ipv4Addr,
    /// Where the target takes requests; `check.port` may be another.
    pub address: SocketAddrV4,
    pub version: ProtocolVersion,
    pub check: HealthCheck,
}

/// What a check led to; told when it changes, and once when checking begins (initial, or healthy
/// at once where checks are off).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opinion {
    pub state: TargetState,
    pub reason: Option<String>,
    pub description: Option<String>,
}

/// Called from any thread, must not block.
pub type Publish = Arc<dyn Fn(&TargetKey, Opinion) + Send + Sync>;

/// The checks that run.
pub struct Checks {}

impl Checks {
    /// Checks run on `runtime`.
    pub fn new(_doors: Arc<dyn Doors>, _publish: Publish, _runtime: tokio::runtime::Handle) -> Self {
        Self {}
    }

    /// Exactly these are checked from now on; the state of those that stay is kept, unless their
    /// settings changed.
    pub fn learn(&self, _wanted: Vec<Checked>) {}
}
