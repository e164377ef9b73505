//! DeleteVpc: takes along what came with it, and refuses while anything else is in it.

use super::change::in_use;
use super::describe::dry_run;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::VpcId;
use model::network::{
    InternetGateway, NetworkAcl, NetworkInterface, RouteTable, SecurityGroup, Subnet, Vpc,
    VpcEndpoint,
};
use store::Snapshot;
use wire::NoOutput;
use wire::ec2::DeleteVpcRequest;

pub async fn delete_vpc(
    cx: &Context,
    _caller: &Caller,
    input: DeleteVpcRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    cx.transact(|txn| {
        let vpc = find::<Vpc>(txn, input.vpc_id.as_deref())?;
        let snapshot = txn.snapshot().clone();
        if has_more(&snapshot, &vpc.id) {
            let text = format!("The vpc '{}' has dependencies and cannot be deleted.", vpc.id);
            return Err(in_use(text));
        }
        for (id, table) in snapshot.scan::<RouteTable>("") {
            if table.vpc == vpc.id {
                txn.delete::<RouteTable>(id);
            }
        }
        for (id, acl) in snapshot.scan::<NetworkAcl>("") {
            if acl.vpc == vpc.id {
                txn.delete::<NetworkAcl>(id);
            }
        }
        for (id, group) in snapshot.scan::<SecurityGroup>("") {
            if group.vpc == vpc.id {
                txn.delete::<SecurityGroup>(id);
            }
        }
        txn.delete::<Vpc>(vpc.id.as_str());
        Ok(NoOutput)
    })
    .await
}

/// Whether anything is in the VPC that was not made with it. NAT gateways and load balancers have
/// interfaces in its subnets.
fn has_more(snapshot: &Snapshot, vpc: &VpcId) -> bool {
    snapshot.scan::<Subnet>("").any(|(_, it)| it.vpc == *vpc)
        || snapshot.scan::<InternetGateway>("").any(|(_, it)| it.vpc.as_ref() == Some(vpc))
        || snapshot.scan::<NetworkInterface>("").any(|(_, it)| it.vpc == *vpc)
        || snapshot.scan::<VpcEndpoint>("").any(|(_, it)| it.vpc == *vpc)
        || snapshot.scan::<RouteTable>("").any(|(_, it)| it.vpc == *vpc && it.main.is_none())
        || snapshot.scan::<NetworkAcl>("").any(|(_, it)| it.vpc == *vpc && !it.is_default)
        || snapshot.scan::<SecurityGroup>("").any(|(_, it)| it.vpc == *vpc && !it.is_default())
}
