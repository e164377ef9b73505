//! One session with the control plane, from Hello to the end of the stream. It carries and does not
//! decide: lists go to whoever runs the tasks, reports and log records come from the link.

use crate::limits::{HEARTBEAT_MS, OUTBOX_MESSAGES_MAX, READ_BYTES};
use crate::link::Link;
use model::credentials::SessionKeys;
use model::discovery::NameTable;
use model::facts::ContainersFact;
use model::frame::{self, FrameFault};
use model::session::{Assignment, Hello, LogFailure, RegistryAccess, ToAgent, ToControl};
use model::vpc_table::{InterfaceChanges, VpcTable};
use model::{InstanceId, TaskId, VpcId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionEnd {
    #[error("the session's stream failed")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameFault),
    #[error("the control plane closed the session")]
    Closed,
    #[error("the control plane refused the session: {reason}")]
    Refused { reason: String, retry: bool },
    #[error("the agent is closing")]
    Closing,
}

/// What a session tells the agent.
#[derive(Debug)]
pub enum News {
    Welcome {
        instance: InstanceId,
        registry: RegistryAccess,
    },
    /// The whole list.
    Assignments(Vec<Arc<Assignment>>),
    Changes {
        upsert: Vec<Arc<Assignment>>,
        remove: Vec<TaskId>,
    },
    /// What the control plane durably knows now of these tasks.
    Confirmed(Vec<(TaskId, ContainersFact)>),
    Logged {
        task: TaskId,
        container: String,
        offset: u64,
        failure: Option<LogFailure>,
    },
    Keys {
        task: TaskId,
        keys: Option<SessionKeys>,
    },
    Names {
        everything: bool,
        tables: BTreeMap<VpcId, Arc<NameTable>>,
    },
    Networks {
        all: Option<BTreeSet<VpcId>>,
        tables: Vec<Arc<VpcTable>>,
    },
    Interfaces {
        vpc: VpcId,
        changes: InterfaceChanges,
    },
}

/// Holds a session until it ends. `hello.tasks` is filled in here.
pub async fn hold<S>(
    link: &Link,
    mut hello: Hello,
    stream: S,
    news: &mpsc::Sender<News>,
) -> SessionEnd
where
    S: AsyncRead + AsyncWrite + Send,
{
    let (reader, writer) = tokio::io::split(stream);
    let (outbox, to_write) = mpsc::channel(OUTBOX_MESSAGES_MAX);
    hello.tasks = link.begin_session(outbox.clone());
    if outbox.send(ToControl::Hello(hello)).await.is_err() {
        return SessionEnd::Closing;
    }
    let end = tokio::select! {
        end = listen(link, reader, news, &outbox) => end,
        end = write_all(writer, to_write) => end,
        end = report(link, &outbox) => end,
        end = beat(&outbox) => end,
    };
    link.end_session();
    end
}

async fn report(link: &Link, outbox: &mpsc::Sender<ToControl>) -> SessionEnd {
    loop {
        for message in link.unsent().await {
            if outbox.send(message).await.is_err() {
                return SessionEnd::Closed;
            }
        }
    }
}

async fn beat(outbox: &mpsc::Sender<ToControl>) -> SessionEnd {
    let mut beats = tokio::time::interval(Duration::from_millis(HEARTBEAT_MS));
    beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        beats.tick().await;
        if outbox.send(ToControl::Heartbeat).await.is_err() {
            return SessionEnd::Closed;
        }
    }
}

async fn write_all<W: AsyncWrite + Unpin>(
    mut stream: W,
    mut outbox: mpsc::Receiver<ToControl>,
) -> SessionEnd {
    let mut bytes = Vec::with_capacity(READ_BYTES);
    while let Some(message) = outbox.recv().await {
        bytes.clear();
        let mut encoded = frame::encode(&message, &mut bytes);
        while encoded.is_ok() && bytes.len() < READ_BYTES {
            let Ok(more) = outbox.try_recv() else { break };
            encoded = frame::encode(&more, &mut bytes);
        }
        if let Err(fault) = encoded {
            return fault.into();
        }
        if let Err(failure) = stream.write_all(&bytes).await {
            return failure.into();
        }
    }
    SessionEnd::Closing
}

async fn listen<R: AsyncRead + Unpin>(
    link: &Link,
    mut stream: R,
    news: &mpsc::Sender<News>,
    outbox: &mpsc::Sender<ToControl>,
) -> SessionEnd {
    let mut read = Vec::with_capacity(READ_BYTES);
    let mut order = Order::default();
    loop {
        let mut used = 0;
        loop {
            match frame::decode::<ToAgent>(&read[used..]) {
                Ok(Some((message, bytes))) => {
                    used += bytes;
                    if let Err(end) = order.take(link, message, news, outbox).await {
                        return end;
                    }
                }
                Ok(None) => break,
                Err(fault) => return fault.into(),
            }
        }
        read.drain(..used);
        read.reserve(READ_BYTES);
        match stream.read_buf(&mut read).await {
            Ok(0) => return SessionEnd::Closed,
            Ok(_) => {}
            Err(failure) => return failure.into(),
        }
    }
}

/// Where in the sequence of lists this session is.
#[derive(Default)]
struct Order {
    sequence: Option<u64>,
    /// That of networks, which come before the tasks that need them.
    networks: Option<u64>,
}

impl Order {
    async fn take(
        &mut self,
        link: &Link,
        message: ToAgent,
        news: &mpsc::Sender<News>,
        outbox: &mpsc::Sender<ToControl>,
    ) -> Result<(), SessionEnd> {
        let told = match message {
            ToAgent::Welcome { instance, registry, .. } => News::Welcome { instance, registry },
            ToAgent::Assignments { sequence, tasks } => {
                self.sequence = Some(sequence);
                let confirmed = News::Confirmed(link.greeting_confirmed());
                news.send(confirmed).await.map_err(|_| SessionEnd::Closing)?;
                News::Assignments(tasks)
            }
            ToAgent::Changes { sequence, upsert, remove } => {
                if self.sequence.map(|seen| seen + 1) != Some(sequence) {
                    // A gap: these changes are part of the whole list that is asked for.
                    self.sequence = None;
                    return outbox.send(ToControl::Resync).await.map_err(|_| SessionEnd::Closed);
                }
                self.sequence = Some(sequence);
                News::Changes { upsert, remove }
            }
            ToAgent::Reported { number } => News::Confirmed(link.confirmed(number)),
            ToAgent::Logged { task, container, offset, failure } => {
                News::Logged { task, container, offset, failure }
            }
            ToAgent::Keys { task, keys } => News::Keys { task, keys },
            ToAgent::Names { everything, tables } => News::Names { everything, tables },
            ToAgent::Networks { sequence, all, tables } => {
                // Everything there is, is a beginning.
                if all.is_none() && self.networks.map(|seen| seen + 1) != Some(sequence) {
                    return self.ask_networks(outbox).await;
                }
                self.networks = Some(sequence);
                News::Networks { all, tables }
            }
            ToAgent::Interfaces { sequence, vpc, changes } => {
                if self.networks.map(|seen| seen + 1) != Some(sequence) {
                    return self.ask_networks(outbox).await;
                }
                self.networks = Some(sequence);
                News::Interfaces { vpc, changes }
            }
            ToAgent::Refused { reason, retry } => {
                return Err(SessionEnd::Refused { reason, retry });
            }
        };
        news.send(told).await.map_err(|_| SessionEnd::Closing)
    }

    async fn ask_networks(&mut self, outbox: &mpsc::Sender<ToControl>) -> Result<(), SessionEnd> {
        self.networks = None;
        outbox.send(ToControl::Resync).await.map_err(|_| SessionEnd::Closed)
    }
}
