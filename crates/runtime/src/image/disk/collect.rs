//! Removing images that nobody uses. The lock covers the decision and the moves that make it true
//! (a record unlinked, a folder renamed away); what takes time, the removal of files, comes after.
//! A kill in between leaves folders in `tmp`, links to nothing and layers of no image: opening the
//! store sweeps the first two, the next round here the third.

use super::claims::record_place;
use super::{Disk, Known, lock, tag_place};
use crate::image::digest::Digest;
use crate::image::manifest::Platform;
use crate::image::{limits, sweep};
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// When images are removed that no task uses. Source of words and defaults: ECS developer guide,
/// automated_image_cleanup; there the age is counted from the pull, here from the last use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cleanup {
    /// How long an image stays after its last use.
    pub minimum_age: Duration,
    /// Images removed at a time because of their age, those first that were not used for longest.
    pub images_max: usize,
    /// Percent of the disk in use above which images go whatever their age and number.
    pub disk_percent_max: u8,
}

impl Default for Cleanup {
    fn default() -> Self {
        Self {
            minimum_age: limits::IMAGE_MINIMUM_AGE,
            images_max: limits::IMAGES_PER_CLEANUP_MAX,
            disk_percent_max: limits::DISK_PERCENT_MAX,
        }
    }
}

impl Cleanup {
    /// Everything that is not in use.
    pub fn everything() -> Self {
        Self { minimum_age: Duration::ZERO, images_max: usize::MAX, disk_percent_max: 100 }
    }
}

/// What was removed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Collected {
    /// Manifests.
    pub images: Vec<Digest>,
    pub layers: u64,
    /// Of the layers, unpacked.
    pub bytes: u64,
}

/// An image as an operator sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredImage {
    pub manifest: Digest,
    pub platform: Platform,
    /// What was asked for and found to be this.
    pub references: Vec<String>,
    /// Of config and layers, as the registry holds them.
    pub compressed_bytes: u64,
    /// Of its layers, unpacked; another image may share them.
    pub unpacked_bytes: u64,
    pub used_at: SystemTime,
    /// The tasks that have it.
    pub owners: Vec<String>,
    /// Whether anyone has it, this process included.
    pub held: bool,
}

impl Disk {
    pub fn list(&self) -> Vec<StoredImage> {
        let known = lock(&self.known);
        let all = known.images.values();
        all.map(|record| {
            let tags = known.tags.iter().filter(|(_, manifest)| **manifest == record.manifest);
            let layers: BTreeSet<_> = record.config.diff_ids.iter().collect();
            let layers = layers.into_iter().filter_map(|id| known.layers.get(id));
            StoredImage {
                manifest: record.manifest,
                platform: record.platform,
                references: tags.map(|((reference, _), _)| reference.clone()).collect(),
                compressed_bytes: record.size,
                unpacked_bytes: layers.map(|layer| layer.bytes).sum(),
                used_at: known.claims.used_at(&record.manifest),
                owners: known.claims.owners(&record.manifest),
                held: known.claims.needs_image(&record.manifest),
            }
        })
        .collect()
    }

    /// One round. Nothing that anyone needs is touched, whatever the rule.
    pub fn collect(&self, rule: &Cleanup, now: SystemTime) -> io::Result<Collected> {
        self.keep_use(now)?;
        let mut collected = Collected::default();
        let unused = self.unused(rule.minimum_age, now);
        for manifest in unused.into_iter().take(rule.images_max) {
            self.remove_image(&manifest, &mut collected)?;
        }
        self.remove_strays(rule.minimum_age, now, &mut collected)?;
        if self.disk_percent()? <= u64::from(rule.disk_percent_max) {
            return Ok(collected);
        }
        self.remove_strays(Duration::ZERO, now, &mut collected)?;
        // Some more than it must be, or every pull that follows would begin with a cleanup.
        let enough = u64::from(rule.disk_percent_max.saturating_sub(limits::DISK_PERCENT_MARGIN));
        for manifest in self.unused(Duration::ZERO, now) {
            if self.disk_percent()? <= enough {
                break;
            }
            self.remove_image(&manifest, &mut collected)?;
        }
        Ok(collected)
    }

    /// Those unused for at least so long, the longest unused first.
    fn unused(&self, age: Duration, now: SystemTime) -> Vec<Digest> {
        let known = lock(&self.known);
        let old = |manifest: &&Digest| {
            // A time in the future is a clock that was set back: not old.
            let since = now.duration_since(known.claims.used_at(manifest));
            since.is_ok_and(|since| since >= age) && !known.claims.needs_image(manifest)
        };
        let mut unused: Vec<Digest> = known.images.keys().filter(old).copied().collect();
        unused.sort_by_key(|manifest| known.claims.used_at(manifest));
        unused
    }

    fn remove_image(&self, manifest: &Digest, collected: &mut Collected) -> io::Result<()> {
        let gone = {
            let mut known = lock(&self.known);
            // Asked again, because the lock was let go of since.
            if known.claims.needs_image(manifest) {
                return Ok(());
            }
            self.detach_image(&mut known, manifest, collected)?
        };
        self.erase(&gone)
    }

    /// Layers that belong to no image: of pulls that were cut short.
    fn remove_strays(
        &self,
        age: Duration,
        now: SystemTime,
        collected: &mut Collected,
    ) -> io::Result<()> {
        let mut gone = Vec::new();
        {
            let mut known = lock(&self.known);
            let images = known.images.values();
            let of_images: BTreeSet<Digest> =
                images.flat_map(|image| image.config.diff_ids.iter().copied()).collect();
            let strays = known.layers.keys().filter(|id| !of_images.contains(id));
            let strays: Vec<Digest> = strays.copied().collect();
            for stray in strays {
                let record = self.layer_path(&stray).with_file_name("layer.json");
                let made = std::fs::metadata(record).and_then(|metadata| metadata.modified())?;
                if now.duration_since(made).is_ok_and(|since| since >= age) {
                    gone.extend(self.detach_layer(&mut known, stray, collected)?);
                }
            }
        }
        self.erase(&gone)
    }

    /// Makes the image unknown, here and on the disk. Gives the folders that are to be removed.
    fn detach_image(
        &self,
        known: &mut Known,
        manifest: &Digest,
        collected: &mut Collected,
    ) -> io::Result<Vec<String>> {
        let Some(record) = known.images.get(manifest).cloned() else { return Ok(Vec::new()) };
        // First, so that a kill from here on leaves no record of an image that is not whole.
        self.unlink(&record_place(manifest))?;
        known.images.remove(manifest);
        known.claims.forget(manifest);
        collected.images.push(*manifest);
        let tags = known.tags.iter().filter(|(_, tagged)| *tagged == manifest);
        let tags: Vec<_> = tags.map(|(tag, _)| tag.clone()).collect();
        for tag in tags {
            self.unlink(&tag_place(&tag.0, tag.1))?;
            known.tags.remove(&tag);
        }
        let mut gone = Vec::new();
        if record.mended && !known.claims.needs_name(&manifest.short()) {
            self.unlink(&format!("l/{}", manifest.short()))?;
            gone.push(self.move_away("mends", manifest)?);
        }
        let layers: BTreeSet<Digest> = record.config.diff_ids.iter().copied().collect();
        for layer in layers {
            let shared = known.images.values().any(|image| image.config.diff_ids.contains(&layer));
            if !shared {
                gone.extend(self.detach_layer(known, layer, collected)?);
            }
        }
        Ok(gone)
    }

    /// Nothing if a pull or a lease needs the layer.
    fn detach_layer(
        &self,
        known: &mut Known,
        layer: Digest,
        collected: &mut Collected,
    ) -> io::Result<Option<String>> {
        if known.claims.needs_layer(&layer) || !known.layers.contains_key(&layer) {
            return Ok(None);
        }
        let gone = self.move_away("layers", &layer)?;
        self.syncs.forget(layer);
        if let Some(record) = known.layers.remove(&layer) {
            collected.layers += 1;
            collected.bytes += record.bytes;
        }
        self.unlink(&format!("l/{}", layer.short()))?;
        Ok(Some(gone))
    }

    fn move_away(&self, folder: &str, named: &Digest) -> io::Result<String> {
        let number = self.scratches.fetch_add(1, Ordering::Relaxed);
        let (from, to) = (format!("{folder}/{}", named.hex()), format!("tmp/{number}"));
        rustix::fs::renameat(&self.folder, from, &self.folder, &to)?;
        Ok(to)
    }

    fn unlink(&self, place: &str) -> io::Result<()> {
        match rustix::fs::unlinkat(&self.folder, place, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn erase(&self, gone: &[String]) -> io::Result<()> {
        gone.iter().try_for_each(|place| Ok(sweep::remove(&self.folder, place)?))
    }

    /// Percent of the disk that is in use, as `df` counts.
    fn disk_percent(&self) -> io::Result<u64> {
        let disk = rustix::fs::fstatvfs(&self.folder)?;
        let used = disk.f_blocks - disk.f_bfree;
        let all = used + disk.f_bavail;
        Ok((used * 100).checked_div(all).unwrap_or(0))
    }
}
