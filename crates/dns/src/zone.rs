//! What is answered to a question, as a function of what is known: of the VPC's range, for the
//! names of its addresses, and of its table, for Cloud Map's. Which of several addresses are told
//! and in what order is drawn with the random bits that are given.
//! Source: VPC user guide, "DNS attributes for your VPC"; Route 53 developer guide, private zones.

use crate::limits::{ADDRESS_TTL_SECONDS, MULTIVALUE_RECORDS_MAX};
use crate::message::{Code, Data, Kind, Question, Record, Reply};
use model::discovery::{Answer, NameTable, RecordKind, RecordSet, RoutingPolicy, Zone};
use model::network::Cidr;
use std::net::Ipv4Addr;

/// Domains of the names of addresses: of us-east-1, and of all other regions behind their own name.
const ADDRESS_DOMAIN: &str = "ec2.internal";
const ADDRESS_DOMAINS: &str = "compute.internal";
const REVERSE_DOMAIN: &str = "in-addr.arpa";
/// Where a task finds its endpoints.
const ENDPOINTS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
/// CNAMEs followed within one answer.
const CHAIN_MAX: usize = 8;

/// Whose question it is.
#[derive(Clone, Debug)]
pub struct Place {
    /// The VPC's range.
    pub range: Cidr,
    /// What the names of its addresses end in, when it is asked whose an address is.
    pub domain: String,
}

/// What becomes of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolution {
    Answer(Reply),
    /// It is about nothing of ours.
    Forward,
}

/// `table` of None: not known yet, or not any more.
pub fn resolve(
    place: &Place,
    table: Option<&NameTable>,
    question: &Question,
    random: u128,
) -> Resolution {
    if let Some(reply) = address(place, question) {
        return Resolution::Answer(reply);
    }
    let Some(table) = table else {
        // It may be a name of the VPC's own: neither an absence nor anybody else's business.
        return Resolution::Answer(Reply::of(Code::ServFail));
    };
    match zone_of(table, &question.name) {
        Some((name, zone)) => Resolution::Answer(in_zone(name, zone, question, random)),
        None => Resolution::Forward,
    }
}

fn is_within(name: &str, domain: &str) -> bool {
    let rest = name.strip_suffix(domain);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The zone a name lies in; of several the longest.
fn zone_of<'a>(table: &'a NameTable, name: &str) -> Option<(&'a str, &'a Zone)> {
    let zones = table.zones.iter().filter(|(zone, _)| is_within(name, zone));
    zones.max_by_key(|(zone, _)| zone.len()).map(|(name, zone)| (name.as_str(), zone))
}

fn wants(question: &Question, kind: Kind) -> bool {
    question.kind == kind || question.kind == Kind::ANY
}

fn own(question: &Question, reply: &mut Reply, kind: Kind, data: Data) {
    if wants(question, kind) {
        reply.answers.push(Record { name: None, ttl_seconds: ADDRESS_TTL_SECONDS, data });
    }
}

/// `ip-10-0-0-5.ec2.internal` and its like, their reverse, and `PREFIX-169.254.170.2`, which SDKs
/// make of an endpoint's address for operations with a prefix of their own (`data-` of
/// DiscoverInstances).
fn address(place: &Place, question: &Question) -> Option<Reply> {
    let name = question.name.as_str();
    let mut reply = Reply::of(Code::NoError);
    reply.authoritative = true;
    if let Some(prefix) = name.strip_suffix(&format!("-{ENDPOINTS}"))
        && !prefix.is_empty()
        && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        own(question, &mut reply, Kind::A, Data::A(ENDPOINTS));
        return Some(reply);
    }
    if is_within(name, ADDRESS_DOMAIN) || is_within(name, ADDRESS_DOMAINS) {
        let found = name.split_once('.').and_then(|(host, _)| address_of(host));
        return Some(match found.filter(|address| place.range.contains(*address)) {
            Some(address) => {
                own(question, &mut reply, Kind::A, Data::A(address));
                reply
            }
            None if name == ADDRESS_DOMAIN => reply,
            None => Reply { code: Code::NxDomain, ..reply },
        });
    }
    let reversed = name.strip_suffix(REVERSE_DOMAIN)?.strip_suffix('.')?;
    let mut parts: Vec<&str> = reversed.split('.').collect();
    parts.reverse();
    let address: Ipv4Addr = parts.join(".").parse().ok()?;
    if !place.range.contains(address) {
        return None;
    }
    let told = format!("ip-{}.{}", address.to_string().replace('.', "-"), place.domain);
    own(question, &mut reply, Kind::PTR, Data::Ptr(told));
    Some(reply)
}

/// `ip-10-0-0-5` gives 10.0.0.5.
fn address_of(host: &str) -> Option<Ipv4Addr> {
    host.strip_prefix("ip-")?.replace('-', ".").parse().ok()
}

fn in_zone(zone_name: &str, zone: &Zone, question: &Question, random: u128) -> Reply {
    let mut reply = Reply::of(Code::NoError);
    reply.authoritative = true;
    let soa = Record {
        name: Some(zone_name.to_owned()),
        ttl_seconds: zone.negative_ttl_seconds,
        data: Data::Soa {
            primary: format!("ns-0.{zone_name}"),
            serial: 1,
            negative_ttl_seconds: zone.negative_ttl_seconds,
        },
    };
    if question.name == zone_name {
        if wants(question, Kind::SOA) {
            reply.answers.push(Record { name: None, ..soa.clone() });
        }
        if wants(question, Kind::NS) {
            let data = Data::Ns(format!("ns-0.{zone_name}"));
            reply.answers.push(Record { name: None, ttl_seconds: 172_800, data });
        }
    }
    let mut at = question.name.clone();
    for _ in 0..CHAIN_MAX {
        let Some(sets) = zone.names.get(&at) else { break };
        let name = Some(at.as_str()).filter(|at| *at != question.name);
        let told = sets.iter().filter(|set| is_told(set, question));
        reply.answers.extend(told.flat_map(|set| records(name, set, random)));
        let alias = sets.iter().flat_map(|set| &set.records).find_map(|record| match record {
            Answer::Cname(target) if question.kind != Kind::CNAME => Some(target.clone()),
            _ => None,
        });
        // Where an alias leads out of the zone the client asks on.
        let Some(target) = alias.filter(|target| is_within(target, zone_name)) else { break };
        at = target;
    }
    if reply.answers.is_empty() {
        if !exists(zone_name, zone, &question.name) {
            reply.code = Code::NxDomain;
        }
        reply.authority.push(soa);
    }
    reply
}

/// A name is there when it has records, or when a name below it has.
fn exists(zone_name: &str, zone: &Zone, name: &str) -> bool {
    let below = format!(".{name}");
    name == zone_name
        || zone.names.contains_key(name)
        || zone.names.keys().any(|known| known.ends_with(&below))
}

fn kind_of(set: &RecordSet) -> Option<Kind> {
    Some(match set.records.first()?.kind() {
        RecordKind::A => Kind::A,
        RecordKind::Aaaa => Kind::AAAA,
        RecordKind::Srv => Kind::SRV,
        RecordKind::Cname => Kind::CNAME,
    })
}

fn is_told(set: &RecordSet, question: &Question) -> bool {
    kind_of(set).is_some_and(|kind| wants(question, kind) || kind == Kind::CNAME)
}

fn records(name: Option<&str>, set: &RecordSet, random: u128) -> Vec<Record> {
    let mut chosen: Vec<&Answer> = set.records.iter().collect();
    shuffle(&mut chosen, random);
    let several = set.routing == RoutingPolicy::Multivalue;
    chosen.truncate(if several { MULTIVALUE_RECORDS_MAX } else { 1 });
    let record = |answer: &Answer| Record {
        name: name.map(str::to_owned),
        ttl_seconds: set.ttl_seconds,
        data: match answer {
            Answer::A(address) => Data::A(*address),
            Answer::Aaaa(address) => Data::Aaaa(*address),
            Answer::Cname(target) => Data::Cname(target.clone()),
            // Cloud Map gives all the same priority and weight.
            Answer::Srv { port, target } => {
                Data::Srv { priority: 1, weight: 1, port: *port, target: target.clone() }
            }
        },
    };
    chosen.into_iter().map(record).collect()
}

/// Any order is as likely as any other, as far as the bits reach; beyond that they are stretched.
fn shuffle<T>(items: &mut [T], mut random: u128) {
    for last in (1..items.len()).rev() {
        let other = (random % (last as u128 + 1)) as usize;
        items.swap(last, other);
        random = (random / (last as u128 + 1)) ^ random.rotate_left(29).wrapping_mul(0x9e37_79b9);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn question(name: &str, kind: Kind) -> Question {
        let wire_name = name.split('.').fold(Vec::new(), |mut wire, label| {
            wire.push(label.len() as u8);
            wire.extend_from_slice(label.as_bytes());
            wire
        });
        Question {
            id: 1,
            recursion_desired: true,
            wire_name: [wire_name, vec![0]].concat(),
            name: name.to_ascii_lowercase(),
            kind,
            class: 1,
            extension: None,
        }
    }

    fn place() -> Place {
        let domain = "eu-west-1.compute.internal".to_owned();
        Place { range: Cidr::parse("10.0.0.0/16").expect("a range"), domain }
    }

    fn table(routing: RoutingPolicy, addresses: u8) -> NameTable {
        let records = (1..=addresses).map(|n| Answer::A(Ipv4Addr::new(10, 0, 0, n)));
        let set = RecordSet { routing, ttl_seconds: 10, records: records.collect() };
        let alias = Answer::Cname("web.local".to_owned());
        let alias = RecordSet { routing, ttl_seconds: 10, records: vec![alias] };
        let away = Answer::Cname("example.com".to_owned());
        let away = RecordSet { routing, ttl_seconds: 10, records: vec![away] };
        let names = [
            ("web.local", vec![set]),
            ("alias.local", vec![alias]),
            ("away.local", vec![away]),
            ("empty.local", vec![]),
            ("a.b.local", vec![]),
        ];
        let names = names.into_iter().map(|(name, sets)| (name.to_owned(), sets)).collect();
        let zone = Zone { negative_ttl_seconds: 15, names };
        NameTable { zones: BTreeMap::from([("local".to_owned(), zone)]), silent: false }
    }

    fn ask(name: &str, kind: Kind) -> Resolution {
        let table = table(RoutingPolicy::Multivalue, 3);
        resolve(&place(), Some(&table), &question(name, kind), 42)
    }

    fn reply(name: &str, kind: Kind) -> Reply {
        match ask(name, kind) {
            Resolution::Answer(reply) => reply,
            Resolution::Forward => panic!("{name} was to be answered"),
        }
    }

    #[test]
    fn names_of_addresses_are_answered_for_the_vpc_only() {
        for name in ["ip-10-0-1-5.ec2.internal", "ip-10-0-1-5.eu-west-1.compute.internal"] {
            let told = &reply(name, Kind::A).answers;
            assert_eq!(told[0].data, Data::A(Ipv4Addr::new(10, 0, 1, 5)), "{name}");
            assert_eq!(
                reply(name, Kind::AAAA),
                Reply { authoritative: true, ..Reply::of(Code::NoError) }
            );
        }
        for absent in ["ip-10-1-0-1.ec2.internal", "web.ec2.internal", "x.compute.internal"] {
            assert_eq!(reply(absent, Kind::A).code, Code::NxDomain, "{absent}");
        }
        let told = &reply("5.1.0.10.in-addr.arpa", Kind::PTR).answers;
        assert_eq!(told[0].data, Data::Ptr("ip-10-0-1-5.eu-west-1.compute.internal".to_owned()));
        assert_eq!(ask("8.8.8.8.in-addr.arpa", Kind::PTR), Resolution::Forward);
        let endpoint = &reply("data-169.254.170.2", Kind::A).answers;
        assert_eq!(endpoint[0].data, Data::A(ENDPOINTS));
    }

    #[test]
    fn what_is_there_is_told_and_what_is_not_is_absent_or_elsewhere() {
        assert_eq!(reply("WEB.local", Kind::A).answers.len(), 3);
        assert_eq!(reply("web.local", Kind::AAAA).code, Code::NoError);
        assert_eq!(reply("web.local", Kind::AAAA).authority.len(), 1);
        assert_eq!(reply("empty.local", Kind::A).code, Code::NoError);
        assert_eq!(reply("b.local", Kind::A).code, Code::NoError, "a name below it is there");
        assert_eq!(reply("no.local", Kind::A).code, Code::NxDomain);
        assert_eq!(reply("local", Kind::SOA).answers.len(), 1);
        assert_eq!(reply("alias.local", Kind::A).answers.len(), 4);
        assert_eq!(reply("away.local", Kind::A).answers.len(), 1);
        assert_eq!(ask("example.com", Kind::A), Resolution::Forward);
        assert_eq!(ask("notlocal", Kind::A), Resolution::Forward);
    }

    #[test]
    fn without_a_table_nothing_is_absent() {
        let asked = question("web.local", Kind::A);
        let failed = resolve(&place(), None, &asked, 0);
        assert_eq!(failed, Resolution::Answer(Reply::of(Code::ServFail)));
        let elsewhere = resolve(&place(), None, &question("example.com", Kind::A), 0);
        assert_eq!(elsewhere, Resolution::Answer(Reply::of(Code::ServFail)));
    }

    #[test]
    fn of_many_eight_are_told_and_of_weighted_one_and_all_have_their_turn() {
        let many = table(RoutingPolicy::Multivalue, 20);
        let one = table(RoutingPolicy::Weighted, 20);
        let mut seen = BTreeSet::new();
        for n in 0..400u128 {
            let random = n.wrapping_mul(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
            let asked = question("web.local", Kind::A);
            let told = |table: &NameTable| match resolve(&place(), Some(table), &asked, random) {
                Resolution::Answer(reply) => reply.answers,
                Resolution::Forward => Vec::new(),
            };
            let eight: BTreeSet<String> =
                told(&many).iter().map(|record| format!("{:?}", record.data)).collect();
            assert_eq!(eight.len(), MULTIVALUE_RECORDS_MAX);
            let [record] = told(&one).try_into().expect("one");
            seen.insert(format!("{:?}", record.data));
        }
        assert_eq!(seen.len(), 20);
    }
}
