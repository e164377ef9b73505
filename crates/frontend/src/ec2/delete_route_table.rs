//! DeleteRouteTable: refused for the main table, and while a subnet is associated.

use super::change::{in_use, within};
use super::describe::dry_run;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{RouteTable, VpcEndpoint};
use wire::NoOutput;
use wire::ec2::DeleteRouteTableRequest;

pub async fn delete_route_table(
    cx: &Context,
    _caller: &Caller,
    input: DeleteRouteTableRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    cx.transact(|txn| {
        let table = find::<RouteTable>(txn, input.route_table_id.as_deref())?;
        within(txn, &table.vpc)?;
        if table.main.is_some() || !table.associations.is_empty() {
            let id = &table.id;
            let text = format!("The routeTable '{id}' has dependencies and cannot be deleted.");
            return Err(in_use(text));
        }
        // A gateway endpoint forgets the table.
        let snapshot = txn.snapshot().clone();
        for (_, endpoint) in snapshot.scan::<VpcEndpoint>("") {
            if endpoint.route_tables.contains(&table.id) {
                let mut endpoint = (*endpoint).clone();
                endpoint.route_tables.retain(|id| *id != table.id);
                txn.put(endpoint);
            }
        }
        txn.delete::<RouteTable>(table.id.as_str());
        Ok(NoOutput)
    })
    .await
}
