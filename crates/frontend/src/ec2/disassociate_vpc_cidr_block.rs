//! DisassociateVpcCidrBlock: takes a range away that no subnet is in.

use super::change::subnets_of;
use super::derived;
use super::describe_vpcs::show_association;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::Vpc;
use wire::ec2::{DisassociateVpcCidrBlockRequest, DisassociateVpcCidrBlockResult};

pub async fn disassociate_vpc_cidr_block(
    cx: &Context,
    _caller: &Caller,
    input: DisassociateVpcCidrBlockRequest,
) -> Result<DisassociateVpcCidrBlockResult, Fault> {
    let id = input.association_id.unwrap_or_default();
    let (vpc, gone) = cx
        .transact(|txn| {
            let snapshot = txn.snapshot().clone();
            let mut vpcs = snapshot.scan::<Vpc>("").map(|(_, vpc)| vpc);
            let vpc = vpcs.find(|vpc| {
                first_id(vpc) == id || vpc.secondary_cidrs.iter().any(|it| it.id.as_str() == id)
            });
            let vpc = vpc.and_then(|vpc| txn.get::<Vpc>(vpc.id.as_str()));
            let mut vpc = (*vpc.ok_or_else(|| unknown(&id))?).clone();
            let at = vpc.secondary_cidrs.iter().position(|it| it.id.as_str() == id);
            let at = at.ok_or_else(|| {
                not_permitted(format!(
                    "The vpc CIDR block with association ID {id} may not be disassociated. It is \
                     the primary IPv4 CIDR block of the VPC"
                ))
            })?;
            let gone = vpc.secondary_cidrs.remove(at);
            if subnets_of(&snapshot, &vpc.id).iter().any(|it| gone.cidr.covers(&it.cidr)) {
                return Err(not_permitted(format!(
                    "The vpc CIDR block with association ID {id} may not be disassociated. There \
                     are subnets in it"
                )));
            }
            txn.put(vpc.clone());
            Ok((vpc, gone))
        })
        .await?;
    let mut shown = show_association(gone.id.to_string(), &gone.cidr);
    if let Some(state) = &mut shown.cidr_block_state {
        state.state = Some("disassociated".into());
    }
    Ok(DisassociateVpcCidrBlockResult {
        cidr_block_association: Some(shown),
        vpc_id: Some(vpc.id.to_string()),
        ..Default::default()
    })
}

fn first_id(vpc: &Vpc) -> String {
    derived::id("vpc-cidr-assoc-", &vpc.id)
}

fn unknown(id: &str) -> Fault {
    let text = format!("The vpc CIDR block association ID '{id}' does not exist");
    Fault::client("InvalidVpcCidrBlockAssociationID.NotFound", text)
}

fn not_permitted(text: String) -> Fault {
    Fault::client("OperationNotPermitted", text)
}
