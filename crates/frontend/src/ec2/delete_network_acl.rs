//! DeleteNetworkAcl: refused for the default one, and while a subnet has it.

use super::change::{in_use, invalid, within};
use super::describe::dry_run;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::NetworkAcl;
use wire::NoOutput;
use wire::ec2::DeleteNetworkAclRequest;

pub async fn delete_network_acl(
    cx: &Context,
    _caller: &Caller,
    input: DeleteNetworkAclRequest,
) -> Result<NoOutput, Fault> {
    dry_run(input.dry_run)?;
    cx.transact(|txn| {
        let acl = find::<NetworkAcl>(txn, input.network_acl_id.as_deref())?;
        if acl.is_default {
            return Err(invalid(format!("cannot delete default network ACL {}", acl.id)));
        }
        within(txn, &acl.vpc)?;
        if !acl.associations.is_empty() {
            let text =
                format!("The networkAcl '{}' has dependencies and cannot be deleted.", acl.id);
            return Err(in_use(text));
        }
        txn.delete::<NetworkAcl>(acl.id.as_str());
        Ok(NoOutput)
    })
    .await
}
