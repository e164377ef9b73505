//! DeleteVpcEndpoints: each by itself; those that can't be deleted are listed.

use super::describe::{dry_run, malformed, missing};
use super::endpoints::remove_endpoint;
use super::nouns::Resource;
use crate::context::{Caller, Context};
use crate::fault::Fault;
use crate::limits::TAGGED_RESOURCES_MAX;
use model::network::VpcEndpoint;
use wire::ec2::{
    DeleteVpcEndpointsRequest, DeleteVpcEndpointsResult, UnsuccessfulItem, UnsuccessfulItemError,
};

pub async fn delete_vpc_endpoints(
    cx: &Context,
    _caller: &Caller,
    input: DeleteVpcEndpointsRequest,
) -> Result<DeleteVpcEndpointsResult, Fault> {
    dry_run(input.dry_run)?;
    let ids = input.vpc_endpoint_ids.unwrap_or_default();
    if ids.len() > TAGGED_RESOURCES_MAX {
        return Err(super::change::invalid("Too many endpoints in one call"));
    }
    let mut unsuccessful = Vec::new();
    for id in &ids {
        if let Err(fault) = delete(cx, id).await {
            if fault.status >= 500 {
                return Err(fault);
            }
            unsuccessful.push(UnsuccessfulItem {
                error: Some(UnsuccessfulItemError {
                    code: Some(fault.code.to_string()),
                    message: Some(fault.message),
                }),
                resource_id: Some(id.clone()),
            });
        }
    }
    Ok(DeleteVpcEndpointsResult { unsuccessful: Some(unsuccessful) })
}

async fn delete(cx: &Context, id: &str) -> Result<(), Fault> {
    if !id.starts_with(VpcEndpoint::NOUN.prefix) {
        return Err(malformed(&VpcEndpoint::NOUN, id));
    }
    cx.transact(|txn| {
        let endpoint = txn.get::<VpcEndpoint>(id).ok_or_else(|| missing(&VpcEndpoint::NOUN, id))?;
        remove_endpoint(txn, &endpoint)
    })
    .await
}
