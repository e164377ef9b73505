//! Tags, as all services but EC2 take them: the same pairs within the same bounds, which each
//! refuses in words of its own, and the records that have them.
//! Source: API reference, Tag; ECS developer guide, tag restrictions.

use crate::fault::Fault;
use crate::limits::{TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX};
use model::Tags;
use model::limits::TAGS_PER_RESOURCE_MAX;
use store::{Record, Txn};

/// Keys that begin so are AWS's own.
const RESERVED_PREFIX: &str = "aws:";

/// A tag of a request or an answer. Each service has a type of its own for it.
pub trait Pair {
    fn new(key: String, value: String) -> Self;
    fn parts(self) -> (String, String);
}

macro_rules! pairs {
    ($($service:ident),*) => {$(
        impl Pair for wire::$service::Tag {
            fn new(key: String, value: String) -> Self {
                Self { key: Some(key), value: Some(value) }
            }

            fn parts(self) -> (String, String) {
                (self.key.unwrap_or_default(), self.value.unwrap_or_default())
            }
        }
    )*};
}

pairs!(acm, cloudwatch, ecr, ecs, elbv2, iam, secretsmanager, servicediscovery, ssm);

/// What a service asks of tags, and its words for what it refuses.
pub struct Rules {
    /// Of one tag's key and value, beside that its key is given once.
    pub check: fn(&str, &str) -> Result<(), Fault>,
    pub twice: fn(&str) -> Fault,
    pub too_many: fn() -> Fault,
}

impl Rules {
    /// The tags a call brings.
    pub fn read<T: Pair>(&self, given: Option<Vec<T>>) -> Result<Tags, Fault> {
        let mut tags = Tags::new();
        for (key, value) in given.into_iter().flatten().map(Pair::parts) {
            (self.check)(&key, &value)?;
            if tags.insert(key.clone(), value).is_some() {
                return Err((self.twice)(&key));
            }
        }
        self.check_count(&tags)?;
        Ok(tags)
    }

    /// The same for those that came as a map.
    pub fn check_all(&self, tags: &Tags) -> Result<(), Fault> {
        tags.iter().try_for_each(|(key, value)| (self.check)(key, value))?;
        self.check_count(tags)
    }

    /// Puts tags over those that are there.
    pub fn add(&self, tags: &mut Tags, more: &Tags) -> Result<(), Fault> {
        tags.extend(more.clone());
        self.check_count(tags)
    }

    /// A resource has at most so many tags of its owner's; AWS's own don't count.
    pub fn check_count(&self, tags: &Tags) -> Result<(), Fault> {
        match tags.keys().filter(|key| !is_reserved(key)).count() <= TAGS_PER_RESOURCE_MAX {
            true => Ok(()),
            false => Err((self.too_many)()),
        }
    }
}

pub fn fits(key: &str, value: &str) -> bool {
    (1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count())
        && value.chars().count() <= TAG_VALUE_CHARS_MAX
}

pub fn is_reserved(key: &str) -> bool {
    let prefix = key.get(..RESERVED_PREFIX.len());
    prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(RESERVED_PREFIX))
}

/// Letters, digits and spaces of any script, and a few marks.
pub fn is_allowed(c: char) -> bool {
    c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c)
}

/// In the order of their keys.
pub fn show<T: Pair>(tags: &Tags) -> Vec<T> {
    tags.iter().map(|(key, value)| T::new(key.clone(), value.clone())).collect()
}

/// Takes tags away; keys that aren't there are passed over.
pub fn remove(tags: &mut Tags, keys: &[String]) {
    tags.retain(|key, _| !keys.contains(key));
}

/// A record that has tags.
pub trait Tagged: Record + Clone {
    fn tags(&mut self) -> &mut Tags;
}

macro_rules! tagged {
    ($($record:path),* $(,)?) => {$(
        impl Tagged for $record {
            fn tags(&mut self) -> &mut Tags {
                &mut self.tags
            }
        }
    )*};
}

tagged!(
    model::balancing::Certificate,
    model::balancing::Listener,
    model::balancing::LoadBalancer,
    model::balancing::Rule,
    model::balancing::TargetGroup,
    model::cluster::Cluster,
    model::discovery::DiscoveryService,
    model::discovery::Namespace,
    model::metrics::Alarm,
    model::scaling::ScalableTarget,
    model::secret::Parameter,
    model::service::Service,
    model::task::Task,
    model::task_definition::TaskDefinition,
);

/// Changes the tags of a record within a transaction.
pub fn change<R: Tagged>(
    txn: &mut Txn,
    record: &R,
    change: impl FnOnce(&mut Tags) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut changed = record.clone();
    change(changed.tags())?;
    txn.put(changed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        check: |_, _| Ok(()),
        twice: |key| Fault::client("Twice", key),
        too_many: || Fault::client("TooMany", ""),
    };

    #[test]
    fn a_key_is_given_once_and_those_of_aws_do_not_count() {
        let pair = |key: &str| wire::iam::Tag::new(key.to_owned(), String::new());
        let read = |tags: Vec<wire::iam::Tag>| RULES.read(Some(tags)).map_err(|fault| fault.code);
        assert_eq!(read(vec![pair("a"), pair("A")]).map(|tags| tags.len()), Ok(2));
        assert_eq!(read(vec![pair("a"), pair("a")]), Err("Twice".into()));
        let own = |count: usize| (0..count).map(|n| pair(&format!("k{n}")));
        assert!(read(own(50).chain([pair("aws:x")]).collect()).is_ok());
        assert_eq!(read(own(51).collect()), Err("TooMany".into()));
        let mut tags = read(own(50).collect()).expect("as many as there may be");
        let more = Tags::from([("k7".to_owned(), "new".to_owned())]);
        RULES.add(&mut tags, &more).expect("one of them changes");
        assert_eq!(tags["k7"], "new");
        assert!(RULES.add(&mut tags, &Tags::from([("l".to_owned(), String::new())])).is_err());
    }

    #[test]
    fn bounds_are_in_characters_and_aws_is_spelled_in_any_case() {
        assert!(fits(&"ü".repeat(128), &"ü".repeat(256)));
        assert!(!fits("", "v") && !fits(&"k".repeat(129), "") && !fits("k", &"v".repeat(257)));
        assert!(is_reserved("aws:") && is_reserved("AwS:x"));
        assert!(!is_reserved("aws") && !is_reserved("awsx:") && !is_reserved("äws:"));
    }
}
