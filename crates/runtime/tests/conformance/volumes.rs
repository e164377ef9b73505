//! Volumes and read-only root file systems.

use crate::bench::{Bench, block_on, log, task};
use crate::embedded::Machine;
use runtime::{MountSpec, Runtime, SandboxSpec, TaskId, VolumesFrom};

async fn with_volume(machine: &Machine) -> TaskId {
    let task = task(1);
    let mut spec = SandboxSpec::new(task.clone());
    spec.volumes = vec!["shared".to_owned()];
    machine.runtime().create_sandbox(spec).await.expect("created");
    task
}

fn mount(path: &str, read_only: bool) -> MountSpec {
    MountSpec { volume: "shared".to_owned(), path: path.to_owned(), read_only }
}

#[test]
fn containers_share_a_volume_that_starts_with_the_images_content() {
    block_on(async {
        let machine = Machine::start();
        let task = with_volume(&machine).await;
        let mut first = machine.script("first", "cat /data/seed; echo more > /data/more");
        first.mounts = vec![mount("/data", false)];
        machine.runtime().start_container(&task, first).await.expect("started");
        machine.events().exited(&task, "first").await;
        assert_eq!(log(&machine, &task, "first").await, "from the image\n");
        let script =
            "cat /else/where/seed /else/where/more; echo x > /else/where/no || echo refused";
        let mut second = machine.script("second", script);
        second.mounts = vec![mount("/else/where", true)];
        machine.runtime().start_container(&task, second).await.expect("started");
        machine.events().exited(&task, "second").await;
        let said = log(&machine, &task, "second").await;
        assert!(said.contains("from the image\nmore\n"), "{said}");
        assert!(said.contains("refused\n"), "{said}");
        machine.finish().await;
    });
}

#[test]
fn volumes_come_from_another_container_too() {
    block_on(async {
        let machine = Machine::start();
        let task = with_volume(&machine).await;
        let mut first = machine.script("first", "echo a > /one/a; echo b > /declared/b");
        first.mounts = vec![mount("/one", false)];
        first.image_volumes = vec!["/declared".to_owned(), "/one".to_owned()];
        machine.runtime().start_container(&task, first).await.expect("started");
        machine.events().exited(&task, "first").await;
        let mut second =
            machine.script("second", "cat /one/a /declared/b; touch /one/c || echo refused");
        second.volumes_from = vec![VolumesFrom { container: "first".to_owned(), read_only: true }];
        machine.runtime().start_container(&task, second).await.expect("started");
        machine.events().exited(&task, "second").await;
        let said = log(&machine, &task, "second").await;
        assert!(said.contains("a\nb\n") && said.contains("refused\n"), "{said}");
        machine.finish().await;
    });
}

#[test]
fn a_volume_nobody_declared_is_refused() {
    block_on(async {
        let machine = Machine::start();
        let task = with_volume(&machine).await;
        for (name, volume) in [("a", "other"), ("b", "../../../../etc")] {
            let mut launch = machine.script(name, "true");
            let (volume, path) = (volume.to_owned(), "/x".to_owned());
            launch.mounts = vec![MountSpec { volume, path, read_only: false }];
            machine.runtime().start_container(&task, launch).await.expect("asked");
            let (reason, _) = machine.events().start_failed(&task, name).await;
            assert!(reason.contains("not found"), "{reason}");
        }
        let mut launch = machine.script("c", "true");
        launch.volumes_from =
            vec![VolumesFrom { container: "nobody".to_owned(), read_only: false }];
        machine.runtime().start_container(&task, launch).await.expect("asked");
        let (reason, _) = machine.events().start_failed(&task, "c").await;
        assert!(reason.contains("nobody"), "{reason}");
        machine.finish().await;
    });
}

#[test]
fn a_read_only_root_leaves_volumes_and_dev_writable() {
    block_on(async {
        let machine = Machine::start();
        let task = with_volume(&machine).await;
        let script = "touch /x || echo refused; touch /v/x && echo volume; \
            touch /dev/shm/x && echo shm; echo > /dev/null && echo null";
        let mut launch = machine.script("main", script);
        launch.rootfs.read_only = true;
        launch.mounts = vec![mount("/v", false)];
        machine.runtime().start_container(&task, launch).await.expect("started");
        machine.events().exited(&task, "main").await;
        let said = log(&machine, &task, "main").await;
        for word in ["refused\n", "volume\n", "shm\n", "null\n"] {
            assert!(said.contains(word), "{word} is not in {said}");
        }
        machine.finish().await;
    });
}
