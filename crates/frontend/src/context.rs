//! What every operation is given: the stores, the account and region, and the world's two sources
//! of surprise, time and randomness, as functions, so that a test decides both.

use crate::ecs::FamilyQueues;
use crate::fault::{self, Fault};
use model::arn::Locality;
use model::{AccessKeyId, Timestamp};
use std::sync::Arc;
use store::blob::ObjectStore;
use store::logs::Logs;
use store::secret::Sealer;
use store::{Store, Txn};

pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
pub type Random = Arc<dyn Fn() -> u128 + Send + Sync>;
/// Makes a password for the image registry, with its end; the registry knows how.
pub type RegistryPassword = Arc<dyn Fn(Timestamp) -> (String, Timestamp) + Send + Sync>;

#[derive(Clone)]
pub struct Context {
    pub store: Store,
    pub logs: Logs,
    pub blobs: Arc<dyn ObjectStore>,
    pub locality: Arc<Locality>,
    pub sealer: Arc<Sealer>,
    pub clock: Clock,
    pub random: Random,
    pub registry_password: RegistryPassword,
    /// `FamilyQueues::default()`; one for all that serve one store in this process.
    pub family_queues: FamilyQueues,
}

impl Context {
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub fn random(&self) -> u128 {
        (self.random)()
    }

    /// One transaction, tried again while others get in its way. The closure may run many times.
    pub async fn transact<R>(
        &self,
        change: impl FnMut(&mut Txn) -> Result<R, Fault>,
    ) -> Result<R, Fault> {
        let (result, _) = self.store.transact(change).await.map_err(fault::transact)?;
        Ok(result)
    }
}

/// Whose signature the call carries.
#[derive(Clone, PartialEq, Debug)]
pub struct Caller {
    pub access_key: AccessKeyId,
    pub principal_arn: Arc<str>,
    pub user_id: Arc<str>,
    /// The Host header as sent: where this caller reaches us. Empty if there was none. Repository
    /// URIs are made of it, so that what we hand out can be pushed to.
    pub host: Arc<str>,
}
