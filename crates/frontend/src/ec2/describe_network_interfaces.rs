//! DescribeNetworkInterfaces: the interfaces of tasks, from their placement until they are
//! released, of NAT gateways, load balancers and endpoints, and of users.

use super::derived;
use super::describe::{by_ids, dry_run, page};
use super::filter::{Column, each, select, shown, text};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::{ZoneName, network};
use std::net::Ipv4Addr;
use store::Snapshot;
use wire::Timestamp;
use wire::ec2::{
    DescribeNetworkInterfacesRequest, DescribeNetworkInterfacesResult, GroupIdentifier,
    NetworkInterface, NetworkInterfaceAssociation, NetworkInterfaceAttachment,
    NetworkInterfacePrivateIpAddress,
};

/// Who asked for the interface of a task: the account as which ECS itself acts.
const REQUESTER: &str = "amazon-ecs";

fn attachment(
    it: &NetworkInterface,
    value: impl Fn(&NetworkInterfaceAttachment) -> Vec<String>,
) -> Vec<String> {
    it.attachment.as_ref().map(value).unwrap_or_default()
}

fn association(
    it: &NetworkInterface,
    value: impl Fn(&NetworkInterfaceAssociation) -> &Option<String>,
) -> Vec<String> {
    it.association.iter().filter_map(|it| value(it).clone()).collect()
}

const COLUMNS: &[Column<NetworkInterface>] = &[
    ("addresses.association.owner-id", |it| association(it, |it| &it.ip_owner_id)),
    ("addresses.association.public-ip", |it| association(it, |it| &it.public_ip)),
    ("addresses.primary", |it| {
        it.private_ip_addresses.iter().flatten().flat_map(|it| shown(&it.primary)).collect()
    }),
    ("addresses.private-ip-address", |it| {
        each(&it.private_ip_addresses, |it| it.private_ip_address.clone())
    }),
    ("association.allocation-id", |it| association(it, |it| &it.allocation_id)),
    ("association.association-id", |it| association(it, |it| &it.association_id)),
    ("association.ip-owner-id", |it| association(it, |it| &it.ip_owner_id)),
    ("association.public-dns-name", |it| association(it, |it| &it.public_dns_name)),
    ("association.public-ip", |it| association(it, |it| &it.public_ip)),
    ("attachment.attach-time", |it| {
        attachment(it, |it| it.attach_time.iter().map(|time| time.iso8601(true)).collect())
    }),
    ("attachment.attachment-id", |it| attachment(it, |it| text(&it.attachment_id))),
    ("attachment.delete-on-termination", |it| {
        attachment(it, |it| shown(&it.delete_on_termination))
    }),
    ("attachment.device-index", |it| attachment(it, |it| shown(&it.device_index))),
    ("attachment.instance-id", |it| attachment(it, |it| text(&it.instance_id))),
    ("attachment.instance-owner-id", |it| attachment(it, |it| text(&it.instance_owner_id))),
    ("attachment.status", |it| attachment(it, |it| shown(&it.status))),
    ("availability-zone", |it| text(&it.availability_zone)),
    ("availability-zone-id", |it| text(&it.availability_zone_id)),
    ("description", |it| text(&it.description)),
    ("group-id", |it| each(&it.groups, |it| it.group_id.clone())),
    ("group-name", |it| each(&it.groups, |it| it.group_name.clone())),
    ("interface-type", |it| shown(&it.interface_type)),
    ("ipv6-addresses.ipv6-address", |_| Vec::new()),
    ("mac-address", |it| text(&it.mac_address)),
    ("network-interface-id", |it| text(&it.network_interface_id)),
    ("owner-id", |it| text(&it.owner_id)),
    ("private-dns-name", |it| text(&it.private_dns_name)),
    ("private-ip-address", |it| text(&it.private_ip_address)),
    ("requester-id", |it| text(&it.requester_id)),
    ("requester-managed", |it| shown(&it.requester_managed)),
    ("source-dest-check", |it| shown(&it.source_dest_check)),
    ("status", |it| shown(&it.status)),
    ("subnet-id", |it| text(&it.subnet_id)),
    ("vpc-id", |it| text(&it.vpc_id)),
];

pub async fn describe_network_interfaces(
    cx: &Context,
    _caller: &Caller,
    input: DescribeNetworkInterfacesRequest,
) -> Result<DescribeNetworkInterfacesResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<network::NetworkInterface>("");
    let all = all.map(|(_, interface)| show(cx, &snapshot, &interface)).collect();
    let ids = input.network_interface_ids.as_deref();
    let found = by_ids(all, ids, &network::NetworkInterface::NOUN, |it| &it.network_interface_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tag_set))?;
    let token = input.next_token.as_deref();
    let (interfaces, next_token) =
        page(found, ids, input.max_results, token, |it| &it.network_interface_id)?;
    Ok(DescribeNetworkInterfacesResult { network_interfaces: Some(interfaces), next_token })
}

pub fn show(
    cx: &Context,
    snapshot: &Snapshot,
    interface: &network::NetworkInterface,
) -> NetworkInterface {
    let account = cx.locality.account.to_string();
    let groups = interface.security_groups.iter().map(|id| GroupIdentifier {
        group_id: Some(id.to_string()),
        group_name: snapshot
            .get::<network::SecurityGroup>(id.as_str())
            .map(|group| group.name.clone()),
    });
    let vpc = snapshot.get::<network::Vpc>(interface.vpc.as_str());
    let named = vpc.is_some_and(|vpc| vpc.dns_hostnames && vpc.dns_support);
    let public = interface.public.as_ref().map(|public| public_address(cx, public, named));
    let zone = &interface.zone;
    let ips = interface.private_ips().enumerate();
    let ips = ips.map(|(n, ip)| private_address(zone, ip, n == 0, &public));
    let of_service = interface.task.is_some() || interface.requester.is_some();
    let requester = match &interface.task {
        Some(_) => Some(REQUESTER.to_owned()),
        None => interface.requester.clone(),
    };
    NetworkInterface {
        attachment: attached(interface, &account),
        availability_zone: Some(interface.zone.to_string()),
        availability_zone_id: Some(derived::zone_id(&cx.locality, interface.zone.as_str())),
        description: Some(interface.description.clone()),
        groups: Some(groups.collect()),
        interface_type: Some(interface.kind.as_str().into()),
        ipv6_addresses: Some(Vec::new()),
        mac_address: Some(interface.mac.clone()),
        network_interface_id: Some(interface.id.to_string()),
        owner_id: Some(account),
        private_dns_name: Some(interface.private_dns_name.clone()),
        private_ip_address: Some(interface.private_ip.to_string()),
        private_ip_addresses: Some(ips.collect()),
        requester_id: requester,
        requester_managed: Some(of_service),
        source_dest_check: Some(interface.source_dest_check),
        status: Some(if interface.is_in_use() { "in-use" } else { "available" }.into()),
        subnet_id: Some(interface.subnet.to_string()),
        tag_set: derived::tags(&interface.tags),
        vpc_id: Some(interface.vpc.to_string()),
        association: public,
        ..NetworkInterface::default()
    }
}

fn private_address(
    zone: &ZoneName,
    ip: Ipv4Addr,
    primary: bool,
    public: &Option<NetworkInterfaceAssociation>,
) -> NetworkInterfacePrivateIpAddress {
    NetworkInterfacePrivateIpAddress {
        // A public address stands for the primary one.
        association: public.clone().filter(|_| primary),
        primary: Some(primary),
        private_dns_name: Some(network::NetworkInterface::dns_name(zone, ip)),
        private_ip_address: Some(ip.to_string()),
    }
}

fn public_address(
    cx: &Context,
    public: &network::PublicAddress,
    named: bool,
) -> NetworkInterfaceAssociation {
    // One that came with the interface is EC2's own.
    let owner = match public.allocation {
        Some(_) => cx.locality.account.to_string(),
        None => "amazon".to_owned(),
    };
    let name = derived::public_name(&cx.locality, public.ip);
    NetworkInterfaceAssociation {
        allocation_id: public.allocation.as_ref().map(ToString::to_string),
        association_id: public.association.as_ref().map(ToString::to_string),
        ip_owner_id: Some(owner),
        public_dns_name: Some(if named { name } else { String::new() }),
        public_ip: Some(public.ip.to_string()),
        ..NetworkInterfaceAssociation::default()
    }
}

/// A task's interface is attached for as long as it is there.
pub fn attachment_id(interface: &network::NetworkInterface) -> Option<String> {
    match (&interface.attachment, &interface.task) {
        (Some(attachment), _) => Some(attachment.id.clone()),
        (None, Some(_)) => Some(interface.id.as_str().replacen("eni-", "eni-attach-", 1)),
        (None, None) => None,
    }
}

fn attached(
    interface: &network::NetworkInterface,
    account: &str,
) -> Option<NetworkInterfaceAttachment> {
    let id = attachment_id(interface)?;
    let at = interface.attachment.as_ref().map_or(interface.created_at, |it| it.at);
    let owner = interface.attachment.as_ref().map_or(account, |it| it.owner.as_str());
    Some(NetworkInterfaceAttachment {
        attach_time: Some(Timestamp::from_unix_ms(at.0)),
        attachment_id: Some(id),
        delete_on_termination: Some(false),
        device_index: Some(1),
        instance_owner_id: Some(owner.to_owned()),
        network_card_index: Some(0),
        status: Some("attached".into()),
        ..NetworkInterfaceAttachment::default()
    })
}
