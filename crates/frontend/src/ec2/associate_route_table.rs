//! AssociateRouteTable: a table for a subnet, in place of the VPC's main table.

use super::change::{invalid, missing_parameter, refuse, within};
use super::describe::dry_run;
use super::describe_route_tables::associated;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::RouteTableAssociationId;
use model::network::{RouteTable, RouteTableAssociation, Subnet};
use wire::ec2::{AssociateRouteTableRequest, AssociateRouteTableResult};

pub async fn associate_route_table(
    cx: &Context,
    _caller: &Caller,
    input: AssociateRouteTableRequest,
) -> Result<AssociateRouteTableResult, Fault> {
    dry_run(input.dry_run)?;
    refuse(&[
        ("gatewayId", input.gateway_id.is_some()),
        ("publicIpv4Pool", input.public_ipv4_pool.is_some()),
    ])?;
    let subnet = input.subnet_id.ok_or_else(|| missing_parameter("subnetId"))?;
    let id = cx.transact(|txn| {
        let table = find::<RouteTable>(txn, input.route_table_id.as_deref())?;
        let subnet = find::<Subnet>(txn, Some(&subnet))?;
        if table.vpc != subnet.vpc {
            let (table, subnet) = (&table.id, &subnet.id);
            return Err(invalid(format!(
                "route table {table} and subnet {subnet} belong to different networks"
            )));
        }
        within(txn, &table.vpc)?;
        let snapshot = txn.snapshot().clone();
        for (_, other) in snapshot.scan::<RouteTable>("") {
            let known = other.associations.iter().find(|it| it.subnet == subnet.id);
            match known {
                // The same once more changes nothing.
                Some(known) if other.id == table.id => return Ok(known.id.clone()),
                Some(_) => {
                    let text = format!(
                        "the specified association for route table {} conflicts with an existing \
                         association",
                        table.id
                    );
                    return Err(Fault::client("Resource.AlreadyAssociated", text));
                }
                None => {}
            }
        }
        let id = RouteTableAssociationId::mint(cx.random());
        let mut table = (*table).clone();
        let subnet = subnet.id.clone();
        table.associations.push(RouteTableAssociation { id: id.clone(), subnet });
        txn.put(table);
        Ok(id)
    });
    let association_id = Some(id.await?.to_string());
    Ok(AssociateRouteTableResult { association_id, association_state: Some(associated()) })
}
