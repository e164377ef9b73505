//! Capacity providers and strategies over them. FARGATE and FARGATE_SPOT always exist; no other can
//! be made yet. Source: developer guide, fargate-capacity-providers; API reference,
//! CapacityProviderStrategyItem.

use crate::fault::{Fault, invalid_parameter};
use crate::limits::STRATEGY_ITEMS_MAX;
use model::cluster::{CapacityProviderStrategyItem, Cluster};
use wire::ecs;

pub const FARGATE: &str = "FARGATE";
pub const FARGATE_SPOT: &str = "FARGATE_SPOT";

pub fn exists(name: &str) -> bool {
    matches!(name, FARGATE | FARGATE_SPOT)
}

fn not_found() -> Fault {
    invalid_parameter("The specified capacity provider was not found.")
}

/// The providers to attach to a cluster.
pub fn providers(given: Option<Vec<String>>) -> Result<Vec<String>, Fault> {
    let mut providers = Vec::new();
    for name in given.unwrap_or_default() {
        if !exists(&name) {
            return Err(not_found());
        }
        if providers.contains(&name) {
            return Err(invalid_parameter("Duplicate capacity providers were found."));
        }
        providers.push(name);
    }
    Ok(providers)
}

/// A strategy over the providers attached to a cluster.
pub fn read(
    given: Option<&[ecs::CapacityProviderStrategyItem]>,
    attached: &[String],
) -> Result<Vec<CapacityProviderStrategyItem>, Fault> {
    let given = given.unwrap_or_default();
    if given.len() > STRATEGY_ITEMS_MAX {
        return Err(invalid_parameter("A strategy can have at most 20 capacity providers."));
    }
    let mut items: Vec<CapacityProviderStrategyItem> = Vec::with_capacity(given.len());
    for item in given {
        let name = item.capacity_provider.as_deref().unwrap_or("");
        if !exists(name) {
            return Err(not_found());
        }
        if !attached.iter().any(|provider| provider == name) {
            return Err(invalid_parameter(
                "The specified capacity provider strategy cannot contain a capacity provider that \
                 is not associated with the cluster. Associate the capacity provider with the \
                 cluster and try again.",
            ));
        }
        if items.iter().any(|item| item.capacity_provider == name) {
            return Err(invalid_parameter("Duplicate capacity providers were found."));
        }
        let number = |n: Option<i32>| u32::try_from(n.unwrap_or(0)).unwrap_or(0);
        items.push(CapacityProviderStrategyItem {
            capacity_provider: name.to_owned(),
            weight: number(item.weight),
            base: number(item.base),
        });
    }
    if items.iter().filter(|item| item.base > 0).count() > 1 {
        return Err(invalid_parameter(
            "Only one capacity provider in a strategy can have a base defined.",
        ));
    }
    Ok(items)
}

/// A strategy that tasks are to be launched with has to have somewhere to put them.
pub fn launchable(items: &[CapacityProviderStrategyItem]) -> Result<(), Fault> {
    if items.iter().all(|item| item.weight == 0) {
        return Err(invalid_parameter(
            "At least one capacity provider in a strategy must have a weight greater than 0.",
        ));
    }
    Ok(())
}

pub fn show(items: &[CapacityProviderStrategyItem]) -> Vec<ecs::CapacityProviderStrategyItem> {
    let number = |n: u32| i32::try_from(n).ok();
    items
        .iter()
        .map(|item| ecs::CapacityProviderStrategyItem {
            capacity_provider: Some(item.capacity_provider.clone()),
            weight: number(item.weight),
            base: number(item.base),
        })
        .collect()
}

/// What a call without launch type and strategy goes by: the cluster's default strategy.
pub fn default_of(cluster: &Cluster) -> Option<&[CapacityProviderStrategyItem]> {
    let items = cluster.default_capacity_provider_strategy.as_slice();
    (!items.is_empty()).then_some(items)
}
