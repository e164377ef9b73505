//! Services driven by their plan over a small world in which tasks start, fail, sicken and die:
//! the bounds of a rollout hold all the way, and once the world is calm the service converges and
//! its plan asks for nothing more.

use model::balancing::TargetState;
use model::container::Health;
use model::facts::{ContainersFact, Desired, InterfaceFact, Placement, TargetFact, TaskStatus};
use model::service::{
    Abort, DeploymentRules, Rollout, Service, ServiceLoadBalancer, ServiceProgress, ServiceStatus,
    ServiceTemplate, WantedDeployment,
};
use model::task::{NetworkRequest, Stop, StopCode, Task, TaskOverrides};
use model::task_definition::{ContainerTemplate, TaskTemplate};
use model::{
    ClusterName, DeploymentId, Document, Family, InstanceId, ServiceName, Tags,
    TaskDefinitionRevision, TaskId, Timestamp, ZoneName,
};
use plan::draft::Draft;
use plan::service::{ServicePlan, ServiceTask, ServiceView, TargetSeen, reconcile};
use std::collections::BTreeMap;
use std::sync::Arc;

const SETTLE_MS: i64 = 40_000;

/// A small generator: enough to draw fates, and the same for the same seed everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

struct World {
    service: Service,
    progress: Option<ServiceProgress>,
    tasks: BTreeMap<TaskId, Task>,
    health: BTreeMap<TaskId, Health>,
    now: Timestamp,
    minted: u128,
    /// Deployments whose tasks never start.
    broken: Vec<DeploymentId>,
    /// Deployments whose tasks run and fail the balancer's checks.
    failing: Vec<DeploymentId>,
    /// What the balancer found.
    targets: BTreeMap<TaskId, TargetState>,
    checked: bool,
    balanced: bool,
    zones: Vec<ZoneName>,
    /// Where tasks are to be put; the others go to the first zone.
    zone_of: BTreeMap<TaskId, ZoneName>,
}

const GROUP: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/web/0123";

fn template(revision: u32, balanced: bool) -> Arc<ServiceTemplate> {
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
    fn new(desired: u32, minimum: u32, maximum: u32, checked: bool) -> Self {
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
        }
    }

    fn balanced(desired: u32, minimum: u32, maximum: u32, checked: bool) -> Self {
        let mut world = Self::new(desired, minimum, maximum, checked);
        world.balanced = true;
        world.service.wanted.template = template(1, true);
        world
    }

    fn deploy(&mut self, number: u32) -> DeploymentId {
        let id = DeploymentId::mint(u128::from(number));
        self.service.wanted = WantedDeployment {
            id: id.clone(),
            revision_number: u64::from(number),
            template: template(number, self.balanced),
            asked_at: self.now,
        };
        id
    }

    fn plan(&mut self) -> ServicePlan {
        let checked = self.checked;
        let health = |task: &Task| {
            checked.then(|| self.health.get(&task.id).copied().unwrap_or(Health::Unknown))
        };
        let targets: Vec<_> = self.tasks.values().map(|task| self.targets_of(task)).collect();
        let pairs = self.tasks.values().zip(&targets);
        let seen = pairs.map(|(task, targets)| ServiceTask { task, health: health(task), targets });
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

    fn targets_of(&self, task: &Task) -> Vec<TargetSeen<'static>> {
        if !self.balanced || task.last_status() != TaskStatus::Running {
            return Vec::new();
        }
        let state = self.targets.get(&task.id).copied().unwrap_or(TargetState::Initial);
        let reason = Some("Health checks failed with these codes: [503]");
        vec![TargetSeen { group: GROUP, port: 80, state, reason }]
    }

    /// Plans and carries out until there is nothing more to do; the bounds hold at every step.
    fn settle(&mut self) {
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

    fn carry_out(&mut self, plan: ServicePlan, healthy: usize) {
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

    fn make(&self, id: &TaskId, deployment: &DeploymentId) -> Task {
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

    fn living(&self) -> usize {
        self.tasks.values().filter(|task| task.last_status() < TaskStatus::Deactivating).count()
    }

    fn healthy(&self) -> usize {
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

    fn running(&self) -> usize {
        let runs = |task: &&Task| task.last_status() == TaskStatus::Running;
        self.tasks.values().filter(runs).count()
    }

    /// Each task moves on by itself: the placed start, the stopping stop; a broken one fails.
    fn advance(&mut self) {
        let now = self.now;
        for task in self.tasks.values_mut() {
            let by = task.started_by.as_deref().unwrap_or("");
            let broken = self.broken.iter().any(|id| id.as_str() == by);
            let failing = self.failing.iter().any(|id| id.as_str() == by);
            match task.last_status() {
                TaskStatus::Provisioning => {
                    let instance = InstanceId::from("one");
                    let zone = self.zone_of.get(&task.id).unwrap_or(&self.zones[0]).clone();
                    assert!(task.place(Placement { instance, zone }, None, now));
                }
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

    fn kill(&mut self, at: u64) {
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

    fn calm(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.settle();
            self.advance();
            self.now = self.now.plus_ms(5_000);
        }
        self.settle();
    }

    fn primary(&self) -> &model::service::Deployment {
        self.progress.as_ref().and_then(ServiceProgress::primary).expect("there is one")
    }

    fn said(&self, part: &str) -> usize {
        let events = &self.progress.as_ref().expect("planned").events;
        events.iter().filter(|event| event.message.contains(part)).count()
    }
}

#[test]
fn a_service_starts_its_tasks_and_says_so_once() {
    let mut world = World::new(3, 100, 200, false);
    world.calm(20);
    assert_eq!((world.running(), world.primary().rollout), (3, Rollout::Completed));
    assert_eq!(world.said("has started 3 tasks: (task"), 1);
    assert_eq!(world.said("has reached a steady state."), 1);
    assert_eq!(world.said("deployment completed."), 1);
}

#[test]
fn a_rollout_replaces_every_task_and_old_deployments_end() {
    for (minimum, maximum) in [(100, 200), (50, 100), (0, 100), (100, 150), (50, 150)] {
        let mut world = World::new(4, minimum, maximum, true);
        world.calm(10);
        let second = world.deploy(2);
        world.calm(60);
        assert_eq!(world.primary().id, second);
        assert_eq!(world.primary().rollout, Rollout::Completed, "{minimum} {maximum}");
        let progress = world.progress.as_ref().expect("planned");
        assert_eq!((progress.deployments.len(), progress.finished.len()), (1, 1));
        let runs = world.tasks.values().filter(|t| t.last_status() == TaskStatus::Running);
        assert!(runs.into_iter().all(|t| t.started_by.as_deref() == Some(second.as_str())));
        assert_eq!(world.running(), 4);
    }
}

#[test]
fn a_broken_rollout_breaks_the_circuit_and_rolls_back() {
    let mut world = World::new(2, 100, 200, false);
    world.calm(20);
    let first = world.primary().id.clone();
    world.service.rules.circuit_breaker = true;
    world.service.rules.rollback = true;
    let second = world.deploy(2);
    world.broken.push(second.clone());
    world.calm(60);
    assert_eq!((&world.primary().id, world.primary().rollout), (&first, Rollout::Completed));
    assert_eq!(world.running(), 2);
    assert_eq!(world.said("rolling back to deployment"), 1);
    let progress = world.progress.as_ref().expect("planned");
    let failed = progress.finished.iter().find(|known| known.id == second).expect("on record");
    assert_eq!((failed.rollout, failed.failed_tasks), (Rollout::Failed, 4));
    // What was given up is not taken up again; a new wish is.
    let third = world.deploy(3);
    world.calm(40);
    assert_eq!((&world.primary().id, world.primary().rollout), (&third, Rollout::Completed));
}

#[test]
fn without_anything_to_go_back_to_a_broken_service_stands_still() {
    let mut world = World::new(1, 100, 200, false);
    world.service.rules.circuit_breaker = true;
    world.service.rules.rollback = true;
    let only = world.service.wanted.id.clone();
    world.broken.push(only);
    world.calm(40);
    assert_eq!(world.primary().rollout, Rollout::Failed);
    assert_eq!(world.tasks.len(), 3, "the threshold of one task is three failures");
}

#[test]
fn a_rollout_can_be_stopped_and_goes_back() {
    let mut world = World::new(2, 100, 200, true);
    world.calm(10);
    let first = world.primary().id.clone();
    let second = world.deploy(2);
    world.broken.push(second.clone());
    world.settle();
    world.service.abort = Some(Abort { deployment: second.clone(), rollback: true });
    world.calm(20);
    assert_eq!((&world.primary().id, world.primary().rollout), (&first, Rollout::Completed));
    assert_eq!(world.running(), 2);
}

#[test]
fn protected_tasks_outlive_a_scale_in_until_their_time() {
    let mut world = World::new(3, 100, 200, true);
    world.calm(10);
    let until = world.now.plus_ms(100_000);
    let spared: Vec<TaskId> = world.tasks.keys().take(2).cloned().collect();
    for id in &spared {
        world.tasks.get_mut(id).expect("it is there").protected_until = Some(until);
    }
    world.service.desired_count = 1;
    world.calm(5);
    assert_eq!(world.running(), 2);
    assert!(spared.iter().all(|id| world.tasks[id].last_status() == TaskStatus::Running));
    assert_eq!(world.said("tasks under protection"), 1);
    world.calm(20);
    assert_eq!(world.running(), 1);
}

#[test]
fn without_a_breaker_the_delay_between_failures_grows() {
    let mut world = World::new(1, 100, 200, false);
    let only = world.service.wanted.id.clone();
    world.broken.push(only.clone());
    world.calm(500);
    let tries = world.tasks.len();
    assert!((8..=16).contains(&tries), "{tries} tries in 2,500 s");
    assert_eq!(world.said("is unable to consistently start tasks successfully."), 1);
    world.broken.clear();
    world.calm(500);
    assert_eq!((world.running(), world.primary().failed_in_a_row), (1, 0));
}

#[test]
fn unhealthy_tasks_are_replaced() {
    let mut world = World::new(3, 100, 200, true);
    world.calm(10);
    let sick = world.tasks.keys().next().cloned().expect("there are three");
    world.health.insert(sick.clone(), Health::Unhealthy);
    world.calm(10);
    assert_eq!(world.tasks[&sick].last_status(), TaskStatus::Stopped);
    let reason = world.tasks[&sick].stop.as_ref().map(|stop| stop.reason.as_str());
    assert_eq!(reason, Some("Task failed container health checks"));
    assert_eq!((world.running(), world.healthy()), (3, 3));
    assert_eq!(world.said("replaced 1 tasks due to an unhealthy status."), 1);
}

#[test]
fn with_a_load_balancer_a_task_is_there_when_its_target_is_healthy() {
    let mut world = World::balanced(2, 100, 200, false);
    world.calm(3);
    assert_eq!((world.running(), world.primary().rollout), (2, Rollout::InProgress));
    world.calm(2);
    assert_eq!((world.healthy(), world.primary().rollout), (2, Rollout::Completed));
    let registered = format!("(service web) registered 2 targets in (target-group {GROUP})");
    assert_eq!(world.said(&registered), 1);
    world.deploy(2);
    world.calm(20);
    assert_eq!((world.healthy(), world.running()), (2, 2));
    assert_eq!(world.said("has begun draining connections on 2 tasks."), 1);
    assert_eq!(world.said("deregistered 2 targets in (target-group"), 1);
    assert_eq!(world.said(&registered), 2);
    // One that dies has nothing to drain.
    world.kill(0);
    world.calm(20);
    assert_eq!(world.said("deregistered 1 targets in"), 1);
    assert_eq!(world.said("has begun draining connections on 1 tasks."), 0);
}

#[test]
fn a_rollout_whose_targets_fail_breaks_the_circuit_and_no_old_task_is_touched() {
    let mut world = World::balanced(2, 100, 200, false);
    world.calm(10);
    let old: Vec<TaskId> = world.tasks.keys().cloned().collect();
    world.service.rules.circuit_breaker = true;
    world.service.rules.rollback = true;
    let second = world.deploy(2);
    world.failing.push(second.clone());
    world.calm(60);
    assert_eq!(world.primary().rollout, Rollout::Completed);
    assert!(old.iter().all(|id| world.tasks[id].facts.desired == Desired::Running));
    assert_eq!((world.said("rolling back to deployment"), world.running()), (1, 2));
    let text = "(port 80) is unhealthy in (target-group arn:aws:elasticloadbalancing:us-east-1:\
                000000000000:targetgroup/web/0123) due to (reason Health checks failed with these \
                codes: [503])";
    assert!(world.said(text) >= 3);
    let reason = format!("Task failed ELB health checks in (target-group {GROUP})");
    let stops = world.tasks.values().filter_map(|task| task.stop.as_ref());
    assert!(stops.filter(|stop| stop.reason == reason).count() >= 3);
}

#[test]
fn the_grace_period_excuses_failed_checks_and_nothing_else() {
    let mut world = World::balanced(1, 100, 200, false);
    world.service.health_check_grace_period_seconds = Some(60);
    let only = world.service.wanted.id.clone();
    world.failing.push(only);
    world.calm(6);
    let task = world.tasks.keys().next().cloned().expect("it has started");
    assert_eq!(world.targets[&task], TargetState::Unhealthy);
    assert_eq!((world.tasks.len(), world.primary().rollout), (1, Rollout::InProgress));
    assert_eq!(world.said("is unhealthy in"), 0);
    let again = world.plan().again_at.expect("it looks again when the period is over");
    let started = world.tasks[&task].started_at.expect("it runs");
    assert_eq!(again, started.plus_seconds(60));
    world.now = again;
    world.settle();
    assert_eq!((world.tasks.len(), world.said("is unhealthy in")), (2, 1));
}

#[test]
fn what_dies_during_a_rollout_is_replaced_by_its_own_kind() {
    let mut world = World::balanced(2, 100, 200, false);
    world.calm(10);
    let first = world.primary().id.clone();
    world.deploy(2);
    world.settle();
    let old = |task: &&Task| task.started_by.as_deref() == Some(first.as_str());
    world.kill(0);
    world.settle();
    assert_eq!(world.tasks.values().filter(old).count(), 3);
    world.calm(30);
    assert_eq!((world.running(), world.primary().rollout), (2, Rollout::Completed));
    assert_eq!(world.tasks.values().filter(old).filter(|t| t.stopped_at.is_none()).count(), 0);
}

#[test]
fn a_steady_service_evens_out_its_zones_and_is_never_short() {
    let mut world = World::new(3, 100, 200, true);
    let [a, b, c] = ["us-east-1a", "us-east-1b", "us-east-1c"].map(ZoneName::from);
    world.zones = vec![a.clone(), b.clone(), c.clone()];
    world.calm(10);
    assert_eq!(world.said("AZ balanced"), 0, "nobody asked for it");
    world.service.az_rebalancing = true;
    world.settle();
    let uneven = "(service web) is not AZ balanced with 3 tasks in us-east-1a, 0 tasks in \
                  us-east-1b, 0 tasks in us-east-1c. AZ Rebalancing in progress.";
    assert_eq!((world.said(uneven), world.living()), (1, 5));
    assert_eq!(world.said("has started 1 tasks in us-east-1b to AZ Rebalance: (task"), 1);
    for _ in 0..10 {
        world.settle();
        assert!(world.healthy() >= 3, "start before stop");
        world.advance();
        world.now = world.now.plus_ms(5_000);
    }
    let running = world.tasks.values().filter(|t| t.last_status() == TaskStatus::Running);
    let zones = running.map(|t| t.facts.placed.as_ref().expect("it runs").zone.clone());
    let mut zones: Vec<ZoneName> = zones.collect();
    zones.sort();
    assert_eq!(zones, [a, b, c]);
    let even = "is AZ balanced with 1 tasks in us-east-1a, 1 tasks in us-east-1b, 1 tasks in";
    assert_eq!(world.said(even), 1);
    let reason = "Availability-zone rebalancing initiated by (deployment ecs-svc/";
    let stops = world.tasks.values().filter_map(|task| task.stop.as_ref());
    assert_eq!(stops.filter(|stop| stop.reason.starts_with(reason)).count(), 2);
    world.calm(20);
    assert_eq!(world.tasks.len(), 5, "it rests");
}

#[test]
fn a_zone_that_takes_no_task_is_tried_now_and_then_and_costs_nothing() {
    let mut world = World::new(2, 100, 200, true);
    world.calm(10);
    world.service.az_rebalancing = true;
    world.zones.push(ZoneName::from("us-east-1b"));
    world.settle();
    assert_eq!(world.living(), 3);
    // It waits for room that never comes.
    let waiting: Vec<TaskId> = world.zone_of.keys().cloned().collect();
    world.now = world.now.plus_seconds(240);
    world.settle();
    assert_eq!((world.living(), world.healthy()), (2, 2));
    let stop = world.tasks[&waiting[0]].stop.as_ref().expect("it was given up");
    assert_eq!(stop.code, StopCode::ServiceSchedulerInitiated);
    world.now = world.now.plus_seconds(1000);
    world.settle();
    assert_eq!(world.living(), 2);
    world.now = world.now.plus_seconds(1000);
    world.settle();
    assert_eq!((world.living(), world.primary().failed_tasks), (3, 0));
}

#[test]
fn a_deleted_service_drains_and_is_gone() {
    let mut world = World::new(3, 100, 200, false);
    world.calm(5);
    world.service.status = ServiceStatus::Draining;
    world.service.desired_count = 0;
    world.calm(5);
    assert_eq!(world.running(), 0);
    assert!(world.progress.as_ref().expect("planned").inactive_at.is_some());
}

/// Seeds of trouble: tasks die and sicken, wishes change, images break. The bounds are checked at
/// every step by `carry_out`; afterwards the world is calm and the service must be as wanted.
#[test]
fn after_any_trouble_a_service_converges_and_its_plan_rests() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let rules = [(100, 200), (50, 100), (50, 200), (0, 100), (100, 150)];
        let (minimum, maximum) = rules[random.below(5) as usize];
        let checked = random.below(2) == 0;
        let mut world = World::new(random.below(6) as u32, minimum, maximum, checked);
        if random.below(2) == 0 {
            world.balanced = true;
            world.service.wanted.template = template(1, true);
            let grace = random.below(3) as u32 * 10;
            world.service.health_check_grace_period_seconds = Some(grace);
        }
        world.service.rules.circuit_breaker = random.below(2) == 0;
        world.service.rules.rollback = random.below(2) == 0;
        if random.below(2) == 0 {
            world.service.az_rebalancing = true;
            world.zones.push(ZoneName::from("us-east-1b"));
        }
        for round in 0..60 {
            match random.below(12) {
                0 => world.kill(random.next()),
                1 => world.service.desired_count = random.below(6) as u32,
                2 => {
                    let id = world.deploy(round + 10);
                    match random.below(6) {
                        0 | 1 => world.broken.push(id),
                        2 => world.failing.push(id),
                        _ => {}
                    }
                }
                3 => {
                    let some = random.next() as usize % world.tasks.len().max(1);
                    if let Some(id) = world.tasks.keys().nth(some).cloned() {
                        world.targets.insert(id.clone(), TargetState::Unhealthy);
                        world.health.insert(id, Health::Unhealthy);
                    }
                }
                _ => world.advance(),
            }
            world.settle();
            world.now = world.now.plus_ms(i64::try_from(random.below(20_000)).expect("small"));
        }
        world.broken.clear();
        world.failing.clear();
        world.deploy(1000);
        world.calm(100);
        let desired = world.service.desired_count as usize;
        assert_eq!(world.running(), desired, "seed {seed}: {:?}", world.progress);
        // Rules that allow neither one more nor one less are a deadlock, as on AWS.
        let most = desired * maximum as usize / 100;
        let least = (desired * minimum as usize).div_ceil(100);
        let stuck = most <= desired && least >= desired && desired > 0;
        let told = stuck && world.said("Update the minimumHealthyPercent") > 0;
        assert!(told || world.primary().rollout == Rollout::Completed, "seed {seed}");
    }
}
