//! What every operation is given: the stores, the account and region, and the world's two sources
//! of surprise, time and randomness, as functions, so that a test decides both.

use crate::ecs::FamilyQueues;
use crate::fault::{self, Fault};
use model::arn::Locality;
use model::credentials::Hidden;
use model::{AccessKeyId, InstanceId, Timestamp};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use store::blob::{BoxFuture, ObjectStore, Staging};
use store::logs::Logs;
use store::metrics::Metrics;
use store::secret::Sealer;
use store::{Store, Txn};

pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
pub type Random = Arc<dyn Fn() -> u128 + Send + Sync>;
/// Makes a password for the image registry, with its end; the registry knows how.
pub type RegistryPassword = Arc<dyn Fn(Timestamp) -> (String, Timestamp) + Send + Sync>;
/// Makes the query with which a plain GET of a path of the registry is answered for a while.
pub type PresignedQuery = Arc<dyn Fn(&str, Timestamp) -> String + Send + Sync>;
/// Collects the images' garbage; what nobody needed for this long counts as such. None: it failed.
pub type CollectImages =
    Arc<dyn Fn(Duration) -> BoxFuture<'static, Option<Collected>> + Send + Sync>;

/// Asks this machine's agent about the images it keeps for its tasks; the answer is JSON for the
/// operator. None: there is no agent here, or it failed.
pub type InstanceImages =
    Arc<dyn Fn(ImagesCall) -> BoxFuture<'static, Option<serde_json::Value>> + Send + Sync>;

/// Whether an instance has a session now.
pub type IsConnected = Arc<dyn Fn(&InstanceId) -> bool + Send + Sync>;

/// Makes a token with which a machine may join. None: nobody listens for agents here.
pub type MintJoinToken = Arc<dyn Fn() -> Option<MintedToken> + Send + Sync>;

/// A token that is nowhere else yet.
pub struct MintedToken {
    pub id: String,
    pub secret_sha256: String,
    /// All of it, for the operator alone.
    pub text: Hidden,
    /// Where agents are listened for, as far as is known here.
    pub address: String,
}

/// What is to be done about an instance's images.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImagesCall {
    List,
    /// Removes those that no task uses.
    Prune,
}

/// What a collection of the images' garbage did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// Blobs that left a repository in which no image needs them any more.
    pub links_removed: u64,
    /// Blobs that will leave next time unless somebody asks for them.
    pub links_condemned: u64,
    /// Blobs and manifests that no repository had any more.
    pub objects_removed: u64,
    pub object_bytes_freed: u64,
    /// Blobs and manifests that stay.
    pub objects_kept: u64,
    pub uploads_removed: u64,
    pub upload_bytes_freed: u64,
}

#[derive(Clone)]
pub struct Context {
    pub store: Store,
    pub logs: Logs,
    /// Shared with the manager, which measures.
    pub metrics: Metrics,
    pub blobs: Arc<dyn ObjectStore>,
    /// Layers that are being sent, through the registry's protocol or ECR's calls.
    pub staging: Staging,
    pub locality: Arc<Locality>,
    pub sealer: Arc<Sealer>,
    pub clock: Clock,
    pub random: Random,
    pub registry_password: RegistryPassword,
    pub presigned_query: PresignedQuery,
    pub collect_images: CollectImages,
    pub instance_images: InstanceImages,
    pub is_connected: IsConnected,
    pub mint_join_token: MintJoinToken,
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
