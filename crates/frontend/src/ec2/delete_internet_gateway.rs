//! DeleteInternetGateway: refused while it is attached. Routes to it become black holes.

use super::change::in_use;
use super::describe::dry_run;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::InternetGateway;
use wire::NoOutput;
use wire::ec2::DeleteInternetGatewayRequest;

pub async fn delete_internet_gateway(
    cx: &Context,
    _caller: &Caller,
    input: DeleteInternetGatewayRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    cx.transact(|txn| {
        let gateway = find::<InternetGateway>(txn, input.internet_gateway_id.as_deref())?;
        if gateway.vpc.is_some() {
            let id = &gateway.id;
            let text =
                format!("The internetGateway '{id}' has dependencies and cannot be deleted.");
            return Err(in_use(text));
        }
        txn.delete::<InternetGateway>(gateway.id.as_str());
        Ok(NoOutput)
    })
    .await
}
