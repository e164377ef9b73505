//! GetManagedPrefixListEntries: of the current version; earlier ones are not kept.

use super::change::invalid;
use super::describe::{dry_run, malformed, missing, page};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::ManagedPrefixList;
use wire::ec2::{
    GetManagedPrefixListEntriesRequest, GetManagedPrefixListEntriesResult, PrefixListEntry,
};

pub async fn get_managed_prefix_list_entries(
    cx: &Context,
    _caller: &Caller,
    input: GetManagedPrefixListEntriesRequest,
) -> Result<GetManagedPrefixListEntriesResult, Fault> {
    dry_run(input.dry_run)?;
    let id = input.prefix_list_id.unwrap_or_default();
    if !id.starts_with(ManagedPrefixList::NOUN.prefix) {
        return Err(malformed(&ManagedPrefixList::NOUN, &id));
    }
    let snapshot = cx.store.snapshot();
    let list = snapshot.get::<ManagedPrefixList>(&id);
    let list = list.ok_or_else(|| missing(&ManagedPrefixList::NOUN, &id))?;
    let wanted = input.target_version.and_then(|version| u64::try_from(version).ok());
    if wanted.is_some_and(|wanted| wanted != list.version) {
        let text = format!("The version is not available: the current one is {}", list.version);
        return Err(invalid(text));
    }
    let all = list.entries.iter().map(|entry| PrefixListEntry {
        cidr: Some(entry.cidr.clone()),
        description: entry.description.clone(),
    });
    let token = input.next_token.as_deref();
    let (entries, next_token) =
        page(all.collect(), None, input.max_results, token, |it: &PrefixListEntry| &it.cidr)?;
    Ok(GetManagedPrefixListEntriesResult { entries: Some(entries), next_token })
}
