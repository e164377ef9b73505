//! DescribeServices: up to ten services in the order they were asked for; one that isn't there is a
//! failure, not a fault.

use super::{clusters, names, service};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use model::service::{Service, ServiceProgress};
use store::kinds::service_key;
use wire::ecs::{self, DescribeServicesRequest, DescribeServicesResponse};

/// Source: API reference, DescribeServices.
const SERVICES_MAX: usize = 10;

pub async fn describe_services(
    cx: &Context,
    _caller: &Caller,
    input: DescribeServicesRequest,
) -> Result<DescribeServicesResponse, Fault> {
    let cluster = names::cluster(&cx.locality, input.cluster.as_deref())?;
    let snapshot = cx.store.snapshot();
    clusters::active(cx, &snapshot, Some(cluster.as_str()))?;
    let given = input.services.unwrap_or_default();
    if given.is_empty() {
        return Err(invalid_parameter("Services cannot be empty."));
    }
    if given.len() > SERVICES_MAX {
        return Err(invalid_parameter("services can have at most 10 items."));
    }
    let with_tags = input.include.unwrap_or_default().contains(&ecs::ServiceField::Tags);
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for text in &given {
        let name = service::name(&cx.locality, &cluster, Some(text))?;
        let key = service_key(&cluster, &name);
        match snapshot.get::<Service>(&key) {
            Some(record) => {
                let progress = snapshot.get::<ServiceProgress>(&key);
                let progress = progress.as_deref();
                found.push(service::show(cx, &snapshot, &record, progress, with_tags));
            }
            None => failures.push(clusters::missing(cx.locality.service(&cluster, &name))),
        }
    }
    Ok(DescribeServicesResponse { services: Some(found), failures: Some(failures) })
}
