//! The store's folder, and what makes it safe to be killed at any moment:
//!
//! ```text
//! version                    the layout's number
//! lock                       held by the one process that may write here
//! layers/<diff id>/fs        a layer, unpacked, to be used as an overlay lowerdir
//! layers/<diff id>/layer.json, synced
//! l/<26 characters>          a short name for each layer: a link to its fs
//! mends/<manifest>           directories to lay on top of an image's layers (see `implied`)
//! images/<manifest>.json     an image whose layers are all there
//! leases/<owner>@<manifest>  what a task has of it (see `claims`)
//! tags/<hash>.json           what a reference stood for when it was last resolved
//! empty                      the lowest layer of images that have none
//! tmp                        what is being made; swept when the store is opened
//! ```
//!
//! Everything is made in `tmp` and put in place by one rename, so after a SIGKILL it is whole or
//! not there. Power loss is another matter: a rename may reach the disk before the data. Instead
//! of holding up every pull for a sync, a layer says under which boot it was made and is marked
//! `synced` when a sync behind the scenes has passed; at the next opening, an unmarked layer of an
//! earlier boot is not believed.

mod claims;
mod collect;
mod sync;

pub use claims::ImageHold;
pub(crate) use claims::Pins;
pub use collect::{Cleanup, Collected, StoredImage};

use super::digest::Digest;
use super::failure::PullFailure;
use super::implied::{self, LayerView};
use super::manifest::{ImageConfig, Platform};
use super::sweep;
use super::unpack::Unpacked;
use crate::Failure;
use claims::{Claims, record_place};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use sync::Syncs;

/// The layout this program reads and writes.
const VERSION: u32 = 1;
const FOLDERS: [&str; 8] = ["layers", "l", "mends", "images", "tags", "leases", "empty", "tmp"];
/// Stores open in this process: the lock file's lock keeps out other processes only.
static OPEN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// `layer.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    version: u32,
    pub diff_id: Digest,
    /// The compressed blob it came from.
    blob: Digest,
    /// Bytes of the uncompressed tar.
    pub bytes: u64,
    entries: u64,
    devices_skipped: u64,
    #[serde(default)]
    implied: BTreeSet<String>,
    boot_id: String,
}

impl LayerRecord {
    pub fn new(diff_id: Digest, blob: Digest, bytes: u64, unpacked: Unpacked) -> Self {
        let Unpacked { entries, devices_skipped, implied, .. } = unpacked;
        let (version, boot_id) = (VERSION, String::new());
        Self { version, diff_id, blob, bytes, entries, devices_skipped, implied, boot_id }
    }
}

/// `images/<manifest>.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    version: u32,
    pub manifest: Digest,
    pub platform: Platform,
    /// Indexes through which it was found; with them it is found again without a question.
    pub indexes: BTreeSet<Digest>,
    pub config: ImageConfig,
    /// Compressed bytes of config and layers.
    pub size: u64,
    /// Whether it has a folder in `mends`, to be laid on top.
    #[serde(default)]
    pub mended: bool,
}

impl ImageRecord {
    pub fn new(manifest: Digest, platform: Platform, config: ImageConfig, size: u64) -> Self {
        let indexes = BTreeSet::new();
        Self { version: VERSION, manifest, platform, indexes, config, size, mended: false }
    }
}

/// `tags/<hash>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TagRecord {
    version: u32,
    reference: String,
    platform: Platform,
    manifest: Digest,
}

pub(crate) struct Disk {
    path: PathBuf,
    folder: OwnedFd,
    _lock: OwnedFd,
    boot_id: String,
    scratches: AtomicU64,
    known: Mutex<Known>,
    syncs: Arc<Syncs>,
}

/// What the folder holds, so that finding a present image costs no system call.
#[derive(Default)]
struct Known {
    layers: BTreeMap<Digest, LayerRecord>,
    images: BTreeMap<Digest, Arc<ImageRecord>>,
    tags: BTreeMap<(String, Platform), Digest>,
    claims: Claims,
}

impl Disk {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let of = |what: &str| Failure::of(format!("{what} of image store {}", path.display()));
        make_folder(path).map_err(of("making the folder"))?;
        let path = path.canonicalize().map_err(of("finding the folder"))?;
        if !lock(&OPEN).insert(path.clone()) {
            return Err(already_open(&path));
        }
        Self::open_locked(&path).inspect_err(|_| {
            lock(&OPEN).remove(&path);
        })
    }

    fn open_locked(path: &Path) -> Result<Self, Failure> {
        let of = |what: &str| Failure::of(format!("{what} of image store {}", path.display()));
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| of("opening the folder")(error.into()))?;
        let lock_flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(&folder, "lock", lock_flags, Mode::RUSR | Mode::WUSR)
            .map_err(|error| of("opening the lock")(error.into()))?;
        // A lock of this process, not of the open file: a supervisor forked from us must not keep
        // it.
        rustix::fs::fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| already_open(path))?;
        check_version(path)?;
        for name in FOLDERS {
            make_folder(&path.join(name)).map_err(of(name))?;
        }
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map_err(Failure::of("reading the boot id"))?;
        let layers = rustix::fs::openat(&folder, "layers", flags, Mode::empty())
            .map_err(|error| of("opening the layers")(error.into()))?;
        let disk = Self {
            path: path.to_owned(),
            folder,
            _lock: lock,
            boot_id: boot_id.trim().to_owned(),
            scratches: AtomicU64::new(0),
            known: Mutex::default(),
            syncs: Arc::new(Syncs::new(layers)),
        };
        disk.load().map_err(of("reading the records"))?;
        Ok(disk)
    }

    pub fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.path.join("layers").join(diff_id.hex()).join("fs")
    }

    /// The short name of a layer or a mend.
    pub fn short_link(&self, named: &Digest) -> PathBuf {
        self.path.join("l").join(named.short())
    }

    pub fn mend_path(&self, manifest: &Digest) -> PathBuf {
        self.path.join("mends").join(manifest.hex())
    }

    pub fn empty_layer(&self) -> PathBuf {
        self.path.join("empty")
    }

    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        lock(&self.known).layers.contains_key(diff_id)
    }

    /// By manifest, or by an index that led to it for this platform.
    pub fn image(&self, digest: &Digest, platform: Platform) -> Option<Arc<ImageRecord>> {
        let known = lock(&self.known);
        let fits = |record: &&Arc<ImageRecord>| record.platform == platform;
        let direct = known.images.get(digest).filter(fits);
        let through = || known.images.values().filter(fits).find(|r| r.indexes.contains(digest));
        direct.or_else(through).map(Arc::clone)
    }

    /// What the reference stood for when it was last resolved.
    pub fn tagged(&self, reference: &str, platform: Platform) -> Option<Arc<ImageRecord>> {
        let known = lock(&self.known);
        let manifest = known.tags.get(&(reference.to_owned(), platform))?;
        known.images.get(manifest).map(Arc::clone)
    }

    /// Whether the reference is recorded as standing for that manifest.
    pub fn is_tagged(&self, reference: &str, platform: Platform, manifest: &Digest) -> bool {
        let known = lock(&self.known);
        known.tags.get(&(reference.to_owned(), platform)) == Some(manifest)
    }

    /// A place to unpack one layer in.
    pub fn scratch(self: &Arc<Self>) -> Result<Scratch, PullFailure> {
        let name = format!("tmp/{}", self.scratches.fetch_add(1, Ordering::Relaxed));
        let scratch = Scratch { disk: Arc::clone(self), name: Some(name) };
        let made = (|| {
            let name = scratch.name.as_ref().expect("not yet given away");
            rustix::fs::mkdirat(&self.folder, name, Mode::RWXU)?;
            for part in ["fs", "trash"] {
                let part = format!("{name}/{part}");
                rustix::fs::mkdirat(&self.folder, &part, Mode::RWXU)?;
                // Neither the umask nor a set-group-id bit above may show in an image's root.
                let root = (rustix::fs::Uid::ROOT, rustix::fs::Gid::ROOT);
                let none = AtFlags::empty();
                rustix::fs::chownat(&self.folder, &part, Some(root.0), Some(root.1), none)?;
                rustix::fs::chmodat(&self.folder, &part, Mode::from_raw_mode(0o755), none)?;
            }
            Ok(())
        })();
        made.map_err(|error: Errno| self.failure("making room for a layer", &error.into()))?;
        Ok(scratch)
    }

    /// From here on the layer is there. If another pull was quicker, its copy stays.
    pub fn publish_layer(
        self: &Arc<Self>,
        mut scratch: Scratch,
        mut record: LayerRecord,
    ) -> Result<(), PullFailure> {
        let diff_id = record.diff_id;
        record.boot_id.clone_from(&self.boot_id);
        let published = (|| {
            let name = scratch.name.as_ref().expect("given away only below").clone();
            rustix::fs::unlinkat(&self.folder, format!("{name}/trash"), AtFlags::REMOVEDIR)?;
            self.write(&format!("{name}/layer.json"), &record)?;
            let place = format!("layers/{}", diff_id.hex());
            let (from, keep) = (&self.folder, RenameFlags::NOREPLACE);
            match rustix::fs::renameat_with(from, &name, &self.folder, place, keep) {
                Ok(()) => scratch.name = None,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            self.link_layer(&diff_id)
        })();
        let what = format!("putting layer {diff_id} in place");
        published.map_err(|error: io::Error| self.failure(&what, &error))?;
        lock(&self.known).layers.insert(diff_id, record);
        // Synced with its image: until then the disk has better things to do.
        self.syncs.wait_for(diff_id);
        Ok(())
    }

    /// Once all its layers are published. Whoever publishes holds the image already.
    pub fn publish_image(
        self: &Arc<Self>,
        mut record: ImageRecord,
    ) -> Result<Arc<ImageRecord>, PullFailure> {
        record.mended = self.mend(&record)?;
        let mut known = lock(&self.known);
        if let Some(known) = known.images.get(&record.manifest) {
            record.indexes.extend(&known.indexes);
        }
        // Under the lock: two that publish the same image must not lose each other's indexes.
        self.replace(&record_place(&record.manifest), &record)
            .map_err(|error| self.failure("recording an image", &error))?;
        let record = Arc::new(record);
        known.images.insert(record.manifest, Arc::clone(&record));
        known.is_used(record.manifest, SystemTime::now());
        drop(known);
        self.syncs.start();
        Ok(record)
    }

    /// Lays right what its layers made up; tells whether there was anything.
    fn mend(self: &Arc<Self>, record: &ImageRecord) -> Result<bool, PullFailure> {
        if record.mended {
            return Ok(true);
        }
        let directories = self.layer_views(record).and_then(|views| Ok(implied::to_mend(&views)?));
        let failure = |error: io::Error| self.failure("comparing an image's layers", &error);
        let directories = directories.map_err(failure)?;
        if directories.is_empty() {
            return Ok(false);
        }
        let scratch = self.scratch()?;
        let mended = scratch.open("fs").and_then(|root| {
            implied::mend(root, &directories)?;
            let name = scratch.name.as_ref().expect("still a scratch");
            let (from, to) = (format!("{name}/fs"), format!("mends/{}", record.manifest.hex()));
            let keep = RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(&self.folder, from, &self.folder, to, keep) {
                // Of the same layers, by another pull.
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            self.link_mend(&record.manifest)?;
            Ok(true)
        });
        mended.map_err(failure)
    }

    /// Highest first, each once.
    fn layer_views(&self, record: &ImageRecord) -> io::Result<Vec<LayerView>> {
        let mut seen = BTreeSet::new();
        let ids = record.config.diff_ids.iter().rev().filter(|id| seen.insert(**id));
        let known = lock(&self.known);
        ids.map(|id| {
            let place = format!("layers/{}/fs", id.hex());
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::openat(&self.folder, place, flags, Mode::empty())?;
            let implied = known.layers.get(id).map(|layer| layer.implied.clone());
            Ok(LayerView { root, implied: implied.unwrap_or_default() })
        })
        .collect()
    }

    pub fn publish_tag(
        &self,
        reference: &str,
        platform: Platform,
        manifest: Digest,
    ) -> Result<(), PullFailure> {
        let tag =
            TagRecord { version: VERSION, reference: reference.to_owned(), platform, manifest };
        let place = tag_place(reference, platform);
        self.replace(&place, &tag).map_err(|error| self.failure("recording a tag", &error))?;
        lock(&self.known).tags.insert((reference.to_owned(), platform), manifest);
        Ok(())
    }

    /// The failure that an error of this disk is.
    pub fn failure(&self, what: &str, error: &io::Error) -> PullFailure {
        if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return PullFailure::DiskFull { path: self.path.display().to_string() };
        }
        PullFailure::Disk { what: what.to_owned(), problem: error.to_string() }
    }

    fn link_layer(&self, diff_id: &Digest) -> io::Result<()> {
        self.link(diff_id, &format!("../layers/{}/fs", diff_id.hex()))
    }

    fn link_mend(&self, manifest: &Digest) -> io::Result<()> {
        self.link(manifest, &format!("../mends/{}", manifest.hex()))
    }

    fn link(&self, named: &Digest, target: &str) -> io::Result<()> {
        let link = format!("l/{}", named.short());
        match rustix::fs::symlinkat(target, &self.folder, &link) {
            Err(Errno::EXIST) => {
                let known = rustix::fs::readlinkat(&self.folder, &link, Vec::new())?;
                if known.to_bytes() == target.as_bytes() {
                    return Ok(());
                }
                rustix::fs::unlinkat(&self.folder, &link, AtFlags::empty())?;
                Ok(rustix::fs::symlinkat(target, &self.folder, &link)?)
            }
            other => Ok(other?),
        }
    }

    fn write(&self, place: &str, record: &impl Serialize) -> io::Result<()> {
        std::fs::write(self.path.join(place), serde_json::to_vec(record)?)
    }

    fn replace(&self, place: &str, record: &impl Serialize) -> io::Result<()> {
        let temporary = format!("tmp/{}", self.scratches.fetch_add(1, Ordering::Relaxed));
        self.write(&temporary, record)?;
        Ok(rustix::fs::renameat(&self.folder, temporary, &self.folder, place)?)
    }

    fn load(&self) -> io::Result<()> {
        let mut known = Known::default();
        self.load_leases(&mut known)?;
        self.load_layers(&mut known)?;
        self.load_images(&mut known)?;
        self.load_use(&mut known);
        for name in self.names("tags")? {
            let place = format!("tags/{name}");
            let tag: Option<TagRecord> = self.read(&place);
            match tag.filter(|tag| known.images.contains_key(&tag.manifest)) {
                Some(tag) => {
                    known.tags.insert((tag.reference, tag.platform), tag.manifest);
                }
                None => std::fs::remove_file(self.path.join(place))?,
            }
        }
        for name in self.names("l")? {
            let link = self.path.join("l").join(&name);
            if !link.exists() {
                std::fs::remove_file(link)?;
            }
        }
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let temporary = rustix::fs::openat(&self.folder, "tmp", flags, Mode::empty())?;
        sweep::empty(temporary)?;
        *lock(&self.known) = known;
        Ok(())
    }

    fn load_layers(&self, known: &mut Known) -> io::Result<()> {
        for name in self.names("layers")? {
            match self.load_layer(&name) {
                Some(layer) => {
                    self.link_layer(&layer.diff_id)?;
                    known.layers.insert(layer.diff_id, layer);
                }
                None if is_leased(known, &name) => {
                    tracing::warn!(name, "a layer's record is lost while a task runs from it");
                }
                None => {
                    tracing::info!(name, "an incomplete layer is removed");
                    self.condemn("layers", &name)?;
                }
            }
        }
        Ok(())
    }

    fn load_images(&self, known: &mut Known) -> io::Result<()> {
        for name in self.names("images")? {
            let place = format!("images/{name}");
            let record: Option<ImageRecord> = self.read(&place);
            let fits = |record: &ImageRecord| {
                format!("{}.json", record.manifest.hex()) == name
                    && record.config.diff_ids.iter().all(|id| known.layers.contains_key(id))
                    && (!record.mended || self.mend_path(&record.manifest).exists())
            };
            let Some(record) = record.filter(fits) else {
                std::fs::remove_file(self.path.join(place))?;
                continue;
            };
            if record.mended {
                self.link_mend(&record.manifest)?;
            }
            known.images.insert(record.manifest, Arc::new(record));
        }
        for name in self.names("mends")? {
            let image = Digest::from_hex(&name).and_then(|digest| known.images.get(&digest));
            if image.is_none_or(|image| !image.mended) && !is_leased(known, &name) {
                self.condemn("mends", &name)?;
            }
        }
        Ok(())
    }

    /// Gives it to the sweep: a removal that is cut short goes on at the next opening.
    fn condemn(&self, folder: &str, name: &str) -> io::Result<()> {
        let (from, to) = (format!("{folder}/{name}"), format!("tmp/{folder}-{name}"));
        Ok(rustix::fs::renameat(&self.folder, from, &self.folder, to)?)
    }

    /// `None` if it can't be believed.
    fn load_layer(&self, name: &str) -> Option<LayerRecord> {
        let layer: LayerRecord = self.read(&format!("layers/{name}/layer.json"))?;
        let folder = self.path.join("layers").join(name);
        let durable = folder.join("synced").exists();
        (layer.diff_id.hex() == name && (durable || layer.boot_id == self.boot_id)).then(|| {
            if !durable {
                self.syncs.wait_for(layer.diff_id);
            }
            layer
        })
    }

    fn read<T: DeserializeOwned>(&self, place: &str) -> Option<T> {
        let bytes = std::fs::read(self.path.join(place)).ok()?;
        serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::warn!(place, %error, "a record is not believed"))
            .ok()
    }

    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = std::fs::read_dir(self.path.join(folder))?;
        let mut names = entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    /// Marks layers once they are safe from power loss, behind the scenes.
    pub fn sync_waiting(&self) {
        self.syncs.start();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.syncs.close();
        lock(&OPEN).remove(&self.path);
    }
}

/// A directory below `tmp`, removed when it is dropped.
pub(crate) struct Scratch {
    disk: Arc<Disk>,
    /// Gone when the directory was put in place.
    name: Option<String>,
}

impl Scratch {
    pub fn open(&self, part: &str) -> io::Result<OwnedFd> {
        let name = self.name.as_ref().expect("still a scratch");
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let place = format!("{name}/{part}");
        Ok(rustix::fs::openat(&self.disk.folder, place, flags, Mode::empty())?)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(name) = self.name.take()
            && let Err(error) = sweep::remove(&self.disk.folder, &name)
        {
            tracing::warn!(name, %error, "an unfinished layer stays until the next opening");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the mutexes of this file guard is whole between statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a task that may be running has this layer or mend.
fn is_leased(known: &Known, name: &str) -> bool {
    Digest::from_hex(name).is_some_and(|digest| known.claims.needs_name(&digest.short()))
}

fn tag_place(reference: &str, platform: Platform) -> String {
    format!("tags/{}.json", Digest::of(format!("{reference} {platform}").as_bytes()).hex())
}

/// Only root looks inside: images hold set-user-id programs that must not be within anyone's reach.
fn make_folder(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let mode = if path.ends_with("empty") { 0o755 } else { 0o700 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn check_version(path: &Path) -> Result<(), Failure> {
    let place = path.join("version");
    match std::fs::read_to_string(&place) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(VERSION) => Ok(()),
            Ok(other) => Err(Failure::Refused(format!(
                "image store {} has layout {other}; this program reads layout {VERSION}",
                path.display()
            ))),
            Err(_) => write_version(&place),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => write_version(&place),
        Err(error) => Err(Failure::of("reading the image store's version")(error)),
    }
}

/// Also over a file that a kill left empty.
fn write_version(place: &Path) -> Result<(), Failure> {
    std::fs::write(place, format!("{VERSION}\n"))
        .map_err(Failure::of("writing the image store's version"))
}

fn already_open(path: &Path) -> Failure {
    Failure::Refused(format!("image store {} is in use by another process", path.display()))
}
