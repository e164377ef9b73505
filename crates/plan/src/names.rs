//! What a VPC's resolver answers, out of Cloud Map's namespaces, services and instances, and of
//! load balancers. Names of instances of a private namespace are known in its VPC and nowhere else;
//! those of load balancers everywhere, and an internal one's stands for addresses that only its VPC
//! has a way to. Each is a zone of its own, so that those of balancers that are AWS's own are asked
//! of the world.
//! Source: Cloud Map API reference, RegisterInstance (Attributes) and DnsConfig; ELB user guide,
//! "How Elastic Load Balancing works" (60 seconds, addresses of internal ones).

use model::balancing::LoadBalancer;
use model::discovery::{
    ATTRIBUTE_CNAME, ATTRIBUTE_IPV4, ATTRIBUTE_IPV6, ATTRIBUTE_PORT, Answer, DiscoveryInstance,
    DiscoveryService, DnsRecord, NameTable, Namespace, NamespaceKind, RecordKind, RecordSet,
    RoutingPolicy, Zone,
};
use model::network::{NetworkInterface, Vpc};
use model::{DiscoveryServiceId, InterfaceId, NamespaceId, VpcId};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Deref;

/// Seconds that Route 53 lets the absence of a name be remembered at most.
const NEGATIVE_TTL_SECONDS_MAX: i64 = 900;
/// How long a load balancer's addresses may be remembered.
const BALANCER_TTL_SECONDS: u32 = 60;

/// What a load balancer's name stands for: public addresses, or private ones when it is internal.
pub fn balancer_addresses<I: Deref<Target = NetworkInterface>>(
    balancer: &LoadBalancer,
    interface: impl Fn(&InterfaceId) -> Option<I>,
) -> Vec<Ipv4Addr> {
    let of = |id| {
        let found = interface(id)?;
        match balancer.internal {
            true => Some(found.private_ip),
            false => Some(found.public.as_ref()?.ip),
        }
    };
    let mut addresses: Vec<_> = balancer.interfaces.iter().filter_map(of).collect();
    addresses.sort();
    addresses
}

/// A table for each VPC, also where there is nothing in it: a resolver that knows of no table knows
/// nothing, one with an empty table knows that there is nothing.
pub fn tables<'a>(
    vpcs: impl Iterator<Item = &'a Vpc>,
    namespaces: impl Iterator<Item = &'a Namespace>,
    services: impl Iterator<Item = &'a DiscoveryService>,
    instances: impl Iterator<Item = &'a DiscoveryInstance>,
    balancers: &BTreeMap<String, Vec<Ipv4Addr>>,
) -> BTreeMap<VpcId, NameTable> {
    let mut tables: BTreeMap<VpcId, NameTable> =
        vpcs.map(|vpc| (vpc.id.clone(), empty(vpc))).collect();
    let private: BTreeMap<&NamespaceId, &Namespace> = namespaces
        .filter(|namespace| namespace.kind == NamespaceKind::DnsPrivate)
        .map(|namespace| (&namespace.id, namespace))
        .collect();
    for namespace in private.values() {
        if let Some(table) = namespace.vpc.as_ref().and_then(|vpc| tables.get_mut(vpc)) {
            let ttl = namespace.soa_ttl_seconds.clamp(0, NEGATIVE_TTL_SECONDS_MAX);
            let zone = Zone {
                negative_ttl_seconds: u32::try_from(ttl).unwrap_or(0),
                names: BTreeMap::new(),
            };
            table.zones.insert(lower(&namespace.name), zone);
        }
    }
    let mut members = BTreeMap::<&DiscoveryServiceId, Vec<&DiscoveryInstance>>::new();
    for instance in instances {
        members.entry(&instance.service).or_default().push(instance);
    }
    for service in services {
        let (Some(dns), Some(namespace)) = (&service.dns, private.get(&service.namespace)) else {
            continue;
        };
        let table = namespace.vpc.as_ref().and_then(|vpc| tables.get_mut(vpc));
        let zone = table.and_then(|table| table.zones.get_mut(&lower(&namespace.name)));
        let Some(zone) = zone else { continue };
        let name = lower(&format!("{}.{}", service.name, namespace.name));
        let all = members.get(&service.id).map_or(&[][..], Vec::as_slice);
        // AWS: when no instance is healthy, all are told as if they were.
        let healthy: Vec<_> = all.iter().copied().filter(|instance| instance.healthy).collect();
        let told = if healthy.is_empty() { all } else { &healthy };
        // The name is there as soon as the service is: asking for a kind it lacks is no NXDOMAIN.
        let mut sets = Vec::new();
        for record in &dns.records {
            let mut records: Vec<Answer> =
                told.iter().filter_map(|it| answer(*record, &name, it)).collect();
            records.sort();
            records.dedup();
            if !records.is_empty() {
                let (routing, ttl_seconds) = (dns.routing, record.ttl_seconds);
                sets.push(RecordSet { routing, ttl_seconds, records });
            }
            if record.kind == RecordKind::Srv {
                targets(zone, *record, &name, told);
            }
        }
        zone.names.insert(name, sets);
    }
    for (name, addresses) in balancers {
        for table in tables.values_mut() {
            table.zones.insert(lower(name), balancer_zone(name, addresses));
        }
    }
    tables
}

/// Source: EC2 API reference, ModifyVpcAttribute (EnableDnsSupport).
fn empty(vpc: &Vpc) -> NameTable {
    NameTable { silent: !vpc.dns_support, ..NameTable::default() }
}

fn balancer_zone(name: &str, addresses: &[Ipv4Addr]) -> Zone {
    let set = RecordSet {
        routing: RoutingPolicy::Multivalue,
        ttl_seconds: BALANCER_TTL_SECONDS,
        records: addresses.iter().map(|address| Answer::A(*address)).collect(),
    };
    // Without an address it is there all the same: nobody is to remember that it isn't.
    let sets = if addresses.is_empty() { Vec::new() } else { vec![set] };
    Zone {
        negative_ttl_seconds: BALANCER_TTL_SECONDS,
        names: BTreeMap::from([(lower(name), sets)]),
    }
}

fn lower(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

fn answer(record: DnsRecord, name: &str, instance: &DiscoveryInstance) -> Option<Answer> {
    let attribute = |key: &str| instance.attributes.get(key);
    Some(match record.kind {
        RecordKind::A => Answer::A(attribute(ATTRIBUTE_IPV4)?.parse().ok()?),
        RecordKind::Aaaa => Answer::Aaaa(attribute(ATTRIBUTE_IPV6)?.parse().ok()?),
        RecordKind::Srv => Answer::Srv {
            port: attribute(ATTRIBUTE_PORT)?.parse().ok()?,
            target: target(name, instance),
        },
        RecordKind::Cname => Answer::Cname(lower(attribute(ATTRIBUTE_CNAME)?)),
    })
}

/// An SRV record names a host: `INSTANCE.SERVICE.NAMESPACE`.
fn target(name: &str, instance: &DiscoveryInstance) -> String {
    lower(&format!("{}.{name}", instance.id))
}

/// The addresses of the hosts that SRV records name.
fn targets(zone: &mut Zone, record: DnsRecord, name: &str, told: &[&DiscoveryInstance]) {
    for instance in told {
        let of = |kind| answer(DnsRecord { kind, ..record }, name, instance);
        let records: Vec<Answer> =
            [RecordKind::A, RecordKind::Aaaa].into_iter().filter_map(of).collect();
        let sets = records.into_iter().map(|answer| RecordSet {
            routing: RoutingPolicy::Multivalue,
            ttl_seconds: record.ttl_seconds,
            records: vec![answer],
        });
        zone.names.insert(target(name, instance), sets.collect());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::balancing::BalancerKind;
    use model::discovery::DnsConfig;
    use model::network::{Cidr, PublicAddress, Subnet};
    use model::{SubnetId, Tags, Timestamp};

    fn none() -> BTreeMap<String, Vec<Ipv4Addr>> {
        BTreeMap::new()
    }

    fn vpc(id: &str) -> Vpc {
        let range = Cidr::parse("10.0.0.0/16").expect("a range");
        Vpc::new(VpcId::from(id), range, Timestamp(0))
    }

    fn namespace(id: &str, name: &str, vpc: Option<&str>) -> Namespace {
        Namespace {
            id: NamespaceId::from(id),
            name: name.to_owned(),
            kind: if vpc.is_some() { NamespaceKind::DnsPrivate } else { NamespaceKind::Http },
            vpc: vpc.map(VpcId::from),
            description: None,
            hosted_zone: None,
            soa_ttl_seconds: 15,
            creator_request_id: None,
            created_at: Timestamp(0),
            tags: Tags::new(),
        }
    }

    fn service(id: &str, namespace: &str, kinds: &[RecordKind]) -> DiscoveryService {
        let records = kinds.iter().map(|kind| DnsRecord { kind: *kind, ttl_seconds: 60 });
        DiscoveryService {
            id: DiscoveryServiceId::from(id),
            namespace: NamespaceId::from(namespace),
            name: "Web".to_owned(),
            description: None,
            dns: Some(DnsConfig { routing: RoutingPolicy::Multivalue, records: records.collect() }),
            health_check: None,
            custom_health_threshold: None,
            attributes: BTreeMap::new(),
            creator_request_id: None,
            created_at: Timestamp(0),
            tags: Tags::new(),
            instances_revision: 0,
        }
    }

    fn instance(id: &str, ip: &str, healthy: bool) -> DiscoveryInstance {
        let attributes = [(ATTRIBUTE_IPV4, ip), (ATTRIBUTE_PORT, "80")];
        DiscoveryInstance {
            service: DiscoveryServiceId::from("srv-1"),
            id: id.to_owned(),
            attributes: attributes
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            creator_request_id: None,
            healthy,
            registered_at: Timestamp(0),
        }
    }

    #[test]
    fn a_private_namespace_is_known_in_its_vpc_only() {
        let vpcs = [vpc("vpc-1"), vpc("vpc-2")];
        let namespaces =
            [namespace("ns-1", "Local", Some("vpc-1")), namespace("ns-2", "other", None)];
        let services = [service("srv-1", "ns-1", &[RecordKind::A]), service("srv-2", "ns-2", &[])];
        let instances = [instance("a", "10.0.0.5", true), instance("b", "10.0.0.4", false)];
        let tables =
            tables(vpcs.iter(), namespaces.iter(), services.iter(), instances.iter(), &none());
        assert_eq!(tables[&vpcs[1].id], NameTable::default());
        let zone = &tables[&vpcs[0].id].zones["local"];
        assert_eq!(zone.negative_ttl_seconds, 15);
        let answers: Vec<_> = zone.names["web.local"].iter().flat_map(|s| &s.records).collect();
        assert_eq!(answers, [&Answer::A(Ipv4Addr::new(10, 0, 0, 5))]);
    }

    #[test]
    fn when_none_is_healthy_all_are_told() {
        let vpcs = [vpc("vpc-1")];
        let namespaces = [namespace("ns-1", "local", Some("vpc-1"))];
        let services = [service("srv-1", "ns-1", &[RecordKind::A, RecordKind::Srv])];
        let instances = [instance("a", "10.0.0.5", false), instance("b", "10.0.0.4", false)];
        let tables =
            tables(vpcs.iter(), namespaces.iter(), services.iter(), instances.iter(), &none());
        let names = &tables[&vpcs[0].id].zones["local"].names;
        assert_eq!(names["web.local"][0].records.len(), 2);
        assert_eq!(
            names["web.local"][1].records[1],
            Answer::Srv { port: 80, target: "b.web.local".to_owned() }
        );
        assert_eq!(names["a.web.local"][0].records, [Answer::A(Ipv4Addr::new(10, 0, 0, 5))]);
    }

    #[test]
    fn a_load_balancer_is_known_in_every_vpc_and_nothing_beside_it() {
        let vpcs = [vpc("vpc-1"), vpc("vpc-2")];
        let name = "Web-1234567890.us-east-1.elb.amazonaws.com".to_owned();
        let addresses = vec![Ipv4Addr::new(198, 19, 0, 5), Ipv4Addr::new(198, 19, 0, 6)];
        let balancers =
            BTreeMap::from([(name, addresses), ("new.elb.amazonaws.com".to_owned(), Vec::new())]);
        let empty = (std::iter::empty(), std::iter::empty(), std::iter::empty());
        let tables = tables(vpcs.iter(), empty.0, empty.1, empty.2, &balancers);
        assert_eq!(tables[&vpcs[0].id], tables[&vpcs[1].id]);
        let zones = &tables[&vpcs[0].id].zones;
        let name = "web-1234567890.us-east-1.elb.amazonaws.com";
        assert_eq!(zones.keys().collect::<Vec<_>>(), ["new.elb.amazonaws.com", name]);
        let set = &zones[name].names[name][0];
        assert_eq!((set.records.len(), set.ttl_seconds), (2, 60));
        assert!(zones["new.elb.amazonaws.com"].names["new.elb.amazonaws.com"].is_empty());
    }

    #[test]
    fn a_vpc_without_dns_support_is_silent_and_no_other() {
        let mut vpcs = [vpc("vpc-1"), vpc("vpc-2")];
        vpcs[0].dns_support = false;
        let empty = (std::iter::empty(), std::iter::empty(), std::iter::empty());
        let tables = tables(vpcs.iter(), empty.0, empty.1, empty.2, &none());
        assert_eq!(vpcs.map(|vpc| tables[&vpc.id].silent), [true, false]);
    }

    #[test]
    fn an_internal_one_has_private_addresses_and_another_public_ones() {
        let subnet = Subnet::new(
            SubnetId::from("subnet-1"),
            VpcId::from("vpc-1"),
            Cidr::parse("10.0.0.0/24").expect("a range"),
            "us-east-1a".into(),
            Timestamp(0),
        );
        let interface = |id: &InterfaceId| {
            let last = if id.as_str() == "eni-a" { 9 } else { 5 };
            let ip = Ipv4Addr::new(10, 0, 0, last);
            let mut one =
                NetworkInterface::new(id.clone(), &subnet, ip, String::new(), Timestamp(0));
            let ip = Ipv4Addr::new(198, 19, 0, last);
            one.public = Some(PublicAddress { ip, allocation: None, association: None });
            (id.as_str() != "eni-gone").then(|| Box::new(one))
        };
        let mut balancer = LoadBalancer {
            id: "app/web/1".into(),
            name: "web".to_owned(),
            kind: BalancerKind::Application,
            internal: true,
            vpc: VpcId::from("vpc-1"),
            subnets: Vec::new(),
            security_groups: Vec::new(),
            interfaces: ["eni-a", "eni-b", "eni-gone"].map(InterfaceId::from).to_vec(),
            dns_name: String::new(),
            attributes: BTreeMap::new(),
            created_at: Timestamp(0),
            tags: Tags::new(),
        };
        let of = |balancer: &LoadBalancer| {
            let addresses = balancer_addresses(balancer, interface);
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of(&balancer), ["10.0.0.5", "10.0.0.9"]);
        balancer.internal = false;
        assert_eq!(of(&balancer), ["198.19.0.5", "198.19.0.9"]);
    }
}
