//! A control plane and an agent, the real ones, over a store in memory and a kernel that is made
//! up. Time is tokio's and paused: it moves only when nothing else can, so that waiting for minutes
//! takes no time.

use agent::{Agent, Image, Images, Settings, Wanted};
use manager::{Context, Manager};
use model::arn::Locality;
use model::container::ContainerState;
use model::facts::{Facts, InterfaceFact, TargetFact, TaskStatus};
use model::logs::LogGroup;
use model::network::{Cidr, Subnet, Vpc};
use model::session::RegistryAccess;
use model::task::{NetworkRequest, StopCode, Task, TaskOverrides};
use model::task_definition::{
    ContainerTemplate, LogConfiguration, TaskDefinition, TaskDefinitionStatus, TaskTemplate,
};
use model::*;
use runtime::fake::FakeKernel;
use runtime::image::ImageConfig;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use store::Store;
use store::kinds::task_key;
use store::logs::{Durability, Logs, PageLimit, PageStart, TimeRange};
use store::metrics::Metrics;
use store::secret::Sealer;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub const GROUP: &str = "/test";
/// How long a fact may take to come about, in paused seconds.
const PATIENCE_SECONDS: u64 = 3600;

pub struct World {
    pub store: Store,
    pub kernel: FakeKernel,
    pub manager: Manager,
    logs: Logs,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    folder: tempfile::TempDir,
    agent: Option<JoinHandle<()>>,
    minted: AtomicU64,
}

/// Every reference is an image that runs what the definition says.
struct AnyImage;

impl Images for AnyImage {
    fn use_registry(&self, _: &RegistryAccess) {}

    async fn pull(&self, wanted: Wanted) -> Result<Image, String> {
        if wanted.reference == "missing" {
            return Err("CannotPullContainerError: missing: not found".to_owned());
        }
        let digest = Digest::from(format!("sha256:{:064x}", 7));
        let config = ImageConfig::default();
        Ok(Image { digest, config, layers: vec!["/layer".into()], hold: Arc::new(()) })
    }

    fn release(&self, _: &TaskId) {}

    fn keep_only(&self, _: &[TaskId]) {}
}

impl World {
    /// With a VPC of one subnet, and no agent yet.
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let began = tokio::time::Instant::now();
        let clock: Arc<dyn Fn() -> Timestamp + Send + Sync> = Arc::new(move || {
            let ms = i64::try_from(began.elapsed().as_millis()).expect("a short test");
            Timestamp(1_000_000_000_000 + ms)
        });
        let store = Store::in_memory(store::kinds::all());
        let logs = Logs::open(&folder.path().join("logs"), Durability::Written).expect("logs");
        let counter = AtomicU64::new(1);
        let manager = Manager::new(Context {
            store: store.clone(),
            logs: logs.clone(),
            metrics: Metrics::default(),
            sealer: Arc::new(Sealer::open(&folder.path().join("root.key")).expect("a key")),
            locality: Locality { region: "us-east-1".into(), account: "000000000000".into() },
            zone: "us-east-1a".into(),
            registry: RegistryAccess {
                host: "registry".to_owned(),
                endpoint: "http://127.0.0.1:1".to_owned(),
                names: ["registry".to_owned()].into(),
                username: "agent".to_owned(),
                password: "secret".to_owned(),
            },
            clock: Arc::clone(&clock),
            // Ids are cut from either end of the random bits.
            random: Arc::new(move || {
                let n = u128::from(counter.fetch_add(1, Ordering::Relaxed));
                n << 96 | n
            }),
        });
        let kernel = FakeKernel::new({
            let clock = Arc::clone(&clock);
            move || clock()
        });
        let world = Self {
            store,
            kernel,
            manager: manager.clone(),
            logs,
            clock,
            folder,
            agent: None,
            minted: AtomicU64::new(1),
        };
        world.make_network().await;
        tokio::spawn(async move { manager.run().await });
        world
    }

    async fn make_network(&self) {
        let (vpc, now, tags) = (VpcId::from("vpc-1"), (self.clock)(), Tags::new());
        let cidr = |text: &str| Cidr::parse(text).expect("a range");
        let mut txn = self.store.begin();
        txn.put(Vpc::new(vpc.clone(), cidr("172.31.0.0/16"), now));
        let range = cidr("172.31.0.0/20");
        txn.put(Subnet::new("subnet-1".into(), vpc, range, "us-east-1a".into(), now));
        txn.put(LogGroup {
            name: GROUP.to_owned(),
            created_at: now,
            retention_days: None,
            class: "STANDARD".to_owned(),
            kms_key_id: None,
            tags,
        });
        txn.commit().await.expect("committed");
    }

    /// Starts this machine's agent, or another one after the last was killed. Every session is cut
    /// after `cut`.
    pub async fn start_agent(&mut self, cut: Option<Duration>) {
        let (events, told) = mpsc::channel(64);
        let runtime = Arc::new(self.kernel.connect(events));
        let settings = Settings {
            state_dir: self.folder.path().join("agent"),
            name: "machine".to_owned(),
            cpu_architecture: "X86_64".to_owned(),
            cpu_units: 2048,
            memory_mib: 4096,
            boot_id: "boot".to_owned(),
            agent_version: "test".to_owned(),
            dns: runtime::DnsSpec::default(),
            zone: None,
            underlay: None,
            endpoint: None,
        };
        let clock = Arc::clone(&self.clock);
        let agent = Agent::start(settings, runtime, told, Arc::new(AnyImage), clock).await;
        let agent = agent.expect("the agent starts");
        let manager = self.manager.clone();
        self.agent = Some(tokio::spawn(async move {
            let connect = || {
                let (ours, theirs) = tokio::io::duplex(4096);
                let manager = manager.clone();
                tokio::spawn(async move {
                    let session = manager.serve_agent(manager::Origin::OwnMachine, theirs);
                    match cut {
                        Some(cut) => drop(tokio::time::timeout(cut, session).await),
                        None => drop(session.await),
                    }
                });
                std::future::ready(Ok(ours))
            };
            agent.run(connect).await;
        }));
    }

    /// As SIGKILL would: no last words.
    pub async fn kill_agent(&mut self) {
        let Some(agent) = self.agent.take() else { return };
        agent.abort();
        assert!(agent.await.expect_err("it was cut off").is_cancelled());
    }

    /// Registers a definition and asks for one task of it, as RunTask does.
    pub async fn run(&self, containers: Vec<ContainerTemplate>) -> TaskId {
        let minted = self.minted.fetch_add(1, Ordering::Relaxed);
        let (family, revision) = (Family::from(format!("f{minted}")), TaskDefinitionRevision(1));
        let id = TaskId::mint(u128::from(minted));
        let states = containers.iter().enumerate().map(|(n, container)| {
            let id = ContainerId::mint(u128::from(minted) << 8 | n as u128);
            ContainerState::new(container.name.clone(), id, format!("{minted}-{n}"))
        });
        let task = self.task(&id, &family, revision, states.collect());
        self.define(&family, revision, containers).await;
        let mut txn = self.store.begin();
        txn.put(task);
        txn.commit().await.expect("committed");
        id
    }

    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub async fn define(
        &self,
        family: &Family,
        revision: TaskDefinitionRevision,
        containers: Vec<ContainerTemplate>,
    ) {
        let template = TaskTemplate {
            cpu_units: 256,
            memory_mib: 512,
            cpu_architecture: "X86_64".to_owned(),
            containers,
            ..TaskTemplate::default()
        };
        let mut txn = self.store.begin();
        txn.put(TaskDefinition {
            family: family.clone(),
            revision,
            status: TaskDefinitionStatus::Active,
            registered_at: (self.clock)(),
            registered_by: "test".to_owned(),
            deregistered_at: None,
            delete_requested_at: None,
            document: Document::default(),
            template: Arc::new(template),
            tags: Tags::new(),
        });
        txn.commit().await.expect("committed");
    }

    fn task(
        &self,
        id: &TaskId,
        family: &Family,
        revision: TaskDefinitionRevision,
        containers: Vec<ContainerState>,
    ) -> Task {
        let subnets = vec![SubnetId::from("subnet-1")];
        Task {
            id: id.clone(),
            cluster: "default".into(),
            family: family.clone(),
            revision,
            overrides: TaskOverrides::default(),
            overrides_document: Document::default(),
            cpu_units: 256,
            memory_mib: 512,
            ephemeral_storage_gib: 20,
            cpu_architecture: "X86_64".to_owned(),
            launch_type: Some("FARGATE".to_owned()),
            capacity_provider: None,
            platform_version: "1.4.0".to_owned(),
            group: format!("family:{family}"),
            started_by: None,
            enable_execute_command: false,
            tags: Tags::new(),
            network: NetworkRequest { subnets, ..NetworkRequest::default() },
            facts: Facts::new(InterfaceFact::Wanted, TargetFact::NotNeeded),
            stop: None,
            waiting: None,
            interface: None,
            containers,
            version: 1,
            created_at: (self.clock)(),
            placed_at: None,
            pull_started_at: None,
            pull_stopped_at: None,
            connectivity_at: None,
            started_at: None,
            stopping_at: None,
            execution_stopped_at: None,
            images: std::collections::BTreeMap::new(),
            deregistered_at: None,
            protected_until: None,
            stopped_at: None,
        }
    }

    pub fn get(&self, id: &TaskId) -> Arc<Task> {
        let key = task_key(&"default".into(), id);
        self.store.snapshot().get::<Task>(&key).expect("the task is there").value
    }

    pub async fn stop(&self, id: &TaskId) {
        let key = task_key(&"default".into(), id);
        let now = (self.clock)();
        let stopped = self.store.transact(|txn| {
            let mut task = (*txn.get::<Task>(&key).expect("the task is there")).clone();
            task.request_stop(StopCode::UserInitiated, "Task stopped by user", now);
            txn.put(task);
            Ok::<(), std::convert::Infallible>(())
        });
        stopped.await.expect("committed");
    }

    /// Waits until a fact about the world holds; a fact that never comes about fails the test.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = tokio::time::timeout(Duration::from_secs(PATIENCE_SECONDS), async {
            let mut seen = self.store.revision();
            while !holds(self) {
                // The fake kernel's facts wake nobody: look again after a (paused) moment too.
                let moment = Duration::from_millis(50);
                if let Ok(newer) =
                    tokio::time::timeout(moment, self.store.changed_after(seen)).await
                {
                    seen = newer;
                }
            }
        });
        assert!(waited.await.is_ok(), "never came about: {what}");
    }

    pub async fn until_status(&self, id: &TaskId, status: TaskStatus) -> Arc<Task> {
        let what = format!("{id} {}", status.as_str());
        self.until(&what, |world| world.get(id).last_status() >= status).await;
        let task = self.get(id);
        assert_eq!(task.last_status(), status, "{task:#?}");
        task
    }

    /// What the container printed, as CloudWatch Logs has it.
    pub async fn lines(&self, id: &TaskId, container: &str) -> Vec<String> {
        let stream = format!("t/{container}/{id}");
        let limit = PageLimit { events_max: 1000, bytes_max: 1 << 20 };
        let page = self.logs.read(GROUP, &stream, PageStart::Head, TimeRange::ALL, limit).await;
        page.expect("readable").events.into_iter().map(|event| event.message).collect()
    }

    /// Lets everything that can happen now happen, and then some: a paused minute.
    pub async fn settle(&self) {
        let minute = tokio::time::Instant::now() + Duration::from_secs(60);
        self.until("a minute later", |_| tokio::time::Instant::now() >= minute).await;
    }

    /// Nothing of any task is held any more: no room, no address, no interface.
    pub fn holds_nothing(&self) -> bool {
        let snapshot = self.store.snapshot();
        let rooms = snapshot.scan::<model::instance::Allocation>("");
        let pools = snapshot.scan::<model::network::AddressPool>("");
        rooms
            .into_iter()
            .all(|(_, room)| room.cpu_units == 0 && room.memory_mib == 0 && room.tasks == 0)
            && pools.into_iter().all(|(_, pool)| pool.taken.is_empty())
            && snapshot.count::<model::network::NetworkInterface>("") == 0
    }
}

/// A container with a program of the fake kernel.
pub fn container(name: &str, program: &str) -> ContainerTemplate {
    ContainerTemplate {
        name: name.to_owned(),
        image: "image".to_owned(),
        essential: true,
        command: Some(program.split_whitespace().map(str::to_owned).collect()),
        stop_timeout_seconds: 30,
        log: Some(LogConfiguration {
            group: GROUP.to_owned(),
            region: "us-east-1".to_owned(),
            stream_prefix: "t".to_owned(),
            create_group: false,
            non_blocking: false,
            buffer_bytes_max: 1 << 20,
            multiline_pattern: None,
            datetime_format: None,
        }),
        ..ContainerTemplate::default()
    }
}
