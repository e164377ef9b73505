//! The agent's end of one task: a socket to the supervisor, and a reader that turns what it tells
//! into events. One descriptor for each task.

use super::{Inner, now};
use crate::event::*;
use crate::protocol::{self, Command, Tell};
use crate::spec::{SandboxSpec, TaskId, VpcId};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

/// How often a supervisor is asked for again when zygotes die.
const TRIES_MAX: u32 = 3;

/// How a task's supervisor stands, as far as the socket tells.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Living,
    /// The socket is closed; `removed`: after the supervisor said that it removed everything.
    Gone {
        removed: bool,
    },
}

pub struct Task {
    id: TaskId,
    /// The VPC it was begun in.
    vpc: Option<VpcId>,
    writer: tokio::sync::Mutex<Writer>,
    standing: watch::Sender<Standing>,
    listener: Mutex<Option<AbortHandle>>,
    questions: Mutex<Questions>,
}

struct Writer {
    half: OwnedWriteHalf,
    /// Commands that a supervisor may not have got, until the first word from it.
    unheard: Option<Vec<u8>>,
}

#[derive(Default)]
struct Questions {
    next_ticket: u64,
    usage: BTreeMap<u64, oneshot::Sender<Usage>>,
}

/// Reads frames; they may be cut anywhere.
struct Reader {
    half: OwnedReadHalf,
    input: Vec<u8>,
}

impl Reader {
    /// None: the supervisor is gone, or speaks another language.
    async fn next(&mut self) -> Option<Tell> {
        loop {
            match protocol::decode(&mut self.input) {
                Ok(Some(tell)) => return Some(tell),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(%error, "a supervisor said something unreadable");
                    return None;
                }
            }
            match self.half.read_buf(&mut self.input).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

impl Task {
    /// A task whose supervisor is being made.
    pub fn begin(inner: &Arc<Inner>, spec: &SandboxSpec, stream: UnixStream) -> Arc<Self> {
        let (id, vpc) = (&spec.task, spec.network.as_ref().map(|n| n.vpc.clone()));
        let (task, reader) = Self::new(id, vpc, stream, Some(Vec::new()));
        inner.tasks().insert(id.clone(), task.clone());
        task.spawn_listener(inner, reader, true);
        task
    }

    /// A task of an earlier agent; its supervisor says what became of it.
    pub async fn adopt(
        inner: &Arc<Inner>,
        id: &TaskId,
        stream: UnixStream,
    ) -> Option<(SandboxSpec, ObservedTask)> {
        let (task, mut reader) = Self::new(id, None, stream, None);
        let Some(Tell::Observed { spec, observed }) = reader.next().await else { return None };
        inner.tasks().insert(id.clone(), task.clone());
        task.spawn_listener(inner, reader, false);
        Some((*spec, *observed))
    }

    fn new(
        id: &TaskId,
        vpc: Option<VpcId>,
        stream: UnixStream,
        unheard: Option<Vec<u8>>,
    ) -> (Arc<Self>, Reader) {
        let (read, write) = stream.into_split();
        let task = Self {
            id: id.clone(),
            vpc,
            writer: tokio::sync::Mutex::new(Writer { half: write, unheard }),
            standing: watch::Sender::new(Standing::Living),
            listener: Mutex::default(),
            questions: Mutex::default(),
        };
        (Arc::new(task), Reader { half: read, input: Vec::new() })
    }

    fn spawn_listener(self: &Arc<Self>, inner: &Arc<Inner>, reader: Reader, fresh: bool) {
        let listener = tokio::spawn(self.clone().listen(inner.clone(), reader, fresh));
        let mut slot = self.listener.lock().expect("nothing panics while it holds this");
        *slot = Some(listener.abort_handle());
    }

    /// Hears nothing any more; the supervisor goes on without an agent.
    pub fn let_go(&self) {
        let slot = self.listener.lock().expect("nothing panics while it holds this");
        if let Some(listener) = slot.as_ref() {
            listener.abort();
        }
    }

    pub fn is_lost(&self) -> bool {
        *self.standing.borrow() != Standing::Living
    }

    pub async fn send(&self, frame: Vec<u8>) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        // Kept first: a write that fails because a zygote died is made up for by asking another.
        let kept =
            writer.unheard.as_mut().map(|unheard| unheard.extend_from_slice(&frame)).is_some();
        match writer.half.write_all(&frame).await {
            Err(_) if kept => Ok(()),
            other => other,
        }
    }

    /// Asks the supervisor to remove the task and waits until it has gone.
    pub async fn remove(&self) {
        let mut standing = self.standing.subscribe();
        if self.send(protocol::encode(&Command::Remove)).await.is_err() {
            return;
        }
        // The sender lives as long as `self`, so this ends only by the supervisor's end.
        let _ = standing.wait_for(|s| *s != Standing::Living).await;
    }

    pub async fn usage(&self) -> Option<Usage> {
        let (answer, wait) = oneshot::channel();
        let ticket = {
            let mut questions = self.questions();
            questions.next_ticket += 1;
            let ticket = questions.next_ticket;
            questions.usage.insert(ticket, answer);
            ticket
        };
        self.send(protocol::encode(&Command::Usage { ticket })).await.ok()?;
        wait.await.ok()
    }

    fn questions(&self) -> std::sync::MutexGuard<'_, Questions> {
        self.questions.lock().expect("nothing panics while it holds the questions")
    }

    async fn listen(self: Arc<Self>, inner: Arc<Inner>, mut reader: Reader, mut fresh: bool) {
        let mut removed = false;
        let mut tries = TRIES_MAX;
        loop {
            let Some(tell) = reader.next().await else {
                // The zygote died with the request unread, or with it just read: nothing has run.
                if fresh && tries > 0 && !inner.folder(&self.id).exists() {
                    tries -= 1;
                    if let Some(other) = self.begin_again(&inner).await {
                        reader = other;
                        continue;
                    }
                }
                break;
            };
            if std::mem::take(&mut fresh) {
                if matches!(tell, Tell::Exists) {
                    match self.reconnect(&inner).await {
                        Some(other) => reader = other,
                        None => break,
                    }
                    continue;
                }
                self.writer.lock().await.unheard = None;
            }
            if let Tell::Removed { failure: None } = tell {
                removed = true;
            }
            self.hear(&inner, tell).await;
        }
        self.conclude(&inner, removed, fresh).await;
    }

    async fn hear(&self, inner: &Inner, tell: Tell) {
        match tell {
            Tell::Exists | Tell::Removed { failure: None } => {}
            Tell::Removed { failure: Some(failure) } => {
                tracing::warn!(task = %self.id, %failure, "removing a task");
            }
            Tell::Event(kind) => self.tell(inner, kind).await,
            Tell::Observed { observed, .. } => {
                for kind in events(*observed) {
                    self.tell(inner, kind).await;
                }
            }
            Tell::Usage { ticket, usage } => {
                if let Some(answer) = self.questions().usage.remove(&ticket) {
                    // Whoever asked may have given up.
                    let _ = answer.send(usage);
                }
            }
        }
    }

    /// Asks another zygote; the mark that the task's folder is makes sure that only one begins it.
    async fn begin_again(&self, inner: &Inner) -> Option<Reader> {
        let mut writer = self.writer.lock().await;
        let (read, write) = inner.beget(&self.id, self.vpc.as_ref()).ok()?.into_split();
        writer.half = write;
        let unheard = writer.unheard.clone().unwrap_or_default();
        writer.half.write_all(&unheard).await.ok()?;
        Some(Reader { half: read, input: Vec::new() })
    }

    /// The task was made before: by a supervisor that lives, or by one that is gone. What is sent
    /// meanwhile goes to the socket that the zygote has closed, so it is kept until here; with
    /// nobody to connect to, what becomes of the task is told as an event.
    async fn reconnect(&self, inner: &Inner) -> Option<Reader> {
        let (read, write) = inner.connect(&self.id).await?.into_split();
        let mut writer = self.writer.lock().await;
        writer.half = write;
        let unheard = writer.unheard.take().unwrap_or_default();
        writer.half.write_all(&unheard).await.ok()?;
        Some(Reader { half: read, input: Vec::new() })
    }

    /// The socket closed.
    async fn conclude(&self, inner: &Arc<Inner>, removed: bool, never_began: bool) {
        self.standing.send_replace(Standing::Gone { removed });
        *self.questions() = Questions::default();
        // A supervisor that lives talks to another agent now, and the task is that one's.
        if removed || inner.keeps_supervisor(&self.id).await {
            return;
        }
        let at = now();
        if never_began && !inner.folder(&self.id).exists() {
            // Not even the mark that it might have run: no promise was made, it may be tried again.
            inner.tasks().remove(&self.id);
            let reason = "the supervisor could not be started".to_owned();
            return self.tell(inner, EventKind::SandboxFailed { reason, at }).await;
        }
        // The kernel kills the containers of a dead supervisor; what escaped that is killed here.
        let (id, kernel) = (self.id.clone(), inner.clone());
        let killed = tokio::task::spawn_blocking(move || kernel.cgroups.kill_task(id.as_str()));
        if let Ok(Err(error)) = killed.await {
            tracing::error!(task = %self.id, %error, "killing what a dead supervisor left");
        }
        self.tell(inner, EventKind::SandboxLost { at }).await;
    }

    async fn tell(&self, inner: &Inner, kind: EventKind) {
        // Without a receiver the agent is about to end; supervisors keep the facts for the next
        // one.
        let _ = inner.events.send(Event { task: self.id.clone(), kind }).await;
    }
}

/// An observed state, told as the events that led to it.
fn events(observed: ObservedTask) -> Vec<EventKind> {
    let mut all = Vec::new();
    match observed.sandbox {
        ObservedSandbox::Making => {}
        ObservedSandbox::Ready { at } => all.push(EventKind::SandboxReady { at }),
        ObservedSandbox::Failed { reason, at } => all.push(EventKind::SandboxFailed { reason, at }),
    }
    for container in observed.containers {
        let (name, attempt) = (container.name, container.attempt);
        if let Some(at) = container.started_at {
            let pid = match container.phase {
                ObservedPhase::Running { pid } => pid,
                _ => 0,
            };
            let name = name.clone();
            all.push(EventKind::ContainerStarted { name, attempt, pid, at });
        }
        if let Some(health) = container.health {
            all.push(EventKind::Health { name: name.clone(), attempt, health });
        }
        match container.phase {
            ObservedPhase::Starting | ObservedPhase::Running { .. } => {}
            ObservedPhase::StartFailed { reason, code, at } => {
                all.push(EventKind::ContainerStartFailed { name, attempt, reason, code, at });
            }
            ObservedPhase::Exited(exit) => {
                all.push(EventKind::ContainerExited { name, attempt, exit });
            }
        }
    }
    all
}
