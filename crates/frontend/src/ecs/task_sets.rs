//! Task sets: for services whose deployments somebody else controls (EXTERNAL, CODE_DEPLOY). There
//! are none here, so that each call finds its service and is refused for what it is.

use super::{clusters, names, service};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use store::Txn;
use wire::ecs::{
    CreateTaskSetRequest, CreateTaskSetResponse, DeleteTaskSetRequest, DeleteTaskSetResponse,
    DescribeTaskSetsRequest, DescribeTaskSetsResponse, UpdateServicePrimaryTaskSetRequest,
    UpdateServicePrimaryTaskSetResponse, UpdateTaskSetRequest, UpdateTaskSetResponse,
};

/// What is wrong with the call: the cluster, the service, or that the service has no task sets.
async fn refusal<T>(
    cx: &Context,
    operation: &str,
    cluster: Option<&str>,
    named: Option<&str>,
) -> Result<T, Fault> {
    let cluster = names::cluster(&cx.locality, cluster)?;
    let name = service::name(&cx.locality, &cluster, named)?;
    cx.transact(|txn: &mut Txn| {
        clusters::active_in(txn, &cluster)?;
        service::active_in(txn, &cluster, &name)?;
        Ok(())
    })
    .await?;
    Err(invalid_parameter(format!(
        "{operation} is only supported for services that use the EXTERNAL or CODE_DEPLOY \
         deployment controller. The deployment controller of the service is ECS."
    )))
}

pub async fn create(
    cx: &Context,
    _caller: &Caller,
    input: CreateTaskSetRequest,
) -> Result<CreateTaskSetResponse, Fault> {
    refusal(cx, "CreateTaskSet", input.cluster.as_deref(), input.service.as_deref()).await
}

pub async fn delete(
    cx: &Context,
    _caller: &Caller,
    input: DeleteTaskSetRequest,
) -> Result<DeleteTaskSetResponse, Fault> {
    refusal(cx, "DeleteTaskSet", input.cluster.as_deref(), input.service.as_deref()).await
}

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: DescribeTaskSetsRequest,
) -> Result<DescribeTaskSetsResponse, Fault> {
    refusal(cx, "DescribeTaskSets", input.cluster.as_deref(), input.service.as_deref()).await
}

pub async fn update(
    cx: &Context,
    _caller: &Caller,
    input: UpdateTaskSetRequest,
) -> Result<UpdateTaskSetResponse, Fault> {
    refusal(cx, "UpdateTaskSet", input.cluster.as_deref(), input.service.as_deref()).await
}

pub async fn update_primary(
    cx: &Context,
    _caller: &Caller,
    input: UpdateServicePrimaryTaskSetRequest,
) -> Result<UpdateServicePrimaryTaskSetResponse, Fault> {
    let operation = "UpdateServicePrimaryTaskSet";
    refusal(cx, operation, input.cluster.as_deref(), input.service.as_deref()).await
}
