//! Tasks on this machine: the only crate that touches the kernel. The idea: a runtime is told what
//! should be there, does it idempotently by task id, and tells facts; it decides nothing. `Runtime`
//! is the interface that agents are written against; `embedded` is the real one (no daemon: a small
//! process forks one supervisor for each task), `fake` obeys the same rules in memory, for tests.

pub mod census;
mod cgroup;
mod container;
pub mod embedded;
pub mod event;
pub mod failure;
pub mod fake;
pub mod image;
pub mod limits;
mod net;
pub mod preflight;
mod protocol;
mod remains;
mod seccomp;
pub mod spec;
pub mod spool;
mod storage;
mod supervisor;
#[allow(unsafe_code)]
mod sys;
mod zygote;

pub use census::{Trace, census, erase};
pub use embedded::{Embedded, EmbeddedConfig};
pub use event::*;
pub use failure::Failure;
pub use net::doors::VpcDoors;
pub use net::tunnel::Underlay;
pub use preflight::{Finding, Severity, preflight};
pub use spec::*;
use std::future::Future;
pub use zygote::zygote_main;

/// A way to run tasks. Whoever makes one hands it a channel for its events.
///
/// Calls return when the request is on its way; what came of it arrives as an event. An event may
/// be told again, after a reconnection or when they were read too slowly; it is a fact with its
/// attempt and time, so hearing it twice is hearing it once. Calls may be pipelined:
/// `create_sandbox` and `start_container` back to back, and calls for one task take effect in the
/// order they were made. Asking twice is asking once.
pub trait Runtime: Send + Sync + 'static {
    /// Every task this runtime owns, also those begun before this process; to be called once,
    /// first. Events of the tasks found alive are sent from here on.
    fn recover(&self) -> impl Future<Output = Result<Vec<Recovered>, Failure>> + Send;

    /// Makes a VPC known on this instance, or changes it to be what the table says. Allowed
    /// connections go on.
    fn ensure_vpc(&self, vpc: VpcTable) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Interfaces of a VPC came, changed or went; a task's sandbox is made after its interface was
    /// told. False: the runtime does not know the rest of the table, and nothing was done.
    fn change_interfaces(
        &self,
        vpc: &VpcId,
        changes: InterfaceChanges,
    ) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// VPCs that are there, also those of an earlier agent.
    fn vpcs(&self) -> impl Future<Output = Vec<VpcId>> + Send;

    /// Takes a VPC away that no task uses any more; no failure when it isn't there.
    fn remove_vpc(&self, vpc: &VpcId) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Ends in `SandboxReady` or `SandboxFailed`. A task that was ever made, until it is removed,
    /// is not made again.
    fn create_sandbox(&self, spec: SandboxSpec)
    -> impl Future<Output = Result<(), Failure>> + Send;

    /// Ends in `ContainerStarted` or `ContainerStartFailed`, once for each attempt.
    fn start_container(
        &self,
        task: &TaskId,
        launch: ContainerLaunch,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Sends a signal to the container's first process; SIGKILL ends all of it. No failure when the
    /// container has ended.
    fn signal_container(
        &self,
        task: &TaskId,
        name: &str,
        signal: i32,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Records of the container's log from an offset on, as many as fit in `bytes_max` (at least
    /// one).
    fn read_log(
        &self,
        task: &TaskId,
        name: &str,
        offset: u64,
        bytes_max: usize,
    ) -> impl Future<Output = Result<spool::LogBatch, Failure>> + Send;

    /// Gives everything before `offset` back, and asks for a `LogGrew` when there is more (at once
    /// if there already is).
    fn acknowledge_log(
        &self,
        task: &TaskId,
        name: &str,
        offset: u64,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Ends everything of a task and leaves nothing behind; returns when that is done. No failure
    /// when the task isn't there.
    fn remove(&self, task: &TaskId) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Removes every task that is not in `keep`, and what nobody owns in the kernel or on the disk
    /// under this runtime's names. Returns what was removed, for the log.
    fn sweep(&self, keep: &[TaskId]) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;

    fn usage(&self, task: &TaskId) -> impl Future<Output = Result<Usage, Failure>> + Send;

    /// Whether `SandboxSpec::ephemeral_storage_gib` is a bound here, or only written down.
    fn enforces_storage(&self) -> bool;
}
