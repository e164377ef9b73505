//! The embedded runtime on a bench: a folder and a tag of its own for each test, an image made of
//! busybox, and a census at the end.

use crate::bench::{Bench, Events, Program, begin, log};
use runtime::{
    Cidr, ContainerExit, ContainerLaunch, Embedded, EmbeddedConfig, Gateway, GroupRule, GroupTable,
    NetworkSpec, Peer, Place, Runtime, SandboxSpec, SecurityGroupId, SubnetTable, TableInterface,
    TaskId, Trace, Traffic, Underlay, VpcId, VpcTable, WayOut, census, erase,
};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const BUSYBOX: &str = "/bin/busybox";
/// Dying namespaces take their links along a moment after their last process.
const CENSUS_PATIENCE: Duration = Duration::from_secs(10);

/// Cleans up whatever happens.
pub struct Guard {
    pub folder: PathBuf,
    pub tag: String,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Err(e) = erase(&self.folder.join("runtime"), &self.tag) {
            eprintln!("cleaning up after a test: {e}");
        }
        if let Err(e) = fs::remove_dir_all(&self.folder) {
            eprintln!("removing {}: {e}", self.folder.display());
        }
    }
}

pub struct Machine {
    runtime: Option<Embedded>,
    events: Events,
    pub guard: Guard,
}

pub fn config(guard: &Guard) -> EmbeddedConfig {
    let mut config = EmbeddedConfig::new(guard.folder.join("runtime"), &guard.tag);
    config.zygote = vec![OsString::from(env!("CARGO_BIN_EXE_runtime-zygote")), "zygote".into()];
    config
}

impl Machine {
    pub fn start() -> Self {
        Self::start_at(None)
    }

    /// With a way to other instances.
    pub fn start_at(underlay: Option<Underlay>) -> Self {
        // A test is a process of its own, or has at least a thread of its own.
        let number = format!("{:?}", std::thread::current().id());
        let number: String = number.chars().filter(char::is_ascii_digit).collect();
        let tag = format!("{:x}{number}", std::process::id() % 0xf_ffff);
        let folder = PathBuf::from(format!("/var/tmp/neargate-test-{tag}"));
        make_layer(&folder.join("layer"));
        let guard = Guard { folder, tag };
        let (runtime, events) = Self::connect(&guard, underlay);
        Self { runtime: Some(runtime), events, guard }
    }

    fn connect(guard: &Guard, underlay: Option<Underlay>) -> (Embedded, Events) {
        let (sender, receiver) = mpsc::channel(1000);
        let config = EmbeddedConfig { underlay, ..config(guard) };
        let runtime = Embedded::start(config, sender).expect("root can start the runtime");
        (runtime, Events::new(receiver))
    }

    /// The agent ends without a word and another one starts.
    pub fn restart_agent(&mut self) {
        drop(self.runtime.take());
        let (runtime, events) = Self::connect(&self.guard, None);
        (self.runtime, self.events) = (Some(runtime), events);
    }

    pub fn layer(&self) -> PathBuf {
        self.guard.folder.join("layer")
    }

    pub fn runtime_folder(&self) -> PathBuf {
        self.guard.folder.join("runtime")
    }

    /// A container that runs a shell script.
    pub fn script(&self, name: &str, script: &str) -> ContainerLaunch {
        ContainerLaunch::new(name, vec![self.layer()], &["/bin/sh", "-c", script])
    }

    /// Runs a script to its end, with changes to its launch: its output and how it ended.
    pub async fn run_with(
        &self,
        n: u32,
        script: &str,
        change: impl FnOnce(&mut ContainerLaunch),
    ) -> (String, ContainerExit) {
        let mut launch = self.script("main", script);
        change(&mut launch);
        let task = begin(self, n, launch).await;
        let exit = self.events().exited(&task, "main").await;
        (log(self, &task, "main").await, exit)
    }

    pub async fn run(&self, n: u32, script: &str) -> String {
        self.run_with(n, script, |_| {}).await.0
    }

    /// A VPC with one subnet, in which every address may talk to every other, and to the world
    /// through a NAT gateway.
    pub async fn make_vpc(&self, id: &str, cidr: &str) -> VpcTable {
        let vpc = open_vpc(id, cidr);
        self.runtime().ensure_vpc(vpc.clone()).await.expect("a VPC");
        vpc
    }

    pub fn census(&self) -> Vec<Trace> {
        census(Some(&self.guard.tag)).expect("a census")
    }

    /// Everything is taken away, and nothing is left.
    pub async fn finish(mut self) {
        self.runtime.take().expect("it runs").purge().await.expect("purged");
        let give_up = Instant::now() + CENSUS_PATIENCE;
        loop {
            let left = self.census();
            if left.is_empty() {
                break;
            }
            assert!(Instant::now() < give_up, "left behind: {left:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!self.runtime_folder().exists());
    }
}

/// The public address of an open VPC's NAT gateway.
pub const NAT: Ipv4Addr = Ipv4Addr::new(198, 19, 77, 7);

pub fn open_vpc(id: &str, cidr: &str) -> VpcTable {
    let cidr = Cidr::parse(cidr).expect("a range");
    let everywhere = Cidr::parse("0.0.0.0/0").expect("a range");
    let gateway = Ipv4Addr::from(u32::from(cidr.address) + 1);
    let routes = vec![WayOut { to: everywhere, by: Gateway::Nat(NAT) }];
    let subnets = vec![SubnetTable { cidr, gateway, routes, acl: None }];
    let open = vec![GroupRule { traffic: Traffic::All, peer: Peer::Range(everywhere) }];
    let group = GroupTable { ingress: open.clone(), egress: open };
    let name = SecurityGroupId::from("sg-open");
    let task = TableInterface { place: Place::Task, groups: vec![name.clone()], public: None };
    let address = |host| Ipv4Addr::from(u32::from(cidr.address) + host);
    VpcTable {
        id: VpcId::from(id),
        cidrs: vec![cidr],
        network_number: 77,
        host_route: true,
        subnets,
        groups: BTreeMap::from([(name, group)]),
        interfaces: (4..255).map(|host| (address(host), task.clone())).collect(),
    }
}

/// A task with an address in a VPC.
pub fn networked_at(vpc: &VpcTable, task: &TaskId, address: Ipv4Addr) -> SandboxSpec {
    let of = |subnet: &&SubnetTable| subnet.cidr.contains(address);
    let subnet = vpc.subnets.iter().find(of).expect("an address of the VPC");
    let [a, b, c, d] = address.octets();
    let mut spec = SandboxSpec::new(task.clone());
    spec.network = Some(NetworkSpec {
        vpc: vpc.id.clone(),
        address,
        prefix: subnet.cidr.prefix,
        gateway: subnet.gateway,
        mac: [0x0a, 0, a, b, c, d],
        mtu: None,
    });
    spec
}

/// A task with an address in a VPC's first subnet.
pub fn networked(vpc: &VpcTable, task: &TaskId, host: u8) -> SandboxSpec {
    let [a, b, c, _] = vpc.subnets[0].cidr.address.octets();
    networked_at(vpc, task, Ipv4Addr::new(a, b, c, host))
}

impl Bench for Machine {
    type Runtime = Embedded;

    fn runtime(&self) -> &Embedded {
        self.runtime.as_ref().expect("it runs")
    }

    fn events(&self) -> &Events {
        &self.events
    }

    fn launch(&self, name: &str, program: Program<'_>) -> ContainerLaunch {
        match program {
            Program::Run => {
                self.script(name, "trap 'exit 0' TERM; while :; do sleep 1 & wait; done")
            }
            Program::Stubborn => self.script(name, "trap '' TERM; while :; do sleep 1; done"),
            Program::Exit(code) => self.script(name, &format!("exit {code}")),
            Program::Print(text, code) => self.script(name, &format!("echo '{text}'; exit {code}")),
            Program::Missing => ContainerLaunch::new(name, vec![self.layer()], &["nope"]),
        }
    }
}

/// A root file system of busybox, with a user and a few files for tests.
fn make_layer(layer: &Path) {
    assert!(Path::new(BUSYBOX).exists(), "these tests need the package busybox-static");
    for folder in ["bin", "etc", "data", "tmp"] {
        fs::create_dir_all(layer.join(folder)).expect("made");
    }
    fs::copy(BUSYBOX, layer.join("bin/busybox")).expect("copied");
    let names = "sh echo cat ls id sleep mount umount mknod chmod hostname ping wget nc ip grep dd \
        true kill ps touch mkdir stat head pwd env seq chown test ln sysctl nproc tr wc printf \
        httpd readlink unshare dmesg";
    for name in names.split_whitespace() {
        symlink("busybox", layer.join("bin").join(name)).expect("linked");
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:/bin/sh\n";
    fs::write(layer.join("etc/passwd"), passwd).expect("written");
    fs::write(layer.join("etc/group"), "root:x:0:\nweb:x:33:\nlogs:x:44:web\n").expect("written");
    fs::write(layer.join("data/seed"), "from the image\n").expect("written");
    fs::write(layer.join("etc/not-executable"), "#!/bin/sh\n").expect("written");
    fs::write(layer.join("bin/garbage"), "\x01\x02").expect("written");
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(layer.join("bin/garbage"), executable).expect("changed");
    fs::set_permissions(layer.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("changed");
}

/// Looks until it is so, for things that the kernel does a moment after it is asked to.
pub async fn until(is_so: impl Fn() -> bool) {
    let give_up = Instant::now() + CENSUS_PATIENCE;
    while !is_so() {
        assert!(Instant::now() < give_up, "not within {CENSUS_PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
