//! A service behind a load balancer whose process is made up: what it says is said by the test.
//! Tasks become targets when they run, count as healthy when it says so, and are told to end only
//! when it says that nothing is in flight any more, or when the delay is over.

use crate::world::{World, container};
use model::balancing::*;
use model::facts::TaskStatus;
use model::frame;
use model::service::*;
use model::task::{NetworkRequest, Task};
use model::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::kinds::{service_key, target_key};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

const GROUP: &str = "0123456789abcdef";
const DELAY_SECONDS: u64 = 300;

fn health_check() -> HealthCheck {
    HealthCheck {
        enabled: true,
        protocol: Protocol::Http,
        port: None,
        path: "/".to_owned(),
        interval_seconds: 30,
        timeout_seconds: 5,
        healthy_threshold: 5,
        unhealthy_threshold: 2,
        matcher: "200".to_owned(),
    }
}

/// A load balancer with a listener that leads to a group without targets.
async fn make_balancer(world: &World) {
    let (now, vpc) = (world.now(), VpcId::from("vpc-1"));
    let groups = vec![(TargetGroupId::from(GROUP), 1)];
    let forward = Forward { groups, sticky_seconds: None, unsticky_seconds: None };
    let mut txn = world.store.begin();
    txn.put(TargetGroup {
        id: GROUP.into(),
        name: "web".to_owned(),
        kind: TargetKind::Ip,
        protocol: Protocol::Http,
        version: ProtocolVersion::Http1,
        port: 80,
        vpc: vpc.clone(),
        health_check: health_check(),
        attributes: BTreeMap::new(),
        created_at: now,
        tags: Tags::new(),
    });
    txn.put(LoadBalancer {
        id: "lb".into(),
        name: "lb".to_owned(),
        kind: BalancerKind::Application,
        internal: false,
        vpc,
        subnets: vec!["subnet-1".into()],
        security_groups: Vec::new(),
        interfaces: Vec::new(),
        dns_name: "lb-1.us-east-1.elb.amazonaws.com".to_owned(),
        attributes: BTreeMap::new(),
        created_at: now,
        tags: Tags::new(),
    });
    txn.put(Listener {
        id: "listener".into(),
        load_balancer: "lb".into(),
        protocol: Protocol::Http,
        port: 80,
        ssl_policy: None,
        certificates: Vec::new(),
        default_actions: vec![Action::Forward(forward)],
        action_order: None,
        attributes: BTreeMap::new(),
        created_at: now,
        tags: Tags::new(),
    });
    txn.commit().await.expect("committed");
}

async fn make_service(world: &World, desired_count: u32) {
    let (family, revision) = (Family::from("web"), TaskDefinitionRevision(1));
    world.define(&family, revision, vec![container("main", "run")]).await;
    let arn =
        format!("arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/web/{GROUP}");
    let link = ServiceLoadBalancer {
        target_group_arn: arn,
        container_name: "main".to_owned(),
        container_port: 80,
    };
    let subnets = vec![SubnetId::from("subnet-1")];
    let template = ServiceTemplate {
        family,
        revision,
        launch_type: Some("FARGATE".to_owned()),
        strategy: Vec::new(),
        platform_version: "1.4.0".to_owned(),
        network: NetworkRequest { subnets, ..NetworkRequest::default() },
        enable_execute_command: false,
        load_balancers: vec![link],
        registries: Vec::new(),
        connect: None,
    };
    let mut txn = world.store.begin();
    txn.put(Service {
        name: "web".into(),
        cluster: "default".into(),
        status: ServiceStatus::Active,
        desired_count,
        wanted: WantedDeployment {
            id: DeploymentId::mint(1),
            revision_number: 1,
            template: Arc::new(template),
            asked_at: world.now(),
        },
        rules: DeploymentRules {
            maximum_percent: 200,
            minimum_healthy_percent: 100,
            circuit_breaker: false,
            rollback: false,
            document: Document::default(),
        },
        health_check_grace_period_seconds: None,
        az_rebalancing: false,
        propagate_tags: None,
        enable_managed_tags: false,
        tags: Tags::new(),
        created_at: world.now(),
        created_by: "test".to_owned(),
        abort: None,
        client_token: None,
    });
    txn.commit().await.expect("committed");
}

async fn scale(world: &World, desired_count: u32) {
    let key = service_key(&"default".into(), &"web".into());
    let scaled = world.store.transact(|txn| {
        let service = txn.get::<Service>(&key).expect("the service is there");
        txn.put(Service { desired_count, ..(*service).clone() });
        Ok::<(), std::convert::Infallible>(())
    });
    scaled.await.expect("committed");
}

/// The other end of the link.
struct FakeBalancer {
    stream: DuplexStream,
    read: Vec<u8>,
    table: Arc<BalancerTable>,
}

impl FakeBalancer {
    fn connect(world: &World) -> Self {
        let (stream, theirs) = tokio::io::duplex(64 * 1024);
        let manager = world.manager.clone();
        tokio::spawn(async move { manager.serve_balancer(theirs).await });
        Self { stream, read: Vec::new(), table: Arc::default() }
    }

    fn targets(&self) -> &[TargetEntry] {
        self.table.groups.get(GROUP).map_or(&[], |group| &group.targets)
    }

    /// Learns tables until one is as it should be.
    async fn until(&mut self, what: &str, holds: impl Fn(&[TargetEntry]) -> bool) {
        let learning = async {
            while !holds(self.targets()) {
                match frame::decode(&self.read).expect("valid") {
                    Some((ToBalancer::Table { table, .. }, bytes)) => {
                        self.read.drain(..bytes);
                        self.table = table;
                    }
                    Some((other, _)) => panic!("{other:?}"),
                    None => drop(self.stream.read_buf(&mut self.read).await.expect("open")),
                }
            }
        };
        let patience = Duration::from_secs(3600);
        assert!(tokio::time::timeout(patience, learning).await.is_ok(), "never: {what}");
    }

    async fn say(&mut self, id: &str, state: TargetState, drained: bool) {
        let key = TargetKey { group: GROUP.into(), id: id.to_owned(), port: 80 };
        let found = vec![(key, Found { state, reason: None, description: None, drained })];
        let mut bytes = Vec::new();
        let message = FromBalancer::Found { everything: false, found };
        frame::encode(&message, &mut bytes).expect("fits");
        self.stream.write_all(&bytes).await.expect("open");
    }

    async fn all_healthy(&mut self) {
        for id in self.targets().iter().map(|it| it.id.clone()).collect::<Vec<_>>() {
            self.say(&id, TargetState::Healthy, false).await;
        }
    }
}

fn tasks(world: &World, status: TaskStatus) -> Vec<Arc<Task>> {
    let snapshot = world.store.snapshot();
    let all = snapshot.scan::<Task>("").map(|(_, task)| task);
    all.filter(|task| task.last_status() == status).collect()
}

fn rollout(world: &World) -> Option<Rollout> {
    let key = service_key(&"default".into(), &"web".into());
    let progress = world.store.snapshot().get::<ServiceProgress>(&key)?;
    progress.primary().map(|primary| primary.rollout)
}

fn address(task: &Task) -> String {
    task.interface.as_ref().expect("it has one").private_ip.to_string()
}

async fn two_healthy_tasks() -> (World, FakeBalancer) {
    let mut world = World::new().await;
    world.start_agent(None).await;
    make_balancer(&world).await;
    let mut balancer = FakeBalancer::connect(&world);
    make_service(&world, 2).await;
    world.until("two run", |world| tasks(world, TaskStatus::Running).len() == 2).await;
    balancer.until("two targets", |targets| targets.len() == 2).await;
    world.settle().await;
    assert_eq!(rollout(&world), Some(Rollout::InProgress), "nobody has said that they are well");
    balancer.all_healthy().await;
    world.until("complete", |world| rollout(world) == Some(Rollout::Completed)).await;
    (world, balancer)
}

#[tokio::test(start_paused = true)]
async fn a_task_is_told_to_end_when_its_last_request_is_over() {
    let (world, mut balancer) = two_healthy_tasks().await;
    scale(&world, 1).await;
    balancer.until("one drains", |targets| targets.iter().any(|it| it.draining)).await;
    world.settle().await;
    let leaving = tasks(&world, TaskStatus::Deactivating).pop().expect("one drains");
    assert!(leaving.execution_stopped_at.is_none(), "its containers were told");
    let draining = balancer.targets().iter().find(|it| it.draining).expect("one drains");
    assert_eq!(draining.id, address(&leaving));
    balancer.say(&address(&leaving), TargetState::Healthy, true).await;
    world.until_status(&leaving.id, TaskStatus::Stopped).await;
    balancer.until("one is left", |targets| targets.len() == 1).await;
    let key = target_key(&GROUP.into(), &address(&leaving), 80);
    assert!(world.store.snapshot().get::<TargetHealth>(&key).is_none());
    assert_eq!(tasks(&world, TaskStatus::Running).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_that_never_end_are_given_the_delay_and_no_more() {
    let (world, mut balancer) = two_healthy_tasks().await;
    let first = tasks(&world, TaskStatus::Running).pop().expect("one runs");
    // By hand: the service's task drains all the same, and is replaced meanwhile.
    let asked_at = world.now();
    world.stop(&first.id).await;
    balancer.until("it drains", |targets| targets.iter().any(|it| it.draining)).await;
    balancer.until("another comes", |targets| targets.len() == 3).await;
    let stopped = world.until_status(&first.id, TaskStatus::Stopped).await;
    let told_at = stopped.deregistered_at.expect("it was let go");
    let delay = i64::try_from(DELAY_SECONDS * 1000).expect("small");
    assert!((delay..delay + 5_000).contains(&told_at.since_ms(asked_at)), "{told_at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_by_itself_is_no_target_any_more_at_once() {
    let (world, mut balancer) = two_healthy_tasks().await;
    let first = tasks(&world, TaskStatus::Running).pop().expect("one runs");
    world.kernel.exit(&first.id, "main", 1);
    let gone = address(&first);
    balancer.until("it is gone", |targets| targets.iter().all(|it| it.id != gone)).await;
    world.until("replaced", |world| tasks(world, TaskStatus::Running).len() == 2).await;
}

#[tokio::test(start_paused = true)]
async fn targets_registered_by_hand_drain_too_and_nobody_waits_for_a_group_out_of_use() {
    let world = World::new().await;
    make_balancer(&world).await;
    let mut balancer = FakeBalancer::connect(&world);
    let put = async |ids: &[&str], draining: bool| {
        let mut txn = world.store.begin();
        for id in ids {
            txn.put(Target {
                group: GROUP.into(),
                id: (*id).to_owned(),
                address: id.parse().expect("an address"),
                port: 80,
                zone: None,
                task: None,
                registered_at: world.now(),
                draining_since: draining.then(|| world.now()),
            });
        }
        txn.commit().await.expect("committed");
    };
    let all = ["172.31.0.10", "172.31.0.11"];
    put(&all, false).await;
    balancer.until("both", |targets| targets.len() == 2).await;
    put(&all, true).await;
    balancer.until("both drain", |targets| targets.iter().all(|it| it.draining)).await;
    // What was said before it was taken back is no word about the next time.
    balancer.say(all[0], TargetState::Unhealthy, true).await;
    balancer.until("one is gone", |targets| targets.len() == 1).await;
    put(&all[1..], false).await;
    balancer.say(all[1], TargetState::Healthy, true).await;
    world.settle().await;
    put(&all[1..], true).await;
    balancer.until("it drains again", |targets| targets.iter().any(|it| it.draining)).await;
    world.settle().await;
    assert_eq!(world.store.snapshot().count::<Target>(""), 1);
    let mut txn = world.store.begin();
    txn.delete::<Listener>(&store::kinds::listener_key(&"lb".into(), &"listener".into()));
    txn.commit().await.expect("committed");
    world.until("gone", |world| world.store.snapshot().count::<Target>("") == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_control_plane_that_comes_back_starts_nothing_anew_and_tells_nothing_twice() {
    let (world, _balancer) = two_healthy_tasks().await;
    let key = service_key(&"default".into(), &"web".into());
    let events = |world: &World| {
        let progress = world.store.snapshot().get::<ServiceProgress>(&key).expect("planned");
        progress.events.len()
    };
    let before = events(&world);
    // Loops that begin with what there is, as after a restart; which of them looks first is chance.
    for _ in 0..8 {
        let manager = world.manager.clone();
        tokio::spawn(async move { manager.run().await });
        world.settle().await;
    }
    assert_eq!(world.store.snapshot().count::<Task>(""), 2);
    assert_eq!(events(&world), before);
}

#[tokio::test(start_paused = true)]
async fn services_that_rest_replace_nothing() {
    let (world, mut balancer) = two_healthy_tasks().await;
    world.manager.rest_services();
    let all = tasks(&world, TaskStatus::Running);
    for task in &all {
        world.stop(&task.id).await;
    }
    balancer.until("both drain", |targets| targets.iter().all(|it| it.draining)).await;
    for task in &all {
        balancer.say(&address(task), TargetState::Healthy, true).await;
        world.until_status(&task.id, TaskStatus::Stopped).await;
    }
    world.settle().await;
    assert_eq!(world.store.snapshot().count::<Task>(""), 2);
}
