//! DeleteDhcpOptions: refused while a VPC has them.

use super::change::in_use;
use super::describe::dry_run;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::{DhcpOptions, Vpc};
use wire::NoOutput;
use wire::ec2::DeleteDhcpOptionsRequest;

pub async fn delete_dhcp_options(
    cx: &Context,
    _caller: &Caller,
    input: DeleteDhcpOptionsRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    cx.transact(|txn| {
        let options = find::<DhcpOptions>(txn, input.dhcp_options_id.as_deref())?;
        let snapshot = txn.snapshot().clone();
        let mut vpcs = snapshot.scan::<Vpc>("").map(|(_, vpc)| vpc);
        if vpcs.any(|vpc| vpc.dhcp_options.as_ref() == Some(&options.id)) {
            let id = &options.id;
            let text = format!("The dhcpOptions '{id}' has dependencies and cannot be deleted.");
            return Err(in_use(text));
        }
        txn.delete::<DhcpOptions>(options.id.as_str());
        Ok(NoOutput)
    })
    .await
}
