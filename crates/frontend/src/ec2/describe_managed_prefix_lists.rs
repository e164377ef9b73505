//! DescribeManagedPrefixLists: users' own and AWS's.

use super::derived;
use super::describe::{by_ids, dry_run, page};
use super::filter::{Column, select, text};
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::network;
use wire::ec2::{
    DescribeManagedPrefixListsRequest, DescribeManagedPrefixListsResult, ManagedPrefixList,
};

const COLUMNS: &[Column<ManagedPrefixList>] = &[
    ("owner-id", |it| text(&it.owner_id)),
    ("prefix-list-id", |it| text(&it.prefix_list_id)),
    ("prefix-list-name", |it| text(&it.prefix_list_name)),
];

pub async fn describe_managed_prefix_lists(
    cx: &Context,
    _caller: &Caller,
    input: DescribeManagedPrefixListsRequest,
) -> Result<DescribeManagedPrefixListsResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<network::ManagedPrefixList>("").map(|(_, list)| show(cx, &list));
    let ids = input.prefix_list_ids.as_deref();
    let noun = &network::ManagedPrefixList::NOUN;
    let found = by_ids(all.collect(), ids, noun, |it| &it.prefix_list_id)?;
    let found = select(found, input.filters.as_deref(), COLUMNS, Some(|it| &it.tags))?;
    let token = input.next_token.as_deref();
    let (lists, next_token) = page(found, None, input.max_results, token, |it| &it.prefix_list_id)?;
    Ok(DescribeManagedPrefixListsResult { next_token, prefix_lists: Some(lists) })
}

pub fn show(cx: &Context, list: &network::ManagedPrefixList) -> ManagedPrefixList {
    let state = match (list.is_aws, list.version) {
        (true, _) | (false, 1) => "create-complete",
        _ => "modify-complete",
    };
    let owner = if list.is_aws { "AWS".to_owned() } else { cx.locality.account.to_string() };
    let arn = match list.is_aws {
        true => format!("arn:aws:ec2:{}:aws:prefix-list/{}", cx.locality.region, list.id),
        false => cx.locality.arn("ec2", &format!("prefix-list/{}", list.id)),
    };
    ManagedPrefixList {
        address_family: Some(list.address_family.clone()),
        // AWS does not say how many its own lists may have.
        max_entries: i32::try_from(list.max_entries).ok().filter(|_| !list.is_aws),
        owner_id: Some(owner),
        prefix_list_arn: Some(arn),
        prefix_list_id: Some(list.id.to_string()),
        prefix_list_name: Some(list.name.clone()),
        state: Some(state.into()),
        tags: derived::tags(&list.tags),
        version: i64::try_from(list.version).ok().filter(|_| !list.is_aws),
        ..ManagedPrefixList::default()
    }
}
