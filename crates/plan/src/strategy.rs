//! Which capacity provider each task goes to. Source: ECS developer guide,
//! fargate-capacity-providers; API reference, CapacityProviderStrategyItem.

use model::cluster::CapacityProviderStrategyItem;
use std::collections::BTreeMap;

/// The providers of `count` more tasks beside those there are by provider: the base first, the rest
/// in proportion to the weights, each task to the provider that is furthest behind its share.
pub fn assign(
    items: &[CapacityProviderStrategyItem],
    there: &BTreeMap<String, u64>,
    count: usize,
) -> Vec<String> {
    let mut given: Vec<u64> =
        items.iter().map(|i| there.get(&i.capacity_provider).copied().unwrap_or(0)).collect();
    let mut out = Vec::with_capacity(count);
    while out.len() < count {
        let below = (0..items.len()).find(|at| given[*at] < u64::from(items[*at].base));
        let at = below.or_else(|| furthest_behind(items, &given));
        let Some(at) = at else { break };
        given[at] += 1;
        out.push(items[at].capacity_provider.clone());
    }
    out
}

/// By (given + 1) / weight, compared without dividing, the base aside; the first of equals.
fn furthest_behind(items: &[CapacityProviderStrategyItem], given: &[u64]) -> Option<usize> {
    let shared = |at: usize| given[at].saturating_sub(u64::from(items[at].base)) + 1;
    let weighted = (0..items.len()).filter(|at| items[*at].weight > 0);
    weighted.min_by(|a, b| {
        let share = |x: usize, y: usize| shared(x) * u64::from(items[y].weight);
        share(*a, *b).cmp(&share(*b, *a))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FARGATE: &str = "FARGATE";
    const SPOT: &str = "FARGATE_SPOT";

    fn item(name: &str, weight: u32, base: u32) -> CapacityProviderStrategyItem {
        CapacityProviderStrategyItem { capacity_provider: name.to_owned(), weight, base }
    }

    #[test]
    fn base_comes_first_and_weights_share_the_rest() {
        let none = BTreeMap::new();
        let strategy = [item(FARGATE, 1, 2), item(SPOT, 3, 0)];
        let spread = assign(&strategy, &none, 10);
        let on = |name: &str| spread.iter().filter(|given| *given == name).count();
        assert_eq!(spread[..2], [FARGATE, FARGATE]);
        assert_eq!((on(FARGATE), on(SPOT)), (4, 6));
        let even = assign(&[item(FARGATE, 1, 0), item(SPOT, 1, 0)], &none, 4);
        assert_eq!(even, [FARGATE, SPOT, FARGATE, SPOT]);
        assert!(assign(&[item(FARGATE, 0, 0)], &none, 3).is_empty());
    }

    #[test]
    fn what_is_there_counts() {
        let strategy = [item(FARGATE, 1, 1), item(SPOT, 1, 0)];
        let there = BTreeMap::from([(FARGATE.to_owned(), 1), (SPOT.to_owned(), 2)]);
        assert_eq!(assign(&strategy, &there, 3), [FARGATE, FARGATE, FARGATE]);
        let gone = BTreeMap::from([(SPOT.to_owned(), 5)]);
        assert_eq!(assign(&strategy, &gone, 1), [FARGATE]);
    }
}
