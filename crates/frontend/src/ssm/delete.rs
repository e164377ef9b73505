//! DeleteParameter, DeleteParameters: a parameter goes with all its versions.

use super::parameters::{not_found, versions};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::secret::{Parameter, ParameterVersion, parameter_name};
use store::kinds::parameter_version_key;
use wire::ssm::{
    DeleteParameterRequest, DeleteParameterResult, DeleteParametersRequest, DeleteParametersResult,
};

pub async fn delete_parameter(
    cx: &Context,
    _caller: &Caller,
    input: DeleteParameterRequest,
) -> Result<DeleteParameterResult, Fault> {
    let name = input.name.unwrap_or_default();
    match delete(cx, &name).await? {
        true => Ok(DeleteParameterResult {}),
        false => Err(not_found(&name)),
    }
}

pub async fn delete_parameters(
    cx: &Context,
    _caller: &Caller,
    input: DeleteParametersRequest,
) -> Result<DeleteParametersResult, Fault> {
    let (mut deleted, mut missing) = (Vec::new(), Vec::new());
    for name in input.names.unwrap_or_default() {
        match delete(cx, &name).await? {
            true => deleted.push(name),
            false => missing.push(name),
        }
    }
    Ok(DeleteParametersResult {
        deleted_parameters: Some(deleted),
        invalid_parameters: Some(missing),
    })
}

/// Whether there was one.
async fn delete(cx: &Context, text: &str) -> Result<bool, Fault> {
    let Some(named) = parameter_name(&cx.locality, text) else { return Ok(false) };
    cx.transact(|txn| {
        let known = named.names.iter().find(|name| txn.get::<Parameter>(name).is_some());
        let Some(name) = known else { return Ok(false) };
        for version in versions(&txn.snapshot().clone(), name) {
            txn.delete::<ParameterVersion>(&parameter_version_key(name, version.number));
        }
        txn.delete::<Parameter>(name);
        Ok(true)
    })
    .await
}
