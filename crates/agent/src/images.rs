//! Where images come from, as the agent needs it: a reference goes in, a root file system's layers
//! and its configuration come out. The one implementation is the runtime's image store; tests have
//! their own.

use model::session::{RegistryAccess, RegistryCredentials};
use model::{Digest, TaskId};
use runtime::image::ImageConfig;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

/// An image on this machine, held against removal for as long as this value lives, and for as long
/// as the task it was pulled for has not been let go of.
pub struct Image {
    pub digest: Digest,
    pub config: ImageConfig,
    /// Unpacked, lowest first.
    pub layers: Vec<PathBuf>,
    pub hold: Arc<dyn Send + Sync>,
}

/// What is wanted, by whom.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Whose image it is to be: it stays until `release`, whatever becomes of this process.
    pub task: TaskId,
    pub reference: String,
    /// ECS's name, as in `X86_64`.
    pub architecture: String,
    /// Instead of what the registry is known with.
    pub credentials: Option<RegistryCredentials>,
}

pub trait Images: Send + Sync + 'static {
    /// Says how to reach our own registry; told anew with every session.
    fn use_registry(&self, access: &RegistryAccess);

    /// Makes the image present. The error is ECS's text.
    fn pull(&self, wanted: Wanted) -> impl Future<Output = Result<Image, String>> + Send;

    /// The task is gone: what was pulled for it is its no longer.
    fn release(&self, task: &TaskId);

    /// Told once, first: the tasks that there are. What others had pulled is theirs no longer.
    fn keep_only(&self, tasks: &[TaskId]);
}
