//! DetachNetworkInterface: what is attached is attached by a service, and is not the user's to
//! detach.

use super::describe::dry_run;
use super::describe_network_interfaces::attachment_id;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::NetworkInterface;
use wire::NoOutput;
use wire::ec2::DetachNetworkInterfaceRequest;

pub async fn detach_network_interface(
    cx: &Context,
    _caller: &Caller,
    input: DetachNetworkInterfaceRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    let id = input.attachment_id.unwrap_or_default();
    let snapshot = cx.store.snapshot();
    let mut interfaces = snapshot.scan::<NetworkInterface>("");
    Err(match interfaces.any(|(_, it)| attachment_id(&it).as_ref() == Some(&id)) {
        true => {
            let text = "You do not have permission to access the specified resource.";
            Fault::client("AuthFailure", text)
        }
        false => {
            let text = format!("The attachment ID '{id}' does not exist");
            Fault::client("InvalidAttachmentID.NotFound", text)
        }
    })
}
