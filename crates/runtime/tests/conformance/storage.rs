//! Ephemeral storage: what a task's containers write together has a bound, whatever way they write
//! it, and nobody else notices.

use crate::bench::{Bench, block_on, log, task};
use crate::embedded::{Machine, until};
use runtime::{MountSpec, Runtime, SandboxSpec, StorageUsage, TaskId, Trace};
use std::fs;

const GIB: u64 = 1 << 30;

async fn with_storage(machine: &Machine, n: u32, gib: u32) -> TaskId {
    let mut spec = SandboxSpec::new(task(n));
    spec.ephemeral_storage_gib = Some(gib);
    spec.volumes = vec!["data".to_owned()];
    machine.runtime().create_sandbox(spec).await.expect("created");
    machine.events().ready(&task(n)).await;
    task(n)
}

async fn run(machine: &Machine, task: &TaskId, name: &str, script: &str) -> String {
    let mut launch = machine.script(name, script);
    let (volume, path) = ("data".to_owned(), "/data".to_owned());
    launch.mounts = vec![MountSpec { volume, path, read_only: false }];
    machine.runtime().start_container(task, launch).await.expect("started");
    machine.events().exited(task, name).await;
    log(machine, task, name).await
}

fn loop_devices(machine: &Machine) -> usize {
    machine.census().iter().filter(|trace| matches!(trace, Trace::LoopDevice(_))).count()
}

async fn stored(machine: &Machine, task: &TaskId) -> StorageUsage {
    let usage = machine.runtime().usage(task).await.expect("usage");
    usage.storage.expect("it is counted")
}

#[test]
fn a_task_that_writes_too_much_gets_no_space_left_and_its_neighbour_does_not_notice() {
    block_on(async {
        let machine = Machine::start();
        assert!(machine.runtime().enforces_storage());
        let small = with_storage(&machine, 1, 1).await;
        let neighbour = with_storage(&machine, 2, 1).await;
        // Two containers and a volume share one bound; what is asked for in advance counts too,
        // and what a file only seems to have doesn't.
        let script = "truncate -s 50G /hole && fallocate -l 900M /data/a && echo fits";
        assert_eq!(run(&machine, &small, "first", script).await, "fits\n");
        assert!(stored(&machine, &small).await.used_bytes > 900 << 20);
        let script = "dd if=/dev/zero of=/b bs=1M count=200 2>&1; rm /b; \
            fallocate -l 200M /c || rm /c; fallocate -l 40M /d && echo again";
        let said = run(&machine, &small, "second", script).await;
        assert!(said.contains("No space left on device"), "{said}");
        assert!(said.contains("again"), "all of it is given back with a file: {said}");
        let script = "rm /data/a; fallocate -l 1000M /e && echo no; rm /e; fallocate -l 800M /e \
            && echo yes";
        let said = run(&machine, &small, "third", script).await;
        assert!(!said.contains("no\n") && said.contains("yes"), "/d still counts: {said}");
        let script = "fallocate -l 900M /x && echo unharmed > /y && cat /y";
        assert_eq!(run(&machine, &neighbour, "main", script).await, "unharmed\n");
        machine.finish().await;
    });
}

#[test]
fn a_task_has_what_it_asked_for() {
    block_on(async {
        let machine = Machine::start();
        for (n, gib) in [(1, 20), (2, 21), (3, 200)] {
            let task = with_storage(&machine, n, gib).await;
            let counted = stored(&machine, &task).await;
            let wanted = u64::from(gib) * GIB;
            // What the file system needs for itself is a part of it, as on Fargate.
            assert!(counted.bytes_max <= wanted, "{counted:?}");
            assert!(counted.bytes_max > wanted / 100 * 97, "{counted:?}");
            assert!(counted.used_bytes < 1 << 20, "{counted:?}");
            assert_eq!(run(&machine, &task, "main", "echo x > /data/x && echo ok").await, "ok\n");
        }
        machine.finish().await;
    });
}

#[test]
fn storage_goes_with_its_task_however_that_ends() {
    block_on(async {
        let machine = Machine::start();
        // Those that wait for tasks have disks too.
        for (n, how) in [(1, "removed"), (2, "killed")] {
            let task = with_storage(&machine, n, 3).await;
            let script = "dd if=/dev/zero of=/data/x bs=1M count=20 2>/dev/null; exec sleep 1000";
            let launch = machine.script("main", script);
            machine.runtime().start_container(&task, launch).await.expect("started");
            machine.events().started(&task, "main").await;
            if how == "killed" {
                let pid = supervisor(&machine, &task);
                let kill = std::process::Command::new("kill").arg("-9").arg(pid).status();
                assert!(kill.expect("kill").success());
            }
            machine.runtime().remove(&task).await.expect("removed");
        }
        // None but of spares, of which there are few.
        until(|| loop_devices(&machine) <= 4).await;
        let folder = machine.runtime_folder();
        let zygote = machine.runtime().zygote_pid().expect("it runs").to_string();
        let kill = std::process::Command::new("kill").args(["-9", &zygote]).status();
        assert!(kill.expect("kill").success());
        until(|| loop_devices(&machine) == 0).await;
        let left = fs::read_dir(folder.join("storage")).expect("a folder").count();
        assert_eq!(left, 0);
        machine.finish().await;
    });
}

/// What is on its way to the disk counts as a task's memory, but no more of it than there is.
#[test]
fn a_task_may_write_much_more_than_it_has_memory() {
    block_on(async {
        let machine = Machine::start();
        let mut spec = SandboxSpec::new(task(1));
        (spec.ephemeral_storage_gib, spec.memory_mib) = (Some(1), Some(24));
        machine.runtime().create_sandbox(spec).await.expect("created");
        let script = "dd if=/dev/zero of=/x bs=1M count=100 2>&1; dd if=/x of=/y bs=64k 2>&1";
        let launch = machine.script("main", script);
        machine.runtime().start_container(&task(1), launch).await.expect("started");
        let exit = machine.events().exited(&task(1), "main").await;
        let said = log(&machine, &task(1), "main").await;
        assert_eq!((exit.code, exit.out_of_memory), (0, false), "{said}");
        machine.finish().await;
    });
}

fn supervisor(machine: &Machine, task: &TaskId) -> String {
    let name = format!("ng-{task}");
    let of = |trace: &Trace| match trace {
        Trace::Process { pid, name: found } if name.starts_with(found) => Some(pid.to_string()),
        _ => None,
    };
    machine.census().iter().find_map(of).expect("the task has a supervisor")
}
