//! The loops, each named after the decision it carries out.

pub mod deadlines;
pub mod draining;
pub mod events;
pub mod expiry;
pub mod fleet;
pub mod lifecycle_policy;
pub mod placement;
pub mod release;
pub mod scaling;
pub mod secret_deletion;
pub mod services;
pub mod targets;
