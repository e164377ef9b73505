//! The arithmetic of a rollout: how many tasks may start and how many must end, from counts alone.
//! Never more than the maximum, never fewer healthy ones than the minimum unless they fail by
//! themselves. Source: API reference, DeploymentConfiguration (the minimum rounds up, the maximum
//! down).

use super::Standing;

/// The living tasks of one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    pub starting: u32,
    pub settling: u32,
    pub healthy: u32,
    pub unhealthy: u32,
}

impl Tally {
    pub fn add(&mut self, standing: &Standing) {
        match standing {
            Standing::Starting | Standing::Excused { .. } => self.starting += 1,
            Standing::Settling { .. } => self.settling += 1,
            Standing::Healthy => self.healthy += 1,
            Standing::Unhealthy => self.unhealthy += 1,
            Standing::Ending | Standing::Ended => {}
        }
    }

    pub fn living(&self) -> u32 {
        self.starting + self.settling + self.healthy + self.unhealthy
    }

    /// Those that are or may become what is wanted.
    fn promising(&self) -> u32 {
        self.starting + self.settling + self.healthy
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub desired: u32,
    pub maximum_percent: u32,
    pub minimum_healthy_percent: u32,
    pub primary: Tally,
    pub old: Tally,
    /// Tasks of the primary that are there on purpose beyond the wish.
    pub extra: u32,
    /// Whether there is an older deployment that may start tasks.
    pub old_may_start: bool,
}

impl Counts {
    pub fn maximum(&self) -> u32 {
        let scaled = u64::from(self.desired) * u64::from(self.maximum_percent) / 100;
        u32::try_from(scaled).unwrap_or(u32::MAX)
    }

    pub fn minimum(&self) -> u32 {
        let scaled = u64::from(self.desired) * u64::from(self.minimum_healthy_percent);
        u32::try_from(scaled.div_ceil(100)).unwrap_or(u32::MAX)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moves {
    pub start: u32,
    /// Of the deployment before, as too few are there until the primary's are: what fails is
    /// replaced by its own kind. Source: ECS developer guide, deployment-type-ecs.
    pub start_old: u32,
    /// Of the primary, as it has more than is wanted.
    pub stop_primary: u32,
    /// Unhealthy ones of the primary.
    pub stop_unhealthy: u32,
    /// Of the older deployments.
    pub stop_old: u32,
    /// There is something to do, and neither a start nor a stop is allowed.
    pub deadlocked: bool,
}

pub fn moves(counts: &Counts) -> Moves {
    let Counts { desired, primary, old, .. } = *counts;
    // Promising tasks beyond the wish end; unhealthy ones are seen to below.
    let stop_primary = primary.promising().saturating_sub(desired + counts.extra);
    let mut moves = Moves { stop_primary, ..Moves::default() };
    let needed = desired.saturating_sub(primary.promising());
    let kept = primary.promising() - moves.stop_primary;
    let living = kept + primary.unhealthy + old.living();
    let room = counts.maximum().saturating_sub(living);
    moves.start = needed.min(room);
    let short = needed - moves.start;
    // An unhealthy task is replaced first and stopped then; where there is no room for that, it
    // makes room.
    moves.stop_unhealthy = match primary.healthy + primary.settling >= desired {
        true => primary.unhealthy,
        false => primary.unhealthy.min(short),
    };
    let short = short - moves.stop_unhealthy.min(short);
    let healthy_primary = primary.healthy.min(desired);
    let spare = (healthy_primary + old.healthy).saturating_sub(counts.minimum());
    // Old tasks that are of no use may always go, as far as they are in excess; healthy ones only
    // while enough are left.
    let replaced = old.living().saturating_sub(desired.saturating_sub(healthy_primary));
    let covered = healthy_primary + old.promising();
    let lacking = match counts.old_may_start {
        true => counts.minimum().saturating_sub(covered),
        false => 0,
    };
    moves.start_old = lacking.min(room - moves.start);
    let in_the_way = (lacking - moves.start_old).min(old.unhealthy);
    let wanted = replaced.max(short.min(old.living())).max(in_the_way);
    let useless = old.living() - old.healthy;
    moves.stop_old = wanted.min(useless + spare.min(old.healthy));
    let idle = moves.start == 0
        && moves.start_old == 0
        && moves.stop_old == 0
        && moves.stop_unhealthy == 0;
    moves.deadlocked = idle && needed > 0 && old.living() > 0 && primary.living() == 0;
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(desired: u32, minimum: u32, maximum: u32, new: Tally, old: Tally) -> Counts {
        Counts {
            desired,
            maximum_percent: maximum,
            minimum_healthy_percent: minimum,
            primary: new,
            old,
            extra: 0,
            old_may_start: false,
        }
    }

    fn healthy(healthy: u32) -> Tally {
        Tally { healthy, ..Tally::default() }
    }

    #[test]
    fn a_new_service_starts_what_is_wanted_and_scaling_in_stops_the_rest() {
        let first = moves(&counts(3, 100, 200, Tally::default(), Tally::default()));
        assert_eq!(first, Moves { start: 3, ..Moves::default() });
        let less = moves(&counts(1, 100, 200, healthy(3), Tally::default()));
        assert_eq!(less, Moves { stop_primary: 2, ..Moves::default() });
        let none = moves(&counts(0, 100, 200, healthy(2), Tally::default()));
        assert_eq!(none, Moves { stop_primary: 2, ..Moves::default() });
    }

    #[test]
    fn new_tasks_come_first_and_old_ones_go_as_they_are_replaced() {
        let begin = moves(&counts(2, 100, 200, Tally::default(), healthy(2)));
        assert_eq!(begin, Moves { start: 2, ..Moves::default() });
        let half = Tally { starting: 1, healthy: 1, ..Tally::default() };
        let middle = moves(&counts(2, 100, 200, half, healthy(2)));
        assert_eq!(middle, Moves { stop_old: 1, ..Moves::default() });
        let end = moves(&counts(2, 100, 200, healthy(2), healthy(1)));
        assert_eq!(end, Moves { stop_old: 1, ..Moves::default() });
    }

    #[test]
    fn without_room_above_the_wish_old_tasks_make_room() {
        let begin = moves(&counts(2, 50, 100, Tally::default(), healthy(2)));
        assert_eq!(begin, Moves { stop_old: 1, ..Moves::default() });
        let next = moves(&counts(2, 50, 100, Tally::default(), healthy(1)));
        assert_eq!(next, Moves { start: 1, ..Moves::default() });
        let stuck = moves(&counts(1, 100, 100, Tally::default(), healthy(1)));
        assert_eq!(stuck, Moves { deadlocked: true, ..Moves::default() });
    }

    #[test]
    fn what_fails_during_a_rollout_is_replaced_by_its_own_kind() {
        let coming = Tally { starting: 2, ..Tally::default() };
        let one_died = Counts { old_may_start: true, ..counts(2, 100, 200, coming, healthy(1)) };
        assert_eq!(moves(&one_died), Moves { start_old: 1, ..Moves::default() });
        // There is no room above: the sick one makes room first.
        let sick = Tally { healthy: 1, unhealthy: 1, ..Tally::default() };
        let full = Counts { old: sick, ..one_died };
        assert_eq!(moves(&full), Moves { stop_old: 1, ..Moves::default() });
        let rolled_back = Counts { old_may_start: false, ..one_died };
        assert_eq!(moves(&rolled_back), Moves::default());
    }

    #[test]
    fn an_unhealthy_task_is_replaced_before_it_is_stopped_when_there_is_room() {
        let sick = Tally { healthy: 1, unhealthy: 1, ..Tally::default() };
        let begin = moves(&counts(2, 100, 200, sick, Tally::default()));
        assert_eq!(begin, Moves { start: 1, ..Moves::default() });
        let replaced = Tally { healthy: 2, unhealthy: 1, ..Tally::default() };
        let end = moves(&counts(2, 100, 200, replaced, Tally::default()));
        assert_eq!(end, Moves { stop_unhealthy: 1, ..Moves::default() });
        let tight = moves(&counts(2, 100, 100, sick, Tally::default()));
        assert_eq!(tight, Moves { stop_unhealthy: 1, ..Moves::default() });
    }

    /// Every state of small services under many rules: the bounds hold, and there is always a way
    /// on unless the rules themselves forbid it.
    #[test]
    fn no_move_breaks_the_bounds() {
        let tallies = |most: u32| {
            let range = move || 0..=most;
            range().flat_map(move |starting| {
                range().flat_map(move |settling| {
                    range().flat_map(move |healthy| {
                        (0..=1).map(move |unhealthy| Tally {
                            starting,
                            settling,
                            healthy,
                            unhealthy,
                        })
                    })
                })
            })
        };
        let rules = [(100, 200), (50, 100), (0, 100), (100, 150), (50, 200), (0, 200), (100, 100)];
        for desired in 0..=3 {
            for (minimum, maximum) in rules {
                for new in tallies(3) {
                    for old in tallies(2) {
                        let counts = counts(desired, minimum, maximum, new, old);
                        check(&counts);
                        check(&Counts { old_may_start: true, ..counts });
                    }
                }
            }
        }
    }

    fn check(counts: &Counts) {
        let moves = moves(counts);
        let Counts { primary, old, desired, .. } = *counts;
        let before = primary.living() + old.living();
        let stopped = moves.stop_primary + moves.stop_unhealthy + moves.stop_old;
        assert!(stopped <= before, "{counts:?} {moves:?}");
        if moves.start + moves.start_old > 0 {
            let after = before - moves.stop_primary + moves.start + moves.start_old;
            assert!(after <= counts.maximum(), "{counts:?} {moves:?}");
        }
        // The most healthy tasks that the stops of old ones can take away.
        let useless = old.living() - old.healthy;
        let taken = moves.stop_old.saturating_sub(useless);
        let left = primary.healthy.min(desired) + old.healthy - taken;
        let before = primary.healthy.min(desired) + old.healthy;
        assert!(left >= counts.minimum().min(before), "{counts:?} {moves:?}");
        assert!(primary.promising() - moves.stop_primary + moves.start <= desired);
    }
}
