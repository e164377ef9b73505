//! Reads an image's manifest or index as far as a registry must know it: what it is, what it needs,
//! what it is about. Also what digests, tags and repository names look like.
//! Source: OCI image and distribution specifications.

use crate::ids::Digest;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// One manifest, in bytes: ECR's bound and the distribution specification's advice.
pub const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Layers (and other blobs) one manifest names. ECR's bound for layers of an image is 4,200.
pub const MANIFEST_BLOBS_MAX: usize = 4200;
/// Manifests one index names: each is guarded by the transaction that stores the index.
pub const INDEX_MANIFESTS_MAX: usize = 100;
/// Characters of a repository name. Source: ECR API reference, CreateRepository.
pub const REPOSITORY_NAME_CHARS_MAX: usize = 256;
/// Characters of a tag. Source: OCI distribution specification, "Pulling manifests".
pub const TAG_CHARS_MAX: usize = 128;

/// A manifest taken apart.
#[derive(Debug, PartialEq)]
pub struct Document {
    pub media_type: String,
    pub artifact_type: Option<String>,
    pub subject: Option<Digest>,
    /// Config and layers, but for layers that live elsewhere.
    pub blobs: Vec<Needed>,
    /// Manifests of an index.
    pub manifests: Vec<Needed>,
    /// Config and layers together.
    pub image_bytes: u64,
}

/// Content a manifest needs.
#[derive(Debug, PartialEq)]
pub struct Needed {
    pub digest: Digest,
    pub bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    digest: String,
    size: u64,
    #[serde(default)]
    urls: Vec<String>,
}

/// What is wrong with a manifest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

fn invalid(message: impl Into<String>) -> Malformed {
    Malformed(message.into())
}

impl Document {
    /// `content_type` is the header's, without parameters; empty when there was none.
    pub fn parse(content: &[u8], content_type: &str) -> Result<Self, Malformed> {
        let raw: Raw = serde_json::from_slice(content)
            .map_err(|failure| invalid(format!("the manifest is malformed: {failure}")))?;
        if raw.schema_version != 2 {
            return Err(invalid("only manifests of schema version 2 are served"));
        }
        let media_type = media_type(&raw, content_type)?;
        let is_index = matches!(media_type.as_str(), DOCKER_LIST | OCI_INDEX);
        let mut document = Self {
            media_type,
            artifact_type: raw.artifact_type,
            subject: raw.subject.as_ref().map(|it| read(it).map(|it| it.digest)).transpose()?,
            blobs: Vec::new(),
            manifests: Vec::new(),
            image_bytes: 0,
        };
        match is_index {
            true => document.take_index(raw.config, raw.layers, raw.manifests)?,
            false => document.take_image(raw.config, raw.layers, raw.manifests)?,
        }
        Ok(document)
    }

    fn take_index(
        &mut self,
        config: Option<Descriptor>,
        layers: Option<Vec<Descriptor>>,
        manifests: Option<Vec<Descriptor>>,
    ) -> Result<(), Malformed> {
        let (None, None, Some(manifests)) = (config, layers, manifests) else {
            return Err(invalid("an index has manifests, and neither config nor layers"));
        };
        if manifests.len() > INDEX_MANIFESTS_MAX {
            return Err(invalid(format!("an index has at most {INDEX_MANIFESTS_MAX} manifests")));
        }
        self.manifests = manifests.iter().map(read).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn take_image(
        &mut self,
        config: Option<Descriptor>,
        layers: Option<Vec<Descriptor>>,
        manifests: Option<Vec<Descriptor>>,
    ) -> Result<(), Malformed> {
        let (Some(config), Some(layers), None) = (config, layers, manifests) else {
            return Err(invalid("a manifest has config and layers, and no manifests"));
        };
        if layers.len() >= MANIFEST_BLOBS_MAX {
            return Err(invalid(format!("a manifest names at most {MANIFEST_BLOBS_MAX} blobs")));
        }
        // An artifact without a type of its own is of the type of its config.
        if self.artifact_type.is_none() {
            self.artifact_type.clone_from(&config.media_type);
        }
        for descriptor in std::iter::once(&config).chain(&layers) {
            let needed = read(descriptor)?;
            self.image_bytes = self.image_bytes.saturating_add(needed.bytes);
            if descriptor.urls.is_empty() {
                self.blobs.push(needed);
            }
        }
        Ok(())
    }
}

/// The header and the manifest's own word must agree; one of them must be there.
fn media_type(raw: &Raw, content_type: &str) -> Result<String, Malformed> {
    let own = raw.media_type.as_deref().unwrap_or("");
    if !own.is_empty() && !content_type.is_empty() && own != content_type {
        return Err(invalid(format!(
            "the manifest says it is {own}, its Content-Type says {content_type}"
        )));
    }
    let media_type = if own.is_empty() { content_type } else { own };
    match media_type {
        DOCKER_MANIFEST | DOCKER_LIST | OCI_MANIFEST | OCI_INDEX => Ok(media_type.to_owned()),
        other => Err(invalid(format!("manifests of type '{other}' are not served"))),
    }
}

fn read(descriptor: &Descriptor) -> Result<Needed, Malformed> {
    let digest = parse_digest(&descriptor.digest)
        .ok_or_else(|| invalid(format!("'{}' is no sha256 digest", descriptor.digest)))?;
    Ok(Needed { digest, bytes: descriptor.size })
}

/// A sha256 digest in its one form. Others that the specification knows are not served, as on ECR.
pub fn parse_digest(text: &str) -> Option<Digest> {
    let digits = text.strip_prefix("sha256:")?;
    let lower_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    (digits.len() == 64 && digits.bytes().all(lower_hex)).then(|| Digest::from(text))
}

/// Letters, digits, `_`, `.` and `-`, the first a letter, digit or `_`.
pub fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.len() <= TAG_CHARS_MAX
        && text.starts_with(word)
        && text.chars().all(|c| word(c) || c == '.' || c == '-')
}

/// Parts joined by `/`; a part is runs of lower-case letters and digits, joined by one `.`, one or
/// two `_`, or any number of `-`. Source: OCI distribution specification, "Pulling manifests".
pub fn is_repository_name(name: &str) -> bool {
    name.len() <= REPOSITORY_NAME_CHARS_MAX && name.split('/').all(is_name_part)
}

fn is_name_part(part: &str) -> bool {
    let run = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !part.starts_with(run) || !part.ends_with(run) {
        return false;
    }
    part.split(run)
        .all(|joint| matches!(joint, "" | "." | "_" | "__") || joint.bytes().all(|b| b == b'-'))
}

/// A manifest's annotations, which the referrers list repeats.
pub fn annotations(content: &[u8]) -> BTreeMap<String, Value> {
    #[derive(Deserialize)]
    struct Annotated {
        #[serde(default)]
        annotations: Option<BTreeMap<String, Value>>,
    }
    // What is stored was read once; annotations of an unexpected form are none.
    let annotated = serde_json::from_slice::<Annotated>(content).ok();
    annotated.and_then(|annotated| annotated.annotations).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn descriptor(n: u8, size: u64) -> Value {
        let digest = format!("sha256:{}", format!("{n:02x}").repeat(32));
        json!({ "mediaType": "application/x", "digest": digest, "size": size })
    }

    #[test]
    fn an_image_names_its_config_and_layers() {
        let mut foreign = descriptor(3, 100);
        foreign["urls"] = json!(["https://elsewhere/"]);
        let image = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(1, 10),
            "layers": [descriptor(2, 20), foreign], "subject": descriptor(4, 1),
        });
        let read = Document::parse(image.to_string().as_bytes(), "").expect("valid");
        assert_eq!(read.blobs.iter().map(|it| it.bytes).collect::<Vec<_>>(), [10, 20]);
        assert_eq!(read.image_bytes, 130);
        assert_eq!(read.artifact_type.as_deref(), Some("application/x"));
        assert_eq!(read.subject, parse_digest(&format!("sha256:{}", "04".repeat(32))));
        assert!(Document::parse(image.to_string().as_bytes(), DOCKER_MANIFEST).is_err());
    }

    #[test]
    fn what_is_neither_image_nor_index_is_refused() {
        let config = descriptor(1, 10);
        for bad in [
            json!([]),
            json!({ "schemaVersion": 1, "mediaType": OCI_MANIFEST }),
            json!({ "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [] }),
            json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "config": config, "layers": [] }),
            json!({ "schemaVersion": 2, "mediaType": "text/x", "config": config, "layers": [] }),
            json!({ "schemaVersion": 2, "config": config, "layers": [] }),
            json!({
                "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
                "config": { "digest": "sha512:00", "size": 1 },
            }),
            json!({
                "schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [],
                "config": { "digest": config["digest"], "size": -1 },
            }),
        ] {
            assert!(Document::parse(bad.to_string().as_bytes(), "").is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_what_the_specification_says() {
        for name in ["a", "a/b/c", "a.b", "a_b", "a__b", "a---b", "0/9"] {
            assert!(is_repository_name(name), "{name}");
        }
        for name in ["", "/", "a/", "/a", "A", "a..b", "a___b", "-a", "a-", "a._b", "..", "a b"] {
            assert!(!is_repository_name(name), "{name}");
        }
    }
}
