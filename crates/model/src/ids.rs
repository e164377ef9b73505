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
id!(/// 16 hexadecimal digits: the last part of a load balancer's ARN.
    LoadBalancerId);
id!(/// 16 hexadecimal digits: the last part of a target group's ARN.
    TargetGroupId);
id!(/// 16 hexadecimal digits: the last part of a listener's ARN.
    ListenerId);
id!(/// 16 hexadecimal digits: the last part of a listener rule's ARN.
    RuleId);
id!(/// 1 to 255 letters, digits, `-` and `_`.
    ServiceName);
id!(/// `ecs-svc/` and 19 digits; what starts its tasks.
    DeploymentId);
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
id!(/// `rtb-` and 17 hexadecimal digits.
    RouteTableId);
id!(/// `rtbassoc-` and 17 hexadecimal digits.
    RouteTableAssociationId);
id!(/// `igw-` and 17 hexadecimal digits.
    InternetGatewayId);
id!(/// `nat-` and 17 hexadecimal digits.
    NatGatewayId);
id!(/// Of an elastic address: `eipalloc-` and 17 hexadecimal digits.
    AllocationId);
id!(/// `eipassoc-` and 17 hexadecimal digits.
    AddressAssociationId);
id!(/// `vpc-cidr-assoc-` and 17 hexadecimal digits.
    CidrAssociationId);
id!(/// `acl-` and 17 hexadecimal digits.
    NetworkAclId);
id!(/// `aclassoc-` and 17 hexadecimal digits.
    NetworkAclAssociationId);
id!(/// `pl-` and 17 hexadecimal digits, or 8 for AWS's own.
    PrefixListId);
id!(/// `vpce-` and 17 hexadecimal digits.
    VpcEndpointId);
id!(/// `dopt-` and 17 hexadecimal digits.
    DhcpOptionsId);
id!(/// The id of an attachment of an interface to a task, a UUID.
    AttachmentId);
id!(/// `AKIA` and 16 upper-case letters and digits.
    AccessKeyId);
id!(/// A repository of the registry: lower case, may hold `/`.
    RepositoryName);
id!(/// A content digest, `sha256:` and 64 hexadecimal digits.
    Digest);
id!(/// A Cloud Map namespace: `ns-` and 16 lower-case letters and digits.
    NamespaceId);
id!(/// A Cloud Map service: `srv-` and 16 lower-case letters and digits.
    DiscoveryServiceId);

/// Lower-case hexadecimal digits of the low `digits * 4` bits.
fn hex(bits: u128, digits: usize) -> String {
    let all = format!("{bits:032x}");
    all[32 - digits..].to_owned()
}

/// Lower-case letters and digits, as Cloud Map's ids have them; at most 24.
fn letters_and_digits(mut bits: u128, characters: usize) -> String {
    const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::with_capacity(characters);
    for _ in 0..characters.min(24) {
        text.push(char::from(ALPHABET[(bits % 36) as usize]));
        bits /= 36;
    }
    text
}

/// The form of a version 4 UUID over the given random bits.
pub fn uuid(bits: u128) -> String {
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

impl DeploymentId {
    /// A number of 19 digits that does not begin with 0.
    pub fn mint(random: u128) -> Self {
        Self::from(format!("ecs-svc/{}", nineteen_digits(random)))
    }
}

/// A number of 19 digits, as deployments and service revisions have. All fit 64 bits.
pub fn nineteen_digits(random: u128) -> u64 {
    const FIRST: u64 = 1_000_000_000_000_000_000;
    let above = random % u128::from(8 * FIRST);
    FIRST + u64::try_from(above).expect("below 8 * 10^18")
}

impl NamespaceId {
    pub fn mint(random: u128) -> Self {
        Self::from(format!("ns-{}", letters_and_digits(random, 16)))
    }
}

impl DiscoveryServiceId {
    pub fn mint(random: u128) -> Self {
        Self::from(format!("srv-{}", letters_and_digits(random, 16)))
    }
}

/// The id of an operation of Cloud Map's, as in `gv4g5meo7ndmeh4fqskygvk23d2fijwa-k9302yzd`.
pub fn mint_operation_id(random: u128) -> String {
    let (first, second) = (random, random.rotate_left(64));
    let (head, tail) = (letters_and_digits(first, 24), letters_and_digits(second, 16));
    format!("{head}{}-{}", &tail[..8], &tail[8..])
}

/// EC2's ids: a prefix and 17 hexadecimal digits, of which the first is 0.
macro_rules! mint {
    ($($name:ident $prefix:literal),* $(,)?) => {$(
        impl $name {
            pub const PREFIX: &'static str = $prefix;

            pub fn mint(random: u128) -> Self {
                Self::from(format!(concat!($prefix, "0{}"), hex(random, 16)))
            }
        }
    )*};
}

mint! {
    InterfaceId "eni-",
    VpcId "vpc-",
    SubnetId "subnet-",
    SecurityGroupId "sg-",
    RouteTableId "rtb-",
    RouteTableAssociationId "rtbassoc-",
    InternetGatewayId "igw-",
    NatGatewayId "nat-",
    AllocationId "eipalloc-",
    AddressAssociationId "eipassoc-",
    CidrAssociationId "vpc-cidr-assoc-",
    NetworkAclId "acl-",
    NetworkAclAssociationId "aclassoc-",
    PrefixListId "pl-",
    VpcEndpointId "vpce-",
    DhcpOptionsId "dopt-",
}

/// ELBv2's ids: 16 hexadecimal digits, the last part of an ARN.
macro_rules! balancing_ids {
    ($($name:ident),* $(,)?) => {$(
        impl $name {
            pub fn mint(random: u128) -> Self {
                Self::from(hex(random, 16))
            }

            /// The id an ARN of this kind ends with. Says nothing about existence.
            pub fn of_arn(arn: &str) -> Option<Self> {
                let id = arn.rsplit_once('/').map(|(_, id)| id)?;
                let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
                (id.len() == 16 && id.bytes().all(hex)).then(|| Self::from(id))
            }
        }
    )*};
}

balancing_ids! { LoadBalancerId, TargetGroupId, ListenerId, RuleId }

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
