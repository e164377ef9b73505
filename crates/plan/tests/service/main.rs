//! Services driven by their plan over a small world in which tasks start, fail, sicken and die:
//! the bounds of a rollout hold all the way, and once the world is calm the service converges and
//! its plan asks for nothing more.

mod draining;
mod world;

use crate::world::{GROUP, Random, World, template};
use model::balancing::TargetState;
use model::container::Health;
use model::facts::{Desired, TaskStatus};
use model::service::{Abort, Rollout, ServiceStatus};
use model::task::{StopCode, Task};
use model::{InstanceId, TaskId, ZoneName};

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

/// Seeds of trouble: tasks die and sicken, wishes change, images break, instances drain and take
/// tasks again. The bounds are checked at
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
        world.instances = ["one", "two", "three"].map(InstanceId::from).to_vec();
        for round in 0..60 {
            match random.below(16) {
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
                4 | 5 => {
                    // One stays: without any room nothing converges.
                    let instance = world.instances[random.below(2) as usize].clone();
                    if !world.draining.remove(&instance) {
                        world.draining.insert(instance);
                    }
                }
                6 => world.protect(random.next(), i64::try_from(random.below(100)).expect("small")),
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
        empty_each(&mut world, stuck, seed);
    }
}

/// Drains one instance after the other: each is left, unless the rules allow nothing.
fn empty_each(world: &mut World, stuck: bool, seed: u64) {
    let desired = world.service.desired_count as usize;
    for instance in world.instances.clone() {
        world.draining = [instance.clone()].into();
        for _ in 0..20 {
            world.calm(5);
            if world.on(&instance).is_empty() && world.running() == desired {
                break;
            }
        }
        assert_eq!(world.running(), desired, "seed {seed}: {:?}", world.progress);
        let told = stuck && world.said("Update the minimumHealthyPercent") > 0;
        assert!(told || world.on(&instance).is_empty(), "seed {seed}: {instance} has tasks");
    }
}
