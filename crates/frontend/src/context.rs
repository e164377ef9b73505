//! What every operation is given: the stores, the account and region, and the world's two sources of
//! surprise, time and randomness, as functions, so that a test decides both.

use model::arn::Locality;
use model::{AccessKeyId, Timestamp};
use std::sync::Arc;
use store::Store;
use store::blob::ObjectStore;
use store::logs::Logs;
use store::secret::Sealer;

pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
pub type Random = Arc<dyn Fn() -> u128 + Send + Sync>;

#[derive(Clone)]
pub struct Context {
    pub store: Store,
    pub logs: Logs,
    pub blobs: Arc<dyn ObjectStore>,
    pub locality: Arc<Locality>,
    pub sealer: Arc<Sealer>,
    pub clock: Clock,
    pub random: Random,
}

impl Context {
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub fn random(&self) -> u128 {
        (self.random)()
    }
}

/// Whose signature the call carries.
#[derive(Clone, PartialEq, Debug)]
pub struct Caller {
    pub access_key: AccessKeyId,
    pub principal_arn: Arc<str>,
    pub user_id: Arc<str>,
}
