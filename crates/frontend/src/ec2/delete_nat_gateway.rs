//! DeleteNatGateway: its interface goes and its elastic addresses stand for nothing again. It is
//! shown as deleted for a while.

use super::change::within;
use super::create_nat_gateway::forget_deleted;
use super::describe::{dry_run, missing};
use super::interfaces::remove_interface;
use super::nouns::{Resource, find};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::NatGateway;
use wire::ec2::{DeleteNatGatewayRequest, DeleteNatGatewayResult};

pub async fn delete_nat_gateway(
    cx: &Context,
    _caller: &Caller,
    input: DeleteNatGatewayRequest,
) -> Result<DeleteNatGatewayResult, Fault> {
    dry_run(input.dry_run)?;
    let id = input.nat_gateway_id.unwrap_or_default();
    cx.transact(|txn| {
        forget_deleted(cx, txn);
        let nat = find::<NatGateway>(txn, Some(&id))?;
        if nat.deleted_at.is_some() {
            return Err(missing(&NatGateway::NOUN, &id));
        }
        within(txn, &nat.vpc)?;
        for address in &nat.addresses {
            remove_interface(txn, &address.interface);
        }
        txn.put(NatGateway { deleted_at: Some(cx.now()), ..(*nat).clone() });
        Ok(())
    })
    .await?;
    Ok(DeleteNatGatewayResult { nat_gateway_id: Some(id) })
}
