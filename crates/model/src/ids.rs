//! Every id its own type, so that a task's id can't be handed over where a subnet's is meant. They
//! are cheap to clone (a shared string), ordered, and print as the bare id. Ids are minted from
//! random bits that the caller supplies: this crate draws none.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id!(/// Twelve digits.
    AccountId);
id!(/// As in `us-east-1`.
    Region);
id!(/// As in `us-east-1a`.
    ZoneName);
id!(/// 1 to 255 letters, digits, `-` and `_`.
    ClusterName);
id!(/// A task definition's family: 1 to 255 letters, digits, `-` and `_`.
    Family);
id!(/// 32 lower-case hexadecimal digits, as in new-format task ARNs.
    TaskId);
id!(/// The last part of a container's ARN, a UUID.
    ContainerId);
id!(/// A machine of the fleet; what AWS would call a container instance. 32 hexadecimal digits.
    InstanceId);
id!(/// `vpc-` and 17 hexadecimal digits.
    VpcId);
id!(/// `subnet-` and 17 hexadecimal digits.
    SubnetId);
id!(/// `sg-` and 17 hexadecimal digits.
    SecurityGroupId);
id!(/// `eni-` and 17 hexadecimal digits.
    InterfaceId);
id!(/// The id of an attachment of an interface to a task, a UUID.
    AttachmentId);
id!(/// `AKIA` and 16 upper-case letters and digits.
    AccessKeyId);
id!(/// A repository of the registry: lower case, may hold `/`.
    RepositoryName);
id!(/// A content digest, `sha256:` and 64 hexadecimal digits.
    Digest);

/// Lower-case hexadecimal digits of the low `digits * 4` bits.
fn hex(bits: u128, digits: usize) -> String {
    let all = format!("{bits:032x}");
    all[32 - digits..].to_owned()
}

/// The form of a version 4 UUID over the given random bits.
fn uuid(bits: u128) -> String {
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let h = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

impl TaskId {
    pub fn mint(random: u128) -> Self {
        Self::from(hex(random, 32))
    }

    /// Whether the text has the form of a task id; says nothing about existence.
    pub fn is_well_formed(text: &str) -> bool {
        text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }
}

impl InstanceId {
    pub fn mint(random: u128) -> Self {
        Self::from(hex(random, 32))
    }
}

impl ContainerId {
    pub fn mint(random: u128) -> Self {
        Self::from(uuid(random))
    }
}

impl AttachmentId {
    /// A task has one attachment, shown before it has a place: its id follows from the task's.
    pub fn of_task(task: &TaskId) -> Self {
        // A task's id is 128 random bits; one that isn't still gives the same id every time.
        let bits = u128::from_str_radix(task.as_str(), 16).unwrap_or_default();
        Self::from(uuid(bits.rotate_left(64)))
    }
}

impl InterfaceId {
    pub fn mint(random: u128) -> Self {
        Self::from(format!("eni-0{}", hex(random, 16)))
    }
}

impl VpcId {
    pub fn mint(random: u128) -> Self {
        Self::from(format!("vpc-0{}", hex(random, 16)))
    }
}

impl SubnetId {
    pub fn mint(random: u128) -> Self {
        Self::from(format!("subnet-0{}", hex(random, 16)))
    }
}

impl SecurityGroupId {
    pub fn mint(random: u128) -> Self {
        Self::from(format!("sg-0{}", hex(random, 16)))
    }
}

/// The revision of a task definition, from 1, never reused.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TaskDefinitionRevision(pub u32);

impl fmt::Display for TaskDefinitionRevision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minted_ids_have_the_forms_aws_uses() {
        assert!(TaskId::is_well_formed(TaskId::mint(7).as_str()));
        assert!(!TaskId::is_well_formed("7"));
        assert!(!TaskId::is_well_formed("0000000000000000000000000000000G"));
        let uuid = ContainerId::mint(u128::MAX);
        assert_eq!(uuid.as_str(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(InterfaceId::mint(1).as_str(), "eni-00000000000000001");
    }
}
