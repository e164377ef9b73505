//! Application Auto Scaling of services: targets, policies and scheduled actions are kept here;
//! what comes of them is the scaling reconciler's. A policy that tracks a target makes its alarms
//! itself, as on AWS, and they are found in CloudWatch like any other. Other namespaces than ECS
//! are refused, as there is nothing of theirs to scale.

mod actions;
mod activities;
mod configuration;
mod policies;
mod tags;
mod targets;
#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::cursor::Cursor;
use crate::dispatch::{Route, route};
use crate::fault::Fault;
use model::scaling::{DIMENSION, NAMESPACE, ScalableTarget, resource_id};
use model::{ClusterName, ServiceName};
use std::sync::Arc;
use store::kinds::{scaling_key, scaling_prefix, service_key};
use store::{Record, Txn};
use wire::application_autoscaling as aas;
use wire::application_autoscaling::ErrorCode;

pub const ROUTES: &[Route] = &[
    route!(application_autoscaling, DeleteScalingPolicyRequest, policies::delete),
    route!(application_autoscaling, DeleteScheduledActionRequest, actions::delete),
    route!(application_autoscaling, DeregisterScalableTargetRequest, targets::deregister),
    route!(application_autoscaling, DescribeScalableTargetsRequest, targets::describe),
    route!(
        application_autoscaling,
        DescribeScalingActivitiesRequest,
        activities::describe,
        ignores["includeNotScaledActivities (they are not kept)"]
    ),
    route!(application_autoscaling, DescribeScalingPoliciesRequest, policies::describe),
    route!(application_autoscaling, DescribeScheduledActionsRequest, actions::describe),
    route!(application_autoscaling, ListTagsForResourceRequest, tags::list),
    route!(
        application_autoscaling,
        PutScalingPolicyRequest,
        policies::put,
        ignores["customizedMetricSpecification.metrics (kept; metric math is not computed)"]
    ),
    route!(application_autoscaling, PutScheduledActionRequest, actions::put),
    route!(
        application_autoscaling,
        RegisterScalableTargetRequest,
        targets::register,
        ignores["roleARN (of services the service-linked role is used, as on AWS)"]
    ),
    route!(application_autoscaling, TagResourceRequest, tags::tag),
    route!(application_autoscaling, UntagResourceRequest, tags::untag),
];

fn invalid(text: impl Into<String>) -> Fault {
    ErrorCode::ValidationException.fault(text)
}

fn time(at: model::Timestamp) -> wire::Timestamp {
    wire::Timestamp::from_unix_ms(at.0)
}

/// Reads what a request is about, which all of them say by the same three members.
macro_rules! named {
    ($read:path, $input:ident) => {
        $read(
            $input.service_namespace.as_ref(),
            $input.resource_id.as_deref(),
            $input.scalable_dimension.as_ref(),
        )
    };
}
use named;

/// A service's count, as namespace, resource and dimension name it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Scope {
    cluster: ClusterName,
    service: ServiceName,
}

impl Scope {
    fn read(
        namespace: Option<&aas::ServiceNamespace>,
        resource: Option<&str>,
        dimension: Option<&aas::ScalableDimension>,
    ) -> Result<Scope, Fault> {
        let unsupported =
            || invalid("Unsupported service namespace, resource type or scalable dimension");
        if namespace.is_none_or(|namespace| namespace.as_str() != NAMESPACE)
            || dimension.is_some_and(|dimension| dimension.as_str() != DIMENSION)
        {
            return Err(unsupported());
        }
        let mut parts = resource.unwrap_or("").split('/');
        let (kind, cluster, service) = (parts.next(), parts.next(), parts.next());
        match (kind, cluster, service, parts.next()) {
            (Some("service"), Some(cluster), Some(service), None)
                if !cluster.is_empty() && !service.is_empty() =>
            {
                Ok(Scope { cluster: cluster.into(), service: service.into() })
            }
            _ => Err(unsupported()),
        }
    }

    fn key(&self) -> String {
        service_key(&self.cluster, &self.service)
    }

    fn resource_id(&self) -> String {
        resource_id(&self.cluster, &self.service)
    }

    /// As AWS names it in what it refuses.
    fn in_words(&self) -> String {
        let resource = self.resource_id();
        format!(
            "service namespace: {NAMESPACE}, resource ID: {resource}, scalable dimension: \
             {DIMENSION}"
        )
    }

    /// The target of this scope; a transaction then depends on it.
    fn target(&self, txn: &mut Txn) -> Result<Arc<ScalableTarget>, Fault> {
        let missing = || {
            let text = format!("No scalable target registered for {}", self.in_words());
            ErrorCode::ObjectNotFoundException.fault(text)
        };
        txn.get::<ScalableTarget>(&self.key()).ok_or_else(missing)
    }
}

/// Which of the things in one namespace are asked for. None: of another namespace, of which there
/// is nothing.
fn asked(
    namespace: Option<&aas::ServiceNamespace>,
    resource: Option<&str>,
    dimension: Option<&aas::ScalableDimension>,
) -> Result<Option<Option<Scope>>, Fault> {
    let ours = namespace.is_some_and(|namespace| namespace.as_str() == NAMESPACE)
        && dimension.is_none_or(|dimension| dimension.as_str() == DIMENSION);
    match resource {
        _ if !ours => Ok(None),
        None => Ok(Some(None)),
        Some(resource) => Scope::read(namespace, Some(resource), None).map(Some).map(Some),
    }
}

/// What every description is asked with beside its filters.
struct Paging<'a> {
    token: Option<&'a str>,
    max_results: Option<i32>,
}

/// One page of a list whose keys rise, and the token of the next.
fn page<T>(
    cursor: &Cursor,
    items: impl Iterator<Item = (String, T)>,
    paging: &Paging<'_>,
) -> Result<(Vec<T>, Option<String>), Fault> {
    const PAGE_ITEMS: usize = 50;
    let unknown = || ErrorCode::InvalidNextTokenException.fault("Invalid NextToken");
    let after = cursor.after(paging.token, unknown)?;
    let limit = match paging.max_results {
        None => PAGE_ITEMS,
        Some(given) => {
            let fits = usize::try_from(given).ok().filter(|n| (1..=PAGE_ITEMS).contains(n));
            fits.ok_or_else(|| invalid(format!("MaxResults must be between 1 and {PAGE_ITEMS}")))?
        }
    };
    Ok(cursor.page(items, after.as_deref(), limit))
}

/// A description of targets, or of what belongs to them: of one, or of all, and of some by name.
struct Asked<'a> {
    request: &'static str,
    scope: Option<Option<Scope>>,
    names: Vec<String>,
    paging: Paging<'a>,
}

impl Asked<'_> {
    fn page<R: Record, T>(
        &self,
        cx: &Context,
        name: impl Fn(&R) -> String,
        show: impl Fn(&R) -> T,
    ) -> Result<(Vec<T>, Option<String>), Fault> {
        let prefix = match &self.scope {
            Some(Some(scope)) => scaling_prefix(&scope.cluster, &scope.service),
            _ => String::new(),
        };
        let snapshot = cx.store.snapshot();
        let all = snapshot.scan::<R>(&prefix).filter(|(_, record)| {
            let named = self.names.is_empty() || self.names.contains(&name(record));
            named && self.scope.is_some()
        });
        let cursor = Cursor::new(&[self.request, &prefix, &self.names.join("\n")]);
        page(&cursor, all.map(|(key, record)| (key.to_owned(), show(&record))), &self.paging)
    }
}

/// Takes away what belongs to a target, by its name. The words are what AWS calls it and its name,
/// and `also` removes what goes with it.
async fn remove<R: Record>(
    cx: &Context,
    scope: &Scope,
    name: &str,
    (what, its_name): (&str, &str),
    also: impl Fn(&mut Txn, &R),
) -> Result<(), Fault> {
    let key = scaling_key(&scope.cluster, &scope.service, name);
    cx.transact(|txn| {
        let Some(found) = txn.get::<R>(&key) else {
            let text = format!("No {what} found for {}, {its_name}: {name}", scope.in_words());
            return Err(ErrorCode::ObjectNotFoundException.fault(text));
        };
        also(txn, &found);
        txn.delete::<R>(&key);
        Ok(())
    })
    .await
}

/// The role that scales services; AWS makes it by itself, whatever role is named.
fn role(cx: &Context) -> String {
    format!(
        "arn:aws:iam::{}:role/aws-service-role/ecs.application-autoscaling.amazonaws.com/\
         AWSServiceRoleForApplicationAutoScaling_ECSService",
        cx.locality.account
    )
}

fn namespace() -> Option<aas::ServiceNamespace> {
    Some(aas::ServiceNamespace::from(NAMESPACE))
}

fn dimension() -> Option<aas::ScalableDimension> {
    Some(aas::ScalableDimension::from(DIMENSION))
}
