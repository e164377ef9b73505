//! ReplaceRouteTableAssociation: another table for a subnet, or another main table for a VPC.

use super::change::{invalid, within};
use super::describe::dry_run;
use super::describe_route_tables::associated;
use super::disassociate_route_table::{is_main, with_association};
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::RouteTableAssociationId;
use model::network::{RouteTable, RouteTableAssociation};
use wire::ec2::{ReplaceRouteTableAssociationRequest, ReplaceRouteTableAssociationResult};

pub async fn replace_route_table_association(
    cx: &Context,
    _caller: &Caller,
    input: ReplaceRouteTableAssociationRequest,
) -> Result<ReplaceRouteTableAssociationResult, Fault> {
    dry_run(input.dry_run)?;
    let old = input.association_id.unwrap_or_default();
    let id = cx.transact(|txn| {
        let mut from = (*with_association(txn, &old)?).clone();
        let to = find::<RouteTable>(txn, input.route_table_id.as_deref())?;
        if from.vpc != to.vpc {
            let text = format!(
                "route table {} and route table {} belong to different networks",
                from.id, to.id
            );
            return Err(invalid(text));
        }
        within(txn, &to.vpc)?;
        let id = RouteTableAssociationId::mint(cx.random());
        let of_main = is_main(&from, &old);
        let at = from.associations.iter().position(|it| it.id.as_str() == old);
        let moved = match at {
            Some(at) if !of_main => Some(from.associations.remove(at).subnet),
            _ => {
                from.main = None;
                None
            }
        };
        let mut to = if from.id == to.id { from.clone() } else { (*to).clone() };
        match moved {
            None => to.main = Some(id.clone()),
            Some(subnet) => {
                to.associations.push(RouteTableAssociation { id: id.clone(), subnet });
            }
        }
        txn.put(from);
        txn.put(to);
        Ok(id)
    });
    Ok(ReplaceRouteTableAssociationResult {
        new_association_id: Some(id.await?.to_string()),
        association_state: Some(associated()),
    })
}
