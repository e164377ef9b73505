//! DescribeTags: the tags of everything here that can carry them, one entry a tag.

use super::describe::{dry_run, page};
use super::filter::{Column, select, shown, text};
use super::tagged;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::Tags;
use wire::ec2::{DescribeTagsRequest, DescribeTagsResult, TagDescription};

const COLUMNS: &[Column<TagDescription>] = &[
    ("key", |it| text(&it.key)),
    ("resource-id", |it| text(&it.resource_id)),
    ("resource-type", |it| shown(&it.resource_type)),
    ("tag-key", |it| text(&it.key)),
    ("tag-value", |it| text(&it.value)),
    ("value", |it| text(&it.value)),
];

/// A tag and where it stands in the list: by resource, then by key.
struct Entry {
    place: Option<String>,
    tag: TagDescription,
}

pub async fn describe_tags(
    cx: &Context,
    _caller: &Caller,
    input: DescribeTagsRequest,
) -> Result<DescribeTagsResult, Fault> {
    dry_run(input.dry_run)?;
    let snapshot = cx.store.snapshot();
    let mut all = Vec::new();
    for (id, kind, tags) in tagged::all(&snapshot) {
        add(&mut all, &id, kind, &tags);
    }
    let found = select(all, input.filters.as_deref(), COLUMNS, None)?;
    let found = found.into_iter().map(|tag| Entry { place: place(&tag), tag }).collect();
    let token = input.next_token.as_deref();
    let (found, next_token) = page(found, None, input.max_results, token, |it: &Entry| &it.place)?;
    Ok(DescribeTagsResult {
        next_token,
        tags: Some(found.into_iter().map(|entry| entry.tag).collect()),
    })
}

fn place(tag: &TagDescription) -> Option<String> {
    Some(format!("{} {}", tag.resource_id.as_deref()?, tag.key.as_deref()?))
}

fn add(all: &mut Vec<TagDescription>, id: &str, kind: &str, tags: &Tags) {
    all.extend(tags.iter().map(|(key, value)| TagDescription {
        key: Some(key.clone()),
        resource_id: Some(id.to_owned()),
        resource_type: Some(kind.into()),
        value: Some(value.clone()),
    }));
}
