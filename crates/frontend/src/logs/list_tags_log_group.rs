//! ListTagsLogGroup, the older ListTagsForResource.

use super::names::{check_group, find_group};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::logs::{ListTagsLogGroupRequest, ListTagsLogGroupResponse};

pub async fn list_tags_log_group(
    cx: &Context,
    _caller: &Caller,
    input: ListTagsLogGroupRequest,
) -> Result<ListTagsLogGroupResponse, Fault> {
    let name = input.log_group_name.unwrap_or_default();
    check_group(&name, "logGroupName")?;
    let group = find_group(&cx.store.snapshot(), &name)?;
    Ok(ListTagsLogGroupResponse { tags: Some(group.tags.clone()) })
}
