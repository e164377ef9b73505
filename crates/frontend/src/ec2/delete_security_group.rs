//! DeleteSecurityGroup: refused for a VPC's default group, while an interface has the group, and
//! while another group's rule names it.

use super::change::{in_use, subnets_of, within};
use super::describe::dry_run;
use super::permissions::group_given;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::SecurityGroupId;
use model::network::{
    AddressPool, NetworkInterface, SecurityGroup, SecurityGroupPeer, VpcEndpoint,
};
use store::Snapshot;
use wire::ec2::{DeleteSecurityGroupRequest, DeleteSecurityGroupResult};

pub async fn delete_security_group(
    cx: &Context,
    _caller: &Caller,
    input: DeleteSecurityGroupRequest,
) -> Result<DeleteSecurityGroupResult, Fault> {
    dry_run(input.dry_run)?;
    let id = cx.transact(|txn| {
        let (id, name) = (input.group_id.as_deref(), input.group_name.as_deref());
        let group = group_given(txn, id, name)?;
        if group.is_default() {
            let text = format!(
                "the specified group: \"{}\" name: \"{}\" cannot be deleted by a user",
                group.id, group.name
            );
            return Err(Fault::client("CannotDelete", text));
        }
        within(txn, &group.vpc)?;
        // Placement does not write the VPC's record, but the pool of the subnet it takes from.
        let snapshot = txn.snapshot().clone();
        for subnet in subnets_of(&snapshot, &group.vpc) {
            txn.get::<AddressPool>(subnet.id.as_str());
        }
        if is_used(&snapshot, &group.id) {
            return Err(in_use(format!("resource {} has a dependent object", group.id)));
        }
        txn.delete::<SecurityGroup>(group.id.as_str());
        Ok(group.id.to_string())
    });
    Ok(DeleteSecurityGroupResult { group_id: Some(id.await?), r#return: Some(true) })
}

fn is_used(snapshot: &Snapshot, id: &SecurityGroupId) -> bool {
    let named = |group: &SecurityGroup| {
        let mut peers = group.rules.iter().map(|rule| &rule.peer);
        group.id != *id && peers.any(|peer| *peer == SecurityGroupPeer::Group(id.clone()))
    };
    snapshot.scan::<NetworkInterface>("").any(|(_, it)| it.security_groups.contains(id))
        || snapshot.scan::<VpcEndpoint>("").any(|(_, it)| it.security_groups.contains(id))
        || snapshot.scan::<SecurityGroup>("").any(|(_, group)| named(&group))
}
