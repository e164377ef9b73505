//! AttachNetworkInterface: there are no instances, so the one that is named is not there.

use super::describe::dry_run;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::NetworkInterface;
use wire::ec2::{AttachNetworkInterfaceRequest, AttachNetworkInterfaceResult};

pub async fn attach_network_interface(
    cx: &Context,
    _caller: &Caller,
    input: AttachNetworkInterfaceRequest,
) -> Result<AttachNetworkInterfaceResult, Fault> {
    dry_run(input.dry_run)?;
    let mut txn = cx.store.begin();
    find::<NetworkInterface>(&mut txn, input.network_interface_id.as_deref())?;
    let id = input.instance_id.unwrap_or_default();
    let text = format!("The instance ID '{id}' does not exist");
    Err(Fault::client("InvalidInstanceID.NotFound", text))
}
