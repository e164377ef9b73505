//! Addresses over many lives: thousands of tasks share a few dozen addresses while their agent is
//! killed and its sessions are cut. The fake kernel refuses to have two sandboxes at one address,
//! and to make one that its VPC's table does not let in; what is held in the end is looked at here.

use crate::world::{World, container};
use model::facts::TaskStatus;
use model::network::{Cidr, NetworkInterface, Subnet};
use std::collections::BTreeSet;
use std::time::Duration;

const LIVES: usize = 10_000;
/// As many as the instance has room for.
const AT_ONCE: usize = 8;
/// 59 addresses to give.
const RANGE: &str = "172.31.0.0/26";

#[tokio::test(start_paused = true)]
async fn no_address_is_given_twice_in_ten_thousand_lives() {
    let mut world = World::new().await;
    let cidr = Cidr::parse(RANGE).expect("a range");
    let mut txn = world.store.begin();
    let now = model::Timestamp(1_000_000_000_000);
    txn.put(Subnet::new("subnet-1".into(), "vpc-1".into(), cidr, "us-east-1a".into(), now));
    txn.commit().await.expect("committed");
    let cuts = [None, Some(Duration::from_millis(40)), Some(Duration::from_millis(200))];
    world.start_agent(None).await;
    let mut used = BTreeSet::new();
    for wave in 0..LIVES / AT_ONCE {
        let mut ids = Vec::new();
        for n in 0..AT_ONCE {
            // Some end by themselves and some are stopped, at whatever point they are.
            let program = if n % 4 == 3 { "run" } else { "exit 0" };
            ids.push(world.run(vec![container("main", program)]).await);
        }
        if wave % 5 == 4 {
            world.kill_agent().await;
            world.start_agent(cuts[wave % cuts.len()]).await;
        }
        for id in ids.iter().skip(3).step_by(4) {
            world.stop(id).await;
        }
        for id in &ids {
            let task = world.until_status(id, TaskStatus::Stopped).await;
            used.extend(task.interface.as_ref().map(|interface| interface.private_ip));
        }
        let snapshot = world.store.snapshot();
        let held = snapshot.scan::<NetworkInterface>("").map(|(_, one)| one.private_ip);
        let mut distinct = BTreeSet::new();
        assert!(held.into_iter().all(|address| distinct.insert(address)), "wave {wave}");
    }
    assert!(used.len() > 50, "they go round: {}", used.len());
    world.until("everything given back", World::holds_nothing).await;
    assert_eq!(world.kernel.task_count(), 0);
}
