//! Who needs what of the store. Three claims keep an image or a layer from being removed: a hold
//! (someone in this process has the image in hand), a lease (a task was given the image, and has it
//! still when this process is gone) and a pin (a pull counts on these layers). All are kept under
//! the lock that guards what the store knows, so that "nobody needs it" and "it is gone" are one
//! step.
//!
//! A lease is a symbolic link whose text says which layers and under which boot (no task outlives
//! one): one system call makes it whole, it outlives us, and it is believed also when the image's
//! own record is not.

use super::{Disk, Known, lock};
use crate::image::digest::Digest;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

/// Between owner and manifest in a lease's name.
const OF: char = '@';
/// Between the short names of a lease's layers.
const AND: char = ',';
/// A later use than the one on the disk is written there when it is this much later.
const USE_WRITTEN_EVERY: Duration = Duration::from_secs(60);

/// Whose lease, and on which image.
type LeaseKey = (String, Digest);

#[derive(Default)]
pub(super) struct Claims {
    holds: BTreeMap<Digest, Weak<Claim>>,
    /// With the short names of the layers.
    leases: BTreeMap<LeaseKey, BTreeSet<String>>,
    pins: BTreeMap<Digest, usize>,
    /// When an image was given out or let go of last.
    used: BTreeMap<Digest, Used>,
}

#[derive(Clone, Copy)]
struct Used {
    at: SystemTime,
    /// What the disk says.
    written: SystemTime,
}

/// A lease on an image in this process: nothing of the image is removed while a clone of this
/// lives.
#[derive(Clone)]
pub struct ImageHold {
    _claim: Arc<Claim>,
}

impl fmt::Debug for ImageHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageHold({})", self._claim.manifest)
    }
}

struct Claim {
    /// Not the store itself: a hold doesn't keep it open.
    disk: Weak<Disk>,
    manifest: Digest,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(disk) = self.disk.upgrade() else { return };
        let mut known = lock(&disk.known);
        let claims = &mut known.claims;
        // Someone may have taken a new hold since the last clone of this one went.
        if claims.holds.get(&self.manifest).is_some_and(|hold| hold.strong_count() == 0) {
            claims.holds.remove(&self.manifest);
        }
        known.is_used(self.manifest, SystemTime::now());
    }
}

/// Keeps layers while a pull that counts on them is under way.
pub(crate) struct Pins {
    disk: Arc<Disk>,
    layers: BTreeSet<Digest>,
}

impl Drop for Pins {
    fn drop(&mut self) {
        let mut known = lock(&self.disk.known);
        for layer in &self.layers {
            if let Some(count) = known.claims.pins.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    known.claims.pins.remove(layer);
                }
            }
        }
    }
}

impl Known {
    /// Nothing if the image is not there (yet).
    pub(super) fn is_used(&mut self, manifest: Digest, at: SystemTime) {
        if !self.images.contains_key(&manifest) {
            return;
        }
        let used = self.claims.used.entry(manifest);
        let used = used.or_insert(Used { at, written: SystemTime::UNIX_EPOCH });
        used.at = used.at.max(at);
    }

    fn hold(&mut self, disk: &Arc<Disk>, manifest: Digest) -> ImageHold {
        self.is_used(manifest, SystemTime::now());
        let holds = &mut self.claims.holds;
        if let Some(claim) = holds.get(&manifest).and_then(Weak::upgrade) {
            return ImageHold { _claim: claim };
        }
        let claim = Arc::new(Claim { disk: Arc::downgrade(disk), manifest });
        holds.insert(manifest, Arc::downgrade(&claim));
        ImageHold { _claim: claim }
    }
}

impl Claims {
    pub fn used_at(&self, manifest: &Digest) -> SystemTime {
        self.used.get(manifest).map_or(SystemTime::UNIX_EPOCH, |used| used.at)
    }

    pub fn forget(&mut self, manifest: &Digest) {
        self.used.remove(manifest);
    }

    /// Whether an image must stay.
    pub fn needs_image(&self, manifest: &Digest) -> bool {
        let held = self.holds.get(manifest).is_some_and(|hold| hold.strong_count() > 0);
        held || self.leases.keys().any(|(_, leased)| leased == manifest)
    }

    /// Whether a pull or a lease needs the layer, whatever images do.
    pub fn needs_layer(&self, layer: &Digest) -> bool {
        self.pins.contains_key(layer) || self.needs_name(&layer.short())
    }

    /// Whether a lease names this layer or mend.
    pub fn needs_name(&self, short: &str) -> bool {
        self.leases.values().any(|names| names.contains(short))
    }

    pub fn held(&self) -> BTreeSet<Digest> {
        let holds = self.holds.iter().filter(|(_, hold)| hold.strong_count() > 0);
        let leased = self.leases.keys().map(|(_, manifest)| *manifest);
        holds.map(|(manifest, _)| *manifest).chain(leased).collect()
    }

    pub fn owners(&self, manifest: &Digest) -> Vec<String> {
        let leases = self.leases.keys().filter(|(_, leased)| leased == manifest);
        leases.map(|(owner, _)| owner.clone()).collect()
    }
}

impl Disk {
    /// Nothing if the image is not there (any more).
    pub fn hold(self: &Arc<Self>, manifest: &Digest) -> Option<ImageHold> {
        let mut known = lock(&self.known);
        known.images.contains_key(manifest).then(|| known.hold(self, *manifest))
    }

    /// Also if it is still to come: no cleanup gets between its publishing and a hold on it.
    pub fn hold_in_advance(self: &Arc<Self>, manifest: Digest) -> ImageHold {
        lock(&self.known).hold(self, manifest)
    }

    pub fn pin(self: &Arc<Self>, layers: impl IntoIterator<Item = Digest>) -> Pins {
        let layers: BTreeSet<Digest> = layers.into_iter().collect();
        let mut known = lock(&self.known);
        for layer in &layers {
            *known.claims.pins.entry(*layer).or_default() += 1;
        }
        Pins { disk: Arc::clone(self), layers }
    }

    pub fn held(&self) -> BTreeSet<Digest> {
        lock(&self.known).claims.held()
    }

    /// The image, which someone holds, stays until `release`. `names` are those of its layers.
    pub fn lease(&self, owner: &str, manifest: Digest, names: BTreeSet<String>) -> io::Result<()> {
        if !is_owner(owner) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no name for an owner"));
        }
        let key = (owner.to_owned(), manifest);
        let mut known = lock(&self.known);
        if known.claims.leases.contains_key(&key) {
            return Ok(());
        }
        let mut text = self.boot_id.clone();
        for name in &names {
            text.push(AND);
            text.push_str(name);
        }
        match rustix::fs::symlinkat(text, &self.folder, lease_place(&key)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        known.claims.leases.insert(key, names);
        Ok(())
    }

    pub fn release(&self, owner: &str) -> io::Result<()> {
        self.release_all(|of| of == owner)
    }

    /// Leases of others end.
    pub fn keep_leases(&self, owners: &BTreeSet<&str>) -> io::Result<()> {
        self.release_all(|of| !owners.contains(of))
    }

    fn release_all(&self, ends: impl Fn(&str) -> bool) -> io::Result<()> {
        let mut known = lock(&self.known);
        let ending = known.claims.leases.keys().filter(|(owner, _)| ends(owner));
        let ending: Vec<LeaseKey> = ending.cloned().collect();
        for key in ending {
            match rustix::fs::unlinkat(&self.folder, lease_place(&key), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            known.claims.leases.remove(&key);
            known.is_used(key.1, SystemTime::now());
        }
        Ok(())
    }

    pub(super) fn load_leases(&self, known: &mut Known) -> io::Result<()> {
        for name in self.names("leases")? {
            let place = format!("leases/{name}");
            let read = rustix::fs::readlinkat(&self.folder, &place, Vec::new());
            let text = read.ok().and_then(|text| text.into_string().ok());
            let key = name.rsplit_once(OF).and_then(|(owner, manifest)| {
                Some((owner.to_owned(), Digest::from_hex(manifest)?))
            });
            let text = text.as_deref().and_then(|text| text.strip_prefix(&self.boot_id));
            let (Some(key), Some(names)) = (key, text) else {
                // Of an earlier boot, whose tasks are gone.
                rustix::fs::unlinkat(&self.folder, &place, AtFlags::empty())?;
                continue;
            };
            let names = names.split(AND).filter(|name| !name.is_empty()).map(str::to_owned);
            known.claims.leases.insert(key, names.collect());
        }
        Ok(())
    }

    /// Takes the times of last use from the disk.
    pub(super) fn load_use(&self, known: &mut Known) {
        for manifest in known.images.keys() {
            let file = self.path.join(record_place(manifest));
            let time = std::fs::metadata(file).and_then(|metadata| metadata.modified());
            let at = time.unwrap_or(SystemTime::UNIX_EPOCH);
            known.claims.used.insert(*manifest, Used { at, written: at });
        }
    }

    /// Images that are in use are used now; what was used since it was last written is written.
    pub(super) fn keep_use(&self, now: SystemTime) -> io::Result<()> {
        let late: Vec<(Digest, SystemTime)> = {
            let mut known = lock(&self.known);
            for manifest in known.claims.held() {
                known.is_used(manifest, now);
            }
            let Known { images, claims, .. } = &mut *known;
            let used = claims.used.iter_mut().filter(|(manifest, used)| {
                images.contains_key(manifest) && used.at > used.written + USE_WRITTEN_EVERY
            });
            used.map(|(manifest, used)| {
                used.written = used.at;
                (*manifest, used.at)
            })
            .collect()
        };
        for (manifest, at) in late {
            let file =
                std::fs::File::options().write(true).open(self.path.join(record_place(&manifest)));
            match file {
                Ok(file) => file.set_modified(at)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

pub(super) fn record_place(manifest: &Digest) -> String {
    format!("images/{}.json", manifest.hex())
}

fn lease_place((owner, manifest): &LeaseKey) -> String {
    format!("leases/{owner}{OF}{}", manifest.hex())
}

/// It becomes part of a file's name.
fn is_owner(owner: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=128).contains(&owner.len()) && owner.bytes().all(plain)
}
