//! DeleteManagedPrefixList: refused while a route or a rule names it.

use super::change::in_use;
use super::describe::dry_run;
use super::describe_managed_prefix_lists::show;
use super::nouns::find;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::PrefixListId;
use model::network::{
    ManagedPrefixList, RouteDestination, RouteTable, SecurityGroup, SecurityGroupPeer,
};
use std::sync::Arc;
use store::{Snapshot, Txn};
use wire::ec2::{DeleteManagedPrefixListRequest, DeleteManagedPrefixListResult};

pub async fn delete_managed_prefix_list(
    cx: &Context,
    _caller: &Caller,
    input: DeleteManagedPrefixListRequest,
) -> Result<DeleteManagedPrefixListResult, Fault> {
    dry_run(input.dry_run)?;
    let list = cx.transact(|txn| {
        let list = own_list(txn, input.prefix_list_id.as_deref())?;
        if is_named(txn.snapshot(), &list.id) {
            let text = format!("The prefix list '{}' has dependencies.", list.id);
            return Err(in_use(text));
        }
        txn.delete::<ManagedPrefixList>(list.id.as_str());
        Ok(list)
    });
    let mut shown = show(cx, &*list.await?);
    shown.state = Some("delete-complete".into());
    Ok(DeleteManagedPrefixListResult { prefix_list: Some(shown) })
}

/// AWS's own can't be changed.
pub fn own_list(txn: &mut Txn, id: Option<&str>) -> Result<Arc<ManagedPrefixList>, Fault> {
    let list = find::<ManagedPrefixList>(txn, id)?;
    match list.is_aws {
        false => Ok(list),
        true => {
            let text = "You are not authorized to modify an AWS-managed prefix list.";
            Err(Fault::new("UnauthorizedOperation", 403, text))
        }
    }
}

/// Rules and routes that name a list write it when they are made, as they were: see `named`.
fn is_named(snapshot: &Snapshot, id: &PrefixListId) -> bool {
    let peer = SecurityGroupPeer::PrefixList(id.clone());
    let to = RouteDestination::PrefixList(id.clone());
    snapshot.scan::<SecurityGroup>("").any(|(_, it)| it.rules.iter().any(|it| it.peer == peer))
        || snapshot
            .scan::<RouteTable>("")
            .any(|(_, it)| it.routes.iter().any(|route| route.destination == to))
}

/// A list that a rule or a route is about to name: whoever deletes it meanwhile notices.
pub fn named(txn: &mut Txn, id: Option<&str>) -> Result<Arc<ManagedPrefixList>, Fault> {
    let list = find::<ManagedPrefixList>(txn, id)?;
    txn.put_arc(Arc::clone(&list));
    Ok(list)
}
