//! A whole cluster in one thread, from one seed: users, a control plane, machines with agents and
//! kernels, and a network between them that loses, repeats and delays. What it drives is the real
//! `plan` and `model`; what it fakes is everything around them, in the plainest form that can go
//! wrong in the same ways. After every happening the ledger holds what must always hold; once the
//! faults cease, everything must come to rest.
//!
//! A seed and a commit reproduce a run: there is no clock, no thread and no hash map here. `cargo
//! run -p sim -- --seed N` prints the run's transcript.

mod agent;
mod control;
mod kernel;
mod ledger;
mod limits;
mod random;
mod service;
mod templates;
mod world;

pub use world::{Mistake, Run, run};
