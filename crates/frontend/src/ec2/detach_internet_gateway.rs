//! DetachInternetGateway: refused while an address of the VPC is public.

use super::change::{in_use, within};
use super::describe::dry_run;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{InternetGateway, NetworkInterface, Vpc};
use wire::NoOutput;
use wire::ec2::DetachInternetGatewayRequest;

pub async fn detach_internet_gateway(
    cx: &Context,
    _caller: &Caller,
    input: DetachInternetGatewayRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    cx.transact(|txn| {
        let gateway = find::<InternetGateway>(txn, input.internet_gateway_id.as_deref())?;
        let vpc = find::<Vpc>(txn, input.vpc_id.as_deref())?;
        if gateway.vpc.as_ref() != Some(&vpc.id) {
            let text = format!("resource {} is not attached to network {}", gateway.id, vpc.id);
            return Err(Fault::client("Gateway.NotAttached", text));
        }
        within(txn, &vpc.id)?;
        let snapshot = txn.snapshot().clone();
        let mut interfaces = snapshot.scan::<NetworkInterface>("").map(|(_, it)| it);
        if interfaces.any(|it| it.vpc == vpc.id && it.public.is_some()) {
            return Err(in_use(format!(
                "Network {} has some mapped public address(es). Please unmap those public \
                 address(es) before detaching the gateway.",
                vpc.id
            )));
        }
        txn.put(InternetGateway { vpc: None, ..(*gateway).clone() });
        Ok(NoOutput)
    })
    .await
}
