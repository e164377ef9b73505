//! The state database of Neargate: the single source of truth of clusters, services and tasks.
//!
//! State is small and read all the time, so it lives decoded in memory and the engine below is
//! there for durability alone. What every engine gives: a snapshot at a revision, a transaction
//! that commits only if what it read is unchanged, and a watch from a revision. Beside the state
//! lie what is not state: blobs (`blob`), log events (`logs`), metrics (`metrics`) and sealed
//! secrets (`secret`).

pub mod blob;
pub mod kinds;
pub mod limits;
pub mod logs;
pub mod metrics;
pub mod pulls;
pub mod secret;
pub mod session_token;
pub mod vault;

mod commit;
mod disk;
mod hex;
mod record;
mod snapshot;
mod store;
mod txn;
mod watch;

pub use disk::OpenFailure;
pub use record::{Kinds, Record, RecordFailure, decode_newest};
pub use snapshot::{Entry, Revision, Snapshot, Versioned};
pub use store::{Store, TransactFailure};
pub use txn::{CommitFailure, StorageFailure, Txn};
pub use watch::{Batch, Change, Watch, WatchFailure};
