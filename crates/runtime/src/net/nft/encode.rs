//! nftables' rules as netlink has them: each match and action is a few expressions that pass values
//! through registers. The numbers are those of linux/netfilter/nf_tables.h.

use super::{Action, Chain, Hook, Match, Rule, SetKind, Value};
use crate::net::netlink::Batch;
use crate::spec::Cidr;
use std::net::Ipv4Addr;

const REGISTER: u32 = 1;
/// Registers of four bytes each, for keys of several fields.
const FIELD_REGISTERS: [u32; 3] = [8, 9, 10];
const VERDICT_REGISTER: u32 = 0;
const META_INPUT_NAME: u32 = 6;
const META_OUTPUT_NAME: u32 = 7;
const META_PROTOCOL: u32 = 16;
const CONNECTION_STATE: u32 = 0;
/// Established, related.
const STATE_KNOWN: u32 = 2 | 4;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const SOURCE: u32 = 12;
const DESTINATION: u32 = 16;
/// Where a UDP packet has the number of its VXLAN network, from the head of UDP's header on.
const VXLAN_NETWORK: u32 = 12;
const VXLAN_NETWORK_BYTES: u32 = 3;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const SOURCE_NAT: u32 = 0;
const DESTINATION_NAT: u32 = 1;
const IPV4: u32 = 2;
/// Bytes of an interface's name with its zeros.
const NAME_BYTES: usize = 16;
/// nft's own numbers of types, for those who list our tables.
const TYPE_INTEGER: u32 = 4;
const TYPE_ADDRESS: u32 = 7;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;
const TYPE_VERDICT: u32 = 0xffff_ff00;
const SET_IS_MAP: u32 = 8;
const NOT_IN_SET: u32 = 1;
const JUMP: u32 = -3_i32 as u32;
const RETURN: u32 = -5_i32 as u32;

impl Hook {
    /// Type of the chain and number of the hook.
    fn kind(self) -> (&'static str, u32) {
        match self {
            Self::Arrival => ("filter", 0),
            Self::Prerouting => ("nat", 0),
            Self::Input => ("filter", 1),
            Self::Forward => ("filter", 2),
            Self::Output => ("filter", 3),
            Self::Postrouting => ("nat", 4),
        }
    }
}

/// Attributes of a new chain behind its table's and its own name.
pub fn chain(b: &mut Batch, chain: &Chain) {
    let Some((hook, priority)) = chain.hook else { return };
    let (kind, number) = hook.kind();
    b.nested(4, |b| {
        b.number_be(1, number).number_be(2, priority.cast_unsigned());
    });
    b.text(7, kind);
}

/// Attributes of a new set behind its table's and its own name.
pub fn set(b: &mut Batch, kind: SetKind, id: u32) {
    let service = TYPE_ADDRESS << 12 | TYPE_PROTOCOL << 6 | TYPE_PORT;
    let (key_type, key_bytes, data) = match kind {
        SetKind::Addresses => (TYPE_ADDRESS, 4, None),
        SetKind::Networks => (TYPE_INTEGER, VXLAN_NETWORK_BYTES, None),
        SetKind::Peers => (TYPE_INTEGER << 6 | TYPE_ADDRESS, 8, None),
        SetKind::Services => (service, 12, None),
        SetKind::Jumps => (TYPE_ADDRESS, 4, Some((TYPE_VERDICT, 16))),
        SetKind::Translations => (TYPE_ADDRESS, 4, Some((TYPE_ADDRESS, 4))),
    };
    b.number_be(3, if data.is_some() { SET_IS_MAP } else { 0 });
    b.number_be(4, key_type).number_be(5, key_bytes);
    if let Some((data_type, data_bytes)) = data {
        b.number_be(6, data_type).number_be(7, data_bytes);
    }
    b.number_be(10, id);
}

pub fn element(b: &mut Batch, key: &[u8], value: Option<&Value>) {
    b.nested(1, |b| {
        b.nested(1, |b| {
            b.attribute(1, key);
        });
        match value {
            None => {}
            Some(Value::Address(address)) => {
                b.nested(2, |b| {
                    b.attribute(1, &address.octets());
                });
            }
            Some(Value::Jump(chain)) => {
                b.nested(2, |b| verdict(b, JUMP, Some(chain)));
            }
        }
    });
}

pub fn rule(b: &mut Batch, rule: &Rule) {
    b.nested(4, |b| {
        rule.matches.iter().for_each(|m| add_match(b, m));
        add_action(b, &rule.action);
    });
}

fn expression(b: &mut Batch, name: &str, data: impl FnOnce(&mut Batch)) {
    b.nested(1, |b| {
        b.text(1, name).nested(2, data);
    });
}

fn compare(b: &mut Batch, operation: u32, value: &[u8]) {
    expression(b, "cmp", |b| {
        b.number_be(1, REGISTER).number_be(2, operation).nested(3, |b| {
            b.attribute(1, value);
        });
    });
}

fn between(b: &mut Batch, first: &[u8], last: &[u8]) {
    if first == last {
        return compare(b, EQUAL, first);
    }
    expression(b, "range", |b| {
        b.number_be(1, REGISTER).number_be(2, EQUAL);
        for (kind, value) in [(3, first), (4, last)] {
            b.nested(kind, |b| {
                b.attribute(1, value);
            });
        }
    });
}

fn mask(b: &mut Batch, bits: [u8; 4]) {
    expression(b, "bitwise", |b| {
        b.number_be(1, REGISTER).number_be(2, REGISTER).number_be(3, 4);
        b.nested(4, |b| {
            b.attribute(1, &bits);
        });
        b.nested(5, |b| {
            b.attribute(1, &[0; 4]);
        });
    });
}

fn meta(b: &mut Batch, key: u32, register: u32) {
    expression(b, "meta", |b| {
        b.number_be(1, register).number_be(2, key);
    });
}

fn payload(b: &mut Batch, header: u32, offset: u32, bytes: u32, register: u32) {
    expression(b, "payload", |b| {
        b.number_be(1, register).number_be(2, header);
        b.number_be(3, offset).number_be(4, bytes);
    });
}

fn name_match(b: &mut Batch, key: u32, operation: u32, name: &str) {
    meta(b, key, REGISTER);
    match name.strip_suffix('*') {
        Some(beginning) => compare(b, operation, beginning.as_bytes()),
        None => {
            let mut bytes = [0; NAME_BYTES];
            bytes[..name.len()].copy_from_slice(name.as_bytes());
            compare(b, operation, &bytes);
        }
    }
}

fn address_match(b: &mut Batch, offset: u32, operation: u32, range: Cidr) {
    if range.prefix == 0 && operation == EQUAL {
        return;
    }
    payload(b, NETWORK_HEADER, offset, 4, REGISTER);
    mask(b, range.mask().to_be_bytes());
    compare(b, operation, &range.address.octets());
}

fn lookup(b: &mut Batch, set: &str, register: u32, result: Option<u32>) {
    expression(b, "lookup", |b| {
        b.text(1, set).number_be(2, register);
        if let Some(result) = result {
            b.number_be(3, result);
        }
    });
}

fn address_lookup(b: &mut Batch, offset: u32, set: &str, result: Option<u32>) {
    payload(b, NETWORK_HEADER, offset, 4, REGISTER);
    lookup(b, set, REGISTER, result);
}

fn add_match(b: &mut Batch, one: &Match) {
    match one {
        Match::InputName(name) => name_match(b, META_INPUT_NAME, EQUAL, name),
        Match::NotInputName(name) => name_match(b, META_INPUT_NAME, NOT_EQUAL, name),
        Match::OutputName(name) => name_match(b, META_OUTPUT_NAME, EQUAL, name),
        Match::NotOutputName(name) => name_match(b, META_OUTPUT_NAME, NOT_EQUAL, name),
        Match::Source(range) => address_match(b, SOURCE, EQUAL, *range),
        Match::NotSource(range) => address_match(b, SOURCE, NOT_EQUAL, *range),
        Match::Destination(range) => address_match(b, DESTINATION, EQUAL, *range),
        Match::NotDestination(range) => address_match(b, DESTINATION, NOT_EQUAL, *range),
        Match::SourceIn(set) => address_lookup(b, SOURCE, set, None),
        Match::DestinationIn(set) => address_lookup(b, DESTINATION, set, None),
        Match::NetworkIn(set) => {
            payload(b, TRANSPORT_HEADER, VXLAN_NETWORK, VXLAN_NETWORK_BYTES, REGISTER);
            lookup(b, set, REGISTER, None);
        }
        Match::PeerNotIn(set) => {
            let [network, source, _] = FIELD_REGISTERS;
            payload(b, TRANSPORT_HEADER, VXLAN_NETWORK, VXLAN_NETWORK_BYTES, network);
            payload(b, NETWORK_HEADER, SOURCE, 4, source);
            expression(b, "lookup", |b| {
                b.text(1, set).number_be(2, network).number_be(5, NOT_IN_SET);
            });
        }
        Match::ServiceIn(set) => {
            payload(b, NETWORK_HEADER, DESTINATION, 4, FIELD_REGISTERS[0]);
            meta(b, META_PROTOCOL, FIELD_REGISTERS[1]);
            payload(b, TRANSPORT_HEADER, 2, 2, FIELD_REGISTERS[2]);
            lookup(b, set, FIELD_REGISTERS[0], None);
        }
        Match::Protocol(number) => {
            meta(b, META_PROTOCOL, REGISTER);
            compare(b, EQUAL, &[*number]);
        }
        Match::Ports { first, last } => {
            payload(b, TRANSPORT_HEADER, 2, 2, REGISTER);
            between(b, &first.to_be_bytes(), &last.to_be_bytes());
        }
        Match::IcmpType(kind) => {
            payload(b, TRANSPORT_HEADER, 0, 1, REGISTER);
            compare(b, EQUAL, &[*kind]);
        }
        Match::IcmpCode(code) => {
            payload(b, TRANSPORT_HEADER, 1, 1, REGISTER);
            compare(b, EQUAL, &[*code]);
        }
        Match::KnownConnection => {
            expression(b, "ct", |b| {
                b.number_be(1, REGISTER).number_be(2, CONNECTION_STATE);
            });
            mask(b, STATE_KNOWN.to_ne_bytes());
            compare(b, NOT_EQUAL, &[0; 4]);
        }
    }
}

fn verdict(b: &mut Batch, code: u32, chain: Option<&str>) {
    b.nested(2, |b| {
        b.number_be(1, code);
        if let Some(chain) = chain {
            b.text(2, chain);
        }
    });
}

fn immediate(b: &mut Batch, code: u32, chain: Option<&str>) {
    expression(b, "immediate", |b| {
        b.number_be(1, VERDICT_REGISTER).nested(2, |b| verdict(b, code, chain));
    });
}

fn translate(b: &mut Batch, kind: u32) {
    expression(b, "nat", |b| {
        b.number_be(1, kind).number_be(2, IPV4).number_be(3, REGISTER);
    });
}

fn constant(b: &mut Batch, address: Ipv4Addr) {
    expression(b, "immediate", |b| {
        b.number_be(1, REGISTER).nested(2, |b| {
            b.attribute(1, &address.octets());
        });
    });
}

fn add_action(b: &mut Batch, action: &Action) {
    match action {
        Action::Accept => immediate(b, 1, None),
        Action::Drop => immediate(b, 0, None),
        Action::Return => immediate(b, RETURN, None),
        Action::Jump(chain) => immediate(b, JUMP, Some(chain)),
        Action::JumpBySource(map) => address_lookup(b, SOURCE, map, Some(VERDICT_REGISTER)),
        Action::JumpByDestination(map) => {
            address_lookup(b, DESTINATION, map, Some(VERDICT_REGISTER));
        }
        Action::Masquerade => expression(b, "masq", |_| {}),
        Action::SourceNat(address) => {
            constant(b, *address);
            translate(b, SOURCE_NAT);
        }
        Action::SourceNatBySource(map) => {
            address_lookup(b, SOURCE, map, Some(REGISTER));
            translate(b, SOURCE_NAT);
        }
        Action::DestinationNatByDestination(map) => {
            address_lookup(b, DESTINATION, map, Some(REGISTER));
            translate(b, DESTINATION_NAT);
        }
    }
}
