//! DeleteNetworkAclEntry.

use super::acl_entries::number;
use super::change::within;
use super::describe::dry_run;
use super::nouns::find;
use super::replace_network_acl_entry::no_entry;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::NetworkAcl;
use wire::NoOutput;
use wire::ec2::DeleteNetworkAclEntryRequest;

pub async fn delete_network_acl_entry(
    cx: &Context,
    _caller: &Caller,
    input: DeleteNetworkAclEntryRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    let number = number(input.rule_number)?;
    let egress = input.egress.unwrap_or(false);
    cx.transact(|txn| {
        let mut acl = (*find::<NetworkAcl>(txn, input.network_acl_id.as_deref())?).clone();
        within(txn, &acl.vpc)?;
        let place = (number, egress);
        let at = acl.entries.iter().position(|known| (known.number, known.egress) == place);
        acl.entries.remove(at.ok_or_else(|| no_entry(number, egress))?);
        txn.put(acl);
        Ok(NoOutput)
    })
    .await
}
