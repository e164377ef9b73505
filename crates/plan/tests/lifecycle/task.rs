//! Assignments for the tests, and an actor like the agent's: it folds an event in and asks for what
//! is next.

use model::facts::{ContainersFact, Desired};
use model::session::{Assignment, Inside, TaskReport};
use model::task::TaskInterface;
use model::task_definition::*;
use model::{TaskDefinitionRevision, TaskId, Timestamp};
use plan::lifecycle::*;
use std::sync::Arc;

pub const BEGIN: Timestamp = Timestamp(1_000_000);

pub fn container(name: &str, essential: bool) -> ContainerTemplate {
    ContainerTemplate {
        name: name.to_owned(),
        image: "image".to_owned(),
        essential,
        stop_timeout_seconds: 30,
        ..ContainerTemplate::default()
    }
}

pub fn needs(
    mut container: ContainerTemplate,
    on: &str,
    condition: DependencyCondition,
) -> ContainerTemplate {
    container.depends_on.push(Dependency { container: on.to_owned(), condition });
    container
}

pub fn checked(mut container: ContainerTemplate) -> ContainerTemplate {
    container.health_check = Some(HealthCheck {
        command: vec!["CMD".to_owned(), "true".to_owned()],
        interval_seconds: 30,
        timeout_seconds: 5,
        retries: 3,
        start_period_seconds: 0,
    });
    container
}

pub fn logged(mut container: ContainerTemplate) -> ContainerTemplate {
    container.log = Some(LogConfiguration {
        group: "g".to_owned(),
        region: "r".to_owned(),
        stream_prefix: "p".to_owned(),
        create_group: false,
        non_blocking: true,
        buffer_bytes_max: 1,
        multiline_pattern: None,
        datetime_format: None,
    });
    container
}

pub fn restarted(
    mut container: ContainerTemplate,
    period_seconds: u32,
    ignored: &[i32],
) -> ContainerTemplate {
    container.restart_policy = Some(RestartPolicy {
        enabled: true,
        ignored_exit_codes: ignored.to_vec(),
        attempt_period_seconds: period_seconds,
    });
    container
}

pub fn assignment(containers: Vec<ContainerTemplate>) -> Assignment {
    let template = TaskTemplate { containers, ..TaskTemplate::default() };
    Assignment {
        task: TaskId::mint(1),
        cluster: "default".into(),
        task_arn: String::new(),
        cluster_arn: String::new(),
        family: "f".into(),
        revision: TaskDefinitionRevision(1),
        desired: Desired::Running,
        container_ids: Vec::new(),
        template: Arc::new(template),
        interface: Some(TaskInterface {
            attachment: "a".into(),
            interface: "eni".into(),
            vpc: "vpc".into(),
            subnet: "subnet".into(),
            private_ip: std::net::Ipv4Addr::new(10, 0, 0, 4),
            public_ip: None,
            mac: String::new(),
            private_dns_name: String::new(),
            resolving: None,
        }),
        subnet: None,
        containers_fact: ContainersFact::Unseen,
        start_failure: None,
        registry_credentials: std::collections::BTreeMap::new(),
        secrets: std::collections::BTreeMap::new(),
        launch_type: None,
        zone: "z".into(),
        region: "r".to_owned(),
        inside: Inside::default(),
    }
}

/// An agent's actor for one task.
pub struct Actor {
    pub assignment: Assignment,
    pub observed: Observed,
    pub now: Timestamp,
    pub wake_at: Option<Timestamp>,
    pub report: TaskReport,
    pub finished: bool,
}

impl Actor {
    /// Its first decision comes with it.
    pub fn new(assignment: Assignment) -> (Self, Vec<Step>) {
        let observed = Observed::new(&assignment.template);
        Self::with(assignment, observed)
    }

    pub fn with(assignment: Assignment, mut observed: Observed) -> (Self, Vec<Step>) {
        let next = step(&assignment, &mut observed, BEGIN);
        let Next { steps, wake_at, report, finished } = next;
        (Self { assignment, observed, now: BEGIN, wake_at, report, finished }, steps)
    }

    pub fn next(&mut self) -> Vec<Step> {
        let next = step(&self.assignment, &mut self.observed, self.now);
        self.wake_at = next.wake_at;
        self.report = next.report;
        self.finished = next.finished;
        next.steps
    }

    pub fn tell(&mut self, event: &Event) -> Vec<Step> {
        self.observed.observe(event);
        self.next()
    }

    /// Nothing happens until the time comes that the last decision named.
    pub fn sleep(&mut self) -> Vec<Step> {
        self.now = self.wake_at.expect("something to wait for");
        self.next()
    }

    pub fn pass(&mut self, seconds: i64) -> Vec<Step> {
        self.now = self.now.plus_seconds(seconds);
        self.next()
    }

    pub fn pulled(&mut self, name: &str) -> Vec<Step> {
        let at = self.now;
        self.tell(&Event::ImagePulled { container: name.to_owned(), digest: None, at })
    }

    pub fn ready(&mut self) -> Vec<Step> {
        self.tell(&Event::SandboxReady { at: self.now })
    }

    pub fn started(&mut self, name: &str) -> Vec<Step> {
        let attempt = self.attempt(name);
        let at = self.now;
        self.tell(&Event::ContainerStarted { container: name.to_owned(), attempt, at })
    }

    pub fn start_failed(&mut self, name: &str, reason: &str) -> Vec<Step> {
        self.tell(&Event::StartFailed {
            container: name.to_owned(),
            attempt: self.attempt(name),
            reason: reason.to_owned(),
            code: 127,
            at: self.now,
        })
    }

    pub fn exited(&mut self, name: &str, code: i32) -> Vec<Step> {
        let exit = Exit { code, signal: None, out_of_memory: false, at: self.now };
        let attempt = self.attempt(name);
        self.tell(&Event::ContainerExited { container: name.to_owned(), attempt, exit })
    }

    pub fn health(&mut self, name: &str, health: model::container::Health) -> Vec<Step> {
        let (attempt, at) = (self.attempt(name), self.now);
        self.tell(&Event::Health { container: name.to_owned(), attempt, health, at })
    }

    pub fn drained(&mut self, name: &str) -> Vec<Step> {
        self.tell(&Event::LogDrained { container: name.to_owned() })
    }

    pub fn removed(&mut self) -> Vec<Step> {
        self.tell(&Event::SandboxRemoved { at: self.now })
    }

    pub fn attempt(&self, name: &str) -> u32 {
        self.observed.container(name).expect("a container of the task").attempt
    }
}

pub fn create() -> Step {
    Step::CreateSandbox
}

pub fn pull(name: &str) -> Step {
    Step::PullImage { container: name.to_owned() }
}

pub fn start(name: &str) -> Step {
    attempt(name, 1)
}

pub fn attempt(name: &str, attempt: u32) -> Step {
    Step::StartContainer { container: name.to_owned(), attempt }
}

pub fn stop(name: &str) -> Step {
    Step::StopContainer { container: name.to_owned() }
}

pub fn kill(name: &str) -> Step {
    Step::KillContainer { container: name.to_owned() }
}

pub fn drain(name: &str) -> Step {
    Step::DrainLog { container: name.to_owned() }
}

pub fn remove() -> Step {
    Step::RemoveSandbox
}
