//! Garbage collection, by mark and sweep, while pushes go on. Three kinds of garbage go, each in
//! its way:
//!
//! - A blob that no image of its repository needs leaves the repository. First it is condemned,
//!   which only this process remembers; it leaves a grace later, if still nobody needs it, nobody
//!   has asked for it and its link is unchanged. A push asks (HEAD) and links before it puts the
//!   manifest, so what it builds on is spared for a grace from then.
//! - An object that no repository has is deleted. What is marked is what one snapshot of the state
//!   names. An object is made, or made anew, before it is linked, and a link is copied only from
//!   one that stands; so a link that the snapshot doesn't show belongs to an object stored after
//!   the snapshot, or so shortly before that the grace spares it. The engine looks at the time
//!   again as it deletes.
//! - An upload that nobody has touched for the grace is forgotten.
//!
//! Nothing is decided by a failure to read: a collection that can't see everything ends.

use crate::Inner;
use crate::answer::Refusal;
use crate::limits::{
    ASIDE_RECORDS, CONDEMNED_MAX, OBJECT_GRACE_SECONDS_MIN, SWEEP_PAGE_OBJECTS, UNLINK_BATCH_LINKS,
};
use model::image::{BlobLink, Manifest};
use model::{Digest, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::blob::StagingFailure;
use store::{CommitFailure, Revision, Snapshot, TransactFailure, Txn};

/// What a collection did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Collected {
    /// Blobs that left a repository.
    pub links_removed: u64,
    /// Blobs that will, unless somebody asks for them.
    pub links_condemned: u64,
    pub objects_removed: u64,
    pub object_bytes_freed: u64,
    pub objects_kept: u64,
    pub uploads_removed: u64,
    pub upload_bytes_freed: u64,
}

/// Why a collection ended early.
#[derive(Debug, thiserror::Error)]
pub enum CollectFailure {
    #[error(transparent)]
    Staging(#[from] StagingFailure),
    #[error(transparent)]
    Blob(#[from] store::blob::BlobFailure),
    #[error(transparent)]
    Commit(#[from] CommitFailure),
}

/// What is remembered between collections.
#[derive(Default)]
pub struct Collector {
    /// One collection at a time.
    running: tokio::sync::Mutex<()>,
    /// By the link's key: the link as it was, and since when it is condemned.
    condemned: Mutex<BTreeMap<String, (Revision, Timestamp)>>,
}

impl Collector {
    /// Somebody asked for this link: it is spared for another grace.
    pub fn spare(&self, link_key: &str) {
        self.lock().remove(link_key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (Revision, Timestamp)>> {
        self.condemned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Condemns unneeded links and gives those whose time has come.
    fn judge(&self, unneeded: BTreeMap<String, Revision>, now: Timestamp, grace: Duration) -> Due {
        let mut condemned = self.lock();
        // What is needed again, or linked anew, begins from the beginning.
        condemned.retain(|key, (revision, _)| unneeded.get(key) == Some(revision));
        let mut due = Due::default();
        for (key, revision) in unneeded {
            match condemned.get(&key) {
                Some((_, since)) if older(*since, now, grace) => due.links.push((key, revision)),
                Some(_) => due.waiting += 1,
                // The rest has its turn when these have gone.
                None if condemned.len() >= CONDEMNED_MAX => {}
                None => {
                    condemned.insert(key, (revision, now));
                    due.waiting += 1;
                }
            }
        }
        due
    }
}

#[derive(Default)]
struct Due {
    links: Vec<(String, Revision)>,
    waiting: u64,
}

impl Inner {
    /// Collects garbage that has been so for the grace. Objects have a shortest grace of their own,
    /// which covers the time from storing one to linking it.
    pub(crate) async fn collect(&self, grace: Duration) -> Result<Collected, CollectFailure> {
        let _one = self.collector.running.lock().await;
        let mut collected = Collected::default();
        let swept = self.staging.sweep(grace).await?;
        collected.uploads_removed = swept.uploads as u64;
        collected.upload_bytes_freed = swept.bytes;
        self.unlink(grace, &mut collected).await?;
        self.sweep(grace, &mut collected).await?;
        Ok(collected)
    }

    /// Takes blobs out of repositories in which no image has needed them for long.
    async fn unlink(&self, grace: Duration, out: &mut Collected) -> Result<(), CollectFailure> {
        let now = self.now();
        let snapshot = self.store.snapshot();
        let unneeded = aside(snapshot, move |snapshot| unneeded(snapshot, now, grace)).await;
        let due = self.collector.judge(unneeded, now, grace);
        out.links_condemned = due.waiting;
        for batch in due.links.chunks(UNLINK_BATCH_LINKS) {
            out.links_removed += self.unlink_batch(batch).await?;
        }
        Ok(())
    }

    async fn unlink_batch(&self, links: &[(String, Revision)]) -> Result<u64, CollectFailure> {
        let unlinked =
            self.store.transact(|txn| Ok::<_, CommitFailure>(self.unlink_in(txn, links))).await;
        match unlinked {
            Ok((removed, _)) => Ok(removed),
            Err(TransactFailure::Aborted(failure) | TransactFailure::Commit(failure)) => {
                Err(failure.into())
            }
            // Pushes go on at such a rate that the next collection has to do it.
            Err(TransactFailure::Contended { .. }) => Ok(0),
        }
    }

    fn unlink_in(&self, txn: &mut Txn, links: &[(String, Revision)]) -> u64 {
        // Again, and on this transaction's own snapshot: a manifest may have come since.
        let prefixes = links.iter().filter_map(|(key, _)| Some(key.split_once('@')?.0));
        let prefixes: BTreeSet<String> = prefixes.map(|name| format!("{name}@")).collect();
        let snapshot = txn.snapshot().clone();
        let needed: BTreeSet<String> =
            prefixes.iter().flat_map(|prefix| needed_links(&snapshot, prefix)).collect();
        let mut removed = 0;
        for (key, revision) in links {
            let same = txn.snapshot().get::<BlobLink>(key).map(|link| link.revision);
            if same != Some(*revision) || needed.contains(key) || self.was_spared(key) {
                continue;
            }
            // A manifest that comes to need it writes it: one of the two transactions fails.
            txn.expect_revision::<BlobLink>(key, *revision);
            txn.delete::<BlobLink>(key);
            removed += 1;
        }
        removed
    }

    fn was_spared(&self, link_key: &str) -> bool {
        !self.collector.lock().contains_key(link_key)
    }

    /// Deletes objects that nothing names.
    async fn sweep(&self, grace: Duration, out: &mut Collected) -> Result<(), CollectFailure> {
        let grace = grace.max(Duration::from_secs(OBJECT_GRACE_SECONDS_MIN));
        let Some(before) = system_time(self.now()).checked_sub(grace) else { return Ok(()) };
        let marked = aside(self.store.snapshot(), marked).await;
        self.objects.sweep_unfinished(before).await?;
        let mut after = None;
        loop {
            let page = self.objects.list("sha256/".to_owned(), after, SWEEP_PAGE_OBJECTS).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (name, info) in page {
                let Some(digest) = store::blob::Digest::from_object_name(&name) else { continue };
                if marked.contains(&digest) || info.modified >= before {
                    out.objects_kept += 1;
                    continue;
                }
                match self.objects.sweep(name, before).await? {
                    Some(bytes) => {
                        tracing::debug!(%digest, bytes, "an object nobody needs is deleted");
                        out.objects_removed += 1;
                        out.object_bytes_freed += bytes;
                    }
                    None => out.objects_kept += 1,
                }
            }
        }
    }
}

/// Everything that a manifest or a link of any repository names. What can't be read as a digest
/// names no object of ours.
fn marked(snapshot: &Snapshot) -> BTreeSet<store::blob::Digest> {
    let links = snapshot.scan::<BlobLink>("").map(|(_, link)| stored(&link.digest));
    let manifests = snapshot.scan::<Manifest>("").map(|(_, manifest)| stored(&manifest.digest));
    links.chain(manifests).flatten().collect()
}

/// Looks through a snapshot, on a thread of its own when there is much of it.
async fn aside<T: Send + 'static>(
    snapshot: Snapshot,
    look: impl FnOnce(&Snapshot) -> T + Send + 'static,
) -> T {
    let records = snapshot.count::<BlobLink>("") + snapshot.count::<Manifest>("");
    if records < ASIDE_RECORDS {
        return look(&snapshot);
    }
    let looked = tokio::task::spawn_blocking(move || look(&snapshot)).await;
    looked.expect("looking does not panic")
}

fn stored(digest: &Digest) -> Option<store::blob::Digest> {
    store::blob::Digest::parse(digest.as_str())
}

/// The keys of links that an image of the same repository needs, of repositories whose keys begin
/// so.
fn needed_links<'a>(
    snapshot: &'a Snapshot,
    prefix: &'a str,
) -> impl Iterator<Item = String> + use<'a> {
    snapshot.scan::<Manifest>(prefix).flat_map(|(_, manifest)| {
        let key = |digest| store::kinds::blob_link_key(&manifest.repository, digest);
        manifest.references.iter().map(key).collect::<Vec<_>>()
    })
}

/// The links that no image of their repository needs and that have stood for the grace.
fn unneeded(snapshot: &Snapshot, now: Timestamp, grace: Duration) -> BTreeMap<String, Revision> {
    let needed: BTreeSet<String> = needed_links(snapshot, "").collect();
    let links = snapshot.scan::<BlobLink>("");
    let old =
        links.filter(|(key, link)| older(link.linked_at, now, grace) && !needed.contains(*key));
    let revision = |key: &str| snapshot.get::<BlobLink>(key).map(|link| link.revision);
    old.filter_map(|(key, _)| Some((key.to_owned(), revision(key)?))).collect()
}

/// A clock that was set back makes nothing old.
fn older(since: Timestamp, now: Timestamp, grace: Duration) -> bool {
    u128::try_from(now.since_ms(since)).is_ok_and(|age_ms| age_ms >= grace.as_millis())
}

fn system_time(now: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(now.0).unwrap_or(0))
}

impl From<CollectFailure> for Refusal {
    fn from(failure: CollectFailure) -> Self {
        Self::failure(&failure)
    }
}

#[cfg(test)]
mod tests;
