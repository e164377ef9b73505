//! Even zones: a service that is steady and has more tasks in one zone than in another starts some
//! where there are few, waits until they are healthy, and stops as many where there are most. One
//! such move is under way at a time, and one that does not come to an end is given up. Nothing is
//! evened out while an instance of the service drains.
//! Source: ECS developer guide, service-rebalancing.

use super::{Side, Standing, Start, Work, events};
use crate::limits::{REBALANCE_AGAIN_SECONDS, REBALANCE_PATIENCE_SECONDS};
use model::service::{Rebalance, Rollout};
use model::{TaskId, ZoneName};
use std::collections::{BTreeMap, BTreeSet};

type Zones = BTreeMap<ZoneName, u32>;

/// The most and the fewest differ by more than can't be helped.
fn is_even(zones: &Zones) -> bool {
    let most = zones.values().max().copied().unwrap_or(0);
    let fewest = zones.values().min().copied().unwrap_or(0);
    most - fewest <= 1
}

/// Where the next tasks go so that zones are even, one after the other, and no more than `most`.
fn moves(zones: &Zones, most: u32) -> Vec<ZoneName> {
    let mut zones = zones.clone();
    let mut moves = Vec::new();
    while !is_even(&zones) && moves.len() < most as usize {
        let fullest = zones.iter().max_by_key(|(_, count)| **count).map(|(zone, _)| zone.clone());
        let emptiest = zones.iter().min_by_key(|(_, count)| **count).map(|(zone, _)| zone.clone());
        let (Some(from), Some(to)) = (fullest, emptiest) else { break };
        zones.entry(from).and_modify(|count| *count -= 1);
        zones.entry(to.clone()).and_modify(|count| *count += 1);
        moves.push(to);
    }
    moves
}

impl Work<'_> {
    /// How many tasks more than wanted there are on purpose.
    pub(super) fn extra(&self) -> u32 {
        let Some(rebalance) = &self.progress.rebalance else { return 0 };
        let living = self.living.values().flatten();
        let stay = living.filter(|(seen, _)| !seen.leaving);
        let extra = stay.filter(|(seen, _)| rebalance.tasks.contains(&seen.task.id)).count();
        u32::try_from(extra).unwrap_or(u32::MAX)
    }

    pub(super) fn even_zones(&mut self, mint: &mut dyn FnMut() -> u128) {
        match self.progress.rebalance.clone() {
            Some(rebalance) => self.go_on(&rebalance, mint),
            None => self.begin_rebalance(mint),
        }
    }

    /// Tasks of the primary deployment by zone, without these.
    fn zones(&self, without: &[TaskId]) -> Zones {
        let mut zones: Zones = self.view.zones.iter().map(|zone| (zone.clone(), 0)).collect();
        let primary = &self.progress.deployments[0].id;
        for (seen, _) in self.living.get(primary).into_iter().flatten() {
            let placed = seen.task.facts.placed.as_ref();
            if let Some(placed) = placed.filter(|_| !without.contains(&seen.task.id)) {
                *zones.entry(placed.zone.clone()).or_default() += 1;
            }
        }
        zones
    }

    fn wants_even_zones(&self) -> bool {
        let service = self.view.service;
        let primary = &self.progress.deployments[0];
        service.az_rebalancing
            && !self.anybody_leaves()
            && service.rules.maximum_percent > 100
            && primary.rollout == Rollout::Completed
    }

    fn begin_rebalance(&mut self, mint: &mut dyn FnMut() -> u128) {
        let moving = !self.start.is_empty() || !self.stop.is_empty();
        let zones = self.zones(&[]);
        if moving || !self.progress.steady || !self.wants_even_zones() || is_even(&zones) {
            return;
        }
        let over_at = self.progress.rebalanced_at;
        if let Some(again_at) = over_at.map(|at| at.plus_seconds(REBALANCE_AGAIN_SECONDS))
            && self.view.now < again_at
        {
            return self.look_again(again_at);
        }
        let service = self.view.service;
        let counts = self.counts();
        let room = counts.maximum().saturating_sub(counts.primary.living());
        let moves = moves(&zones, room);
        if moves.is_empty() {
            return;
        }
        self.event(events::uneven(service, &zones), mint);
        let deployment = self.progress.deployments[0].id.clone();
        let mut by_zone: BTreeMap<ZoneName, Vec<TaskId>> = BTreeMap::new();
        for zone in moves {
            let task = TaskId::mint(mint());
            by_zone.entry(zone.clone()).or_default().push(task.clone());
            self.start.push(Start { deployment: deployment.clone(), task, zone: Some(zone) });
        }
        for (zone, tasks) in &by_zone {
            self.event(events::started_for_balance(service, zone, tasks), mint);
        }
        let tasks: BTreeSet<TaskId> = by_zone.into_values().flatten().collect();
        self.progress.rebalance = Some(Rebalance { tasks, begun_at: self.view.now });
        self.progress.steady = false;
    }

    fn go_on(&mut self, rebalance: &Rebalance, mint: &mut dyn FnMut() -> u128) {
        let give_up_at = rebalance.begun_at.plus_seconds(REBALANCE_PATIENCE_SECONDS);
        let primary = self.progress.deployments[0].id.clone();
        let living = self.living.get(&primary).map_or(&[][..], Vec::as_slice);
        let own = living.iter().filter(|(seen, _)| rebalance.tasks.contains(&seen.task.id));
        let standings: Vec<Standing> = own.map(|(_, standing)| *standing).collect();
        let total = u32::try_from(living.len()).unwrap_or(u32::MAX);
        let all_there = standings.len() == rebalance.tasks.len();
        if !all_there || !self.wants_even_zones() || self.view.now >= give_up_at {
            // What is too much now is stopped like any other excess.
            return self.end_rebalance();
        }
        // Whoever is stopped for another reason now is counted in the next plan.
        let moving = !self.start.is_empty() || !self.stop.is_empty();
        if moving || standings.iter().any(|standing| *standing != Standing::Healthy) {
            return self.look_again(give_up_at);
        }
        let excess = total.saturating_sub(self.view.service.desired_count);
        let surplus = self.victims(|side, _| side == Side::Primary, excess);
        self.halt(&surplus, &events::evening_out(&primary), mint);
        self.end_rebalance();
        let zones = self.zones(&surplus);
        if is_even(&zones) {
            self.event(events::even(self.view.service, &zones), mint);
        }
    }

    fn end_rebalance(&mut self) {
        self.progress.rebalance = None;
        self.progress.rebalanced_at = Some(self.view.now);
        self.look_again(self.view.now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_go_to_the_emptiest_zones_until_all_are_even() {
        let zones = |counts: [u32; 3]| -> Zones {
            ["a", "b", "c"].into_iter().map(ZoneName::from).zip(counts).collect()
        };
        let names =
            |moves: Vec<ZoneName>| moves.iter().map(ToString::to_string).collect::<String>();
        assert_eq!(names(moves(&zones([3, 0, 0]), 9)), "bc");
        assert_eq!(names(moves(&zones([5, 1, 0]), 9)), "cbc");
        assert_eq!(names(moves(&zones([5, 1, 0]), 1)), "c");
        assert_eq!(names(moves(&zones([2, 1, 1]), 9)), "");
    }
}
