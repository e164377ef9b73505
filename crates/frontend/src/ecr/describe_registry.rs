//! DescribeRegistry: there is one registry; what it is told to replicate is shown and not done.

use super::settings;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ecr::{DescribeRegistryRequest, DescribeRegistryResponse};

pub async fn describe_registry(
    cx: &Context,
    _caller: &Caller,
    _input: DescribeRegistryRequest,
) -> Result<DescribeRegistryResponse, Fault> {
    Ok(DescribeRegistryResponse {
        registry_id: Some(cx.locality.account.to_string()),
        replication_configuration: Some(settings::replication(&cx.store.snapshot())),
    })
}
