//! All orders of events over small graphs. A world with a kernel of its own plays every move it
//! could make in every state it can reach (one to three containers, every condition, every choice
//! of who is essential, exits with and without success, failing starts, a user who stops, a
//! supervisor that dies, time that runs out), and what `step` decides is held against rules that
//! are written without looking at its code.

use crate::task::*;
use model::Timestamp;
use model::container::{ContainerPhase, Health};
use model::facts::{ContainersFact, Desired, InterfaceFact};
use model::session::{Assignment, TaskReport};
use model::task_definition::{ContainerTemplate, DependencyCondition};
use plan::lifecycle::*;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What the kernel knows of a container.
#[derive(Clone, Debug, Default)]
struct Process {
    attempt: u32,
    launching: bool,
    alive: bool,
    ever_started: bool,
    healthy: bool,
    exit: Option<i32>,
    start_failed: bool,
    stop_sent: bool,
    kill_sent: bool,
    drain_asked: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
enum Kernel {
    #[default]
    Nothing,
    Making,
    Ready,
    Removing,
    Gone,
}

#[derive(Clone)]
struct State {
    observed: Observed,
    desired: Desired,
    now: Timestamp,
    wake_at: Option<Timestamp>,
    kernel: Kernel,
    pulling: Vec<bool>,
    processes: Vec<Process>,
    report: TaskReport,
    finished: bool,
    /// Something happened after which nothing may start.
    over: bool,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Move {
    Pulled(usize),
    PullFails(usize),
    SandboxReady,
    SandboxFails,
    SupervisorDies,
    Starts(usize),
    StartFails(usize),
    TurnsHealthy(usize),
    Exits(usize, i32),
    Drained(usize),
    Removed,
    UserStops,
    TimePasses,
}

/// What the world may do beside what everybody's world does.
#[derive(Clone, Copy, Default)]
struct Freedom {
    pulls_fail: bool,
    sandbox_fails: bool,
    supervisor_dies: bool,
    starts_fail: bool,
    user_stops: bool,
    /// Sandbox and images are there from the start: less to interleave with larger graphs.
    prepared: bool,
}

struct Explorer {
    assignment: Assignment,
    freedom: Freedom,
    seen: BTreeSet<u64>,
    moves: usize,
}

impl Explorer {
    fn new(containers: Vec<ContainerTemplate>, freedom: Freedom) -> Self {
        let assignment = assignment(containers);
        plan::check_dependencies(&assignment.template).expect("a graph that registers");
        Self { assignment, freedom, seen: BTreeSet::new(), moves: 0 }
    }

    fn templates(&self) -> &[ContainerTemplate] {
        &self.assignment.template.containers
    }

    fn index(&self, name: &str) -> usize {
        self.templates().iter().position(|c| c.name == name).expect("a container of the task")
    }

    fn run(&mut self) {
        let first = self.first();
        let mut stack = vec![first];
        while let Some(state) = stack.pop() {
            for chosen in self.moves_of(&state) {
                let mut after = state.clone();
                self.play(&mut after, chosen);
                self.moves += 1;
                self.check(&state, &after, chosen);
                if self.seen.insert(fingerprint(&after)) {
                    self.check_end_comes(&after);
                    stack.push(after);
                }
            }
        }
    }

    fn first(&self) -> State {
        let mut observed = Observed::new(&self.assignment.template);
        let count = self.templates().len();
        let mut state = State {
            desired: Desired::Running,
            now: BEGIN,
            wake_at: None,
            kernel: Kernel::Nothing,
            pulling: vec![false; count],
            processes: vec![Process::default(); count],
            report: step(&self.assignment, &mut observed.clone(), BEGIN).report,
            finished: false,
            over: false,
            observed: observed.clone(),
        };
        if self.freedom.prepared {
            for container in self.templates() {
                let (container, at) = (container.name.clone(), BEGIN);
                observed.observe(&Event::ImagePulled { container, digest: None, at });
            }
            observed.observe(&Event::SandboxReady { at: BEGIN });
            state.kernel = Kernel::Ready;
        }
        state.observed = observed;
        self.decide(&mut state);
        state
    }

    fn decide(&self, state: &mut State) {
        let mut assignment = self.assignment.clone();
        assignment.desired = state.desired;
        let next = step(&assignment, &mut state.observed, state.now);
        for step in &next.steps {
            self.perform(state, step);
        }
        let again = step(&assignment, &mut state.observed.clone(), state.now);
        assert_eq!(again.steps, [], "what was asked for is not asked for again");
        assert_eq!(again.report, next.report);
        (state.wake_at, state.report, state.finished) = (next.wake_at, next.report, next.finished);
    }

    /// The kernel's side of a step, and what must hold when it is asked for.
    fn perform(&self, state: &mut State, step: &Step) {
        let at = |name: &String| self.index(name);
        match step {
            Step::CreateSandbox => {
                assert_eq!(state.kernel, Kernel::Nothing, "a sandbox is made once");
                state.kernel = Kernel::Making;
            }
            Step::PullImage { container } => state.pulling[at(container)] = true,
            Step::StartContainer { container, attempt } => {
                self.check_start(state, at(container), *attempt);
                let process = &mut state.processes[at(container)];
                let ever_started = process.ever_started;
                let attempt = *attempt;
                *process = Process { attempt, launching: true, ever_started, ..Process::default() };
            }
            Step::StopContainer { container } => {
                self.check_stop(state, at(container));
                state.processes[at(container)].stop_sent = true;
            }
            Step::KillContainer { container } => {
                let process = &mut state.processes[at(container)];
                assert!(process.stop_sent && !process.kill_sent, "asked before it is made to");
                process.kill_sent = true;
            }
            Step::DrainLog { container } => {
                let process = &mut state.processes[at(container)];
                assert!(!process.alive && !process.launching, "logs are whole before they leave");
                process.drain_asked = true;
            }
            Step::RemoveSandbox => {
                let lives = |p: &Process| p.alive || p.launching;
                let patient = |p: &Process| p.kill_sent || p.launching || p.exit.is_some();
                let any = state.processes.iter().any(lives);
                let defied = state.processes.iter().any(|p| lives(p) && patient(p));
                assert!(!any || defied, "what could still end in peace is not removed");
                state.kernel = Kernel::Removing;
            }
        }
    }

    fn check_start(&self, state: &State, n: usize, attempt: u32) {
        let process = &state.processes[n];
        assert!(!state.over, "nothing starts once the task is to end");
        assert!(!process.alive && !process.launching, "a container runs once");
        assert_eq!(attempt, process.attempt + 1, "attempts are counted");
        let policy = self.templates()[n].restart_policy.as_ref();
        assert!(attempt == 1 || policy.is_some_and(|p| p.enabled), "restarted without a policy");
        assert!(matches!(state.kernel, Kernel::Making | Kernel::Ready));
        assert!(state.pulling.iter().all(|p| !p), "every image is there first");
        if attempt > 1 {
            return;
        }
        for dependency in &self.templates()[n].depends_on {
            let on = &state.processes[self.index(&dependency.container)];
            let met = match dependency.condition {
                DependencyCondition::Start => on.ever_started,
                DependencyCondition::Complete => on.exit.is_some(),
                DependencyCondition::Success => on.exit == Some(0),
                DependencyCondition::Healthy => on.alive && on.healthy,
            };
            assert!(met, "started before its dependency: {dependency:?}");
        }
    }

    fn check_stop(&self, state: &State, n: usize) {
        assert!(state.over, "nothing is stopped before the task is to end");
        assert!(state.processes[n].alive && !state.processes[n].stop_sent, "stopped once, alive");
        for (dependent, process) in self.templates().iter().zip(&state.processes) {
            let needs = dependent.depends_on.iter().any(|d| self.index(&d.container) == n);
            assert!(!(needs && (process.alive || process.launching)), "still needed");
        }
    }

    fn moves_of(&self, state: &State) -> Vec<Move> {
        let mut moves = Vec::new();
        if state.finished {
            return moves;
        }
        let freedom = self.freedom;
        if state.kernel == Kernel::Making {
            moves.push(Move::SandboxReady);
            moves.extend(freedom.sandbox_fails.then_some(Move::SandboxFails));
        }
        if state.kernel == Kernel::Ready && freedom.supervisor_dies {
            moves.push(Move::SupervisorDies);
        }
        if state.kernel == Kernel::Removing {
            moves.push(Move::Removed);
        }
        for (n, pulling) in state.pulling.iter().enumerate() {
            moves.extend(pulling.then_some(Move::Pulled(n)));
            moves.extend((*pulling && freedom.pulls_fail).then_some(Move::PullFails(n)));
        }
        for (n, process) in state.processes.iter().enumerate() {
            self.moves_of_process(state, n, process, &mut moves);
        }
        if freedom.user_stops && state.desired == Desired::Running {
            moves.push(Move::UserStops);
        }
        // A removal is asked for again for ever; `check_end_comes` and a story look at that.
        let waits = state.kernel != Kernel::Removing;
        moves.extend(state.wake_at.filter(|_| waits).map(|_| Move::TimePasses));
        moves
    }

    fn moves_of_process(&self, state: &State, n: usize, process: &Process, moves: &mut Vec<Move>) {
        if process.launching && state.kernel == Kernel::Ready {
            moves.push(Move::Starts(n));
            moves.extend(self.freedom.starts_fail.then_some(Move::StartFails(n)));
        }
        if process.alive {
            if process.kill_sent {
                moves.push(Move::Exits(n, 137));
            } else if process.stop_sent {
                moves.push(Move::Exits(n, 143));
            } else if process.attempt < 3 {
                moves.extend([Move::Exits(n, 0), Move::Exits(n, 1)]);
            }
            let checked = self.templates()[n].health_check.is_some() && !process.healthy;
            moves.extend((checked && !state.over).then_some(Move::TurnsHealthy(n)));
        }
        if process.drain_asked && !state.observed.containers[n].drained {
            moves.push(Move::Drained(n));
        }
    }

    fn play(&self, state: &mut State, chosen: Move) {
        let event = self.happen(state, chosen);
        if let Some(event) = &event {
            state.observed.observe(event);
            let before = state.observed.clone();
            state.observed.observe(event);
            assert_eq!(state.observed, before, "told twice is told once: {event:?}");
        }
        state.over |= self.ends_the_task(state, chosen);
        self.decide(state);
        let ends = state.observed.ending.is_some();
        assert_eq!(ends, state.over, "{chosen:?} {:?}", state.observed);
    }

    /// The kernel's side of a move, and what the agent is told of it.
    fn happen(&self, state: &mut State, chosen: Move) -> Option<Event> {
        let at = state.now;
        let name = |n: usize| self.templates()[n].name.clone();
        let attempt = |state: &State, n: usize| state.processes[n].attempt;
        match chosen {
            Move::Pulled(n) => {
                state.pulling[n] = false;
                Some(Event::ImagePulled { container: name(n), digest: None, at })
            }
            Move::PullFails(n) => {
                state.pulling[n] = false;
                Some(Event::PullFailed { container: name(n), reason: "no".to_owned(), at })
            }
            Move::SandboxReady => {
                state.kernel = Kernel::Ready;
                Some(Event::SandboxReady { at })
            }
            Move::SandboxFails => {
                end_all(state);
                Some(Event::SandboxFailed { reason: "no".to_owned(), at })
            }
            Move::SupervisorDies => {
                end_all(state);
                Some(Event::SandboxLost { at })
            }
            Move::Starts(n) => {
                let process = &mut state.processes[n];
                (process.launching, process.alive, process.ever_started) = (false, true, true);
                let attempt = attempt(state, n);
                Some(Event::ContainerStarted { container: name(n), attempt, at })
            }
            Move::StartFails(n) => {
                let process = &mut state.processes[n];
                (process.launching, process.start_failed) = (false, true);
                let (reason, attempt) = ("no".to_owned(), attempt(state, n));
                Some(Event::StartFailed { container: name(n), attempt, reason, code: 127, at })
            }
            Move::TurnsHealthy(n) => {
                state.processes[n].healthy = true;
                let (attempt, health) = (attempt(state, n), Health::Healthy);
                Some(Event::Health { container: name(n), attempt, health, at })
            }
            Move::Exits(n, code) => {
                let process = &mut state.processes[n];
                (process.alive, process.exit) = (false, Some(code));
                let exit = Exit { code, signal: None, out_of_memory: false, at };
                let attempt = attempt(state, n);
                Some(Event::ContainerExited { container: name(n), attempt, exit })
            }
            Move::Drained(n) => Some(Event::LogDrained { container: name(n) }),
            Move::Removed => {
                end_all(state);
                state.kernel = Kernel::Gone;
                Some(Event::SandboxRemoved { at })
            }
            Move::UserStops => {
                state.desired = Desired::Stopped;
                None
            }
            Move::TimePasses => {
                state.now = state.wake_at.expect("a time to wait for");
                None
            }
        }
    }

    /// In ECS's words: an essential container that ends, a user who stops, a start that fails.
    fn ends_the_task(&self, state: &State, chosen: Move) -> bool {
        match chosen {
            Move::Exits(n, _) | Move::StartFails(n) => {
                let gone = |n: usize| self.is_gone(n, &state.processes[n]);
                self.templates()[n].essential && gone(n)
                    || (0..state.processes.len()).all(gone)
                    || self.bars_somebody(state, n)
            }
            Move::UserStops | Move::SupervisorDies | Move::SandboxFails | Move::PullFails(_) => {
                true
            }
            // Time may have run out for something; the decision itself says so.
            _ => {
                state.over
                    || state.observed.ending.is_some()
                    || chosen == Move::TimePasses && {
                        let mut observed = state.observed.clone();
                        step(&self.assignment, &mut observed, state.now);
                        observed.ending.is_some()
                    }
            }
        }
    }

    /// Whether the end of this container leaves another one waiting for what can't come any more.
    fn bars_somebody(&self, state: &State, n: usize) -> bool {
        let process = &state.processes[n];
        let pairs = self.templates().iter().zip(&state.processes);
        let waiting = pairs.filter(|(_, p)| p.attempt == 0).flat_map(|(c, _)| &c.depends_on);
        let on_this = waiting.filter(|d| self.index(&d.container) == n);
        self.is_gone(n, process)
            && on_this.into_iter().any(|dependency| match dependency.condition {
                DependencyCondition::Start => !process.ever_started,
                DependencyCondition::Complete => process.exit.is_none(),
                DependencyCondition::Success => process.exit != Some(0),
                DependencyCondition::Healthy => true,
            })
    }

    /// Restarts are tried with a period of zero: only the exit code decides.
    fn is_gone(&self, n: usize, process: &Process) -> bool {
        let policy = self.templates()[n].restart_policy.as_ref();
        let again = |code: &i32| policy.is_some_and(|p| !p.ignored_exit_codes.contains(code));
        process.start_failed || process.exit.as_ref().is_some_and(|code| !again(code))
    }

    fn check(&self, before: &State, after: &State, chosen: Move) {
        let told = || format!("{chosen:?}\n{:?}\n{:?}", before.report, after.report);
        let (was, is) = (&before.report, &after.report);
        assert!(was.containers_fact <= is.containers_fact, "{}", told());
        assert!(was.interface <= is.interface, "{}", told());
        for (was, is) in was.containers.iter().zip(&is.containers) {
            assert!(was.phase <= is.phase, "{}", told());
            assert!(was.exit_code.is_none() || was.exit_code == is.exit_code, "{}", told());
            assert!(was.reason.is_none() || was.reason == is.reason, "{}", told());
        }
        let (was_at, is_at) = (&was.times, &is.times);
        for (was, is) in [
            (was_at.pull_started_at, is_at.pull_started_at),
            (was_at.connectivity_at, is_at.connectivity_at),
            (was_at.started_at, is_at.started_at),
            (was_at.execution_stopped_at, is_at.execution_stopped_at),
        ] {
            assert!(was.is_none() || was == is, "{}", told());
        }
        assert!(was.stop.is_none() || was.stop == is.stop, "{}", told());
        self.check_truth(after, &told);
    }

    /// What is reported is what the kernel would say.
    fn check_truth(&self, state: &State, told: &dyn Fn() -> String) {
        let report = &state.report;
        let alive = state.processes.iter().any(|p| p.alive);
        if report.containers_fact == ContainersFact::Stopped {
            assert!(!alive, "{}", told());
            assert!(report.containers.iter().all(|c| c.phase == ContainerPhase::Stopped));
        }
        assert_eq!(state.observed.ending.is_some(), state.over, "{}", told());
        let stops = report.containers_fact >= ContainersFact::Stopping;
        assert_eq!(stops, state.over, "{}", told());
        if report.containers_fact == ContainersFact::Running {
            let started = state.processes.iter().all(|p| p.ever_started || p.start_failed);
            assert!(started, "{}", told());
        }
        if state.over && state.desired == Desired::Running {
            assert!(report.stop.is_some(), "who ends by himself says why: {}", told());
        }
        if state.finished {
            assert_eq!(report.containers_fact, ContainersFact::Stopped, "{}", told());
            assert_eq!(report.interface, InterfaceFact::Released, "{}", told());
            assert!(matches!(state.kernel, Kernel::Gone | Kernel::Nothing), "{}", told());
        }
        for (seen, process) in report.containers.iter().zip(&state.processes) {
            if let (Some(exit), true) = (process.exit, state.over) {
                assert_eq!(seen.exit_code, Some(exit), "{}", told());
            }
        }
    }

    /// In a world that no longer answers, but for removing what it is told to remove, time alone
    /// ends a task that isn't RUNNING.
    fn check_end_comes(&self, from: &State) {
        if from.report.containers_fact == ContainersFact::Running {
            return;
        }
        let mut state = from.clone();
        for _ in 0..30 {
            if state.finished {
                return;
            }
            let chosen = match state.kernel {
                Kernel::Removing => Move::Removed,
                _ => Move::TimePasses,
            };
            assert!(
                chosen == Move::Removed || state.wake_at.is_some(),
                "no deadline: {:?}",
                from.observed
            );
            self.play(&mut state, chosen);
            if state.report.containers_fact == ContainersFact::Running {
                return;
            }
        }
        panic!("the end doesn't come: {:?}", from.observed);
    }
}

fn end_all(state: &mut State) {
    for process in &mut state.processes {
        if process.alive {
            process.exit = Some(137);
        }
        (process.alive, process.launching) = (false, false);
    }
    if state.kernel != Kernel::Removing {
        // Its remains are still to be removed.
        state.kernel = Kernel::Ready;
    }
}

fn fingerprint(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    let State { observed, desired, now, kernel, pulling, processes, .. } = state;
    format!("{observed:?}{desired:?}{now:?}{kernel:?}{pulling:?}{processes:?}").hash(&mut hasher);
    hasher.finish()
}

const CONDITIONS: [Option<DependencyCondition>; 5] = [
    None,
    Some(DependencyCondition::Start),
    Some(DependencyCondition::Complete),
    Some(DependencyCondition::Success),
    Some(DependencyCondition::Healthy),
];

type Edge = (usize, usize, DependencyCondition);

fn graph(count: usize, essential: usize, edges: &[Edge]) -> Option<Vec<ContainerTemplate>> {
    let names = ["a", "b", "c"];
    let mut containers: Vec<ContainerTemplate> =
        (0..count).map(|n| container(names[n], essential & (1 << n) != 0)).collect();
    for (from, on, condition) in edges {
        let end = [DependencyCondition::Complete, DependencyCondition::Success];
        if containers[*on].essential && end.contains(condition) {
            return None;
        }
        if *condition == DependencyCondition::Healthy {
            containers[*on] = checked(containers[*on].clone());
        }
        containers[*on].start_timeout_seconds = Some(10);
        containers[*from] = needs(containers[*from].clone(), names[*on], *condition);
    }
    Some(containers)
}

fn explore(containers: Vec<ContainerTemplate>, freedom: Freedom) -> (usize, usize) {
    let mut explorer = Explorer::new(containers, freedom);
    explorer.run();
    (explorer.seen.len(), explorer.moves)
}

const ALL: Freedom = Freedom {
    pulls_fail: true,
    sandbox_fails: true,
    supervisor_dies: true,
    starts_fail: true,
    user_stops: true,
    prepared: false,
};

#[test]
fn one_container_in_every_order() {
    let (states, _) = explore(vec![container("a", true)], ALL);
    assert!(states > 40, "{states}");
    let (states, _) = explore(vec![logged(container("a", true))], ALL);
    assert!(states > 40, "{states}");
    let (states, _) = explore(vec![restarted(container("a", true), 0, &[1])], ALL);
    assert!(states > 100, "{states}");
}

#[test]
fn two_containers_in_every_order() {
    let mut total = (0, 0, 0);
    for condition in CONDITIONS {
        for essential in 1..4 {
            let edges: Vec<Edge> = condition.map(|c| (1, 0, c)).into_iter().collect();
            let Some(containers) = graph(2, essential, &edges) else { continue };
            let (states, moves) = explore(containers, ALL);
            total = (total.0 + 1, total.1 + states, total.2 + moves);
        }
    }
    println!("graphs, states, moves: {total:?}");
    assert_eq!(total.0, 11);
}

#[test]
fn two_containers_with_restarts_and_logs_in_every_order() {
    for condition in [DependencyCondition::Start, DependencyCondition::Success] {
        for first_restarts in [true, false] {
            let essential = if condition == DependencyCondition::Start { 3 } else { 2 };
            let containers = graph(2, essential, &[(1, 0, condition)]).expect("registers");
            let [first, second] = containers.try_into().expect("two");
            let [first, second] = match first_restarts {
                true => [restarted(first, 0, &[0]), second],
                false => [first, restarted(second, 0, &[1])],
            };
            let (states, _) = explore(vec![logged(first), logged(second)], ALL);
            assert!(states > 1000, "{states}");
        }
    }
}

#[test]
fn three_containers_in_every_order_of_starting_and_ending() {
    let freedom = Freedom { prepared: true, user_stops: true, ..Freedom::default() };
    let mut total = (0, 0, 0);
    for (first, second, third) in triples() {
        let edges = [(1, 0, first), (2, 1, second), (2, 0, third)];
        let edges: Vec<Edge> =
            edges.into_iter().filter_map(|(from, on, c)| Some((from, on, c?))).collect();
        for essential in 1..8 {
            let Some(containers) = graph(3, essential, &edges) else { continue };
            let (states, moves) = explore(containers, freedom);
            total = (total.0 + 1, total.1 + states, total.2 + moves);
        }
    }
    println!("graphs, states, moves: {total:?}");
    assert!(total.0 > 200, "{total:?}");
}

type Triple =
    (Option<DependencyCondition>, Option<DependencyCondition>, Option<DependencyCondition>);

/// The third edge closes a triangle; the conditions that differ most are enough for it.
fn triples() -> impl Iterator<Item = Triple> {
    let third = [None, Some(DependencyCondition::Success), Some(DependencyCondition::Healthy)];
    CONDITIONS.into_iter().flat_map(move |a| {
        CONDITIONS.into_iter().flat_map(move |b| third.into_iter().map(move |c| (a, b, c)))
    })
}
