//! A small world in which a service's tasks start, fail, sicken, die and lose their instances. What
//! its plan asks for is carried out at once, and the bounds of a rollout are looked at each time.

use model::balancing::TargetState;
use model::container::Health;
use model::facts::{ContainersFact, InterfaceFact, Placement, TargetFact, TaskStatus};
use model::service::{
    DeploymentRules, Service, ServiceLoadBalancer, ServiceProgress, ServiceStatus, ServiceTemplate,
    WantedDeployment,
};
use model::task::{NetworkRequest, Stop, StopCode, Task, TaskOverrides};
use model::task_definition::{ContainerTemplate, TaskTemplate};
use model::{
    ClusterName, DeploymentId, Document, Family, InstanceId, ServiceName, Tags,
    TaskDefinitionRevision, TaskId, Timestamp, ZoneName,
};
use plan::draft::Draft;
use plan::service::{ServicePlan, ServiceTask, ServiceView, TargetSeen, reconcile};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub const SETTLE_MS: i64 = 40_000;

/// A small generator: enough to draw fates, and the same for the same seed everywhere.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

pub struct World {
    pub service: Service,
    pub progress: Option<ServiceProgress>,
    pub tasks: BTreeMap<TaskId, Task>,
    pub health: BTreeMap<TaskId, Health>,
    pub now: Timestamp,
    pub minted: u128,
    /// Deployments whose tasks never start.
    pub broken: Vec<DeploymentId>,
    /// Deployments whose tasks run and fail the balancer's checks.
    pub failing: Vec<DeploymentId>,
    /// What the balancer found.
    pub targets: BTreeMap<TaskId, TargetState>,
    pub checked: bool,
    pub balanced: bool,
    pub zones: Vec<ZoneName>,
    /// Where tasks are to be put; the others go to the first zone.
    pub zone_of: BTreeMap<TaskId, ZoneName>,
    /// Each has room for all. A task is put where fewest are.
    pub instances: Vec<InstanceId>,
    pub draining: BTreeSet<InstanceId>,
}

pub const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/web/0123";

pub fn template(revision: u32, balanced: bool) -> Arc<ServiceTemplate> {
    Arc::new(ServiceTemplate {
        family: Family::from("web"),
        revision: TaskDefinitionRevision(revision),
        launch_type: Some("FARGATE".to_owned()),
        strategy: Vec::new(),
        platform_version: "1.4.0".to_owned(),
        network: NetworkRequest::default(),
        enable_execute_command: false,
        load_balancers: match balanced {
            false => Vec::new(),
            true => vec![ServiceLoadBalancer {
                target_group_arn: GROUP.to_owned(),
                container_name: "main".to_owned(),
                container_port: 80,
            }],
        },
        registries: Vec::new(),
        connect: None,
    })
}

impl World {
    pub fn new(desired: u32, minimum: u32, maximum: u32, checked: bool) -> Self {
        let service = Service {
            name: ServiceName::from("web"),
            cluster: ClusterName::from("default"),
            status: ServiceStatus::Active,
            desired_count: desired,
            wanted: WantedDeployment {
                id: DeploymentId::mint(1),
                revision_number: 1,
                template: template(1, false),
                asked_at: Timestamp(0),
            },
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
            created_at: Timestamp(0),
            created_by: "arn:aws:iam::000000000000:root".to_owned(),
            abort: None,
            client_token: None,
        };
        Self {
            service,
            progress: None,
            tasks: BTreeMap::new(),
            health: BTreeMap::new(),
            now: Timestamp(0),
            minted: 0,
            broken: Vec::new(),
            failing: Vec::new(),
            targets: BTreeMap::new(),
            checked,
            balanced: false,
            zones: vec![ZoneName::from("us-east-1a")],
            zone_of: BTreeMap::new(),
            instances: vec![InstanceId::from("one")],
            draining: BTreeSet::new(),
        }
    }

    pub fn balanced(desired: u32, minimum: u32, maximum: u32, checked: bool) -> Self {
        let mut world = Self::new(desired, minimum, maximum, checked);
        world.balanced = true;
        world.service.wanted.template = template(1, true);
        world
    }

    pub fn deploy(&mut self, number: u32) -> DeploymentId {
        let id = DeploymentId::mint(u128::from(number));
        self.service.wanted = WantedDeployment {
            id: id.clone(),
            revision_number: u64::from(number),
            template: template(number, self.balanced),
            asked_at: self.now,
        };
        id
    }

    pub fn plan(&mut self) -> ServicePlan {
        let checked = self.checked;
        let health = |task: &Task| {
            checked.then(|| self.health.get(&task.id).copied().unwrap_or(Health::Unknown))
        };
        let targets: Vec<_> = self.tasks.values().map(|task| self.targets_of(task)).collect();
        let pairs = self.tasks.values().zip(&targets);
        let seen = pairs.map(|(task, targets)| ServiceTask {
            task,
            health: health(task),
            targets,
            leaving: self.leaves(task),
        });
        let tasks: Vec<_> = seen.collect();
        let view = ServiceView {
            service: &self.service,
            progress: self.progress.as_ref(),
            tasks: &tasks,
            zones: &self.zones,
            settle_ms: SETTLE_MS,
            now: self.now,
        };
        let minted = &mut self.minted;
        reconcile(view, &mut || {
            *minted += 1;
            *minted
        })
    }

    pub fn leaves(&self, task: &Task) -> bool {
        let placed = task.facts.placed.as_ref();
        placed.is_some_and(|placed| self.draining.contains(&placed.instance))
    }

    /// The living tasks on an instance.
    pub fn on(&self, instance: &InstanceId) -> Vec<&Task> {
        let there = |task: &&Task| {
            let placed = task.facts.placed.as_ref();
            placed.is_some_and(|placed| placed.instance == *instance)
                && task.last_status() < TaskStatus::Deactivating
        };
        self.tasks.values().filter(there).collect()
    }

    pub fn place(&mut self, id: &TaskId) {
        let open = self.instances.iter().filter(|it| !self.draining.contains(*it));
        let instance = open.min_by_key(|it| self.on(it).len()).cloned();
        let zone = self.zone_of.get(id).unwrap_or(&self.zones[0]).clone();
        let task = self.tasks.get_mut(id).expect("it is there");
        match instance {
            Some(instance) => assert!(task.place(Placement { instance, zone }, None, self.now)),
            None => task.waiting = Some("no instance takes tasks".to_owned()),
        }
    }

    pub fn targets_of(&self, task: &Task) -> Vec<TargetSeen<'static>> {
        if !self.balanced || task.last_status() != TaskStatus::Running {
            return Vec::new();
        }
        let state = self.targets.get(&task.id).copied().unwrap_or(TargetState::Initial);
        let reason = Some("Health checks failed with these codes: [503]");
        vec![TargetSeen { group: GROUP, port: 80, state, reason }]
    }

    /// Plans and carries out until there is nothing more to do; the bounds hold at every step.
    pub fn settle(&mut self) {
        for _ in 0..100 {
            let healthy = self.healthy();
            let plan = self.plan();
            if !plan.changes(self.progress.as_ref()) {
                return;
            }
            self.carry_out(plan, healthy);
        }
        panic!("the plan never comes to rest: {:?}", self.progress);
    }

    pub fn carry_out(&mut self, plan: ServicePlan, healthy: usize) {
        for halt in &plan.stop {
            let task = self.tasks.get_mut(&halt.task).expect("only known tasks are stopped");
            let code = StopCode::ServiceSchedulerInitiated;
            assert!(task.request_stop(code, &halt.reason, self.now), "stopped twice");
        }
        for start in &plan.start {
            let task = self.make(&start.task, &start.deployment);
            assert!(self.tasks.insert(start.task.clone(), task).is_none(), "started twice");
            self.zone_of.extend(start.zone.clone().map(|zone| (start.task.clone(), zone)));
        }
        let desired = self.service.desired_count as usize;
        let rules = &self.service.rules;
        if !plan.start.is_empty() {
            let most = desired * rules.maximum_percent as usize / 100;
            assert!(self.living() <= most, "{} of at most {most}", self.living());
        }
        let least = (desired * rules.minimum_healthy_percent as usize).div_ceil(100);
        if !plan.stop.is_empty() && self.service.status == ServiceStatus::Active {
            assert!(self.healthy() >= least.min(healthy), "{} of {least}", self.healthy());
        }
        self.progress = Some(plan.progress);
    }

    pub fn make(&self, id: &TaskId, deployment: &DeploymentId) -> Task {
        let container =
            ContainerTemplate { name: "main".to_owned(), essential: true, ..Default::default() };
        let template = TaskTemplate { containers: vec![container], ..Default::default() };
        let draft = Draft {
            cluster: &self.service.cluster,
            family: &Family::from("web"),
            revision: TaskDefinitionRevision(1),
            template: &template,
            overrides: &TaskOverrides::default(),
            overrides_document: &Document::default(),
            platform_version: "1.4.0",
            group: &self.service.group(),
            started_by: Some(deployment.as_str()),
            enable_execute_command: false,
            tags: &Tags::new(),
            network: &NetworkRequest::default(),
            target: if self.balanced { TargetFact::Wanted } else { TargetFact::NotNeeded },
            now: self.now,
        };
        let mut task = draft.task(id.clone(), None, &mut || 7);
        task.facts.interface = InterfaceFact::NotNeeded;
        task
    }

    pub fn living(&self) -> usize {
        self.tasks.values().filter(|task| task.last_status() < TaskStatus::Deactivating).count()
    }

    pub fn healthy(&self) -> usize {
        let healthy = |task: &&Task| {
            let settled = task.started_at.is_some_and(|at| self.now.since_ms(at) >= SETTLE_MS);
            let contained = self.health.get(&task.id) == Some(&Health::Healthy);
            let reached = self.targets.get(&task.id) == Some(&TargetState::Healthy);
            let is_well = match (self.checked, self.balanced) {
                (checked, true) => reached && (contained || !checked),
                (true, false) => contained,
                (false, false) => settled,
            };
            task.last_status() == TaskStatus::Running && is_well
        };
        self.tasks.values().filter(healthy).count()
    }

    pub fn running(&self) -> usize {
        let runs = |task: &&Task| task.last_status() == TaskStatus::Running;
        self.tasks.values().filter(runs).count()
    }

    /// Each task moves on by itself: the placed start, the stopping stop; a broken one fails.
    pub fn advance(&mut self) {
        let now = self.now;
        let is_new = |task: &&Task| task.last_status() == TaskStatus::Provisioning;
        let new: Vec<TaskId> = self.tasks.values().filter(is_new).map(|t| t.id.clone()).collect();
        for id in &new {
            self.place(id);
        }
        for task in self.tasks.values_mut().filter(|task| !new.contains(&task.id)) {
            let by = task.started_by.as_deref().unwrap_or("");
            let broken = self.broken.iter().any(|id| id.as_str() == by);
            let failing = self.failing.iter().any(|id| id.as_str() == by);
            match task.last_status() {
                TaskStatus::Pending | TaskStatus::Activating if broken => {
                    let reason = "CannotPullContainerError".to_owned();
                    task.stop = Some(Stop { code: StopCode::TaskFailedToStart, reason, at: now });
                    task.facts.containers = ContainersFact::Stopped;
                    task.settle(now);
                }
                TaskStatus::Activating if task.facts.containers == ContainersFact::Running => {
                    task.facts.target = TargetFact::Registered;
                    task.settle(now);
                }
                TaskStatus::Running if self.balanced => {
                    let state = self.targets.entry(task.id.clone()).or_insert(TargetState::Initial);
                    *state = match (*state, failing) {
                        (TargetState::Initial, true) => TargetState::Unhealthy,
                        (TargetState::Initial, false) => TargetState::Healthy,
                        (found, _) => found,
                    };
                }
                TaskStatus::Deactivating => {
                    task.facts.target = match task.facts.target {
                        TargetFact::Registered => TargetFact::Draining,
                        _ => TargetFact::Gone,
                    };
                    task.settle(now);
                }
                TaskStatus::Pending | TaskStatus::Activating => {
                    task.facts.containers = ContainersFact::Running;
                    task.started_at = Some(now);
                    task.settle(now);
                    self.health.insert(task.id.clone(), Health::Healthy);
                }
                TaskStatus::Stopping => {
                    task.facts.containers = ContainersFact::Stopped;
                    task.settle(now);
                }
                _ => {}
            }
        }
    }

    pub fn kill(&mut self, at: u64) {
        let alive = self.tasks.values_mut().filter(|t| t.last_status() == TaskStatus::Running);
        let mut alive: Vec<_> = alive.collect();
        if alive.is_empty() {
            return;
        }
        let at = usize::try_from(at).expect("small") % alive.len();
        let task = &mut alive[at];
        let code = StopCode::EssentialContainerExited;
        task.stop = Some(Stop { code, reason: "gone".to_owned(), at: self.now });
        task.facts.containers = ContainersFact::Stopped;
        if task.facts.target == TargetFact::Registered {
            task.facts.target = TargetFact::Gone;
        }
        task.settle(self.now);
    }

    /// Some running task is left alone for so long.
    pub fn protect(&mut self, at: u64, seconds: i64) {
        let until = self.now.plus_seconds(seconds);
        let alive = self.tasks.values_mut().filter(|t| t.last_status() == TaskStatus::Running);
        let mut alive: Vec<_> = alive.collect();
        if !alive.is_empty() {
            let at = usize::try_from(at).expect("small") % alive.len();
            alive[at].protected_until = Some(until);
        }
    }

    pub fn calm(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.settle();
            self.advance();
            self.now = self.now.plus_ms(5_000);
        }
        self.settle();
    }

    pub fn primary(&self) -> &model::service::Deployment {
        self.progress.as_ref().and_then(ServiceProgress::primary).expect("there is one")
    }

    pub fn said(&self, part: &str) -> usize {
        let events = &self.progress.as_ref().expect("planned").events;
        events.iter().filter(|event| event.message.contains(part)).count()
    }
}
