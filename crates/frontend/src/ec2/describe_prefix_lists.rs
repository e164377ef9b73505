//! DescribePrefixLists: AWS's own, with their ranges.

use super::describe::{by_ids, dry_run, page};
use super::filter::{Column, select, text};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network::ManagedPrefixList;
use wire::ec2::{DescribePrefixListsRequest, DescribePrefixListsResult, PrefixList};

const COLUMNS: &[Column<PrefixList>] = &[
    ("prefix-list-id", |it| text(&it.prefix_list_id)),
    ("prefix-list-name", |it| text(&it.prefix_list_name)),
];

pub async fn describe_prefix_lists(
    cx: &Context,
    _caller: &Caller,
    input: DescribePrefixListsRequest,
) -> Result<DescribePrefixListsResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<ManagedPrefixList>("").filter(|(_, list)| list.is_aws);
    let all = all.map(|(_, list)| PrefixList {
        cidrs: Some(list.entries.iter().map(|entry| entry.cidr.clone()).collect()),
        prefix_list_id: Some(list.id.to_string()),
        prefix_list_name: Some(list.name.clone()),
    });
    let ids = input.prefix_list_ids.as_deref();
    let noun = &ManagedPrefixList::NOUN;
    let found = by_ids(all.collect(), ids, noun, |it: &PrefixList| &it.prefix_list_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, None)?;
    let token = input.next_token.as_deref();
    let (lists, next_token) = page(found, None, input.max_results, token, |it| &it.prefix_list_id)?;
    Ok(DescribePrefixListsResult { next_token, prefix_lists: Some(lists) })
}
