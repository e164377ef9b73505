//! ModifyManagedPrefixList: entries come and go under a new version; the name and the room do not
//! need one.

use super::change::refuse;
use super::create_managed_prefix_list::max_entries;
use super::delete_managed_prefix_list::own_list;
use super::describe::dry_run;
use super::describe_managed_prefix_lists::show;
use super::prefix_entries::{add, check_count, range};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ec2::{ModifyManagedPrefixListRequest, ModifyManagedPrefixListResult};

pub async fn modify_managed_prefix_list(
    cx: &Context,
    _caller: &Caller,
    input: ModifyManagedPrefixListRequest,
) -> Result<ModifyManagedPrefixListResult, Fault> {
    dry_run(input.dry_run)?;
    let sync = input.ipam_prefix_list_resolver_sync_enabled;
    refuse(&[("ipamPrefixListResolverSyncEnabled", sync == Some(true))])?;
    let adds = input.add_entries.unwrap_or_default();
    let removes = input.remove_entries.unwrap_or_default();
    let list = cx.transact(|txn| {
        let mut list = (*own_list(txn, input.prefix_list_id.as_deref())?).clone();
        let changes = !adds.is_empty() || !removes.is_empty();
        if changes {
            let current = input.current_version.and_then(|n| u64::try_from(n).ok());
            if current.is_some_and(|current| current != list.version) {
                let text = "The prefix list has the incorrect version number";
                return Err(Fault::client("PrefixListVersionMismatch", text));
            }
            for one in &removes {
                let cidr = range(one.cidr.as_deref().unwrap_or_default(), &list.address_family)?;
                let at = list.entries.iter().position(|entry| entry.cidr == cidr);
                let at = at.ok_or_else(|| {
                    let text = format!("The prefix list has no entry {cidr}");
                    super::change::invalid(text)
                })?;
                list.entries.remove(at);
            }
            let family = list.address_family.clone();
            add(&mut list.entries, &adds, &family)?;
            list.version += 1;
        }
        if let Some(name) = &input.prefix_list_name {
            list.name.clone_from(name);
        }
        if input.max_entries.is_some() {
            list.max_entries = max_entries(input.max_entries)?;
        }
        check_count(list.entries.len(), list.max_entries)?;
        txn.put(list.clone());
        Ok(list)
    });
    Ok(ModifyManagedPrefixListResult { prefix_list: Some(show(cx, &list.await?)) })
}
