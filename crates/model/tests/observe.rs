//! Reports may come late, twice and out of order. Whatever their order, a task that has seen them
//! all is the same, its status never went back on the way, and its version rose exactly when
//! something changed.

use model::container::{ContainerPhase, ContainerState, Health};
use model::facts::*;
use model::network::Cidr;
use model::session::{ContainerReport, ReportTimes, TaskReport};
use model::task::*;
use model::{Document, TaskDefinitionRevision, TaskId, Timestamp};

/// A small generator of its own: the same seeds give the same histories everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

const NOW: Timestamp = Timestamp(1_000_000);

fn task(containers: usize) -> Task {
    let id = TaskId::mint(7);
    let container =
        |n: usize| ContainerState::new(format!("c{n}"), "id".into(), format!("{id}-{n}"));
    Task {
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
        facts: Facts::new(InterfaceFact::Wanted, TargetFact::NotNeeded),
        stop: None,
        waiting: None,
        interface: None,
        containers: (0..containers).map(container).collect(),
        version: 1,
        created_at: Timestamp(0),
        placed_at: None,
        pull_started_at: None,
        pull_stopped_at: None,
        connectivity_at: None,
        started_at: None,
        stopping_at: None,
        execution_stopped_at: None,
        images: std::collections::BTreeMap::new(),
        deregistered_at: None,
        protected_until: None,
        stopped_at: None,
        id,
    }
}

fn placed(containers: usize) -> Task {
    let mut task = task(containers);
    let interface = TaskInterface {
        attachment: "a".into(),
        interface: "eni".into(),
        vpc: "vpc".into(),
        subnet: "subnet".into(),
        private_ip: Cidr::parse("10.0.0.4/32").expect("valid").address,
        public_ip: None,
        mac: "02:00:00:00:00:01".to_owned(),
        private_dns_name: "ip-10-0-0-4".to_owned(),
        resolving: None,
    };
    let place = Placement { instance: "i".into(), zone: "z".into() };
    assert!(task.place(place, Some(interface), NOW));
    task
}

fn first_report(task: &Task) -> TaskReport {
    let container = |c: &ContainerState| ContainerReport {
        name: c.name.clone(),
        phase: ContainerPhase::Pending,
        image_digest: None,
        exit_code: None,
        reason: None,
        health: Health::Unknown,
        health_at: None,
        restart_count: 0,
        started_at: None,
        stopped_at: None,
    };
    TaskReport {
        task: task.id.clone(),
        cluster: task.cluster.clone(),
        containers_fact: ContainersFact::Unseen,
        interface: InterfaceFact::Wanted,
        containers: task.containers.iter().map(container).collect(),
        times: ReportTimes::default(),
        stop: None,
    }
}

/// A report that says at least as much as the one before it, as an agent's next one does.
fn later(before: &TaskReport, at: Timestamp, random: &mut Random) -> TaskReport {
    let mut report = before.clone();
    for container in &mut report.containers {
        match (random.below(4), container.phase) {
            (0, ContainerPhase::Pending) => {
                container.phase = ContainerPhase::Running;
                container.image_digest = Some("sha256:00".into());
                container.started_at = Some(at);
            }
            (1, ContainerPhase::Running) if random.one_in(3) => {
                container.phase = ContainerPhase::Stopped;
                container.exit_code = Some(i32::try_from(random.below(3)).expect("small"));
                container.reason = random.one_in(2).then(|| "why".to_owned());
                container.stopped_at = Some(at);
            }
            (2, ContainerPhase::Running) => {
                let healths = [Health::Unknown, Health::Healthy, Health::Unhealthy];
                container.health = healths[random.below(3)];
                container.health_at = Some(at);
            }
            (3, ContainerPhase::Running) if random.one_in(3) => container.restart_count += 1,
            _ => {}
        }
    }
    let phases = report.containers.iter().map(|c| c.phase);
    report.containers_fact = match report.containers_fact {
        ContainersFact::Unseen if random.one_in(2) => ContainersFact::Accepted,
        _ if phases.clone().all(|p| p == ContainerPhase::Stopped) => ContainersFact::Stopped,
        fact if phases.clone().any(|p| p == ContainerPhase::Stopped) => {
            fact.max(ContainersFact::Stopping)
        }
        ContainersFact::Accepted if phases.clone().all(|p| p == ContainerPhase::Running) => {
            report.times.started_at = Some(at);
            ContainersFact::Running
        }
        fact => fact,
    };
    if report.containers_fact >= ContainersFact::Stopping && report.stop.is_none() {
        let code = StopCode::EssentialContainerExited;
        report.stop = Some(Stop { code, reason: "ended".to_owned(), at });
        report.times.execution_stopped_at = Some(at);
    }
    report.interface = match report.interface {
        InterfaceFact::Wanted if random.one_in(2) => {
            report.times.connectivity_at = Some(at);
            InterfaceFact::Attached
        }
        _ if report.containers_fact == ContainersFact::Stopped && random.one_in(2) => {
            InterfaceFact::Released
        }
        interface => interface,
    };
    report
}

fn history(task: &Task, random: &mut Random) -> Vec<TaskReport> {
    let mut reports = vec![first_report(task)];
    for n in 0..random.below(30) {
        let at = Timestamp(i64::try_from(n).expect("small"));
        let next = later(reports.last().expect("never empty"), at, random);
        reports.push(next);
    }
    reports
}

/// Folds the reports in and checks each step on the way.
fn fold(mut task: Task, reports: &[TaskReport]) -> Task {
    for report in reports {
        let before = task.clone();
        let changed = task.observe(report, NOW);
        assert!(task.last_status() >= before.last_status(), "{before:?}\n{report:?}\n{task:?}");
        assert!(task.facts.containers >= before.facts.containers);
        assert!(task.facts.interface >= before.facts.interface);
        assert_eq!(task.version, before.version + u64::from(changed));
        assert_eq!(changed, task != before);
        assert!(!task.observe(report, NOW), "a repeated report changes nothing");
    }
    task
}

#[test]
fn reports_in_any_order_and_number_give_the_same_task() {
    for seed in 0..2000 {
        let mut random = Random(seed);
        let task = placed(1 + random.below(3));
        let reports = history(&task, &mut random);
        let in_order = fold(task.clone(), &reports);
        let mut mixed = reports.clone();
        for _ in 0..random.below(10) {
            mixed.push(reports[random.below(reports.len())].clone());
        }
        for n in (1..mixed.len()).rev() {
            mixed.swap(n, random.below(n + 1));
        }
        let mut out_of_order = fold(task, &mixed);
        out_of_order.version = in_order.version;
        assert_eq!(out_of_order, in_order, "seed {seed}");
    }
}

#[test]
fn a_task_without_a_place_is_not_touched_by_reports() {
    let mut task = task(1);
    let mut report = first_report(&task);
    report.containers_fact = ContainersFact::Running;
    assert!(!task.observe(&report, NOW));
    assert_eq!(task.last_status(), TaskStatus::Provisioning);
}

#[test]
fn a_stopped_task_gets_no_place() {
    let mut task = task(1);
    task.facts.interface = InterfaceFact::NotNeeded;
    assert!(task.request_stop(StopCode::UserInitiated, "enough", NOW));
    assert_eq!(task.last_status(), TaskStatus::Stopped);
    let place = Placement { instance: "i".into(), zone: "z".into() };
    assert!(!task.place(place, None, NOW));
    assert_eq!(task.last_status(), TaskStatus::Stopped);
    assert!(!task.request_stop(StopCode::UserInitiated, "again", NOW));
}

#[test]
fn the_first_cause_is_kept() {
    let mut task = placed(1);
    assert!(task.request_stop(StopCode::UserInitiated, "enough", NOW));
    let mut report = first_report(&task);
    report.containers_fact = ContainersFact::Stopped;
    let (code, reason) = (StopCode::EssentialContainerExited, "Essential container in task exited");
    report.stop = Some(Stop { code, reason: reason.to_owned(), at: NOW });
    assert!(task.observe(&report, NOW));
    assert_eq!(task.stop.as_ref().map(|s| s.reason.as_str()), Some("enough"));
    assert_eq!(task.last_status(), TaskStatus::Deprovisioning, "its interface is still there");
    report.interface = InterfaceFact::Released;
    assert!(task.observe(&report, NOW));
    assert_eq!(task.last_status(), TaskStatus::Stopped);
    assert_eq!(task.stopped_at, Some(NOW));
}

#[test]
fn a_lost_instance_ends_its_tasks_and_late_reports_revive_nothing() {
    let mut task = placed(2);
    let mut report = first_report(&task);
    report.containers_fact = ContainersFact::Running;
    report.interface = InterfaceFact::Attached;
    for container in &mut report.containers {
        container.phase = ContainerPhase::Running;
    }
    assert!(task.observe(&report, NOW));
    assert_eq!(task.last_status(), TaskStatus::Running);
    assert!(task.lose_instance("the instance is gone", NOW));
    assert_eq!(task.last_status(), TaskStatus::Stopped);
    let version = task.version;
    assert!(!task.observe(&report, NOW));
    assert!(!task.lose_instance("again", NOW));
    assert_eq!((task.last_status(), task.version), (TaskStatus::Stopped, version));
}
