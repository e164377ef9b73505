//! CreateRouteTable: a table with nothing but the way inside.

use super::change::{Once, within};
use super::describe::dry_run;
use super::describe_route_tables::show;
use super::nouns::find;
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::ROUTE_TABLES_PER_VPC_MAX;
use model::network::{RouteTable, Vpc};
use model::{RouteTableId, Tags, VpcId};
use store::Txn;
use wire::ec2::{CreateRouteTableRequest, CreateRouteTableResult};

pub async fn create_route_table(
    cx: &Context,
    _caller: &Caller,
    input: CreateRouteTableRequest,
) -> Result<CreateRouteTableResult, Fault> {
    dry_run(input.dry_run)?;
    let token = input.client_token.clone();
    let once = Once::of("CreateRouteTable", token.as_deref(), &input)?;
    let tags = tagged::given(input.tag_specifications, "route-table")?;
    let now = cx.now();
    let table = cx.transact(|txn| {
        if let Some(once) = &once
            && let Some(id) = once.made(txn, now)?
        {
            return find::<RouteTable>(txn, Some(&id)).map(|table| (*table).clone());
        }
        let vpc = find::<Vpc>(txn, input.vpc_id.as_deref())?;
        let table = put_table(cx, txn, &vpc.id, tags.clone())?;
        if let Some(once) = &once {
            once.remember(txn, table.id.as_str(), now);
        }
        Ok(table)
    });
    let table = table.await?;
    let shown = show(cx, &cx.store.snapshot(), &table);
    Ok(CreateRouteTableResult { client_token: token, route_table: Some(shown) })
}

fn put_table(cx: &Context, txn: &mut Txn, vpc: &VpcId, tags: Tags) -> Result<RouteTable, Fault> {
    within(txn, vpc)?;
    let known = txn.snapshot().scan::<RouteTable>("").filter(|(_, it)| it.vpc == *vpc).count();
    if known >= ROUTE_TABLES_PER_VPC_MAX {
        let text = "The maximum number of route tables has been reached.";
        return Err(Fault::client("RouteTableLimitExceeded", text));
    }
    let table = RouteTable {
        id: RouteTableId::mint(cx.random()),
        vpc: vpc.clone(),
        main: None,
        routes: Vec::new(),
        associations: Vec::new(),
        created_at: cx.now(),
        tags,
    };
    txn.put(table.clone());
    Ok(table)
}
