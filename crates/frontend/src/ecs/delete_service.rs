//! DeleteService: an ACTIVE service is DRAINING until its last task has stopped, then INACTIVE. One
//! that still wants tasks is deleted only by force.

use super::{names, service};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use model::service::ServiceStatus;
use std::sync::Arc;
use wire::ecs::{DeleteServiceRequest, DeleteServiceResponse};

pub async fn delete_service(
    cx: &Context,
    _caller: &Caller,
    input: DeleteServiceRequest,
) -> Result<DeleteServiceResponse, Fault> {
    let cluster = names::cluster(&cx.locality, input.cluster.as_deref())?;
    super::clusters::active(cx, &cx.store.snapshot(), Some(cluster.as_str()))?;
    let name = service::name(&cx.locality, &cluster, input.service.as_deref())?;
    let deleted = cx
        .transact(|txn| {
            let (known, _) = service::active_in(txn, &cluster, &name)?;
            if known.desired_count > 0 && input.force != Some(true) {
                return Err(invalid_parameter(
                    "The service cannot be stopped while it is scaled above 0.",
                ));
            }
            let mut changed = (*known).clone();
            changed.status = ServiceStatus::Draining;
            changed.desired_count = 0;
            let changed = Arc::new(changed);
            txn.put_arc(Arc::clone(&changed));
            Ok(changed)
        })
        .await?;
    Ok(DeleteServiceResponse { service: Some(service::changed(cx, &deleted)) })
}
