//! The API endpoint: HTTP, authentication, one function per operation. A function decodes (at the
//! edge, from `wire` types to `model`'s), checks, commits one transaction and encodes the answer.
//! It keeps no state but caches, so several may serve one store.

mod acm;
mod auth;
mod autoscaling;
mod cloudwatch;
mod context;
mod cursor;
mod dispatch;
mod ec2;
mod ecr;
mod ecs;
mod elbv2;
mod fault;
#[cfg(test)]
mod fixture;
pub mod gap;
mod http;
mod iam;
mod limits;
mod logs;
mod secretsmanager;
mod servicediscovery;
mod ssm;
mod sts;
mod tagging;

pub use auth::root_access_key;
pub use context::{
    Caller, Clock, CollectImages, Collected, Context, ImagesCall, InstanceImages, IsConnected,
    MintJoinToken, MintedToken, PresignedQuery, Random, RegistryPassword,
};
pub use ec2::ensure_default_network;
pub use ecs::FamilyQueues;
pub use http::Frontend;
