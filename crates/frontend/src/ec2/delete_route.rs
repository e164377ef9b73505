//! DeleteRoute: any but the local ones, and those of endpoints.

use super::change::{invalid, within};
use super::describe::dry_run;
use super::nouns::find;
use super::routes::{To, name, no_route};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{RouteDestination, RouteTable, RouteTarget};
use wire::NoOutput;
use wire::ec2::DeleteRouteRequest;

pub async fn delete_route(
    cx: &Context,
    _caller: &Caller,
    input: DeleteRouteRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    let to = To {
        range: input.destination_cidr_block.as_deref(),
        range_v6: input.destination_ipv6_cidr_block.as_deref(),
        list: input.destination_prefix_list_id.as_deref(),
    };
    let destination = to.read()?;
    cx.transact(|txn| {
        let mut table = (*find::<RouteTable>(txn, input.route_table_id.as_deref())?).clone();
        let vpc = within(txn, &table.vpc)?;
        let is_local = |range| vpc.cidrs().any(|local| local == range);
        if matches!(destination, RouteDestination::Range(range) if is_local(range)) {
            let (_, range) = name(&destination);
            let text = format!("cannot remove local route {range} in route table {}", table.id);
            return Err(invalid(text));
        }
        let at = table.routes.iter().position(|route| route.destination == destination);
        let at = at.ok_or_else(|| no_route(&table, &destination))?;
        if matches!(table.routes[at].target, RouteTarget::Endpoint(_)) {
            let text = "Routes of an endpoint are removed by changing the endpoint.";
            return Err(invalid(text));
        }
        table.routes.remove(at);
        txn.put(table);
        Ok(NoOutput)
    })
    .await
}
