//! Images: from a reference to unpacked layers on this disk. Registries and images are strangers:
//! what they send is checked against digests while it streams, unpacked in confinement, and
//! bounded in every direction (`limits`). The way of a pull: `reference` → `store` → `client` →
//! `blob` → `inflate` → `tar_stream` → `unpack` → `disk`; `layer` runs one layer's part of it.

mod blob;
mod challenge;
mod client;
mod confine;
mod digest;
mod disk;
mod endpoint;
mod failure;
mod flight;
mod implied;
mod inflate;
mod layer;
pub mod limits;
mod manifest;
mod progress;
mod proxy;
mod reference;
mod remote;
mod store;
mod sweep;
mod tar_stream;
mod transport;
mod unpack;

pub use digest::{Digest, DigestProblem, Hasher};
pub use disk::{Cleanup, Collected, ImageHold, StoredImage};
pub use endpoint::{
    BasicAuth, Credentials, CredentialsProvider, Endpoint, LearnedHosts, RegistryMap,
};
pub use failure::PullFailure;
pub use manifest::{ImageConfig, Platform};
pub use progress::{Progress, Watcher};
pub use proxy::{Proxies, ProxyProblem};
pub use reference::ImageRef;
pub use remote::{RemoteBlob, RemoteManifest, RemoteRegistries};
pub use store::{Image, ImageStore};
pub use transport::Patience;
