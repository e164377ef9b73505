//! DescribeCapacityProviders: FARGATE and FARGATE_SPOT, which always exist.

use super::page::Page;
use super::{clusters, names, strategy};
use crate::context::{Caller, Context};
use crate::fault::{Fault, invalid_parameter};
use crate::limits::PAGE_ITEMS_MAX;
use wire::ecs::{
    CapacityProvider, CapacityProviderStatus, CapacityProviderType,
    DescribeCapacityProvidersRequest, DescribeCapacityProvidersResponse,
};

const PROVIDERS: [(&str, CapacityProviderType); 2] = [
    (strategy::FARGATE, CapacityProviderType::Fargate),
    (strategy::FARGATE_SPOT, CapacityProviderType::FargateSpot),
];

pub async fn describe_capacity_providers(
    cx: &Context,
    _caller: &Caller,
    input: DescribeCapacityProvidersRequest,
) -> Result<DescribeCapacityProvidersResponse, Fault> {
    let given = input.capacity_providers.unwrap_or_default();
    if given.len() > PAGE_ITEMS_MAX {
        return Err(invalid_parameter("capacityProviders can have at most 100 items."));
    }
    let attached = match input.cluster.as_deref() {
        None => None,
        Some(cluster) => {
            let cluster = clusters::active(cx, &cx.store.snapshot(), Some(cluster))?;
            Some(cluster.capacity_providers.clone())
        }
    };
    let shown = |name: &str| attached.as_ref().is_none_or(|list| list.iter().any(|n| n == name));
    let joined = given.join(" ");
    let filters = [Some("DescribeCapacityProviders"), Some(&joined), input.cluster.as_deref()];
    let page = Page::new(&filters, input.next_token.as_deref(), input.max_results, PAGE_ITEMS_MAX)?;

    let (mut wanted, mut failures) = (Vec::new(), Vec::new());
    for text in &given {
        let name = short_name(cx, text)?;
        match PROVIDERS.iter().find(|(known, _)| *known == name && shown(known)) {
            Some(provider) => wanted.push(provider),
            None => failures.push(clusters::missing(arn(cx, name))),
        }
    }
    if given.is_empty() {
        wanted.extend(PROVIDERS.iter().filter(|(name, _)| shown(name)));
    }
    wanted.sort_unstable_by_key(|(name, _)| *name);
    wanted.dedup_by_key(|(name, _)| *name);
    let (providers, next_token) = page.take_sorted(wanted, false, |(name, _)| name);
    let providers = providers.into_iter().map(|(name, kind)| CapacityProvider {
        capacity_provider_arn: Some(arn(cx, name)),
        name: Some((*name).to_owned()),
        status: Some(CapacityProviderStatus::Active),
        r#type: Some(kind.clone()),
        tags: Some(Vec::new()),
        ..Default::default()
    });
    Ok(DescribeCapacityProvidersResponse {
        capacity_providers: Some(providers.collect()),
        failures: Some(failures),
        next_token,
    })
}

fn arn(cx: &Context, name: &str) -> String {
    cx.locality.arn("ecs", &format!("capacity-provider/{name}"))
}

fn short_name<'a>(cx: &Context, text: &'a str) -> Result<&'a str, Fault> {
    if !text.starts_with("arn:") {
        return Ok(text);
    }
    match names::ours(&cx.locality, text)?.kind_and_rest() {
        Some(("capacity-provider", name)) => Ok(name),
        _ => Err(invalid_parameter("Invalid identifier: not a capacity provider")),
    }
}
