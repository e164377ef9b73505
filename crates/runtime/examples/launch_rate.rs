//! How fast tasks start: from the call to the container's first byte, its exit, and the task's
//! removal. One task at a time, then many at once. The kernel's floor for the same work is about a
//! millisecond.
//!
//! `cargo run --release -p runtime --example launch_rate -- [TASKS] [AT_ONCE] [--no-network]
//! [--no-storage | --other-storage] [--idle]`
//!
//! Tasks have ephemeral storage of the size that is made beforehand; with the options none, or one
//! of another size.
//! With `--idle`, what TASKS tasks cost that run and do nothing.

use runtime::limits::STORAGE_GIB_DEFAULT;
use runtime::{
    Cidr, ContainerLaunch, Embedded, EmbeddedConfig, Event, EventKind, GroupRule, GroupTable,
    InterfaceChanges, NetworkSpec, Peer, Place, Runtime, SandboxSpec, SecurityGroupId, SubnetTable,
    TableInterface, TaskId, Traffic, VpcId, VpcTable,
};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

fn main() {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|a| a == "zygote") {
        runtime::zygote_main(args.into_iter().skip(1));
    }
    let number = |at: usize, default: usize| {
        let text = args.iter().filter_map(|a| a.to_str()).filter(|a| !a.starts_with('-')).nth(at);
        text.map_or(default, |a| a.parse().expect("a number"))
    };
    let (tasks, at_once) = (number(0, 300), number(1, 50));
    let network = !args.iter().any(|a| a == "--no-network");
    let storage_gib = match args.iter().find_map(|a| a.to_str()?.strip_suffix("-storage")) {
        Some("--no") => None,
        Some(_) => Some(200),
        None => Some(STORAGE_GIB_DEFAULT),
    };
    let idle = args.iter().any(|a| a == "--idle");
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    threads.expect("threads").block_on(measure(tasks, at_once, network, storage_gib, idle));
}

/// Where a task's events go: its own channel.
type Routes = Arc<Mutex<BTreeMap<TaskId, mpsc::Sender<EventKind>>>>;

struct Bench {
    runtime: Embedded,
    routes: Routes,
    layer: PathBuf,
    network: bool,
    storage_gib: Option<u32>,
}

#[derive(Default)]
struct Times {
    started: Vec<Duration>,
    first_byte: Vec<Duration>,
    exited: Vec<Duration>,
    removed: Vec<Duration>,
}

async fn measure(
    tasks: usize,
    at_once: usize,
    network: bool,
    storage_gib: Option<u32>,
    idle: bool,
) {
    let folder = PathBuf::from("/var/tmp").join(format!("neargate-launch-{}", std::process::id()));
    let layer = folder.join("layer");
    make_layer(&layer);
    let (sender, mut events) = mpsc::channel::<Event>(4096);
    // What an earlier run left that was killed.
    runtime::erase(&folder.join("runtime"), "bench").expect("erased");
    let config = EmbeddedConfig::new(folder.join("runtime"), "bench");
    let runtime = Embedded::start(config, sender).expect("the runtime starts");
    let routes = Routes::default();
    let table = routes.clone();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let route = table.lock().expect("routes").get(&event.task).cloned();
            if let Some(route) = route {
                route.send(event.kind).await.ok();
            }
        }
    });
    if network {
        runtime.ensure_vpc(vpc()).await.expect("a VPC");
    }
    let bench = Arc::new(Bench { runtime, routes, layer, network, storage_gib });
    if idle {
        bench.idle(tasks).await;
    } else {
        rates(&bench, tasks, at_once).await;
    }
    let bench = Arc::into_inner(bench).expect("workers have ended");
    bench.runtime.purge().await.expect("purged");
    std::fs::remove_dir_all(&folder).expect("removed");
}

/// A VPC with one security group, whose members may talk to each other.
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

async fn rates(bench: &Arc<Bench>, tasks: usize, at_once: usize) {
    for n in 0..20 {
        bench.one(n, &mut Times::default()).await;
    }
    let mut times = Times::default();
    let began = Instant::now();
    for n in 0..tasks {
        bench.one(n, &mut times).await;
    }
    report("one by one", tasks, began.elapsed(), &mut times);
    let all = Arc::new(Mutex::new(Times::default()));
    let next = Arc::new(Mutex::new(0..tasks));
    let began = Instant::now();
    let workers: Vec<_> = (0..at_once)
        .map(|_| tokio::spawn(work(bench.clone(), next.clone(), all.clone())))
        .collect();
    for worker in workers {
        worker.await.expect("a worker");
    }
    let name = format!("{at_once} at once");
    report(&name, tasks, began.elapsed(), &mut all.lock().expect("times"));
}

async fn work(bench: Arc<Bench>, next: Arc<Mutex<std::ops::Range<usize>>>, all: Arc<Mutex<Times>>) {
    loop {
        let Some(n) = next.lock().expect("next").next() else { return };
        let mut times = Times::default();
        bench.one(n, &mut times).await;
        let mut all = all.lock().expect("times");
        all.started.extend(times.started);
        all.first_byte.extend(times.first_byte);
        all.exited.extend(times.exited);
        all.removed.extend(times.removed);
    }
}

/// Proportional share of memory of the bench's processes whose name begins so, in KiB, and how
/// many.
fn memory(name: &str) -> (u64, usize) {
    let all = runtime::census(Some("bench")).expect("a census");
    let pids = all.iter().filter_map(|trace| match trace {
        runtime::Trace::Process { pid, name: n } if n.starts_with(name) => Some(*pid),
        _ => None,
    });
    let mut pids: Vec<u32> = pids.collect();
    pids.dedup();
    let share = |pid: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("Pss:")).unwrap_or("0");
        line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0)
    };
    (pids.iter().map(share).sum(), pids.len())
}

fn available_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("meminfo");
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:")).expect("a line");
    line.split_whitespace().next().expect("a number").parse().expect("a number")
}

impl Bench {
    async fn idle(&self, tasks: usize) {
        let fds = || std::fs::read_dir("/proc/self/fd").expect("descriptors").count();
        let (fds_before, memory_before) = (fds(), available_kib());
        for n in 0..tasks {
            let (task, mut events) = self.task(n);
            let layers = vec![self.layer.clone()];
            let launch = ContainerLaunch::new("main", layers, &["/bin/sleep", "1000"]);
            self.change(n, true).await;
            self.runtime.create_sandbox(self.spec(&task, n)).await.expect("created");
            self.runtime.start_container(&task, launch).await.expect("started");
            while !matches!(events.recv().await, Some(EventKind::ContainerStarted { .. })) {}
        }
        let each = |kib: u64| kib / tasks as u64;
        let (supervisors, count) = memory("ng-");
        println!("{count} supervisors: {} KiB each (proportional share)", each(supervisors));
        let used = memory_before.saturating_sub(available_kib());
        println!("all told {} KiB of the machine's memory for each task", each(used));
        let fds = (fds() - fds_before) as f64 / tasks as f64;
        println!("{fds:.2} descriptors for each task in the agent");
    }

    fn task(&self, n: usize) -> (TaskId, mpsc::Receiver<EventKind>) {
        let task = TaskId::from(format!("{n:032x}"));
        let (sender, events) = mpsc::channel(64);
        self.routes.lock().expect("routes").insert(task.clone(), sender);
        (task, events)
    }

    /// Tells of a task's interface, or that it is gone, as a session does.
    async fn change(&self, n: usize, there: bool) {
        if !self.network {
            return;
        }
        let [a, b] = (n as u16 + 16).to_be_bytes();
        let address = Ipv4Addr::new(10, 90, a, b);
        let groups = vec![SecurityGroupId::from("sg-bench")];
        let interface = TableInterface { place: Place::Task, groups, public: None };
        let changes = match there {
            true => InterfaceChanges {
                upsert: BTreeMap::from([(address, interface)]),
                remove: Vec::new(),
            },
            false => InterfaceChanges { upsert: BTreeMap::new(), remove: vec![address] },
        };
        let changed = self.runtime.change_interfaces(&VpcId::from("vpc-bench"), changes).await;
        assert!(changed.expect("changed"));
    }

    fn spec(&self, task: &TaskId, n: usize) -> SandboxSpec {
        let mut spec = SandboxSpec::new(task.clone());
        spec.cpu_units = Some(256);
        spec.memory_mib = Some(512);
        spec.ephemeral_storage_gib = self.storage_gib;
        if self.network {
            let [a, b] = (n as u16 + 16).to_be_bytes();
            spec.network = Some(NetworkSpec {
                vpc: VpcId::from("vpc-bench"),
                address: Ipv4Addr::new(10, 90, a, b),
                prefix: 16,
                gateway: Ipv4Addr::new(10, 90, 0, 1),
                mac: [2, 0, 10, 90, a, b],
                mtu: None,
            });
        }
        spec
    }

    async fn one(&self, n: usize, times: &mut Times) {
        let (task, mut events) = self.task(n);
        let spec = self.spec(&task, n);
        let launch =
            ContainerLaunch::new("main", vec![self.layer.clone()], &["/bin/echo", "hello"]);
        let began = Instant::now();
        self.change(n, true).await;
        self.runtime.create_sandbox(spec).await.expect("created");
        self.runtime.start_container(&task, launch).await.expect("started");
        loop {
            match events.recv().await.expect("events go on") {
                EventKind::ContainerStarted { .. } => times.started.push(began.elapsed()),
                EventKind::LogGrew { .. } => times.first_byte.push(began.elapsed()),
                EventKind::ContainerExited { exit, .. } => {
                    assert_eq!(exit.code, 0);
                    times.exited.push(began.elapsed());
                    break;
                }
                EventKind::SandboxReady { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        self.runtime.remove(&task).await.expect("removed");
        times.removed.push(began.elapsed());
        self.change(n, false).await;
        self.routes.lock().expect("routes").remove(&task);
    }
}

fn report(name: &str, tasks: usize, took: Duration, times: &mut Times) {
    println!("{name}: {tasks} tasks, {:.0} a second", tasks as f64 / took.as_secs_f64());
    for (what, all) in [
        ("started", &mut times.started),
        ("first byte", &mut times.first_byte),
        ("exit", &mut times.exited),
        ("removed", &mut times.removed),
    ] {
        all.sort();
        let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        println!("  {what:<10} p50 {:.2} ms  p99 {:.2} ms", at(0.5), at(0.99));
    }
}

fn make_layer(layer: &Path) {
    let bin = layer.join("bin");
    std::fs::create_dir_all(&bin).expect("made");
    std::fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox-static is installed");
    for name in ["sh", "echo", "true", "sleep"] {
        std::os::unix::fs::symlink("busybox", bin.join(name)).expect("linked");
    }
    for folder in ["proc", "sys", "dev", "etc"] {
        std::fs::create_dir(layer.join(folder)).expect("made");
    }
}
