//! Images that other tools have written: what `docker save` and skopeo's `docker-archive:` write,
//! and the OCI layout, each as a tar or as a folder. Their layers are pushed as they are. A tar
//! that is neither is taken for a root file system, as `docker import` takes it.

use super::parts::{CONFIG, Image, LAYER, Part, Span, Wishes, digest};
use super::progress::Counter;
use anyhow::{Context, Result, anyhow, bail};
use runtime::image::Platform;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use tar::EntryType;

/// Bytes of a manifest, an index or a configuration.
const DOCUMENT_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Entries of an archive.
const ENTRIES_MAX: usize = 2_000_000;
/// Links from one name of an archive to the next.
const LINKS_MAX: usize = 8;
/// Indexes in indexes.
const INDEX_DEPTH_MAX: usize = 3;

const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// Where the files of an image lie.
#[derive(Debug)]
pub enum Place {
    Folder(PathBuf),
    Tar(Tar),
}

#[derive(Debug)]
pub struct Tar {
    whole: Span,
    files: BTreeMap<String, (u64, u64)>,
    links: BTreeMap<String, String>,
}

impl Place {
    /// Reads where everything in the tar lies.
    pub fn tar(whole: Span) -> Result<Self> {
        let mut tar = Tar { whole, files: BTreeMap::new(), links: BTreeMap::new() };
        let mut file = tar.whole.file.try_clone()?;
        file.rewind()?;
        let mut archive = tar::Archive::new(BufReader::new(file));
        let mut entries = 0;
        for entry in archive.entries_with_seek()? {
            let entry = entry.map_err(|error| match entries {
                0 => anyhow!("it is neither a program nor an archive"),
                _ => anyhow!("the archive is damaged or cut off: {error}"),
            })?;
            entries += 1;
            if entries > ENTRIES_MAX {
                bail!("the archive holds more than {ENTRIES_MAX} entries");
            }
            let name = plain(&String::from_utf8_lossy(&entry.path_bytes()));
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    let (at, bytes) = (entry.raw_file_position(), entry.size());
                    if at.checked_add(bytes).is_none_or(|end| end > tar.whole.bytes) {
                        bail!("the archive is cut off in {name}");
                    }
                    tar.files.insert(name, (at, bytes));
                }
                kind @ (EntryType::Symlink | EntryType::Link) => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    let target = String::from_utf8_lossy(&target);
                    // A symbolic link's target is seen from its folder, a hard link's is not.
                    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                    let folder = if kind == EntryType::Symlink { folder } else { "" };
                    let target = plain(&format!("{folder}/{target}"));
                    tar.links.insert(name, target);
                }
                _ => {}
            }
        }
        if entries == 0 {
            bail!("the archive is empty: there is nothing to make an image of");
        }
        Ok(Self::Tar(tar))
    }

    pub fn holds(&self, name: &str) -> bool {
        self.open(name).is_ok()
    }

    fn open(&self, name: &str) -> Result<Span> {
        match self {
            Self::Folder(folder) => {
                let file = File::open(folder.join(name)).with_context(|| format!("no {name}"))?;
                if !file.metadata()?.is_file() {
                    bail!("{name} is no file");
                }
                Ok(Span::whole(file)?)
            }
            Self::Tar(tar) => {
                let mut name = plain(name);
                for _ in 0..LINKS_MAX {
                    if let Some((offset, bytes)) = tar.files.get(&name).copied() {
                        let offset = tar.whole.offset + offset;
                        return Ok(Span { offset, bytes, ..tar.whole.clone() });
                    }
                    match tar.links.get(&name) {
                        Some(target) => name.clone_from(target),
                        None => break,
                    }
                }
                bail!("no {name}")
            }
        }
    }

    fn document(&self, name: &str) -> Result<Vec<u8>> {
        self.open(name)?.read(DOCUMENT_BYTES_MAX).with_context(|| format!("reading {name}"))
    }

    /// A blob of an OCI layout.
    fn blob(&self, digest: &str) -> Result<Span> {
        self.open(&format!("blobs/{}", digest.replacen(':', "/", 1)))
    }

    fn blob_document(&self, of: &Descriptor) -> Result<Vec<u8>> {
        let bytes = self.blob(&of.digest)?.read(DOCUMENT_BYTES_MAX)?;
        if digest(&bytes) != of.digest {
            bail!("{} is not what its digest says", of.digest);
        }
        Ok(bytes)
    }
}

/// A name in an archive without what says nothing. One that climbs out stays inside.
fn plain(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What kind of image lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Docker,
    Oci,
    /// No image: files.
    Files,
}

impl Form {
    pub fn of(place: &Place) -> Self {
        if place.holds("manifest.json") && saved(place).is_ok() {
            Self::Docker
        } else if place.holds("index.json") && place.holds("oci-layout") {
            Self::Oci
        } else {
            Self::Files
        }
    }
}

/// One image of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn saved(place: &Place) -> Result<Vec<Saved>> {
    let bytes = place.document("manifest.json")?;
    serde_json::from_slice(&bytes).context("manifest.json is not what docker save writes")
}

/// What is asked of an archive.
pub struct Asked<'a> {
    pub wishes: &'a Wishes,
    /// Given on the command line.
    pub platform: Option<Platform>,
    pub counter: &'a Counter,
}

pub fn docker(place: &Place, asked: &Asked) -> Result<Image> {
    let mut all = saved(place)?;
    if all.len() != 1 {
        let names = all.iter().flat_map(|it| it.repo_tags.clone().unwrap_or_default());
        let names = names.collect::<Vec<_>>().join(", ");
        bail!("the archive holds {} images ({names}): save one by itself", all.len());
    }
    let saved = all.remove(0);
    let config = place.document(&saved.config)?;
    let mut json: Value = serde_json::from_slice(&config).context("the configuration")?;
    check_platform(&json, asked.platform)?;
    let diff_ids = json.pointer("/rootfs/diff_ids").and_then(Value::as_array);
    let diff_ids = diff_ids.cloned().unwrap_or_default();
    if diff_ids.len() != saved.layers.len() {
        bail!("{} layers, and a configuration of {}", saved.layers.len(), diff_ids.len());
    }
    let mut layers = Vec::new();
    for (name, diff_id) in saved.layers.iter().zip(&diff_ids) {
        let span = place.open(name)?;
        let digest = span.digest(asked.counter).with_context(|| format!("reading {name}"))?;
        let media_type = layer_type(&span)?;
        if media_type == LAYER && Some(digest.as_str()) != diff_id.as_str() {
            bail!("the archive is damaged: {name} is not what its configuration says");
        }
        layers.push(Part::file(&media_type, digest, span));
    }
    if asked.wishes.is_empty() {
        return Image::with_config(Part::memory(CONFIG, config), layers);
    }
    asked.wishes.apply(&mut json)?;
    Image::new(&json, layers)
}

/// By the bytes it begins with.
fn layer_type(span: &Span) -> Result<String> {
    Ok(match span.head::<4>()? {
        [0x1f, 0x8b, ..] => format!("{LAYER}+gzip"),
        [0x28, 0xb5, 0x2f, 0xfd] => format!("{LAYER}+zstd"),
        _ => LAYER.to_owned(),
    })
}

#[derive(Clone, Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    platform: Option<Value>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

pub fn oci(place: &Place, asked: &Asked) -> Result<Image> {
    let index = place.document("index.json")?;
    let mut found = Vec::new();
    collect(place, &index, 0, &mut found)?;
    let (descriptor, manifest, config) = choose(place, found, asked.platform)?;
    let kept = place.blob_document(&descriptor)?;
    let mut layers = Vec::new();
    for layer in &manifest.layers {
        let span = place.blob(&layer.digest)?;
        let digest = span.digest(asked.counter)?;
        if digest != layer.digest || span.bytes != layer.size {
            bail!("the layout is damaged: layer {} is not what its digest says", layer.digest);
        }
        layers.push(Part::file(&layer.media_type, digest, span));
    }
    if !asked.wishes.is_empty() {
        let mut config = config;
        asked.wishes.apply(&mut config)?;
        return Image::new(&config, layers);
    }
    // Word for word, so that the image keeps its digest.
    let config = place.blob_document(&manifest.config)?;
    let config = Part::memory(&manifest.config.media_type, config);
    let manifest = Part::memory(&descriptor.media_type, kept);
    Ok(Image { config, layers, manifest, notes: Vec::new() })
}

/// All manifests of images that an index leads to.
fn collect(place: &Place, index: &[u8], depth: usize, found: &mut Vec<Descriptor>) -> Result<()> {
    if depth > INDEX_DEPTH_MAX {
        bail!("indexes lie in indexes more than {INDEX_DEPTH_MAX} deep");
    }
    let index: Index = serde_json::from_slice(index).context("an index")?;
    for descriptor in index.manifests {
        if INDEXES.contains(&descriptor.media_type.as_str()) {
            let inner = place.blob_document(&descriptor)?;
            collect(place, &inner, depth + 1, found)?;
        } else if MANIFESTS.contains(&descriptor.media_type.as_str()) {
            found.push(descriptor);
        }
    }
    Ok(())
}

/// The one image for the platform.
fn choose(
    place: &Place,
    found: Vec<Descriptor>,
    platform: Option<Platform>,
) -> Result<(Descriptor, Manifest, Value)> {
    let single = found.len() == 1;
    let wanted = platform.unwrap_or_else(Platform::host);
    let mut fitting = Vec::new();
    for descriptor in found {
        let said = descriptor.platform.as_ref().map(platform_of);
        if !single && said.as_ref().is_some_and(|said| *said != wanted.to_string()) {
            continue;
        }
        let manifest = place.blob_document(&descriptor)?;
        let manifest: Manifest = serde_json::from_slice(&manifest).context("a manifest")?;
        let config: Value = serde_json::from_slice(&place.blob_document(&manifest.config)?)
            .context("the configuration")?;
        if single {
            check_platform(&config, platform)?;
        }
        if single || platform_of(&config) == wanted.to_string() {
            fitting.push((descriptor, manifest, config));
        }
    }
    match fitting.len() {
        0 => bail!("the layout holds no image for {wanted}"),
        1 => Ok(fitting.remove(0)),
        many => bail!("the layout holds {many} images for {wanted}: copy one by itself"),
    }
}

fn platform_of(value: &Value) -> String {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("unknown");
    format!("{}/{}", text("os"), text("architecture"))
}

/// An image for another platform may be pushed, but not under a wrong name.
fn check_platform(config: &Value, wanted: Option<Platform>) -> Result<()> {
    let is = platform_of(config);
    match wanted {
        Some(wanted) if is != wanted.to_string() => bail!("the image is for {is}, not {wanted}"),
        _ => Ok(()),
    }
}

/// A tar of files, as it is.
pub fn files(place: &Place, asked: &Asked) -> Result<Image> {
    let Place::Tar(tar) = place else { bail!("a folder of files is packed, not pushed") };
    let digest = tar.whole.digest(asked.counter)?;
    let layer = Part::file(LAYER, digest, tar.whole.clone());
    let platform = asked.platform.unwrap_or_else(Platform::host);
    Image::of_layer(layer, asked.wishes, platform)
}

/// A file that is read to its end into one without a name: standard input, or inflated.
pub fn spooled(mut from: impl Read) -> Result<File> {
    let mut file =
        tempfile::tempfile().context("cannot make a temporary file (TMPDIR says where)")?;
    let bound = runtime::image::limits::LAYER_UNPACKED_BYTES_MAX;
    let copied = std::io::copy(&mut (&mut from).take(bound + 1), &mut file)?;
    if copied > bound {
        bail!("it is larger than {bound} bytes");
    }
    Ok(file)
}

/// The file, inflated if it was compressed in a way we know.
pub fn inflated(span: Span, path: &Path) -> Result<Span> {
    match span.head::<6>()? {
        [0x1f, 0x8b, ..] => {
            let reader = flate2::read::MultiGzDecoder::new(span.reader());
            let file = spooled(BufReader::new(reader)).context("inflating it")?;
            Ok(Span::whole(file)?)
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => refuse(path, "zstd -d"),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => refuse(path, "xz -d"),
        [b'B', b'Z', b'h', ..] => refuse(path, "bzip2 -d"),
        [b'P', b'K', 3, 4, ..] => refuse(path, "unzip"),
        _ => Ok(span),
    }
}

fn refuse(path: &Path, with: &str) -> Result<Span> {
    bail!("{} is compressed: unpack it first, with {with}", path.display())
}
