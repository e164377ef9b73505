//! Machines made of network namespaces: each has a runtime of its own whose threads live there, and
//! cables to others. What a test does to one machine's network no other notices.

use crate::bench::{Bench, task};
use crate::embedded::{Machine, networked_at};
use crate::inside::{Namespace, Servers, apart, inside, ip, of_process, path};
use runtime::{InterfaceChanges, Runtime, Underlay, VpcId, VpcTable};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// One machine: its namespace and the runtime on it.
pub struct Instance {
    pub namespace: Arc<Namespace>,
    pub underlay: Ipv4Addr,
    threads: tokio::runtime::Runtime,
    machine: Option<Machine>,
    /// In its tasks, and beside it.
    pub servers: Servers,
}

impl Instance {
    pub fn start(namespace: Arc<Namespace>, underlay: Ipv4Addr) -> Self {
        let own = Arc::clone(&namespace);
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(move || crate::inside::enter(&own))
            .enable_all()
            .build()
            .expect("threads");
        let machine = inside(Some(&namespace), || {
            threads.block_on(async { Machine::start_at(Some(Underlay::new(underlay))) })
        });
        Self { namespace, underlay, threads, machine: Some(machine), servers: Servers::default() }
    }

    pub fn machine(&self) -> &Machine {
        self.machine.as_ref().expect("it runs")
    }

    /// Does something with the runtime, on its machine.
    pub fn on<T: Send>(&self, work: impl AsyncFnOnce(&Machine) -> T + Send) -> T {
        inside(Some(&self.namespace), || self.threads.block_on(work(self.machine())))
    }

    pub fn change(&self, vpc: &VpcId, changes: InterfaceChanges) {
        self.on(async |machine| {
            let changed = machine.runtime().change_interfaces(vpc, changes).await;
            assert!(changed.expect("changed"), "the table was given");
        });
    }

    pub fn restart_agent(&mut self) {
        let (machine, threads) = (&mut self.machine, &self.threads);
        inside(Some(&self.namespace), || {
            threads.block_on(async { machine.as_mut().expect("it runs").restart_agent() });
        });
    }

    pub fn ensure(&self, table: &VpcTable) {
        inside(Some(&self.namespace), || {
            let ensured = self.machine().runtime().ensure_vpc(table.clone());
            self.threads.block_on(ensured).expect("ensured");
        });
    }

    /// A task that does nothing; its network namespace.
    pub fn run(&self, table: &VpcTable, n: u32, address: Ipv4Addr) -> Arc<Namespace> {
        let (machine, task) = (self.machine(), task(n));
        let pid = inside(Some(&self.namespace), || {
            self.threads.block_on(async {
                let spec = networked_at(table, &task, address);
                machine.runtime().create_sandbox(spec).await.expect("created");
                let launch = machine.script("main", "sleep 1000");
                machine.runtime().start_container(&task, launch).await.expect("started");
                machine.events().started(&task, "main").await.1
            })
        });
        of_process(pid)
    }

    pub fn finish(mut self) {
        self.servers.end();
        let machine = self.machine.take().expect("it runs");
        inside(Some(&self.namespace), || self.threads.block_on(machine.finish()));
    }
}

/// Connects two namespaces: each gets a link of this name with its address of a /24.
pub fn cable(one: (&Namespace, &str, Ipv4Addr), other: (&Namespace, &str, Ipv4Addr)) {
    let target = path(other.0);
    inside(Some(one.0), || {
        ip(&["link", "add", one.1, "type", "veth", "peer", "name", "cable"]);
        ip(&["link", "set", "cable", "netns", &target, "name", other.1]);
    });
    for (namespace, name, address) in [one, other] {
        inside(Some(namespace), || {
            ip(&["addr", "add", &format!("{address}/24"), "dev", name]);
            ip(&["link", "set", name, "up"]);
        });
    }
}

/// Two machines with a cable between them.
pub fn pair() -> [Instance; 2] {
    let namespaces = [apart(), apart()];
    let addresses = [Ipv4Addr::new(10, 99, 0, 1), Ipv4Addr::new(10, 99, 0, 2)];
    let end = |n: usize| (&*namespaces[n], "eth0", addresses[n]);
    cable(end(0), end(1));
    let [one, other] = namespaces.clone();
    [Instance::start(one, addresses[0]), Instance::start(other, addresses[1])]
}

/// A machine's namespace, whose only neighbour is the world: a namespace at 198.51.100.2 that knows
/// no way to anything but the machine, at 198.51.100.1.
pub fn beside_world() -> (Arc<Namespace>, Arc<Namespace>) {
    let (machine, world) = (apart(), apart());
    let end = |last| Ipv4Addr::new(198, 51, 100, last);
    cable((&machine, "eth0", end(1)), (&world, "eth0", end(2)));
    (machine, world)
}

/// A runtime on a machine beside the world, which answers on port 80.
pub fn with_world() -> (Instance, Arc<Namespace>) {
    let (machine, world) = beside_world();
    let machine = Instance::start(machine, Ipv4Addr::new(198, 51, 100, 1));
    machine.servers.answer(&world, &[80], &[], "world");
    (machine, world)
}
