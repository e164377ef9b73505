//! DescribeSecurityGroups.

use super::derived;
use super::describe::{by_ids, dry_run, page};
use super::filter::{Column, each, select, text};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{self, SecurityGroupPeer};
use wire::ec2::{
    DescribeSecurityGroupsRequest, DescribeSecurityGroupsResult, IpPermission, IpRange, Ipv6Range,
    PrefixListId, SecurityGroup, UserIdGroupPair,
};

type Permissions = Option<Vec<IpPermission>>;

fn ranges(permissions: &Permissions) -> Vec<String> {
    let all = permissions.iter().flatten();
    all.flat_map(|it| each(&it.ip_ranges, |range| range.cidr_ip.clone())).collect()
}

fn ranges_v6(permissions: &Permissions) -> Vec<String> {
    let all = permissions.iter().flatten();
    all.flat_map(|it| each(&it.ipv6_ranges, |range| range.cidr_ipv6.clone())).collect()
}

fn pairs(
    permissions: &Permissions,
    value: impl Fn(&UserIdGroupPair) -> Option<String>,
) -> Vec<String> {
    let all = permissions.iter().flatten();
    all.flat_map(|it| each(&it.user_id_group_pairs, &value)).collect()
}

fn from_ports(permissions: &Permissions) -> Vec<String> {
    each(permissions, |it| it.from_port.map(|port| port.to_string()))
}

fn to_ports(permissions: &Permissions) -> Vec<String> {
    each(permissions, |it| it.to_port.map(|port| port.to_string()))
}

fn lists(permissions: &Permissions) -> Vec<String> {
    let all = permissions.iter().flatten();
    all.flat_map(|it| each(&it.prefix_list_ids, |list| list.prefix_list_id.clone())).collect()
}

fn protocols(permissions: &Permissions) -> Vec<String> {
    each(permissions, |it| it.ip_protocol.clone())
}

const COLUMNS: &[Column<SecurityGroup>] = &[
    ("description", |it| text(&it.description)),
    ("egress.ip-permission.cidr", |it| ranges(&it.ip_permissions_egress)),
    ("egress.ip-permission.from-port", |it| from_ports(&it.ip_permissions_egress)),
    ("egress.ip-permission.group-id", |it| {
        pairs(&it.ip_permissions_egress, |pair| pair.group_id.clone())
    }),
    ("egress.ip-permission.group-name", |it| {
        pairs(&it.ip_permissions_egress, |pair| pair.group_name.clone())
    }),
    ("egress.ip-permission.ipv6-cidr", |it| ranges_v6(&it.ip_permissions_egress)),
    ("egress.ip-permission.prefix-list-id", |it| lists(&it.ip_permissions_egress)),
    ("egress.ip-permission.protocol", |it| protocols(&it.ip_permissions_egress)),
    ("egress.ip-permission.to-port", |it| to_ports(&it.ip_permissions_egress)),
    ("egress.ip-permission.user-id", |it| {
        pairs(&it.ip_permissions_egress, |pair| pair.user_id.clone())
    }),
    ("group-id", |it| text(&it.group_id)),
    ("group-name", |it| text(&it.group_name)),
    ("ip-permission.cidr", |it| ranges(&it.ip_permissions)),
    ("ip-permission.from-port", |it| from_ports(&it.ip_permissions)),
    ("ip-permission.group-id", |it| pairs(&it.ip_permissions, |pair| pair.group_id.clone())),
    ("ip-permission.group-name", |it| pairs(&it.ip_permissions, |pair| pair.group_name.clone())),
    ("ip-permission.ipv6-cidr", |it| ranges_v6(&it.ip_permissions)),
    ("ip-permission.prefix-list-id", |it| lists(&it.ip_permissions)),
    ("ip-permission.protocol", |it| protocols(&it.ip_permissions)),
    ("ip-permission.to-port", |it| to_ports(&it.ip_permissions)),
    ("ip-permission.user-id", |it| pairs(&it.ip_permissions, |pair| pair.user_id.clone())),
    ("owner-id", |it| text(&it.owner_id)),
    ("vpc-id", |it| text(&it.vpc_id)),
];

pub async fn describe_security_groups(
    cx: &Context,
    _caller: &Caller,
    input: DescribeSecurityGroupsRequest,
) -> Result<DescribeSecurityGroupsResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let mut all: Vec<_> = snapshot.scan::<network::SecurityGroup>("").map(|(_, it)| it).collect();
    if let Some(names) = input.group_names.as_deref().filter(|names| !names.is_empty()) {
        // Names are looked up in the default VPC only, as on EC2.
        let mut vpcs = snapshot.scan::<network::Vpc>("").map(|(_, vpc)| vpc);
        let default = vpcs.find(|vpc| vpc.is_default).map(|vpc| vpc.id.clone());
        all.retain(|group| Some(&group.vpc) == default.as_ref());
        if let Some(name) = names.iter().find(|name| !all.iter().any(|it| it.name == **name)) {
            let vpc = default.map(|vpc| format!(" in default VPC '{vpc}'")).unwrap_or_default();
            let text = format!("The security group '{name}' does not exist{vpc}");
            return Err(Fault::client("InvalidGroup.NotFound", text));
        }
        all.retain(|group| names.contains(&group.name));
    }
    let all = all.iter().map(|group| show(cx, group)).collect();
    let ids = input.group_ids.as_deref();
    let found = by_ids(all, ids, &network::SecurityGroup::NOUN, |it| &it.group_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (groups, next_token) = page(found, ids, input.max_results, token, |it| &it.group_id)?;
    Ok(DescribeSecurityGroupsResult { security_groups: Some(groups), next_token })
}

fn show(cx: &Context, group: &network::SecurityGroup) -> SecurityGroup {
    let arn = cx.locality.arn("ec2", &format!("security-group/{}", group.id));
    SecurityGroup {
        description: Some(group.description.clone()),
        group_id: Some(group.id.to_string()),
        group_name: Some(group.name.clone()),
        ip_permissions: Some(permissions(cx, group, false)),
        ip_permissions_egress: Some(permissions(cx, group, true)),
        owner_id: Some(cx.locality.account.to_string()),
        security_group_arn: Some(arn),
        tags: derived::tags(&group.tags),
        vpc_id: Some(group.vpc.to_string()),
    }
}

/// Rules of the same protocol and ports are one permission with several peers.
fn permissions(cx: &Context, group: &network::SecurityGroup, egress: bool) -> Vec<IpPermission> {
    let mut permissions: Vec<IpPermission> = Vec::new();
    for rule in group.rules.iter().filter(|rule| rule.egress == egress) {
        let same = |it: &IpPermission| {
            it.ip_protocol.as_ref() == Some(&rule.protocol)
                && (it.from_port, it.to_port) == (rule.from_port, rule.to_port)
        };
        let at = permissions.iter().position(same).unwrap_or_else(|| {
            permissions.push(IpPermission {
                from_port: rule.from_port,
                to_port: rule.to_port,
                ip_protocol: Some(rule.protocol.clone()),
                ip_ranges: Some(Vec::new()),
                ipv6_ranges: Some(Vec::new()),
                prefix_list_ids: Some(Vec::new()),
                user_id_group_pairs: Some(Vec::new()),
            });
            permissions.len() - 1
        });
        add_peer(cx, &mut permissions[at], rule);
    }
    permissions
}

fn add_peer(cx: &Context, permission: &mut IpPermission, rule: &network::SecurityGroupRule) {
    let description = rule.description.clone();
    match &rule.peer {
        SecurityGroupPeer::Range(cidr) => {
            let cidr_ip = Some(cidr.to_string());
            permission.ip_ranges.get_or_insert_default().push(IpRange { cidr_ip, description });
        }
        SecurityGroupPeer::RangeV6(cidr) => {
            let cidr_ipv6 = Some(cidr.clone());
            let range = Ipv6Range { cidr_ipv6, description };
            permission.ipv6_ranges.get_or_insert_default().push(range);
        }
        SecurityGroupPeer::PrefixList(id) => {
            let list = PrefixListId { prefix_list_id: Some(id.to_string()), description };
            permission.prefix_list_ids.get_or_insert_default().push(list);
        }
        SecurityGroupPeer::Group(id) => {
            let pair = UserIdGroupPair {
                group_id: Some(id.to_string()),
                user_id: Some(cx.locality.account.to_string()),
                description,
                ..UserIdGroupPair::default()
            };
            permission.user_id_group_pairs.get_or_insert_default().push(pair);
        }
    }
}
