//! One task's actor: the only one that acts on the task on this instance. A loop without branches
//! of its own: fold in what happened, ask `plan` what to do next, do it, report, wait.

use crate::images::{Image, Images, Wanted};
use crate::launch;
use crate::limits::ACTOR_INBOX_MAX;
use crate::log_events::Beginnings;
use crate::log_shipper::{Logged, Shipper, Wake};
use crate::{Shared, recovery};
use model::TaskId;
use model::facts::{ContainersFact, Desired};
use model::session::Assignment;
use model::task_definition::ContainerTemplate;
use plan::lifecycle::{Event, Observed, Step};
use runtime::{EventKind, Recovered, Runtime};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// The longest wait without looking at the clock, in milliseconds.
const LOOK_EVERY_MS: i64 = 60_000;
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

pub enum Message {
    Assigned(Arc<Assignment>),
    /// The control plane has forgotten the task: end it, then yourself.
    Dismissed,
    Runtime(EventKind),
    Logged {
        container: String,
        logged: Logged,
    },
    Seen(Event),
    Pulled {
        container: String,
        image: Box<Image>,
    },
}

struct Shipping {
    wakes: watch::Sender<Wake>,
    answers: mpsc::Sender<Logged>,
    running: Option<JoinHandle<()>>,
}

pub struct Actor<R, I> {
    shared: Arc<Shared<R, I>>,
    assignment: Arc<Assignment>,
    observed: Observed,
    inbox: mpsc::Receiver<Message>,
    to_self: mpsc::Sender<Message>,
    images: BTreeMap<String, Image>,
    shipping: BTreeMap<String, Shipping>,
    dismissed: bool,
    /// Decided before the actor ran.
    first: Vec<Step>,
}

impl<R: Runtime, I: Images> Actor<R, I> {
    /// An actor for a task nothing has been seen of.
    pub fn new(
        shared: Arc<Shared<R, I>>,
        assignment: Arc<Assignment>,
    ) -> (Self, mpsc::Sender<Message>) {
        let (to_self, inbox) = mpsc::channel(ACTOR_INBOX_MAX);
        shared.residents.enter(&assignment);
        let mut observed = Observed::new(&assignment.template);
        observed.keep_trace();
        let actor = Self {
            shared,
            assignment,
            observed,
            inbox,
            to_self: to_self.clone(),
            images: BTreeMap::new(),
            shipping: BTreeMap::new(),
            dismissed: false,
            first: Vec::new(),
        };
        (actor, to_self)
    }

    /// An actor for a task that an earlier agent began.
    pub fn recovered(
        shared: Arc<Shared<R, I>>,
        assignment: Arc<Assignment>,
        found: &Recovered,
    ) -> (Self, mpsc::Sender<Message>) {
        let (mut actor, sender) = Self::new(shared, assignment);
        recovery::fold(&mut actor.observed, found, actor.shared.now());
        // An earlier agent may have been told to stop it: nothing begins before we are told.
        actor.observed.hold_starts();
        // The first Hello must speak of it, so its first report can't wait for the actor to run.
        let next = plan::step(&actor.assignment, &mut actor.observed, actor.shared.now());
        actor.shared.link.report(next.report);
        actor.first = next.steps;
        for (container, from) in recovery::logs(found) {
            actor.ship(&container, from);
        }
        (actor, sender)
    }

    /// Runs until nothing of the task is left and the control plane has let go of it.
    pub async fn run(mut self) -> TaskId {
        for step in std::mem::take(&mut self.first) {
            self.perform(step).await;
        }
        loop {
            let next = plan::step(&self.assignment, &mut self.observed, self.shared.now());
            self.shared.link.report(next.report);
            for step in next.steps {
                self.perform(step).await;
            }
            if next.finished && self.dismissed {
                self.shared.images.release(&self.assignment.task);
                self.shared.link.leave(&self.assignment.task);
                self.shared.residents.leave(&self.assignment.task);
                return self.assignment.task.clone();
            }
            let wait_ms = next.wake_at.map_or(LOOK_EVERY_MS, |at| at.since_ms(self.shared.now()));
            let wait_ms = wait_ms.clamp(0, LOOK_EVERY_MS).unsigned_abs();
            tokio::select! {
                message = self.inbox.recv() => {
                    // The actor holds a sender itself: there is always another message or a wait.
                    if let Some(message) = message {
                        self.take(message).await;
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(wait_ms)) => {}
            }
            while let Ok(message) = self.inbox.try_recv() {
                self.take(message).await;
            }
        }
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Assigned(assignment) => {
                self.assignment = assignment;
                self.shared.residents.enter(&self.assignment);
                self.dismissed = false;
                self.observed.observe(&Event::Assigned);
            }
            Message::Dismissed => {
                self.dismissed = true;
                let mut ending = (*self.assignment).clone();
                ending.desired = Desired::Stopped;
                self.assignment = Arc::new(ending);
                // Nobody waits for a report any more.
                let containers_fact = ContainersFact::Stopped;
                self.observed.observe(&Event::Reported { containers_fact });
            }
            Message::Runtime(EventKind::LogGrew { name }) => self.wake_shipper(&name, Wake::Grew),
            Message::Runtime(EventKind::Warning { text }) => {
                tracing::warn!(task = %self.assignment.task, "{text}");
            }
            Message::Runtime(kind) => {
                if let Some(event) = recovery::event(kind) {
                    self.observed.observe(&event);
                }
            }
            Message::Logged { container, logged } => {
                if let Some(shipping) = self.shipping.get(&container) {
                    // A shipper that has ended waits for no answer.
                    let _ = shipping.answers.send(logged).await;
                }
            }
            Message::Seen(event) => self.observed.observe(&event),
            Message::Pulled { container, image } => {
                let (digest, at) = (Some(image.digest.clone()), self.shared.now());
                self.images.insert(container.clone(), *image);
                self.observed.observe(&Event::ImagePulled { container, digest, at });
            }
        }
    }

    async fn perform(&mut self, step: Step) {
        tracing::debug!(task = %self.assignment.task, ?step, "performing");
        let task = self.assignment.task.clone();
        let done = match &step {
            Step::CreateSandbox => self.create_sandbox().await,
            Step::PullImage { container } => self.pull(container),
            Step::StartContainer { container, attempt } => self.start(container, *attempt).await,
            Step::StopContainer { container } => {
                let signal = self.stop_signal(container);
                let sent = self.shared.runtime.signal_container(&task, container, signal).await;
                sent.map_err(|failure| failure.to_string())
            }
            Step::KillContainer { container } => {
                let sent = self.shared.runtime.signal_container(&task, container, SIGKILL).await;
                sent.map_err(|failure| failure.to_string())
            }
            Step::DrainLog { container } => {
                self.drain(container);
                Ok(())
            }
            Step::RemoveSandbox => {
                self.remove();
                Ok(())
            }
        };
        if let Err(reason) = done {
            tracing::warn!(task = %self.assignment.task, ?step, reason, "a step failed");
            let at = self.shared.now();
            self.observed.observe(&Event::StepFailed { step, reason, at });
            // Nothing else may come: what the failure means must be decided now.
            self.look_again();
        }
    }

    /// Makes the loop go round once more without anything having happened.
    fn look_again(&self) {
        let wake = Message::Runtime(EventKind::LogGrew { name: String::new() });
        // A full inbox makes the loop go round by itself.
        let _ = self.to_self.try_send(wake);
    }

    async fn create_sandbox(&self) -> Result<(), String> {
        if let Some((vpc, address, range)) = launch::network(&self.assignment) {
            // Walls first.
            self.shared.networks.ready(&vpc, address).await?;
            let served = self.shared.ensure_served(&vpc, range, &self.assignment.region).await;
            served.map_err(|failure| failure.to_string())?;
        }
        // The note is written to the disk; the newest session says again what must not be there.
        let mut noted = (*self.assignment).clone();
        noted.registry_credentials.clear();
        noted.secrets.clear();
        let note = serde_json::to_string(&noted).map_err(|f| f.to_string())?;
        let dns =
            launch::dns(&self.assignment, self.shared.serves_inside(), &self.shared.settings.dns);
        let spec = launch::sandbox(&self.assignment, dns, note);
        let asked = self.shared.runtime.create_sandbox(spec).await;
        asked.map_err(|failure| failure.to_string())
    }

    fn template(&self, container: &str) -> Option<&ContainerTemplate> {
        self.assignment.template.containers.iter().find(|c| c.name == container)
    }

    fn wanted(&self, container: &str) -> Result<Wanted, String> {
        let template = self.template(container).ok_or("no such container")?;
        Ok(Wanted {
            task: self.assignment.task.clone(),
            reference: template.image.clone(),
            architecture: self.assignment.template.cpu_architecture.clone(),
            credentials: self.assignment.registry_credentials.get(container).cloned(),
        })
    }

    fn pull(&self, container: &str) -> Result<(), String> {
        let (wanted, name) = (self.wanted(container)?, container.to_owned());
        let (shared, to_self) = (Arc::clone(&self.shared), self.to_self.clone());
        tokio::spawn(async move {
            let message = match shared.images.pull(wanted).await {
                Ok(image) => Message::Pulled { container: name, image: Box::new(image) },
                Err(reason) => {
                    let at = shared.now();
                    Message::Seen(Event::PullFailed { container: name, reason, at })
                }
            };
            // The actor ends only after the task, and then nobody needs the image.
            let _ = to_self.send(message).await;
        });
        Ok(())
    }

    async fn start(&mut self, container: &str, attempt: u32) -> Result<(), String> {
        if !self.images.contains_key(container) {
            // A restart by an agent that did not pull the image itself.
            let image = self.shared.images.pull(self.wanted(container)?).await?;
            self.images.insert(container.to_owned(), image);
        }
        let template = self.template(container).ok_or("no such container")?;
        if let Some(log) = &template.log {
            Beginnings::of(log).map_err(|failure| {
                format!(
                    "CannotStartContainerError: Error response from daemon: failed to create task \
                     for container: failed to initialize logging driver: {failure}"
                )
            })?;
        }
        let image = self.images.get(container).ok_or("the image is gone")?;
        let launch = launch::container(
            &self.assignment,
            template,
            &image.config,
            image.layers.clone(),
            attempt,
            self.shared.serves_inside(),
        );
        let launch = launch.map_err(|fault| fault.to_string())?;
        let started = self.shared.runtime.start_container(&self.assignment.task, launch).await;
        started.map_err(|failure| failure.to_string())?;
        if !self.shipping.contains_key(container) {
            self.ship(container, 0);
        }
        Ok(())
    }

    fn stop_signal(&self, container: &str) -> i32 {
        let image = self.images.get(container);
        let named = image.and_then(|image| image.config.stop_signal.as_deref());
        named.and_then(crate::signals::number).unwrap_or(SIGTERM)
    }

    fn ship(&mut self, container: &str, from: u64) {
        let Some(log) = self.template(container).and_then(|template| template.log.clone()) else {
            return;
        };
        let (wakes, wake) = watch::channel(Wake::Grew);
        let (answers, answer) = mpsc::channel(4);
        // A container with options that say nothing has not been started.
        let beginnings = Beginnings::of(&log).unwrap_or(None);
        let shipper = Shipper {
            beginnings,
            runtime: Arc::clone(&self.shared.runtime),
            link: Arc::clone(&self.shared.link),
            task: self.assignment.task.clone(),
            cluster: self.assignment.cluster.clone(),
            container: container.to_owned(),
            log,
            from,
            wakes: wake,
            answers: answer,
        };
        let running = Some(tokio::spawn(shipper.run()));
        self.shipping.insert(container.to_owned(), Shipping { wakes, answers, running });
    }

    fn wake_shipper(&self, container: &str, wake: Wake) {
        if let Some(shipping) = self.shipping.get(container) {
            shipping.wakes.send_modify(|last| {
                if *last != Wake::Ended {
                    *last = wake;
                }
            });
        }
    }

    fn drain(&mut self, container: &str) {
        self.wake_shipper(container, Wake::Ended);
        let running = self.shipping.get_mut(container).and_then(|s| s.running.take());
        let (to_self, container) = (self.to_self.clone(), container.to_owned());
        tokio::spawn(async move {
            if let Some(running) = running
                && let Err(failure) = running.await
            {
                tracing::error!(%failure, "a log shipper ended badly");
            }
            let _ = to_self.send(Message::Seen(Event::LogDrained { container })).await;
        });
    }

    fn remove(&self) {
        let (shared, to_self) = (Arc::clone(&self.shared), self.to_self.clone());
        let task = self.assignment.task.clone();
        tokio::spawn(async move {
            let removed = shared.runtime.remove(&task).await;
            let at = shared.now();
            let event = match removed {
                Ok(()) => Event::SandboxRemoved { at },
                Err(failure) => {
                    tracing::warn!(%task, %failure, "a sandbox could not be removed; trying on");
                    let reason = failure.to_string();
                    Event::StepFailed { step: Step::RemoveSandbox, reason, at }
                }
            };
            let _ = to_self.send(Message::Seen(event)).await;
        });
    }
}
