//! ListImages: one entry for each tag, and one for each image without.

use super::describe_images::{PAGE_IMAGES, active_wanted, images as in_repository};
use super::describe_repositories::bad_token;
use super::images::{identifiers, tags_by_digest};
use super::repositories::{find, named};
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::fault::Fault;
use wire::ecr::{ImageIdentifier, ListImagesRequest, ListImagesResponse};

pub async fn list_images(
    cx: &Context,
    _caller: &Caller,
    input: ListImagesRequest,
) -> Result<ListImagesResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let snapshot = cx.store.snapshot();
    find(cx, &snapshot, &name)?;
    let filter = input.filter.unwrap_or_default();
    let text = |shown: Option<String>| shown.unwrap_or_default();
    let cursor = Cursor::new(&[
        "ListImages",
        name.as_str(),
        &text(filter.tag_status.as_ref().map(ToString::to_string)),
        &text(filter.image_status.as_ref().map(ToString::to_string)),
    ]);
    let after = cursor.after(input.next_token.as_deref(), bad_token)?;
    let tags = tags_by_digest(&snapshot, &name);
    let mut found: Vec<ImageIdentifier> = Vec::new();
    if active_wanted(filter.image_status.as_ref()) {
        for manifest in in_repository(&snapshot, &name, filter.tag_status.as_ref(), &tags) {
            let tags = tags.get(&manifest.digest).cloned().unwrap_or_default();
            found.extend(identifiers(&manifest.digest, tags));
        }
    }
    found.sort_by_key(place);
    let limit = page_items(input.max_results, PAGE_IMAGES);
    let placed = found.into_iter().map(|id| (place(&id), id));
    let (found, next_token) = cursor.page(placed, after.as_deref(), limit);
    Ok(ListImagesResponse { image_ids: Some(found), next_token })
}

/// Where an entry stands in the list.
fn place(id: &ImageIdentifier) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}@{}", text(&id.image_digest), text(&id.image_tag))
}
