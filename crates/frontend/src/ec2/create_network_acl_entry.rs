//! CreateNetworkAclEntry: each number once in each direction.

use super::acl_entries::Asked;
use super::change::within;
use super::describe::dry_run;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::ACL_ENTRIES_MAX;
use model::network::NetworkAcl;
use wire::NoOutput;
use wire::ec2::CreateNetworkAclEntryRequest;

pub async fn create_network_acl_entry(
    cx: &Context,
    _caller: &Caller,
    input: CreateNetworkAclEntryRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    let id = input.network_acl_id.clone();
    let entry = Asked::from(input).read()?;
    cx.transact(|txn| {
        let mut acl = (*find::<NetworkAcl>(txn, id.as_deref())?).clone();
        within(txn, &acl.vpc)?;
        let (number, egress) = (entry.number, entry.egress);
        if acl.entries.iter().any(|known| (known.number, known.egress) == (number, egress)) {
            let text = format!("The network acl entry identified by {number} already exists.");
            return Err(Fault::client("NetworkAclEntryAlreadyExists", text));
        }
        if acl.entries.iter().filter(|known| known.egress == egress).count() >= ACL_ENTRIES_MAX {
            let text = "The maximum number of network acl entries has been reached.";
            return Err(Fault::client("NetworkAclEntryLimitExceeded", text));
        }
        acl.entries.push(entry.clone());
        txn.put(acl);
        Ok(NoOutput)
    })
    .await
}
