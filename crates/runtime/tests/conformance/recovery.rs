//! Ends of agents, zygotes and supervisors, and what must be true after them.

use crate::bench::{Bench, Program, begin, block_on, log, task};
use crate::embedded::{Machine, networked};
use runtime::{
    EventKind, HealthSpec, ObservedPhase, ObservedSandbox, ObservedTask, Recovered, RecoveredState,
    Runtime, SandboxSpec, Trace,
};
use std::time::{Duration, Instant};

/// Supervisors that a zygote keeps ready.
const SPARES: usize = 4;
const SPARES_PATIENCE: Duration = Duration::from_secs(10);

fn kill(pid: u32) {
    // SAFETY: plain numbers; the pid is of a process this test made.
    #[allow(unsafe_code)]
    let result = unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
    assert_eq!(result, 0, "process {pid} was there");
}

fn kill_if_there(pid: u32) {
    // SAFETY: plain numbers; the pid is of a process this test made, a moment ago at most.
    #[allow(unsafe_code)]
    unsafe {
        libc::kill(pid as libc::pid_t, libc::SIGKILL)
    };
}

fn live(recovered: &Recovered) -> &ObservedTask {
    match &recovered.state {
        RecoveredState::Live(observed) => observed,
        RecoveredState::Lost => panic!("{} is lost", recovered.task),
    }
}

#[test]
fn a_new_agent_finds_running_tasks_and_what_happened_meanwhile() {
    block_on(async {
        let mut machine = Machine::start();
        let vpc = machine.make_vpc("vpc-a", "10.98.0.0/16").await;
        let running = task(1);
        let mut spec = networked(&vpc, &running, 10);
        spec.note = "remember this".to_owned();
        machine.runtime().create_sandbox(spec.clone()).await.expect("created");
        let launch = machine.launch("main", Program::Run);
        machine.runtime().start_container(&running, launch.clone()).await.expect("started");
        let (_, pid) = machine.events().started(&running, "main").await;
        let ending = begin(
            &machine,
            2,
            machine.script("main", "echo before; sleep 0.3; echo after; exit 5"),
        )
        .await;
        machine.events().started(&ending, "main").await;
        machine.restart_agent();
        let mut recovered = machine.runtime().recover().await.expect("recovered");
        recovered.sort_by(|a, b| a.task.cmp(&b.task));
        assert_eq!(recovered.len(), 2);
        assert_eq!(recovered[0].spec.as_ref(), Some(&spec));
        let observed = live(&recovered[0]);
        assert!(matches!(observed.sandbox, ObservedSandbox::Ready { .. }));
        assert_eq!(observed.containers[0].phase, ObservedPhase::Running { pid });
        // Asked again, as an agent may that has not read its own notes: nothing runs twice.
        machine.runtime().create_sandbox(spec).await.expect("known");
        machine.runtime().start_container(&running, launch).await.expect("known");
        let exit = match &live(&recovered[1]).containers[0].phase {
            ObservedPhase::Exited(exit) => exit.clone(),
            _ => machine.events().exited(&ending, "main").await,
        };
        assert_eq!(exit.code, 5);
        assert_eq!(log(&machine, &ending, "main").await, "before\nafter\n");
        machine.runtime().signal_container(&running, "main", libc::SIGKILL).await.expect("sent");
        assert_eq!(machine.events().exited(&running, "main").await.code, 137);
        let again = machine.events().left(&running).await;
        assert!(
            !again.iter().any(|e| matches!(e, EventKind::ContainerStarted { .. })),
            "{again:?}"
        );
        // The VPC is still known, for tasks to come.
        let third = task(3);
        machine.runtime().create_sandbox(networked(&vpc, &third, 11)).await.expect("created");
        machine.events().ready(&third).await;
        machine.finish().await;
    });
}

#[test]
fn health_goes_on_while_there_is_no_agent() {
    block_on(async {
        let mut machine = Machine::start();
        let mut launch = machine.launch("main", Program::Run);
        launch.health = Some(HealthSpec {
            argv: vec!["/bin/true".into()],
            interval_ms: 100,
            timeout_ms: 5_000,
            retries: 1,
            start_period_ms: 0,
        });
        let task = begin(&machine, 1, launch).await;
        machine.events().started(&task, "main").await;
        machine.restart_agent();
        let recovered = machine.runtime().recover().await.expect("recovered");
        let known = live(&recovered[0]).containers[0].health.clone().expect("it is checked");
        if known.status != runtime::HealthStatus::Healthy {
            let healthy = |kind: &EventKind| match kind {
                EventKind::Health { health, .. } => {
                    (health.status == runtime::HealthStatus::Healthy).then_some(())
                }
                _ => None,
            };
            machine.events().wait(&task, healthy).await;
        }
        machine.finish().await;
    });
}

#[test]
fn a_killed_supervisor_takes_its_containers_along_and_nothing_is_started_again() {
    block_on(async {
        let mut machine = Machine::start();
        let task = begin(&machine, 1, machine.launch("main", Program::Stubborn)).await;
        let (_, pid) = machine.events().started(&task, "main").await;
        let supervisor = machine.census().into_iter().find_map(|trace| match trace {
            Trace::Process { pid, name } if name.starts_with("ng-") => Some(pid),
            _ => None,
        });
        kill(supervisor.expect("a supervisor"));
        let lost = |kind: &EventKind| matches!(kind, EventKind::SandboxLost { .. }).then_some(());
        machine.events().wait(&task, lost).await;
        let gone = |trace: &Trace| !matches!(trace, Trace::Process { pid: p, .. } if *p == pid);
        assert!(machine.census().iter().all(gone), "the container ended with it");
        let started =
            machine.runtime().start_container(&task, machine.launch("b", Program::Run)).await;
        assert!(matches!(started, Err(runtime::Failure::SupervisorGone(_))), "{started:?}");
        // Another agent finds it lost, and asking for it again doesn't run it again.
        machine.restart_agent();
        let recovered = machine.runtime().recover().await.expect("recovered");
        assert_eq!(recovered.len(), 1);
        assert_eq!(recovered[0].state, RecoveredState::Lost);
        assert!(recovered[0].spec.is_some());
        machine.runtime().create_sandbox(SandboxSpec::new(task.clone())).await.expect("asked");
        machine.events().wait(&task, lost).await;
        machine.runtime().remove(&task).await.expect("removed");
        assert!(machine.runtime().recover().await.expect("recovered").is_empty());
        machine.finish().await;
    });
}

#[test]
fn a_killed_zygote_is_replaced_and_its_tasks_live_on() {
    block_on(async {
        let machine = Machine::start();
        let first = begin(&machine, 1, machine.launch("main", Program::Run)).await;
        machine.events().started(&first, "main").await;
        let zygote = machine.runtime().zygote_pid().expect("a zygote");
        kill(zygote);
        // The request may still reach the socket of a dying zygote; then the sandbox fails,
        // untried.
        let mut n = 2;
        loop {
            let next = begin(&machine, n, machine.launch("main", Program::Exit(4))).await;
            let ended = |kind: &EventKind| match kind {
                EventKind::ContainerExited { exit, .. } => Some(Some(exit.code)),
                EventKind::SandboxFailed { .. } => Some(None),
                _ => None,
            };
            match machine.events().wait(&next, ended).await {
                Some(code) => break assert_eq!(code, 4),
                None => n += 1,
            }
            assert!(n < 5, "a new zygote serves");
        }
        assert_ne!(machine.runtime().zygote_pid(), Some(zygote));
        machine.runtime().signal_container(&first, "main", libc::SIGKILL).await.expect("sent");
        machine.events().exited(&first, "main").await;
        machine.finish().await;
    });
}

/// Pids of supervisors that wait for a task, once there are as many as are kept.
/// In version 2 of control groups a container is born in its own, so that no child of a spare waits
/// with it.
fn on_version_2() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

async fn spares(machine: &Machine) -> Vec<u32> {
    let give_up = Instant::now() + SPARES_PATIENCE;
    loop {
        let spare = |trace: Trace| match trace {
            Trace::Process { pid, name } if name == "neargate-spare" => Some(pid),
            _ => None,
        };
        let mut found: Vec<u32> = machine.census().into_iter().filter_map(spare).collect();
        found.dedup();
        if found.len() >= SPARES * if on_version_2() { 1 } else { 2 } {
            return found;
        }
        assert!(Instant::now() < give_up, "only {found:?} wait");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until none of these processes is there.
async fn until_gone(machine: &Machine, pids: &[u32]) {
    let give_up = Instant::now() + SPARES_PATIENCE;
    let pid = |trace: &Trace| match trace {
        Trace::Process { pid, .. } => Some(*pid),
        _ => None,
    };
    while machine.census().iter().filter_map(pid).any(|pid| pids.contains(&pid)) {
        assert!(Instant::now() < give_up, "spares outlive what killed them");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn tasks_are_taken_by_supervisors_made_beforehand_and_by_others_when_those_are_killed() {
    block_on(async {
        let machine = Machine::start();
        let ready = spares(&machine).await;
        let task = begin(&machine, 1, machine.launch("main", Program::Run)).await;
        let (_, pid) = machine.events().started(&task, "main").await;
        let beforehand = on_version_2() || ready.contains(&pid);
        assert!(beforehand, "{pid} of {ready:?} became the container's first process");
        // They are replaced; with all of them killed at once, tasks run all the same.
        let killed = spares(&machine).await;
        for spare in &killed {
            // One may end by itself, as its parent was killed.
            kill_if_there(*spare);
        }
        // Whoever is given a task while it dies takes the task along, as any supervisor would.
        until_gone(&machine, &killed).await;
        for n in 2..=9 {
            let task = begin(&machine, n, machine.launch("main", Program::Exit(3))).await;
            assert_eq!(machine.events().exited(&task, "main").await.code, 3);
        }
        // Nobody is left who waits when there is no zygote to wait for.
        let waiting = spares(&machine).await;
        kill(machine.runtime().zygote_pid().expect("a zygote"));
        until_gone(&machine, &waiting).await;
        machine.finish().await;
    });
}

#[test]
fn tasks_that_start_while_everything_is_killed_are_never_run_twice_and_leave_nothing() {
    block_on(async {
        let mut machine = Machine::start();
        let shared = machine.guard.folder.join("layer/tmp");
        assert!(shared.exists());
        for n in 1..=30 {
            let task = begin(&machine, n, machine.launch("main", Program::Print("ran", 0))).await;
            match n % 3 {
                0 => machine.restart_agent(),
                1 => kill(machine.runtime().zygote_pid().expect("a zygote")),
                _ => assert_eq!(machine.events().exited(&task, "main").await.code, 0),
            }
            if n % 3 == 0 {
                machine.runtime().recover().await.expect("recovered");
            }
            let said = log(&machine, &task, "main").await;
            assert!(said.is_empty() || said == "ran\n", "{said}");
        }
        machine.runtime().sweep(&[]).await.expect("swept");
        assert!(machine.runtime().recover().await.expect("recovered").is_empty());
        machine.finish().await;
    });
}

#[test]
fn an_agent_that_does_not_read_keeps_nothing_from_happening() {
    block_on(async {
        let machine = Machine::start();
        let task = begin(&machine, 1, machine.launch("main", Program::Run)).await;
        machine.events().started(&task, "main").await;
        for attempt in 1..=600 {
            let mut launch = machine.launch("other", Program::Missing);
            launch.attempt = attempt;
            machine.runtime().start_container(&task, launch).await.expect("asked");
        }
        let last = |kind: &EventKind| {
            matches!(kind, EventKind::ContainerStartFailed { attempt: 600, .. }).then_some(())
        };
        machine.events().wait(&task, last).await;
        machine.finish().await;
    });
}
