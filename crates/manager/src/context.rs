//! What every part of the manager works with: the store, the clock and randomness it was given, and
//! what it must know of the deployment.

use model::arn::Locality;
use model::session::RegistryAccess;
use model::{Timestamp, ZoneName};
use std::sync::Arc;
use store::Store;
use store::logs::Logs;
use store::metrics::Metrics;
use store::secret::Sealer;

#[derive(Clone)]
pub struct Context {
    pub store: Store,
    pub logs: Logs,
    /// Shared with the frontend, which shows them.
    pub metrics: Metrics,
    pub sealer: Arc<Sealer>,
    pub locality: Locality,
    /// Zones in which instances may be; the first is that of instances that name none.
    pub zone: ZoneName,
    pub registry: RegistryAccess,
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    pub random: Arc<dyn Fn() -> u128 + Send + Sync>,
}

impl Context {
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub fn random(&self) -> u128 {
        (self.random)()
    }
}
