//! A registry to ask for single documents and blobs, for whoever keeps them somewhere else than in
//! an image store: the pull-through caches of our own registry. The client is the same that pulls
//! images, with all its patience and suspicion.

use super::blob::BlobStream;
use super::client::{Document, RegistryClient};
use super::digest::Digest;
use super::endpoint::{BasicAuth, RegistryMap};
use super::failure::PullFailure;
use super::manifest::Descriptor;
use super::reference::ImageRef;
use super::transport::Patience;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// Cheap to clone; all clones share what was learnt of registries, and their connections.
#[derive(Clone)]
pub struct RemoteRegistries {
    client: Arc<RegistryClient>,
}

impl fmt::Debug for RemoteRegistries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteRegistries")
    }
}

/// A manifest or an index, of the digest that was asked for if one was.
#[derive(Clone, Debug)]
pub struct RemoteManifest {
    pub digest: Digest,
    pub media_type: String,
    pub body: Vec<u8>,
}

/// A blob on its way. Its bytes may be believed once `next` has said that there are no more.
pub struct RemoteBlob {
    stream: BlobStream,
}

impl RemoteRegistries {
    pub fn new(map: RegistryMap, patience: Patience) -> Self {
        Self { client: Arc::new(RegistryClient::new(map, patience)) }
    }

    /// What the reference's tag or digest names.
    pub async fn manifest(
        &self,
        reference: &ImageRef,
        auth: Option<BasicAuth>,
    ) -> Result<RemoteManifest, PullFailure> {
        let session = self.client.session(reference, auth).await?;
        let Document { digest, content_type, body } = session.manifest(reference.digest).await?;
        Ok(RemoteManifest { digest, media_type: content_type, body })
    }

    /// A blob of the reference's repository, of this digest and size.
    pub async fn blob(
        &self,
        reference: &ImageRef,
        auth: Option<BasicAuth>,
        digest: Digest,
        size: u64,
    ) -> Result<RemoteBlob, PullFailure> {
        let session = self.client.session(reference, auth).await?;
        let stream = BlobStream::new(&session, "layer", &Descriptor::of(digest, size));
        Ok(RemoteBlob { stream })
    }
}

impl RemoteBlob {
    /// The next bytes; nothing at the end, when all of them have proved right.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PullFailure> {
        self.stream.next().await
    }
}
