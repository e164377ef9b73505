//! Manifests, indexes and image configurations, read from JSON that a stranger wrote. What is kept
//! is what running needs; what is not understood is refused by its media type rather than guessed
//! at.

use super::digest::Digest;
use super::failure::PullFailure;
use super::limits;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub const MANIFEST_DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const MANIFEST_OCI: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX_DOCKER: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const INDEX_OCI: &str = "application/vnd.oci.image.index.v1+json";

const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json"];
const LAYER_TYPES: [&str; 8] = [
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
];

/// The platforms that tasks run on, as `runtimePlatform` names them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Platform {
    LinuxAmd64,
    LinuxArm64,
}

impl Platform {
    /// What this program was built for.
    pub const fn host() -> Self {
        if cfg!(target_arch = "aarch64") { Self::LinuxArm64 } else { Self::LinuxAmd64 }
    }

    fn architecture(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "amd64",
            Self::LinuxArm64 => "arm64",
        }
    }

    /// `variant` tells levels of one architecture apart; the level everyone has is the one we take.
    fn takes(self, wanted: &PlatformJson) -> bool {
        let variant = match self {
            Self::LinuxAmd64 => matches!(wanted.variant.as_str(), "" | "v1"),
            Self::LinuxArm64 => matches!(wanted.variant.as_str(), "" | "v8"),
        };
        wanted.os == "linux" && wanted.architecture == self.architecture() && variant
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture())
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default)]
    platform: Option<PlatformJson>,
}

impl Descriptor {
    /// Of content that nobody described but by its name.
    pub fn of(digest: Digest, size: u64) -> Self {
        Self { media_type: String::new(), digest, size, platform: None }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
struct PlatformJson {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    variant: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// What a registry may serve under a tag or a digest.
#[derive(Debug)]
pub(crate) enum ManifestOrIndex {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestJson {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// `content_type` is the response's, and only asked when the document doesn't say what it is.
pub(crate) fn parse_manifest(
    what: &str,
    content_type: &str,
    body: &[u8],
) -> Result<ManifestOrIndex, PullFailure> {
    let malformed = |problem: String| PullFailure::Malformed { what: what.to_owned(), problem };
    // Schema 1 has neither config nor digests of the kind we read; it is told apart before it is
    // parsed.
    let json: ManifestJson =
        serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let media_type = json
        .media_type
        .as_deref()
        .unwrap_or_else(|| content_type.split(';').next().unwrap_or_default().trim());
    let unsupported = || PullFailure::UnsupportedMediaType {
        what: what.to_owned(),
        media_type: media_type.to_owned(),
    };
    if json.schema_version != 2 {
        return Err(unsupported());
    }
    let is_index = match media_type {
        MANIFEST_DOCKER | MANIFEST_OCI => false,
        INDEX_DOCKER | INDEX_OCI => true,
        "" | "application/json" | "application/octet-stream" => json.manifests.is_some(),
        _ => return Err(unsupported()),
    };
    // A document that could be read both ways is how one digest is made to mean two images.
    match (is_index, json.config, json.layers, json.manifests) {
        (true, None, None, Some(manifests)) => Ok(ManifestOrIndex::Index(manifests)),
        (false, Some(config), Some(layers), None) => {
            check_manifest(what, &config, &layers)?;
            Ok(ManifestOrIndex::Manifest(Manifest { config, layers }))
        }
        _ => Err(malformed("neither a manifest nor an index".to_owned())),
    }
}

fn check_manifest(
    what: &str,
    config: &Descriptor,
    layers: &[Descriptor],
) -> Result<(), PullFailure> {
    let supported = |kind: &str, descriptor: &Descriptor, types: &[&str]| {
        if types.contains(&descriptor.media_type.as_str()) {
            return Ok(());
        }
        Err(PullFailure::UnsupportedMediaType {
            what: format!("{kind} {}", descriptor.digest),
            media_type: descriptor.media_type.clone(),
        })
    };
    supported("config", config, &CONFIG_TYPES)?;
    for layer in layers {
        supported("layer", layer, &LAYER_TYPES)?;
    }
    if layers.len() > limits::LAYERS_MAX {
        return Err(PullFailure::TooLarge {
            what: format!("the number of layers of {what}"),
            bound: limits::LAYERS_MAX as u64,
        });
    }
    let bounded = |descriptor: &Descriptor, bound| {
        if descriptor.size <= bound {
            return Ok(());
        }
        Err(PullFailure::TooLarge { what: descriptor.digest.to_string(), bound })
    };
    bounded(config, limits::CONFIG_BYTES_MAX)?;
    layers.iter().try_for_each(|layer| bounded(layer, limits::LAYER_COMPRESSED_BYTES_MAX))
}

/// The manifest of an index to take. Build attestations say `unknown/unknown` and are never taken.
pub(crate) fn pick(index: &[Descriptor], platform: Platform) -> Option<&Descriptor> {
    index.iter().find(|entry| entry.platform.as_ref().is_some_and(|p| platform.takes(p)))
}

/// What an image says about how it wants to be run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    pub architecture: String,
    pub os: String,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `NAME=value`, in the image's order.
    pub env: Vec<String>,
    /// Empty for `/`.
    pub working_dir: String,
    /// As written: `app`, `1000:1000`, empty for root.
    pub user: String,
    pub stop_signal: Option<String>,
    pub volumes: BTreeSet<String>,
    /// `80/tcp` and the like.
    pub exposed_ports: BTreeSet<String>,
    pub labels: BTreeMap<String, String>,
    /// Uncompressed digests of the layers, lowest first.
    pub diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct ConfigJson {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    config: Option<RunJson>,
    rootfs: RootfsJson,
}

#[derive(Deserialize)]
struct RootfsJson {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

/// Docker writes `null` for what is absent, so every field may be.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RunJson {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    working_dir: Option<String>,
    user: Option<String>,
    stop_signal: Option<String>,
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    labels: Option<BTreeMap<String, String>>,
}

impl ImageConfig {
    /// `what` names the image in failures.
    pub(crate) fn parse(what: &str, body: &[u8]) -> Result<Self, PullFailure> {
        let json: ConfigJson = serde_json::from_slice(body).map_err(|error| {
            PullFailure::Malformed { what: format!("config of {what}"), problem: error.to_string() }
        })?;
        let run = json.config.unwrap_or_default();
        Ok(Self {
            architecture: json.architecture,
            os: json.os,
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            env: run.env.unwrap_or_default(),
            working_dir: run.working_dir.unwrap_or_default(),
            user: run.user.unwrap_or_default(),
            stop_signal: run.stop_signal.filter(|signal| !signal.is_empty()),
            volumes: run.volumes.unwrap_or_default().into_keys().collect(),
            exposed_ports: run.exposed_ports.unwrap_or_default().into_keys().collect(),
            labels: run.labels.unwrap_or_default(),
            diff_ids: json.rootfs.diff_ids.unwrap_or_default(),
        })
    }

    /// An image that names no platform is taken at its word.
    pub(crate) fn runs_on(&self, platform: Platform) -> bool {
        (self.os.is_empty() || self.os == "linux")
            && (self.architecture.is_empty() || self.architecture == platform.architecture())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn descriptor(media_type: &str, platform: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{D}","size":7{platform}}}"#)
    }

    fn manifest(config: &str, layer: &str) -> String {
        let (config, layer) = (descriptor(config, ""), descriptor(layer, ""));
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#)
    }

    #[test]
    fn a_manifest_is_known_by_its_own_words_or_its_content_type() {
        let text = manifest(CONFIG_TYPES[1], LAYER_TYPES[4]);
        for content_type in [MANIFEST_OCI, MANIFEST_DOCKER, "", "application/json; charset=utf-8"] {
            let parsed = parse_manifest("x", content_type, text.as_bytes()).unwrap();
            assert!(matches!(parsed, ManifestOrIndex::Manifest(m) if m.layers.len() == 1));
        }
    }

    #[test]
    fn what_is_no_image_is_refused_by_its_media_type() {
        let schema_1 = r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned();
        let chart = manifest("application/vnd.cncf.helm.config.v1+json", LAYER_TYPES[4]);
        let encrypted =
            manifest(CONFIG_TYPES[1], "application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
        for text in [schema_1, chart, encrypted] {
            let failure = parse_manifest("x", MANIFEST_OCI, text.as_bytes()).unwrap_err();
            assert!(matches!(failure, PullFailure::UnsupportedMediaType { .. }), "{failure}");
        }
        let image = manifest(CONFIG_TYPES[0], LAYER_TYPES[0]);
        let failure = parse_manifest("x", "text/html", image.as_bytes()).unwrap_err();
        assert!(matches!(failure, PullFailure::UnsupportedMediaType { .. }), "{failure}");
    }

    #[test]
    fn a_document_with_two_meanings_is_refused() {
        let image = manifest(CONFIG_TYPES[0], LAYER_TYPES[0]);
        let both = image.replacen('{', r#"{"manifests":[],"#, 1);
        for content_type in [MANIFEST_OCI, INDEX_OCI, ""] {
            let failure = parse_manifest("x", content_type, both.as_bytes()).unwrap_err();
            assert!(matches!(failure, PullFailure::Malformed { .. }), "{failure}");
        }
    }

    #[test]
    fn the_platform_is_picked_exactly() {
        let entry = |os: &str, arch: &str, variant: &str| {
            let platform = format!(
                r#","platform":{{"os":"{os}","architecture":"{arch}","variant":"{variant}"}}"#
            );
            serde_json::from_str::<Descriptor>(&descriptor(MANIFEST_OCI, &platform)).unwrap()
        };
        let index = [
            entry("unknown", "unknown", ""),
            entry("windows", "amd64", ""),
            entry("linux", "amd64", "v3"),
            entry("linux", "arm64", "v8"),
        ];
        assert!(pick(&index, Platform::LinuxAmd64).is_none());
        assert!(std::ptr::eq(pick(&index, Platform::LinuxArm64).unwrap(), &index[3]));
    }

    #[test]
    fn a_config_of_nulls_is_a_config() {
        let text = r#"{"architecture":"amd64","os":"linux",
            "config":{"Cmd":["/app"],"Entrypoint":null,"Env":null,"Volumes":{"/data":{}},"User":"",
            "StopSignal":"SIGQUIT","Healthcheck":{"Test":[]}},
            "rootfs":{"type":"layers","diff_ids":null}}"#;
        let config = ImageConfig::parse("x", text.as_bytes()).unwrap();
        assert_eq!(config.cmd, ["/app"]);
        assert!(config.entrypoint.is_empty() && config.diff_ids.is_empty());
        assert_eq!(config.stop_signal.as_deref(), Some("SIGQUIT"));
        assert!(config.volumes.contains("/data"));
        assert!(config.runs_on(Platform::LinuxAmd64) && !config.runs_on(Platform::LinuxArm64));
    }
}
