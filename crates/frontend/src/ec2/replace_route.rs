//! ReplaceRoute: another target for a destination the table has.

use super::change::within;
use super::describe::dry_run;
use super::nouns::find;
use super::routes::{To, Via, no_route};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::RouteTable;
use wire::NoOutput;
use wire::ec2::ReplaceRouteRequest;

pub async fn replace_route(
    cx: &Context,
    _caller: &Caller,
    input: ReplaceRouteRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    let to = To {
        range: input.destination_cidr_block.as_deref(),
        range_v6: input.destination_ipv6_cidr_block.as_deref(),
        list: input.destination_prefix_list_id.as_deref(),
    };
    let destination = to.read()?;
    let via = Via::of_replace(&input)?;
    cx.transact(|txn| {
        let table = find::<RouteTable>(txn, input.route_table_id.as_deref())?;
        within(txn, &table.vpc)?;
        let target = via.read(txn, &table)?;
        let mut table = (*table).clone();
        match table.routes.iter_mut().find(|route| route.destination == destination) {
            Some(route) => route.target = target,
            None => return Err(no_route(&table, &destination)),
        }
        txn.put(table);
        Ok(NoOutput)
    })
    .await
}
