//! BatchDeleteImage: a digest takes the image with all its tags, a tag only itself unless it is the
//! image's last.

use super::images::{REFERENCED, delete};
use super::repositories::{find, named};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ecr::{BatchDeleteImageRequest, BatchDeleteImageResponse};

pub async fn batch_delete_image(
    cx: &Context,
    _caller: &Caller,
    input: BatchDeleteImageRequest,
) -> Result<BatchDeleteImageResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    find(cx, &cx.store.snapshot(), &name)?;
    let mut ids = input.image_ids.unwrap_or_default();
    let (mut gone, mut failures) = (Vec::new(), Vec::new());
    // The order of the request must not decide: an index may stand after the images it names. So
    // what is still named by an index is tried again as long as anything else goes.
    loop {
        let before = gone.len();
        let mut named_still = Vec::new();
        for id in ids {
            match delete(cx, &name, &id).await? {
                Ok(deleted) => gone.extend(deleted),
                Err(missing) if missing.code == REFERENCED => named_still.push((id, missing)),
                Err(missing) => failures.push(missing.failure(id)),
            }
        }
        if named_still.is_empty() || gone.len() == before {
            failures.extend(named_still.into_iter().map(|(id, missing)| missing.failure(id)));
            break;
        }
        ids = named_still.into_iter().map(|(id, _)| id).collect();
    }
    Ok(BatchDeleteImageResponse { failures: Some(failures), image_ids: Some(gone) })
}
