//! Machines that joined: who is let in, and what a session may do that is known by its certificate.
//! The agent is played by the test, message by message, so that it may claim what it likes.

use crate::world::{GROUP, World, container};
use manager::{Certified, JoinFailure, Origin};
use model::InstanceId;
use model::container::ContainerPhase;
use model::facts::{ContainersFact, InterfaceFact, TaskStatus};
use model::frame;
use model::instance::{Instance, InstanceState};
use model::join::{AgentCertificate, JoinToken};
use model::session::{
    Hello, LogBatch, LogFailure, LogLine, PROTOCOL_VERSION, ReportTimes, TaskReport, ToAgent,
    ToControl,
};
use model::{ClusterName, TaskId, Timestamp};
use std::collections::BTreeMap;
use store::TransactFailure;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// The other end of a session.
struct Player {
    stream: DuplexStream,
    read: Vec<u8>,
}

impl Player {
    fn call(world: &World, origin: Origin) -> Self {
        let (stream, theirs) = tokio::io::duplex(1 << 20);
        let manager = world.manager.clone();
        tokio::spawn(async move { manager.serve_agent(origin, theirs).await });
        Self { stream, read: Vec::new() }
    }

    async fn say(&mut self, message: &ToControl) {
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes).expect("it fits");
        self.stream.write_all(&bytes).await.expect("the session is there");
    }

    async fn hear(&mut self) -> ToAgent {
        loop {
            if let Some((message, used)) = frame::decode(&self.read).expect("a message") {
                self.read.drain(..used);
                return message;
            }
            let count = self.stream.read_buf(&mut self.read).await.expect("readable");
            assert!(count > 0, "the session ended");
        }
    }

    /// The first message that is one of these.
    async fn hear_of<T>(&mut self, wanted: impl Fn(ToAgent) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.hear().await) {
                return found;
            }
        }
    }
}

fn refusal(message: ToAgent) -> Option<(String, bool)> {
    match message {
        ToAgent::Refused { reason, retry } => Some((reason, retry)),
        _ => None,
    }
}

fn hello(instance: Option<&str>, tasks: Vec<TaskReport>) -> ToControl {
    ToControl::Hello(Hello {
        protocol: PROTOCOL_VERSION,
        instance: instance.map(InstanceId::from),
        name: "elsewhere".to_owned(),
        cpu_architecture: "X86_64".to_owned(),
        cpu_units: 1024,
        memory_mib: 1024,
        boot_id: "boot".to_owned(),
        agent_version: "test".to_owned(),
        zone: None,
        underlay: None,
        tasks,
    })
}

fn report(task: &TaskId, interface: InterfaceFact) -> TaskReport {
    TaskReport {
        task: task.clone(),
        cluster: ClusterName::from("default"),
        containers_fact: ContainersFact::Stopped,
        interface,
        containers: Vec::new(),
        times: ReportTimes::default(),
        stop: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_that_of_its_certificate() {
    let world = World::new().await;
    let mut impostor = Player::call(&world, Origin::Joined("mine".into()));
    impostor.say(&hello(Some("theirs"), Vec::new())).await;
    let (reason, retry) = impostor.hear_of(refusal).await;
    assert_eq!(reason, "the certificate is that of instance mine, not of theirs");
    assert!(!retry && world.store.snapshot().get::<Instance>("theirs").is_none());
    let mut itself = Player::call(&world, Origin::Joined("mine".into()));
    itself.say(&hello(None, Vec::new())).await;
    let welcome = itself.hear().await;
    assert!(matches!(welcome, ToAgent::Welcome { instance, .. } if instance.as_str() == "mine"));
}

#[tokio::test(start_paused = true)]
async fn a_zone_has_to_be_one_of_the_region() {
    let world = World::new().await;
    for (zone, good) in [("us-east-1c", true), ("us-east-1", false), ("eu-west-1a", false)] {
        let mut player = Player::call(&world, Origin::Joined("mine".into()));
        let ToControl::Hello(mut said) = hello(None, Vec::new()) else { unreachable!() };
        said.zone = Some(zone.into());
        player.say(&ToControl::Hello(said)).await;
        assert_eq!(matches!(player.hear().await, ToAgent::Welcome { .. }), good, "{zone}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_others_can_neither_be_reported_on_nor_written_to() {
    let mut world = World::new().await;
    world.start_agent(None).await;
    let task = world.run(vec![container("main", "run")]).await;
    world.until_status(&task, TaskStatus::Running).await;
    let mut other = Player::call(&world, Origin::Joined("other".into()));
    other.say(&hello(None, vec![report(&task, InterfaceFact::Released)])).await;
    let stopped = report(&task, InterfaceFact::Released);
    other.say(&ToControl::Report { number: 1, report: stopped }).await;
    let heard = |message| matches!(message, ToAgent::Reported { number: 1 }).then_some(());
    other.hear_of(heard).await;
    let running = world.get(&task);
    assert_eq!(running.last_status(), TaskStatus::Running);
    assert_eq!(running.containers[0].phase, ContainerPhase::Running);
    let batch = |stream: String, create_group| LogBatch {
        task: task.clone(),
        cluster: Some("default".into()),
        container: "main".to_owned(),
        group: GROUP.to_owned(),
        stream,
        create_group,
        offset: 0,
        end: 1,
        events: vec![LogLine { at: Timestamp(0), message: "forged".to_owned() }],
    };
    for stream in [format!("p/main/{task}"), "somebody/main/else".to_owned()] {
        other.say(&ToControl::Logs(batch(stream, false))).await;
        let answered = |message| match message {
            ToAgent::Logged { failure, .. } => Some(failure),
            _ => None,
        };
        assert_eq!(other.hear_of(answered).await, Some(LogFailure::NotYours));
    }
    other.say(&ToControl::KeysWanted { task: task.clone(), cluster: "default".into() }).await;
    let keys = |message| match message {
        ToAgent::Keys { keys, .. } => Some(keys),
        _ => None,
    };
    assert_eq!(other.hear_of(keys).await, None);
    assert!(world.lines(&task, "main").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_instance_is_dismissed_when_nothing_is_left_of_it() {
    let world = World::new().await;
    let task = TaskId::from("0123");
    let mut back = Player::call(&world, Origin::Forgotten("gone".into()));
    back.say(&hello(None, vec![report(&task, InterfaceFact::Attached)])).await;
    let list = back.hear().await;
    assert!(matches!(list, ToAgent::Assignments { tasks, .. } if tasks.is_empty()));
    back.say(&ToControl::Heartbeat).await;
    let released = report(&task, InterfaceFact::Released);
    back.say(&ToControl::Report { number: 1, report: released }).await;
    assert!(matches!(back.hear().await, ToAgent::Reported { number: 1 }));
    let (reason, retry) = back.hear_of(refusal).await;
    assert!(reason.contains("forgotten") && !retry, "{reason}");
    assert!(world.store.snapshot().get::<Instance>("gone").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_token_lets_in_as_many_as_it_says_until_it_ends() {
    let world = World::new().await;
    let now = world.now();
    let token = JoinToken {
        id: "t".to_owned(),
        secret_sha256: "secret".to_owned(),
        created_at: now,
        expires_at: now.plus_seconds(60),
        uses_max: 2,
        used: BTreeMap::new(),
    };
    let mut txn = world.store.begin();
    txn.put(token);
    txn.commit().await.expect("committed");
    let join = async |token: &str, secret: &str, key: &str| {
        world.manager.join(token, secret, key).await.map_err(|failure| match failure {
            TransactFailure::Aborted(refused) => refused,
            other => panic!("{other}"),
        })
    };
    assert!(matches!(join("u", "secret", "k").await, Err(JoinFailure::UnknownToken)));
    assert!(matches!(join("t", "other", "k").await, Err(JoinFailure::UnknownToken)));
    let first = join("t", "secret", "key one").await.expect("let in");
    assert_eq!(join("t", "secret", "key one").await.expect("the same again"), first);
    assert_ne!(join("t", "secret", "key two").await.expect("let in"), first);
    assert!(matches!(join("t", "secret", "key three").await, Err(JoinFailure::UsedToken)));
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    let late = join("t", "secret", "key one").await;
    assert!(matches!(late, Err(JoinFailure::ExpiredToken | JoinFailure::UnknownToken)));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_good_while_it_is_written_down_and_not_revoked() {
    let world = World::new().await;
    let now = world.now();
    let certificate = |fingerprint: &str| AgentCertificate {
        fingerprint: fingerprint.to_owned(),
        instance: "mine".into(),
        issued_at: now,
        expires_at: now.plus_seconds(3600),
        revoked_at: None,
    };
    assert_eq!(world.manager.certified("one"), Certified::Unknown);
    world.manager.certify(certificate("one"), None).await.expect("written");
    assert_eq!(world.manager.certified("one"), Certified::Instance("mine".into()));
    let renewed = world.manager.certify(certificate("two"), Some("one".to_owned())).await;
    renewed.expect("it takes the other's place");
    let mut txn = world.store.begin();
    txn.put(AgentCertificate { revoked_at: Some(now), ..certificate("one") });
    txn.commit().await.expect("committed");
    assert_eq!(world.manager.certified("one"), Certified::Forgotten("mine".into()));
    let third = world.manager.certify(certificate("three"), Some("one".to_owned())).await;
    assert!(matches!(third, Err(TransactFailure::Aborted(JoinFailure::Revoked))));
    // What an instance has of certificates is nothing once it is being forgotten.
    let mut player = Player::call(&world, Origin::Joined("mine".into()));
    player.say(&hello(None, Vec::new())).await;
    assert!(matches!(player.hear().await, ToAgent::Welcome { .. }));
    let mut txn = world.store.begin();
    let known = txn.get::<Instance>("mine").expect("registered");
    txn.put(Instance { state: InstanceState::Forgotten, ..(*known).clone() });
    txn.commit().await.expect("committed");
    assert_eq!(world.manager.certified("two"), Certified::Forgotten("mine".into()));
}
