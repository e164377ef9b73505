//! Lifecycle policies: the user guide's own examples, what protects an image, and over seeds what
//! must hold whatever the policy and the images are.

use model::image::matches_wildcards;
use model::{Digest, Timestamp};
use plan::lifecycle_policy::{
    Expiry, Image, Limit, Policy, Rule, Selection, expired, next_expiry, parse,
};
use std::collections::{BTreeMap, BTreeSet};

const NOW: Timestamp = Timestamp(1_750_000_000_000);
const DAY_MS: i64 = 24 * 3600 * 1000;

fn image(name: &str, tags: &[&str], days_ago: i64) -> Image {
    Image {
        digest: Digest::from(name),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        // A little more than whole days, as it would be when a day has passed.
        pushed_at: NOW.plus_ms(-days_ago * DAY_MS - 1),
        subject: None,
        references: Vec::new(),
    }
}

fn policy(rules: &[&str]) -> Policy {
    let rule = |(at, selection): (usize, &&str)| {
        let priority = at + 1;
        format!(
            r#"{{ "rulePriority": {priority}, "selection": {{ {selection} }},
                 "action": {{ "type": "expire" }} }}"#
        )
    };
    let rules: Vec<String> = rules.iter().enumerate().map(rule).collect();
    parse(&format!(r#"{{ "rules": [{}] }}"#, rules.join(","))).expect("a good policy")
}

fn names(gone: &[Expiry]) -> String {
    let names: Vec<&str> = gone.iter().map(|expiry| expiry.digest.as_str()).collect();
    names.join("")
}

const PROD: &str = r#""tagStatus": "tagged", "tagPatternList": ["prod*"],
    "countType": "imageCountMoreThan", "countNumber": 1"#;
const BETA: &str = r#""tagStatus": "tagged", "tagPrefixList": ["beta"],
    "countType": "imageCountMoreThan", "countNumber": 1"#;
const ALPHA: &str = r#""tagStatus": "tagged", "tagPatternList": ["alpha*"],
    "countType": "imageCountMoreThan", "countNumber": 1"#;
const ALPHA_BETA_5_DAYS: &str = r#""tagStatus": "tagged", "tagPatternList": ["alpha*", "beta*"],
    "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 5"#;
const ALPHA_BETA_1: &str = r#""tagStatus": "tagged", "tagPatternList": ["alpha*", "beta*"],
    "countType": "imageCountMoreThan", "countNumber": 1"#;
const UNTAGGED_1_DAY: &str = r#""tagStatus": "untagged",
    "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1"#;
const ANY_1: &str = r#""tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1"#;

#[test]
fn the_user_guides_examples_come_out_as_it_says() {
    let two = [
        image("A", &["beta-1", "prod-1"], 10),
        image("B", &["beta-2", "prod-2"], 9),
        image("C", &["beta-3"], 8),
    ];
    assert_eq!(names(&expired(&policy(&[PROD, BETA]), &two, NOW, 0)), "A");
    assert_eq!(names(&expired(&policy(&[BETA, PROD]), &two, NOW, 0)), "AB");
    let tags = [
        image("A", &["alpha-1"], 12),
        image("B", &["beta-1"], 11),
        image("C", &["alpha-2", "beta-2"], 10),
        image("D", &["alpha-3"], 4),
        image("E", &["beta-3"], 3),
        image("F", &["alpha-4", "beta-4"], 2),
    ];
    assert_eq!(names(&expired(&policy(&[ALPHA_BETA_5_DAYS]), &tags, NOW, 0)), "C");
    let more = [
        image("A", &["alpha-1", "beta-1", "gamma-1"], 10),
        image("B", &["alpha-2", "beta-2"], 9),
        image("C", &["alpha-3", "beta-3", "gamma-2"], 8),
    ];
    assert_eq!(names(&expired(&policy(&[ALPHA_BETA_1]), &more, NOW, 0)), "AB");
    let all = [
        image("A", &["alpha-1"], 4),
        image("B", &["beta-1"], 3),
        image("C", &[], 2),
        image("D", &["alpha-2"], 1),
    ];
    assert_eq!(names(&expired(&policy(&[ANY_1]), &all, NOW, 0)), "ABC");
    let mut combined = [
        image("A", &["alpha-1", "beta-1"], 4),
        image("B", &[], 3),
        image("C", &["alpha-2"], 2),
        image("D", &["git hash"], 1),
        image("E", &[], 1),
    ];
    // The guide's E is the newest, and younger than a day by the guide's counting.
    combined[4].pushed_at = NOW.plus_ms(2 - DAY_MS);
    let gone = expired(&policy(&[ALPHA, UNTAGGED_1_DAY, ANY_1]), &combined, NOW, 0);
    assert_eq!(names(&gone), "ABD");
    let by: Vec<_> = gone.iter().filter_map(|expiry| expiry.priority).collect();
    assert_eq!(by, [1, 2, 3]);
}

#[test]
fn an_index_goes_before_its_images_and_protects_them_while_it_is_there() {
    let mut images = vec![image("a", &[], 9), image("b", &[], 9), image("I", &["v1"], 9)];
    images[2].references = vec![Digest::from("a"), Digest::from("b")];
    assert_eq!(names(&expired(&policy(&[UNTAGGED_1_DAY]), &images, NOW, 0)), "");
    images.push(image("J", &["v2"], 2));
    assert_eq!(names(&expired(&policy(&[ANY_1]), &images, NOW, 0)), "Iab");
    // Another index that stays keeps what both refer to.
    images[3].references = vec![Digest::from("b")];
    assert_eq!(names(&expired(&policy(&[ANY_1]), &images, NOW, 0)), "Ia");
}

#[test]
fn artifacts_go_with_their_subject_and_never_alone() {
    let mut images = vec![image("A", &["v1"], 9), image("s", &[], 9), image("B", &["v2"], 1)];
    images[1].subject = Some(Digest::from("A"));
    images.push(image("t", &[], 8));
    images[3].subject = Some(Digest::from("s"));
    assert_eq!(names(&expired(&policy(&[UNTAGGED_1_DAY]), &images, NOW, 0)), "");
    let gone = expired(&policy(&[ANY_1]), &images, NOW, 0);
    assert_eq!(names(&gone), "Ast");
    assert!(gone.iter().all(|expiry| expiry.priority == Some(1)));
    // Its subject gone, an artifact follows after a day; pushed first, it waits for its subject.
    images.remove(0);
    images[0].pushed_at = NOW.plus_ms(-1);
    assert_eq!(names(&expired(&policy(&[PROD]), &images, NOW, 0)), "");
    images[0].pushed_at = NOW.plus_ms(-DAY_MS - 1);
    let gone = expired(&policy(&[PROD]), &images, NOW, 0);
    assert_eq!(names(&gone), "st");
    assert!(gone.iter().all(|expiry| expiry.priority.is_none()));
}

#[test]
fn the_next_look_is_when_the_next_image_is_too_old() {
    let images = [image("A", &[], 9), image("B", &[], 0)];
    let policy = policy(&[UNTAGGED_1_DAY, ANY_1]);
    assert_eq!(names(&expired(&policy, &images, NOW, 0)), "A");
    let at = next_expiry(&policy, &images, NOW, 0).expect("B's");
    assert_eq!(at, NOW.plus_ms(DAY_MS));
    assert_eq!(names(&expired(&policy, &images[1..], at, 0)), "B");
    assert_eq!(names(&expired(&policy, &images[1..], at.plus_ms(-1), 0)), "");
}

#[test]
fn an_untagged_image_that_may_be_one_of_an_index_to_come_stays_for_a_while() {
    let mut images = [image("A", &["v1"], 0), image("b", &[], 0), image("C", &["v2"], 0)];
    let at = NOW.plus_ms(-1);
    images[1].pushed_at = at;
    assert_eq!(names(&expired(&policy(&[ANY_1]), &images, NOW, 1000)), "AC");
    let later = at.plus_ms(1000);
    assert_eq!(next_expiry(&policy(&[ANY_1]), &images, NOW, 1000), Some(later));
    // It is the youngest, and so the one that is kept.
    images[0].pushed_at = NOW;
    assert_eq!(names(&expired(&policy(&[ANY_1]), &images, later.plus_ms(-1), 1000)), "C");
    assert_eq!(names(&expired(&policy(&[ANY_1]), &images, later, 1000)), "Cb");
}

#[test]
fn what_is_no_policy_is_refused() {
    let good = format!(
        r#"{{"rules":[{{"rulePriority":1,"selection":{{{PROD}}},"action":{{"type":"expire"}}}}]}}"#
    );
    assert!(parse(&good).is_ok());
    for (change, to, says) in [
        ("{\"rules\"", "[", "Could not map policyString into LifecyclePolicy."),
        ("\"rules\"", "\"rule\"", "missing required properties ([\"rules\"])"),
        ("\"rulePriority\":1,", "", "missing required properties ([\"rulePriority\"])"),
        ("\"rulePriority\":1", "\"rulePriority\":0", "lower than the required minimum"),
        ("\"rulePriority\":1", "\"rulePriority\":\"1\"", "instance type (string)"),
        ("\"rulePriority\"", "\"x\":1,\"rulePriority\"", "not allowed by the schema: ([\"x\"])"),
        ("\"countNumber\": 1", "\"countNumber\": 0", "(minimum: 1, found: 0)"),
        ("\"countNumber\": 1", "\"countNumber\": -1", "(minimum: 1, found: -1)"),
        ("\"countNumber\": 1", "\"countNumber\": 1.5", "instance type (number)"),
        ("imageCountMoreThan", "sinceImagePushed", "matched 0 out of 2"),
        ("imageCountMoreThan", "never", "matched 0 out of 2"),
        ("\"tagged\"", "\"untagged\"", "may only be used when tagStatus is 'tagged'"),
        ("\"tagPatternList\": [\"prod*\"],", "", "must be specified when tagStatus is 'tagged'"),
        ("[\"prod*\"]", "[\"*1*2*3*4*\"]", "at most 4 wildcards"),
        ("[\"prod*\"]", "[\"\"]", "too short"),
        ("tagPatternList\"", "tagPrefixList\":[\"a\"],\"tagPatternList\"", "may not both"),
        ("\"expire\"", "\"delete\"", "not found in enum"),
        ("\"expire\"", "\"transition\"", "not supported by Neargate"),
    ] {
        let bad = good.replacen(change, to, 1);
        assert_ne!(bad, good, "{change}");
        let fault = parse(&bad).expect_err(&bad).to_string();
        assert!(fault.starts_with("Lifecycle policy validation failure: "), "{fault}");
        assert!(fault.contains(says), "{fault} should say {says}");
    }
    let rule = |priority: u32, selection: &str| {
        format!(
            r#"{{"rulePriority":{priority},"selection":{{{selection}}},
                "action":{{"type":"expire"}}}}"#
        )
    };
    for (one, two, says) in [
        (rule(1, PROD), rule(1, BETA), "must be unique"),
        (rule(1, PROD), rule(2, PROD), "unique set of tag prefixes"),
        (rule(1, UNTAGGED_1_DAY), rule(2, UNTAGGED_1_DAY), "only one rule"),
        (rule(1, ANY_1), rule(2, PROD), "must have the highest rulePriority"),
    ] {
        let fault = parse(&format!(r#"{{"rules":[{one},{two}]}}"#)).expect_err(says).to_string();
        assert!(fault.contains(says), "{fault} should say {says}");
    }
}

/// A generator that is the same everywhere; what a seed shows can be shown again.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, n: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn images(&mut self) -> Vec<Image> {
        let count = self.below(9);
        let mut images: Vec<Image> = Vec::new();
        for at in 0..count {
            let known = ["alpha-1", "alpha-2", "beta-1", "prod"];
            let tags = known.into_iter().filter(|_| self.below(3) == 0).collect::<Vec<_>>();
            let mut made = image(&format!("{at}"), &tags, 0);
            made.pushed_at = NOW.plus_ms(-i64::try_from(self.below(10)).unwrap_or(0) * DAY_MS / 2);
            if !images.is_empty() {
                let other = |seeded: &mut Self| {
                    let at = seeded.below(images.len() as u64 + 1);
                    let gone = Digest::from("gone");
                    let found = usize::try_from(at).ok().and_then(|at| images.get(at));
                    found.map_or(gone, |image| image.digest.clone())
                };
                match self.below(5) {
                    0 => made.references = vec![other(self), other(self)],
                    1 => made.subject = Some(other(self)),
                    _ => {}
                }
            }
            images.push(made);
        }
        images
    }

    fn policy(&mut self) -> Policy {
        let patterns = ["alpha*", "*-1", "beta-1", "p*d"];
        let mut rules = Vec::new();
        for at in 0..=self.below(3) {
            let selection = match self.below(4) {
                0 => Selection::Untagged,
                1 => Selection::Any,
                _ => {
                    let chosen = patterns.into_iter().filter(|_| self.below(2) == 0);
                    Selection::Tagged(chosen.map(str::to_owned).collect())
                }
            };
            let number = self.below(4) + 1;
            let limit = match self.below(2) {
                0 => Limit::CountMoreThan(number),
                _ => Limit::SincePushedDays(number),
            };
            let priority = u32::try_from(at).expect("few");
            rules.push(Rule { priority, selection, limit });
        }
        Policy { rules }
    }
}

fn selects(rule: &Rule, image: &Image) -> bool {
    let tag = |pattern: &String| image.tags.iter().any(|tag| matches_wildcards(pattern, tag));
    image.subject.is_none()
        && match &rule.selection {
            Selection::Any => true,
            Selection::Untagged => image.tags.is_empty(),
            Selection::Tagged(patterns) => patterns.iter().all(tag),
        }
}

/// What must hold of each image that goes, by the guide's rules and not by the code's.
fn check(policy: &Policy, images: &[Image], gone: &[Expiry], seed: u64) {
    let by_name: BTreeMap<&Digest, &Image> = images.iter().map(|it| (&it.digest, it)).collect();
    let mut left: BTreeSet<&Digest> = by_name.keys().copied().collect();
    for expiry in gone {
        let image = by_name[&expiry.digest];
        assert!(left.remove(&image.digest), "seed {seed}: gone twice");
        let named = left.iter().any(|other| by_name[other].references.contains(&image.digest));
        assert!(!named, "seed {seed}: {image:?} went before an index that names it");
        let Some(subject) = &image.subject else {
            let rule = policy.rules.iter().find(|rule| selects(rule, image)).expect("a rule");
            assert_eq!(expiry.priority, Some(rule.priority), "seed {seed}: the wrong rule");
            if let Limit::SincePushedDays(days) = rule.limit {
                let age_ms = NOW.since_ms(image.pushed_at);
                assert!(age_ms > i64::try_from(days).expect("few") * DAY_MS, "seed {seed}: young");
            }
            continue;
        };
        assert!(!left.contains(subject), "seed {seed}: went before its subject");
    }
    for rule in &policy.rules {
        let Limit::CountMoreThan(kept) = rule.limit else { continue };
        let seen: Vec<&Image> = images.iter().filter(|image| selects(rule, image)).collect();
        let taken = |image: &&&Image| {
            gone.iter().any(|it| it.digest == image.digest && it.priority == Some(rule.priority))
        };
        for image in seen.iter().filter(taken) {
            let younger = seen.iter().filter(|other| other.pushed_at >= image.pushed_at).count();
            assert!(younger as u64 > kept, "seed {seed}: {image:?} is one of the youngest {kept}");
        }
    }
}

#[test]
fn whatever_the_policy_only_what_may_go_goes_and_looking_again_finds_nothing() {
    let mut removed = 0;
    for seed in 0..20_000 {
        let mut seeded = Seeded(seed);
        let (mut images, policy) = (seeded.images(), seeded.policy());
        let gone = expired(&policy, &images, NOW, 0);
        check(&policy, &images, &gone, seed);
        let mut turned = images.clone();
        turned.reverse();
        assert_eq!(expired(&policy, &turned, NOW, 0), gone, "seed {seed}: the order counts");
        images.retain(|image| gone.iter().all(|expiry| expiry.digest != image.digest));
        assert_eq!(expired(&policy, &images, NOW, 0), [], "seed {seed}: looking again finds more");
        removed += gone.len();
    }
    assert!(removed > 10_000, "only {removed} images went: nothing was tried");
}
