//! DisassociateRouteTable: the subnet is back with the VPC's main table.

use super::change::{invalid, within};
use super::describe::dry_run;
use super::nouns::no_association;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::RouteTable;
use std::sync::Arc;
use store::Txn;
use wire::NoOutput;
use wire::ec2::DisassociateRouteTableRequest;

pub async fn disassociate_route_table(
    cx: &Context,
    _caller: &Caller,
    input: DisassociateRouteTableRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    let id = input.association_id.unwrap_or_default();
    cx.transact(|txn| {
        let table = with_association(txn, &id)?;
        if is_main(&table, &id) {
            let text = format!("cannot disassociate the main route table association {id}");
            return Err(invalid(text));
        }
        within(txn, &table.vpc)?;
        let mut table = (*table).clone();
        table.associations.retain(|it| it.id.as_str() != id);
        txn.put(table);
        Ok(NoOutput)
    })
    .await
}

pub fn is_main(table: &RouteTable, association: &str) -> bool {
    table.main.as_ref().is_some_and(|id| id.as_str() == association)
}

/// The table with this association, guarded.
pub fn with_association(txn: &mut Txn, id: &str) -> Result<Arc<RouteTable>, Fault> {
    let snapshot = txn.snapshot().clone();
    let mut tables = snapshot.scan::<RouteTable>("").map(|(_, table)| table);
    let table = tables.find(|table| {
        is_main(table, id) || table.associations.iter().any(|it| it.id.as_str() == id)
    });
    let table = table.ok_or_else(|| no_association(id))?;
    txn.get::<RouteTable>(table.id.as_str()).ok_or_else(|| no_association(id))
}
