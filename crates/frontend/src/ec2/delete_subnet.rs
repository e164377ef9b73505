//! DeleteSubnet: refused while an interface is in it.

use super::change::{in_use, within};
use super::describe::dry_run;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{AddressPool, NetworkAcl, RouteTable, Subnet};
use wire::NoOutput;
use wire::ec2::DeleteSubnetRequest;

pub async fn delete_subnet(
    cx: &Context,
    _caller: &Caller,
    input: DeleteSubnetRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    cx.transact(|txn| {
        let subnet = find::<Subnet>(txn, input.subnet_id.as_deref())?;
        within(txn, &subnet.vpc)?;
        let id = subnet.id.as_str();
        // Whoever makes an interface in the subnet writes its pool.
        let pool = txn.get::<AddressPool>(id);
        if pool.is_some_and(|pool| !pool.taken.is_empty()) {
            let text = format!("The subnet '{id}' has dependencies and cannot be deleted.");
            return Err(in_use(text));
        }
        let snapshot = txn.snapshot().clone();
        for (_, table) in snapshot.scan::<RouteTable>("") {
            if table.associations.iter().any(|it| it.subnet == subnet.id) {
                let mut table = (*table).clone();
                table.associations.retain(|it| it.subnet != subnet.id);
                txn.put(table);
            }
        }
        for (_, acl) in snapshot.scan::<NetworkAcl>("") {
            if acl.associations.iter().any(|it| it.subnet == subnet.id) {
                let mut acl = (*acl).clone();
                acl.associations.retain(|it| it.subnet != subnet.id);
                txn.put(acl);
            }
        }
        txn.delete::<AddressPool>(id);
        txn.delete::<Subnet>(id);
        Ok(NoOutput)
    })
    .await
}
