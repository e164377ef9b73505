//! DescribeNetworkInterfaces: the interfaces of tasks, from their placement until they are
//! released.

use super::derived;
use super::describe::{Noun, by_ids, dry_run, page};
use super::filter::{Column, each, select, shown, text};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network;
use store::Snapshot;
use wire::Timestamp;
use wire::ec2::{
    DescribeNetworkInterfacesRequest, DescribeNetworkInterfacesResult, GroupIdentifier,
    NetworkInterface, NetworkInterfaceAttachment, NetworkInterfacePrivateIpAddress,
};

const NOUN: Noun = Noun {
    prefix: "eni-",
    not_found: "InvalidNetworkInterfaceID.NotFound",
    malformed: "InvalidNetworkInterfaceId.Malformed",
    name: "networkInterface ID",
};

/// Who asked for the interface of a task: the account as which ECS itself acts.
const REQUESTER: &str = "amazon-ecs";

fn attachment(
    it: &NetworkInterface,
    value: impl Fn(&NetworkInterfaceAttachment) -> Vec<String>,
) -> Vec<String> {
    it.attachment.as_ref().map(value).unwrap_or_default()
}

/// No interface has a public address of its own: tasks go out through the instance's.
const COLUMNS: &[Column<NetworkInterface>] = &[
    ("addresses.association.owner-id", |_| Vec::new()),
    ("addresses.association.public-ip", |_| Vec::new()),
    ("addresses.primary", |it| {
        it.private_ip_addresses.iter().flatten().flat_map(|it| shown(&it.primary)).collect()
    }),
    ("addresses.private-ip-address", |it| {
        each(&it.private_ip_addresses, |it| it.private_ip_address.clone())
    }),
    ("association.allocation-id", |_| Vec::new()),
    ("association.association-id", |_| Vec::new()),
    ("association.ip-owner-id", |_| Vec::new()),
    ("association.public-dns-name", |_| Vec::new()),
    ("association.public-ip", |_| Vec::new()),
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
    let found = by_ids(all, ids, &NOUN, |it| &it.network_interface_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tag_set))?;
    let token = input.next_token.as_deref();
    let (interfaces, next_token) =
        page(found, ids, input.max_results, token, |it| &it.network_interface_id)?;
    Ok(DescribeNetworkInterfacesResult { network_interfaces: Some(interfaces), next_token })
}

fn show(
    cx: &Context,
    snapshot: &Snapshot,
    interface: &network::NetworkInterface,
) -> NetworkInterface {
    let account = cx.locality.account.to_string();
    let address = interface.private_ip.to_string();
    let name = interface.private_dns_name.clone();
    let groups = interface.security_groups.iter().map(|id| GroupIdentifier {
        group_id: Some(id.to_string()),
        group_name: snapshot
            .get::<network::SecurityGroup>(id.as_str())
            .map(|group| group.name.clone()),
    });
    NetworkInterface {
        attachment: interface.task.as_ref().map(|_| attached(interface, &account)),
        availability_zone: Some(interface.zone.to_string()),
        availability_zone_id: Some(derived::zone_id(&cx.locality, interface.zone.as_str())),
        description: Some(interface.description.clone()),
        groups: Some(groups.collect()),
        interface_type: Some("interface".into()),
        ipv6_addresses: Some(Vec::new()),
        mac_address: Some(interface.mac.clone()),
        network_interface_id: Some(interface.id.to_string()),
        owner_id: Some(account),
        private_dns_name: Some(name.clone()),
        private_ip_address: Some(address.clone()),
        private_ip_addresses: Some(vec![NetworkInterfacePrivateIpAddress {
            primary: Some(true),
            private_dns_name: Some(name),
            private_ip_address: Some(address),
            ..NetworkInterfacePrivateIpAddress::default()
        }]),
        requester_id: Some(REQUESTER.to_owned()),
        requester_managed: Some(interface.task.is_some()),
        source_dest_check: Some(true),
        status: Some(if interface.task.is_some() { "in-use" } else { "available" }.into()),
        subnet_id: Some(interface.subnet.to_string()),
        tag_set: Some(Vec::new()),
        vpc_id: Some(interface.vpc.to_string()),
        ..NetworkInterface::default()
    }
}

fn attached(interface: &network::NetworkInterface, account: &str) -> NetworkInterfaceAttachment {
    let id = interface.id.as_str().replacen("eni-", "eni-attach-", 1);
    NetworkInterfaceAttachment {
        attach_time: Some(Timestamp::from_unix_ms(interface.created_at.0)),
        attachment_id: Some(id),
        delete_on_termination: Some(false),
        device_index: Some(1),
        instance_owner_id: Some(account.to_owned()),
        network_card_index: Some(0),
        status: Some("attached".into()),
        ..NetworkInterfaceAttachment::default()
    }
}
