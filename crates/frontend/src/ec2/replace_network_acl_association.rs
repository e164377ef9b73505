//! ReplaceNetworkAclAssociation: another ACL for a subnet, which always has one.

use super::change::{invalid, within};
use super::describe::dry_run;
use super::nouns::{find, no_association};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::NetworkAclAssociationId;
use model::network::{NetworkAcl, NetworkAclAssociation};
use wire::ec2::{ReplaceNetworkAclAssociationRequest, ReplaceNetworkAclAssociationResult};

pub async fn replace_network_acl_association(
    cx: &Context,
    _caller: &Caller,
    input: ReplaceNetworkAclAssociationRequest,
) -> Result<ReplaceNetworkAclAssociationResult, Fault> {
    dry_run(input.dry_run)?;
    let old = input.association_id.unwrap_or_default();
    let id = cx.transact(|txn| {
        let snapshot = txn.snapshot().clone();
        let mut acls = snapshot.scan::<NetworkAcl>("").map(|(_, acl)| acl);
        let from = acls.find(|acl| acl.associations.iter().any(|it| it.id.as_str() == old));
        let from = from.ok_or_else(|| no_association(&old))?;
        let to = find::<NetworkAcl>(txn, input.network_acl_id.as_deref())?;
        let mut from = (*find::<NetworkAcl>(txn, Some(from.id.as_str()))?).clone();
        if from.vpc != to.vpc {
            return Err(invalid(format!(
                "network acl {} and network acl {} belong to different networks",
                from.id, to.id
            )));
        }
        within(txn, &to.vpc)?;
        let at = from.associations.iter().position(|it| it.id.as_str() == old);
        let subnet = from.associations.remove(at.ok_or_else(|| no_association(&old))?).subnet;
        let id = NetworkAclAssociationId::mint(cx.random());
        let mut to = if from.id == to.id { from.clone() } else { (*to).clone() };
        to.associations.push(NetworkAclAssociation { id: id.clone(), subnet });
        txn.put(from);
        txn.put(to);
        Ok(id)
    });
    let new_association_id = Some(id.await?.to_string());
    Ok(ReplaceNetworkAclAssociationResult { new_association_id })
}
