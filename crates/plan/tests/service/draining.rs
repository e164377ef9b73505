//! Instances that drain: a service's tasks are moved to others as its deployment's rules allow, and
//! nothing else of it changes.

use crate::world::World;
use model::balancing::TargetState;
use model::container::Health;
use model::facts::{Desired, TaskStatus};
use model::service::Rollout;
use model::task::{StopCode, Task};
use model::{InstanceId, TaskId, ZoneName};

const DRAINED: &str = "Task stopped during instance draining";

fn one() -> InstanceId {
    InstanceId::from("one")
}

fn two() -> InstanceId {
    InstanceId::from("two")
}

/// Steady, with as many tasks on one instance as on the other.
fn steady(desired: u32, minimum: u32, maximum: u32) -> World {
    let mut world = World::balanced(desired, minimum, maximum, false);
    world.instances = vec![one(), two()];
    world.calm(10);
    assert_eq!(world.primary().rollout, Rollout::Completed);
    assert_eq!(world.on(&one()).len(), world.on(&two()).len());
    world
}

fn drain(world: &mut World, instance: InstanceId) {
    world.draining.insert(instance);
    world.settle();
}

fn stopped(world: &World) -> Vec<(StopCode, String)> {
    let stops = world.tasks.values().filter_map(|task| task.stop.as_ref());
    stops.map(|stop| (stop.code, stop.reason.clone())).collect()
}

#[test]
fn a_drained_instance_is_left_start_before_stop() {
    let mut world = steady(4, 100, 200);
    let before: Vec<TaskId> = world.on(&one()).iter().map(|task| task.id.clone()).collect();
    let deployment = world.primary().clone();
    drain(&mut world, one());
    assert_eq!((world.living(), world.healthy()), (6, 4));
    for _ in 0..10 {
        world.advance();
        world.settle();
        assert!(world.healthy() >= 4);
        world.now = world.now.plus_ms(5_000);
    }
    assert_eq!((world.on(&one()).len(), world.on(&two()).len()), (0, 4));
    let drained = (StopCode::ServiceSchedulerInitiated, DRAINED.to_owned());
    assert_eq!(stopped(&world), [drained.clone(), drained]);
    assert!(before.iter().all(|id| world.tasks[id].facts.desired == Desired::Stopped));
    assert_eq!(world.said("has begun draining connections on 2 tasks."), 1);
    // It was no deployment and no failure of one.
    let now = world.primary();
    assert_eq!((&now.id, now.failed_tasks), (&deployment.id, 0));
    assert_eq!(now.updated_at, deployment.updated_at);
    assert_eq!(world.said("deployment completed."), 1);
    assert_eq!(world.said("has reached a steady state."), 2);
}

#[test]
fn without_room_above_the_wish_the_minimum_decides() {
    let mut world = steady(4, 50, 100);
    drain(&mut world, one());
    // Two may go at once, before anything else comes.
    assert_eq!((world.living(), world.on(&one()).len()), (4, 0));
    assert_eq!(world.healthy(), 2);
    world.calm(10);
    assert_eq!((world.healthy(), world.on(&two()).len()), (4, 4));
    let mut tight = steady(4, 75, 100);
    for _ in 0..20 {
        drain(&mut tight, one());
        assert!(tight.healthy() >= 3 && tight.living() <= 4);
        tight.advance();
    }
    assert_eq!((tight.healthy(), tight.on(&one()).len()), (4, 0));
}

#[test]
fn rules_that_allow_nothing_are_told_of_and_keep_everything() {
    let mut world = steady(2, 100, 100);
    drain(&mut world, one());
    world.calm(20);
    assert_eq!((world.on(&one()).len(), world.tasks.len()), (1, 2));
    assert_eq!(world.said("Update the minimumHealthyPercent or maximumPercent"), 1);
    world.service.rules.maximum_percent = 200;
    world.calm(20);
    assert_eq!((world.on(&one()).len(), world.running()), (0, 2));
}

#[test]
fn what_does_not_run_yet_is_let_go_of_at_once() {
    let mut world = steady(2, 100, 200);
    world.service.desired_count = 6;
    world.settle();
    world.advance();
    let pending: Vec<TaskId> = world.on(&one()).iter().map(|task| task.id.clone()).collect();
    drain(&mut world, one());
    let runs = |id: &&TaskId| world.tasks[*id].last_status() == TaskStatus::Running;
    assert_eq!(pending.iter().filter(runs).count(), 1);
    assert_eq!((world.on(&one()).len(), world.living()), (1, 7));
    assert_eq!(world.said("stopped 2 pending tasks."), 1);
    world.calm(20);
    assert_eq!((world.on(&one()).len(), world.healthy()), (0, 6));
    assert_eq!(world.primary().failed_tasks, 0);
    assert!(stopped(&world).iter().all(|(_, reason)| reason == DRAINED));
}

#[test]
fn an_instance_that_takes_tasks_again_keeps_what_it_has() {
    let mut world = steady(4, 100, 200);
    drain(&mut world, one());
    assert_eq!(world.living(), 6);
    let kept: Vec<TaskId> = world.on(&one()).iter().map(|task| task.id.clone()).collect();
    world.draining.clear();
    world.settle();
    assert_eq!(world.living(), 4);
    assert!(kept.iter().all(|id| world.tasks[id].facts.desired == Desired::Running));
    world.calm(20);
    assert_eq!((world.running(), world.tasks.len()), (4, 6));
}

#[test]
fn where_nobody_has_room_everything_stays_and_the_service_says_so() {
    let mut world = steady(2, 100, 200);
    drain(&mut world, one());
    drain(&mut world, two());
    world.calm(20);
    assert_eq!(world.healthy(), 2);
    let text = "(service web) was unable to place a task because no container instance met all of \
                its requirements.";
    assert_eq!(world.said(text), 1);
    world.draining.remove(&two());
    world.calm(20);
    assert_eq!((world.on(&one()).len(), world.healthy()), (0, 2));
}

#[test]
fn protected_tasks_stay_on_a_drained_instance_until_their_time() {
    let mut world = steady(2, 100, 200);
    let until = world.now.plus_ms(200_000);
    let spared = world.on(&one())[0].id.clone();
    world.tasks.get_mut(&spared).expect("it is there").protected_until = Some(until);
    drain(&mut world, one());
    assert_eq!(world.plan().again_at, Some(until));
    world.calm(20);
    assert_eq!((world.running(), world.on(&one()).len()), (3, 1), "it is replaced and stays");
    assert_eq!(world.said("tasks under protection"), 1);
    let steady_before = world.said("has reached a steady state.");
    // A rollout completes all the same.
    let second = world.deploy(2);
    world.calm(15);
    assert_eq!((&world.primary().id, world.on(&one()).len()), (&second, 1));
    world.now = until;
    world.calm(20);
    assert_eq!((world.running(), world.on(&one()).len()), (2, 0));
    assert_eq!(world.primary().rollout, Rollout::Completed);
    assert!(world.said("has reached a steady state.") > steady_before);
}

#[test]
fn a_drain_in_the_middle_of_a_rollout_is_part_of_it() {
    for (minimum, maximum) in [(100, 200), (50, 100), (50, 150)] {
        let mut world = steady(4, minimum, maximum);
        let second = world.deploy(2);
        world.settle();
        world.advance();
        drain(&mut world, one());
        for _ in 0..60 {
            world.advance();
            world.settle();
            world.now = world.now.plus_ms(5_000);
        }
        let primary = world.primary();
        assert_eq!((&primary.id, primary.failed_tasks), (&second, 0));
        assert_eq!(primary.rollout, Rollout::Completed, "{minimum} {maximum}");
        assert_eq!((world.healthy(), world.on(&two()).len()), (4, 4));
    }
}

#[test]
fn a_broken_rollout_is_rolled_back_while_an_instance_drains() {
    let mut world = steady(2, 100, 200);
    let first = world.primary().id.clone();
    world.service.rules.circuit_breaker = true;
    world.service.rules.rollback = true;
    let second = world.deploy(2);
    world.failing.push(second);
    world.settle();
    drain(&mut world, one());
    world.calm(80);
    assert_eq!((&world.primary().id, world.primary().rollout), (&first, Rollout::Completed));
    assert_eq!((world.healthy(), world.on(&one()).len()), (2, 0));
}

#[test]
fn a_deployment_that_was_given_up_does_not_keep_an_instance() {
    let mut world = steady(2, 100, 200);
    let first = world.primary().id.clone();
    world.service.rules.circuit_breaker = true;
    let second = world.deploy(2);
    world.failing.push(second.clone());
    world.calm(80);
    assert_eq!((&world.primary().id, world.primary().rollout), (&second, Rollout::Failed));
    drain(&mut world, one());
    world.calm(80);
    assert!(world.on(&one()).is_empty(), "{:?}", world.on(&one()));
    let old = |task: &&Task| task.started_by.as_deref() == Some(first.as_str());
    assert_eq!(world.on(&two()).into_iter().filter(old).count(), 2);
    assert_eq!(world.primary().rollout, Rollout::Failed);
}

#[test]
fn a_sick_task_on_a_drained_instance_goes_first() {
    let mut world = steady(4, 100, 150);
    let sick = world.on(&one())[1].id.clone();
    world.targets.insert(sick.clone(), TargetState::Unhealthy);
    world.health.insert(sick.clone(), Health::Unhealthy);
    drain(&mut world, one());
    while world.on(&one()).len() == 2 {
        world.advance();
        world.settle();
    }
    assert_eq!(world.tasks[&sick].facts.desired, Desired::Stopped);
    world.calm(20);
    assert_eq!((world.healthy(), world.on(&two()).len()), (4, 4));
    assert_eq!(world.primary().failed_tasks, 0);
}

#[test]
fn zones_are_evened_out_when_nothing_drains_any_more() {
    let mut world = steady(2, 100, 200);
    let zones = ["us-east-1a", "us-east-1b"].map(ZoneName::from);
    world.zones = zones.to_vec();
    world.service.az_rebalancing = true;
    world.settle();
    assert_eq!((world.said("AZ Rebalancing in progress."), world.living()), (1, 3));
    // What was started for a zone is welcome as a replacement, too.
    drain(&mut world, one());
    drain(&mut world, one());
    for _ in 0..20 {
        assert!(world.healthy() >= 2 && world.living() <= 4);
        world.advance();
        world.settle();
        world.now = world.now.plus_ms(5_000);
    }
    assert_eq!((world.on(&one()).len(), world.healthy()), (0, 2));
    world.draining.clear();
    world.now = world.now.plus_seconds(2000);
    world.calm(20);
    let running = world.tasks.values().filter(|t| t.last_status() == TaskStatus::Running);
    let there = running.map(|t| t.facts.placed.as_ref().expect("it runs").zone.clone());
    let mut there: Vec<ZoneName> = there.collect();
    there.sort();
    assert_eq!(there, zones);
}
