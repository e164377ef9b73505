//! Addresses, routes and what can be reached.

use crate::bench::{Bench, begin, block_on, log, task};
use crate::embedded::{Machine, networked};
use runtime::{Runtime, TaskId, VpcId, VpcTable};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

/// Answers every connection on a port with a word, for ever.
const SERVE: &str = "while :; do echo served | nc -l -p 80; done";

async fn serve(machine: &Machine, vpc: &VpcTable, n: u32, host: u8) -> TaskId {
    let task = task(n);
    machine.runtime().create_sandbox(networked(vpc, &task, host)).await.expect("created");
    machine.runtime().start_container(&task, machine.script("main", SERVE)).await.expect("started");
    machine.events().started(&task, "main").await;
    task
}

/// Runs a script in a task of the VPC: what it printed.
async fn run_in(machine: &Machine, vpc: &VpcTable, n: u32, host: u8, script: &str) -> String {
    let task = task(n);
    machine.runtime().create_sandbox(networked(vpc, &task, host)).await.expect("created");
    machine
        .runtime()
        .start_container(&task, machine.script("main", script))
        .await
        .expect("started");
    machine.events().exited(&task, "main").await;
    log(machine, &task, "main").await
}

/// Asks until the server of another task listens, at most ten seconds.
fn ask(address: &str) -> String {
    format!(
        "for i in $(seq 100); do nc -w 2 {address} 80 < /dev/null 2> /dev/null && exit; \
        sleep 0.1; done; echo silence"
    )
}

/// Asks once.
fn ask_once(address: &str, port: u16) -> String {
    format!("nc -w 1 {address} {port} < /dev/null && echo REACHED; true")
}

#[test]
fn tasks_have_their_address_and_reach_each_other_and_the_host_reaches_them() {
    block_on(async {
        let machine = Machine::start();
        let vpc = machine.make_vpc("vpc-a", "10.91.0.0/16").await;
        serve(&machine, &vpc, 1, 10).await;
        let said = run_in(
            &machine,
            &vpc,
            2,
            11,
            "ip -o -4 addr show eth0; ip link show eth0; ip route; \
            cat /etc/hosts",
        )
        .await;
        assert!(said.contains("10.91.0.11/16"), "{said}");
        assert!(said.contains("0a:00:0a:5b:00:0b"), "its own address on the wire: {said}");
        assert!(said.contains("default via 10.91.0.1 dev eth0"), "{said}");
        assert!(said.contains("10.91.0.11\t"), "{said}");
        assert_eq!(run_in(&machine, &vpc, 3, 12, &ask("10.91.0.10")).await, "served\n");
        let mut answer = String::new();
        while answer.is_empty() {
            // The server listens anew after each answer.
            if let Ok(mut stream) = TcpStream::connect("10.91.0.10:80") {
                stream.read_to_string(&mut answer).expect("an answer");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(answer, "served\n");
        machine.finish().await;
    });
}

#[test]
fn a_way_out_leads_through_the_host_but_not_to_it() {
    block_on(async {
        let machine = Machine::start();
        let vpc = machine.make_vpc("vpc-a", "10.92.0.0/16").await;
        // Something of the host, on an address that tasks could route to, and on its loopback.
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                stream.write_all(b"the host\n").ok();
            }
        });
        let uplink = machine.census().into_iter().find_map(|trace| match trace {
            runtime::Trace::Link(name) => Some(name),
            _ => None,
        });
        let uplink = uplink.expect("an uplink");
        let shown = Command::new("/bin/busybox")
            .args(["ip", "-o", "-4", "addr", "show", &uplink])
            .output()
            .expect("shown");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        let address = shown.split_whitespace().nth(3).and_then(|a| a.split('/').next());
        let address = address.expect("the host's address on the uplink").to_owned();
        let scripts = [
            ask_once("127.0.0.1", port),
            ask_once(&address, port),
            ask_once("10.92.0.1", port),
            ask_once("169.254.169.254", 80),
        ];
        for (n, script) in (1..).zip(scripts) {
            let said = run_in(&machine, &vpc, n, 10 + n as u8, &script).await;
            assert!(!said.contains("REACHED"), "{script}");
        }
        machine.finish().await;
    });
}

#[test]
fn packets_that_leave_the_instance_bear_its_address() {
    block_on(async {
        let machine = Machine::start();
        let vpc = machine.make_vpc("vpc-a", "10.93.0.0/16").await;
        // Another machine, played by a namespace behind a link of its own.
        let tag = machine.guard.tag.clone();
        let world = World::make(&tag);
        let said = run_in(&machine, &vpc, 1, 10, &ask("198.51.100.2")).await;
        assert_eq!(said, "seen 198.51.100.1\n");
        drop(world);
        machine.finish().await;
    });
}

/// A namespace that answers on 198.51.100.2 port 80 with the address it sees.
struct World {
    link: String,
}

fn ip(args: &[&str]) {
    let done = Command::new("ip").args(args).status().expect("this test needs iproute2");
    assert!(done.success(), "ip {args:?}");
}

impl World {
    fn make(tag: &str) -> Self {
        let link = format!("w{tag}");
        let world = Self { link: link.clone() };
        let (ready, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // SAFETY: plain numbers; only this thread changes its namespace.
            #[allow(unsafe_code)]
            let (done, thread) = unsafe { (libc::unshare(libc::CLONE_NEWNET), libc::gettid()) };
            assert_eq!(done, 0);
            let own = format!("/proc/{}/task/{thread}/ns/net", std::process::id());
            let own = std::fs::File::open(own).expect("the thread's namespace");
            // Children of this thread are in its namespace, and `ip` finds it by the thread's
            // number.
            let host = ["link", "add", "w1", "type", "veth", "peer", "name", &link, "netns"];
            ip(&[&host[..], &[&std::process::id().to_string()]].concat());
            ip(&["addr", "add", "198.51.100.2/30", "dev", "w1"]);
            ip(&["link", "set", "w1", "up"]);
            let listener = TcpListener::bind("198.51.100.2:80").expect("bound");
            ready.send(own).expect("the test waits");
            for (stream, peer) in std::iter::from_fn(|| listener.accept().ok()) {
                let _ = (&stream).write_all(format!("seen {}\n", peer.ip()).as_bytes());
            }
        });
        wait.recv().expect("the namespace is made");
        ip(&["addr", "add", "198.51.100.1/30", "dev", &world.link]);
        ip(&["link", "set", &world.link, "up"]);
        world
    }
}

impl Drop for World {
    fn drop(&mut self) {
        Command::new("ip").args(["link", "del", &self.link]).status().ok();
    }
}

#[test]
fn vpcs_may_overlap_and_do_not_meet() {
    block_on(async {
        let machine = Machine::start();
        let a = machine.make_vpc("vpc-a", "10.94.0.0/16").await;
        let mut b = a.clone();
        (b.id, b.host_route) = (VpcId::from("vpc-b"), false);
        machine.runtime().ensure_vpc(b.clone()).await.expect("an overlapping VPC");
        serve(&machine, &a, 1, 10).await;
        assert_eq!(run_in(&machine, &a, 2, 11, &ask("10.94.0.10")).await, "served\n");
        let said = run_in(&machine, &b, 3, 11, &ask_once("10.94.0.10", 80)).await;
        assert!(!said.contains("served"), "another VPC's task was reached");
        let said =
            run_in(&machine, &b, 4, 12, "nc -w 10 10.94.7.7 80 < /dev/null 2>&1; true").await;
        assert!(said.contains("No route to host") || said.contains("unreachable"), "{said}");
        machine.finish().await;
    });
}

#[test]
fn an_address_is_free_when_its_task_is_removed() {
    block_on(async {
        let machine = Machine::start();
        let vpc = machine.make_vpc("vpc-a", "10.95.0.0/16").await;
        for n in 1..=8 {
            let task = serve(&machine, &vpc, n, 10).await;
            let said = run_in(&machine, &vpc, 100 + n, 11, &ask("10.95.0.10")).await;
            assert_eq!(said, "served\n", "round {n}");
            machine.runtime().remove(&task).await.expect("removed");
            machine.runtime().remove(&crate::bench::task(100 + n)).await.expect("removed");
        }
        machine.finish().await;
    });
}

#[test]
fn a_task_can_not_speak_with_an_address_that_is_not_its_own() {
    block_on(async {
        let machine = Machine::start();
        let vpc = machine.make_vpc("vpc-a", "10.96.0.0/16").await;
        serve(&machine, &vpc, 1, 10).await;
        assert_eq!(run_in(&machine, &vpc, 2, 11, &ask("10.96.0.10")).await, "served\n");
        let said = run_in(
            &machine,
            &vpc,
            3,
            12,
            "ip addr add 10.96.0.99/16 dev eth0 && echo BROKEN; true",
        );
        assert!(!said.await.contains("BROKEN"));
        machine.finish().await;
    });
}

#[test]
fn a_vpc_with_tasks_stays_and_an_unknown_one_fails_the_sandbox() {
    block_on(async {
        let machine = Machine::start();
        let vpc = machine.make_vpc("vpc-a", "10.97.0.0/16").await;
        let task = serve(&machine, &vpc, 1, 10).await;
        assert!(machine.runtime().remove_vpc(&vpc.id).await.is_err(), "it has a task");
        machine.runtime().remove(&task).await.expect("removed");
        machine.runtime().remove_vpc(&vpc.id).await.expect("it is empty");
        machine.runtime().remove_vpc(&vpc.id).await.expect("removing twice is removing once");
        let task = crate::bench::task(2);
        machine.runtime().create_sandbox(networked(&vpc, &task, 10)).await.expect("asked");
        machine
            .runtime()
            .start_container(&task, machine.script("main", "true"))
            .await
            .expect("asked");
        let failed = |kind: &runtime::EventKind| match kind {
            runtime::EventKind::SandboxFailed { reason, .. } => Some(reason.clone()),
            _ => None,
        };
        let reason = machine.events().wait(&task, failed).await;
        assert!(reason.contains("VPC"), "{reason}");
        machine.events().start_failed(&task, "main").await;
        machine.finish().await;
    });
}

#[test]
fn without_a_network_there_is_loopback_only() {
    block_on(async {
        let machine = Machine::start();
        let task =
            begin(&machine, 1, machine.script("main", "ip -o link; ping -c 1 -w 5 127.0.0.1"))
                .await;
        let exit = machine.events().exited(&task, "main").await;
        let said = log(&machine, &task, "main").await;
        assert_eq!(exit.code, 0, "{said}");
        assert!(!said.contains("eth0"), "{said}");
        machine.finish().await;
    });
}
