//! The registry's records: repositories, manifests and tags, and what is set for a repository or
//! for the registry as a whole. Blobs (layers, configs and the manifests' own bytes) are not state;
//! they are in the object store under their digest.

use crate::document::{Document, Tags};
use crate::ids::{Digest, RepositoryName};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Repository {
    pub name: RepositoryName,
    pub created_at: Timestamp,
    /// IMMUTABLE: a tag once pushed keeps its digest.
    pub immutable_tags: bool,
    /// Tags that match one of these patterns are the other way round: mutable where all others are
    /// immutable, immutable where all others are mutable. `*` stands for any characters.
    #[serde(default)]
    pub tag_exclusions: Vec<String>,
    pub scan_on_push: bool,
    pub tags: Tags,
}

impl Repository {
    /// Whether this tag, once pushed, keeps its digest.
    pub fn keeps_tag(&self, tag: &str) -> bool {
        let excluded = self.tag_exclusions.iter().any(|pattern| matches_wildcards(pattern, tag));
        self.immutable_tags != excluded
    }
}

/// Whether a text matches a pattern in which `*` stands for any characters, also none. Takes the
/// leftmost place for each piece between two stars, which never misses a match.
pub fn matches_wildcards(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let tail = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = text.find(piece) else { return false };
        text = &text[at + piece.len()..];
    }
    text.ends_with(tail)
}

/// A repository's lifecycle policy as it was given; `plan::lifecycle_policy` reads it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LifecyclePolicy {
    pub repository: RepositoryName,
    pub text: String,
    pub put_at: Timestamp,
}

/// When a repository's lifecycle policy was last applied.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LifecycleEvaluation {
    pub repository: RepositoryName,
    pub evaluated_at: Timestamp,
}

/// A lifecycle policy that was asked what it would do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LifecyclePreview {
    pub repository: RepositoryName,
    pub text: String,
    /// What was pushed later is not part of the answer.
    pub started_at: Timestamp,
}

/// Who may do what with a repository. Kept and shown; nothing is decided by it yet.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RepositoryPolicy {
    pub repository: RepositoryName,
    pub text: String,
}

/// A setting of the whole registry that is kept and shown and that nothing obeys yet.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RegistryDocument {
    /// As in `policy`, `replication`, `scanning`.
    pub name: String,
    pub document: Document,
}

/// Image names that begin with `prefix` mean another registry's images, kept here once pulled.
/// `PREFIX/a/b` here is `a/b` there, or `UPSTREAM_PREFIX/a/b`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PullThroughCacheRule {
    /// Without the `/` at its end. `ROOT` stands for names that no other rule's prefix begins.
    pub prefix: String,
    /// A host name, and a port where it is not 443: `registry-1.docker.io`.
    pub upstream_url: String,
    /// AWS's name of the upstream registry, as in `docker-hub`.
    pub upstream_registry: String,
    /// None is the upstream's root, and so is `ROOT`, which is kept to be shown as it was given.
    pub upstream_prefix: Option<String>,
    /// The secret with the upstream's `username` and `accessToken`; none is needed to pull what is
    /// public.
    pub credential_arn: Option<String>,
    pub custom_role_arn: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// When an image was last pulled, to within a day, as ECR has it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ImagePull {
    pub repository: RepositoryName,
    pub digest: Digest,
    pub pulled_at: Timestamp,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, matches) in [
            ("prod", "prod", true),
            ("prod", "prod1", false),
            ("prod*", "prod", true),
            ("prod*", "production", true),
            ("*prod*", "re-production", true),
            ("*prod", "prod-1", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*a*b*", "xaxbx", true),
            ("*a*b*", "xbxax", false),
            ("a*b*b", "ab", false),
            ("a*b*b", "abab", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches_wildcards(pattern, text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn exclusions_are_the_other_way_round() {
        let repository = |immutable_tags, exclusions: &[&str]| Repository {
            name: "web".into(),
            created_at: Timestamp(0),
            immutable_tags,
            tag_exclusions: exclusions.iter().map(|text| (*text).to_owned()).collect(),
            scan_on_push: false,
            tags: Tags::new(),
        };
        assert!(!repository(false, &[]).keeps_tag("latest"));
        assert!(repository(true, &[]).keeps_tag("latest"));
        assert!(!repository(true, &["latest", "dev-*"]).keeps_tag("dev-1"));
        assert!(repository(true, &["latest", "dev-*"]).keeps_tag("v1"));
        assert!(repository(false, &["v*"]).keeps_tag("v1"));
        assert!(!repository(false, &["v*"]).keeps_tag("latest"));
    }
}
