//! Health checks of targets: which to check, how often, and what follows from the answers. What an
//! answer means for a target is the pure `standing`; when the next check is due is `rhythm`;
//! `probe` asks one target once. One task for each target joins the three, so that a slow one
//! delays nobody.
//!
//! Beyond ELB's rhythm there are two more occasions to look, which only ever bring the same answer
//! sooner: a target that has not passed a check yet is looked at again and again at growing pauses
//! (its failures count only when a check is due), so that a task serves as soon as it can; and one
//! that refused a connection of the data plane is checked at once, until the threshold is reached
//! or it passes, so that a dead one is out of service long before the next interval.

mod codes;
mod probe;
mod rhythm;
mod standing;

use crate::doors::Doors;
use crate::limits::CHECKS_AT_ONCE_MAX;
use model::VpcId;
use model::balancing::{HealthCheck, ProtocolVersion, TargetKey, TargetState};
use probe::Prober;
use rhythm::Rhythm;
use standing::{Look, Standing, Thresholds};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// A target to check, with the settings of its group.
#[derive(Clone, PartialEq, Debug)]
pub struct Checked {
    pub key: TargetKey,
    pub vpc: VpcId,
    /// An address of the load balancer.
    pub from: Ipv4Addr,
    /// Where the target takes requests; `check.port` may be another.
    pub address: SocketAddrV4,
    pub version: ProtocolVersion,
    pub check: HealthCheck,
}

/// What a check led to; told when it changes, and once when checking begins (initial, or healthy
/// at once where checks are off).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opinion {
    pub state: TargetState,
    pub reason: Option<String>,
    pub description: Option<String>,
}

/// Called from any thread, must not block. May still be called for a target that just left.
pub type Publish = Arc<dyn Fn(&TargetKey, Opinion) + Send + Sync>;

/// The checks that run.
pub struct Checks {
    prober: Arc<Prober>,
    publish: Publish,
    runtime: tokio::runtime::Handle,
    running: Mutex<BTreeMap<TargetKey, Running>>,
}

struct Running {
    settings: watch::Sender<Arc<Checked>>,
    prompt: Arc<Notify>,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Checks {
    /// Checks run on `runtime`.
    pub fn new(doors: Arc<dyn Doors>, publish: Publish, runtime: tokio::runtime::Handle) -> Self {
        let prober = Arc::new(Prober::new(doors, CHECKS_AT_ONCE_MAX));
        Self { prober, publish, runtime, running: Mutex::default() }
    }

    /// Exactly these are checked from now on. Those that stay keep their state, also under other
    /// settings; one whose address or port changed begins anew.
    pub fn learn(&self, wanted: Vec<Checked>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *running);
        for checked in wanted {
            let key = checked.key.clone();
            let kept = before.remove(&key).filter(|it| it.settings.borrow().same_target(&checked));
            let entry = match kept {
                Some(entry) => {
                    let change = |now: &mut Arc<Checked>| {
                        let differs = **now != checked;
                        if differs {
                            *now = Arc::new(checked);
                        }
                        differs
                    };
                    entry.settings.send_if_modified(change);
                    entry
                }
                None => self.begin(checked),
            };
            running.insert(key, entry);
        }
    }

    /// Something spoke against this target: it is checked now, not only when it is due.
    pub fn suspect(&self, key: &TargetKey) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = running.get(key) {
            entry.prompt.notify_one();
        }
    }

    fn begin(&self, checked: Checked) -> Running {
        let prompt = Arc::new(Notify::new());
        let (settings, seen) = watch::channel(Arc::new(checked));
        let watch = Watch {
            prober: self.prober.clone(),
            publish: self.publish.clone(),
            settings: seen,
            prompt: prompt.clone(),
            standing: Standing::new(),
            told: None,
        };
        let task = self.runtime.spawn(watch.run()).abort_handle();
        Running { settings, prompt, task }
    }
}

impl Checked {
    /// Whether what was found of the other is true of this as well.
    fn same_target(&self, other: &Checked) -> bool {
        self.address == other.address && self.vpc == other.vpc
    }

    fn thresholds(&self) -> Thresholds {
        let at_least_one = |count: u32| count.max(1);
        Thresholds {
            healthy: at_least_one(self.check.healthy_threshold),
            unhealthy: at_least_one(self.check.unhealthy_threshold),
        }
    }
}

/// The task of one target.
struct Watch {
    prober: Arc<Prober>,
    publish: Publish,
    settings: watch::Receiver<Arc<Checked>>,
    prompt: Arc<Notify>,
    standing: Standing,
    told: Option<Opinion>,
}

impl Watch {
    async fn run(mut self) {
        let mut rhythm = Rhythm::new(Instant::now());
        let mut look = Look::Due;
        loop {
            let checked = self.settings.borrow_and_update().clone();
            if !checked.check.enabled {
                self.standing = Standing::new();
                self.tell(
                    &checked,
                    Opinion { state: TargetState::Healthy, reason: None, description: None },
                );
                if self.settings.changed().await.is_err() {
                    return;
                }
                rhythm = Rhythm::new(Instant::now());
                continue;
            }
            let opinion = self.standing.opinion();
            self.tell(&checked, opinion);
            let answer = self.prober.ask(&checked).await;
            self.standing.observe(look, answer, checked.thresholds());
            let opinion = self.standing.opinion();
            self.tell(&checked, opinion);
            rhythm.looked(look, Instant::now(), &checked);
            match self.wait(&mut rhythm, look).await {
                Some(next) => look = next,
                None => return,
            }
        }
    }

    /// Until there is a reason to look; None: the target is checked no more.
    async fn wait(&mut self, rhythm: &mut Rhythm, last: Look) -> Option<Look> {
        loop {
            let (at, look) = rhythm.next(last, &self.standing);
            tokio::select! {
                () = tokio::time::sleep_until(at) => return Some(look),
                () = self.prompt.notified() => {
                    if self.standing.state() == TargetState::Healthy {
                        tokio::time::sleep_until(rhythm.prompted()).await;
                        return Some(Look::Prompted);
                    }
                }
                changed = self.settings.changed() => {
                    changed.ok()?;
                    let checked = self.settings.borrow_and_update().clone();
                    if !checked.check.enabled {
                        return Some(Look::Due);
                    }
                    rhythm.changed(Instant::now(), &checked);
                }
            }
        }
    }

    fn tell(&mut self, checked: &Checked, opinion: Opinion) {
        if self.told.as_ref() != Some(&opinion) {
            self.told = Some(opinion.clone());
            (self.publish)(&checked.key, opinion);
        }
    }
}

#[cfg(test)]
mod tests;
