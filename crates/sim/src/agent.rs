//! A machine's agent in its plainest form: one actor for each task, `plan::step` after everything
//! that happens, reports until they are known to be durable. What it holds in memory is gone when
//! it is killed; what it finds when it comes back is the kernel's.

use crate::kernel::Change;
use crate::limits::{FAILED_PERMILLE, HELLO_SECONDS, SILENCE_SECONDS};
use crate::templates::Program;
use crate::world::{Happening, Mistake, World};
use model::facts::{ContainersFact, Desired};
use model::session::{Assignment, Hello, PROTOCOL_VERSION, TaskReport, ToAgent, ToControl};
use model::{TaskId, Timestamp};
use plan::lifecycle::{Event, Observed, Step};
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct Actor {
    pub assignment: Arc<Assignment>,
    pub observed: Observed,
    wake_at: Option<Timestamp>,
    report: Option<TaskReport>,
    /// The newest report that is durable.
    confirmed: Option<TaskReport>,
    finished: bool,
    dismissed: bool,
}

impl Actor {
    fn new(assignment: Arc<Assignment>, mut observed: Observed, mistake: Option<Mistake>) -> Self {
        if mistake != Some(Mistake::ForgetsTraces) {
            observed.keep_trace();
        }
        Self {
            assignment,
            observed,
            wake_at: None,
            report: None,
            confirmed: None,
            finished: false,
            dismissed: false,
        }
    }
}

pub struct Agent {
    /// Told apart from earlier agents of the machine by this number.
    pub life: u64,
    /// Of the session it has or asks for; what belongs to another one is not listened to.
    pub link: u64,
    connected: bool,
    sequence: Option<u64>,
    heard_at: Timestamp,
    asked_at: Timestamp,
    pub actors: BTreeMap<TaskId, Actor>,
    number: u64,
    /// By number: what was said of which task.
    unconfirmed: BTreeMap<u64, TaskReport>,
}

impl World {
    /// An agent starts, takes over what it finds, and asks for a session.
    pub fn start_agent(&mut self, m: usize) {
        let machine = &mut self.machines[m];
        machine.lives += 1;
        let mut actors = BTreeMap::new();
        for (task, sandbox) in &machine.kernel.sandboxes {
            let mut observed = machine.kernel.recover(task, self.now).expect("it is there");
            if self.mistake != Some(Mistake::StartsUnasked) {
                observed.hold_starts();
            }
            actors.insert(
                task.clone(),
                Actor::new(Arc::clone(&sandbox.note), observed, self.mistake),
            );
        }
        machine.agent = Some(Agent {
            life: machine.lives,
            link: 0,
            connected: false,
            sequence: None,
            heard_at: self.now,
            asked_at: self.now,
            actors,
            number: 0,
            unconfirmed: BTreeMap::new(),
        });
        let tasks = self.tasks_of(m);
        self.note(|| format!("agent {m} starts and finds {}", tasks.len()));
        // Hello says everything the agent has, so that it must have looked at all of it.
        for task in tasks {
            self.step_task(m, &task);
        }
        self.ask_for_session(m);
        let life = self.machines[m].lives;
        self.after_ms(crate::limits::TICK_MS, Happening::AgentTick { machine: m, life });
    }

    /// It is gone with all it had in memory, in the middle of whatever it did.
    pub fn kill_agent(&mut self, m: usize) {
        let Some(agent) = self.machines[m].agent.take() else { return };
        self.note(|| format!("agent {m} is killed"));
        for (task, actor) in agent.actors {
            let removing = actor.observed.remove_asked_at.is_some();
            if removing && self.random.below(2) == 0 {
                self.machines[m].kernel.lose(&task, self.now);
            }
        }
    }

    fn tasks_of(&self, m: usize) -> Vec<TaskId> {
        self.machines[m].agent.iter().flat_map(|a| a.actors.keys().cloned()).collect()
    }

    fn ask_for_session(&mut self, m: usize) {
        let id = self.machines[m].id.clone();
        self.machines[m].links += 1;
        let link = self.machines[m].links;
        let Some(agent) = self.machines[m].agent.as_mut() else { return };
        agent.link = link;
        agent.connected = false;
        agent.sequence = None;
        agent.asked_at = self.now;
        agent.unconfirmed.clear();
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            instance: Some(id),
            name: format!("machine-{m}"),
            cpu_architecture: "X86_64".to_owned(),
            cpu_units: crate::world::MACHINE_CPU_UNITS,
            memory_mib: crate::world::MACHINE_MEMORY_MIB,
            boot_id: String::new(),
            agent_version: String::new(),
            zone: None,
            underlay: None,
            tasks: agent.actors.values().filter_map(|a| a.report.clone()).collect(),
        };
        self.send_up(m, link, &ToControl::Hello(hello));
    }

    pub fn tick_agent(&mut self, m: usize, life: u64) {
        let Some(agent) = self.machines[m].agent.as_ref().filter(|a| a.life == life) else {
            return;
        };
        let (now, link, connected) = (self.now, agent.link, agent.connected);
        let silent = now >= agent.heard_at.plus_seconds(SILENCE_SECONDS);
        let impatient = now >= agent.asked_at.plus_seconds(HELLO_SECONDS);
        if (connected && silent) || (!connected && impatient) {
            self.ask_for_session(m);
        } else if connected {
            self.send_up(m, link, &ToControl::Heartbeat);
            self.say_again(m);
        }
        let actors = self.machines[m].agent.iter().flat_map(|a| &a.actors);
        let due = actors.filter(|(_, a)| a.wake_at.is_some_and(|at| at <= now));
        let due: Vec<TaskId> = due.map(|(task, _)| task.clone()).collect();
        for task in due {
            self.step_task(m, &task);
        }
        self.after_ms(crate::limits::TICK_MS, Happening::AgentTick { machine: m, life });
    }

    /// Reports that may have been lost.
    fn say_again(&mut self, m: usize) {
        let Some(agent) = &self.machines[m].agent else { return };
        let open =
            agent.actors.iter().filter(|(_, a)| a.report.is_some() && a.report != a.confirmed);
        let open: Vec<TaskId> = open.map(|(task, _)| task.clone()).collect();
        for task in open {
            self.say(m, &task);
        }
    }

    fn say(&mut self, m: usize, task: &TaskId) {
        let Some(agent) = self.machines[m].agent.as_mut() else { return };
        let Some(report) = agent.actors.get(task).and_then(|a| a.report.clone()) else { return };
        agent.number += 1;
        let (number, link) = (agent.number, agent.link);
        agent.unconfirmed.insert(number, report.clone());
        self.send_up(m, link, &ToControl::Report { number, report });
    }

    pub fn hear(&mut self, m: usize, link: u64, message: ToAgent) {
        let now = self.now;
        let Some(agent) = self.machines[m].agent.as_mut().filter(|a| a.link == link) else {
            return;
        };
        agent.heard_at = now;
        agent.connected = true;
        match message {
            ToAgent::Assignments { sequence, tasks }
                if agent.sequence.is_none_or(|seen| sequence > seen) =>
            {
                agent.sequence = Some(sequence);
                self.take_list(m, tasks);
            }
            ToAgent::Changes { sequence, upsert, remove } => match agent.sequence {
                Some(seen) if sequence <= seen => {}
                Some(seen) if sequence == seen + 1 => {
                    agent.sequence = Some(sequence);
                    for task in remove {
                        self.dismiss(m, &task);
                    }
                    for assignment in upsert {
                        self.assign(m, assignment);
                    }
                }
                _ => self.send_up(m, link, &ToControl::Resync),
            },
            // Streams lose nothing in between, so that one number stands for all before it; this
            // network does, and a number stands for itself.
            ToAgent::Reported { number } => self.take_confirmation(m, number),
            _ => {}
        }
    }

    fn take_confirmation(&mut self, m: usize, number: u64) {
        let Some(agent) = self.machines[m].agent.as_mut() else { return };
        let Some(report) = agent.unconfirmed.remove(&number) else { return };
        let (task, containers_fact) = (report.task.clone(), report.containers_fact);
        let Some(actor) = agent.actors.get_mut(&task) else { return };
        actor.observed.observe(&Event::Reported { containers_fact });
        if actor.report.as_ref() == Some(&report) {
            actor.confirmed = Some(report);
        }
        if containers_fact == ContainersFact::Stopped {
            // The sandbox may go now, or the actor.
            self.step_task(m, &task);
        }
    }

    fn take_list(&mut self, m: usize, tasks: Vec<Arc<Assignment>>) {
        let strays =
            self.tasks_of(m).into_iter().filter(|task| !tasks.iter().any(|t| t.task == *task));
        let strays: Vec<TaskId> = strays.collect();
        for task in strays {
            self.dismiss(m, &task);
        }
        for assignment in tasks {
            self.assign(m, assignment);
        }
    }

    fn dismiss(&mut self, m: usize, task: &TaskId) {
        let Some(agent) = self.machines[m].agent.as_mut() else { return };
        let Some(actor) = agent.actors.get_mut(task) else { return };
        actor.dismissed = true;
        let mut ending = (*actor.assignment).clone();
        ending.desired = Desired::Stopped;
        actor.assignment = Arc::new(ending);
        self.ledger.told_to_stop(task);
        self.step_task(m, task);
    }

    fn assign(&mut self, m: usize, assignment: Arc<Assignment>) {
        let task = assignment.task.clone();
        let mistake = self.mistake;
        if assignment.desired == Desired::Stopped {
            self.ledger.told_to_stop(&task);
        }
        let Some(agent) = self.machines[m].agent.as_mut() else { return };
        match agent.actors.get_mut(&task) {
            Some(actor) => {
                actor.assignment = assignment;
                actor.observed.observe(&Event::Assigned);
                actor.dismissed = false;
            }
            None => {
                let observed = Observed::new(&assignment.template);
                agent.actors.insert(task.clone(), Actor::new(assignment, observed, mistake));
            }
        }
        self.step_task(m, &task);
    }

    /// Something happened in the kernel; whoever is there hears of it.
    pub fn tell(&mut self, m: usize, task: &TaskId, event: &Event) {
        let Some(agent) = self.machines[m].agent.as_mut() else { return };
        let Some(actor) = agent.actors.get_mut(task) else { return };
        actor.observed.observe(event);
        self.note(|| format!("  {m} {} {event:?}", short(task)));
        self.step_task(m, task);
    }

    pub fn step_task(&mut self, m: usize, task: &TaskId) {
        loop {
            let now = self.now;
            let Some(agent) = self.machines[m].agent.as_mut() else { return };
            let Some(actor) = agent.actors.get_mut(task) else { return };
            let next = plan::step(&actor.assignment, &mut actor.observed, now);
            actor.wake_at = next.wake_at;
            actor.finished = next.finished;
            let news = actor.report.as_ref() != Some(&next.report);
            actor.report = Some(next.report);
            // Whoever waits for a stray to be gone must hear of it.
            let over = actor.finished && actor.dismissed && actor.confirmed == actor.report;
            if news {
                self.say(m, task);
            }
            if over {
                if let Some(agent) = self.machines[m].agent.as_mut() {
                    agent.actors.remove(task);
                }
                return;
            }
            let mut failed = false;
            for step in next.steps {
                failed |= !self.perform(m, task, &step);
            }
            if !failed {
                return;
            }
        }
    }

    /// False when it could not even be asked for.
    fn perform(&mut self, m: usize, task: &TaskId, step: &Step) -> bool {
        self.note(|| format!("  {m} {} {step:?}", short(task)));
        if self.goes_wrong(FAILED_PERMILLE / 2) {
            let (step, reason, at) = (step.clone(), "refused".to_owned(), self.now);
            let event = Event::StepFailed { step, reason, at };
            if let Some(actor) =
                self.machines[m].agent.as_mut().and_then(|a| a.actors.get_mut(task))
            {
                actor.observed.observe(&event);
            }
            return false;
        }
        let life = self.machines[m].lives;
        let (machine, task) = (m, task.clone());
        match step {
            Step::CreateSandbox => self.create_sandbox(m, &task),
            Step::PullImage { container } => {
                let (container, fails) = (container.clone(), self.goes_wrong(FAILED_PERMILLE));
                let ms = self.random.ms(0, 4000);
                self.after_ms(ms, Happening::Pulled { machine, life, task, container, fails });
            }
            Step::StartContainer { container, attempt } => {
                self.launch(m, &task, container, *attempt);
            }
            Step::StopContainer { container } => {
                let process = self.machines[m].kernel.running(&task, container);
                let obeys = process.filter(|p| p.program != Program::Stubborn).map(|p| p.attempt);
                if let Some(attempt) = obeys {
                    let change = Change::Exits { container: container.clone(), attempt, code: 143 };
                    let ms = self.random.ms(10, 3000);
                    self.after_ms(ms, Happening::Kernel { machine, task, change });
                }
            }
            Step::KillContainer { container } => {
                let defies = self.goes_wrong(FAILED_PERMILLE);
                let process = self.machines[m].kernel.running(&task, container);
                let killed = process.filter(|_| !defies).map(|p| p.attempt);
                if let Some(attempt) = killed {
                    let change = Change::Exits { container: container.clone(), attempt, code: 137 };
                    self.after_ms(5, Happening::Kernel { machine, task, change });
                }
            }
            Step::DrainLog { container } => {
                let container = container.clone();
                let ms = self.random.ms(1, 500);
                self.after_ms(ms, Happening::Drained { machine, life, task, container });
            }
            Step::RemoveSandbox => {
                let ms = self.random.ms(5, 300);
                self.after_ms(ms, Happening::Removed { machine, life, task });
            }
        }
        true
    }

    fn create_sandbox(&mut self, m: usize, task: &TaskId) {
        let Some(agent) = &self.machines[m].agent else { return };
        let assignment = Arc::clone(&agent.actors[task].assignment);
        let address = assignment.interface.as_ref().map(|i| i.private_ip);
        let claimed = self.machines[m].kernel.create(&assignment);
        self.ledger.hold(claimed, || format!("the sandbox of {task} is made twice"));
        let others = self.machines.iter().flat_map(|other| &other.kernel.sandboxes);
        let others = others.filter(|(id, sandbox)| *id != task && !sandbox.lost);
        if let Some(address) = address {
            self.ledger.answers(address, others.filter_map(|(_, sandbox)| sandbox.address()));
        }
        let here = self.machines[m].kernel.sandboxes.values().filter(|sandbox| !sandbox.lost);
        let used: u32 = here.map(|sandbox| sandbox.note.template.memory_mib).sum();
        self.ledger.hold(used <= crate::world::MACHINE_MEMORY_MIB, || {
            format!("machine {m} really holds {used} MiB")
        });
        let change = if self.goes_wrong(FAILED_PERMILLE) { Change::Fails } else { Change::Ready };
        let ms = self.random.ms(1, 200);
        self.after_ms(ms, Happening::Kernel { machine: m, task: task.clone(), change });
    }

    fn launch(&mut self, m: usize, task: &TaskId, container: &str, attempt: u32) {
        let Some(program) = self.machines[m].kernel.launch(task, container, attempt) else {
            return;
        };
        if let Some(known) = self.control.tasks.get(task) {
            let template = &self.control.templates[task];
            let container_template = template.containers.iter().find(|c| c.name == container);
            let restarts = container_template.is_some_and(|c| c.restart_policy.is_some());
            self.ledger.launched(m, known, container, attempt, restarts);
        }
        let fails = program == Program::Missing || self.goes_wrong(FAILED_PERMILLE / 2);
        let container = container.to_owned();
        let change = match fails {
            true => Change::StartFails { container, attempt },
            false => Change::Starts { container, attempt },
        };
        // Not before the sandbox: launches wait for it.
        let ms = self.random.ms(200, 500);
        self.after_ms(ms, Happening::Kernel { machine: m, task: task.clone(), change });
    }

    /// What follows by itself from a program that has started.
    pub fn let_run(&mut self, m: usize, task: &TaskId, container: &str, attempt: u32) {
        let Some(process) = self.machines[m].kernel.running(task, container) else { return };
        let program = process.program;
        let (machine, task) = (m, task.clone());
        let template = self.machines[m].kernel.sandboxes[&task].note.template.clone();
        let container_template = template.containers.iter().find(|c| c.name == container);
        let container = container.to_owned();
        if container_template.is_some_and(|c| c.health_check.is_some()) {
            let change = Change::Health { container: container.clone(), attempt };
            let ms = self.random.ms(500, 8000);
            self.after_ms(ms, Happening::Kernel { machine, task: task.clone(), change });
        }
        if let Program::Exits { code, after_ms } = program {
            let change = Change::Exits { container, attempt, code };
            self.after_ms(after_ms, Happening::Kernel { machine, task, change });
        }
    }
}

/// Enough of an id to tell tasks of one run apart.
pub fn short(task: &TaskId) -> &str {
    &task.as_str()[28..]
}
