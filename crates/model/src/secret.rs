//! Secrets Manager's secrets and Systems Manager's parameters. Values are sealed by
//! `store::secret`; only the sealed form is ever stored. A secret's versions have ids and carry
//! labels (stages); a parameter's are numbered. Also how callers name them.

use crate::arn::{Arn, Locality};
use crate::document::Tags;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The label of the version that is meant when none is named.
pub const CURRENT: &str = "AWSCURRENT";
/// The label of the version that was current before.
pub const PREVIOUS: &str = "AWSPREVIOUS";
/// Characters that end a secret's ARN, after a `-`.
pub const SUFFIX_CHARS: usize = 6;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Secret {
    pub name: String,
    /// The six characters that end its ARN: a secret made anew has others.
    pub suffix: String,
    pub description: Option<String>,
    pub kms_key_id: Option<String>,
    pub tags: Tags,
    /// The resource policy as it was given.
    pub policy: Option<String>,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
    /// To the day.
    pub accessed_at: Option<Timestamp>,
    /// When its deletion was asked for, and when it will be gone.
    pub deleted_at: Option<Timestamp>,
    pub gone_at: Option<Timestamp>,
    /// Which version each label is at.
    pub stages: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SecretVersion {
    pub secret: String,
    /// A UUID, or what the caller gave as the request's token.
    pub id: String,
    pub created_at: Timestamp,
    pub accessed_at: Option<Timestamp>,
    /// Hexadecimal.
    pub sealed_value: String,
    /// SecretBinary rather than SecretString.
    pub is_binary: bool,
}

impl Secret {
    pub fn arn(&self, locality: &Locality) -> String {
        locality.arn("secretsmanager", &format!("secret:{}-{}", self.name, self.suffix))
    }

    /// What a version's value is sealed for.
    pub fn seal_context(&self, version: &str) -> String {
        format!("secret/{}-{}/{version}", self.name, self.suffix)
    }

    /// The labels of a version.
    pub fn stages_of(&self, version: &str) -> Vec<String> {
        let of = self.stages.iter().filter(|(_, at)| *at == version);
        of.map(|(stage, _)| stage.clone()).collect()
    }

    /// Makes a version the current one; what was current becomes the previous one.
    pub fn make_current(&mut self, version: &str) {
        let before = self.stages.insert(CURRENT.to_owned(), version.to_owned());
        if let Some(before) = before.filter(|before| before != version) {
            self.stages.insert(PREVIOUS.to_owned(), before);
        }
    }
}

/// What may be meant by a SecretId: a secret of this name, and of this suffix where one is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SecretName {
    pub name: String,
    pub suffix: Option<String>,
}

impl SecretName {
    pub fn means(&self, secret: &Secret) -> bool {
        self.name == secret.name && self.suffix.as_ref().is_none_or(|it| *it == secret.suffix)
    }
}

/// Every reading of a SecretId, the likeliest first: a name, an ARN, or an ARN without its last six
/// characters. None are meant by an ARN of another account or region.
/// Source: API reference, GetSecretValue (SecretId), and user guide, "troubleshoot".
pub fn secret_names(locality: &Locality, id: &str) -> Vec<SecretName> {
    let whole = |name: &str| SecretName { name: name.to_owned(), suffix: None };
    let Some(arn) = Arn::parse(id) else { return vec![whole(id)] };
    let rest = arn.resource.strip_prefix("secret:");
    let Some(rest) = rest.filter(|_| arn.service == "secretsmanager" && locality.owns(&arn)) else {
        return Vec::new();
    };
    let mut readings = Vec::with_capacity(2);
    if let Some((name, suffix)) = rest.rsplit_once('-')
        && suffix.len() == SUFFIX_CHARS
        && suffix.bytes().all(|b| b.is_ascii_alphanumeric())
        && !name.is_empty()
    {
        readings.push(SecretName { name: name.to_owned(), suffix: Some(suffix.to_owned()) });
    }
    readings.push(whole(rest));
    readings
}

/// Letters and digits that end an ARN, out of random bits.
pub fn mint_suffix(mut random: u128) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut suffix = String::with_capacity(SUFFIX_CHARS);
    for _ in 0..SUFFIX_CHARS {
        suffix.push(char::from(ALPHABET[(random % 62) as usize]));
        random /= 62;
    }
    suffix
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ParameterKind {
    String,
    StringList,
    SecureString,
}

impl ParameterKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringList => "StringList",
            Self::SecureString => "SecureString",
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Parameter {
    pub name: String,
    /// Its newest version, from 1.
    pub newest: u64,
    pub tags: Tags,
    pub created_at: Timestamp,
}

/// One value of a parameter, with all that was said of it then.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ParameterVersion {
    pub parameter: String,
    pub number: u64,
    pub kind: ParameterKind,
    /// Hexadecimal.
    pub sealed_value: String,
    pub description: Option<String>,
    pub allowed_pattern: Option<String>,
    pub key_id: Option<String>,
    pub data_type: String,
    /// `Standard` or `Advanced`.
    pub tier: String,
    pub modified_at: Timestamp,
    pub modified_by: String,
    pub labels: BTreeSet<String>,
}

impl Parameter {
    /// Source: API reference, Parameter (ARN): a leading `/` is not doubled.
    pub fn arn(locality: &Locality, name: &str) -> String {
        locality.arn("ssm", &format!("parameter/{}", name.strip_prefix('/').unwrap_or(name)))
    }
}

impl ParameterVersion {
    /// What a version's value is sealed for.
    pub fn seal_context(parameter: &str, number: u64, created_at: Timestamp) -> String {
        format!("parameter/{parameter}/{}/{number}", created_at.0)
    }
}

/// A parameter as callers name it: `name`, `name:3`, `name:label`, or the same as an ARN.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParameterName {
    /// Names to try, in this order: an ARN does not tell whether the name begins with a `/`.
    pub names: Vec<String>,
    /// A version's number or label.
    pub selector: Option<String>,
}

/// None: an ARN that is not one of our parameters'.
pub fn parameter_name(locality: &Locality, text: &str) -> Option<ParameterName> {
    let split = |text: &str| match text.split_once(':') {
        Some((name, selector)) => (name.to_owned(), Some(selector.to_owned())),
        None => (text.to_owned(), None),
    };
    if !text.starts_with("arn:") {
        let (name, selector) = split(text);
        return Some(ParameterName { names: vec![name], selector });
    }
    let arn = Arn::parse(text).filter(|arn| arn.service == "ssm" && locality.owns(arn))?;
    let (name, selector) = split(arn.resource.strip_prefix("parameter/")?);
    let names = match name.contains('/') {
        // A name of several levels always begins with a slash.
        true => vec![format!("/{name}")],
        false => vec![name.clone(), format!("/{name}")],
    };
    Some(ParameterName { names, selector })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locality() -> Locality {
        Locality { region: "us-east-1".into(), account: "000000000000".into() }
    }

    fn name(name: &str, suffix: Option<&str>) -> SecretName {
        SecretName { name: name.to_owned(), suffix: suffix.map(str::to_owned) }
    }

    #[test]
    fn a_secret_is_meant_by_name_arn_and_partial_arn() {
        let read = |text: &str| secret_names(&locality(), text);
        assert_eq!(read("prod/db"), [name("prod/db", None)]);
        let arn = "arn:aws:secretsmanager:us-east-1:000000000000:secret:";
        assert_eq!(
            read(&format!("{arn}prod/db-AbC12x")),
            [name("prod/db", Some("AbC12x")), name("prod/db-AbC12x", None)]
        );
        assert_eq!(read(&format!("{arn}prod/db")), [name("prod/db", None)]);
        let elsewhere = "arn:aws:secretsmanager:eu-west-1:000000000000:secret:prod/db";
        assert_eq!(read(elsewhere), []);
        assert_eq!(read("arn:aws:ssm:us-east-1:000000000000:parameter/x"), []);
    }

    #[test]
    fn a_parameter_is_meant_by_name_and_arn_with_a_version_or_label() {
        let read = |text: &str| parameter_name(&locality(), text);
        let meant = |names: &[&str], selector: Option<&str>| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            Some(ParameterName { names, selector: selector.map(str::to_owned) })
        };
        assert_eq!(read("/a/b"), meant(&["/a/b"], None));
        assert_eq!(read("a:3"), meant(&["a"], Some("3")));
        let arn = "arn:aws:ssm:us-east-1:000000000000:parameter/";
        assert_eq!(read(&format!("{arn}a/b:live")), meant(&["/a/b"], Some("live")));
        assert_eq!(read(&format!("{arn}a")), meant(&["a", "/a"], None));
        assert_eq!(read("arn:aws:ssm:eu-west-1:000000000000:parameter/a"), None);
        assert_eq!(Parameter::arn(&locality(), "/a/b"), format!("{arn}a/b"));
    }

    #[test]
    fn what_was_current_becomes_previous() {
        let mut secret = Secret {
            name: "n".to_owned(),
            suffix: mint_suffix(1),
            description: None,
            kms_key_id: None,
            tags: Tags::new(),
            policy: None,
            created_at: Timestamp(0),
            changed_at: Timestamp(0),
            accessed_at: None,
            deleted_at: None,
            gone_at: None,
            stages: BTreeMap::new(),
        };
        assert_eq!(secret.suffix.len(), SUFFIX_CHARS);
        secret.make_current("1");
        secret.make_current("1");
        assert_eq!(secret.stages_of("1"), [CURRENT]);
        secret.make_current("2");
        secret.make_current("3");
        assert_eq!(secret.stages_of("1"), Vec::<String>::new());
        assert_eq!(secret.stages_of("2"), [PREVIOUS]);
        assert_eq!(secret.stages_of("3"), [CURRENT]);
    }
}
