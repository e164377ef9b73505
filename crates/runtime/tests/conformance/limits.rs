//! Limits that the kernel enforces, seen from inside and outside.

use crate::bench::{Bench, block_on, log, task};
use crate::embedded::Machine;
use runtime::{Runtime, SandboxSpec, TaskId};
use std::time::{Duration, Instant};

async fn limited(machine: &Machine, n: u32, change: impl FnOnce(&mut SandboxSpec)) -> TaskId {
    let task = task(n);
    let mut spec = SandboxSpec::new(task.clone());
    change(&mut spec);
    machine.runtime().create_sandbox(spec).await.expect("created");
    task
}

/// Holds so many MiB in memory for ever.
fn hold(mib: u32) -> String {
    format!("dd if=/dev/zero of=/dev/null bs={mib}M count=1; echo held; while :; do sleep 1; done")
}

#[test]
fn a_container_over_its_memory_is_killed_and_told_as_out_of_memory() {
    block_on(async {
        let machine = Machine::start();
        let task = limited(&machine, 1, |_| {}).await;
        let mut launch = machine.script("main", "exec dd if=/dev/zero of=/dev/null bs=64M count=1");
        launch.memory_mib = Some(16);
        machine.runtime().start_container(&task, launch).await.expect("started");
        let exit = machine.events().exited(&task, "main").await;
        assert_eq!((exit.code, exit.out_of_memory), (137, true));
        machine.finish().await;
    });
}

#[test]
fn the_tasks_memory_bounds_all_of_its_containers() {
    block_on(async {
        let machine = Machine::start();
        let task = limited(&machine, 1, |spec| spec.memory_mib = Some(32)).await;
        let script = "exec dd if=/dev/zero of=/dev/null bs=64M count=1";
        let launch = machine.script("main", script);
        machine.runtime().start_container(&task, launch).await.expect("started");
        let exit = machine.events().exited(&task, "main").await;
        assert_eq!((exit.code, exit.out_of_memory), (137, true));
        // One that stays within its share doesn't notice.
        let launch = machine.script("small", &hold(8));
        machine.runtime().start_container(&task, launch).await.expect("started");
        let grew = |kind: &runtime::EventKind| {
            matches!(kind, runtime::EventKind::LogGrew { name } if name == "small").then_some(())
        };
        machine.events().wait(&task, grew).await;
        machine.finish().await;
    });
}

#[test]
fn a_tasks_cpu_units_are_a_ceiling() {
    block_on(async {
        let machine = Machine::start();
        let task = limited(&machine, 1, |spec| spec.cpu_units = Some(128)).await;
        let launch = machine.script("main", "while :; do :; done");
        machine.runtime().start_container(&task, launch).await.expect("started");
        machine.events().started(&task, "main").await;
        let (began, first) = (Instant::now(), machine.runtime().usage(&task).await.expect("usage"));
        // What is measured is the passing of time itself.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let last = machine.runtime().usage(&task).await.expect("usage");
        let used = Duration::from_nanos(last.cpu_nanoseconds - first.cpu_nanoseconds);
        let share = used.as_secs_f64() / began.elapsed().as_secs_f64();
        assert!(share < 0.25, "an eighth of a core was allowed, {share:.2} used");
        assert!(used > Duration::ZERO);
        assert!(last.memory_bytes > 0);
        machine.finish().await;
    });
}

#[test]
fn a_tasks_processes_are_bounded() {
    block_on(async {
        let machine = Machine::start();
        let task = limited(&machine, 1, |spec| spec.pids_max = 8).await;
        let script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 100 & done 2>&1; echo all";
        machine.runtime().start_container(&task, machine.script("main", script)).await.expect("ok");
        machine.events().exited(&task, "main").await;
        let said = log(&machine, &task, "main").await;
        assert!(said.contains("can't fork"), "{said}");
        machine.finish().await;
    });
}

#[test]
fn a_container_sees_its_own_limits() {
    block_on(async {
        let machine = Machine::start();
        let task = limited(&machine, 1, |spec| spec.memory_mib = Some(256)).await;
        let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max; \
            grep memory /proc/self/cgroup; true";
        let mut launch = machine.script("main", script);
        launch.memory_mib = Some(64);
        machine.runtime().start_container(&task, launch).await.expect("started");
        machine.events().exited(&task, "main").await;
        let said = log(&machine, &task, "main").await;
        assert!(said.lines().any(|l| l == "67108864"), "{said}");
        assert!(said.lines().all(|l| !l.contains("neargate")), "no name of the host: {said}");
        machine.finish().await;
    });
}
