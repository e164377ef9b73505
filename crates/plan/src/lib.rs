//! The decisions, and nothing but: where a task goes, what a task's containers need next, what
//! overrides make of a definition, what is overdue. Each is a function of records and a time; each
//! answers with data that carries its reasons. No I/O, no clock, no randomness: whoever calls
//! commits or performs what was decided.

pub mod alarm;
pub mod deadlines;
pub mod dependencies;
pub mod draft;
pub mod events;
pub mod instance;
pub mod lifecycle;
pub mod lifecycle_policy;
pub mod limits;
pub mod names;
pub mod network;
pub mod overrides;
pub mod placement;
pub mod routes;
pub mod scaling;
pub mod schedule;
pub mod service;
pub mod strategy;
pub mod value_from;

pub use deadlines::{Overdue, OverdueAction, next_deadline, overdue};
pub use dependencies::{DependencyFault, check_dependencies};
pub use lifecycle::step;
pub use overrides::effective;
pub use placement::{place, place_beside};
