//! Every state but RUNNING and STOPPED has a deadline, and what it asks for leads on.

use model::facts::*;
use model::limits::*;
use model::task::*;
use model::{Document, TaskDefinitionRevision, TaskId, Timestamp};
use plan::{OverdueAction, next_deadline, overdue};
use std::collections::BTreeSet;

fn task(facts: Facts) -> Task {
    let container = model::container::ContainerState::new("app".into(), "c".into(), "r".into());
    Task {
        id: TaskId::mint(1),
        cluster: "default".into(),
        family: "f".into(),
        revision: TaskDefinitionRevision(1),
        overrides: TaskOverrides::default(),
        overrides_document: Document::default(),
        cpu_units: 256,
        memory_mib: 512,
        ephemeral_storage_gib: 20,
        cpu_architecture: "X86_64".to_owned(),
        launch_type: None,
        capacity_provider: None,
        platform_version: "1.4.0".to_owned(),
        group: "family:f".to_owned(),
        started_by: None,
        enable_execute_command: false,
        tags: model::Tags::new(),
        network: NetworkRequest::default(),
        placed_at: facts.placed.as_ref().map(|_| Timestamp(1000)),
        stopping_at: (facts.desired_status() == Desired::Stopped).then_some(Timestamp(5000)),
        facts,
        stop: None,
        waiting: Some("RESOURCE:CPU".to_owned()),
        interface: None,
        containers: vec![container],
        version: 1,
        created_at: Timestamp(0),
        pull_started_at: None,
        pull_stopped_at: None,
        connectivity_at: None,
        started_at: None,
        execution_stopped_at: None,
        images: std::collections::BTreeMap::new(),
        deregistered_at: None,
        protected_until: None,
        stopped_at: None,
    }
}

fn place() -> Placement {
    Placement { instance: "i".into(), zone: "z".into() }
}

fn every_set_of_facts() -> BTreeSet<Facts> {
    let interfaces = [InterfaceFact::NotNeeded, InterfaceFact::Wanted];
    let targets = [TargetFact::NotNeeded, TargetFact::Wanted];
    let mut queue: Vec<Facts> =
        interfaces.iter().flat_map(|i| targets.iter().map(|t| Facts::new(*i, *t))).collect();
    let mut seen = BTreeSet::new();
    while let Some(facts) = queue.pop() {
        if seen.insert(facts.clone()) {
            queue.extend(facts.steps(&place()).into_iter().map(|(_, facts)| facts));
        }
    }
    seen
}

#[test]
fn every_state_that_must_not_last_has_a_deadline_that_leads_on() {
    for facts in every_set_of_facts() {
        let mut task = task(facts);
        let status = task.last_status();
        // What runs and is only not registered yet is its targets' to end.
        let lasts = matches!(status, TaskStatus::Running | TaskStatus::Stopped)
            || (status == TaskStatus::Activating
                && task.facts.containers == ContainersFact::Running);
        let Some(deadline) = next_deadline(&task) else {
            assert!(lasts, "no deadline: {:?}", task.facts);
            continue;
        };
        assert!(!lasts);
        assert_eq!(overdue(&task, deadline.plus_ms(-1)), None);
        let overdue = overdue(&task, deadline).expect("its time has come");
        let changed = match overdue.action {
            OverdueAction::Stop => task.request_stop(overdue.code, &overdue.reason, deadline),
            OverdueAction::Abandon => task.abandon(&overdue.reason, deadline),
        };
        // Only an interface that is never given back stays: nothing is freed on doubt.
        let held = status == TaskStatus::Deprovisioning;
        assert!(changed || held, "{overdue:?} changes nothing of {:?}", task.facts);
        assert!(held || task.last_status() > status, "{:?}", task.facts);
    }
}

#[test]
fn the_reason_says_what_was_waited_for() {
    let unplaced = task(Facts::new(InterfaceFact::Wanted, TargetFact::NotNeeded));
    let at = Timestamp(0).plus_seconds(PLACEMENT_TIMEOUT_SECONDS);
    let found = overdue(&unplaced, at).expect("overdue");
    assert_eq!(found.code, StopCode::TaskFailedToStart);
    assert_eq!(found.reason, "Timeout waiting for capacity: RESOURCE:CPU");
    assert_eq!(found.since, at);
    let mut placed = task(Facts { placed: Some(place()), ..unplaced.facts });
    let at = Timestamp(1000).plus_seconds(ACCEPT_TIMEOUT_SECONDS);
    assert!(overdue(&placed, at).expect("overdue").reason.starts_with("AGENT"));
    placed.facts.containers = ContainersFact::Accepted;
    assert_eq!(overdue(&placed, at), None);
}

#[test]
fn a_stop_may_take_every_containers_timeout_one_after_the_other() {
    let mut stopping = task(Facts {
        placed: Some(place()),
        desired: Desired::Stopped,
        containers: ContainersFact::Running,
        ..Facts::new(InterfaceFact::Wanted, TargetFact::NotNeeded)
    });
    let one = next_deadline(&stopping).expect("stopping ends");
    stopping.containers.push(stopping.containers[0].clone());
    let two = next_deadline(&stopping).expect("stopping ends");
    assert_eq!(two.since_ms(one), i64::from(STOP_TIMEOUT_SECONDS_MAX) * 1000);
}

#[test]
fn a_task_that_drained_has_all_its_time_to_stop_from_then_on() {
    let facts = Facts {
        placed: Some(place()),
        desired: Desired::Stopped,
        containers: ContainersFact::Running,
        ..Facts::new(InterfaceFact::Wanted, TargetFact::Draining)
    };
    let mut draining = task(facts);
    assert_eq!(draining.last_status(), TaskStatus::Deactivating);
    let drains_until = next_deadline(&draining).expect("draining ends");
    draining.facts.target = TargetFact::Gone;
    let at_once = next_deadline(&draining).expect("stopping ends");
    let delay = DEREGISTRATION_DELAY_SECONDS_MAX * 1000;
    assert_eq!(drains_until.since_ms(at_once), delay);
    draining.deregistered_at = Some(Timestamp(5000).plus_ms(delay));
    assert_eq!(next_deadline(&draining), Some(drains_until));
}
