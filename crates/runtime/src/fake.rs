//! A runtime in memory that obeys the same rules as the real one, for tests of what stands on it.
//! Its programs are words in `argv`: `run` (until a signal), `stubborn` (until SIGKILL), `exit
//! CODE`, `print TEXT CODE` (one log line, then exit), `missing` (cannot be started), `silent`
//! (never reported as started). It may be told to misbehave: to lose a task, to fail calls, to tell
//! things twice. It has no clock of its own.

use crate::Runtime;
use crate::event::*;
use crate::failure::Failure;
use crate::spec::*;
use crate::spool::{LogBatch, LogRecord, LogStream};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::mpsc;

/// Exit code of a program that was not found, as a shell gives it.
const CODE_NOT_FOUND: i32 = 127;

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The kernel's side: it survives the agent that asks.
#[derive(Clone)]
pub struct FakeKernel {
    state: Arc<Mutex<State>>,
    clock: Clock,
}

/// The agent's side, with its channel of events.
pub struct Fake {
    kernel: FakeKernel,
}

#[derive(Default)]
struct State {
    events: Option<mpsc::Sender<Event>>,
    tasks: BTreeMap<TaskId, FakeTask>,
    vpcs: BTreeMap<VpcId, VpcTable>,
    calls_to_fail: u32,
    tell_twice: bool,
    /// How often each container was really started, over the whole life of the kernel.
    starts: BTreeMap<(TaskId, String), u32>,
}

struct FakeTask {
    spec: SandboxSpec,
    lost: bool,
    observed: ObservedTask,
    programs: BTreeMap<String, Vec<String>>,
    logs: BTreeMap<String, Vec<LogRecord>>,
}

impl FakeKernel {
    pub fn new(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { state: Arc::default(), clock: Arc::new(clock) }
    }

    /// An agent starts: events go to it from now on, and to no earlier one.
    pub fn connect(&self, events: mpsc::Sender<Event>) -> Fake {
        self.lock().events = Some(events);
        Fake { kernel: self.clone() }
    }

    /// The next `calls` calls fail before they do anything.
    pub fn fail_calls(&self, calls: u32) {
        self.lock().calls_to_fail = calls;
    }

    /// Every event is sent twice.
    pub fn tell_twice(&self, on: bool) {
        self.lock().tell_twice = on;
    }

    /// Starts over all attempts; what shows that nothing ran twice.
    pub fn starts(&self, task: &TaskId, name: &str) -> u32 {
        self.lock().starts.get(&(task.clone(), name.to_owned())).copied().unwrap_or(0)
    }

    pub fn task_count(&self) -> usize {
        self.lock().tasks.len()
    }

    /// The task's supervisor is killed, and with it every container.
    pub fn lose(&self, task: &TaskId) {
        let at = (self.clock)();
        let mut state = self.lock();
        let Some(found) = state.tasks.get_mut(task) else {
            return;
        };
        found.lost = true;
        state.tell(task, EventKind::SandboxLost { at });
    }

    /// A running container's program ends by itself.
    pub fn exit(&self, task: &TaskId, name: &str, code: i32) {
        self.end(task, name, code, None, false);
    }

    /// The kernel kills a running container for want of memory.
    pub fn out_of_memory(&self, task: &TaskId, name: &str) {
        self.end(task, name, 137, Some(9), true);
    }

    pub fn set_health(&self, task: &TaskId, name: &str, status: HealthStatus) {
        let at = (self.clock)();
        let mut state = self.lock();
        let Some(container) = state.container(task, name) else {
            return;
        };
        let health = HealthFact { status, output: String::new(), at };
        container.health = Some(health.clone());
        let attempt = container.attempt;
        state.tell(task, EventKind::Health { name: name.to_owned(), attempt, health });
    }

    /// A running container prints a line.
    pub fn print(&self, task: &TaskId, name: &str, line: &str) {
        let at = (self.clock)();
        let mut state = self.lock();
        let Some(found) = state.tasks.get_mut(task) else {
            return;
        };
        let (stream, bytes) = (LogStream::Stdout, line.as_bytes().to_vec());
        let log = found.logs.entry(name.to_owned()).or_default();
        log.push(LogRecord { at, stream, partial: false, bytes });
        let end = log.len() as u64;
        if let Some(container) = found.container(name) {
            container.log.end = end;
        }
        state.tell(task, EventKind::LogGrew { name: name.to_owned() });
    }

    fn end(&self, task: &TaskId, name: &str, code: i32, signal: Option<i32>, oom: bool) {
        let at = (self.clock)();
        let mut state = self.lock();
        let Some(container) = state.container(task, name) else {
            return;
        };
        if !matches!(container.phase, ObservedPhase::Running { .. }) {
            return;
        }
        let exit = ContainerExit { code, signal, out_of_memory: oom, at };
        container.phase = ObservedPhase::Exited(exit.clone());
        let attempt = container.attempt;
        state.tell(task, EventKind::ContainerExited { name: name.to_owned(), attempt, exit });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the fake kernel")
    }
}

impl FakeTask {
    fn container(&mut self, name: &str) -> Option<&mut ObservedContainer> {
        self.observed.containers.iter_mut().find(|c| c.name == name)
    }
}

impl State {
    /// What a real kernel would let happen, and must never be asked for: two sandboxes at one
    /// address, and one whose interface its VPC's rules don't know.
    fn check_address(&self, network: &NetworkSpec) {
        let NetworkSpec { vpc, address, .. } = network;
        let Some(table) = self.vpcs.get(vpc) else { return };
        let place = table.interfaces.get(address).map(|interface| interface.place);
        assert_eq!(place, Some(Place::Task), "{address} of {vpc} is made before its walls");
        let there = |task: &&FakeTask| {
            let of = task.spec.network.as_ref();
            !task.lost && of.is_some_and(|of| (&of.vpc, of.address) == (vpc, *address))
        };
        let other = self.tasks.values().find(there).map(|task| &task.spec.task);
        assert_eq!(other, None, "{address} of {vpc} is given twice");
    }

    fn tell(&mut self, task: &TaskId, kind: EventKind) {
        let Some(events) = &self.events else { return };
        let event = Event { task: task.clone(), kind };
        // An agent that has gone hears nothing; the next one asks with `recover`.
        for _ in 0..if self.tell_twice { 2 } else { 1 } {
            if let Err(mpsc::error::TrySendError::Full(_)) = events.try_send(event.clone()) {
                unreachable!("the channel of a fake holds all events of its test");
            }
        }
    }

    fn container(&mut self, task: &TaskId, name: &str) -> Option<&mut ObservedContainer> {
        self.tasks.get_mut(task).filter(|t| !t.lost)?.container(name)
    }

    fn living(&mut self, task: &TaskId) -> Result<&mut FakeTask, Failure> {
        let found = self.tasks.get_mut(task).ok_or(Failure::UnknownTask(task.clone()))?;
        if found.lost { Err(Failure::SupervisorGone(task.clone())) } else { Ok(found) }
    }

    fn admit(&mut self) -> Result<(), Failure> {
        if self.calls_to_fail > 0 {
            self.calls_to_fail -= 1;
            return Err(Failure::Refused("told to fail".to_owned()));
        }
        Ok(())
    }
}

impl Fake {
    fn admitted(&self) -> Result<MutexGuard<'_, State>, Failure> {
        let mut state = self.kernel.lock();
        state.admit()?;
        Ok(state)
    }

    fn begin(
        &self,
        task: &TaskId,
        launch: ContainerLaunch,
    ) -> Result<Option<Vec<String>>, Failure> {
        let at = (self.kernel.clock)();
        let mut state = self.admitted()?;
        let found = state.living(task)?;
        let name = launch.name.clone();
        if found.container(&name).is_some_and(|c| c.attempt >= launch.attempt) {
            return Ok(None);
        }
        let program = launch.argv.first().map(String::as_str);
        let phase = match program {
            Some("missing") | None => ObservedPhase::StartFailed {
                reason: "CannotStartContainerError: no such program".to_owned(),
                code: CODE_NOT_FOUND,
                at,
            },
            Some("silent") => ObservedPhase::Starting,
            Some(_) => ObservedPhase::Running { pid: 1 },
        };
        let health = launch.health.as_ref().map(|_| HealthFact {
            status: HealthStatus::Unknown,
            output: String::new(),
            at,
        });
        let log = found.container(&name).map(|c| c.log).unwrap_or_default();
        found.observed.containers.retain(|c| c.name != name);
        let attempt = launch.attempt;
        let started_at = matches!(phase, ObservedPhase::Running { .. }).then_some(at);
        let container = ObservedContainer { name, attempt, phase, started_at, health, log };
        found.programs.insert(launch.name.clone(), launch.argv.clone());
        found.observed.containers.push(container.clone());
        let name = launch.name;
        match container.phase {
            ObservedPhase::Running { pid } => {
                *state.starts.entry((task.clone(), name.clone())).or_insert(0) += 1;
                state.tell(task, EventKind::ContainerStarted { name, attempt, pid, at });
                Ok(Some(launch.argv))
            }
            ObservedPhase::StartFailed { reason, code, at } => {
                let kind = EventKind::ContainerStartFailed { name, attempt, reason, code, at };
                state.tell(task, kind);
                Ok(None)
            }
            ObservedPhase::Starting | ObservedPhase::Exited(_) => Ok(None),
        }
    }
}

impl Runtime for Fake {
    async fn recover(&self) -> Result<Vec<Recovered>, Failure> {
        let state = self.admitted()?;
        let found = state.tasks.iter().map(|(task, found)| Recovered {
            task: task.clone(),
            spec: Some(found.spec.clone()),
            state: match found.lost {
                true => RecoveredState::Lost,
                false => RecoveredState::Live(found.observed.clone()),
            },
        });
        Ok(found.collect())
    }

    async fn ensure_vpc(&self, vpc: VpcTable) -> Result<(), Failure> {
        self.admitted()?.vpcs.insert(vpc.id.clone(), vpc);
        Ok(())
    }

    async fn change_interfaces(
        &self,
        vpc: &VpcId,
        changes: InterfaceChanges,
    ) -> Result<bool, Failure> {
        let mut state = self.admitted()?;
        let known = state.vpcs.get_mut(vpc);
        Ok(known.map(|table| changes.apply(&mut table.interfaces)).is_some())
    }

    async fn vpcs(&self) -> Vec<VpcId> {
        self.admitted().map(|state| state.vpcs.keys().cloned().collect()).unwrap_or_default()
    }

    async fn remove_vpc(&self, vpc: &VpcId) -> Result<(), Failure> {
        let mut state = self.admitted()?;
        let uses = |t: &FakeTask| t.spec.network.as_ref().is_some_and(|n| n.vpc == *vpc);
        if state.tasks.values().any(uses) {
            return Err(Failure::Refused(format!("{vpc} has tasks")));
        }
        state.vpcs.remove(vpc);
        Ok(())
    }

    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<(), Failure> {
        let at = (self.kernel.clock)();
        let mut state = self.admitted()?;
        if state.tasks.contains_key(&spec.task) {
            return Ok(());
        }
        if let Some(network) = &spec.network {
            state.check_address(network);
        }
        let known = |n: &NetworkSpec| state.vpcs.contains_key(&n.vpc);
        let (sandbox, kind) = if spec.network.as_ref().is_none_or(known) {
            (ObservedSandbox::Ready { at }, EventKind::SandboxReady { at })
        } else {
            let reason = "the VPC is not known on this instance".to_owned();
            let failed = ObservedSandbox::Failed { reason: reason.clone(), at };
            (failed, EventKind::SandboxFailed { reason, at })
        };
        let observed = ObservedTask { supervisor_pid: 1, sandbox, containers: Vec::new() };
        let task = spec.task.clone();
        let found = FakeTask {
            spec,
            lost: false,
            observed,
            programs: BTreeMap::new(),
            logs: BTreeMap::new(),
        };
        state.tasks.insert(task.clone(), found);
        state.tell(&task, kind);
        Ok(())
    }

    async fn start_container(&self, task: &TaskId, launch: ContainerLaunch) -> Result<(), Failure> {
        let name = launch.name.clone();
        let Some(argv) = self.begin(task, launch)? else {
            return Ok(());
        };
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["exit", code] => self.kernel.exit(task, &name, code.parse().unwrap_or(1)),
            ["print", text, code] => {
                self.kernel.print(task, &name, text);
                self.kernel.exit(task, &name, code.parse().unwrap_or(1));
            }
            _ => {}
        }
        Ok(())
    }

    async fn signal_container(
        &self,
        task: &TaskId,
        name: &str,
        signal: i32,
    ) -> Result<(), Failure> {
        let stubborn = {
            let mut state = self.admitted()?;
            let found = state.living(task)?;
            found.programs.get(name).is_some_and(|argv| argv[0] == "stubborn")
        };
        if signal == libc::SIGKILL || !stubborn {
            self.kernel.end(task, name, 128 + signal, Some(signal), false);
        }
        Ok(())
    }

    async fn read_log(
        &self,
        task: &TaskId,
        name: &str,
        offset: u64,
        bytes_max: usize,
    ) -> Result<LogBatch, Failure> {
        let mut state = self.admitted()?;
        let found = state.tasks.get_mut(task).ok_or(Failure::UnknownTask(task.clone()))?;
        let log = found.logs.get(name).map_or(&[][..], Vec::as_slice);
        let mut batch = LogBatch { next_offset: offset, ..LogBatch::default() };
        let mut used = 0;
        for record in log.iter().skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            used += record.bytes.len();
            if used > bytes_max && !batch.records.is_empty() {
                break;
            }
            batch.records.push(record.clone());
            batch.next_offset += 1;
            batch.ends.push(batch.next_offset);
        }
        Ok(batch)
    }

    async fn acknowledge_log(&self, task: &TaskId, name: &str, offset: u64) -> Result<(), Failure> {
        let mut state = self.admitted()?;
        let Some(container) = state.living(task)?.container(name) else {
            return Ok(());
        };
        container.log.acknowledged = container.log.acknowledged.max(offset);
        if container.log.end > container.log.acknowledged {
            state.tell(task, EventKind::LogGrew { name: name.to_owned() });
        }
        Ok(())
    }

    async fn remove(&self, task: &TaskId) -> Result<(), Failure> {
        self.admitted()?.tasks.remove(task);
        Ok(())
    }

    async fn sweep(&self, keep: &[TaskId]) -> Result<Vec<String>, Failure> {
        let mut state = self.admitted()?;
        let strays: Vec<TaskId> =
            state.tasks.keys().filter(|t| !keep.contains(t)).cloned().collect();
        state.tasks.retain(|task, _| keep.contains(task));
        Ok(strays.into_iter().map(|task| format!("task {task}")).collect())
    }

    async fn usage(&self, task: &TaskId) -> Result<Usage, Failure> {
        let mut state = self.admitted()?;
        let containers = &state.living(task)?.observed.containers;
        let running = |c: &&ObservedContainer| matches!(c.phase, ObservedPhase::Running { .. });
        let running = containers.iter().filter(running);
        let containers: Vec<_> = running
            .map(|c| ContainerUsage { name: c.name.clone(), ..ContainerUsage::default() })
            .collect();
        Ok(Usage { pids: containers.len() as u64, containers, ..Usage::default() })
    }

    fn enforces_storage(&self) -> bool {
        true
    }
}
