//! DescribeNetworkAcls: each with the entries that deny the rest, which are stored in none.

use super::derived;
use super::describe::{by_ids, dry_run, page};
use super::filter::{Column, each, select, shown, text};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{self, AclRange};
use wire::ec2::{
    DescribeNetworkAclsRequest, DescribeNetworkAclsResult, IcmpTypeCode, NetworkAcl,
    NetworkAclAssociation, NetworkAclEntry, PortRange,
};

/// The number under which EC2 shows that the rest is denied.
const DENY_NUMBER: i32 = 32767;

fn entries(acl: &NetworkAcl, value: impl Fn(&NetworkAclEntry) -> Option<String>) -> Vec<String> {
    each(&acl.entries, value)
}

const COLUMNS: &[Column<NetworkAcl>] = &[
    ("association.association-id", |it| {
        each(&it.associations, |it| it.network_acl_association_id.clone())
    }),
    ("association.network-acl-id", |it| each(&it.associations, |it| it.network_acl_id.clone())),
    ("association.subnet-id", |it| each(&it.associations, |it| it.subnet_id.clone())),
    ("default", |it| shown(&it.is_default)),
    ("entry.cidr", |it| entries(it, |it| it.cidr_block.clone())),
    ("entry.egress", |it| entries(it, |it| it.egress.map(|egress| egress.to_string()))),
    ("entry.icmp.code", |it| {
        entries(it, |it| it.icmp_type_code.as_ref()?.code.map(|code| code.to_string()))
    }),
    ("entry.icmp.type", |it| {
        entries(it, |it| it.icmp_type_code.as_ref()?.r#type.map(|kind| kind.to_string()))
    }),
    ("entry.ipv6-cidr", |it| entries(it, |it| it.ipv6_cidr_block.clone())),
    ("entry.port-range.from", |it| {
        entries(it, |it| it.port_range.as_ref()?.from.map(|port| port.to_string()))
    }),
    ("entry.port-range.to", |it| {
        entries(it, |it| it.port_range.as_ref()?.to.map(|port| port.to_string()))
    }),
    ("entry.protocol", |it| entries(it, |it| it.protocol.clone())),
    ("entry.rule-action", |it| entries(it, |it| it.rule_action.as_ref().map(ToString::to_string))),
    ("entry.rule-number", |it| entries(it, |it| it.rule_number.map(|n| n.to_string()))),
    ("network-acl-id", |it| text(&it.network_acl_id)),
    ("owner-id", |it| text(&it.owner_id)),
    ("vpc-id", |it| text(&it.vpc_id)),
];

pub async fn describe_network_acls(
    cx: &Context,
    _caller: &Caller,
    input: DescribeNetworkAclsRequest,
) -> Result<DescribeNetworkAclsResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<network::NetworkAcl>("").map(|(_, acl)| show(cx, &acl)).collect();
    let ids = input.network_acl_ids.as_deref();
    let found = by_ids(all, ids, &network::NetworkAcl::NOUN, |it| &it.network_acl_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (acls, next_token) = page(found, ids, input.max_results, token, |it| &it.network_acl_id)?;
    Ok(DescribeNetworkAclsResult { network_acls: Some(acls), next_token })
}

pub fn show(cx: &Context, acl: &network::NetworkAcl) -> NetworkAcl {
    let id = acl.id.to_string();
    let associations = acl.associations.iter().map(|it| NetworkAclAssociation {
        network_acl_association_id: Some(it.id.to_string()),
        network_acl_id: Some(id.clone()),
        subnet_id: Some(it.subnet.to_string()),
    });
    let mut stored: Vec<_> = acl.entries.iter().collect();
    stored.sort_by_key(|entry| (!entry.egress, entry.number));
    let of = |egress: bool| {
        let entries = stored.iter().filter(move |entry| entry.egress == egress);
        entries.map(|entry| show_entry(entry)).chain(std::iter::once(deny(egress)))
    };
    NetworkAcl {
        associations: Some(associations.collect()),
        entries: Some(of(true).chain(of(false)).collect()),
        is_default: Some(acl.is_default),
        network_acl_id: Some(id.clone()),
        owner_id: Some(cx.locality.account.to_string()),
        tags: derived::tags(&acl.tags),
        vpc_id: Some(acl.vpc.to_string()),
    }
}

fn show_entry(entry: &network::NetworkAclEntry) -> NetworkAclEntry {
    let (cidr_block, ipv6_cidr_block) = match &entry.range {
        AclRange::V4(range) => (Some(range.to_string()), None),
        AclRange::V6(range) => (None, Some(range.clone())),
    };
    let protocol = entry.protocol.map_or("-1".to_owned(), |protocol| protocol.to_string());
    NetworkAclEntry {
        cidr_block,
        egress: Some(entry.egress),
        icmp_type_code: entry
            .icmp
            .map(|(kind, code)| IcmpTypeCode { code: Some(code), r#type: Some(kind) }),
        ipv6_cidr_block,
        port_range: entry
            .ports
            .map(|ports| PortRange { from: Some(ports.first.into()), to: Some(ports.last.into()) }),
        protocol: Some(protocol),
        rule_action: Some(if entry.allow { "allow" } else { "deny" }.into()),
        rule_number: Some(entry.number.into()),
    }
}

fn deny(egress: bool) -> NetworkAclEntry {
    NetworkAclEntry {
        cidr_block: Some("0.0.0.0/0".to_owned()),
        egress: Some(egress),
        protocol: Some("-1".to_owned()),
        rule_action: Some("deny".into()),
        rule_number: Some(DENY_NUMBER),
        ..NetworkAclEntry::default()
    }
}
