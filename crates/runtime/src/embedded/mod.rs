//! The real runtime, seen from the agent: it starts the zygote, keeps one socket to each task's
//! supervisor, and turns what they tell into events. It keeps no state of its own on disk; what is
//! there are the tasks' folders, and who holds the lock of one is its supervisor.

mod task;
mod zygote_process;

use crate::Runtime;
use crate::cgroup::Cgroups;
use crate::event::*;
use crate::failure::Failure;
use crate::limits::{DYING_TIMEOUT_MS, RECONNECT_TIMEOUT_MS, REMOVE_TIMEOUT_MS};
use crate::net;
use crate::net::tunnel::Underlay;
use crate::net::vpc::Vpcs;
use crate::protocol::{self, Command};
use crate::spec::*;
use crate::spool::{LogBatch, SpoolReader};
use crate::storage::Bound;
use crate::supervisor::{SOCKET_FILE, SPEC_FILE, log_file};
use crate::sys::{self, mount, process, socket};
use crate::{remains, zygote};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::{SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use task::Task;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zygote_process::ZygoteProcess;

/// Longest tag: names of links and tables have little room.
const TAG_BYTES_MAX: usize = 8;

#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The runtime's own folder; on a file system that can carry overlay's upper folders.
    pub root: PathBuf,
    /// Tells several runtimes on one machine apart: 1 to 8 lower-case letters and digits.
    /// Everything made in the kernel is named after it.
    pub tag: String,
    /// Program and arguments that end up in `zygote_main`, which gets the arguments after these.
    pub zygote: Vec<OsString>,
    /// How other instances reach this one; None: it is alone.
    pub underlay: Option<Underlay>,
}

impl EmbeddedConfig {
    /// With this very binary as the zygote, by its subcommand `zygote`.
    pub fn new(root: PathBuf, tag: &str) -> Self {
        let zygote = vec![OsString::from("/proc/self/exe"), OsString::from("zygote")];
        Self { root, tag: tag.to_owned(), zygote, underlay: None }
    }

    fn cgroup_parent(&self) -> String {
        cgroup_parent(&self.tag)
    }
}

/// The name of a runtime's parent control group.
pub(crate) fn cgroup_parent(tag: &str) -> String {
    format!("neargate-{tag}")
}

pub struct Embedded {
    inner: Arc<Inner>,
    /// Keeps other firewalls from stopping tasks.
    passage: JoinHandle<()>,
}

struct Inner {
    config: EmbeddedConfig,
    tasks_folder: PathBuf,
    cgroups: Cgroups,
    events: mpsc::Sender<Event>,
    zygote: Mutex<Option<ZygoteProcess>>,
    tasks: Mutex<BTreeMap<TaskId, Arc<Task>>>,
    vpcs: Vpcs,
}

impl Embedded {
    /// Starts the zygote. Events of all tasks go to `events`; a full channel makes supervisors hold
    /// theirs back. Blocks for a few milliseconds; to be called within a tokio runtime.
    pub fn start(config: EmbeddedConfig, events: mpsc::Sender<Event>) -> Result<Self, Failure> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let tag = &config.tag;
        if tag.is_empty() || tag.len() > TAG_BYTES_MAX || !tag.bytes().all(plain) {
            return Err(Failure::Refused(format!("{tag:?} is no tag of a runtime")));
        }
        let tasks_folder = config.root.join(zygote::TASKS_FOLDER);
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&tasks_folder);
        made.map_err(Failure::of(format!("making {}", tasks_folder.display())))?;
        let cgroups = Cgroups::detect(&config.cgroup_parent());
        let cgroups = cgroups.map_err(Failure::of("finding control groups"))?;
        let vpcs = Vpcs::new(&config.root, &config.tag, config.underlay.clone())?;
        let inner = Inner {
            tasks_folder,
            cgroups,
            events,
            zygote: Mutex::new(None),
            tasks: Mutex::default(),
            vpcs,
            config,
        };
        drop(inner.zygote()?);
        let passage = tokio::spawn(report_end(inner.vpcs.keep_passage()));
        Ok(Self { inner: Arc::new(inner), passage })
    }

    fn living(&self, task: &TaskId) -> Result<Arc<Task>, Failure> {
        let known = self.inner.tasks().get(task).cloned();
        let known = known.ok_or_else(|| Failure::UnknownTask(task.clone()))?;
        if known.is_lost() { Err(Failure::SupervisorGone(task.clone())) } else { Ok(known) }
    }

    async fn command(&self, task: &TaskId, command: &Command) -> Result<(), Failure> {
        let known = self.living(task)?;
        let sent = known.send(protocol::encode(command)).await;
        sent.map_err(|_| Failure::SupervisorGone(task.clone()))
    }

    /// Takes away everything of this runtime, tasks and VPCs, down to its folder. For tests, and
    /// for an operator who is done. Nothing may be asked of it afterwards.
    pub async fn purge(&self) -> Result<(), Failure> {
        self.sweep(&[]).await?;
        for vpc in self.inner.vpcs.known() {
            self.remove_vpc(&vpc).await?;
        }
        let inner = self.inner.clone();
        self.close();
        blocking(move || {
            inner.vpcs.remove_all()?;
            inner.cgroups.remove_all().map_err(Failure::of("removing control groups"))?;
            let removed = fs::remove_dir_all(&inner.config.root);
            removed.map_err(Failure::of(format!("removing {}", inner.config.root.display())))
        })
        .await
    }

    /// A listener in a VPC's namespace, on an address its router answers for: 169.254.170.2,
    /// 169.254.169.253, the VPC's third address. The VPC's tasks reach it whatever their security
    /// groups say; the peer's address says which task it is and can't be forged. It doesn't
    /// block. Takes less than a millisecond.
    pub fn vpc_listener(&self, vpc: &VpcId, at: SocketAddrV4) -> Result<TcpListener, Failure> {
        self.inner.vpcs.listener(vpc, at)
    }

    /// Like `vpc_listener`, for datagrams.
    pub fn vpc_datagram(&self, vpc: &VpcId, at: SocketAddrV4) -> Result<UdpSocket, Failure> {
        self.inner.vpcs.datagram(vpc, at)
    }

    /// The pid of the zygote, if it runs; for tests that kill it.
    pub fn zygote_pid(&self) -> Option<u32> {
        self.inner.lock_zygote().as_ref().map(ZygoteProcess::pid)
    }
}

impl Embedded {
    /// Lets go of everything that lives. Doing it twice is doing it once.
    fn close(&self) {
        self.passage.abort();
        for task in self.inner.tasks().values() {
            task.let_go();
        }
        if let Some(zygote) = self.inner.lock_zygote().take() {
            zygote.end();
        }
    }
}

impl Drop for Embedded {
    /// Tasks run on; the next agent finds them.
    fn drop(&mut self) {
        self.close();
    }
}

async fn report_end(passage: impl Future<Output = io::Result<()>>) {
    if let Err(e) = passage.await {
        tracing::warn!("other firewalls are not watched: {e}");
    }
}

/// Runs what waits for the kernel or the disk away from the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.expect("work of ours doesn't panic")
}

impl Inner {
    fn tasks(&self) -> MutexGuard<'_, BTreeMap<TaskId, Arc<Task>>> {
        self.tasks.lock().expect("nothing panics while it holds the tasks")
    }

    fn lock_zygote(&self) -> MutexGuard<'_, Option<ZygoteProcess>> {
        self.zygote.lock().expect("nothing panics while it holds the zygote")
    }

    fn zygote(&self) -> Result<MutexGuard<'_, Option<ZygoteProcess>>, Failure> {
        let mut slot = self.lock_zygote();
        if slot.is_none() {
            *slot = Some(ZygoteProcess::start(&self.config)?);
        }
        Ok(slot)
    }

    /// Hands a task's socket to the zygote; a zygote that has died is replaced.
    fn beget(&self, task: &TaskId, vpc: Option<&VpcId>) -> Result<UnixStream, Failure> {
        let failed = |e| Failure::System { what: "asking for a supervisor".to_owned(), source: e };
        let request = zygote::request(task.as_str())
            .ok_or_else(|| Failure::Refused(format!("{task} is no id of a task")))?;
        let vpc = vpc.and_then(|vpc| self.vpcs.namespace(vpc));
        let mut last = None;
        for _ in 0..2 {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
            let mut fds = vec![theirs.as_fd()];
            fds.extend(vpc.as_ref().map(|v| v.as_fd()));
            let mut slot = self.zygote()?;
            let zygote = slot.as_ref().expect("it was just started");
            match zygote.send(&request, &fds) {
                Ok(()) => {
                    ours.set_nonblocking(true).map_err(failed)?;
                    return UnixStream::from_std(ours).map_err(failed);
                }
                Err(e) => {
                    last = Some(e);
                    if let Some(dead) = slot.take() {
                        dead.end();
                    }
                }
            }
        }
        Err(failed(last.expect("two tries failed")))
    }

    fn folder(&self, task: &TaskId) -> PathBuf {
        self.tasks_folder.join(task.as_str())
    }

    /// Whether a task's supervisor lives: it holds the lock of the folder.
    fn has_supervisor(&self, task: &TaskId) -> bool {
        let Ok(folder) = File::open(self.folder(task)) else { return false };
        !mount::try_lock(&folder).unwrap_or(false)
    }

    /// Like `has_supervisor`, of one whose socket has just closed: a dying process closes one thing
    /// after another.
    async fn keeps_supervisor(&self, task: &TaskId) -> bool {
        let give_up = tokio::time::Instant::now() + Duration::from_millis(DYING_TIMEOUT_MS);
        while self.has_supervisor(task) {
            if tokio::time::Instant::now() > give_up {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        false
    }

    /// Connects to a supervisor that may have begun a moment ago. None: there is none.
    async fn connect(&self, task: &TaskId) -> Option<UnixStream> {
        let give_up = tokio::time::Instant::now() + Duration::from_millis(RECONNECT_TIMEOUT_MS);
        while self.has_supervisor(task) {
            if let Ok(stream) = self.try_connect(task).await {
                return Some(stream);
            }
            if tokio::time::Instant::now() > give_up {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        None
    }

    async fn try_connect(&self, task: &TaskId) -> io::Result<UnixStream> {
        // Named through the open folder, as paths of sockets may have 107 bytes only.
        let folder = File::open(self.folder(task))?;
        let path = format!("/proc/self/fd/{}/{SOCKET_FILE}", folder.as_raw_fd());
        UnixStream::connect(path).await
    }

    /// Makes a supervisor end that doesn't do so by itself.
    async fn kill_supervisor(&self, task: &TaskId) {
        let stream = self.try_connect(task).await;
        if let Ok(pid) = stream.and_then(|stream| socket::peer_pid(stream.as_fd())) {
            // It may end just now, and that is what we want.
            let _ = process::kill(pid, libc::SIGKILL);
        }
        let give_up = tokio::time::Instant::now() + Duration::from_millis(RECONNECT_TIMEOUT_MS);
        while self.has_supervisor(task) && tokio::time::Instant::now() < give_up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn spec_of(&self, task: &TaskId) -> Option<SandboxSpec> {
        let bytes = fs::read(self.folder(task).join(SPEC_FILE)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Ids of tasks that have a folder.
    fn folders(&self) -> Result<Vec<TaskId>, Failure> {
        let what = format!("reading {}", self.tasks_folder.display());
        let failed = |source| Failure::System { what: what.clone(), source };
        let mut tasks = Vec::new();
        for entry in fs::read_dir(&self.tasks_folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            tasks.push(TaskId::from(name.to_string_lossy().into_owned()));
        }
        tasks.sort();
        Ok(tasks)
    }

    /// Removes what is left of a task without a supervisor.
    async fn remove_remains(self: &Arc<Self>, task: &TaskId) -> Result<(), Failure> {
        let (inner, id) = (self.clone(), task.clone());
        blocking(move || {
            let removed = remains::remove(&inner.cgroups, &inner.tasks_folder, id.as_str());
            removed.map_err(Failure::of(format!("removing what is left of task {id}")))
        })
        .await
    }
}

impl Runtime for Embedded {
    async fn recover(&self) -> Result<Vec<Recovered>, Failure> {
        let mut recovered = Vec::new();
        for task in self.inner.folders()? {
            if self.inner.tasks().contains_key(&task) {
                continue;
            }
            let stream = self.inner.connect(&task).await;
            let greeted = match stream {
                Some(stream) => Task::adopt(&self.inner, &task, stream).await,
                None => None,
            };
            let (spec, state) = match greeted {
                Some((spec, observed)) => (Some(spec), RecoveredState::Live(observed)),
                None => (self.inner.spec_of(&task), RecoveredState::Lost),
            };
            recovered.push(Recovered { task, spec, state });
        }
        Ok(recovered)
    }

    async fn ensure_vpc(&self, vpc: VpcTable) -> Result<(), Failure> {
        let inner = self.inner.clone();
        blocking(move || inner.vpcs.ensure(&vpc)).await
    }

    async fn change_interfaces(
        &self,
        vpc: &VpcId,
        changes: InterfaceChanges,
    ) -> Result<bool, Failure> {
        let (inner, vpc) = (self.inner.clone(), vpc.clone());
        blocking(move || inner.vpcs.change(&vpc, &changes)).await
    }

    async fn vpcs(&self) -> Vec<VpcId> {
        self.inner.vpcs.known()
    }

    async fn remove_vpc(&self, vpc: &VpcId) -> Result<(), Failure> {
        let (inner, vpc) = (self.inner.clone(), vpc.clone());
        blocking(move || {
            let tasks = inner.folders()?;
            let living = tasks.iter().map(|task| net::host_side_name(task.as_str())).collect();
            inner.vpcs.remove(&vpc, living)
        })
        .await
    }

    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<(), Failure> {
        let id = spec.task.clone();
        if self.inner.tasks().contains_key(&id) {
            return Ok(());
        }
        let stream = self.inner.beget(&id, spec.network.as_ref().map(|n| &n.vpc))?;
        let task = Task::begin(&self.inner, &spec, stream);
        let create = protocol::encode(&Command::Create(Box::new(spec)));
        task.send(create).await.map_err(Failure::of("handing a task to its supervisor"))
    }

    async fn start_container(&self, task: &TaskId, launch: ContainerLaunch) -> Result<(), Failure> {
        self.command(task, &Command::Start(Box::new(launch))).await
    }

    async fn signal_container(
        &self,
        task: &TaskId,
        name: &str,
        signal: i32,
    ) -> Result<(), Failure> {
        self.command(task, &Command::Signal { name: name.to_owned(), signal }).await
    }

    async fn read_log(
        &self,
        task: &TaskId,
        name: &str,
        offset: u64,
        bytes_max: usize,
    ) -> Result<LogBatch, Failure> {
        let path = self.inner.folder(task).join(log_file(name));
        let read = File::open(&path).and_then(|f| SpoolReader::new(f).read(offset, bytes_max));
        match read {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Ok(LogBatch { next_offset: offset, ..LogBatch::default() })
            }
            other => other.map_err(Failure::of(format!("reading {}", path.display()))),
        }
    }

    async fn acknowledge_log(&self, task: &TaskId, name: &str, offset: u64) -> Result<(), Failure> {
        self.command(task, &Command::Acknowledge { name: name.to_owned(), offset }).await
    }

    async fn remove(&self, task: &TaskId) -> Result<(), Failure> {
        let known = self.inner.tasks().get(task).cloned();
        let known = match known {
            Some(known) => Some(known),
            // Perhaps a task of an earlier agent that nobody recovered.
            None => match self.inner.connect(task).await {
                Some(stream) => {
                    let greeted = Task::adopt(&self.inner, task, stream).await;
                    greeted.and_then(|_| self.inner.tasks().get(task).cloned())
                }
                None => None,
            },
        };
        if let Some(known) = known {
            let after = Duration::from_millis(REMOVE_TIMEOUT_MS);
            if tokio::time::timeout(after, known.remove()).await.is_err() {
                tracing::warn!(%task, "the supervisor did not remove its task and is killed");
            }
        }
        if self.inner.has_supervisor(task) {
            self.inner.kill_supervisor(task).await;
        }
        self.inner.remove_remains(task).await?;
        self.inner.tasks().remove(task);
        Ok(())
    }

    async fn sweep(&self, keep: &[TaskId]) -> Result<Vec<String>, Failure> {
        let mut strays = self.inner.folders()?;
        strays.extend(self.inner.cgroups.tasks().into_iter().map(TaskId::from));
        strays.extend(self.inner.tasks().keys().cloned());
        strays.sort();
        strays.dedup();
        let mut removed = Vec::new();
        for task in strays.into_iter().filter(|t| !keep.contains(t)) {
            self.remove(&task).await?;
            removed.push(format!("task {task}"));
        }
        let inner = self.inner.clone();
        removed.extend(blocking(move || inner.vpcs.sweep()).await?);
        Ok(removed)
    }

    async fn usage(&self, task: &TaskId) -> Result<Usage, Failure> {
        let known = self.living(task)?;
        let gone = || Failure::SupervisorGone(task.clone());
        known.usage().await.ok_or_else(gone)
    }

    fn enforces_storage(&self) -> bool {
        Bound::detect(&self.inner.config.root).is_some()
    }
}

/// Now, for facts that the agent's side adds.
fn now() -> Timestamp {
    sys::now()
}
