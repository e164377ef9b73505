//! The agent of one instance: it holds the tasks the control plane wants here, an actor for each,
//! and reports what happens to them. It decides nothing by itself (`plan` does) and touches nothing
//! itself (`runtime` does). Without a control plane it goes on with the list it had last.

mod actor;
mod credentials;
mod images;
mod launch;
mod limits;
mod link;
mod log_events;
mod log_shipper;
mod metadata;
mod network;
mod recovery;
mod session;
mod signals;
mod usage;

pub use images::{Image, Images, Wanted};
pub use metadata::{Doors, NameServer, NameSockets};
pub use session::SessionEnd;

use actor::{Actor, Message};
use limits::{OUTBOX_MESSAGES_MAX, RECONNECT_MS};
use link::Link;
use log_shipper::Logged;
use metadata::{Api, Residents};
use model::network::{Cidr, private_domain};
use model::session::{Assignment, Hello, PROTOCOL_VERSION};
use model::{InstanceId, TaskId, Timestamp, VpcId, ZoneName};
use network::Networks;
use runtime::{DnsSpec, Event, Failure, Recovered, Runtime};
use session::News;
use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

/// What the agent says of its machine, and what it was told to use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the instance's id is kept.
    pub state_dir: PathBuf,
    /// The machine's host name.
    pub name: String,
    pub cpu_architecture: String,
    /// What may be handed to tasks, overcommitment included. CPU units, 1024 a vCPU.
    pub cpu_units: u32,
    pub memory_mib: u32,
    pub boot_id: String,
    pub agent_version: String,
    /// What tasks get as /etc/resolv.conf.
    pub dns: DnsSpec,
    /// The zone it was told to be in; None: that of the control plane's own machine.
    pub zone: Option<ZoneName>,
    /// How other instances reach this one; None: they can't.
    pub underlay: Option<Ipv4Addr>,
    /// Where the API and the registry are for this machine, `http://HOST:PORT`; None: where the
    /// session says.
    pub endpoint: Option<String>,
}

/// Why an agent can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    #[error("the tasks of an earlier agent could not be found")]
    Recover(#[source] Failure),
    #[error("what nobody owns could not be swept away")]
    Sweep(#[source] Failure),
    #[error("the instance's id could not be read")]
    Identity(#[source] io::Error),
}

/// What all actors share.
struct Shared<R, I> {
    runtime: Arc<R>,
    images: Arc<I>,
    link: Arc<Link>,
    settings: Settings,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    networks: Arc<Networks>,
    residents: Residents,
    api: Api,
    /// How VPCs are served from within; never set: they are not.
    inside: OnceLock<Inside>,
}

/// What serves the endpoints in VPCs.
struct Inside {
    doors: Arc<dyn Doors>,
    names: Arc<dyn NameServer>,
    /// VPCs that are served, each by tasks that end with this.
    serving: Mutex<BTreeMap<VpcId, JoinSet<()>>>,
}

impl<R: Runtime, I> Shared<R, I> {
    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Whether tasks find metadata, credentials and a resolver in their network.
    fn serves_inside(&self) -> bool {
        self.inside.get().is_some()
    }
}

impl<R: Runtime, I: Images> Shared<R, I> {
    /// Has a VPC's endpoints served, before the first of its tasks may ask.
    async fn ensure_served(
        self: &Arc<Self>,
        vpc: &VpcId,
        range: Cidr,
        region: &str,
    ) -> Result<(), Failure> {
        let Some(inside) = self.inside.get() else { return Ok(()) };
        let mut serving = inside.serving.lock().await;
        if !serving.contains_key(vpc) {
            let mut tasks = JoinSet::new();
            let domain = private_domain(region);
            let (doors, names) = (&*inside.doors, &*inside.names);
            metadata::open(self, doors, names, vpc, range, &domain, &mut tasks)?;
            serving.insert(vpc.clone(), tasks);
        }
        Ok(())
    }

    /// A VPC goes, and its endpoints before it.
    async fn stop_serving(&self, vpc: &VpcId) {
        let Some(inside) = self.inside.get() else { return };
        inside.names.stop(vpc);
        let serving = inside.serving.lock().await.remove(vpc);
        if let Some(mut tasks) = serving {
            tasks.shutdown().await;
        }
    }
}

pub struct Agent<R, I> {
    shared: Arc<Shared<R, I>>,
    events: mpsc::Receiver<Event>,
    instance: Option<InstanceId>,
    actors: BTreeMap<TaskId, mpsc::Sender<Message>>,
    running: JoinSet<TaskId>,
    population: Population,
}

/// How many tasks there are here. Cheap to clone; all clones are one.
#[derive(Clone, Default, Debug)]
pub struct Population(Arc<AtomicUsize>);

impl Population {
    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl<R: Runtime, I: Images> Agent<R, I> {
    /// Takes over what an earlier agent left running and clears away what nobody owns. `events` is
    /// the other end of the channel the runtime was made with.
    pub async fn start(
        settings: Settings,
        runtime: Arc<R>,
        events: mpsc::Receiver<Event>,
        images: Arc<I>,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Result<Self, StartFailure> {
        let instance = read_identity(&settings.state_dir).map_err(StartFailure::Identity)?;
        let (link, networks) = (Arc::new(Link::default()), Arc::new(Networks::default()));
        let (residents, api, inside) = (Residents::default(), Api::default(), OnceLock::new());
        let shared =
            Shared { runtime, images, link, settings, clock, networks, residents, api, inside };
        let shared = Arc::new(shared);
        let actors = BTreeMap::new();
        let (running, population) = (JoinSet::new(), Population::default());
        let mut agent = Self { shared, events, instance, actors, running, population };
        agent.recover().await?;
        Ok(agent)
    }

    async fn recover(&mut self) -> Result<(), StartFailure> {
        let runtime = Arc::clone(&self.shared.runtime);
        let mut keep = Vec::new();
        for found in runtime.recover().await.map_err(StartFailure::Recover)? {
            match noted(&found) {
                Some(assignment) => {
                    keep.push(found.task.clone());
                    let shared = Arc::clone(&self.shared);
                    let (actor, inbox) = Actor::recovered(shared, Arc::new(assignment), &found);
                    self.adopt(found.task, actor, inbox);
                }
                None => {
                    // It was lost before anything of it ran: there is nothing to report.
                    tracing::warn!(task = %found.task, "a task that never began is cleared away");
                }
            }
        }
        for swept in runtime.sweep(&keep).await.map_err(StartFailure::Sweep)? {
            tracing::info!(swept, "swept away");
        }
        // After the sweep: until then what is left of the others may use its images.
        self.shared.images.keep_only(&keep);
        Ok(())
    }

    /// From now on tasks find metadata, credentials and a resolver in their network. To be called
    /// once, before `run`.
    pub async fn serve_inside(
        &self,
        doors: Arc<dyn Doors>,
        names: Arc<dyn NameServer>,
    ) -> Result<(), Failure> {
        let inside = Inside { doors, names, serving: Mutex::default() };
        if self.shared.inside.set(inside).is_err() {
            return Ok(());
        }
        // Tasks of an earlier agent asked that one until now.
        for resident in self.shared.residents.all() {
            let assignment = resident.assignment();
            let Some((vpc, _, range)) = launch::network(&assignment) else { continue };
            if self.shared.runtime.vpcs().await.contains(&vpc) {
                self.shared.ensure_served(&vpc, range, &assignment.region).await?;
            }
        }
        Ok(())
    }

    fn adopt(&mut self, task: TaskId, actor: Actor<R, I>, inbox: mpsc::Sender<Message>) {
        self.actors.insert(task, inbox);
        self.running.spawn(actor.run());
        self.population.0.store(self.running.len(), Ordering::Relaxed);
    }

    /// To be asked when the agent itself is gone, too.
    pub fn population(&self) -> Population {
        self.population.clone()
    }

    /// Runs until a session is refused for good. `connect` gives a stream to the control plane; it
    /// is called again whenever the stream ends.
    pub async fn run<C, F, S>(mut self, mut connect: C) -> SessionEnd
    where
        C: FnMut() -> F,
        F: Future<Output = io::Result<S>>,
        S: AsyncRead + AsyncWrite + Send,
    {
        let (to_desk, mut news) = mpsc::channel(OUTBOX_MESSAGES_MAX);
        let shared = Arc::clone(&self.shared);
        let (identities, identity) = tokio::sync::watch::channel(self.instance.clone());
        let sessions = async {
            let mut wait_ms = RECONNECT_MS.0;
            let mut said = String::new();
            loop {
                let hello = hello(&shared.settings, identity.borrow().clone());
                let began = tokio::time::Instant::now();
                let end = match connect().await {
                    Ok(stream) => session::hold(&shared.link, hello, stream, &to_desk).await,
                    Err(failure) => failure.into(),
                };
                if let SessionEnd::Refused { retry: false, .. } | SessionEnd::Closing = end {
                    return end;
                }
                let lasted = began.elapsed() > Duration::from_millis(RECONNECT_MS.1);
                let why = chain(&end);
                // Said once, however often it is tried.
                if lasted || why != said {
                    tracing::warn!(why, "no session with the control plane; calling again");
                    said = why;
                }
                wait_ms = if lasted { RECONNECT_MS.0 } else { (wait_ms * 2).min(RECONNECT_MS.1) };
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            }
        };
        tokio::pin!(sessions);
        let keys = credentials::keep_fresh(&shared.residents, &shared.link, || shared.now());
        tokio::pin!(keys);
        let usage =
            usage::keep_reporting(&shared.residents, &*shared.runtime, &shared.link, || {
                shared.now()
            });
        tokio::pin!(usage);
        // On its own, as actors wait for it.
        let mut networks = JoinSet::new();
        let weak = Arc::downgrade(&self.shared);
        networks.spawn(network::keep_applying(Arc::clone(&self.shared.networks), weak));
        loop {
            tokio::select! {
                end = &mut sessions => return end,
                never = &mut keys => match never {},
                never = &mut usage => match never {},
                Some(told) = news.recv() => {
                    self.take(told).await;
                    identities.send_replace(self.instance.clone());
                }
                Some(event) = self.events.recv() => {
                    self.tell(&event.task, Message::Runtime(event.kind)).await;
                }
                Some(ended) = self.running.join_next() => self.ended(ended),
            }
        }
    }

    fn ended(&mut self, ended: Result<TaskId, tokio::task::JoinError>) {
        self.population.0.store(self.running.len(), Ordering::Relaxed);
        match ended {
            Ok(task) => {
                self.actors.remove(&task);
            }
            // An actor that panicked is a bug, and its task has nobody to look after it.
            Err(failure) => std::panic::resume_unwind(failure.into_panic()),
        }
    }

    async fn tell(&mut self, task: &TaskId, message: Message) {
        if let Some(actor) = self.actors.get(task)
            && actor.send(message).await.is_err()
        {
            self.actors.remove(task);
        }
    }

    async fn take(&mut self, news: News) {
        match news {
            News::Welcome { instance, registry } => {
                self.shared.images.use_registry(&registry);
                let own = self.shared.settings.endpoint.as_deref();
                self.shared.api.learn(own.unwrap_or(&registry.endpoint));
                if self.instance.as_ref() != Some(&instance) {
                    let written = write_identity(&self.shared.settings.state_dir, &instance);
                    if let Err(failure) = written {
                        // The next agent registers anew; this one's tasks are then lost with it.
                        tracing::error!(%failure, "the instance's id could not be kept");
                    }
                    self.instance = Some(instance);
                }
            }
            News::Assignments(tasks) => {
                let wanted: BTreeMap<_, _> =
                    tasks.into_iter().map(|task| (task.task.clone(), task)).collect();
                let unwanted: Vec<_> = self
                    .actors
                    .keys()
                    .filter(|task| !wanted.contains_key(*task))
                    .cloned()
                    .collect();
                for task in unwanted {
                    self.tell(&task, Message::Dismissed).await;
                }
                for assignment in wanted.into_values() {
                    self.assign(assignment).await;
                }
            }
            News::Changes { upsert, remove } => {
                for task in remove {
                    self.tell(&task, Message::Dismissed).await;
                }
                for assignment in upsert {
                    self.assign(assignment).await;
                }
            }
            News::Confirmed(known) => {
                for (task, containers_fact) in known {
                    let event = plan::lifecycle::Event::Reported { containers_fact };
                    self.tell(&task, Message::Seen(event)).await;
                }
            }
            News::Logged { task, container, offset, failure } => {
                let logged = Logged { offset, failure };
                self.tell(&task, Message::Logged { container, logged }).await;
            }
            News::Networks { all, tables } => self.shared.networks.learn(all, tables),
            News::Interfaces { vpc, changes } => {
                self.shared.networks.learn_interfaces(&vpc, changes);
            }
            News::Keys { task, keys } => credentials::learn(&self.shared.residents, &task, keys),
            News::Names { everything, tables } => {
                if let Some(inside) = self.shared.inside.get() {
                    inside.names.learn(everything, tables);
                }
            }
        }
    }

    async fn assign(&mut self, assignment: Arc<Assignment>) {
        let task = assignment.task.clone();
        if self.actors.contains_key(&task) {
            self.tell(&task, Message::Assigned(assignment)).await;
            return;
        }
        let (actor, inbox) = Actor::new(Arc::clone(&self.shared), assignment);
        self.adopt(task, actor, inbox);
    }
}

/// A failure and its causes on one line.
fn chain(failure: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(failure), |failure| failure.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn noted(found: &Recovered) -> Option<Assignment> {
    serde_json::from_str(&found.spec.as_ref()?.note).ok()
}

fn hello(settings: &Settings, instance: Option<InstanceId>) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        instance,
        name: settings.name.clone(),
        cpu_architecture: settings.cpu_architecture.clone(),
        cpu_units: settings.cpu_units,
        memory_mib: settings.memory_mib,
        boot_id: settings.boot_id.clone(),
        agent_version: settings.agent_version.clone(),
        zone: settings.zone.clone(),
        underlay: settings.underlay,
        tasks: Vec::new(),
    }
}

const IDENTITY_FILE: &str = "instance-id";

fn read_identity(state_dir: &std::path::Path) -> io::Result<Option<InstanceId>> {
    match std::fs::read_to_string(state_dir.join(IDENTITY_FILE)) {
        Ok(text) => Ok(Some(InstanceId::from(text.trim()))),
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn write_identity(state_dir: &std::path::Path, instance: &InstanceId) -> io::Result<()> {
    std::fs::create_dir_all(state_dir)?;
    let beside = state_dir.join("instance-id.new");
    std::fs::write(&beside, instance.as_str())?;
    std::fs::rename(beside, state_dir.join(IDENTITY_FILE))
}
