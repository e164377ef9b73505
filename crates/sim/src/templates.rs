//! What the users of a run ask for. What a container's program does is said by its image's name, as
//! in `exit 1 after 5`.

use crate::random::Random;
use model::task_definition::*;

/// What a program does once it is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Program {
    /// Until a signal.
    Runs,
    /// Until SIGKILL.
    Stubborn,
    /// By itself.
    Exits { code: i32, after_ms: i64 },
    /// It isn't in its image.
    Missing,
}

impl Program {
    pub fn of(image: &str) -> Self {
        let mut words = image.split(' ');
        match words.next() {
            Some("stubborn") => Self::Stubborn,
            Some("missing") => Self::Missing,
            Some("exit") => {
                let mut number = || words.next().and_then(|w| w.parse().ok()).unwrap_or(0);
                let (code, after_ms) = (number(), number());
                Self::Exits { code, after_ms: i64::from(after_ms) }
            }
            _ => Self::Runs,
        }
    }
}

fn container(name: &str, image: &str, essential: bool) -> ContainerTemplate {
    ContainerTemplate {
        name: name.to_owned(),
        image: image.to_owned(),
        essential,
        stop_timeout_seconds: 10,
        ..ContainerTemplate::default()
    }
}

fn needs(
    mut container: ContainerTemplate,
    on: &str,
    condition: DependencyCondition,
) -> ContainerTemplate {
    container.depends_on.push(Dependency { container: on.to_owned(), condition });
    container
}

fn checked(mut container: ContainerTemplate) -> ContainerTemplate {
    container.start_timeout_seconds = Some(20);
    container.health_check = Some(HealthCheck {
        command: vec!["CMD".to_owned(), "true".to_owned()],
        interval_seconds: 5,
        timeout_seconds: 2,
        retries: 3,
        start_period_seconds: 0,
    });
    container
}

fn restarted(mut container: ContainerTemplate) -> ContainerTemplate {
    container.restart_policy = Some(RestartPolicy {
        enabled: true,
        ignored_exit_codes: vec![9],
        attempt_period_seconds: 8,
    });
    container
}

/// The tasks of a service go on until they are told to end.
pub fn of_service() -> TaskTemplate {
    TaskTemplate {
        cpu_units: 256,
        memory_mib: 512,
        ephemeral_storage_gib: 20,
        cpu_architecture: "X86_64".to_owned(),
        containers: vec![container("app", "run", true)],
        ..TaskTemplate::default()
    }
}

pub fn random(random: &mut Random) -> TaskTemplate {
    use DependencyCondition::{Complete, Healthy, Start, Success};
    let image =
        (*random.pick(&["run", "run", "stubborn", "exit 0 4000", "exit 1 9000", "missing"]))
            .to_owned();
    let once = *random.pick(&["exit 0 1500", "exit 0 1500", "exit 3 700", "run"]);
    let containers = match random.below(6) {
        0 | 1 => vec![container("app", &image, true)],
        2 => vec![
            needs(container("app", &image, true), "init", *random.pick(&[Success, Complete])),
            checked(container("init", once, false)),
        ],
        3 => vec![
            needs(container("app", &image, true), "db", *random.pick(&[Start, Healthy])),
            checked(container("db", "run", true)),
        ],
        4 => {
            vec![
                restarted(container("app", random.pick::<&str>(&["exit 1 9500", "run"]), true)),
                container("side", &image, false),
            ]
        }
        _ => vec![
            needs(container("web", &image, true), "api", Healthy),
            needs(checked(container("api", "run", true)), "init", Success),
            checked(container("init", once, false)),
        ],
    };
    let mut template = TaskTemplate {
        cpu_units: *random.pick(&[256, 512, 1024]),
        memory_mib: *random.pick(&[512, 1024, 2048]),
        ephemeral_storage_gib: 20,
        cpu_architecture: "X86_64".to_owned(),
        containers,
        ..TaskTemplate::default()
    };
    // Some write logs, which must have left before their sandbox goes.
    if random.below(2) == 0 {
        template.containers[0].log = Some(LogConfiguration {
            group: "g".to_owned(),
            region: "r".to_owned(),
            stream_prefix: "p".to_owned(),
            create_group: true,
            non_blocking: true,
            buffer_bytes_max: 1 << 20,
            multiline_pattern: None,
            datetime_format: None,
        });
    }
    template
}
