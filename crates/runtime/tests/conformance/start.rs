//! How a program starts: who it is, where, with what, and what is said when it can't.

use crate::bench::{Bench, begin, block_on, log};
use crate::embedded::Machine;
use runtime::{ContainerLaunch, HealthSpec, HealthStatus, Runtime, Ulimit};
use std::path::PathBuf;

async fn refused(
    machine: &Machine,
    n: u32,
    change: impl FnOnce(&mut ContainerLaunch),
) -> (String, i32) {
    let mut launch = machine.script("main", "true");
    change(&mut launch);
    let task = begin(machine, n, launch).await;
    machine.events().start_failed(&task, "main").await
}

#[test]
fn what_cannot_start_is_told_in_dockers_words() {
    block_on(async {
        let machine = Machine::start();
        type Change = fn(&mut ContainerLaunch);
        let cases: [(Change, &str, i32); 11] = [
            (
                |l| l.argv = vec!["nope".into()],
                "exec: \"nope\": executable file not found in $PATH",
                127,
            ),
            (
                |l| l.argv = vec!["/nope".into()],
                "exec: \"/nope\": stat /nope: no such file or directory",
                127,
            ),
            (
                |l| l.argv = vec!["/etc/not-executable".into()],
                "exec: \"/etc/not-executable\": permission denied",
                126,
            ),
            (|l| l.argv = vec!["/bin/garbage".into()], "exec format error", 126),
            (|l| l.argv.clear(), "no command specified", 125),
            (|l| l.user = Some("nobody-here".into()), "unable to find user nobody-here", 125),
            (|l| l.user = Some("web:nogroup".into()), "unable to find group nogroup", 125),
            (|l| l.cwd = Some("/etc/passwd".into()), "/etc/passwd: not a directory", 125),
            (|l| l.cwd = Some("relative".into()), "needs to be an absolute path", 125),
            (
                |l| l.rootfs.layers = vec![PathBuf::from("/nope")],
                "mounting the root file system",
                125,
            ),
            (|l| l.capabilities_add = vec!["SYS_ADMIN".into()], "SYS_ADMIN can't be added", 125),
        ];
        for (n, (change, text, code)) in (1..).zip(cases) {
            let (reason, got) = refused(&machine, n, change).await;
            assert!(reason.starts_with("CannotStartContainerError: Error response from daemon: "));
            assert!(reason.contains(text), "{reason} has not {text}");
            assert_eq!(got, code, "{reason}");
        }
        machine.finish().await;
    });
}

#[test]
fn users_groups_and_home_come_from_the_image() {
    block_on(async {
        let machine = Machine::start();
        let who = "id -u; id -g; id -G; echo $HOME";
        let cases = [
            (None, "0\n0\n0\n/root\n"),
            (Some("web"), "33\n33\n33 44\n/var/www\n"),
            (Some("web:logs"), "33\n44\n44\n/var/www\n"),
            (Some("1234:567"), "1234\n567\n567\n/\n"),
        ];
        for (n, (user, wanted)) in (1..).zip(cases) {
            let (said, _) = machine.run_with(n, who, |l| l.user = user.map(str::to_owned)).await;
            assert_eq!(said, wanted, "{user:?}");
        }
        // A program without root's rights can still write to its own output by name.
        let (said, exit) = machine
            .run_with(9, "echo by name > /dev/stdout", |l| l.user = Some("web".into()))
            .await;
        assert_eq!((said.as_str(), exit.code), ("by name\n", 0));
        machine.finish().await;
    });
}

#[test]
fn environment_folder_and_names_are_as_asked() {
    block_on(async {
        let machine = Machine::start();
        let script = "pwd; echo $A; echo $PATH; hostname; cat /etc/hostname; echo $HOSTNAME; \
            cat /proc/1/comm; true";
        let (said, _) = machine
            .run_with(1, script, |l| {
                l.cwd = Some("/made/for/this".into());
                l.env = vec![("A".into(), "one two=3".into())];
            })
            .await;
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[..2], ["/made/for/this", "one two=3"]);
        assert!(lines[2].contains("/usr/local/bin"));
        assert_eq!(lines[3..6], ["000000000000"; 3]);
        assert_eq!(lines[6], "sh", "the program is process 1");
        let hosts = machine.run(2, "cat /etc/hosts; cat < /dev/stdin; echo end").await;
        assert!(hosts.starts_with("127.0.0.1\tlocalhost\n"), "{hosts}");
        assert!(hosts.ends_with("end\n"), "standard input is empty");
        machine.finish().await;
    });
}

#[test]
fn ulimits_are_set_and_clamped_with_a_warning() {
    block_on(async {
        let machine = Machine::start();
        let ulimit = |name: &str, soft, hard| Ulimit { name: name.to_owned(), soft, hard };
        let (said, _) = machine
            .run_with(1, "ulimit -n; ulimit -Hn; ulimit -c", |l| {
                l.ulimits = vec![ulimit("nofile", 100, 200), ulimit("core", 0, 0)];
            })
            .await;
        assert_eq!(said, "100\n200\n0\n");
        let limits = std::fs::read_to_string("/proc/self/limits").expect("limits");
        let line = limits.lines().find(|l| l.starts_with("Max open files")).expect("a line");
        let hard: u64 = line.split_whitespace().nth(4).expect("a limit").parse().expect("a number");
        let said = machine.run(2, "ulimit -Hn").await;
        assert_eq!(said.trim().parse(), Ok(hard.min(65535)));
        let mut launch = machine.script("main", "ulimit -Hn");
        launch.ulimits = vec![ulimit("nofile", 1024, 1 << 40)];
        let task = begin(&machine, 3, launch).await;
        machine.events().exited(&task, "main").await;
        let warned = |kind: &runtime::EventKind| match kind {
            runtime::EventKind::Warning { text } => Some(text.clone()),
            _ => None,
        };
        let warning = machine.events().wait(&task, warned).await;
        assert!(warning.contains("ulimit nofile"), "{warning}");
        machine.finish().await;
    });
}

#[test]
fn an_init_process_reaps_and_forwards() {
    block_on(async {
        let machine = Machine::start();
        let script = "cat /proc/1/comm; (sleep 0.01 &); sleep 0.1; \
            grep -l '^State:.Z' /proc/[0-9]*/status; exit 7";
        let (said, exit) = machine.run_with(1, script, |l| l.init = true).await;
        assert_eq!((said.as_str(), exit.code), ("neargate-init\n", 7));
        // Process 1 ignores signals without a handler; with an init the program is not process 1.
        let mut launch =
            ContainerLaunch::new("main", vec![machine.layer()], &["/bin/sleep", "1000"]);
        launch.init = true;
        let task = begin(&machine, 2, launch).await;
        machine.events().started(&task, "main").await;
        machine.runtime().signal_container(&task, "main", libc::SIGTERM).await.expect("sent");
        assert_eq!(machine.events().exited(&task, "main").await.code, 143);
        let task = begin(&machine, 3, {
            let mut launch = machine.script("main", "true");
            (launch.init, launch.argv) = (true, vec!["nope".into()]);
            launch
        })
        .await;
        assert_eq!(machine.events().start_failed(&task, "main").await.1, 127);
        machine.finish().await;
    });
}

#[test]
fn health_is_checked_inside_the_container() {
    block_on(async {
        let machine = Machine::start();
        let mut launch = machine.script(
            "main",
            "sleep 0.2; touch /tmp/well; sleep 0.4; rm /tmp/well; \
            while :; do sleep 1; done",
        );
        launch.user = Some("web".into());
        let check =
            "id -u; test -e /tmp/well && cat /proc/self/status | grep -E 'NoNewPrivs|Seccomp:'";
        launch.health = Some(HealthSpec {
            argv: vec!["/bin/sh".into(), "-c".into(), check.into()],
            interval_ms: 50,
            timeout_ms: 5_000,
            retries: 2,
            start_period_ms: 0,
        });
        let task = begin(&machine, 1, launch).await;
        let health = |wanted: HealthStatus| {
            move |kind: &runtime::EventKind| match kind {
                runtime::EventKind::Health { health, .. } if health.status == wanted => {
                    Some(health.output.clone())
                }
                _ => None,
            }
        };
        let output = machine.events().wait(&task, health(HealthStatus::Healthy)).await;
        assert!(output.starts_with("33\n"), "as the container's user: {output}");
        assert!(output.contains("NoNewPrivs:\t1") && output.contains("Seccomp:\t2"), "{output}");
        machine.events().wait(&task, health(HealthStatus::Unhealthy)).await;
        machine.finish().await;
    });
}

#[test]
fn a_health_check_that_hangs_is_a_failure() {
    block_on(async {
        let machine = Machine::start();
        let mut launch = machine.script("main", "while :; do sleep 1; done");
        launch.health = Some(HealthSpec {
            argv: vec!["/bin/sleep".into(), "1000".into()],
            interval_ms: 10,
            timeout_ms: 50,
            retries: 1,
            start_period_ms: 0,
        });
        let task = begin(&machine, 1, launch).await;
        let unhealthy = |kind: &runtime::EventKind| match kind {
            runtime::EventKind::Health { health, .. }
                if health.status == HealthStatus::Unhealthy =>
            {
                Some(health.output.clone())
            }
            _ => None,
        };
        let output = machine.events().wait(&task, unhealthy).await;
        assert!(output.contains("timeout"), "{output}");
        machine.finish().await;
    });
}

#[test]
fn a_long_log_arrives_whole() {
    block_on(async {
        let machine = Machine::start();
        let mut launch = machine.script("main", "seq 1 20000; printf 'no newline'; echo error >&2");
        launch.log.blocking = true;
        launch.log.spool_bytes_max = 64 * 1024;
        let task = begin(&machine, 1, launch).await;
        let mut all = String::new();
        let mut offset = 0;
        let mut ended = false;
        // With a small bound the container goes on only as its log is read and acknowledged.
        while !ended {
            let next = |kind: &runtime::EventKind| match kind {
                runtime::EventKind::LogGrew { .. } => Some(false),
                runtime::EventKind::ContainerExited { .. } => Some(true),
                _ => None,
            };
            ended = machine.events().wait(&task, next).await;
            let batch = machine.runtime().read_log(&task, "main", offset, 32 * 1024).await;
            let batch = batch.expect("read");
            for record in &batch.records {
                all += &(String::from_utf8_lossy(&record.bytes).into_owned() + "\n");
            }
            offset = batch.next_offset;
            machine.runtime().acknowledge_log(&task, "main", offset).await.expect("acknowledged");
        }
        loop {
            let rest =
                machine.runtime().read_log(&task, "main", offset, 1 << 20).await.expect("read");
            if rest.records.is_empty() {
                break;
            }
            for record in &rest.records {
                all += &(String::from_utf8_lossy(&record.bytes).into_owned() + "\n");
            }
            offset = rest.next_offset;
        }
        let numbers: String = (1..=20000).map(|n| format!("{n}\n")).collect();
        assert!(all.starts_with(&numbers), "in order and complete");
        let rest = &all[numbers.len()..];
        assert!(rest == "error\nno newline\n" || rest == "no newline\nerror\n", "{rest}");
        machine.finish().await;
    });
}

#[test]
fn many_layers_are_no_matter() {
    block_on(async {
        let machine = Machine::start();
        let base = machine.guard.folder.join("a-folder-with-a-long-name-as-of-a-digest".repeat(3));
        let mut layers = vec![machine.layer()];
        for n in 0..120 {
            let layer = base.join(format!("{n}"));
            std::fs::create_dir_all(&layer).expect("made");
            std::fs::write(layer.join("n"), format!("{n}\n")).expect("written");
            layers.push(layer);
        }
        // A layer may occur twice, as empty ones do.
        layers.push(layers[5].clone());
        let (said, _) = machine.run_with(1, "cat /n", |l| l.rootfs.layers = layers).await;
        assert_eq!(said, "4\n", "the topmost one wins");
        machine.finish().await;
    });
}

#[test]
fn what_a_container_wrote_is_there_after_its_restart() {
    block_on(async {
        let machine = Machine::start();
        let mut launch = machine.script("main", "cat /kept; echo written > /kept; exit 1");
        let task = begin(&machine, 1, launch.clone()).await;
        machine.events().exited(&task, "main").await;
        launch.attempt = 2;
        machine.runtime().start_container(&task, launch).await.expect("started");
        machine.events().exited(&task, "main").await;
        assert!(log(&machine, &task, "main").await.ends_with("written\n"));
        machine.finish().await;
    });
}
