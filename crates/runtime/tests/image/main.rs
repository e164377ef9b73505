//! The image side against real registries on loopback and real directories: what is pulled is what
//! was pushed, what is hostile stays inside, what is broken is healed or told in ECS's words.

mod breakouts;
mod collecting;
mod confinement;
mod crash;
mod differential;
mod formats;
mod hostile;
mod lies;
mod overlay;
mod proxied;
mod pulling;
mod registry;
mod tars;
mod tls;
mod trees;
mod troubles;

use registry::Registry;
use runtime::image::{Image, ImageStore, Patience, Platform, PullFailure, RegistryMap};
use std::path::Path;
use std::time::Duration;

/// Deadlines that make a test of silence quick.
fn impatient() -> Patience {
    Patience {
        connect: Duration::from_secs(2),
        headers: Duration::from_millis(400),
        idle: Duration::from_millis(400),
        backoff_first: Duration::from_millis(2),
        ..Patience::default()
    }
}

fn open(path: &Path) -> ImageStore {
    ImageStore::open_with(path, RegistryMap::default(), impatient()).unwrap()
}

/// Pulls `app:v1` from the registry into a store of its own.
async fn pull(store: &ImageStore, registry: &Registry) -> Result<Image, PullFailure> {
    let reference = format!("{}/app:v1", registry.host());
    store.pull(&reference, None, Platform::LinuxAmd64).await
}
