//! Which images a repository's lifecycle policy expires. All rules see the same images; a rule of a
//! lower priority can't take what a higher one sees, whether or not that one takes it. What an
//! index refers to goes only after the index, and what refers to a subject goes with the subject
//! and never by itself.
//! Source: ECR user guide, LifecyclePolicies, lifecycle_policy_parameters and
//! lifecycle_policy_examples.

mod parse;

pub use parse::{PolicyFault, parse};

use model::image::matches_wildcards;
use model::{Digest, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// How long an artifact whose subject is not there is kept, in seconds: it may have been pushed
/// first. ECR removes those of a deleted subject within a day.
pub const ORPHAN_SECONDS: i64 = 24 * 3600;
const DAY_SECONDS: i64 = 24 * 3600;

/// A policy's rules, the highest priority (the lowest number) first.
#[derive(Clone, PartialEq, Debug)]
pub struct Policy {
    pub rules: Vec<Rule>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    pub priority: u32,
    pub selection: Selection,
    pub limit: Limit,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// Each of these patterns matches one of the image's tags. `*` stands for any characters.
    Tagged(Vec<String>),
    Untagged,
    Any,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// Only so many stay, the youngest.
    CountMoreThan(u64),
    /// What was pushed longer ago goes, in days.
    SincePushedDays(u64),
}

/// An image as a policy sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct Image {
    pub digest: Digest,
    pub tags: Vec<String>,
    pub pushed_at: Timestamp,
    /// What it is about, for a reference artifact.
    pub subject: Option<Digest>,
    /// Images an index refers to (and blobs, which no image has the name of).
    pub references: Vec<Digest>,
}

/// An image that goes, and the rule that says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expiry {
    pub digest: Digest,
    /// None: nothing of the policy, but an artifact whose subject has long been gone.
    pub priority: Option<u32>,
}

/// What goes now, in the order in which it can go: an index before its images, an image before its
/// artifacts, and otherwise older before newer. Untagged images younger than `grace_ms` stay: they
/// may be those of an index that is still to come.
pub fn expired(policy: &Policy, images: &[Image], now: Timestamp, grace_ms: i64) -> Vec<Expiry> {
    let mut left: Vec<&Image> = images.iter().collect();
    left.sort_by(|a, b| (a.pushed_at, &a.digest).cmp(&(b.pushed_at, &b.digest)));
    let mut gone = Vec::new();
    // What an index protected can go once the index is gone, so looking once is not enough. Every
    // round but the last removes an image.
    loop {
        let round = round(policy, &left, now, grace_ms);
        if round.is_empty() {
            return gone;
        }
        let names: BTreeSet<&Digest> = round.iter().map(|expiry| &expiry.digest).collect();
        left.retain(|image| !names.contains(&image.digest));
        gone.extend(round);
    }
}

/// One look at all images, the oldest first: what goes, and by which rule.
fn round(policy: &Policy, images: &[&Image], now: Timestamp, grace_ms: i64) -> Vec<Expiry> {
    let referenced: BTreeSet<&Digest> = images.iter().flat_map(|image| &image.references).collect();
    let mut seen = BTreeSet::<&Digest>::new();
    let mut taken = BTreeMap::<&Digest, u32>::new();
    for rule in &policy.rules {
        let selected = images.iter().filter(|image| image.subject.is_none());
        let selected: Vec<&Image> =
            selected.filter(|image| selects(&rule.selection, image)).copied().collect();
        for image in over_limit(rule.limit, &selected, now) {
            let in_grace = image.tags.is_empty() && now.since_ms(image.pushed_at) < grace_ms;
            let held = seen.contains(&image.digest) || referenced.contains(&image.digest);
            if !held && !in_grace {
                taken.insert(&image.digest, rule.priority);
            }
        }
        seen.extend(selected.iter().map(|image| &image.digest));
    }
    let expiry = |image: &Image, priority| Expiry { digest: image.digest.clone(), priority };
    let by_rule = images.iter().filter_map(|image| {
        let priority = taken.get(&image.digest)?;
        Some(expiry(image, Some(*priority)))
    });
    let mut gone: Vec<Expiry> = by_rule.collect();
    add_artifacts(images, &referenced, now, &mut gone);
    gone
}

/// Adds what refers to what goes, each after its subject, and what has long had no subject.
fn add_artifacts(
    images: &[&Image],
    referenced: &BTreeSet<&Digest>,
    now: Timestamp,
    gone: &mut Vec<Expiry>,
) {
    let all: BTreeSet<&Digest> = images.iter().map(|image| &image.digest).collect();
    let mut by = gone.iter().map(|it| (it.digest.clone(), it.priority)).collect::<BTreeMap<_, _>>();
    let artifacts = images.iter().filter(|image| !referenced.contains(&image.digest));
    let artifacts: Vec<(&Image, &Digest)> =
        artifacts.filter_map(|image| Some((*image, image.subject.as_ref()?))).collect();
    // An artifact may be the subject of another: as long as any follows, more may.
    loop {
        let before = gone.len();
        for (image, subject) in &artifacts {
            let orphan = !all.contains(subject)
                && now.since_ms(image.pushed_at) > ORPHAN_SECONDS.saturating_mul(1000);
            let follows = by.get(*subject).copied().or(orphan.then_some(None));
            let Some(priority) = follows.filter(|_| !by.contains_key(&image.digest)) else {
                continue;
            };
            by.insert(image.digest.clone(), priority);
            gone.push(Expiry { digest: image.digest.clone(), priority });
        }
        if gone.len() == before {
            return;
        }
    }
}

fn selects(selection: &Selection, image: &Image) -> bool {
    match selection {
        Selection::Any => true,
        Selection::Untagged => image.tags.is_empty(),
        Selection::Tagged(patterns) => patterns
            .iter()
            .all(|pattern| image.tags.iter().any(|tag| matches_wildcards(pattern, tag))),
    }
}

/// Those of the selected images, the oldest first, that are too many or too old.
fn over_limit<'a>(limit: Limit, selected: &[&'a Image], now: Timestamp) -> Vec<&'a Image> {
    match limit {
        Limit::CountMoreThan(kept) => {
            let kept = usize::try_from(kept).unwrap_or(usize::MAX);
            let over = selected.len().saturating_sub(kept);
            selected[..over].to_vec()
        }
        Limit::SincePushedDays(days) => {
            let age_ms = i64::try_from(days).unwrap_or(i64::MAX);
            let age_ms = age_ms.saturating_mul(DAY_SECONDS).saturating_mul(1000);
            let old = selected.iter().filter(|image| now.since_ms(image.pushed_at) > age_ms);
            old.copied().collect()
        }
    }
}

/// When the policy is next to be looked at because an image has become too old; None: only when
/// something changes.
pub fn next_expiry(
    policy: &Policy,
    images: &[Image],
    now: Timestamp,
    grace_ms: i64,
) -> Option<Timestamp> {
    let ages = policy.rules.iter().filter_map(|rule| match rule.limit {
        Limit::SincePushedDays(days) => i64::try_from(days).ok(),
        Limit::CountMoreThan(_) => None,
    });
    let ages: Vec<i64> = ages.map(|days| days.saturating_mul(DAY_SECONDS)).collect();
    let old = images.iter().flat_map(|image| {
        ages.iter().map(|seconds| image.pushed_at.plus_seconds(*seconds).plus_ms(1))
    });
    let untagged = images.iter().filter(|image| image.tags.is_empty());
    let out_of_grace = untagged.map(|image| image.pushed_at.plus_ms(grace_ms));
    let orphans = images.iter().filter(|image| image.subject.is_some());
    let orphaned = orphans.map(|image| image.pushed_at.plus_seconds(ORPHAN_SECONDS).plus_ms(1));
    let due = old.chain(out_of_grace).chain(orphaned);
    due.filter(|at| *at > now).min()
}
