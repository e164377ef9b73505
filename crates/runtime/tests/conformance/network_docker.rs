//! A dockerd on the same machine, with its firewall: started before us, and again after us. Its
//! containers and our tasks get out, its published ports and our public addresses are reached.
//! Needs docker.io.

use crate::inside::{Namespace, connect, inside};
use crate::instances::{Instance, beside_world};
use runtime::{
    Cidr, Gateway, GroupRule, GroupTable, Peer, Place, SecurityGroupId, SubnetTable,
    TableInterface, Traffic, VpcId, VpcTable, WayOut,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long dockerd may take to start, and a container in it.
const PATIENCE: Duration = Duration::from_secs(60);
const WORLD: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 2), 80);
const PUBLISHED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 1), 8080);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(198, 19, 8, 8);

/// A Docker Engine in a machine's network.
struct Docker {
    namespace: Arc<Namespace>,
    folder: PathBuf,
    daemon: Option<Child>,
}

impl Docker {
    fn new(namespace: &Arc<Namespace>) -> Self {
        let folder = PathBuf::from(format!("/var/tmp/neargate-docker-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("made");
        Self { namespace: Arc::clone(namespace), folder, daemon: None }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn start(&mut self) {
        let log = File::create(self.folder.join("log")).expect("made");
        let mut command = Command::new("dockerd");
        command.args(["--data-root", &self.path("data"), "--exec-root", &self.path("exec")]);
        command.args(["--pidfile", &self.path("pid"), "--live-restore"]);
        command.args(["-H", &format!("unix://{}", self.path("socket"))]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let spawned = inside(Some(&self.namespace), || command.spawn());
        self.daemon = Some(spawned.expect("this test needs dockerd"));
        let give_up = Instant::now() + PATIENCE;
        while self.ask(&["info"]).is_none() {
            assert!(Instant::now() < give_up, "dockerd does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        // SAFETY: plain numbers; the child has not been waited for.
        #[allow(unsafe_code)]
        let sent = unsafe { libc::kill(daemon.id().cast_signed(), libc::SIGTERM) };
        assert_eq!(sent, 0);
        daemon.wait().expect("waited");
    }

    /// What docker says, if it says yes.
    fn ask(&self, args: &[&str]) -> Option<String> {
        let host = format!("unix://{}", self.path("socket"));
        let ran = Command::new("docker").args(["-H", &host]).args(args).output();
        let ran = ran.expect("this test needs docker");
        ran.status.success().then(|| String::from_utf8_lossy(&ran.stdout).trim().to_owned())
    }

    fn import(&self, layer: &Path) {
        let tar = self.path("image.tar");
        let layer = layer.display().to_string();
        let packed = Command::new("tar").args(["-C", &layer, "-cf", &tar, "."]).status();
        assert!(packed.expect("this test needs tar").success());
        self.ask(&["import", &tar, "test"]).expect("imported");
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            let all = self.ask(&["ps", "-aq"]).unwrap_or_default();
            for container in all.lines() {
                self.ask(&["rm", "-f", container]);
            }
            self.stop();
        }
        // Mounts it leaves behind: its own namespace of networks, and its folder over itself.
        for mount in ["exec/netns/default", "exec/netns", "data"] {
            Command::new("umount").args(["-lq", &self.path(mount)]).status().ok();
        }
        if let Err(e) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("removing {}: {e}", self.folder.display());
        }
    }
}

fn vpc() -> VpcTable {
    let everywhere = Cidr::parse("0.0.0.0/0").expect("a range");
    let cidr = Cidr::parse("10.62.0.0/24").expect("a range");
    let open = vec![GroupRule { traffic: Traffic::All, peer: Peer::Range(everywhere) }];
    let group = SecurityGroupId::from("sg-open");
    let rules = GroupTable { ingress: open.clone(), egress: open };
    let one = TableInterface { place: Place::Task, groups: vec![group.clone()], public: None };
    let routes = vec![WayOut { to: everywhere, by: Gateway::Internet }];
    let gateway = Ipv4Addr::new(10, 62, 0, 1);
    VpcTable {
        id: VpcId::from("vpc-d"),
        cidrs: vec![cidr],
        network_number: 9,
        host_route: false,
        subnets: vec![SubnetTable { cidr, gateway, routes, acl: None }],
        groups: BTreeMap::from([(group, rules)]),
        interfaces: BTreeMap::from([(
            Ipv4Addr::new(10, 62, 0, 10),
            TableInterface { public: Some(PUBLIC), ..one },
        )]),
    }
}

/// Everything works for both, sooner or later: firewalls are looked after when they have changed.
fn check(docker: &Docker, machine: &Instance, task: &Namespace, world: &Namespace) {
    let give_up = Instant::now() + PATIENCE;
    let soon = |what: &str, holds: &dyn Fn() -> bool| {
        while !holds() {
            assert!(Instant::now() < give_up, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let greeted = |namespace: &Namespace, to, word: &str| {
        connect(Some(namespace), to).is_ok_and(|(_, greeting)| greeting.starts_with(word))
    };
    soon("a task gets out", &|| greeted(task, WORLD, "world"));
    soon("a task is reached by its public address", &|| {
        greeted(&machine.namespace, SocketAddrV4::new(PUBLIC, 80), "task")
    });
    soon("a published port is reached", &|| greeted(world, PUBLISHED, "docker"));
    soon("a container gets out", &|| {
        let said = docker.ask(&["exec", "server", "nc", "-w", "2", "198.51.100.2", "80"]);
        said.is_some_and(|said| said.starts_with("world"))
    });
}

#[test]
fn docker_and_we_leave_each_other_alone() {
    let (namespace, world) = beside_world();
    let mut docker = Docker::new(&namespace);
    docker.start();
    let machine = Instance::start(namespace, Ipv4Addr::new(198, 51, 100, 1));
    machine.servers.answer(&world, &[80], &[], "world");
    docker.import(&machine.machine().layer());
    let serve = "while :; do echo docker | nc -l -p 80; done";
    let run = ["run", "-d", "--name", "server", "-p", "8080:80", "test", "/bin/sh", "-c", serve];
    docker.ask(&run).expect("a container runs");
    let vpc = vpc();
    machine.ensure(&vpc);
    let task = machine.run(&vpc, 1, Ipv4Addr::new(10, 62, 0, 10));
    machine.servers.answer(&task, &[80], &[], "task");
    check(&docker, &machine, &task, &world);
    docker.stop();
    docker.start();
    check(&docker, &machine, &task, &world);
    machine.finish();
    // And without us.
    let give_up = Instant::now() + PATIENCE;
    let reached = || connect(Some(&world), PUBLISHED).is_ok_and(|(_, word)| word == "docker");
    while !reached() {
        assert!(Instant::now() < give_up, "a published port is reached");
    }
}
