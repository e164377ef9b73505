//! Placing is not a search over all instances. The test compares how the cost of one decision grows
//! with the fleet, not with a clock's absolute word: a fleet sixteen times as large must not cost
//! four times as much.

use model::{TaskId, Timestamp};
use plan::placement::{Demand, Fleet, InstanceRoom, Spread, SubnetRoom};
use std::time::{Duration, Instant};

const DECISIONS: u32 = 20_000;

fn decide(instances: u32) -> Duration {
    let zones = ["za", "zb", "zc"];
    let rooms: Vec<InstanceRoom> = (0..instances)
        .map(|n| InstanceRoom {
            id: format!("{n:08}").into(),
            zone: zones[n as usize % 3].into(),
            cpu_architecture: "X86_64".to_owned(),
            // Many different rooms, and many that have one thing but not the other.
            cpu_units_free: 256 * (n * 7919 % 64) * (1 + (80_000 / instances)),
            memory_mib_free: 512 * (n * 104_729 % 256) * (1 + (80_000 / instances)),
            open: true,
        })
        .collect();
    let subnets: Vec<_> = zones
        .iter()
        .enumerate()
        .map(|(n, zone)| {
            let cidr = model::network::Cidr::parse(&format!("10.{n}.0.0/16")).expect("valid");
            let (id, zone) = (format!("s{n}").into(), (*zone).into());
            model::network::Subnet::new(id, "vpc".into(), cidr, zone, Timestamp(0))
        })
        .collect();
    let subnets: Vec<_> = subnets.iter().map(|subnet| SubnetRoom { subnet, pool: None }).collect();
    let mut fleet = Fleet::new(&rooms, &subnets, Spread::new());
    let mut demand = Demand {
        task: TaskId::mint(1),
        cpu_units: 256,
        memory_mib: 512,
        cpu_architecture: "X86_64".to_owned(),
        subnets: ["s0", "s1", "s2"].map(Into::into).to_vec(),
        group: "family:f".to_owned(),
    };
    let begun = Instant::now();
    for n in 0..DECISIONS {
        demand.cpu_units = 256 << (n % 3);
        demand.memory_mib = 512 << (n % 5);
        fleet.place(&demand).expect("there is room");
    }
    begun.elapsed()
}

#[test]
fn a_decision_hardly_costs_more_in_a_larger_fleet() {
    let best = |instances| (0..3).map(|_| decide(instances)).min().expect("three");
    let (small, large) = (best(500), best(8000));
    assert!(
        large < small * 4,
        "{DECISIONS} decisions: {small:?} with 500 instances, {large:?} with 8000"
    );
    println!("{DECISIONS} decisions: {small:?} with 500 instances, {large:?} with 8000");
}
