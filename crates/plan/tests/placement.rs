//! Placement against a brute force that looks at every pair of instance and subnet for every task,
//! over many random fleets; and what must hold of any plan: nothing overcommitted, no address
//! twice, no reserved address, a reason for every refusal, the same answer for the same question.

use model::network::{AddressPool, Cidr, Subnet};
use model::{SubnetId, TaskId, Timestamp, ZoneName};
use plan::placement::*;
use std::collections::BTreeSet;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(self.0 >> 33).expect("31 bits") % n
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(u32::try_from(from.len()).expect("small")) as usize]
    }
}

const ZONES: [&str; 3] = ["za", "zb", "zc"];
const ARCHITECTURES: [&str; 2] = ["X86_64", "ARM64"];

fn subnet(name: &str, zone: &str, cidr: &str) -> Subnet {
    let cidr = Cidr::parse(cidr).expect("valid");
    Subnet::new(name.into(), "vpc".into(), cidr, zone.into(), Timestamp(0))
}

fn instance(name: &str, zone: &str, cpu_units: u32, memory_mib: u32) -> InstanceRoom {
    InstanceRoom {
        id: name.into(),
        zone: zone.into(),
        cpu_architecture: "X86_64".to_owned(),
        cpu_units_free: cpu_units,
        memory_mib_free: memory_mib,
        open: true,
    }
}

fn demand(n: u128, cpu_units: u32, memory_mib: u32, subnets: &[&str]) -> Demand {
    Demand {
        task: TaskId::mint(n),
        cpu_units,
        memory_mib,
        cpu_architecture: "X86_64".to_owned(),
        subnets: subnets.iter().map(|s| SubnetId::from(*s)).collect(),
        group: "family:f".to_owned(),
    }
}

struct World {
    instances: Vec<InstanceRoom>,
    subnets: Vec<Subnet>,
    pools: Vec<Option<AddressPool>>,
    demands: Vec<Demand>,
}

impl World {
    fn random(random: &mut Random) -> Self {
        let zones = 1 + random.below(3);
        let instances = (0..random.below(12)).map(|n| InstanceRoom {
            id: format!("i{}", (n * 7) % 12).into(),
            zone: ZONES[random.below(zones) as usize].into(),
            cpu_architecture: ARCHITECTURES[usize::from(random.below(5) == 0)].to_owned(),
            cpu_units_free: random.below(9) * 256,
            memory_mib_free: random.below(9) * 512,
            open: random.below(6) > 0,
        });
        let instances = instances.collect();
        let subnets: Vec<Subnet> = (0..1 + random.below(4))
            .map(|n| {
                let cidr = format!("10.0.{n}.0/{}", 27 + random.below(3));
                subnet(&format!("s{n}"), random.pick(&ZONES), &cidr)
            })
            .collect();
        let pools = subnets.iter().map(|s| random_pool(s, random)).collect();
        let names = ["s0", "s1", "s2", "s3", "s9"];
        let demands = (0..random.below(30)).map(|n| {
            let named: Vec<&str> = (0..random.below(4)).map(|_| random.pick(&names)).collect();
            Demand {
                cpu_architecture: ARCHITECTURES[usize::from(random.below(6) == 0)].to_owned(),
                group: format!("g{}", random.below(3)),
                ..demand(
                    u128::from(n),
                    [256, 512, 1024][random.below(3) as usize],
                    512 * (1 + random.below(4)),
                    &named,
                )
            }
        });
        let demands = demands.collect();
        Self { instances, subnets, pools, demands }
    }

    fn rooms(&self) -> Vec<SubnetRoom<'_>> {
        let pairs = self.subnets.iter().zip(&self.pools);
        pairs.map(|(subnet, pool)| SubnetRoom { subnet, pool: pool.as_ref() }).collect()
    }
}

fn random_pool(subnet: &Subnet, random: &mut Random) -> Option<AddressPool> {
    if random.below(3) == 0 {
        return None;
    }
    let size = u32::try_from(subnet.cidr.size()).expect("small");
    let fullness = 1 + random.below(5);
    let taken = (4..size - 1).filter(|_| random.below(fullness) > 0).collect();
    Some(AddressPool { subnet: subnet.id.clone(), taken, next: random.below(size + 3) })
}

/// The same rules, in the plainest words.
struct BruteForce<'a> {
    world: &'a World,
    free: Vec<(u32, u32)>,
    taken: Vec<BTreeSet<u32>>,
    next: Vec<u32>,
    spread: Spread,
}

impl<'a> BruteForce<'a> {
    fn new(world: &'a World, spread: Spread) -> Self {
        let pools = world.pools.iter();
        Self {
            world,
            free: world.instances.iter().map(|i| (i.cpu_units_free, i.memory_mib_free)).collect(),
            taken: pools
                .clone()
                .map(|p| p.as_ref().map_or(BTreeSet::new(), |p| p.taken.clone()))
                .collect(),
            next: pools.map(|p| p.as_ref().map_or(4, |p| p.next)).collect(),
            spread,
        }
    }

    fn tasks(&self, group: &str, zone: &ZoneName) -> u32 {
        *self.spread.get(group).and_then(|z| z.get(zone)).unwrap_or(&0)
    }

    fn next_free(&self, subnet: usize) -> Option<u32> {
        let size = u32::try_from(self.world.subnets[subnet].cidr.size()).expect("small");
        let usable = |o: &u32| (4..size - 1).contains(o) && !self.taken[subnet].contains(o);
        let round = (self.next[subnet]..size).chain(0..self.next[subnet].min(size));
        round.into_iter().find(usable)
    }

    fn place(&mut self, demand: &Demand) -> Option<Placed> {
        let world = self.world;
        let mut best = None;
        let choices: Vec<Option<(usize, usize)>> = match demand.subnets.is_empty() {
            true => vec![None],
            false => demand
                .subnets
                .iter()
                .enumerate()
                .filter_map(|(at, id)| {
                    Some(Some((at, world.subnets.iter().position(|s| s.id == *id)?)))
                })
                .filter(|choice| choice.is_some_and(|(_, s)| self.next_free(s).is_some()))
                .collect(),
        };
        for choice in choices {
            for (n, instance) in world.instances.iter().enumerate() {
                let subnet_zone = choice.map(|(_, s)| &world.subnets[s].zone);
                let zone = subnet_zone.unwrap_or(&instance.zone);
                let alone = !world.instances.iter().any(|i| i.zone == *zone);
                let (cpu, memory) = self.free[n];
                let fits = instance.open
                    && instance.cpu_architecture == demand.cpu_architecture
                    && cpu >= demand.cpu_units
                    && memory >= demand.memory_mib
                    && (instance.zone == *zone || alone);
                // Without a subnet the zone's name decides where its place in the list would.
                let at = choice.map_or(0, |(at, _)| at);
                let by_name = choice.is_none().then_some(zone);
                let rank =
                    (self.tasks(&demand.group, zone), at, by_name, memory, cpu, &instance.id);
                if fits && best.as_ref().is_none_or(|(r, _, _)| rank < *r) {
                    best = Some((rank, n, choice));
                }
            }
        }
        let (_, n, choice) = best?;
        self.free[n].0 -= demand.cpu_units;
        self.free[n].1 -= demand.memory_mib;
        let address = choice.map(|(_, s)| {
            let offset = self.next_free(s).expect("looked");
            self.taken[s].insert(offset);
            self.next[s] = offset + 1;
            let subnet = &world.subnets[s];
            let ip = subnet.cidr.nth(u64::from(offset)).expect("inside");
            let (id, vpc) = (subnet.id.clone(), subnet.vpc.clone());
            Address { subnet: id, vpc, ip, offset, next_after: offset + 1 }
        });
        let zone = match choice {
            Some((_, s)) => world.subnets[s].zone.clone(),
            None => world.instances[n].zone.clone(),
        };
        *self.spread.entry(demand.group.clone()).or_default().entry(zone.clone()).or_default() += 1;
        let instance = world.instances[n].id.clone();
        Some(Placed { task: demand.task.clone(), instance, zone, address })
    }
}

fn random_spread(random: &mut Random) -> Spread {
    let mut spread = Spread::new();
    for _ in 0..random.below(6) {
        let zones = spread.entry(format!("g{}", random.below(3))).or_default();
        zones.insert(random.pick(&ZONES).into(), random.below(4));
    }
    spread
}

#[test]
fn the_plan_is_the_one_brute_force_finds() {
    let (mut placed, mut waiting) = (0, 0);
    for seed in 0..3000 {
        let mut random = Random(seed);
        let world = World::random(&mut random);
        let spread = random_spread(&mut random);
        let got = place(&world.demands, &world.instances, &world.rooms(), &spread);
        let mut brute = BruteForce::new(&world, spread.clone());
        let want: Vec<Placed> = world.demands.iter().filter_map(|d| brute.place(d)).collect();
        assert_eq!(got.placed, want, "seed {seed}");
        assert_eq!(got.placed.len() + got.waiting.len(), world.demands.len());
        for unplaceable in &got.waiting {
            assert!(!unplaceable.reasons.is_empty(), "seed {seed}: {unplaceable:?}");
        }
        check_nothing_is_given_twice(&world, &got);
        let again = place(&world.demands, &world.instances, &world.rooms(), &spread);
        assert_eq!(got, again, "seed {seed}");
        placed += got.placed.len();
        waiting += got.waiting.len();
    }
    assert!(placed > 10_000 && waiting > 10_000, "worlds say something: {placed} {waiting}");
}

fn check_nothing_is_given_twice(world: &World, got: &Placements) {
    for instance in &world.instances {
        let here: BTreeSet<&TaskId> =
            got.placed.iter().filter(|p| p.instance == instance.id).map(|p| &p.task).collect();
        let demands = world.demands.iter().filter(|d| here.contains(&d.task));
        let (cpu, memory) = demands.fold((0, 0), |(c, m), d| (c + d.cpu_units, m + d.memory_mib));
        assert!(cpu <= instance.cpu_units_free && memory <= instance.memory_mib_free);
        assert!(instance.open || here.is_empty());
    }
    let mut seen = BTreeSet::new();
    for address in got.placed.iter().filter_map(|p| p.address.as_ref()) {
        let at = world.subnets.iter().position(|s| s.id == address.subnet).expect("known");
        let (subnet, pool) = (&world.subnets[at], &world.pools[at]);
        assert!(seen.insert(address.ip), "{address:?} given twice");
        assert!(subnet.cidr.contains(address.ip));
        assert!(pool.as_ref().is_none_or(|p| !p.taken.contains(&address.offset)));
        assert!(
            u64::from(address.offset) >= 4 && u64::from(address.offset) < subnet.cidr.size() - 1
        );
    }
}

#[test]
fn one_machine_serves_every_zone_and_subnets_take_turns() {
    let subnets = [subnet("s0", "za", "10.0.0.0/24"), subnet("s1", "zb", "10.0.1.0/24")];
    let rooms = subnets.each_ref().map(|subnet| SubnetRoom { subnet, pool: None });
    let fleet = [instance("i", "local", 4096, 8192)];
    let demands: Vec<Demand> = (0..4).map(|n| demand(n, 256, 512, &["s0", "s1"])).collect();
    let got = place(&demands, &fleet, &rooms, &Spread::new());
    let addresses = got.placed.iter().map(|p| p.address.as_ref().expect("wanted").ip.to_string());
    assert_eq!(
        addresses.collect::<Vec<_>>(),
        ["10.0.0.4", "10.0.1.4", "10.0.0.5", "10.0.1.5"],
        "the reserved addresses are left out and zones are filled evenly"
    );
}

#[test]
fn a_subnet_of_a_zone_with_machines_is_not_served_from_elsewhere() {
    let subnets = [subnet("s0", "za", "10.0.0.0/24")];
    let rooms = subnets.each_ref().map(|subnet| SubnetRoom { subnet, pool: None });
    let mut fleet = [instance("a", "za", 4096, 8192), instance("b", "zb", 4096, 8192)];
    fleet[0].open = false;
    let got = place(&[demand(1, 256, 512, &["s0"])], &fleet, &rooms, &Spread::new());
    assert_eq!(got.waiting[0].text(), "no instance takes tasks");
}

#[test]
fn every_refusal_says_why() {
    let mut full = subnet("s0", "za", "10.0.0.0/28");
    full.zone = "za".into();
    let pool = AddressPool { subnet: "s0".into(), taken: (4..15).collect(), next: 9 };
    let other = subnet("s1", "za", "10.0.1.0/24");
    let rooms = [
        SubnetRoom { subnet: &full, pool: Some(&pool) },
        SubnetRoom { subnet: &other, pool: None },
    ];
    let fleet = [instance("a", "za", 1024, 512), instance("b", "za", 256, 4096)];
    let text = |demand: Demand, fleet: &[InstanceRoom]| {
        place(&[demand], fleet, &rooms, &Spread::new()).waiting[0].text()
    };
    assert_eq!(
        text(demand(1, 256, 512, &["s0"]), &fleet),
        "insufficient free addresses in subnet 's0'"
    );
    assert_eq!(
        text(demand(1, 2048, 512, &["s1"]), &fleet),
        "RESOURCE:CPU (2048 units wanted, at most 1024 free)"
    );
    assert_eq!(
        text(demand(1, 256, 8192, &["s1"]), &fleet),
        "RESOURCE:MEMORY (8192 MiB wanted, at most 4096 free)"
    );
    let both = text(demand(1, 1024, 4096, &["s1"]), &fleet);
    assert!(both.starts_with("RESOURCE:CPU and RESOURCE:MEMORY"), "{both}");
    let all = text(demand(1, 8192, 8192, &["s0", "s9"]), &fleet);
    for part in ["RESOURCE:CPU (", "RESOURCE:MEMORY (", "subnet 's0'", "'s9' does not exist"] {
        assert!(all.contains(part), "{all}");
    }
    let arm = Demand { cpu_architecture: "ARM64".to_owned(), ..demand(1, 256, 512, &["s1"]) };
    assert_eq!(text(arm, &fleet), "no instance of architecture ARM64 takes tasks");
    assert_eq!(text(demand(1, 256, 512, &["s1"]), &[]), "no instance takes tasks");
}

#[test]
fn addresses_go_round_and_a_freed_one_rests() {
    let subnet = subnet("s0", "za", "10.0.0.0/28");
    let fleet = [instance("a", "za", 1 << 20, 1 << 20)];
    let mut pool = AddressPool { subnet: "s0".into(), taken: BTreeSet::new(), next: 4 };
    let mut given = Vec::new();
    for n in 0..25 {
        let room = SubnetRoom { subnet: &subnet, pool: Some(&pool) };
        let got = place(&[demand(n, 256, 512, &["s0"])], &fleet, &[room], &Spread::new());
        let address = got.placed[0].address.clone().expect("wanted");
        given.push(address.offset);
        // Given back at once; the next one is another all the same.
        pool.next = address.next_after;
    }
    let round: Vec<u32> = (4..15).collect();
    assert_eq!(given[..11], round);
    assert_eq!(given[11..22], round);
}

#[test]
fn a_services_tasks_keep_apart_on_the_instances_of_a_zone() {
    let subnet = subnet("s0", "za", "10.0.0.0/24");
    let fleet = [
        instance("full", "za", 2048, 4096),
        instance("free", "za", 8192, 16_384),
        instance("freer", "za", 16_384, 32_768),
    ];
    let of = |n, group: &str| Demand { group: group.to_owned(), ..demand(n, 256, 512, &["s0"]) };
    let placed = |group: &str, neighbours: &Neighbours| {
        let demands: Vec<_> = (0..5).map(|n| of(n, group)).collect();
        let room = SubnetRoom { subnet: &subnet, pool: None };
        let got = place_beside(&demands, &fleet, &[room], &Spread::new(), neighbours);
        got.placed.iter().map(|placed| placed.instance.to_string()).collect::<Vec<_>>()
    };
    let none = Neighbours::new();
    assert_eq!(placed("family:f", &none), ["full"; 5]);
    assert_eq!(placed("service:web", &none), ["full", "free", "freer", "full", "free"]);
    // Those that are there already count.
    let there = [("full".into(), 3), ("free".into(), 1)].into();
    let there = Neighbours::from([("service:web".to_owned(), there)]);
    assert_eq!(placed("service:web", &there), ["freer", "free", "freer", "free", "freer"]);
}
