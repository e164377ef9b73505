//! DeleteNetworkInterface: of a user's own, once nothing uses it.

use super::change::within;
use super::describe::dry_run;
use super::interfaces::{busy, remove_interface};
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::NetworkInterface;
use wire::NoOutput;
use wire::ec2::DeleteNetworkInterfaceRequest;

pub async fn delete_network_interface(
    cx: &Context,
    _caller: &Caller,
    input: DeleteNetworkInterfaceRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    cx.transact(|txn| {
        let interface = find::<NetworkInterface>(txn, input.network_interface_id.as_deref())?;
        if interface.is_in_use() {
            return Err(busy(&interface.id));
        }
        within(txn, &interface.vpc)?;
        remove_interface(txn, &interface.id);
        Ok(NoOutput)
    })
    .await
}
