//! What a test needs of a runtime: programs by what they do, and events to wait for.

use runtime::limits::STORAGE_GIB_DEFAULT;
use runtime::{ContainerExit, ContainerLaunch, Event, EventKind, Runtime, SandboxSpec, TaskId};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};

/// How long anything may take. Far more than it does, as machines that test are busy.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy)]
pub enum Program<'a> {
    /// Until a signal.
    Run,
    /// Until SIGKILL.
    Stubborn,
    Exit(i32),
    /// One line, then exit.
    Print(&'a str, i32),
    /// Isn't there.
    Missing,
}

pub trait Bench {
    type Runtime: Runtime;
    fn runtime(&self) -> &Self::Runtime;
    fn events(&self) -> &Events;
    fn launch(&self, name: &str, program: Program<'_>) -> ContainerLaunch;
}

pub fn block_on(test: impl Future<Output = ()>) {
    let threads =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    threads.expect("threads").block_on(test);
}

pub fn task(n: u32) -> TaskId {
    TaskId::from(format!("{n:032x}"))
}

pub struct Events {
    arrived: Mutex<(mpsc::Receiver<Event>, VecDeque<Event>)>,
}

impl Events {
    pub fn new(receiver: mpsc::Receiver<Event>) -> Self {
        Self { arrived: Mutex::new((receiver, VecDeque::new())) }
    }

    /// The first event of a task that `wanted` takes, now or later; others stay for other waits.
    pub async fn wait<T>(
        &self,
        task: &TaskId,
        mut wanted: impl FnMut(&EventKind) -> Option<T>,
    ) -> T {
        let mut arrived = self.arrived.lock().await;
        let (receiver, kept) = &mut *arrived;
        let mut at = 0;
        let search = async {
            loop {
                while at < kept.len() {
                    let event = &kept[at];
                    let found = if event.task == *task { wanted(&event.kind) } else { None };
                    if let Some(found) = found {
                        kept.remove(at);
                        return found;
                    }
                    at += 1;
                }
                kept.push_back(receiver.recv().await.expect("the runtime lives"));
            }
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(found) => found,
            Err(_) => panic!("no such event; there were {kept:#?}"),
        }
    }

    pub async fn ready(&self, task: &TaskId) {
        let ready = |kind: &EventKind| match kind {
            EventKind::SandboxReady { .. } => Some(Ok(())),
            EventKind::SandboxFailed { reason, .. } => Some(Err(reason.clone())),
            _ => None,
        };
        self.wait(task, ready).await.expect("the sandbox can be made");
    }

    pub async fn started(&self, task: &TaskId, name: &str) -> (u32, u32) {
        let started = |kind: &EventKind| match kind {
            EventKind::ContainerStarted { name: n, attempt, pid, .. } if n == name => {
                Some(Ok((*attempt, *pid)))
            }
            EventKind::ContainerStartFailed { name: n, reason, .. } if n == name => {
                Some(Err(reason.clone()))
            }
            _ => None,
        };
        self.wait(task, started).await.expect("the container can be started")
    }

    pub async fn start_failed(&self, task: &TaskId, name: &str) -> (String, i32) {
        let failed = |kind: &EventKind| match kind {
            EventKind::ContainerStartFailed { name: n, reason, code, .. } if n == name => {
                Some((reason.clone(), *code))
            }
            _ => None,
        };
        self.wait(task, failed).await
    }

    pub async fn exited(&self, task: &TaskId, name: &str) -> ContainerExit {
        let exited = |kind: &EventKind| match kind {
            EventKind::ContainerExited { name: n, exit, .. } if n == name => Some(Ok(exit.clone())),
            EventKind::ContainerStartFailed { name: n, reason, .. } if n == name => {
                Some(Err(reason.clone()))
            }
            _ => None,
        };
        self.wait(task, exited).await.expect("the container can be started")
    }

    /// Events of a task that have arrived by now and nobody waited for.
    pub async fn left(&self, task: &TaskId) -> Vec<EventKind> {
        let mut arrived = self.arrived.lock().await;
        let (receiver, kept) = &mut *arrived;
        while let Ok(event) = receiver.try_recv() {
            kept.push_back(event);
        }
        kept.iter().filter(|e| e.task == *task).map(|e| e.kind.clone()).collect()
    }
}

/// Creates a sandbox and starts one container in it, without waiting in between.
pub async fn begin(bench: &impl Bench, n: u32, launch: ContainerLaunch) -> TaskId {
    let task = task(n);
    let runtime = bench.runtime();
    let mut spec = SandboxSpec::new(task.clone());
    spec.ephemeral_storage_gib = Some(STORAGE_GIB_DEFAULT);
    runtime.create_sandbox(spec).await.expect("created");
    runtime.start_container(&task, launch).await.expect("started");
    task
}

/// The whole log as text, a line each.
pub async fn log(bench: &impl Bench, task: &TaskId, name: &str) -> String {
    let batch = bench.runtime().read_log(task, name, 0, usize::MAX).await.expect("a log");
    batch.records.iter().map(|r| String::from_utf8_lossy(&r.bytes).into_owned() + "\n").collect()
}
