//! What passes between the control plane and the balancer's process, over a unix socket: tables
//! and certificates down, what was found of targets and counts for metrics up. A table is whole, so
//! a lost one heals with the next; counts are differences, told once.

use super::{BalancerTable, TargetState};
use crate::credentials::Hidden;
use crate::ids::{LoadBalancerId, TargetGroupId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One target of one group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct TargetKey {
    pub group: TargetGroupId,
    pub id: String,
    pub port: u16,
}

/// What the balancer knows of a target.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Found {
    pub state: TargetState,
    /// As in `Target.ResponseCodeMismatch`.
    pub reason: Option<String>,
    pub description: Option<String>,
    /// For a draining target: it has no request and no connection any more.
    pub drained: bool,
}

/// A certificate as it is served.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CertificateWithKey {
    /// The leaf, then its chain.
    pub chain_pem: String,
    pub key_pem: Hidden,
}

/// By ARN.
pub type Certificates = BTreeMap<String, CertificateWithKey>;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum ToBalancer {
    Table {
        table: Arc<BalancerTable>,
        certificates: Arc<Certificates>,
    },
    /// Stop listening; requests may go on for so long.
    End {
        limit_ms: u64,
    },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum FromBalancer {
    Hello {
        version: String,
        pid: u32,
    },
    Found {
        /// Whether this is all there is, or what changed.
        everything: bool,
        found: Vec<(TargetKey, Found)>,
    },
    /// What of the last table could not be served.
    Learned {
        failures: Vec<String>,
    },
    Served(Served),
}

/// What was served since it was last told; only what is not zero.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Served {
    pub balancers: Vec<(LoadBalancerId, BalancerCounts)>,
    pub groups: Vec<(TargetGroupId, GroupCounts)>,
}

/// CloudWatch's metrics of a load balancer. Source: ELB user guide, CloudWatch metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BalancerCounts {
    pub requests: u64,
    pub elb_3xx: u64,
    pub elb_4xx: u64,
    pub elb_5xx: u64,
    pub elb_500: u64,
    pub elb_502: u64,
    pub elb_503: u64,
    pub elb_504: u64,
    pub fixed_responses: u64,
    pub redirects: u64,
    pub new_connections: u64,
    /// Open now: not a difference.
    pub active_connections: u64,
    pub rejected_connections: u64,
    pub tls_errors: u64,
    pub desync_non_compliant: u64,
    pub dropped_invalid_headers: u64,
    pub grpc_requests: u64,
    pub processed_bytes: u64,
}

/// CloudWatch's metrics of a target group.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GroupCounts {
    pub requests: u64,
    pub target_2xx: u64,
    pub target_3xx: u64,
    pub target_4xx: u64,
    pub target_5xx: u64,
    pub connection_errors: u64,
    pub tls_errors: u64,
    /// TargetResponseTime: how many, their sum and the largest, in microseconds.
    pub responses: u64,
    pub response_micros_sum: u64,
    pub response_micros_max: u64,
}
