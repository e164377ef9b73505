//! One story each, from the first decision to the last report.

use crate::task::*;
use model::Timestamp;
use model::container::{ContainerPhase, Health};
use model::facts::{ContainersFact, Desired, InterfaceFact};
use model::limits::START_TIMEOUT_SECONDS;
use model::session::Assignment;
use model::task::StopCode;
use model::task_definition::DependencyCondition::{Complete, Healthy, Start, Success};
use model::task_definition::{ContainerTemplate, VolumeFrom};
use plan::lifecycle::*;
use plan::limits::*;

fn reason(actor: &Actor) -> (StopCode, &str) {
    let stop = actor.report.stop.as_ref().expect("a task that ended by itself says why");
    (stop.code, &stop.reason)
}

/// A task whose containers have all started.
fn running(containers: Vec<ContainerTemplate>) -> Actor {
    let names: Vec<String> = containers.iter().map(|c| c.name.clone()).collect();
    let (mut actor, _) = Actor::new(assignment(containers));
    actor.ready();
    for name in &names {
        actor.pulled(name);
    }
    for name in &names {
        actor.started(name);
    }
    assert_eq!(actor.report.containers_fact, ContainersFact::Running);
    actor
}

fn told_to_stop(mut actor: Actor) -> (Actor, Vec<Step>) {
    actor.assignment.desired = Desired::Stopped;
    let steps = actor.next();
    (actor, steps)
}

#[test]
fn a_task_is_launched_in_one_round_once_its_image_is_there() {
    let (mut actor, steps) = Actor::new(assignment(vec![container("app", true)]));
    assert_eq!(steps, [create(), pull("app")]);
    assert_eq!(actor.report.containers_fact, ContainersFact::Unseen);
    assert_eq!(actor.pulled("app"), [start("app")], "the sandbox need not be ready for it");
    assert_eq!(actor.ready(), []);
    assert_eq!(actor.report.containers_fact, ContainersFact::Accepted);
    assert_eq!(actor.report.interface, InterfaceFact::Attached);
    actor.now = actor.now.plus_ms(5);
    assert_eq!(actor.started("app"), []);
    assert_eq!(actor.report.containers_fact, ContainersFact::Running);
    assert_eq!(actor.report.times.started_at, Some(BEGIN.plus_ms(5)));
    assert_eq!((actor.wake_at, actor.finished), (None, false), "RUNNING may last");
}

#[test]
fn an_image_known_to_be_there_makes_it_one_round() {
    let assignment = assignment(vec![container("app", true)]);
    let mut observed = Observed::new(&assignment.template);
    let digest = Some("sha256:00".into());
    let at = BEGIN;
    observed.observe(&Event::ImagePulled {
        container: "app".to_owned(),
        digest: digest.clone(),
        at,
    });
    let (actor, steps) = Actor::with(assignment, observed);
    assert_eq!(steps, [create(), start("app")]);
    assert_eq!(actor.report.containers[0].image_digest, digest);
    assert_eq!(actor.report.times.pull_stopped_at, Some(BEGIN));
}

#[test]
fn an_essential_exit_ends_the_task_with_its_code() {
    let mut actor = running(vec![container("app", true), container("side", false)]);
    assert_eq!(actor.exited("app", 3), [stop("side")]);
    assert_eq!(actor.report.containers_fact, ContainersFact::Stopping);
    assert_eq!(actor.exited("side", 143), [remove()]);
    assert_eq!(actor.report.containers_fact, ContainersFact::Stopped);
    assert_eq!(actor.report.interface, InterfaceFact::Attached, "until the sandbox is gone");
    assert_eq!(actor.removed(), []);
    assert!(actor.finished);
    assert_eq!(actor.report.interface, InterfaceFact::Released);
    assert_eq!(
        reason(&actor),
        (StopCode::EssentialContainerExited, "Essential container in task exited")
    );
    let codes = actor.report.containers.iter().map(|c| (c.exit_code, c.phase));
    let stopped = ContainerPhase::Stopped;
    assert_eq!(codes.collect::<Vec<_>>(), [(Some(3), stopped), (Some(143), stopped)]);
    assert_eq!(actor.report.times.execution_stopped_at, Some(BEGIN));
}

#[test]
fn a_container_that_is_not_essential_may_end() {
    let mut actor = running(vec![container("app", true), container("once", false)]);
    assert_eq!(actor.exited("once", 1), []);
    assert_eq!(actor.report.containers_fact, ContainersFact::Running);
    assert_eq!(actor.report.containers[1].phase, ContainerPhase::Stopped);
    assert_eq!(actor.report.containers[1].exit_code, Some(1));
}

#[test]
fn stopping_goes_against_the_dependencies_and_ends_in_sigkill() {
    let mut web = needs(container("web", true), "db", Start);
    web.stop_timeout_seconds = 5;
    let actor = running(vec![container("db", true), web]);
    let (mut actor, steps) = told_to_stop(actor);
    assert_eq!(steps, [stop("web")], "db is still needed");
    assert_eq!(actor.wake_at, Some(BEGIN.plus_seconds(5)));
    assert_eq!(actor.sleep(), [kill("web")]);
    assert_eq!(actor.exited("web", 137), [stop("db")]);
    assert_eq!(actor.exited("db", 0), [remove()]);
    actor.removed();
    assert!(actor.finished);
    assert_eq!(actor.report.stop, None, "whoever asked for it knows why");
    assert_eq!(actor.report.containers[0].exit_code, Some(0));
}

#[test]
fn a_container_that_outlives_sigkill_goes_with_its_sandbox() {
    let (mut actor, steps) = told_to_stop(running(vec![container("app", true)]));
    assert_eq!(steps, [stop("app")]);
    assert_eq!(actor.sleep(), [kill("app")]);
    assert_eq!(actor.sleep(), [remove()]);
    assert_eq!(actor.report.containers_fact, ContainersFact::Stopping);
    assert_eq!(actor.sleep(), [remove()], "and it is asked for again until it is done");
    actor.removed();
    assert_eq!(actor.report.containers_fact, ContainersFact::Stopped);
    let app = &actor.report.containers[0];
    assert_eq!(app.exit_code, Some(137));
    assert!(app.reason.as_ref().is_some_and(|r| r.starts_with("CannotStopContainerError: ")));
}

#[test]
fn refused_requests_are_made_again_but_not_at_once() {
    let (mut actor, steps) = told_to_stop(running(vec![container("app", true)]));
    assert_eq!(steps, [stop("app")]);
    let refused = |step: Step, at| Event::StepFailed { step, reason: "no".to_owned(), at };
    assert_eq!(actor.tell(&refused(stop("app"), BEGIN)), []);
    assert_eq!(actor.wake_at, Some(BEGIN.plus_seconds(RETRY_SECONDS)));
    assert_eq!(actor.sleep(), [stop("app")]);
    assert_eq!(actor.wake_at, Some(BEGIN.plus_seconds(30)), "the time until SIGKILL ran on");
    assert_eq!(actor.exited("app", 143), [remove()]);
    let now = actor.now;
    assert_eq!(actor.tell(&refused(remove(), now)), []);
    assert_eq!(actor.sleep(), [remove()]);
}

#[test]
fn images_are_pulled_side_by_side_and_before_anything_starts() {
    let (mut actor, steps) =
        Actor::new(assignment(vec![container("a", true), container("b", false)]));
    assert_eq!(steps, [create(), pull("a"), pull("b")]);
    actor.ready();
    assert_eq!(actor.pulled("b"), []);
    actor.now = BEGIN.plus_seconds(2);
    assert_eq!(actor.pulled("a"), [start("a"), start("b")]);
    assert_eq!(actor.report.times.pull_started_at, Some(BEGIN));
    assert_eq!(actor.report.times.pull_stopped_at, Some(BEGIN.plus_seconds(2)));
}

#[test]
fn a_failed_pull_fails_the_task_with_its_reason() {
    let (mut actor, _) = Actor::new(assignment(vec![container("a", true), container("b", false)]));
    actor.ready();
    actor.pulled("a");
    let reason = "not found".to_owned();
    let event = Event::PullFailed { container: "b".to_owned(), reason, at: BEGIN };
    assert_eq!(actor.tell(&event), [remove()]);
    let text = "CannotPullContainerError: not found";
    assert_eq!(self::reason(&actor), (StopCode::TaskFailedToStart, text));
    assert_eq!(actor.report.containers[1].reason.as_deref(), Some(text));
    assert_eq!(actor.report.containers[0].reason, None);
    assert_eq!(actor.report.containers_fact, ContainersFact::Stopped);
}

#[test]
fn a_program_that_is_not_there_fails_the_task() {
    let (mut actor, _) = Actor::new(assignment(vec![container("app", true)]));
    actor.ready();
    actor.pulled("app");
    let text = "CannotStartContainerError: exec /missing: no such file or directory";
    assert_eq!(actor.start_failed("app", text), [remove()]);
    assert_eq!(reason(&actor), (StopCode::TaskFailedToStart, text));
    let app = &actor.report.containers[0];
    assert_eq!((app.exit_code, app.reason.as_deref()), (Some(127), Some(text)));
    assert_eq!(actor.report.times.started_at, None);
}

#[test]
fn a_task_runs_without_what_is_not_essential_and_can_not_start() {
    let containers = vec![container("app", true), container("side", false)];
    let (mut actor, _) = Actor::new(assignment(containers));
    actor.ready();
    actor.pulled("app");
    actor.pulled("side");
    assert_eq!(actor.start_failed("side", "no"), []);
    actor.started("app");
    assert_eq!(actor.report.containers_fact, ContainersFact::Running);
    let side = &actor.report.containers[1];
    assert_eq!(side.reason.as_deref(), Some("CannotStartContainerError: no"));
    assert_eq!(side.phase, ContainerPhase::Stopped);
}

#[test]
fn a_sandbox_that_can_not_be_made_fails_the_task() {
    let (mut actor, _) = Actor::new(assignment(vec![container("app", true)]));
    assert_eq!(actor.pulled("app"), [start("app")]);
    let event = Event::SandboxFailed { reason: "no address".to_owned(), at: BEGIN };
    assert_eq!(actor.tell(&event), [remove()]);
    let text = "ResourceInitializationError: no address";
    assert_eq!(reason(&actor), (StopCode::TaskFailedToStart, text));
    assert_eq!(actor.report.containers_fact, ContainersFact::Stopped);
    assert_eq!(actor.report.containers[0].exit_code, None);
}

#[test]
fn every_condition_waits_for_its_own_fact() {
    let side = || checked(container("side", false));
    for (condition, meets) in [(Start, 0), (Healthy, 1), (Complete, 2), (Success, 2)] {
        let app = needs(container("app", true), "side", condition);
        let (mut actor, _) = Actor::new(assignment(vec![app, side()]));
        actor.ready();
        actor.pulled("app");
        assert_eq!(actor.pulled("side"), [start("side")], "{condition:?}");
        let story: [fn(&mut Actor) -> Vec<Step>; 3] =
            [|a| a.started("side"), |a| a.health("side", Health::Healthy), |a| a.exited("side", 0)];
        for (n, happens) in story.into_iter().enumerate().take(meets + 1) {
            let expected = if n == meets { vec![start("app")] } else { Vec::new() };
            assert_eq!(happens(&mut actor), expected, "{condition:?} {n}");
        }
    }
}

fn waits_for(condition: model::task_definition::DependencyCondition) -> Actor {
    let app = needs(container("app", true), "side", condition);
    let mut side = checked(container("side", false));
    side.start_timeout_seconds = Some(20);
    let (mut actor, _) = Actor::new(assignment(vec![app, side]));
    actor.ready();
    actor.pulled("app");
    actor.pulled("side");
    actor.pass(3);
    actor.started("side");
    actor
}

#[test]
fn a_dependency_that_takes_too_long_fails_the_task() {
    for condition in [Complete, Success, Healthy] {
        let mut actor = waits_for(condition);
        assert_eq!(actor.wake_at, Some(BEGIN.plus_seconds(23)), "from its start on");
        assert_eq!(actor.sleep(), [stop("side")]);
        let text = "CannotStartContainerError: container ordering dependency [side] for target \
                    [app] has timed out.";
        assert_eq!(reason(&actor), (StopCode::TaskFailedToStart, text));
        assert_eq!(actor.report.containers[0].reason.as_deref(), Some(text));
        // Met too late: the end was decided.
        assert_eq!(actor.exited("side", 0), [remove()]);
    }
}

#[test]
fn a_dependency_that_can_no_longer_be_met_fails_the_task_at_once() {
    let mut failed = waits_for(Success);
    assert_eq!(failed.exited("side", 1), [remove()]);
    assert!(reason(&failed).1.contains("dependency did not exit successfully"));
    assert_eq!(failed.report.containers[1].exit_code, Some(1));
    let mut unhealthy = waits_for(Healthy);
    assert_eq!(unhealthy.exited("side", 0), [remove()]);
    assert!(reason(&unhealthy).1.contains("without being healthy"));
    let (mut never, _) = Actor::new(assignment(vec![
        needs(container("app", true), "side", Start),
        container("side", false),
    ]));
    never.ready();
    never.pulled("app");
    never.pulled("side");
    assert_eq!(never.start_failed("side", "no"), [remove()]);
    assert!(reason(&never).1.contains("dependency will never start"));
    assert_eq!(reason(&never).0, StopCode::TaskFailedToStart);
}

#[test]
fn volumes_are_mounted_from_what_was_launched_before() {
    let mut app = container("app", true);
    app.volumes_from = vec![VolumeFrom { container: "data".to_owned(), read_only: false }];
    let (mut actor, _) = Actor::new(assignment(vec![app, container("data", false)]));
    actor.pulled("app");
    assert_eq!(actor.pulled("data"), [start("data"), start("app")]);
}

#[test]
fn a_restart_policy_restarts_what_ran_long_enough() {
    let app = restarted(container("app", true), 60, &[7]);
    let mut actor = running(vec![app.clone()]);
    actor.now = BEGIN.plus_seconds(60);
    assert_eq!(actor.exited("app", 1), [attempt("app", 2)]);
    let report = &actor.report;
    assert_eq!(report.containers_fact, ContainersFact::Running, "as far as AWS tells");
    assert_eq!(report.containers[0].phase, ContainerPhase::Running);
    assert_eq!((report.containers[0].restart_count, report.containers[0].exit_code), (1, None));
    actor.started("app");
    actor.now = BEGIN.plus_seconds(100);
    assert_eq!(actor.exited("app", 1), [remove()], "40 seconds are too few");
    assert_eq!(reason(&actor).0, StopCode::EssentialContainerExited);
    assert_eq!(actor.report.containers[0].exit_code, Some(1));

    let mut ignored = running(vec![app]);
    ignored.now = BEGIN.plus_seconds(600);
    assert_eq!(ignored.exited("app", 7), [remove()], "an exit code that is left alone");
}

#[test]
fn what_restarts_has_not_completed() {
    let side = restarted(container("side", false), 60, &[]);
    let app = needs(container("app", true), "side", Complete);
    let (mut actor, _) = Actor::new(assignment(vec![app, side]));
    actor.ready();
    actor.pulled("app");
    actor.pulled("side");
    actor.started("side");
    actor.now = BEGIN.plus_seconds(61);
    assert_eq!(actor.exited("side", 0), [attempt("side", 2)]);
    actor.started("side");
    assert_eq!(actor.exited("side", 0), [start("app")], "too short a run to be restarted");
}

#[test]
fn a_task_that_stops_restarts_nothing() {
    let app = restarted(container("app", true), 60, &[]);
    let mut actor = running(vec![app]);
    actor.now = BEGIN.plus_seconds(3600);
    let (mut actor, steps) = told_to_stop(actor);
    assert_eq!(steps, [stop("app")]);
    assert_eq!(actor.exited("app", 143), [remove()]);
    assert_eq!(actor.report.containers[0].exit_code, Some(143));
}

#[test]
fn out_of_memory_is_told_as_ecs_tells_it() {
    let mut actor = running(vec![container("app", true)]);
    let exit = Exit { code: 137, signal: Some(9), out_of_memory: true, at: BEGIN };
    actor.tell(&Event::ContainerExited { container: "app".to_owned(), attempt: 1, exit });
    let app = &actor.report.containers[0];
    assert_eq!(app.exit_code, Some(137));
    let text = "OutOfMemoryError: container killed due to memory usage";
    assert_eq!(app.reason.as_deref(), Some(text));
}

#[test]
fn a_lost_supervisor_ends_the_task_and_nothing_is_started_again() {
    let app = restarted(container("app", true), 0, &[]);
    let mut actor = running(vec![app]);
    let steps = actor.tell(&Event::SandboxLost { at: BEGIN.plus_seconds(1) });
    assert_eq!(steps, [remove()]);
    assert_eq!(reason(&actor).0, StopCode::EssentialContainerExited);
    let app = &actor.report.containers[0];
    assert_eq!(app.exit_code, Some(137));
    assert!(app.reason.as_ref().is_some_and(|r| r.contains("supervisor ended unexpectedly")));
}

#[test]
fn logs_leave_before_the_sandbox_goes_but_not_for_ever() {
    let mut actor = running(vec![logged(container("app", true)), container("side", false)]);
    assert_eq!(actor.exited("app", 0), [stop("side")]);
    assert_eq!(actor.exited("side", 0), [drain("app")]);
    assert_eq!(actor.report.containers_fact, ContainersFact::Stopped, "it need not wait for logs");
    assert_eq!(actor.drained("app"), [remove()]);

    let mut stuck = running(vec![logged(container("app", true))]);
    assert_eq!(stuck.exited("app", 0), [drain("app")]);
    assert_eq!(stuck.wake_at, Some(BEGIN.plus_seconds(LOG_DRAIN_TIMEOUT_SECONDS)));
    assert_eq!(stuck.sleep(), [remove()]);
}

#[test]
fn the_last_trace_goes_only_when_the_end_is_known() {
    let mut actor = running(vec![container("app", true)]);
    actor.observed.keep_trace();
    assert_eq!(actor.exited("app", 3), []);
    assert_eq!(actor.report.containers_fact, ContainersFact::Stopped);
    let told = |containers_fact| Event::Reported { containers_fact };
    assert_eq!(actor.tell(&told(ContainersFact::Running)), []);
    assert_eq!(actor.tell(&told(ContainersFact::Stopped)), [remove()]);
    assert_eq!(actor.tell(&told(ContainersFact::Running)), [], "a late word takes nothing back");
}

fn never_began(change: impl FnOnce(&mut Assignment)) -> Actor {
    let mut assignment = assignment(vec![container("app", true)]);
    change(&mut assignment);
    let (actor, steps) = Actor::new(assignment);
    assert_eq!(steps, [], "nothing is started");
    assert!(actor.finished);
    assert_eq!(actor.report.containers_fact, ContainersFact::Stopped);
    assert_eq!(actor.report.interface, InterfaceFact::Released);
    assert_eq!(actor.report.containers[0].phase, ContainerPhase::Stopped);
    actor
}

#[test]
fn what_must_not_begin_is_over_at_once() {
    assert_eq!(never_began(|a| a.desired = Desired::Stopped).report.stop, None);
    let ran = never_began(|a| a.containers_fact = ContainersFact::Running);
    assert_eq!(reason(&ran).0, StopCode::EssentialContainerExited);
    assert!(reason(&ran).1.contains("no trace"));
    let begun = never_began(|a| a.containers_fact = ContainersFact::Accepted);
    assert_eq!(reason(&begun).0, StopCode::TaskFailedToStart);
    let text = "ResourceInitializationError: the log group does not exist";
    let refused = never_began(|a| a.start_failure = Some(text.to_owned()));
    assert_eq!(reason(&refused), (StopCode::TaskFailedToStart, text));
}

#[test]
fn a_task_told_to_stop_while_it_launches_waits_for_the_launch_and_ends_it() {
    let (mut actor, _) = Actor::new(assignment(vec![container("app", true)]));
    actor.pulled("app");
    let (mut actor, steps) = told_to_stop(actor);
    assert_eq!(steps, []);
    assert_eq!(actor.report.containers_fact, ContainersFact::Stopping);
    actor.ready();
    assert_eq!(actor.started("app"), [stop("app")]);
    assert_eq!(actor.exited("app", 143), [remove()]);
}

#[test]
fn nothing_waits_for_ever_on_the_way_to_running() {
    let fresh = || Actor::new(assignment(vec![container("app", true)])).0;
    let mut no_sandbox = fresh();
    assert_eq!(no_sandbox.wake_at, Some(BEGIN.plus_seconds(SANDBOX_TIMEOUT_SECONDS)));
    assert_eq!(no_sandbox.sleep(), [remove()]);
    assert_eq!(reason(&no_sandbox).0, StopCode::TaskFailedToStart);

    let mut no_image = fresh();
    no_image.ready();
    assert_eq!(no_image.wake_at, Some(BEGIN.plus_seconds(START_TIMEOUT_SECONDS)));
    assert_eq!(no_image.sleep(), [remove()]);

    let mut no_start = fresh();
    no_start.ready();
    no_start.pulled("app");
    assert_eq!(no_start.wake_at, Some(BEGIN.plus_seconds(LAUNCH_TIMEOUT_SECONDS)));
    assert_eq!(no_start.sleep(), [remove()], "it may be there: it goes with its sandbox");
    assert!(reason(&no_start).1.starts_with("ContainerRuntimeTimeoutError: "));
}

#[test]
fn stale_and_repeated_facts_change_nothing() {
    let app = restarted(container("app", true), 60, &[]);
    let mut actor = running(vec![app]);
    actor.now = BEGIN.plus_seconds(60);
    actor.exited("app", 1);
    actor.started("app");
    let before = actor.observed.clone();
    let exit = Exit { code: 1, signal: None, out_of_memory: false, at: actor.now };
    for event in [
        Event::ContainerExited { container: "app".to_owned(), attempt: 1, exit },
        Event::ContainerStarted { container: "app".to_owned(), attempt: 1, at: BEGIN },
        Event::ContainerStarted { container: "app".to_owned(), attempt: 2, at: actor.now },
        Event::SandboxReady { at: actor.now },
        Event::SandboxFailed { reason: "late".to_owned(), at: actor.now },
        Event::PullFailed { container: "app".to_owned(), reason: "late".to_owned(), at: BEGIN },
        Event::LogDrained { container: "nobody".to_owned() },
    ] {
        assert_eq!(actor.tell(&event), [], "{event:?}");
        assert_eq!(actor.observed, before, "{event:?}");
    }
}

#[test]
fn a_restarted_agent_goes_on_from_what_the_runtime_remembers() {
    let web = || needs(container("web", true), "db", Start);
    let mut assignment = assignment(vec![container("db", true), web()]);
    assignment.containers_fact = ContainersFact::Accepted;
    let mut observed = Observed::new(&assignment.template);
    observed.observe(&Event::SandboxReady { at: Timestamp(5) });
    let at = Timestamp(6);
    observed.observe(&Event::ContainerStarted { container: "db".to_owned(), attempt: 1, at });
    let (mut actor, steps) = Actor::with(assignment, observed);
    assert_eq!(steps, [pull("web")], "only what was not launched needs its image");
    assert_eq!(actor.pulled("web"), [start("web")]);
    actor.started("web");
    assert_eq!(actor.report.containers_fact, ContainersFact::Running);
    assert_eq!(actor.report.times.connectivity_at, Some(Timestamp(5)));
    assert_eq!(actor.report.containers[0].started_at, Some(at));
}

#[test]
fn a_restarted_agent_starts_nothing_before_it_is_told_what_is_wanted() {
    let stopped = |desired: Desired, expected: &[Step]| {
        let mut assignment = assignment(vec![restarted(container("app", true), 1, &[])]);
        let mut observed = Observed::new(&assignment.template);
        observed.hold_starts();
        observed.observe(&Event::SandboxReady { at: BEGIN });
        let (app, at) = (|| "app".to_owned(), BEGIN);
        observed.observe(&Event::ContainerStarted { container: app(), attempt: 1, at });
        // By a signal that an earlier agent sent, or by itself: nobody here knows.
        let at = BEGIN.plus_seconds(5);
        let exit = Exit { code: 143, signal: Some(15), out_of_memory: false, at };
        observed.observe(&Event::ContainerExited { container: app(), attempt: 1, exit });
        assignment.containers_fact = ContainersFact::Running;
        let (mut actor, steps) = Actor::with(assignment, observed);
        assert_eq!(steps, []);
        actor.assignment.desired = desired;
        assert_eq!(actor.tell(&Event::Assigned), expected);
    };
    stopped(Desired::Running, &[attempt("app", 2)]);
    stopped(Desired::Stopped, &[remove()]);
}

#[test]
fn a_restarted_agent_goes_on_ending_what_had_begun_to_end() {
    let mut assignment = assignment(vec![restarted(container("app", true), 0, &[])]);
    assignment.containers_fact = ContainersFact::Stopping;
    let mut observed = Observed::new(&assignment.template);
    observed.observe(&Event::SandboxReady { at: BEGIN });
    let app = || "app".to_owned();
    observed.observe(&Event::ContainerStarted { container: app(), attempt: 1, at: BEGIN });
    let (mut actor, steps) = Actor::with(assignment, observed);
    assert_eq!(steps, [stop("app")]);
    assert_eq!(actor.exited("app", 0), [remove()]);
}

#[test]
fn a_task_lost_before_its_agent_came_back_is_reported_stopped() {
    let mut assignment = assignment(vec![container("app", true)]);
    assignment.containers_fact = ContainersFact::Running;
    let mut observed = Observed::new(&assignment.template);
    observed.observe(&Event::SandboxLost { at: BEGIN });
    let (mut actor, steps) = Actor::with(assignment, observed);
    assert_eq!(steps, [remove()]);
    assert_eq!(actor.report.containers_fact, ContainersFact::Stopped);
    assert_eq!(reason(&actor).0, StopCode::EssentialContainerExited);
    assert!(actor.report.containers[0].reason.is_some());
    actor.removed();
    assert!(actor.finished);
}
