//! The run: what happens when, the network, the faults, and whether it all comes to rest.

use crate::agent::{Agent, short};
use crate::control::{Control, Planned};
use crate::kernel::{Change, Kernel};
use crate::ledger::Ledger;
use crate::limits::*;
use crate::random::Random;
use crate::service::waits;
use model::facts::{Desired, TaskStatus};
use model::service::ServiceStatus;
use model::session::{ToAgent, ToControl};
use model::task::Task;
use model::{InstanceId, TaskId, Timestamp};
use plan::lifecycle::Event;
use std::collections::BTreeMap;

pub const MACHINE_CPU_UNITS: u32 = 2048;
pub const MACHINE_MEMORY_MIB: u32 = 4096;

/// Something done wrong on purpose, to see that it is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// Agents remove sandboxes before the end of their tasks is known.
    ForgetsTraces,
    /// Agents that come back start things before they are told what is wanted.
    StartsUnasked,
    /// Placement commits whatever has changed since it planned.
    CommitsBlindly,
    /// What a lost instance holds is free at once.
    FreesWhatIsLost,
}

/// How a run went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// None: all that must hold did, and everything came to rest.
    pub violation: Option<String>,
    pub happenings: u64,
    /// Tasks by how they ended.
    pub outcomes: BTreeMap<String, u32>,
    /// Empty unless asked for.
    pub transcript: Vec<String>,
}

pub enum Happening {
    Up { machine: usize, link: u64, message: ToControl },
    Down { machine: usize, link: u64, message: ToAgent },
    Kernel { machine: usize, task: TaskId, change: Change },
    Pulled { machine: usize, life: u64, task: TaskId, container: String, fails: bool },
    Drained { machine: usize, life: u64, task: TaskId, container: String },
    Removed { machine: usize, life: u64, task: TaskId },
    AgentTick { machine: usize, life: u64 },
    AgentStarts { machine: usize },
    ControlTick,
    Commit(Planned),
    Fault,
    Reconnects { machine: usize },
    UserRuns,
    UserStops,
    OperatorDrains,
}

pub struct Machine {
    pub id: InstanceId,
    pub kernel: Kernel,
    pub agent: Option<Agent>,
    /// Agents and sessions there ever were.
    pub lives: u64,
    pub links: u64,
    pub online: bool,
}

pub struct World {
    pub now: Timestamp,
    pub random: Random,
    queue: BTreeMap<(Timestamp, u64), Happening>,
    count: u64,
    pub control: Control,
    pub machines: Vec<Machine>,
    pub ledger: Ledger,
    pub mistake: Option<Mistake>,
    faults_until: Timestamp,
    transcript: Option<Vec<String>>,
    begun_at: Timestamp,
}

/// One run. The same arguments give the same run.
pub fn run(seed: u64, mistake: Option<Mistake>, transcript: bool) -> Run {
    let mut world = World::new(seed, mistake, transcript);
    world.start();
    world.go_on_until(world.faults_until);
    world.cease();
    world.come_to_rest("after the faults");
    if world.ledger.violation().is_none() {
        world.stop_all();
        world.come_to_rest("after everything was told to stop");
        world.check_nothing_is_left();
    }
    let mut outcomes = BTreeMap::new();
    for task in world.control.tasks.values() {
        let outcome = task.stop.as_ref().map_or("none".to_owned(), |s| s.code.as_str().to_owned());
        *outcomes.entry(outcome).or_default() += 1;
    }
    Run {
        violation: world.ledger.violation().map(str::to_owned),
        happenings: world.count,
        outcomes,
        transcript: world.transcript.unwrap_or_default(),
    }
}

impl World {
    fn new(seed: u64, mistake: Option<Mistake>, transcript: bool) -> Self {
        let mut random = Random::new(seed);
        let begun_at = Timestamp(1_000_000_000);
        let count = 1 + random.below(MACHINES_MAX);
        let machine = |n: u64| Machine {
            id: InstanceId::mint(u128::from(n)),
            kernel: Kernel::default(),
            agent: None,
            lives: 0,
            links: 0,
            online: true,
        };
        let machines: Vec<Machine> = (0..count).map(machine).collect();
        let control = Control::new(machines.iter().map(|m| m.id.clone()).collect(), begun_at);
        Self {
            now: begun_at,
            random,
            queue: BTreeMap::new(),
            count: 0,
            control,
            machines,
            ledger: Ledger::default(),
            mistake,
            faults_until: begun_at.plus_seconds(FAULTS_SECONDS),
            transcript: transcript.then(Vec::new),
            begun_at,
        }
    }

    fn start(&mut self) {
        for m in 0..self.machines.len() {
            self.start_agent(m);
        }
        self.after_ms(0, Happening::ControlTick);
        self.after_ms(1000, Happening::Fault);
        let spread_ms = u64::try_from(FAULTS_SECONDS * 1000).expect("positive");
        for _ in 0..1 + self.random.below(TASKS_MAX) {
            let ms = self.random.ms(0, spread_ms);
            self.after_ms(ms, Happening::UserRuns);
        }
        for _ in 0..self.random.below(TASKS_MAX / 2) {
            let ms = self.random.ms(spread_ms / 4, spread_ms);
            self.after_ms(ms, Happening::UserStops);
        }
        // Mistakes are looked for in the plainest runs.
        if self.mistake.is_none() {
            self.make_service_and_drains(spread_ms);
        }
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(transcript) = &mut self.transcript {
            let ms = self.now.since_ms(self.begun_at);
            transcript.push(format!("{:>4}.{:03} {}", ms / 1000, ms % 1000, line()));
        }
    }

    pub fn after_ms(&mut self, ms: i64, happening: Happening) {
        self.count += 1;
        self.queue.insert((self.now.plus_ms(ms), self.count), happening);
    }

    /// Whether something that goes wrong this often, while there are faults, does so now.
    pub fn goes_wrong(&mut self, permille: u64) -> bool {
        self.now < self.faults_until && self.random.permille(permille)
    }

    pub fn send_up(&mut self, machine: usize, link: u64, message: &ToControl) {
        for ms in self.deliveries_ms(machine) {
            let message = message.clone();
            self.after_ms(ms, Happening::Up { machine, link, message });
        }
    }

    pub fn send_down(&mut self, machine: usize, link: u64, message: &ToAgent) {
        for ms in self.deliveries_ms(machine) {
            let message = message.clone();
            self.after_ms(ms, Happening::Down { machine, link, message });
        }
    }

    /// How often a message arrives, and when.
    fn deliveries_ms(&mut self, machine: usize) -> Vec<i64> {
        if !self.machines[machine].online || self.goes_wrong(LOST_PERMILLE) {
            return Vec::new();
        }
        let copies = if self.goes_wrong(REPEATED_PERMILLE) { 2 } else { 1 };
        (0..copies)
            .map(|_| {
                let late = self.goes_wrong(LATE_PERMILLE);
                if late { self.random.ms(50, 6000) } else { self.random.ms(1, 30) }
            })
            .collect()
    }

    fn go_on_until(&mut self, end: Timestamp) {
        while let Some((at, _)) = self.queue.first_key_value().map(|(key, _)| *key) {
            if at > end || self.ledger.violation().is_some() {
                break;
            }
            let (_, happening) = self.queue.pop_first().expect("just seen");
            self.now = at;
            let books_may_change = matches!(
                happening,
                Happening::Up { .. } | Happening::ControlTick | Happening::Commit(_)
            );
            self.happen(happening);
            if books_may_change {
                self.check_books();
            }
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Up { machine, link, message } => {
                if self.machines[machine].online {
                    self.control_hears(machine, link, message);
                }
            }
            Happening::Down { machine, link, message } => {
                if self.machines[machine].online {
                    self.hear(machine, link, message);
                }
            }
            Happening::Kernel { machine, task, change } => self.change(machine, &task, &change),
            Happening::Pulled { machine, life, task, container, fails } => {
                let (reason, at, digest) = ("not found".to_owned(), self.now, None);
                let event = match fails {
                    true => Event::PullFailed { container, reason, at },
                    false => Event::ImagePulled { container, digest, at },
                };
                self.tell_life(machine, life, &task, &event);
            }
            Happening::Drained { machine, life, task, container } => {
                self.tell_life(machine, life, &task, &Event::LogDrained { container });
            }
            Happening::Removed { machine, life, task } => {
                if self.machines[machine].agent.as_ref().is_some_and(|a| a.life == life) {
                    self.machines[machine].kernel.remove(&task);
                    let at = self.now;
                    self.tell(machine, &task, &Event::SandboxRemoved { at });
                }
            }
            Happening::AgentTick { machine, life } => self.tick_agent(machine, life),
            Happening::AgentStarts { machine } => {
                if self.machines[machine].agent.is_none() {
                    self.start_agent(machine);
                }
            }
            Happening::ControlTick => {
                self.tick_control();
                self.after_ms(TICK_MS, Happening::ControlTick);
            }
            Happening::Commit(planned) => self.commit(planned),
            Happening::Fault => self.fault(),
            Happening::Reconnects { machine } => self.machines[machine].online = true,
            Happening::UserRuns => self.run_task(),
            Happening::UserStops => self.stop_some_task(),
            Happening::OperatorDrains => self.drain_or_activate(),
        }
    }

    fn tell_life(&mut self, machine: usize, life: u64, task: &TaskId, event: &Event) {
        if self.machines[machine].agent.as_ref().is_some_and(|a| a.life == life) {
            self.tell(machine, task, event);
        }
    }

    fn change(&mut self, machine: usize, task: &TaskId, change: &Change) {
        let at = self.now;
        let Some(event) = self.machines[machine].kernel.apply(task, change, at) else { return };
        if let Change::Starts { container, attempt } = change {
            self.ledger.started(task);
            self.let_run(machine, task, container, *attempt);
        }
        self.tell(machine, task, &event);
    }

    fn fault(&mut self) {
        if self.now >= self.faults_until {
            return;
        }
        let machine = usize::try_from(self.random.below(self.machines.len() as u64)).expect("few");
        match self.random.below(8) {
            0..=2 => {
                self.kill_agent(machine);
                let ms = self.random.ms(10, 5000);
                self.after_ms(ms, Happening::AgentStarts { machine });
            }
            3 | 4 => self.lose_some_sandbox(machine),
            5 => {
                self.note(|| format!("machine {machine} is cut off"));
                self.machines[machine].online = false;
                let ms = self.random.ms(500, 90_000);
                self.after_ms(ms, Happening::Reconnects { machine });
            }
            6 => {
                self.kill_agent(machine);
                self.machines[machine].kernel.reboot();
                self.note(|| format!("machine {machine} boots"));
                let ms = self.random.ms(2000, 20_000);
                self.after_ms(ms, Happening::AgentStarts { machine });
            }
            _ => {}
        }
        let ms = self.random.ms(300, 12_000);
        self.after_ms(ms, Happening::Fault);
    }

    fn lose_some_sandbox(&mut self, machine: usize) {
        let tasks: Vec<TaskId> = self.machines[machine].kernel.sandboxes.keys().cloned().collect();
        if tasks.is_empty() {
            return;
        }
        let task = self.random.pick(&tasks).clone();
        self.note(|| format!("the supervisor of {} is killed", short(&task)));
        if let Some(event) = self.machines[machine].kernel.lose(&task, self.now) {
            self.tell(machine, &task, &event);
        }
    }

    fn cease(&mut self) {
        self.note(|| "the faults cease".to_owned());
        for machine in 0..self.machines.len() {
            self.machines[machine].online = true;
            if self.machines[machine].agent.is_none() {
                self.start_agent(machine);
            }
        }
        self.leave_one_open();
    }

    fn stop_all(&mut self) {
        self.note(|| "everything is told to stop".to_owned());
        if let Some(web) = &mut self.control.web {
            web.service.status = ServiceStatus::Draining;
            web.service.desired_count = 0;
        }
        let tasks: Vec<TaskId> = self.control.tasks.keys().cloned().collect();
        for task in tasks {
            self.stop_task(&task);
        }
    }

    fn come_to_rest(&mut self, when: &str) {
        let end = self.now.plus_seconds(REST_SECONDS);
        while self.ledger.violation().is_none() && self.now < end && self.unrest().is_some() {
            self.go_on_until(self.now.plus_ms(TICK_MS));
        }
        let unrest = self.unrest();
        self.ledger
            .hold(unrest.is_none(), || format!("no rest {when}: {}", unrest.unwrap_or_default()));
    }

    /// What is not yet as it is wanted.
    fn unrest(&self) -> Option<String> {
        if let Some(unrest) = self.unrest_of_service() {
            return Some(unrest);
        }
        for task in self.control.tasks.values().filter(|task| !waits(task)) {
            let status = task.last_status();
            let wanted = task.facts.desired == Desired::Running;
            if status != TaskStatus::Stopped && !(wanted && status == TaskStatus::Running) {
                return Some(format!("{} is {}", task.id, status.as_str()));
            }
            if status == TaskStatus::Stopped && task.stop.is_none() {
                return Some(format!("{} stopped without a reason", task.id));
            }
        }
        for (m, machine) in self.machines.iter().enumerate() {
            let actors = machine.agent.iter().flat_map(|a| a.actors.keys());
            for task in machine.kernel.sandboxes.keys().chain(actors) {
                let known = self.control.tasks.get(task).map(Task::last_status);
                if known != Some(TaskStatus::Running) || !machine.kernel.lives(task) {
                    return Some(format!("machine {m} still has {task}, which is {known:?}"));
                }
            }
        }
        let held = self.control.holders.iter().find(|id| {
            self.control.tasks.get(*id).is_none_or(|t| t.last_status() == TaskStatus::Stopped)
        });
        held.map(|id| format!("{id} still holds what it had"))
    }

    fn check_nothing_is_left(&mut self) {
        let taken: usize = self.control.pools.values().map(|p| p.taken.len()).sum();
        self.ledger.hold(taken == 0, || format!("{taken} addresses are never given back"));
        let allocated: u32 = self.control.allocations.values().map(|a| a.tasks).sum();
        self.ledger.hold(allocated == 0, || format!("{allocated} allocations are left"));
    }
}
