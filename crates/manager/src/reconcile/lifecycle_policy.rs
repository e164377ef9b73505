//! Lifecycle policies carried out: what `plan` says has expired is taken out of its repository,
//! soon after a push or a new policy, and when an image becomes too old. Each removal checks once
//! more, inside its transaction, that policy, tags and indexes are still as they were when it was
//! decided; what has changed is decided anew.

use crate::Context;
use crate::follow::{Follow, Step};
use model::image::{
    ImagePull, ImageTag, LifecycleEvaluation, LifecyclePolicy, Manifest, Repository,
};
use model::{Digest, RepositoryName, Timestamp};
use plan::lifecycle_policy::{Image, expired, next_expiry, parse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use store::kinds::{image_tag_key, manifest_key, repository_prefix};
use store::{CommitFailure, Snapshot, Txn};

/// How long after a push its repository is looked at, in milliseconds: pushes come in groups.
const SETTLE_MS: i64 = 2000;
/// How long an untagged image is spared, in milliseconds: the images of an index are pushed before
/// the index, and layers in between take their time.
const GRACE_MS: i64 = 15 * 60 * 1000;
/// The longest sleep, in milliseconds; the clock may be set while we sleep.
const SLEEP_MS_MAX: i64 = 60_000;
/// How long after a failure of the store it is tried again, in milliseconds.
const AGAIN_MS: i64 = 10_000;
/// Records written by one transaction, but for those of the image it begins with.
const PORTION_RECORDS: usize = 100;

/// When to look at which repository. Only those with a policy are here.
#[derive(Default)]
struct Agenda(BTreeMap<String, Timestamp>);

impl Agenda {
    /// Sooner than planned, never later.
    fn hasten(&mut self, repository: &str, at: Timestamp) {
        if let Some(planned) = self.0.get_mut(repository) {
            *planned = at.min(*planned);
        }
    }

    fn due(&self, now: Timestamp) -> Option<String> {
        let due = self.0.iter().find(|(_, at)| **at <= now);
        due.map(|(repository, _)| repository.clone())
    }

    fn sleep(&self, now: Timestamp) -> Duration {
        let ms = self.0.values().map(|at| at.since_ms(now)).min().unwrap_or(SLEEP_MS_MAX);
        Duration::from_millis(ms.clamp(0, SLEEP_MS_MAX).unsigned_abs())
    }
}

pub async fn run(cx: &Context) {
    let mut policies = Follow::<LifecyclePolicy>::new(&cx.store);
    let mut manifests = Follow::<Manifest>::new(&cx.store);
    let mut tags = Follow::<ImageTag>::new(&cx.store);
    let mut agenda = Agenda::default();
    loop {
        let open = tokio::select! {
            step = policies.next() => step.map(|step| take_policies(cx, &mut agenda, step)),
            step = manifests.next() => step.map(|step| take_pushes(cx, &mut agenda, step)),
            step = tags.next() => step.map(|step| take_pushes(cx, &mut agenda, step)),
            () = tokio::time::sleep(agenda.sleep(cx.now())) => Ok(()),
        };
        if open.is_err() {
            return;
        }
        while let Some(repository) = agenda.due(cx.now()) {
            let next = look(cx, &RepositoryName::from(repository.as_str())).await;
            match next {
                Some(at) => agenda.0.insert(repository, at),
                None => agenda.0.remove(&repository),
            };
        }
    }
}

fn take_policies(cx: &Context, agenda: &mut Agenda, step: Step<LifecyclePolicy>) {
    match step {
        Step::Everything(snapshot) => {
            let all = snapshot.scan::<LifecyclePolicy>("");
            agenda.0 = all.map(|(key, _)| (key.to_owned(), cx.now())).collect();
        }
        Step::Changes(changes) => {
            for (key, policy) in changes {
                match policy {
                    Some(_) => agenda.0.insert(key.to_string(), cx.now()),
                    None => agenda.0.remove(&*key),
                };
            }
        }
    }
}

/// A change of what is in a repository, whatever it was. All of a repository's keys begin with its
/// name and an `@`.
fn take_pushes<T>(cx: &Context, agenda: &mut Agenda, step: Step<T>) {
    let soon = cx.now().plus_ms(SETTLE_MS);
    match step {
        // Whatever has a policy is looked at then anyway: `take_policies` was told the same.
        Step::Everything(_) => agenda.0.values_mut().for_each(|at| *at = soon.min(*at)),
        Step::Changes(changes) => {
            for (key, _) in changes {
                if let Some((repository, _)) = key.split_once('@') {
                    agenda.hasten(repository, soon);
                }
            }
        }
    }
}

/// Applies a repository's policy; returns when to do so again, None without a policy.
async fn look(cx: &Context, name: &RepositoryName) -> Option<Timestamp> {
    let (snapshot, now) = (cx.store.snapshot(), cx.now());
    let record = snapshot.get::<LifecyclePolicy>(name.as_str())?;
    let policy = match parse(&record.text) {
        Ok(policy) => policy,
        Err(fault) => {
            // It was read when it was put; a newer program may have taken what this one does not.
            tracing::error!(repository = %name, %fault, "a lifecycle policy can't be read");
            return None;
        }
    };
    let images = images(&snapshot, name);
    let tags_of: BTreeMap<&Digest, &[String]> =
        images.iter().map(|image| (&image.digest, image.tags.as_slice())).collect();
    let mut gone: Vec<Doomed> = Vec::new();
    for expiry in expired(&policy, &images, now, GRACE_MS) {
        let tags = tags_of.get(&expiry.digest).map(|tags| tags.to_vec()).unwrap_or_default();
        tracing::info!(
            repository = %name, image = %expiry.digest, rule = expiry.priority, "an image expires"
        );
        gone.push(Doomed { digest: expiry.digest, tags });
    }
    if let Err(failure) = remove(cx, &record.value, &gone).await {
        tracing::error!(repository = %name, %failure, "images could not be expired; trying on");
        return Some(now.plus_ms(AGAIN_MS));
    }
    let noted = cx.store.transact(|txn| {
        if txn.get::<LifecyclePolicy>(name.as_str()).is_some() {
            txn.put(LifecycleEvaluation { repository: name.clone(), evaluated_at: now });
        }
        Ok::<(), CommitFailure>(())
    });
    if let Err(failure) = noted.await {
        tracing::error!(repository = %name, %failure, "an evaluation could not be noted");
    }
    let next = next_expiry(&policy, &images, now, GRACE_MS);
    Some(next.unwrap_or(Timestamp(i64::MAX)))
}

/// A repository's images as a policy sees them.
fn images(snapshot: &Snapshot, name: &RepositoryName) -> Vec<Image> {
    let prefix = repository_prefix(name);
    let mut tags = tags_by_digest(snapshot, &prefix);
    let all = snapshot.scan::<Manifest>(&prefix);
    all.map(|(_, manifest)| Image {
        tags: tags.remove(&manifest.digest).unwrap_or_default(),
        digest: manifest.digest.clone(),
        pushed_at: manifest.pushed_at,
        subject: manifest.subject.clone(),
        references: manifest.references.clone(),
    })
    .collect()
}

fn tags_by_digest(snapshot: &Snapshot, prefix: &str) -> BTreeMap<Digest, Vec<String>> {
    let mut tags = BTreeMap::<Digest, Vec<String>>::new();
    for (_, tag) in snapshot.scan::<ImageTag>(prefix) {
        tags.entry(tag.digest.clone()).or_default().push(tag.tag.clone());
    }
    tags
}

/// An image that goes, with the tags it had when that was decided.
#[derive(Clone)]
struct Doomed {
    digest: Digest,
    tags: Vec<String>,
}

/// How far one transaction came: so many images are dealt with, and of the next so many tags.
struct Progress {
    images: usize,
    tags: usize,
}

async fn remove(
    cx: &Context,
    policy: &Arc<LifecyclePolicy>,
    doomed: &[Doomed],
) -> Result<(), store::TransactFailure<CommitFailure>> {
    let mut left = doomed.to_vec();
    while !left.is_empty() {
        let (progress, _) = cx.store.transact(|txn| Ok(remove_some(txn, policy, &left))).await?;
        left.drain(..progress.images);
        if let Some(next) = left.first_mut() {
            next.tags.drain(..progress.tags);
        }
    }
    Ok(())
}

fn remove_some(txn: &mut Txn, policy: &LifecyclePolicy, doomed: &[Doomed]) -> Progress {
    let all = Progress { images: doomed.len(), tags: 0 };
    let name = &policy.repository;
    let same = txn.get::<LifecyclePolicy>(name.as_str()).is_some_and(|now| *now == *policy);
    if !same || txn.get::<Repository>(name.as_str()).is_none() {
        return all;
    }
    let snapshot = txn.snapshot().clone();
    let prefix = repository_prefix(name);
    let tags = tags_by_digest(&snapshot, &prefix);
    let manifests: Vec<_> = snapshot.scan::<Manifest>(&prefix).map(|(_, it)| it).collect();
    let mut named = BTreeMap::<&Digest, BTreeSet<&Digest>>::new();
    for index in &manifests {
        for reference in &index.references {
            named.entry(reference).or_default().insert(&index.digest);
        }
    }
    let mut gone = BTreeSet::<&Digest>::new();
    let mut room = PORTION_RECORDS;
    for (at, image) in doomed.iter().enumerate() {
        let is_named = named.get(&image.digest).is_some_and(|by| !by.is_subset(&gone));
        let has = tags.get(&image.digest).map(Vec::as_slice).unwrap_or_default();
        // Guarded: who gives it a tag or an index meanwhile writes it.
        let key = manifest_key(name, &image.digest);
        let unchanged = txn.get::<Manifest>(&key).is_some() && has == image.tags && !is_named;
        if !unchanged {
            // The change wakes us: it will be looked at again.
            continue;
        }
        if image.tags.len() + 2 > room {
            let tags = if at == 0 { image.tags.len().min(room) } else { 0 };
            delete_tags(txn, name, &image.tags[..tags]);
            return Progress { images: at, tags };
        }
        delete_tags(txn, name, &image.tags);
        txn.delete::<Manifest>(&key);
        if txn.peek::<ImagePull>(&key).is_some() {
            txn.delete::<ImagePull>(&key);
        }
        room -= image.tags.len() + 2;
        gone.insert(&image.digest);
    }
    all
}

fn delete_tags(txn: &mut Txn, name: &RepositoryName, tags: &[String]) {
    for tag in tags {
        let key = image_tag_key(name, tag);
        // Guarded: a tag that moves to another image meanwhile must stay.
        txn.get::<ImageTag>(&key);
        txn.delete::<ImageTag>(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Store;

    fn manifest(name: &str, references: &[&str]) -> Manifest {
        Manifest {
            repository: "web".into(),
            digest: name.into(),
            media_type: String::new(),
            artifact_type: None,
            subject: None,
            references: references.iter().map(|name| Digest::from(*name)).collect(),
            manifest_bytes: 0,
            image_bytes: 0,
            pushed_at: Timestamp(0),
        }
    }

    fn tag(tag: &str, digest: &str) -> ImageTag {
        let (repository, digest) = ("web".into(), digest.into());
        ImageTag { repository, tag: tag.to_owned(), digest, tagged_at: Timestamp(0) }
    }

    fn policy(text: &str) -> LifecyclePolicy {
        LifecyclePolicy { repository: "web".into(), text: text.to_owned(), put_at: Timestamp(0) }
    }

    fn doomed(digest: &str, tags: &[String]) -> Doomed {
        Doomed { digest: digest.into(), tags: tags.to_vec() }
    }

    /// A repository with a policy and an image `a` tagged `v1`, and what is added to it.
    async fn repository(add: impl FnOnce(&mut Txn)) -> Store {
        let store = Store::in_memory(store::kinds::all());
        let mut txn = store.begin();
        txn.put(Repository {
            name: "web".into(),
            created_at: Timestamp(0),
            immutable_tags: false,
            tag_exclusions: Vec::new(),
            scan_on_push: false,
            tags: model::Tags::new(),
        });
        txn.put(policy("one"));
        txn.put(manifest("a", &[]));
        txn.put(tag("v1", "a"));
        add(&mut txn);
        txn.commit().await.expect("committed");
        store
    }

    /// Removes what a decision doomed; returns the images that are left.
    async fn left(store: &Store, decided: &LifecyclePolicy, doomed: &[Doomed]) -> String {
        let mut left = doomed.to_vec();
        while !left.is_empty() {
            let removed =
                store.transact(|txn| Ok::<_, CommitFailure>(remove_some(txn, decided, &left)));
            let (progress, _) = removed.await.expect("committed");
            assert!(progress.images > 0 || progress.tags > 0, "no progress");
            left.drain(..progress.images);
            if let Some(next) = left.first_mut() {
                next.tags.drain(..progress.tags);
            }
        }
        let snapshot = store.snapshot();
        let names = snapshot.scan::<Manifest>("").map(|(_, it)| it.digest.to_string());
        names.collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn what_was_decided_is_removed_unless_it_has_changed_meanwhile() {
        let decided = policy("one");
        let v1 = ["v1".to_owned()];
        let plain = repository(|_| {}).await;
        assert_eq!(left(&plain, &decided, &[doomed("a", &v1)]).await, "");
        assert_eq!(plain.snapshot().count::<ImageTag>(""), 0);
        let retagged = repository(|txn| txn.put(tag("v2", "a"))).await;
        assert_eq!(left(&retagged, &decided, &[doomed("a", &v1)]).await, "a");
        let moved = repository(|txn| {
            txn.put(manifest("b", &[]));
            txn.put(tag("v1", "b"));
        });
        assert_eq!(left(&moved.await, &decided, &[doomed("a", &v1)]).await, "a b");
        let indexed = repository(|txn| txn.put(manifest("i", &["a"]))).await;
        assert_eq!(left(&indexed, &decided, &[doomed("a", &v1)]).await, "a i");
        let both = [doomed("i", &[]), doomed("a", &v1)];
        assert_eq!(left(&indexed, &decided, &both).await, "");
        let replaced = repository(|txn| txn.put(policy("two"))).await;
        assert_eq!(left(&replaced, &decided, &[doomed("a", &v1)]).await, "a");
        let gone = repository(|txn| txn.delete::<Repository>("web")).await;
        assert_eq!(left(&gone, &decided, &[doomed("a", &v1)]).await, "a");
    }

    #[tokio::test]
    async fn an_image_with_more_tags_than_a_transaction_takes_goes_too() {
        let many: Vec<String> = (0..250).map(|n| format!("t{n:03}")).collect();
        let store = repository(|txn| txn.delete::<ImageTag>("web@v1")).await;
        for some in many.chunks(100) {
            let mut txn = store.begin();
            some.iter().for_each(|name| txn.put(tag(name, "a")));
            txn.commit().await.expect("committed");
        }
        assert_eq!(left(&store, &policy("one"), &[doomed("a", &many)]).await, "");
        assert_eq!(store.snapshot().count::<ImageTag>(""), 0);
    }
}
