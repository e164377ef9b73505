//! PutImageTagMutability. It holds for what is pushed from now on.

use super::repositories::{change, exclusions, mutability, named, wanted_mutability};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ecr::{PutImageTagMutabilityRequest, PutImageTagMutabilityResponse};

pub async fn put_image_tag_mutability(
    cx: &Context,
    _caller: &Caller,
    input: PutImageTagMutabilityRequest,
) -> Result<PutImageTagMutabilityResponse, Fault> {
    let name = named(cx, input.registry_id.as_deref(), input.repository_name)?;
    let (immutable, excluded) = wanted_mutability(
        input.image_tag_mutability.as_ref(),
        input.image_tag_mutability_exclusion_filters,
    )?;
    let repository = change(cx, &name, |repository| {
        repository.immutable_tags = immutable;
        repository.tag_exclusions.clone_from(&excluded);
        Ok(())
    })
    .await?;
    Ok(PutImageTagMutabilityResponse {
        image_tag_mutability: Some(mutability(&repository).into()),
        image_tag_mutability_exclusion_filters: exclusions(&repository),
        registry_id: Some(cx.locality.account.to_string()),
        repository_name: Some(name.to_string()),
    })
}
