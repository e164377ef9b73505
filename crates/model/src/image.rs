//! The registry's records: repositories, manifests and tags. Blobs (layers, configs and the
//! manifests' own bytes) are not state; they are in the object store under their digest.

use crate::document::Tags;
use crate::ids::{Digest, RepositoryName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Repository {
    pub name: RepositoryName,
    pub created_at: Timestamp,
    /// IMMUTABLE: a tag once pushed keeps its digest.
    pub immutable_tags: bool,
    pub scan_on_push: bool,
    pub tags: Tags,
}

/// One manifest (or index) of a repository.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub repository: RepositoryName,
    pub digest: Digest,
    pub media_type: String,
    pub artifact_type: Option<String>,
    /// The manifest this one refers to, for the referrers list.
    pub subject: Option<Digest>,
    /// Blobs and manifests this one needs.
    pub references: Vec<Digest>,
    /// Bytes of the manifest itself.
    pub manifest_bytes: u64,
    /// Bytes of config and layers together; what ECR calls imageSizeInBytes.
    pub image_bytes: u64,
    pub pushed_at: Timestamp,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ImageTag {
    pub repository: RepositoryName,
    pub tag: String,
    pub digest: Digest,
    pub tagged_at: Timestamp,
}

/// A blob is visible in a repository only through such a link (pushed there, or mounted from
/// another).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BlobLink {
    pub repository: RepositoryName,
    pub digest: Digest,
    pub bytes: u64,
    pub linked_at: Timestamp,
}
