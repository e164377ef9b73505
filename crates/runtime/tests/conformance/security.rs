//! What a container must not be able to do, tried from inside. Each test fails if the attempt
//! succeeds.

use crate::bench::{Bench, begin, block_on, log};
use crate::embedded::Machine;
use runtime::{ContainerLaunch, MountSpec, Runtime, SandboxSpec};
use std::os::unix::fs::symlink;

#[test]
fn a_container_has_no_more_rights_than_dockers() {
    block_on(async {
        let machine = Machine::start();
        let status = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -s '\\t ' '='";
        let said = machine.run(1, status).await;
        for line in [
            "CapInh:=0000000000000000",
            "CapPrm:=00000000a80425fb",
            "CapEff:=00000000a80425fb",
            "CapBnd:=00000000a80425fb",
            "CapAmb:=0000000000000000",
            "NoNewPrivs:=1",
            "Seccomp:=2",
        ] {
            assert!(said.lines().any(|l| l == line), "{line} is not in {said}");
        }
        let (said, _) =
            machine.run_with(2, status, |l| l.capabilities_drop = vec!["ALL".into()]).await;
        assert!(said.contains("CapEff:=0000000000000000"), "{said}");
        assert!(said.contains("CapBnd:=0000000000000000"), "{said}");
        let (said, _) = machine.run_with(3, status, |l| l.user = Some("web".into())).await;
        assert!(said.contains("CapEff:=0000000000000000"), "{said}");
        let add = |l: &mut ContainerLaunch| l.capabilities_add = vec!["SYS_PTRACE".into()];
        let (said, _) = machine.run_with(4, status, add).await;
        assert!(said.contains("CapEff:=00000000a80c25fb"), "{said}");
        machine.finish().await;
    });
}

#[test]
fn a_container_can_not_change_what_it_is_in() {
    block_on(async {
        let machine = Machine::start();
        let attempts = [
            "mount -t tmpfs none /tmp",
            "mount -o remount,rw /sys",
            "mount --bind /etc /tmp",
            "umount /proc/kcore",
            "hostname other",
            "echo 1 > /proc/sys/net/ipv4/ip_forward",
            "echo x > /proc/sys/kernel/core_pattern",
            "echo b > /proc/sysrq-trigger",
            "mkdir /sys/fs/cgroup/memory/escape",
            "mkdir /sys/fs/cgroup/escape",
            "echo 1 > /sys/fs/cgroup/memory/cgroup.procs",
            "echo 100 > /sys/fs/cgroup/memory/memory.limit_in_bytes",
            "ip link add x type veth",
            "ip link set lo down",
            "unshare -r true",
        ];
        for (n, attempt) in (1..).zip(attempts) {
            let tool = attempt.split(' ').next().expect("a word");
            let script = format!("command -v {tool} && if {attempt}; then echo BROKEN; fi; true");
            let said = machine.run(n, &script).await;
            assert!(said.contains(tool), "{tool} is there to be refused");
            assert!(!said.contains("BROKEN"), "{attempt}");
        }
        machine.finish().await;
    });
}

#[test]
fn a_container_sees_nothing_of_the_host() {
    block_on(async {
        let machine = Machine::start();
        let said = machine.run(1, "ls /proc | grep -c '^[0-9]'").await;
        let processes: u32 = said.trim().parse().expect("a number");
        assert!(processes <= 5, "only its own processes: {said}");
        // The shell, the pipeline, and nothing of the supervisor.
        let said = machine.run(2, "ls -l /proc/self/fd /proc/1/fd").await;
        for line in said.lines().filter(|l| l.contains("->")) {
            let target = line.rsplit("-> ").next().expect("a target");
            let fine = target == "/dev/null"
                || target.starts_with("pipe:")
                || target.starts_with("/proc/");
            assert!(fine, "a descriptor of the host: {line}");
        }
        // 3 is what lists them.
        let said = machine.run(3, "exec ls /proc/self/fd").await;
        assert_eq!(said, "0\n1\n2\n3\n");
        let said = machine.run(4, "cat /proc/self/mountinfo").await;
        assert!(!said.contains("/var/tmp/neargate-test") || !said.contains(" ext4 rw,upperdir"));
        for line in said.lines() {
            let at = line.split(' ').nth(4).expect("a mount point");
            let own = ["/proc", "/dev", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];
            assert!(
                at == "/" || own.iter().any(|o| at.starts_with(o)),
                "a mount of the host: {line}"
            );
        }
        machine.finish().await;
    });
}

#[test]
fn masked_files_are_empty_and_devices_are_the_harmless_ones() {
    block_on(async {
        let machine = Machine::start();
        let said = machine
            .run(
                1,
                "for f in kcore keys timer_list sched_debug interrupts; do \
                test -e /proc/$f && head -c 1 /proc/$f; done; ls /sys/firmware; echo end",
            )
            .await;
        assert_eq!(said, "end\n");
        let said = machine.run(2, "ls /dev").await;
        let names: Vec<&str> = said.split_whitespace().collect();
        let wanted =
            "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
        assert_eq!(names, wanted.split(' ').collect::<Vec<_>>());
        // The node can be made, as with Docker, but what it stands for can't be opened.
        for (n, (major, minor, kind)) in
            (3..).zip([(1, 1, 'c'), (8, 0, 'b'), (254, 0, 'b'), (10, 200, 'c')])
        {
            let script = format!(
                "mknod /dev/x {kind} {major} {minor}; head -c 1 /dev/x && echo BROKEN; \
                mknod /tmp/x {kind} {major} {minor}; head -c 1 /tmp/x && echo BROKEN; true"
            );
            let said = machine.run(n, &script).await;
            assert!(!said.contains("BROKEN"), "{major}:{minor}");
        }
        machine.finish().await;
    });
}

#[test]
fn refused_system_calls_fail_as_with_docker() {
    block_on(async {
        let machine = Machine::start();
        let said =
            machine.run(1, "unshare -n true 2>&1; setpriv 2>/dev/null; dmesg 2>&1; true").await;
        assert!(!said.contains("Linux version"), "no kernel log: {said}");
        machine.finish().await;
    });
}

#[test]
fn no_path_of_an_image_leads_outside() {
    block_on(async {
        let machine = Machine::start();
        let outside = machine.guard.folder.join("outside");
        std::fs::create_dir(&outside).expect("made");
        std::fs::write(outside.join("secret"), "secret\n").expect("written");
        // Links that would lead outside, if they were followed before the root is entered.
        let evil = machine.guard.folder.join("evil");
        std::fs::create_dir_all(evil.join("etc")).expect("made");
        std::fs::create_dir_all(evil.join(outside.strip_prefix("/").expect("absolute")))
            .expect("made");
        symlink(&outside, evil.join("volume")).expect("linked");
        symlink("../../../../../../../etc/shadow", evil.join("etc/resolv.conf")).expect("linked");
        symlink(outside.join("secret"), evil.join("etc/hosts")).expect("linked");
        symlink("/proc/self/fd/5", evil.join("cwd")).expect("linked");
        let task = crate::bench::task(1);
        let mut spec = SandboxSpec::new(task.clone());
        spec.volumes = vec!["v".to_owned()];
        machine.runtime().create_sandbox(spec).await.expect("created");
        let mut launch = machine.script("main", "echo written > /volume/secret; cat /etc/hosts");
        launch.rootfs.layers.push(evil.clone());
        let (volume, path) = ("v".to_owned(), "/volume".to_owned());
        launch.mounts = vec![MountSpec { volume, path, read_only: false }];
        machine.runtime().start_container(&task, launch).await.expect("asked");
        machine.events().exited(&task, "main").await;
        let secret = std::fs::read_to_string(outside.join("secret")).expect("read");
        assert_eq!(secret, "secret\n");
        assert!(!log(&machine, &task, "main").await.contains("secret"));
        let folders = ["/proc/self/fd/5", "/proc/self/fd/3", "/proc/1/root", "/cwd"];
        for (n, cwd) in folders.into_iter().enumerate() {
            let mut launch = machine.script(&format!("cwd{n}"), "ls -a ..; pwd");
            launch.rootfs.layers.push(evil.clone());
            launch.cwd = Some(cwd.to_owned());
            let name = launch.name.clone();
            machine.runtime().start_container(&task, launch).await.expect("asked");
            let ended = |kind: &runtime::EventKind| match kind {
                runtime::EventKind::ContainerStartFailed { name: n, .. } if *n == name => {
                    Some(true)
                }
                runtime::EventKind::ContainerExited { name: n, .. } if *n == name => Some(false),
                _ => None,
            };
            let refused = machine.events().wait(&task, ended).await;
            assert!(refused, "{cwd}: {}", log(&machine, &task, &name).await);
        }
        machine.finish().await;
    });
}

#[test]
fn an_image_can_not_replace_proc_sys_or_dev() {
    block_on(async {
        let machine = Machine::start();
        for (n, name) in (1..).zip(["proc", "sys", "dev"]) {
            let evil = machine.guard.folder.join(format!("evil-{name}"));
            std::fs::create_dir_all(&evil).expect("made");
            symlink("/tmp", evil.join(name)).expect("linked");
            let mut launch = machine.script("main", "true");
            launch.rootfs.layers.push(evil);
            let task = begin(&machine, n, launch).await;
            let (reason, _) = machine.events().start_failed(&task, "main").await;
            assert!(reason.contains("is not a directory"), "{reason}");
        }
        machine.finish().await;
    });
}

#[test]
fn our_own_binary_can_not_be_written_through_an_init() {
    block_on(async {
        let machine = Machine::start();
        let script = "readlink /proc/1/exe; echo x > /proc/1/exe && echo BROKEN; \
            cat /proc/1/environ; echo end";
        let (said, _) = machine
            .run_with(1, script, |l| {
                l.init = true;
                l.capabilities_add = vec!["SYS_PTRACE".into()];
            })
            .await;
        assert!(!said.contains("BROKEN") && said.contains("end\n"), "{said}");
        machine.finish().await;
    });
}
