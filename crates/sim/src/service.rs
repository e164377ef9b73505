//! A service among the tasks of a run, and operators who drain machines under it. Its plan is the
//! real one, on whatever the control plane believes at that moment; what is held is what a service
//! promises: never more tasks than its maximum by its own doing, never fewer that are well than its
//! minimum but by theirs, and in the end none on a machine that drains, while there is room
//! elsewhere.

use crate::agent::short;
use crate::limits::{DRAINS_MAX, REFUSED_PERMILLE, SERVICE_TASKS_MAX};
use crate::templates;
use crate::world::{Happening, World};
use model::facts::TaskStatus;
use model::instance::{Instance, InstanceState};
use model::service::*;
use model::task::{NetworkRequest, StopCode, Task};
use model::{DeploymentId, Document, InstanceId, Tags, TaskDefinitionRevision, TaskId, Timestamp};
use plan::service::{ServicePlan, ServiceTask, ServiceView};
use std::sync::Arc;

/// How long a task of the service must run before it counts as well.
const SETTLE_MS: i64 = 3_000;
/// The ids of its tasks are above those of tasks that users run.
const FIRST_ID: u128 = 1 << 64;

pub struct Web {
    pub service: Service,
    pub progress: Option<ServiceProgress>,
    minted: u128,
}

impl Web {
    pub fn new(desired_count: u32, minimum: u32, maximum: u32, now: Timestamp) -> Self {
        let service = Service {
            name: "web".into(),
            cluster: "default".into(),
            status: ServiceStatus::Active,
            desired_count,
            wanted: deployment(1, now),
            rules: DeploymentRules {
                maximum_percent: maximum,
                minimum_healthy_percent: minimum,
                circuit_breaker: false,
                rollback: false,
                document: Document::default(),
            },
            health_check_grace_period_seconds: None,
            az_rebalancing: false,
            propagate_tags: None,
            enable_managed_tags: false,
            tags: Tags::new(),
            created_at: now,
            created_by: "a user".to_owned(),
            abort: None,
            client_token: None,
        };
        Self { service, progress: None, minted: FIRST_ID }
    }

    /// As with `forceNewDeployment`: failures so far count no more.
    pub fn deploy(&mut self, now: Timestamp) {
        let number = self.service.wanted.revision_number + 1;
        self.service.wanted = deployment(number, now);
    }
}

fn deployment(number: u64, now: Timestamp) -> WantedDeployment {
    let template = ServiceTemplate {
        family: "web".into(),
        revision: TaskDefinitionRevision(1),
        launch_type: Some("FARGATE".to_owned()),
        strategy: Vec::new(),
        platform_version: "1.4.0".to_owned(),
        network: NetworkRequest::default(),
        enable_execute_command: false,
        load_balancers: Vec::new(),
        registries: Vec::new(),
        connect: None,
    };
    WantedDeployment {
        id: DeploymentId::mint(u128::from(number)),
        revision_number: number,
        template: Arc::new(template),
        asked_at: now,
    }
}

/// What a service may be like in a run.
impl World {
    pub fn make_service_and_drains(&mut self, spread_ms: u64) {
        if self.random.below(2) == 0 {
            self.make_service();
        }
        for _ in 0..self.random.below(DRAINS_MAX) {
            let ms = self.random.ms(0, spread_ms);
            self.after_ms(ms, Happening::OperatorDrains);
        }
    }

    fn make_service(&mut self) {
        let rules = [(100, 200), (50, 100), (50, 200), (0, 100), (100, 150)];
        let (minimum, maximum) = *self.random.pick(&rules);
        let desired = u32::try_from(1 + self.random.below(SERVICE_TASKS_MAX)).expect("few");
        self.note(|| format!("CreateService of {desired}, {minimum} to {maximum} %"));
        self.control.web = Some(Web::new(desired, minimum, maximum, self.now));
    }

    /// An operator drains a machine, or lets it take tasks again.
    pub fn drain_or_activate(&mut self) {
        let ids: Vec<InstanceId> = self.machines.iter().map(|it| it.id.clone()).collect();
        let id = self.random.pick(&ids).clone();
        let drains = !self.control.instances[&id].drains();
        self.set_drains(&id, drains);
    }

    pub fn set_drains(&mut self, id: &InstanceId, drains: bool) {
        let Some(instance) = self.control.instances.get_mut(id) else { return };
        instance.drains = drains;
        if !instance.state.is_over() {
            instance.state = InstanceState::wished(drains);
        }
        self.control.touch(&format!("instance/{id}"));
        self.note(|| format!("an operator {} {id}", if drains { "drains" } else { "activates" }));
    }

    /// One machine at least takes tasks: else nothing comes to rest.
    pub fn leave_one_open(&mut self) {
        if self.control.instances.values().all(Instance::drains) {
            let id = self.machines[0].id.clone();
            self.set_drains(&id, false);
        }
        if let Some(web) = &mut self.control.web {
            web.deploy(self.now);
        }
    }
}

/// Its plan, step by step.
impl World {
    fn leaves(&self, task: &Task) -> bool {
        let placed = task.facts.placed.as_ref();
        let instance = placed.and_then(|placed| self.control.instances.get(&placed.instance));
        instance.is_some_and(|instance| instance.state == InstanceState::Draining)
    }

    fn its_tasks(&self) -> impl Iterator<Item = &Task> {
        let ours = |task: &&Task| task.group == "service:web";
        self.control.tasks.values().filter(ours)
    }

    fn count(&self, counts: impl Fn(&Task) -> bool) -> usize {
        self.its_tasks().filter(|task| counts(task)).count()
    }

    fn living(&self) -> usize {
        self.count(|task| task.last_status() < TaskStatus::Deactivating)
    }

    fn well(&self) -> usize {
        let settled = |at: Timestamp| self.now.since_ms(at) >= SETTLE_MS;
        self.count(|task| {
            task.last_status() == TaskStatus::Running && task.started_at.is_some_and(settled)
        })
    }

    fn service_plan(&self, minted: &mut u128) -> Option<ServicePlan> {
        let web = self.control.web.as_ref()?;
        if web.progress.as_ref().is_some_and(|progress| progress.inactive_at.is_some()) {
            return None;
        }
        let seen =
            |task| ServiceTask { task, health: None, targets: &[], leaving: self.leaves(task) };
        let tasks: Vec<ServiceTask<'_>> = self.its_tasks().map(seen).collect();
        let view = ServiceView {
            service: &web.service,
            progress: web.progress.as_ref(),
            tasks: &tasks,
            zones: &[],
            settle_ms: SETTLE_MS,
            now: self.now,
        };
        let plan = plan::service::reconcile(view, &mut || {
            *minted += 1;
            *minted
        });
        plan.changes(web.progress.as_ref()).then_some(plan)
    }

    pub fn reconcile_service(&mut self) {
        let Some(web) = &self.control.web else { return };
        let (mut minted, service) = (web.minted, web.service.clone());
        let Some(plan) = self.service_plan(&mut minted) else { return };
        if self.goes_wrong(REFUSED_PERMILLE) {
            self.note(|| "a plan of the service is refused".to_owned());
            return;
        }
        let (well, starts, stops) = (self.well(), !plan.start.is_empty(), !plan.stop.is_empty());
        for halt in &plan.stop {
            let Some(mut task) = self.control.tasks.get(&halt.task).cloned() else { continue };
            let code = StopCode::ServiceSchedulerInitiated;
            if task.request_stop(code, &halt.reason, self.now) {
                self.note(|| format!("the service stops {}: {}", short(&halt.task), halt.reason));
                self.put_task(task);
            }
        }
        for start in &plan.start {
            self.start_of_service(&start.task, &start.deployment);
        }
        if let Some(web) = &mut self.control.web {
            web.progress = Some(plan.progress);
            web.minted = minted;
        }
        let (desired, rules) = (service.desired_count as usize, &service.rules);
        let most = desired * rules.maximum_percent as usize / 100;
        let living = self.living();
        self.ledger.hold(!starts || living <= most, || format!("{living} tasks, {most} at most"));
        let least = (desired * rules.minimum_healthy_percent as usize).div_ceil(100);
        let wanted = service.status == ServiceStatus::Active && stops;
        let left = self.well();
        self.ledger.hold(!wanted || left >= least.min(well), || {
            format!("{left} of {well} tasks are left, {least} at least")
        });
    }

    fn start_of_service(&mut self, id: &TaskId, deployment: &DeploymentId) {
        let template = templates::of_service();
        let task = Task {
            group: "service:web".to_owned(),
            started_by: Some(deployment.to_string()),
            ..crate::control::new_task(id.clone(), &template, self.now)
        };
        self.note(|| format!("the service starts {}", short(id)));
        self.control.templates.insert(id.clone(), Arc::new(template));
        self.control.tasks.insert(id.clone(), task);
    }

    /// What of the service is not yet as it is wanted.
    pub fn unrest_of_service(&self) -> Option<String> {
        let web = self.control.web.as_ref()?;
        if self.service_plan(&mut web.minted.clone()).is_some() {
            return Some("the service has something to do".to_owned());
        }
        // While there is no room, or a start is held back after failures, it stays as it is.
        let held = web.progress.as_ref().and_then(ServiceProgress::primary);
        let held = held.is_some_and(|primary| primary.failed_in_a_row > 0);
        let stays = held || self.count(waits) > 0;
        let leaving =
            self.count(|task| self.leaves(task) && task.last_status() < TaskStatus::Deactivating);
        let running = self.count(|task| task.last_status() == TaskStatus::Running);
        let desired = web.service.desired_count as usize;
        // Rules that allow neither one more nor one less move nothing.
        let rules = &web.service.rules;
        let most = desired * rules.maximum_percent as usize / 100;
        let least = (desired * rules.minimum_healthy_percent as usize).div_ceil(100);
        let stuck = most <= desired && least >= desired;
        let there = running == desired && (leaving == 0 || stuck);
        let words = || format!("the service has {running} of {desired} tasks, {leaving} leaving");
        (!stays && !there).then(words)
    }
}

/// For room that may never come.
pub fn waits(task: &Task) -> bool {
    task.group == "service:web"
        && task.last_status() == TaskStatus::Provisioning
        && task.waiting.is_some()
}
