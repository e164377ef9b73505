//! DescribeNetworkInterfaceAttribute: one attribute of one interface.

use super::change::missing_parameter;
use super::describe::{dry_run, malformed, missing};
use super::describe_network_interfaces::show;
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::NetworkInterface;
use wire::ec2::{
    AttributeBooleanValue, AttributeValue, DescribeNetworkInterfaceAttributeRequest,
    DescribeNetworkInterfaceAttributeResult, NetworkInterfaceAttribute,
};

pub async fn describe_network_interface_attribute(
    cx: &Context,
    _caller: &Caller,
    input: DescribeNetworkInterfaceAttributeRequest,
) -> Result<DescribeNetworkInterfaceAttributeResult, Fault> {
    dry_run(input.dry_run)?;
    let id = input.network_interface_id.unwrap_or_default();
    if !id.starts_with(NetworkInterface::NOUN.prefix) {
        return Err(malformed(&NetworkInterface::NOUN, &id));
    }
    let snapshot = cx.store.snapshot();
    let interface = snapshot.get::<NetworkInterface>(&id);
    let interface = interface.ok_or_else(|| missing(&NetworkInterface::NOUN, &id))?;
    let shown = show(cx, &snapshot, &interface);
    let mut answer = DescribeNetworkInterfaceAttributeResult {
        network_interface_id: Some(id),
        ..Default::default()
    };
    match input.attribute {
        Some(NetworkInterfaceAttribute::Description) => {
            answer.description = Some(AttributeValue { value: shown.description });
        }
        Some(NetworkInterfaceAttribute::GroupSet) => answer.groups = shown.groups,
        Some(NetworkInterfaceAttribute::SourceDestCheck) => {
            let value = shown.source_dest_check;
            answer.source_dest_check = Some(AttributeBooleanValue { value });
        }
        Some(NetworkInterfaceAttribute::Attachment) => answer.attachment = shown.attachment,
        Some(NetworkInterfaceAttribute::AssociatePublicIpAddress) => {
            answer.associate_public_ip_address = Some(interface.public.is_some());
        }
        Some(NetworkInterfaceAttribute::Unrecognized(_)) | None => {
            return Err(missing_parameter("attribute"));
        }
    }
    Ok(answer)
}
