//! Where images come from, as the agent needs it: a reference goes in, a root file system's layers
//! and its configuration come out. The one implementation is the runtime's image store; tests have
//! their own.

use model::Digest;
use model::session::RegistryAccess;
use runtime::image::ImageConfig;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

/// An image on this machine, held against removal for as long as this value lives.
pub struct Image {
    pub digest: Digest,
    pub config: ImageConfig,
    /// Unpacked, lowest first.
    pub layers: Vec<PathBuf>,
    pub hold: Arc<dyn Send + Sync>,
}

pub trait Images: Send + Sync + 'static {
    /// Says how to reach our own registry; told anew with every session.
    fn use_registry(&self, access: &RegistryAccess);

    /// Makes the image present. `architecture` is ECS's name, as in `X86_64`. The error is ECS's
    /// text.
    fn pull(
        &self,
        reference: &str,
        architecture: &str,
    ) -> impl Future<Output = Result<Image, String>> + Send;
}
