//! What every runtime must do, through the trait alone.

use crate::bench::{Bench, Program, begin, log, task};
use runtime::{EventKind, Failure, Recovered, RecoveredState, Runtime, SandboxSpec};

pub async fn a_container_runs_and_tells_its_exit_code(bench: &impl Bench) {
    let task = begin(bench, 1, bench.launch("main", Program::Exit(3))).await;
    bench.events().ready(&task).await;
    let (attempt, _) = bench.events().started(&task, "main").await;
    assert_eq!(attempt, 1);
    let exit = bench.events().exited(&task, "main").await;
    assert_eq!((exit.code, exit.signal, exit.out_of_memory), (3, None, false));
    bench.runtime().remove(&task).await.expect("removed");
}

pub async fn asking_twice_is_asking_once(bench: &impl Bench) {
    let launch = bench.launch("main", Program::Print("once", 0));
    let task = begin(bench, 1, launch.clone()).await;
    begin(bench, 1, launch.clone()).await;
    bench.events().exited(&task, "main").await;
    begin(bench, 1, launch).await;
    // Commands of a task are obeyed in order: when this one is through, so are those before it.
    bench
        .runtime()
        .start_container(&task, bench.launch("last", Program::Exit(0)))
        .await
        .expect("ok");
    bench.events().exited(&task, "last").await;
    let again = bench.events().left(&task).await;
    let of_main = |e: &&EventKind| {
        matches!(e, EventKind::ContainerStarted { name, .. }
            | EventKind::ContainerExited { name, .. } if name == "main")
    };
    assert_eq!(again.iter().filter(of_main).count(), 1, "one start, its exit was waited for");
    assert_eq!(log(bench, &task, "main").await, "once\n");
}

pub async fn a_restart_is_a_new_attempt(bench: &impl Bench) {
    let mut launch = bench.launch("main", Program::Exit(1));
    let task = begin(bench, 1, launch.clone()).await;
    bench.events().exited(&task, "main").await;
    launch.attempt = 2;
    bench.runtime().start_container(&task, launch).await.expect("started");
    let second = |kind: &EventKind| match kind {
        EventKind::ContainerExited { attempt: 2, exit, .. } => Some(exit.code),
        _ => None,
    };
    assert_eq!(bench.events().wait(&task, second).await, 1);
}

pub async fn a_program_that_is_not_there_is_told_with_a_reason(bench: &impl Bench) {
    let task = begin(bench, 1, bench.launch("main", Program::Missing)).await;
    let (reason, code) = bench.events().start_failed(&task, "main").await;
    assert!(reason.starts_with("CannotStartContainerError: "), "{reason}");
    assert_eq!(code, 127);
    bench.runtime().remove(&task).await.expect("removed");
}

pub async fn signals_end_containers(bench: &impl Bench) {
    let task = begin(bench, 1, bench.launch("polite", Program::Run)).await;
    let runtime = bench.runtime();
    runtime.start_container(&task, bench.launch("rude", Program::Stubborn)).await.expect("ok");
    bench.events().started(&task, "polite").await;
    bench.events().started(&task, "rude").await;
    // A shell needs a moment to set its trap; before that the signal has no effect on process 1.
    let polite = async {
        loop {
            runtime.signal_container(&task, "polite", libc::SIGTERM).await.expect("sent");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = polite => {}
        exit = bench.events().exited(&task, "polite") => {
            assert!(exit.code == 0 || exit.code == 143, "{exit:?}");
        }
    }
    runtime.signal_container(&task, "rude", libc::SIGTERM).await.expect("sent");
    runtime.signal_container(&task, "rude", libc::SIGKILL).await.expect("sent");
    let exit = bench.events().exited(&task, "rude").await;
    assert_eq!((exit.code, exit.signal), (137, Some(libc::SIGKILL)));
    assert!(!exit.out_of_memory, "we killed it, not the kernel");
    runtime
        .signal_container(&task, "rude", libc::SIGTERM)
        .await
        .expect("an ended one is no failure");
}

pub async fn logs_are_read_in_order_and_acknowledged(bench: &impl Bench) {
    let runtime = bench.runtime();
    let task = begin(bench, 1, bench.launch("main", Program::Print("first", 0))).await;
    let grew = |kind: &EventKind| matches!(kind, EventKind::LogGrew { .. }).then_some(());
    bench.events().wait(&task, grew).await;
    let batch = runtime.read_log(&task, "main", 0, 1 << 20).await.expect("read");
    assert_eq!(batch.records.len(), 1);
    assert_eq!(batch.records[0].bytes, b"first");
    bench.events().exited(&task, "main").await;
    // Nothing was acknowledged, so another agent would get it again; now it is.
    runtime.acknowledge_log(&task, "main", batch.next_offset).await.expect("acknowledged");
    let mut again = bench.launch("main", Program::Print("second", 0));
    again.attempt = 2;
    runtime.start_container(&task, again).await.expect("started");
    bench.events().wait(&task, grew).await;
    let more = runtime.read_log(&task, "main", batch.next_offset, 1 << 20).await.expect("read");
    assert_eq!(more.records.len(), 1);
    assert_eq!(more.records[0].bytes, b"second");
    let none = runtime.read_log(&task, "main", more.next_offset, 1 << 20).await.expect("read");
    assert!(none.records.is_empty());
}

pub async fn containers_of_a_task_are_told_apart(bench: &impl Bench) {
    let task = begin(bench, 1, bench.launch("a", Program::Exit(1))).await;
    let other = begin(bench, 2, bench.launch("a", Program::Exit(2))).await;
    bench.runtime().start_container(&task, bench.launch("b", Program::Exit(4))).await.expect("ok");
    assert_eq!(bench.events().exited(&task, "b").await.code, 4);
    assert_eq!(bench.events().exited(&task, "a").await.code, 1);
    assert_eq!(bench.events().exited(&other, "a").await.code, 2);
}

pub async fn a_removed_task_is_unknown(bench: &impl Bench) {
    let task = begin(bench, 1, bench.launch("main", Program::Stubborn)).await;
    bench.events().started(&task, "main").await;
    bench.runtime().remove(&task).await.expect("removed while it runs");
    bench.runtime().remove(&task).await.expect("removing twice is removing once");
    let signalled = bench.runtime().signal_container(&task, "main", libc::SIGTERM).await;
    assert!(matches!(signalled, Err(Failure::UnknownTask(_))), "{signalled:?}");
    assert!(bench.runtime().recover().await.expect("recovered").is_empty());
}

pub async fn a_sweep_removes_what_nobody_keeps(bench: &impl Bench) {
    let kept = begin(bench, 1, bench.launch("main", Program::Run)).await;
    let stray = begin(bench, 2, bench.launch("main", Program::Run)).await;
    bench.events().started(&kept, "main").await;
    bench.events().started(&stray, "main").await;
    let removed = bench.runtime().sweep(std::slice::from_ref(&kept)).await.expect("swept");
    assert!(removed.iter().any(|r| r.contains(stray.as_str())), "{removed:?}");
    let runtime = bench.runtime();
    assert!(runtime.signal_container(&stray, "main", libc::SIGTERM).await.is_err());
    runtime.signal_container(&kept, "main", libc::SIGKILL).await.expect("it is still there");
    assert_eq!(bench.events().exited(&kept, "main").await.code, 137);
}

pub async fn an_unknown_task_is_a_failure(bench: &impl Bench) {
    let nobody = task(9);
    let runtime = bench.runtime();
    let started = runtime.start_container(&nobody, bench.launch("main", Program::Run)).await;
    assert!(matches!(started, Err(Failure::UnknownTask(_))), "{started:?}");
    assert!(matches!(runtime.usage(&nobody).await, Err(Failure::UnknownTask(_))));
    runtime.remove(&nobody).await.expect("removing nothing is no failure");
    let found: Vec<Recovered> = runtime.recover().await.expect("recovered");
    assert!(found.iter().all(|r| matches!(r.state, RecoveredState::Live(_))));
}

pub async fn usage_counts_running_containers(bench: &impl Bench) {
    let runtime = bench.runtime();
    let empty = task(2);
    runtime.create_sandbox(SandboxSpec::new(empty.clone())).await.expect("created");
    bench.events().ready(&empty).await;
    assert!(runtime.usage(&empty).await.expect("usage").containers.is_empty());
    let task = begin(bench, 1, bench.launch("main", Program::Run)).await;
    bench.events().started(&task, "main").await;
    let usage = runtime.usage(&task).await.expect("usage");
    assert_eq!(usage.containers.len(), 1);
    assert_eq!(usage.containers[0].name, "main");
    assert!(usage.pids >= 1, "{usage:?}");
}
