//! The shells together: manager, sessions and agent as they are, around a store in memory and a
//! fake kernel, with agents killed, sessions cut, supervisors lost. What must hold: a container
//! starts once, every task ends where it should, and nothing is held afterwards.

mod addresses;
mod balancing;
mod joining;
mod world;

use model::facts::TaskStatus;
use model::task::StopCode;
use std::time::Duration;
use world::{World, container};

#[tokio::test(start_paused = true)]
async fn a_task_runs_and_everything_is_given_back() {
    let mut world = World::new().await;
    world.start_agent(None).await;
    let id = world.run(vec![container("main", "print hello 3")]).await;
    let task = world.until_status(&id, TaskStatus::Stopped).await;
    let stop = task.stop.as_ref().expect("it says why");
    assert_eq!(stop.code, StopCode::EssentialContainerExited);
    assert_eq!(stop.reason, "Essential container in task exited");
    assert_eq!(task.containers[0].exit_code, Some(3));
    assert!(task.started_at.is_some() && task.stopped_at >= task.started_at);
    assert_eq!(world.lines(&id, "main").await, ["hello"]);
    world.until("everything given back", World::holds_nothing).await;
    assert_eq!(world.kernel.task_count(), 0);
    assert_eq!(world.kernel.starts(&id, "main"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_outlives_its_agent_and_is_not_started_again() {
    let mut world = World::new().await;
    world.start_agent(None).await;
    let id = world.run(vec![container("main", "run")]).await;
    world.until_status(&id, TaskStatus::Running).await;
    for line in 0..5 {
        world.kill_agent().await;
        world.kernel.print(&id, "main", &format!("line {line}"));
        world.start_agent(None).await;
    }
    world.kernel.exit(&id, "main", 9);
    let task = world.until_status(&id, TaskStatus::Stopped).await;
    assert_eq!(task.containers[0].exit_code, Some(9));
    assert_eq!(world.kernel.starts(&id, "main"), 1);
    let lines = ["line 0", "line 1", "line 2", "line 3", "line 4"];
    assert_eq!(world.lines(&id, "main").await, lines);
    world.until("everything given back", World::holds_nothing).await;
}

#[tokio::test(start_paused = true)]
async fn sessions_that_are_cut_all_the_time_lose_nothing() {
    let mut world = World::new().await;
    world.kernel.tell_twice(true);
    world.start_agent(Some(Duration::from_millis(30))).await;
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(world.run(vec![container("main", &format!("print line-{n} {n}"))]).await);
    }
    for (n, id) in ids.iter().enumerate() {
        let task = world.until_status(id, TaskStatus::Stopped).await;
        assert_eq!(task.containers[0].exit_code, Some(i32::try_from(n).expect("small")));
        assert_eq!(world.kernel.starts(id, "main"), 1);
        assert_eq!(world.lines(id, "main").await, [format!("line-{n}")]);
    }
    world.until("everything given back", World::holds_nothing).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_whose_supervisor_is_lost_stops_with_a_reason() {
    let mut world = World::new().await;
    world.start_agent(None).await;
    let id = world.run(vec![container("main", "run")]).await;
    world.until_status(&id, TaskStatus::Running).await;
    world.kernel.lose(&id);
    let task = world.until_status(&id, TaskStatus::Stopped).await;
    assert!(task.stop.as_ref().is_some_and(|stop| !stop.reason.is_empty()), "{task:?}");
    assert_eq!(world.kernel.starts(&id, "main"), 1);
    world.until("everything given back", World::holds_nothing).await;
}

#[tokio::test(start_paused = true)]
async fn a_stubborn_container_is_killed_after_its_stop_timeout() {
    let mut world = World::new().await;
    world.start_agent(None).await;
    let id = world.run(vec![container("main", "stubborn")]).await;
    let started = world.until_status(&id, TaskStatus::Running).await;
    world.stop(&id).await;
    let task = world.until_status(&id, TaskStatus::Stopped).await;
    assert_eq!(task.containers[0].exit_code, Some(137));
    assert_eq!(task.stop.as_ref().map(|stop| stop.code), Some(StopCode::UserInitiated));
    let took = task.stopped_at.expect("stopped").since_ms(started.started_at.expect("started"));
    assert!((30_000..40_000).contains(&took), "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn what_finds_no_room_says_so_and_stops_after_a_while() {
    let mut world = World::new().await;
    world.start_agent(None).await;
    let running = world.run(vec![container("main", "run")]).await;
    world.until_status(&running, TaskStatus::Running).await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(world.run(vec![container("main", "run")]).await);
    }
    // 4096 MiB hold eight tasks of 512: the ninth waits.
    let last = ids.last().expect("eight").clone();
    world.until("the reason in view", |world| world.get(&last).waiting.is_some()).await;
    assert!(world.get(&last).waiting.as_ref().is_some_and(|why| why.contains("RESOURCE:")));
    world.stop(&ids[0]).await;
    world.until_status(&last, TaskStatus::Running).await;
    let too_much = world.run(vec![container("main", "run")]).await;
    let task = world.until_status(&too_much, TaskStatus::Stopped).await;
    let stop = task.stop.as_ref().expect("it says why");
    assert_eq!(stop.code, StopCode::TaskFailedToStart);
    assert!(stop.reason.contains("RESOURCE:"), "{}", stop.reason);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_stays_away_is_lost_and_its_strays_end_when_it_returns() {
    let mut world = World::new().await;
    world.start_agent(None).await;
    let id = world.run(vec![container("main", "run")]).await;
    world.until_status(&id, TaskStatus::Running).await;
    world.kill_agent().await;
    let task = world.until_status(&id, TaskStatus::Stopped).await;
    assert!(task.stop.as_ref().is_some_and(|stop| stop.reason.contains("lost")), "{task:?}");
    assert_eq!(world.kernel.task_count(), 1, "nobody was there to end it");
    world.settle().await;
    assert!(!world.holds_nothing(), "its address may still be in use");
    world.start_agent(None).await;
    world.until("the stray is gone", |world| world.kernel.task_count() == 0).await;
    assert_eq!(world.get(&id).last_status(), TaskStatus::Stopped);
    let next = world.run(vec![container("main", "exit 0")]).await;
    world.until_status(&next, TaskStatus::Stopped).await;
    world.until("everything given back", World::holds_nothing).await;
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_missing_and_a_log_group_that_is_not_there_are_told() {
    let mut world = World::new().await;
    world.start_agent(None).await;
    let mut missing = container("main", "run");
    missing.image = "missing".to_owned();
    let id = world.run(vec![missing]).await;
    let task = world.until_status(&id, TaskStatus::Stopped).await;
    let stop = task.stop.as_ref().expect("it says why");
    assert_eq!(stop.code, StopCode::TaskFailedToStart);
    assert!(stop.reason.starts_with("CannotPullContainerError"), "{}", stop.reason);

    let mut elsewhere = container("main", "run");
    elsewhere.log.as_mut().expect("it has one").group = "/nowhere".to_owned();
    let id = world.run(vec![elsewhere]).await;
    let task = world.until_status(&id, TaskStatus::Stopped).await;
    let reason = &task.stop.as_ref().expect("it says why").reason;
    assert!(reason.starts_with("ResourceInitializationError"), "{reason}");
    assert_eq!(world.kernel.starts(&id, "main"), 0);
    world.until("everything given back", World::holds_nothing).await;
}
