//! What is really on a machine: sandboxes and processes. It outlives agents, and tells whichever
//! agent is there.

use crate::templates::Program;
use model::container::Health;
use model::session::Assignment;
use model::{TaskId, Timestamp};
use plan::lifecycle::{Event, Exit, Observed, Step};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    Starting,
    Running,
    StartFailed { at: Timestamp },
    Exited(Exit),
}

#[derive(Clone, Debug)]
pub struct Process {
    pub attempt: u32,
    pub phase: Phase,
    pub program: Program,
    pub started_at: Option<Timestamp>,
    pub health: Option<Timestamp>,
}

impl Process {
    fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running)
    }
}

#[derive(Clone, Debug)]
pub struct Sandbox {
    /// As it was assigned when the sandbox was made; what a later agent starts from.
    pub note: Arc<Assignment>,
    pub ready_at: Option<Timestamp>,
    pub failed_at: Option<Timestamp>,
    /// Its supervisor is gone, and every process with it.
    pub lost: bool,
    pub processes: BTreeMap<String, Process>,
}

impl Sandbox {
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.note.interface.as_ref().map(|i| i.private_ip)
    }
}

/// Something that comes about in a sandbox some time after it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    Ready,
    Fails,
    Starts { container: String, attempt: u32 },
    StartFails { container: String, attempt: u32 },
    Exits { container: String, attempt: u32, code: i32 },
    Health { container: String, attempt: u32 },
}

#[derive(Default, Debug)]
pub struct Kernel {
    pub sandboxes: BTreeMap<TaskId, Sandbox>,
}

impl Kernel {
    /// The exclusive claim: false when the task has, or ever had and still keeps, a sandbox here.
    pub fn create(&mut self, assignment: &Arc<Assignment>) -> bool {
        let task = assignment.task.clone();
        if self.sandboxes.contains_key(&task) {
            return false;
        }
        let note = Arc::clone(assignment);
        let processes = BTreeMap::new();
        let sandbox = Sandbox { note, ready_at: None, failed_at: None, lost: false, processes };
        self.sandboxes.insert(task, sandbox);
        true
    }

    /// A launch whose attempt isn't higher than one already made is ignored.
    pub fn launch(&mut self, task: &TaskId, container: &str, attempt: u32) -> Option<Program> {
        let sandbox = self.sandboxes.get_mut(task).filter(|s| !s.lost)?;
        if sandbox.processes.get(container).is_some_and(|p| p.attempt >= attempt) {
            return None;
        }
        let template = sandbox.note.template.containers.iter().find(|c| c.name == container)?;
        let program = Program::of(&template.image);
        let phase = Phase::Starting;
        let process = Process { attempt, phase, program, started_at: None, health: None };
        sandbox.processes.insert(container.to_owned(), process);
        Some(program)
    }

    pub fn running(&self, task: &TaskId, container: &str) -> Option<&Process> {
        let process = self.sandboxes.get(task)?.processes.get(container)?;
        (process.phase == Phase::Running).then_some(process)
    }

    /// Brings a change about, if it still can be, and says what an agent would be told.
    pub fn apply(&mut self, task: &TaskId, change: &Change, at: Timestamp) -> Option<Event> {
        let sandbox = self.sandboxes.get_mut(task).filter(|s| !s.lost && s.failed_at.is_none())?;
        match change {
            Change::Ready => {
                sandbox.ready_at = Some(at);
                Some(Event::SandboxReady { at })
            }
            Change::Fails => {
                sandbox.failed_at = Some(at);
                sandbox.processes.clear();
                Some(Event::SandboxFailed { reason: "no luck".to_owned(), at })
            }
            Change::Starts { container, attempt } => {
                let process = starting(sandbox, container, *attempt)?;
                process.phase = Phase::Running;
                process.started_at = Some(at);
                let (container, attempt) = (container.clone(), *attempt);
                Some(Event::ContainerStarted { container, attempt, at })
            }
            Change::StartFails { container, attempt } => {
                starting(sandbox, container, *attempt)?.phase = Phase::StartFailed { at };
                Some(start_failed(container, *attempt, at))
            }
            Change::Exits { container, attempt, code } => {
                let process = sandbox.processes.get_mut(container)?;
                if process.attempt != *attempt || process.phase != Phase::Running {
                    return None;
                }
                let signal = (*code > 128).then(|| code - 128);
                let exit = Exit { code: *code, signal, out_of_memory: false, at };
                process.phase = Phase::Exited(exit.clone());
                let (container, attempt) = (container.clone(), *attempt);
                Some(Event::ContainerExited { container, attempt, exit })
            }
            Change::Health { container, attempt } => {
                let process = sandbox.processes.get_mut(container)?;
                if process.attempt != *attempt || process.phase != Phase::Running {
                    return None;
                }
                process.health = Some(at);
                let (container, attempt, health) = (container.clone(), *attempt, Health::Healthy);
                Some(Event::Health { container, attempt, health, at })
            }
        }
    }

    /// The supervisor dies. None when there is none.
    pub fn lose(&mut self, task: &TaskId, at: Timestamp) -> Option<Event> {
        let sandbox = self.sandboxes.get_mut(task).filter(|s| !s.lost)?;
        sandbox.lost = true;
        Some(Event::SandboxLost { at })
    }

    /// Power goes and comes back: directories are left, nothing else.
    pub fn reboot(&mut self) {
        for sandbox in self.sandboxes.values_mut() {
            sandbox.lost = true;
        }
    }

    pub fn remove(&mut self, task: &TaskId) {
        self.sandboxes.remove(task);
    }

    /// Whether a process of the task is there.
    pub fn lives(&self, task: &TaskId) -> bool {
        let sandbox = self.sandboxes.get(task).filter(|s| !s.lost);
        sandbox.is_some_and(|s| s.processes.values().any(Process::is_alive))
    }

    /// What an agent that has just started finds of a task.
    pub fn recover(&self, task: &TaskId, now: Timestamp) -> Option<Observed> {
        let sandbox = self.sandboxes.get(task)?;
        let mut observed = Observed::new(&sandbox.note.template);
        observed.begun(&Step::CreateSandbox, now);
        if sandbox.lost {
            observed.observe(&Event::SandboxLost { at: now });
            return Some(observed);
        }
        if let Some(at) = sandbox.failed_at {
            observed.observe(&Event::SandboxFailed { reason: "no luck".to_owned(), at });
        }
        if let Some(at) = sandbox.ready_at {
            observed.observe(&Event::SandboxReady { at });
        }
        for (name, process) in &sandbox.processes {
            recover_process(&mut observed, name, process, now);
        }
        Some(observed)
    }
}

fn starting<'a>(
    sandbox: &'a mut Sandbox,
    container: &str,
    attempt: u32,
) -> Option<&'a mut Process> {
    let process = sandbox.processes.get_mut(container)?;
    (process.attempt == attempt && process.phase == Phase::Starting).then_some(process)
}

fn start_failed(container: &str, attempt: u32, at: Timestamp) -> Event {
    let (container, reason) = (container.to_owned(), "no such file or directory".to_owned());
    Event::StartFailed { container, attempt, reason, code: 127, at }
}

fn recover_process(observed: &mut Observed, name: &str, process: &Process, now: Timestamp) {
    let (container, attempt) = (name.to_owned(), process.attempt);
    observed.begun(&Step::StartContainer { container: container.clone(), attempt }, now);
    if let Some(at) = process.started_at {
        observed.observe(&Event::ContainerStarted { container: container.clone(), attempt, at });
    }
    match &process.phase {
        Phase::Starting | Phase::Running => {}
        Phase::StartFailed { at } => observed.observe(&start_failed(name, attempt, *at)),
        Phase::Exited(exit) => {
            let (container, exit) = (container.clone(), exit.clone());
            observed.observe(&Event::ContainerExited { container, attempt, exit });
        }
    }
    if let Some(at) = process.health {
        let health = Health::Healthy;
        observed.observe(&Event::Health { container, attempt, health, at });
    }
}
