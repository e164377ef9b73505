//! The nouns of Neargate as facts: typed ids and ARNs, the records that the state database keeps,
//! the messages between control plane and agent, and the pure functions that derive what AWS calls
//! status. Nothing here does I/O, reads a clock or draws a random number. Serde derives are for
//! stored records and session messages only; what AWS clients see is `wire`, and conversion happens
//! at the edge (frontend).

pub mod account;
pub mod arn;
pub mod balancing;
pub mod cluster;
pub mod container;
pub mod credentials;
pub mod discovery;
pub mod document;
pub mod event;
pub mod facts;
pub mod frame;
pub mod iam;
pub mod ids;
pub mod image;
pub mod instance;
pub mod join;
pub mod limits;
pub mod logs;
pub mod manifest;
pub mod metrics;
pub mod network;
pub mod scaling;
pub mod secret;
pub mod service;
pub mod session;
pub mod task;
pub mod task_definition;
pub mod time;
pub mod vpc_table;

pub use document::{Document, Tags};
pub use ids::*;
pub use time::Timestamp;
