//! ModifyNetworkInterfaceAttribute: the description, the groups or the check of source and
//! destination, of an interface of the user's own.

use super::change::{groups_in, missing_parameter, refuse, within};
use super::describe::dry_run;
use super::interfaces::users_interface;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::SECURITY_GROUPS_PER_TASK_MAX;
use wire::NoOutput;
use wire::ec2::ModifyNetworkInterfaceAttributeRequest;

pub async fn modify_network_interface_attribute(
    cx: &Context,
    _caller: &Caller,
    input: ModifyNetworkInterfaceAttributeRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    refuse(&[
        ("associatePublicIpAddress", input.associate_public_ip_address == Some(true)),
        ("associatedSubnetIds", input.associated_subnet_ids.is_some()),
        ("attachment", input.attachment.is_some()),
        ("connectionTrackingSpecification", input.connection_tracking_specification.is_some()),
        ("enaSrdSpecification", input.ena_srd_specification.is_some()),
        ("enablePrimaryIpv6", input.enable_primary_ipv6 == Some(true)),
    ])?;
    let description = input.description.and_then(|it| it.value);
    let check = input.source_dest_check.and_then(|it| it.value);
    let groups = input.groups.filter(|groups| !groups.is_empty());
    if description.is_none() && check.is_none() && groups.is_none() {
        return Err(missing_parameter("attribute"));
    }
    if groups.as_ref().is_some_and(|groups| groups.len() > SECURITY_GROUPS_PER_TASK_MAX) {
        let text = "The maximum number of security groups per interface has been reached.";
        return Err(Fault::client("SecurityGroupsPerInterfaceLimitExceeded", text));
    }
    cx.transact(|txn| {
        let id = input.network_interface_id.as_deref();
        let mut interface = (*users_interface(txn, id)?).clone();
        within(txn, &interface.vpc)?;
        if let Some(groups) = &groups {
            interface.security_groups = groups_in(txn, &interface.vpc, Some(groups))?;
        }
        if let Some(description) = &description {
            interface.description.clone_from(description);
        }
        interface.source_dest_check = check.unwrap_or(interface.source_dest_check);
        txn.put(interface);
        Ok(NoOutput)
    })
    .await
}
