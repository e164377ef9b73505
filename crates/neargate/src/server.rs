//! A whole Neargate in one process: the parts are made and joined here, and taken apart again in
//! order.

use crate::cli::Up;
use crate::data_dir::{Credentials, DataDir, Endpoint};
use crate::http::{self, Router};
use crate::join::gate::Entrance;
use crate::local_images::Seat;
use crate::upstream::Upstreams;
use crate::world::{Clock, Random};
use crate::{administrator, balancing, hosts_file, local_agent, local_images, object_store, world};
use anyhow::{Context, Result, bail};
use frontend::Frontend;
use manager::Manager;
use model::arn::Locality;
use model::facts::TaskStatus;
use model::session::RegistryAccess;
use model::task::{StopCode, Task};
use model::{AccountId, Region, ZoneName};
use registry::Registry;
use runtime::image::{Patience, RegistryMap, RemoteRegistries};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::blob::{ObjectStore, Staging};
use store::logs::{Durability, Logs};
use store::metrics::Metrics;
use store::secret::Sealer;
use store::{CommitFailure, Store};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The user that agents pull images as.
const AGENT_USER: &str = "neargate-agent";
/// How long all tasks together may take to stop at the end, in seconds: ECS's longest stop timeout
/// and a margin.
const STOP_TASKS_TIMEOUT_SECONDS: u64 = 150;

pub struct Server {
    pub endpoint: Endpoint,
    pub credentials: Credentials,
    dir: DataDir,
    store: Store,
    clock: Clock,
    end: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// Agents of other machines, if they are listened for.
    joining: Option<JoinHandle<()>>,
    manager: Manager,
    managing: JoinHandle<()>,
    collecting: JoinHandle<()>,
    own: OwnMachine,
}

/// What all parts are made with.
struct Parts {
    dir: DataDir,
    store: Store,
    logs: Logs,
    metrics: Metrics,
    objects: Arc<dyn ObjectStore>,
    staging: Staging,
    sealer: Arc<Sealer>,
    locality: Locality,
    clock: Clock,
    random: Random,
}

pub async fn start(up: &Up) -> Result<Server> {
    if !up.no_agent {
        local_agent::preflight(&up.folder.data_dir)?;
    }
    let listener = listen(up).await?;
    let address = listener.local_addr().context("cannot tell where we listen")?;
    let parts = open(up).await?;
    let now = (parts.clock)();
    let (dir, store, locality) = (&parts.dir, &parts.store, &parts.locality);
    let credentials =
        administrator::ensure(dir, store, &parts.sealer, locality, now, &parts.random).await?;
    let network = frontend::ensure_default_network(store, locality, now, &*parts.random).await;
    network.context("cannot make the default VPC")?;

    let url = format!("http://{address}");
    let agent_password = administrator::password(&parts.random);
    let signer = administrator::registry_signer(dir, &parts.random)?;
    let outbound = up.outbound.registries()?;
    let images = Seat::default();
    let registry = make_registry(&parts, outbound, signer.clone(), &agent_password);
    let manager = make_manager(&parts, up, address, agent_password);
    let entrance = Entrance::open(&up.fleet, dir, now).await?;
    let mut context = frontend_context(&parts, signer, &registry, Arc::clone(&images));
    let asked = manager.clone();
    context.is_connected = Arc::new(move |instance| asked.is_connected(instance));
    if let Some(entrance) = &entrance {
        context.mint_join_token = entrance.minting(&parts.random);
    }
    let frontend = Arc::new(Frontend::new(context));
    let router = Router { frontend, registry: registry.clone() };
    let (end, ended) = watch::channel(false);
    let own_manager = manager.clone();
    let (managing, collecting) = (manager.clone(), registry.clone());
    let managing = tokio::spawn(async move { managing.run().await });
    let collecting = tokio::spawn(async move { collecting.keep_collecting().await });
    let own = own_machine(up, &parts, &manager, &images, address).await?;
    let endpoint = Endpoint {
        url,
        region: up.region.clone(),
        account_id: up.account_id.clone(),
        pid: std::process::id(),
    };
    parts.dir.write_endpoint(&endpoint)?;
    // Last, so that who is answered finds everything there. Until now callers wait to be accepted.
    let joining = entrance.map(|entrance| {
        let gate = entrance.gate(manager, router.clone(), &parts.clock);
        tokio::spawn(gate.serve(ended.clone()))
    });
    let serving = tokio::spawn(http::serve(listener, router, ended));
    let Parts { dir, store, clock, .. } = parts;
    Ok(Server {
        endpoint,
        credentials,
        dir,
        store,
        clock,
        end,
        serving,
        joining,
        manager: own_manager,
        managing,
        collecting,
        own,
    })
}

/// What runs on this machine because it is an instance, too: nothing if it is none.
#[derive(Default)]
struct OwnMachine {
    agent: Option<local_agent::LocalAgent>,
    /// Load is balanced where the addresses are: here.
    balancer: Option<balancing::Keeper>,
    hosts_file: Option<hosts_file::Keeper>,
}

async fn own_machine(
    up: &Up,
    parts: &Parts,
    manager: &Manager,
    images: &Seat,
    address: SocketAddr,
) -> Result<OwnMachine> {
    if up.no_agent {
        return Ok(OwnMachine::default());
    }
    let place = local_agent::Place {
        dir: &parts.dir,
        clock: &parts.clock,
        random: &parts.random,
        cluster_id: parts.store.cluster_id(),
        registry_host: parts.locality.registry_host(),
        images,
        address,
    };
    let agent = local_agent::start(up, place, manager.clone()).await?;
    let balancer = balancing::keep(manager.clone(), &parts.dir, tag(parts))?;
    // Names of what is balanced elsewhere, or nowhere, would lead nobody anywhere.
    let hosts_file = (!up.no_hosts_file)
        .then(|| hosts_file::keep(&parts.store, Path::new(hosts_file::PATH), tag(parts)));
    Ok(OwnMachine { agent: Some(agent), balancer: Some(balancer), hosts_file })
}

fn tag(parts: &Parts) -> &str {
    local_agent::tag(parts.store.cluster_id())
}

async fn listen(up: &Up) -> Result<TcpListener> {
    TcpListener::bind(up.listen).await.with_context(|| {
        format!(
            "cannot listen on {}: is another Neargate running? --listen takes another address",
            up.listen
        )
    })
}

fn make_manager(parts: &Parts, up: &Up, address: SocketAddr, agent_password: String) -> Manager {
    let port = address.port();
    let host = parts.locality.registry_host();
    let mut names: BTreeSet<String> =
        ["127.0.0.1", "localhost"].map(|it| format!("{it}:{port}")).into();
    names.extend([host.clone(), address.to_string()]);
    names.extend(up.fleet.underlay().map(|own| format!("{own}:{port}")));
    Manager::new(manager::Context {
        store: parts.store.clone(),
        logs: parts.logs.clone(),
        metrics: parts.metrics.clone(),
        sealer: Arc::clone(&parts.sealer),
        locality: parts.locality.clone(),
        zone: ZoneName::from(format!("{}a", up.region)),
        registry: RegistryAccess {
            host,
            endpoint: format!("http://{address}"),
            names,
            username: AGENT_USER.to_owned(),
            password: agent_password,
        },
        clock: Arc::clone(&parts.clock),
        random: Arc::clone(&parts.random),
    })
}

async fn open(up: &Up) -> Result<Parts> {
    let up = up.clone();
    // Opening reads all state in; it must not hold up a thread that answers requests.
    tokio::task::spawn_blocking(move || {
        let dir = DataDir::make(&up.folder.data_dir)?;
        let path = up.folder.data_dir.display();
        let store = Store::open(&dir.state(), store::kinds::all())
            .with_context(|| format!("cannot open the state in {path}"))?;
        let locality = Locality {
            region: Region::from(up.region.as_str()),
            account: AccountId::from(up.account_id.as_str()),
        };
        dir.keep_locality(&locality)?;
        let logs = Logs::open(&dir.logs(), Durability::Written)
            .with_context(|| format!("cannot open the logs in {path}"))?;
        let objects = object_store::open(&dir, up.object_store.as_ref());
        let objects = Handle::current().block_on(objects)?;
        let staging = Staging::open(&dir.uploads())
            .with_context(|| format!("cannot open the uploads in {path}"))?;
        let sealer = Sealer::open(&dir.root_key())
            .with_context(|| format!("cannot read the root key in {path}"))?;
        let (sealer, clock, random) = (Arc::new(sealer), world::clock(), world::random());
        let metrics = Metrics::new(up.metric_minute_seconds);
        Ok(Parts { dir, store, logs, metrics, objects, staging, sealer, locality, clock, random })
    })
    .await
    .context("opening the data folder was cut off")?
}

fn frontend_context(
    parts: &Parts,
    signer: registry::token::Signer,
    registry: &Registry,
    images: Seat,
) -> frontend::Context {
    frontend::Context {
        store: parts.store.clone(),
        logs: parts.logs.clone(),
        metrics: parts.metrics.clone(),
        blobs: Arc::clone(&parts.objects),
        staging: parts.staging.clone(),
        collect_images: collect_images(registry),
        instance_images: local_images::answers(images),
        locality: Arc::new(parts.locality.clone()),
        sealer: Arc::clone(&parts.sealer),
        clock: Arc::clone(&parts.clock),
        random: Arc::clone(&parts.random),
        presigned_query: {
            let signer = signer.clone();
            Arc::new(move |path, now| signer.presign(path, now))
        },
        registry_password: Arc::new(move |now| signer.mint(now)),
        is_connected: Arc::new(|_| false),
        mint_join_token: Arc::new(|| None),
        family_queues: frontend::FamilyQueues::default(),
    }
}

/// The operator's call and the registry's work, joined: neither knows the other.
fn collect_images(registry: &Registry) -> frontend::CollectImages {
    let registry = registry.clone();
    Arc::new(move |grace| {
        let registry = registry.clone();
        Box::pin(async move {
            let collected = registry.collect(grace).await.inspect_err(|failure| {
                let failure: &dyn std::error::Error = failure;
                tracing::error!(failure, "the images' garbage could not be collected");
            });
            let collected = collected.ok()?;
            Some(frontend::Collected {
                links_removed: collected.links_removed,
                links_condemned: collected.links_condemned,
                objects_removed: collected.objects_removed,
                object_bytes_freed: collected.object_bytes_freed,
                objects_kept: collected.objects_kept,
                uploads_removed: collected.uploads_removed,
                upload_bytes_freed: collected.upload_bytes_freed,
            })
        })
    })
}

fn make_registry(
    parts: &Parts,
    outbound: RegistryMap,
    signer: registry::token::Signer,
    agent_password: &str,
) -> Registry {
    let upstreams = Upstreams {
        registries: RemoteRegistries::new(outbound, Patience::default()),
        store: parts.store.clone(),
        sealer: Arc::clone(&parts.sealer),
        locality: parts.locality.clone(),
    };
    let parts = registry::Parts {
        store: parts.store.clone(),
        objects: Arc::clone(&parts.objects),
        staging: parts.staging.clone(),
        locality: parts.locality.clone(),
        clock: Arc::clone(&parts.clock),
        signer,
        agent_user: AGENT_USER.to_owned(),
        agent_password: agent_password.to_owned(),
    };
    Registry::with_upstream(parts, Arc::new(upstreams))
}

impl Server {
    /// Asks every task to stop and waits until all have. Services replace none of them until the
    /// next start.
    pub async fn stop_tasks(&self) -> Result<()> {
        self.manager.rest_services();
        let all_stopped = async {
            loop {
                let seen = self.store.revision();
                let keys = live_tasks(&self.store);
                if keys.is_empty() {
                    return anyhow::Ok(());
                }
                // Again with every change: a service may just have started another.
                for key in &keys {
                    self.ask_to_stop(key).await?;
                }
                self.store.changed_after(seen).await;
            }
        };
        let limit = Duration::from_secs(STOP_TASKS_TIMEOUT_SECONDS);
        let Ok(stopped) = tokio::time::timeout(limit, all_stopped).await else {
            let left = live_tasks(&self.store).len();
            bail!("{left} tasks have not stopped within {STOP_TASKS_TIMEOUT_SECONDS} s");
        };
        stopped
    }

    async fn ask_to_stop(&self, key: &str) -> Result<()> {
        let now = (self.clock)();
        let stopped = self.store.transact(|txn| {
            if let Some(task) = txn.get::<Task>(key) {
                let mut task = (*task).clone();
                if task.request_stop(StopCode::UserInitiated, "Neargate is ending", now) {
                    txn.put(task);
                }
            }
            Ok::<(), CommitFailure>(())
        });
        stopped.await.map_err(anyhow::Error::from).context("a task could not be stopped")?;
        Ok(())
    }

    /// Ends the control plane. Running tasks keep running; when none is left, nothing of ours stays
    /// in the kernel.
    pub async fn end(self) -> Result<()> {
        let idle = live_tasks(&self.store).is_empty();
        self.end.send_replace(true);
        self.serving.await.context("the endpoint ended badly")?;
        if let Some(joining) = self.joining {
            joining.await.context("listening for agents ended badly")?;
        }
        if let Some(balancer) = self.own.balancer {
            balancer.end(idle).await;
        }
        if let Some(hosts_file) = self.own.hosts_file {
            hosts_file.end(idle).await;
        }
        if let Some(agent) = self.own.agent {
            agent.end(idle).await;
        }
        self.managing.abort();
        self.collecting.abort();
        self.store.close().await;
        self.dir.remove_endpoint();
        Ok(())
    }
}

fn live_tasks(store: &Store) -> Vec<String> {
    let snapshot = store.snapshot();
    let live = snapshot.scan::<Task>("").filter(|(_, t)| t.last_status() != TaskStatus::Stopped);
    live.map(|(key, _)| key.to_owned()).collect()
}
