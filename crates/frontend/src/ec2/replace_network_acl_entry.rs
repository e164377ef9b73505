//! ReplaceNetworkAclEntry: another rule under a number that is there.

use super::acl_entries::Asked;
use super::change::within;
use super::describe::dry_run;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::NetworkAcl;
use wire::NoOutput;
use wire::ec2::ReplaceNetworkAclEntryRequest;

pub async fn replace_network_acl_entry(
    cx: &Context,
    _caller: &Caller,
    input: ReplaceNetworkAclEntryRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    let id = input.network_acl_id.clone();
    let entry = Asked::from(input).read()?;
    cx.transact(|txn| {
        let mut acl = (*find::<NetworkAcl>(txn, id.as_deref())?).clone();
        within(txn, &acl.vpc)?;
        let mut known = acl.entries.iter_mut();
        let place = (entry.number, entry.egress);
        match known.find(|known| (known.number, known.egress) == place) {
            Some(known) => *known = entry.clone(),
            None => return Err(no_entry(entry.number, entry.egress)),
        }
        txn.put(acl);
        Ok(NoOutput)
    })
    .await
}

pub fn no_entry(number: u16, egress: bool) -> Fault {
    let side = if egress { "egress" } else { "ingress" };
    let text = format!("The {side} network acl entry identified by {number} does not exist.");
    Fault::client("InvalidNetworkAclEntry.NotFound", text)
}
