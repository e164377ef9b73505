//! CreateRoute: each destination once.

use super::change::within;
use super::describe::dry_run;
use super::nouns::find;
use super::routes::{To, Via, already, check_destination};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::ROUTES_PER_TABLE_MAX;
use model::network::{Route, RouteTable};
use wire::ec2::{CreateRouteRequest, CreateRouteResult};

pub async fn create_route(
    cx: &Context,
    _caller: &Caller,
    input: CreateRouteRequest,
) -> Result<CreateRouteResult, Fault> {
    dry_run(input.dry_run)?;
    let to = To {
        range: input.destination_cidr_block.as_deref(),
        range_v6: input.destination_ipv6_cidr_block.as_deref(),
        list: input.destination_prefix_list_id.as_deref(),
    };
    let destination = to.read()?;
    let via = Via::of_create(&input)?;
    cx.transact(|txn| {
        let table = find::<RouteTable>(txn, input.route_table_id.as_deref())?;
        let vpc = within(txn, &table.vpc)?;
        check_destination(txn, &vpc, &destination)?;
        let target = via.read(txn, &table)?;
        if let Some(known) = table.routes.iter().find(|it| it.destination == destination) {
            // The same once more changes nothing, so a retry of a lost answer succeeds.
            return if known.target == target { Ok(()) } else { Err(already(&destination)) };
        }
        let mut table = (*table).clone();
        if table.routes.len() >= ROUTES_PER_TABLE_MAX {
            let text = "The maximum number of routes of the table has been reached.";
            return Err(Fault::client("RouteLimitExceeded", text));
        }
        table.routes.push(Route { destination: destination.clone(), target });
        txn.put(table);
        Ok(())
    })
    .await?;
    Ok(CreateRouteResult { r#return: Some(true) })
}
