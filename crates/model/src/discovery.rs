//! Cloud Map: namespaces, services, instances; and the names a VPC's resolver must know, which
//! follow from them. Source: AWS Cloud Map API reference.

use crate::document::Tags;
use crate::ids::{DiscoveryServiceId, NamespaceId, VpcId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum NamespaceKind {
    Http,
    DnsPrivate,
    DnsPublic,
}

impl NamespaceKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::DnsPrivate => "DNS_PRIVATE",
            Self::DnsPublic => "DNS_PUBLIC",
        }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Namespace {
    pub id: NamespaceId,
    pub name: String,
    pub kind: NamespaceKind,
    /// Of a private DNS namespace.
    pub vpc: Option<VpcId>,
    pub description: Option<String>,
    /// Of a DNS namespace: the zone it would have in Route 53, and its SOA's TTL.
    pub hosted_zone: Option<String>,
    pub soa_ttl_seconds: i64,
    pub creator_request_id: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

impl Namespace {
    /// What two namespaces must not share: how they are reached, and the name.
    pub fn place(&self) -> String {
        let name = self.name.trim_end_matches('.').to_ascii_lowercase();
        match (&self.vpc, self.kind) {
            (Some(vpc), _) => format!("{vpc}/{name}"),
            (None, kind) => format!("{}/{name}", kind.as_str()),
        }
    }
}

/// Which namespace has a place, so that of two made at once one is refused.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NamespacePlace {
    pub place: String,
    pub namespace: NamespaceId,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum RoutingPolicy {
    /// Up to eight healthy instances, in random order.
    Multivalue,
    /// One instance at random.
    Weighted,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum RecordKind {
    A,
    Aaaa,
    Srv,
    Cname,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DnsRecord {
    pub kind: RecordKind,
    pub ttl_seconds: u32,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DnsConfig {
    pub routing: RoutingPolicy,
    pub records: Vec<DnsRecord>,
}

/// A Route 53 health check of public services; stored, never performed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HealthCheckConfig {
    pub kind: String,
    pub resource_path: Option<String>,
    pub failure_threshold: Option<i64>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DiscoveryService {
    pub id: DiscoveryServiceId,
    pub namespace: NamespaceId,
    pub name: String,
    pub description: Option<String>,
    /// None: found by DiscoverInstances only.
    pub dns: Option<DnsConfig>,
    pub health_check: Option<HealthCheckConfig>,
    /// Health is told by UpdateInstanceCustomHealthStatus; the failure threshold.
    pub custom_health_threshold: Option<i64>,
    pub attributes: BTreeMap<String, String>,
    pub creator_request_id: Option<String>,
    pub created_at: Timestamp,
    pub tags: Tags,
    /// Rises with every change of its instances and their health.
    pub instances_revision: i64,
}

/// One instance of a service. `AWS_INSTANCE_IPV4` and its siblings among the attributes say what
/// its DNS records are.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DiscoveryInstance {
    pub service: DiscoveryServiceId,
    /// Chosen by who registers it.
    pub id: String,
    pub attributes: BTreeMap<String, String>,
    pub creator_request_id: Option<String>,
    /// Of a service with custom health.
    pub healthy: bool,
    pub registered_at: Timestamp,
}

pub const ATTRIBUTE_IPV4: &str = "AWS_INSTANCE_IPV4";
pub const ATTRIBUTE_IPV6: &str = "AWS_INSTANCE_IPV6";
pub const ATTRIBUTE_PORT: &str = "AWS_INSTANCE_PORT";
pub const ATTRIBUTE_CNAME: &str = "AWS_INSTANCE_CNAME";

/// What an operation did; Cloud Map's longer calls answer with its id.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DiscoveryOperation {
    pub id: String,
    /// As in `CREATE_NAMESPACE`.
    pub kind: String,
    /// As in `NAMESPACE` and its id.
    pub targets: BTreeMap<String, String>,
    pub created_at: Timestamp,
}

/// Everything a VPC's resolver answers by itself, beside the names of addresses. Whole: a table
/// replaces a table.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct NameTable {
    /// By the zone's name, in lower case, without a dot at the end.
    pub zones: BTreeMap<String, Zone>,
    /// The VPC has its resolver switched off: it answers nothing at all.
    #[serde(default)]
    pub silent: bool,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Zone {
    /// How long an absence may be remembered.
    pub negative_ttl_seconds: u32,
    /// By the whole name, in lower case, without a dot at the end.
    pub names: BTreeMap<String, Vec<RecordSet>>,
}

/// The records of one kind under one name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RecordSet {
    pub routing: RoutingPolicy,
    pub ttl_seconds: u32,
    pub records: Vec<Answer>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Answer {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Srv { port: u16, target: String },
    Cname(String),
}

impl Answer {
    pub fn kind(&self) -> RecordKind {
        match self {
            Self::A(_) => RecordKind::A,
            Self::Aaaa(_) => RecordKind::Aaaa,
            Self::Srv { .. } => RecordKind::Srv,
            Self::Cname(_) => RecordKind::Cname,
        }
    }
}
