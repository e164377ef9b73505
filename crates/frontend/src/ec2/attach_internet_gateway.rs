//! AttachInternetGateway: gives a VPC its one way to the internet.

use super::change::{invalid, within};
use super::describe::dry_run;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{InternetGateway, Vpc};
use wire::NoOutput;
use wire::ec2::AttachInternetGatewayRequest;

pub async fn attach_internet_gateway(
    cx: &Context,
    _caller: &Caller,
    input: AttachInternetGatewayRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    cx.transact(|txn| {
        let gateway = find::<InternetGateway>(txn, input.internet_gateway_id.as_deref())?;
        let vpc = find::<Vpc>(txn, input.vpc_id.as_deref())?;
        if let Some(attached) = &gateway.vpc {
            let text = format!("resource {} is already attached to network {attached}", gateway.id);
            return Err(Fault::client("Resource.AlreadyAssociated", text));
        }
        within(txn, &vpc.id)?;
        let snapshot = txn.snapshot();
        let mut others = snapshot.scan::<InternetGateway>("");
        if others.any(|(_, other)| other.vpc.as_ref() == Some(&vpc.id)) {
            let text = format!("Network {} already has an internet gateway attached", vpc.id);
            return Err(invalid(text));
        }
        let attached = InternetGateway { vpc: Some(vpc.id.clone()), ..(*gateway).clone() };
        drop(others);
        txn.put(attached);
        Ok(NoOutput)
    })
    .await
}
