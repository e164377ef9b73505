//! A cluster: a name that tasks and services live under.

use crate::document::{Document, Tags};
use crate::ids::ClusterName;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ClusterStatus {
    Active,
    /// Deleted; stays describable for a while, as on AWS.
    Inactive,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CapacityProviderStrategyItem {
    pub capacity_provider: String,
    pub weight: u32,
    pub base: u32,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cluster {
    pub name: ClusterName,
    pub status: ClusterStatus,
    pub created_at: Timestamp,
    /// Settings by name, as in `containerInsights`.
    pub settings: BTreeMap<String, String>,
    /// `ClusterConfiguration` as given; None when never given.
    pub configuration: Option<Document>,
    pub service_connect_namespace: Option<String>,
    pub capacity_providers: Vec<String>,
    pub default_capacity_provider_strategy: Vec<CapacityProviderStrategyItem>,
    pub tags: Tags,
}
