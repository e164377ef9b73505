//! DescribeRegistry: there is one registry, and nothing is replicated from it.

use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::ecr::{DescribeRegistryRequest, DescribeRegistryResponse, ReplicationConfiguration};

pub async fn describe_registry(
    cx: &Context,
    _caller: &Caller,
    _input: DescribeRegistryRequest,
) -> Result<DescribeRegistryResponse, Fault> {
    Ok(DescribeRegistryResponse {
        registry_id: Some(cx.locality.account.to_string()),
        replication_configuration: Some(ReplicationConfiguration { rules: Some(Vec::new()) }),
    })
}
