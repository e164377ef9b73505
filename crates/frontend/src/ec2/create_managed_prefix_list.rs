//! CreateManagedPrefixList.

use super::change::{Once, invalid, invalid_value};
use super::describe::dry_run;
use super::describe_managed_prefix_lists::show;
use super::nouns::find;
use super::prefix_entries::{IPV4, IPV6, add, check_count};
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::{GROUP_TEXT_CHARS_MAX, PREFIX_LIST_ENTRIES_MAX, PREFIX_LISTS_MAX};
use model::PrefixListId;
use model::network::ManagedPrefixList;
use wire::ec2::{CreateManagedPrefixListRequest, CreateManagedPrefixListResult};

pub async fn create_managed_prefix_list(
    cx: &Context,
    _caller: &Caller,
    input: CreateManagedPrefixListRequest,
) -> Result<CreateManagedPrefixListResult, Fault> {
    dry_run(input.dry_run)?;
    let once = Once::of("CreateManagedPrefixList", input.client_token.as_deref(), &input)?;
    let name = input.prefix_list_name.unwrap_or_default();
    if name.is_empty() || name.chars().count() > GROUP_TEXT_CHARS_MAX {
        return Err(invalid_value(&name, "prefixListName", "It must have 1 to 255 characters."));
    }
    if name.starts_with("com.amazonaws") {
        return Err(invalid("The name of a prefix list cannot start with com.amazonaws."));
    }
    let family = input.address_family.unwrap_or_default();
    if family != IPV4 && family != IPV6 {
        return Err(invalid_value(&family, "addressFamily", "It must be 'IPv4' or 'IPv6'."));
    }
    let max_entries = max_entries(input.max_entries)?;
    let mut entries = Vec::new();
    add(&mut entries, input.entries.as_deref().unwrap_or_default(), &family)?;
    check_count(entries.len(), max_entries)?;
    let tags = tagged::given(input.tag_specifications, "prefix-list")?;
    let now = cx.now();
    let list = cx.transact(|txn| {
        if let Some(once) = &once
            && let Some(id) = once.made(txn, now)?
        {
            return find::<ManagedPrefixList>(txn, Some(&id)).map(|list| (*list).clone());
        }
        if txn.snapshot().count::<ManagedPrefixList>("") >= PREFIX_LISTS_MAX {
            let text = "The maximum number of prefix lists has been reached.";
            return Err(Fault::client("PrefixListLimitExceeded", text));
        }
        let list = ManagedPrefixList {
            id: PrefixListId::mint(cx.random()),
            name: name.clone(),
            is_aws: false,
            address_family: family.clone(),
            max_entries,
            version: 1,
            entries: entries.clone(),
            created_at: now,
            tags: tags.clone(),
        };
        txn.put(list.clone());
        if let Some(once) = &once {
            once.remember(txn, list.id.as_str(), now);
        }
        Ok(list)
    });
    Ok(CreateManagedPrefixListResult { prefix_list: Some(show(cx, &list.await?)) })
}

pub fn max_entries(given: Option<i32>) -> Result<u32, Fault> {
    let fits = |n: &u32| (1..=PREFIX_LIST_ENTRIES_MAX).contains(&(*n as usize));
    given.and_then(|n| u32::try_from(n).ok()).filter(fits).ok_or_else(|| {
        let text = format!("maxEntries must be between 1 and {PREFIX_LIST_ENTRIES_MAX}");
        invalid(text)
    })
}
