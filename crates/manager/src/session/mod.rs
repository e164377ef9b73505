//! A session: the two-way link with one agent. Down go the tasks its instance should have, up come
//! reports and log records. A session that has been silent past its lease is ended; the agent calls
//! again. Losing a session never stops a task.

mod assignments;
mod dismissal;
mod keys;
mod log_batches;
mod names;
mod networks;
mod register;
mod reports;
mod secrets;
mod stream;
mod usage;

use crate::Context;
use crate::limits::{HELLO_TIMEOUT_MS, INBOX_MESSAGES_MAX, OUTBOX_MESSAGES_MAX};
use model::limits::SESSION_LEASE_SECONDS;
use model::session::{Hello, LogBatch, PROTOCOL_VERSION, ToAgent, ToControl};
use model::{InstanceId, TaskId};
pub use register::Origin;
use register::RegisterFailure;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use stream::write_all;
pub use stream::{Messages, StreamFailure};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, watch};

/// A session as the other parts of the manager see it.
#[derive(Clone, Debug)]
struct Presence {
    epoch: u64,
    /// What the instance still has of tasks that are over, once it has said so. They were given up
    /// while it was away; their addresses are in use until they are gone.
    strays: Option<BTreeSet<TaskId>>,
}

/// Which instances have a session.
#[derive(Clone, Default)]
pub struct Connected(Arc<watch::Sender<BTreeMap<InstanceId, Presence>>>);

impl Connected {
    pub fn has(&self, instance: &InstanceId) -> bool {
        self.0.borrow().contains_key(instance)
    }

    /// Whether the instance says that nothing of a task that is over is left on it. One that is
    /// away says nothing.
    pub fn is_rid_of(&self, instance: &InstanceId, task: &TaskId) -> bool {
        let all = self.0.borrow();
        let strays = all.get(instance).and_then(|presence| presence.strays.as_ref());
        strays.is_some_and(|strays| !strays.contains(task))
    }

    /// Completes with every session that begins or ends, and with every stray that is gone.
    pub fn changes(&self) -> Changes {
        Changes(self.0.subscribe())
    }

    fn enter(&self, instance: &InstanceId, epoch: u64) {
        self.0.send_modify(|all| {
            all.insert(instance.clone(), Presence { epoch, strays: None });
        });
    }

    /// Only the newest session leaves; an older one was replaced already.
    fn leave(&self, instance: &InstanceId, epoch: u64) {
        self.0.send_if_modified(|all| {
            let newest = all.get(instance).is_some_and(|presence| presence.epoch == epoch);
            if newest {
                all.remove(instance);
            }
            newest
        });
    }

    fn greet(&self, instance: &InstanceId, epoch: u64, strays: BTreeSet<TaskId>) {
        self.0.send_if_modified(|all| {
            let presence = all.get_mut(instance).filter(|presence| presence.epoch == epoch);
            let Some(presence) = presence else { return false };
            presence.strays = Some(strays);
            true
        });
    }

    fn is_gone(&self, instance: &InstanceId, task: &TaskId) {
        self.0.send_if_modified(|all| {
            let strays = all.get_mut(instance).and_then(|presence| presence.strays.as_mut());
            strays.is_some_and(|strays| strays.remove(task))
        });
    }
}

/// See `Connected::changes`.
pub struct Changes(watch::Receiver<BTreeMap<InstanceId, Presence>>);

impl Changes {
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left who could change anything.
            std::future::pending::<()>().await;
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SessionFailure {
    #[error("the agent did not introduce itself")]
    NoHello,
    #[error("the agent speaks protocol {theirs}, this control plane {PROTOCOL_VERSION}")]
    Protocol { theirs: u32 },
    #[error(transparent)]
    Register(RegisterFailure),
    #[error("the instance could not be registered")]
    Store(#[source] store::TransactFailure<RegisterFailure>),
    #[error("an operator has forgotten this instance; a new token lets its machine join anew")]
    Forgotten,
    #[error("nothing was heard for {SESSION_LEASE_SECONDS} s")]
    Silent,
    #[error(transparent)]
    Stream(#[from] StreamFailure),
    #[error(transparent)]
    Reports(#[from] reports::ReportFailure),
    #[error("the control plane is closing")]
    Closing,
}

/// Serves one agent until the link ends; says why it ended.
pub async fn serve<S>(
    cx: &Context,
    connected: &Connected,
    origin: Origin,
    stream: S,
) -> SessionFailure
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let mut messages = Messages::new(reader);
    let (outbox, mut to_write) = mpsc::channel(OUTBOX_MESSAGES_MAX);
    let hello = match introduced(&mut messages).await {
        Ok(hello) => hello,
        Err(failure) => {
            refuse(outbox, writer, &mut to_write, &failure).await;
            return failure;
        }
    };
    let registered = match &origin {
        Origin::Forgotten(instance) => {
            let failure = tokio::select! {
                failure = dismissal::dismiss(instance, &hello, &mut messages, &outbox) => failure,
                failure = write_all(&mut writer, &mut to_write) => failure.into(),
            };
            Err(failure)
        }
        origin => register::register(cx, &hello, origin).await.map_err(|failure| match failure {
            store::TransactFailure::Aborted(refused) => SessionFailure::Register(refused),
            other => SessionFailure::Store(other),
        }),
    };
    let (instance, epoch) = match registered {
        Ok(registered) => registered,
        Err(failure) => {
            refuse(outbox, writer, &mut to_write, &failure).await;
            return failure;
        }
    };
    tracing::info!(%instance, epoch, name = hello.name, "an agent's session began");
    connected.enter(&instance, epoch);
    let session = Session { cx, connected, instance: instance.clone(), epoch, outbox };
    let failure = tokio::select! {
        failure = session.run(hello, messages) => failure,
        failure = write_all(writer, &mut to_write) => failure.into(),
    };
    connected.leave(&instance, epoch);
    register::part(cx, &instance, epoch).await;
    tracing::info!(%instance, epoch, why = %failure, "an agent's session ended");
    failure
}

async fn introduced<R: AsyncRead + Unpin>(
    messages: &mut Messages<R>,
) -> Result<Hello, SessionFailure> {
    let patience = Duration::from_millis(HELLO_TIMEOUT_MS);
    let first = tokio::time::timeout(patience, messages.next::<ToControl>()).await;
    let ToControl::Hello(hello) = first.map_err(|_| SessionFailure::NoHello)?? else {
        return Err(SessionFailure::NoHello);
    };
    if hello.protocol != PROTOCOL_VERSION {
        return Err(SessionFailure::Protocol { theirs: hello.protocol });
    }
    Ok(hello)
}

async fn refuse<W: AsyncWrite + Unpin>(
    outbox: mpsc::Sender<ToAgent>,
    writer: W,
    to_write: &mut mpsc::Receiver<ToAgent>,
    failure: &SessionFailure,
) {
    let retry = match failure {
        SessionFailure::Protocol { .. } | SessionFailure::Forgotten => false,
        SessionFailure::Register(refused) => matches!(refused, RegisterFailure::Forgotten),
        _ => true,
    };
    // A full or closed outbox can't be: at most a list was sent before.
    let _ = outbox.try_send(ToAgent::Refused { reason: failure.to_string(), retry });
    drop(outbox);
    write_all(writer, to_write).await;
}

struct Session<'a> {
    cx: &'a Context,
    connected: &'a Connected,
    instance: InstanceId,
    epoch: u64,
    outbox: mpsc::Sender<ToAgent>,
}

impl Session<'_> {
    async fn run<R: AsyncRead + Unpin>(
        &self,
        hello: Hello,
        messages: Messages<R>,
    ) -> SessionFailure {
        let welcome = ToAgent::Welcome {
            protocol: PROTOCOL_VERSION,
            instance: self.instance.clone(),
            epoch: self.epoch,
            registry: self.cx.registry.clone(),
        };
        if self.outbox.send(welcome).await.is_err() {
            return SessionFailure::Closing;
        }
        let first: Vec<_> = hello.tasks.into_iter().map(|report| (0, report)).collect();
        for group in first.chunks(crate::limits::REPORTS_PER_COMMIT_MAX) {
            if let Err(failure) = reports::fold(self.cx, &self.instance, self.epoch, group).await {
                return failure.into();
            }
        }
        let strays = reports::strays(self.cx, first.iter().map(|(_, report)| report));
        self.connected.greet(&self.instance, self.epoch, strays);
        let (reports_in, mut reports) = mpsc::channel(INBOX_MESSAGES_MAX);
        let (logs_in, mut logs) = mpsc::channel(INBOX_MESSAGES_MAX);
        let resync = Notify::new();
        let folding = reports::keep_folding(
            self.cx,
            self.connected,
            &self.instance,
            self.epoch,
            &mut reports,
            &self.outbox,
        );
        tokio::select! {
            failure = self.listen(messages, &reports_in, &logs_in, &resync) => failure,
            failure = folding => failure.into(),
            () = log_batches::keep_storing(self.cx, &self.instance, &mut logs, &self.outbox) => {
                SessionFailure::Closing
            }
            () = assignments::keep_sending(self.cx, &self.instance, &resync, &self.outbox) => {
                SessionFailure::Closing
            }
            () = names::keep_sending(self.cx, &self.outbox) => SessionFailure::Closing,
        }
    }

    async fn listen<R: AsyncRead + Unpin>(
        &self,
        mut messages: Messages<R>,
        reports: &mpsc::Sender<reports::Numbered>,
        logs: &mpsc::Sender<LogBatch>,
        resync: &Notify,
    ) -> SessionFailure {
        let lease = Duration::from_secs(SESSION_LEASE_SECONDS.unsigned_abs());
        let counts = usage::Counts::default();
        loop {
            let message = match tokio::time::timeout(lease, messages.next::<ToControl>()).await {
                Err(_) => return SessionFailure::Silent,
                Ok(Err(failure)) => return failure.into(),
                Ok(Ok(message)) => message,
            };
            let passed_on = match message {
                ToControl::Heartbeat => true,
                ToControl::Resync => {
                    resync.notify_one();
                    true
                }
                ToControl::Report { number, report } => {
                    reports.send((number, report)).await.is_ok()
                }
                ToControl::Logs(batch) => logs.send(batch).await.is_ok(),
                ToControl::KeysWanted { task, cluster } => {
                    let keys = keys::mint(self.cx, &self.instance, &cluster, &task);
                    self.outbox.send(ToAgent::Keys { task, keys }).await.is_ok()
                }
                ToControl::Usage { at, tasks } => {
                    usage::measure(self.cx, &self.instance, &counts, at, &tasks);
                    true
                }
                ToControl::Hello(_) => return SessionFailure::NoHello,
            };
            if !passed_on {
                return SessionFailure::Closing;
            }
        }
    }
}
