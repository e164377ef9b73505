//! What a task's network costs: setting it up and taking it away, and what goes through it from
//! task to task, on one instance and between two (network namespaces with a cable between them),
//! beside a dockerd's bridge in a namespace of its own. All of it in turn, round by round, as
//! absolute numbers of a shared machine say little.
//!
//! `cargo run --release -p runtime --example network_rate -- [ROUNDS] [TASKS]`
//!
//! Needs root, busybox-static, iproute2, util-linux and docker.io.

use runtime::{
    Cidr, ContainerLaunch, Embedded, EmbeddedConfig, Event, EventKind, GroupRule, GroupTable,
    InterfaceChanges, NetworkSpec, Peer, Place, Runtime, SandboxSpec, SecurityGroupId, SubnetTable,
    TableInterface, TaskId, Traffic, Underlay, VpcId, VpcTable,
};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long bytes flow, and how long they go to and fro, in one round.
const FLOW: Duration = Duration::from_secs(1);
const PING_PONG: Duration = Duration::from_millis(500);
const PORT: u16 = 5201;
const BLOCK_BYTES: usize = 128 * 1024;

fn main() {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|a| a == "zygote") {
        runtime::zygote_main(args.into_iter().skip(1));
    }
    let number = |at: usize, default: usize| {
        let text = args.iter().filter_map(|a| a.to_str()).filter(|a| !a.starts_with('-')).nth(at);
        text.map_or(default, |a| a.parse().expect("a number"))
    };
    measure(number(0, 5), number(1, 200));
}

fn enter(namespace: &File) {
    // SAFETY: plain numbers; only this thread changes its namespace.
    #[allow(unsafe_code)]
    let done = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

fn inside<T: Send>(namespace: &File, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(namespace);
            work()
        });
        thread.join().expect("it ran")
    })
}

fn apart() -> Arc<File> {
    let made = std::thread::spawn(|| {
        // SAFETY: plain numbers; only this thread changes its namespace.
        #[allow(unsafe_code)]
        let (done, thread) = unsafe { (libc::unshare(libc::CLONE_NEWNET), libc::gettid()) };
        assert_eq!(done, 0, "root can do this");
        run("ip link set lo up");
        File::open(format!("/proc/{}/task/{thread}/ns/net", std::process::id())).expect("its own")
    });
    Arc::new(made.join().expect("made"))
}

fn path(namespace: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd())
}

fn run(line: &str) {
    let mut words = line.split(' ');
    let done = Command::new(words.next().expect("a program")).args(words).status();
    assert!(done.expect("it is installed").success(), "{line}");
}

/// A runtime on a machine of its own.
struct Instance {
    namespace: Arc<File>,
    threads: tokio::runtime::Runtime,
    runtime: Option<Embedded>,
    events: mpsc::Receiver<Event>,
    folder: PathBuf,
    layer: PathBuf,
}

fn vpc() -> VpcTable {
    let cidr = Cidr::parse("10.90.0.0/16").expect("a range");
    let gateway = Ipv4Addr::new(10, 90, 0, 1);
    let group = SecurityGroupId::from("sg-bench");
    let members = GroupRule { traffic: Traffic::All, peer: Peer::Group(group.clone()) };
    let rules = GroupTable { ingress: vec![members.clone()], egress: vec![members] };
    VpcTable {
        id: VpcId::from("vpc-bench"),
        cidrs: vec![cidr],
        network_number: 1,
        host_route: false,
        subnets: vec![SubnetTable { cidr, gateway, routes: Vec::new(), acl: None }],
        groups: BTreeMap::from([(group, rules)]),
        interfaces: BTreeMap::new(),
    }
}

fn address(n: usize) -> Ipv4Addr {
    let [a, b] = (n as u16 + 16).to_be_bytes();
    Ipv4Addr::new(10, 90, a, b)
}

impl Instance {
    fn start(namespace: Arc<File>, tag: &str, underlay: Ipv4Addr) -> Self {
        let own = Arc::clone(&namespace);
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .on_thread_start(move || enter(&own))
            .enable_all()
            .build()
            .expect("threads");
        let folder = PathBuf::from(format!("/var/tmp/neargate-{tag}-{}", std::process::id()));
        let layer = folder.join("layer");
        make_layer(&layer);
        runtime::erase(&folder.join("runtime"), tag).expect("erased");
        let mut config = EmbeddedConfig::new(folder.join("runtime"), tag);
        config.underlay = Some(Underlay::new(underlay));
        let (sender, events) = mpsc::channel(4096);
        let runtime = inside(&namespace, || {
            threads.block_on(async {
                let runtime = Embedded::start(config, sender).expect("the runtime starts");
                runtime.ensure_vpc(vpc()).await.expect("a VPC");
                runtime
            })
        });
        Self { namespace, threads, runtime: Some(runtime), events, folder, layer }
    }

    fn change(&self, upsert: BTreeMap<Ipv4Addr, Place>, remove: Vec<Ipv4Addr>) {
        let groups = vec![SecurityGroupId::from("sg-bench")];
        let of = |place| TableInterface { place, groups: groups.clone(), public: None };
        let upsert = upsert.into_iter().map(|(address, place)| (address, of(place))).collect();
        let changes = InterfaceChanges { upsert, remove };
        let runtime = self.runtime.as_ref().expect("it runs");
        let vpc = VpcId::from("vpc-bench");
        inside(&self.namespace, || {
            let changed = runtime.change_interfaces(&vpc, changes);
            assert!(self.threads.block_on(changed).expect("changed"));
        });
    }

    /// A sandbox, and how long it took to be ready.
    fn create(&mut self, n: usize, networked: bool) -> Duration {
        let began = Instant::now();
        let mut spec = SandboxSpec::new(TaskId::from(format!("{n:032x}")));
        if networked {
            self.change(BTreeMap::from([(address(n), Place::Task)]), Vec::new());
            let [_, _, a, b] = address(n).octets();
            spec.network = Some(NetworkSpec {
                vpc: VpcId::from("vpc-bench"),
                address: address(n),
                prefix: 16,
                gateway: Ipv4Addr::new(10, 90, 0, 1),
                mac: [2, 0, 10, 90, a, b],
                mtu: None,
            });
        }
        let runtime = self.runtime.as_ref().expect("it runs");
        self.threads.block_on(runtime.create_sandbox(spec)).expect("created");
        loop {
            match self.threads.block_on(self.events.recv()).expect("events go on").kind {
                EventKind::SandboxReady { .. } => return began.elapsed(),
                EventKind::SandboxFailed { reason, .. } => panic!("{reason}"),
                _ => {}
            }
        }
    }

    fn remove(&self, n: usize, networked: bool) -> Duration {
        let began = Instant::now();
        let runtime = self.runtime.as_ref().expect("it runs");
        let task = TaskId::from(format!("{n:032x}"));
        self.threads.block_on(runtime.remove(&task)).expect("removed");
        if networked {
            self.change(BTreeMap::new(), vec![address(n)]);
        }
        began.elapsed()
    }

    /// The network namespace of a task that sleeps.
    fn sleeper(&mut self, n: usize) -> File {
        self.create(n, true);
        let layers = vec![self.layer.clone()];
        let launch = ContainerLaunch::new("main", layers, &["/bin/sleep", "10000"]);
        let task = TaskId::from(format!("{n:032x}"));
        let runtime = self.runtime.as_ref().expect("it runs");
        self.threads.block_on(runtime.start_container(&task, launch)).expect("started");
        loop {
            let event = self.threads.block_on(self.events.recv()).expect("events go on");
            if let EventKind::ContainerStarted { pid, .. } = event.kind {
                return File::open(format!("/proc/{pid}/ns/net")).expect("it lives");
            }
        }
    }

    fn finish(mut self) {
        let runtime = self.runtime.take().expect("it runs");
        let (threads, namespace) = (&self.threads, &self.namespace);
        inside(namespace, || threads.block_on(runtime.purge()).expect("purged"));
        std::fs::remove_dir_all(&self.folder).expect("removed");
    }
}

/// A dockerd in a network namespace of its own, driven by Docker's client.
struct Dockerd {
    /// It lives as long as this is held.
    _namespace: Arc<File>,
    daemon: Child,
    folder: PathBuf,
    socket: String,
}

impl Dockerd {
    fn start(layer: &Path) -> Self {
        let namespace = apart();
        let folder = PathBuf::from(format!("/var/tmp/neargate-docker-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("made");
        let at = |name: &str| folder.join(name).display().to_string();
        let socket = format!("unix://{}", at("sock"));
        let log = File::create(folder.join("log")).expect("a log");
        let mut command = Command::new("nsenter");
        // A mount namespace of its own, so that what it mounts goes with it.
        command.args([&format!("--net={}", path(&namespace)), "unshare", "--mount", "dockerd"]);
        command.args(["--data-root", &at("data"), "--exec-root", &at("exec")]);
        command.args(["--pidfile", &at("pid"), "-H", &socket]);
        command.stdout(log.try_clone().expect("one more")).stderr(log);
        let daemon = command.spawn().expect("dockerd is installed");
        let docker = Self { _namespace: namespace, daemon, folder, socket };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !docker.client().arg("version").output().is_ok_and(|it| it.status.success()) {
            assert!(Instant::now() < deadline, "dockerd does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        let tar = docker.folder.join("layer.tar");
        run(&format!("tar -C {} -cf {} .", layer.display(), tar.display()));
        docker.ask(&["import", &tar.display().to_string(), "bench"]);
        docker
    }

    fn client(&self) -> Command {
        let mut command = Command::new("docker");
        command.args(["-H", &self.socket]);
        command
    }

    fn ask(&self, words: &[&str]) -> String {
        let done = self.client().args(words).output().expect("docker is installed");
        assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    fn create(&self, network: &str) -> (String, Duration) {
        let began = Instant::now();
        let words = ["run", "-d", "--network", network, "bench", "/bin/sleep", "10000"];
        (self.ask(&words), began.elapsed())
    }

    fn remove(&self, container: &str) -> Duration {
        let began = Instant::now();
        self.ask(&["rm", "-f", container]);
        began.elapsed()
    }

    /// The network namespace of a container that sleeps, and its address.
    fn sleeper(&self) -> (File, Ipv4Addr) {
        let (id, _) = self.create("bridge");
        let shown = "{{.State.Pid}} {{.NetworkSettings.IPAddress}}";
        let told = self.ask(&["inspect", "-f", shown, &id]);
        let (pid, address) = told.split_once(' ').expect("both");
        let namespace = File::open(format!("/proc/{pid}/ns/net")).expect("it lives");
        (namespace, address.parse().expect("an address"))
    }

    /// Its containers end with it.
    fn finish(mut self) {
        let all = self.ask(&["ps", "-aq"]);
        let all: Vec<&str> = all.split_whitespace().collect();
        self.ask(&[&["rm", "-f"], &all[..]].concat());
        run(&format!("kill {}", self.daemon.id()));
        self.daemon.wait().expect("it ended");
        std::fs::remove_dir_all(&self.folder).expect("removed");
    }
}

/// Gigabits a second one way, and microseconds there and back for one byte.
fn between(client: &File, server: &File, to: Ipv4Addr) -> (f64, f64) {
    let listener = inside(server, || TcpListener::bind((to, PORT)).expect("bound"));
    let sink = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut buffer = vec![0; BLOCK_BYTES];
        let mut total = 0_u64;
        let began = Instant::now();
        while let Ok(n) = stream.read(&mut buffer)
            && n > 0
        {
            total += n as u64;
        }
        let rate = total as f64 * 8.0 / began.elapsed().as_secs_f64() / 1e9;
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.set_nodelay(true).expect("set");
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
        rate
    });
    let connect = || inside(client, || TcpStream::connect((to, PORT)).expect("connected"));
    let mut stream = connect();
    let (block, began) = (vec![0; BLOCK_BYTES], Instant::now());
    while began.elapsed() < FLOW {
        stream.write_all(&block).expect("sent");
    }
    drop(stream);
    let mut stream = connect();
    stream.set_nodelay(true).expect("set");
    let (mut byte, mut times, began) = ([0], 0_u32, Instant::now());
    while began.elapsed() < PING_PONG {
        stream.write_all(&byte).expect("sent");
        stream.read_exact(&mut byte).expect("answered");
        times += 1;
    }
    let each = began.elapsed().as_secs_f64() * 1e6 / f64::from(times);
    drop(stream);
    (sink.join().expect("received"), each)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn measure(rounds: usize, tasks: usize) {
    let (one, other) = (apart(), apart());
    let target = path(&other);
    inside(&one, || {
        run("ip link add eth0 type veth peer name cable");
        run(&format!("ip link set cable netns {target} name eth0"));
    });
    let underlays = [Ipv4Addr::new(10, 99, 0, 1), Ipv4Addr::new(10, 99, 0, 2)];
    for (namespace, address) in [&one, &other].into_iter().zip(underlays) {
        inside(namespace, || {
            run(&format!("ip addr add {address}/24 dev eth0"));
            run("ip link set eth0 up");
        });
    }
    let mut here = Instance::start(one, "neta", underlays[0]);
    let mut there = Instance::start(other, "netb", underlays[1]);
    set_up(&mut here, rounds, tasks);
    let ends = [here.sleeper(1), here.sleeper(2), there.sleeper(3)];
    here.change(BTreeMap::from([(address(3), Place::Instance(underlays[1]))]), Vec::new());
    there.change(BTreeMap::from([(address(1), Place::Instance(underlays[0]))]), Vec::new());
    let docker = Dockerd::start(&here.layer);
    set_up_docker(&docker, rounds, tasks);
    let containers = [docker.sleeper(), docker.sleeper()];
    let names = ["task to task", "task to task, two instances", "dockerd's bridge"];
    let mut rates = [const { Vec::new() }; 3];
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        let got = [
            between(&ends[0], &ends[1], address(2)),
            between(&ends[0], &ends[2], address(3)),
            between(&containers[0].0, &containers[1].0, containers[1].1),
        ];
        for (n, (rate, time)) in got.into_iter().enumerate() {
            rates[n].push(rate);
            times[n].push(time);
        }
    }
    println!("medians of {rounds} rounds, in turn:");
    for ((name, rates), times) in names.iter().zip(rates).zip(times) {
        let (rate, time) = (median(rates), median(times));
        println!("  {name:<30} {rate:6.1} Gbit/s  {time:6.1} us there and back");
    }
    docker.finish();
    here.finish();
    there.finish();
}

/// A container on dockerd's bridge beside one without a network: the difference is the bridge's. By
/// Docker's client, whose own time is in both.
fn set_up_docker(docker: &Dockerd, rounds: usize, tasks: usize) {
    let mut created = [const { Vec::new() }; 2];
    let mut removed = [const { Vec::new() }; 2];
    // Hundreds of milliseconds each: a tenth of them tells enough.
    for n in 0..(tasks / 10).max(rounds) * 2 {
        let (id, took) = docker.create(["bridge", "none"][n % 2]);
        created[n % 2].push(took.as_secs_f64() * 1e3);
        removed[n % 2].push(docker.remove(&id).as_secs_f64() * 1e3);
    }
    report_set_up("a container of dockerd's", [("set up", created), ("taken away", removed)]);
}

fn report_set_up(whose: &str, both: [(&str, [Vec<f64>; 2]); 2]) {
    for (what, times) in both {
        let [with, without] = times.map(median);
        println!(
            "{whose} {what}: {with:.2} ms with a network, {without:.2} ms without: {:.2} ms for \
             the network",
            with - without
        );
    }
}

/// A sandbox with a network beside one without, in turn: the difference is the network's.
fn set_up(instance: &mut Instance, rounds: usize, tasks: usize) {
    let mut created = [const { Vec::new() }; 2];
    let mut removed = [const { Vec::new() }; 2];
    for round in 0..rounds * 2 {
        let networked = round % 2 == 0;
        for n in 0..tasks / rounds {
            let id = 1000 + round * tasks + n;
            created[round % 2].push(instance.create(id, networked).as_secs_f64() * 1e3);
            removed[round % 2].push(instance.remove(id, networked).as_secs_f64() * 1e3);
        }
    }
    report_set_up("a sandbox", [("set up", created), ("taken away", removed)]);
}

fn make_layer(layer: &Path) {
    let bin = layer.join("bin");
    std::fs::create_dir_all(&bin).expect("made");
    std::fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static is installed");
    std::os::unix::fs::symlink("busybox", bin.join("sleep")).expect("linked");
    for folder in ["proc", "sys", "dev", "etc"] {
        std::fs::create_dir(layer.join(folder)).expect("made");
    }
}
