//! Load balancers: the records of the ELBv2 API, and the table that a balancer serves from. Records
//! have one writer each: the frontend for what callers ask, the targets reconciler for targets that
//! are tasks, the balancer for what it found of a target's health. The table is derived from them
//! whole (`plan::routes`) and replaces the one before whole.

use crate::arn::Locality;
use crate::document::Tags;
use crate::ids::{
    InterfaceId, ListenerId, LoadBalancerId, RuleId, SecurityGroupId, SubnetId, TargetGroupId,
    TaskId, VpcId,
};
use crate::network::Cidr;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

mod session;

pub use session::*;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum BalancerKind {
    Application,
    Network,
}

/// What ELBv2 calls a protocol, of listeners and target groups.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Protocol {
    Http,
    Https,
    Tcp,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LoadBalancer {
    pub id: LoadBalancerId,
    pub name: String,
    pub kind: BalancerKind,
    /// Reachable only inside its VPC.
    pub internal: bool,
    pub vpc: VpcId,
    pub subnets: Vec<SubnetId>,
    pub security_groups: Vec<SecurityGroupId>,
    /// One in each subnet.
    pub interfaces: Vec<InterfaceId>,
    pub dns_name: String,
    /// Those that were given; the others have their defaults.
    pub attributes: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

impl LoadBalancer {
    /// What its ARN ends with: `app/NAME/ID`.
    pub fn path(&self) -> String {
        let kind = match self.kind {
            BalancerKind::Application => "app",
            BalancerKind::Network => "net",
        };
        format!("{kind}/{}/{}", self.name, self.id)
    }

    pub fn arn(&self, locality: &Locality) -> String {
        locality.arn(SERVICE, &format!("loadbalancer/{}", self.path()))
    }
}

/// The service of these ARNs.
pub const SERVICE: &str = "elasticloadbalancing";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TargetKind {
    /// Targets are addresses of the VPC.
    Ip,
    /// Targets are named by an instance's id.
    Instance,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ProtocolVersion {
    Http1,
    Http2,
    Grpc,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct HealthCheck {
    pub enabled: bool,
    pub protocol: Protocol,
    /// None: the port of the target itself.
    pub port: Option<u16>,
    pub path: String,
    pub interval_seconds: u32,
    pub timeout_seconds: u32,
    pub healthy_threshold: u32,
    pub unhealthy_threshold: u32,
    /// As in `200-299,404`; gRPC codes for gRPC.
    pub matcher: String,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TargetGroup {
    pub id: TargetGroupId,
    pub name: String,
    pub kind: TargetKind,
    pub protocol: Protocol,
    pub version: ProtocolVersion,
    /// The port of targets that are registered without one.
    pub port: u16,
    pub vpc: VpcId,
    pub health_check: HealthCheck,
    pub attributes: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

impl TargetGroup {
    pub fn arn(&self, locality: &Locality) -> String {
        locality.arn(SERVICE, &format!("targetgroup/{}/{}", self.name, self.id))
    }
}

/// Written by every call that changes load balancing, so that two such calls never pass each other:
/// what one has seen of the others' records (that a name is free, that nobody uses a group) still
/// holds when it commits.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BalancingChanges {
    pub count: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Listener {
    pub id: ListenerId,
    pub load_balancer: LoadBalancerId,
    pub protocol: Protocol,
    pub port: u16,
    pub ssl_policy: Option<String>,
    /// ARNs; the first is the default.
    pub certificates: Vec<String>,
    pub default_actions: Vec<Action>,
    /// As it was given with the action; echoed, as there is but one action.
    #[serde(default)]
    pub action_order: Option<u32>,
    pub attributes: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

impl Listener {
    /// `balancer` is the one it belongs to.
    pub fn arn(&self, locality: &Locality, balancer: &LoadBalancer) -> String {
        locality.arn(SERVICE, &format!("listener/{}/{}", balancer.path(), self.id))
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Rule {
    pub id: RuleId,
    pub load_balancer: LoadBalancerId,
    pub listener: ListenerId,
    /// From 1; the lowest is looked at first.
    pub priority: u32,
    pub conditions: Vec<Condition>,
    pub actions: Vec<Action>,
    /// As it was given with the action; echoed, as there is but one action.
    #[serde(default)]
    pub action_order: Option<u32>,
    pub created_at: Timestamp,
    pub tags: Tags,
}

/// All of a rule's conditions must hold; of a condition's values one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Condition {
    /// Patterns with `*` and `?`; case makes no difference.
    Host(Vec<String>),
    /// Regular expressions, found anywhere in the host; case makes no difference.
    HostRegex(Vec<String>),
    /// Patterns with `*` and `?`; case makes a difference.
    Path(Vec<String>),
    PathRegex(Vec<String>),
    Header {
        name: String,
        values: Vec<String>,
    },
    HeaderRegex {
        name: String,
        values: Vec<String>,
    },
    /// A key (None: any) and a pattern for its value.
    Query(Vec<(Option<String>, String)>),
    Method(Vec<String>),
    Source(Vec<Cidr>),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Action {
    Forward(Forward),
    Redirect(Redirect),
    Fixed(FixedResponse),
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Forward {
    /// With their weights, 0 to 999.
    pub groups: Vec<(TargetGroupId, u32)>,
    /// How long a client stays with its group, if it does.
    pub sticky_seconds: Option<u32>,
    /// The same, as given with a stickiness that is off; echoed.
    #[serde(default)]
    pub unsticky_seconds: Option<u32>,
}

/// Each part may hold `#{protocol}`, `#{host}`, `#{port}`, `#{path}` and `#{query}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Redirect {
    pub protocol: String,
    pub host: String,
    pub port: String,
    pub path: String,
    pub query: String,
    /// 301 or 302.
    pub status: u16,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FixedResponse {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: String,
}

/// A target as it is registered. Writer: the frontend, or the targets reconciler for a task's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Target {
    pub group: TargetGroupId,
    /// An address, or an instance's id.
    pub id: String,
    pub address: Ipv4Addr,
    pub port: u16,
    pub zone: Option<String>,
    pub task: Option<TaskId>,
    pub registered_at: Timestamp,
    /// Set when it is deregistered: it gets no new request, and goes when its time is up.
    pub draining_since: Option<Timestamp>,
}

/// What ELBv2 shows as a target's state, but for `unused` and `draining`, which follow from
/// records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TargetState {
    Initial,
    Healthy,
    Unhealthy,
}

/// What the balancer found. Writer: the balancer's session with the control plane.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TargetHealth {
    pub group: TargetGroupId,
    pub id: String,
    pub port: u16,
    pub state: TargetState,
    /// As in `Target.ResponseCodeMismatch`.
    pub reason: Option<String>,
    pub description: Option<String>,
    pub since: Timestamp,
    /// It drains, and nothing is in flight any more.
    #[serde(default)]
    pub drained: bool,
}

/// A certificate with its key, sealed at rest.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Certificate {
    pub arn: String,
    /// PEM: the leaf, then its chain.
    pub chain_pem: String,
    pub sealed_key: String,
    /// The names it is for, in lower case; may begin with `*.`.
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub created_at: Timestamp,
    pub tags: Tags,
}

impl Certificate {
    /// What its key is sealed for: a sealed key opens in no other certificate's place.
    pub fn seal_context(&self) -> String {
        format!("certificate/{}", self.arn)
    }
}

/// Everything a balancer serves from. Whole: a table replaces a table.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct BalancerTable {
    pub balancers: BTreeMap<LoadBalancerId, BalancerEntry>,
    pub groups: BTreeMap<TargetGroupId, GroupEntry>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BalancerEntry {
    pub name: String,
    pub internal: bool,
    pub vpc: VpcId,
    pub dns_name: String,
    /// Of its interfaces, in the VPC.
    pub addresses: Vec<Ipv4Addr>,
    pub settings: BalancerSettings,
    /// By port.
    pub listeners: BTreeMap<u16, ListenerEntry>,
}

/// The attributes of a load balancer that its data plane acts on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BalancerSettings {
    pub idle_timeout_seconds: u32,
    pub drop_invalid_headers: bool,
    pub desync: DesyncMode,
    pub forwarded_for: ForwardedFor,
    pub forwarded_client_port: bool,
    pub preserve_host: bool,
    pub http2: bool,
    #[serde(default = "client_keep_alive_seconds")]
    pub client_keep_alive_seconds: u32,
    /// Tells targets version and cipher of the client's TLS.
    #[serde(default)]
    pub tls_headers: bool,
    #[serde(default)]
    pub access_log: bool,
    #[serde(default)]
    pub connection_log: bool,
}

fn client_keep_alive_seconds() -> u32 {
    3600
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DesyncMode {
    Monitor,
    Defensive,
    Strictest,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ForwardedFor {
    Append,
    Preserve,
    Remove,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ListenerEntry {
    pub protocol: Protocol,
    #[serde(default)]
    pub ssl_policy: Option<String>,
    /// ARNs; the first is the default.
    pub certificates: Vec<String>,
    /// In the order in which they are looked at; the last has no condition.
    pub rules: Vec<RuleEntry>,
    #[serde(default)]
    pub settings: ListenerSettings,
}

/// The attributes of a listener that the data plane acts on. The default is AWS's.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ListenerSettings {
    /// Answers don't say what serves them; what a target says of itself stays.
    pub hides_server: bool,
    /// Every answer has these, whatever the target said in their place.
    pub answer_headers: BTreeMap<String, String>,
    /// What targets are told version and cipher of the client's TLS in, if not in AWS's own.
    pub tls_version_header: Option<String>,
    pub tls_cipher_header: Option<String>,
    /// Of TCP: after so long a silence a connection is closed, if not after AWS's time.
    pub idle_timeout_seconds: Option<u32>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RuleEntry {
    /// 0: the listener's default.
    #[serde(default)]
    pub priority: u32,
    pub conditions: Vec<Condition>,
    pub action: Action,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GroupEntry {
    #[serde(default)]
    pub name: String,
    pub protocol: Protocol,
    pub version: ProtocolVersion,
    pub vpc: VpcId,
    pub health_check: HealthCheck,
    pub settings: GroupSettings,
    pub targets: Vec<TargetEntry>,
}

/// The attributes of a target group that the data plane acts on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GroupSettings {
    pub algorithm: Algorithm,
    pub slow_start_seconds: u32,
    pub deregistration_delay_seconds: u32,
    pub stickiness: Option<Stickiness>,
    /// With fewer healthy targets than this, or a smaller part of all, all of them are asked.
    #[serde(default = "healthy_min")]
    pub healthy_min: u32,
    #[serde(default)]
    pub healthy_min_percent: u32,
    /// Of TCP: a connection ends when its target is found unhealthy, and when that is gone.
    #[serde(default)]
    pub cut_unhealthy: bool,
    #[serde(default)]
    pub cut_deregistered: bool,
}

fn healthy_min() -> u32 {
    1
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Algorithm {
    RoundRobin,
    LeastOutstanding,
    Random,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Stickiness {
    /// A cookie of the balancer's own.
    Balancer { seconds: u32 },
    /// Follows a cookie of the application.
    Application { cookie: String, seconds: u32 },
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TargetEntry {
    pub id: String,
    pub address: Ipv4Addr,
    pub port: u16,
    pub draining: bool,
}
