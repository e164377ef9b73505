//! The arithmetic of a rollout: how many tasks may start and how many must end, from counts alone.
//! Never more than the maximum, never fewer healthy ones than the minimum unless they fail by
//! themselves. Tasks on an instance that drains are replaced by the same rules, whichever
//! deployment's they are. Source: API reference, DeploymentConfiguration (the minimum rounds up,
//! the maximum down); ECS developer guide, container-instance-draining.

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

/// Each task is counted on one side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub desired: u32,
    pub maximum_percent: u32,
    pub minimum_healthy_percent: u32,
    pub primary: Tally,
    pub old: Tally,
    /// Of the older deployments, and protected: they stay for now.
    pub kept: Tally,
    /// On instances that drain.
    pub leaving: Tally,
    /// On instances that drain, and protected: they stay for now.
    pub guarded: Tally,
    /// Tasks of the primary that are there on purpose beyond the wish.
    pub extra: u32,
    /// Whether the primary starts tasks no more, as it was given up.
    pub given_up: bool,
    /// Whether there is an older deployment that may start tasks.
    pub old_may_start: bool,
}

impl Counts {
    /// All that are not the primary's, or are to be elsewhere.
    fn others(&self) -> u32 {
        self.old.living() + self.kept.living() + self.leaving.living() + self.guarded.living()
    }

    /// Healthy ones but for those that leave.
    fn healthy(&self) -> u32 {
        let old = self.old.healthy + self.kept.healthy;
        self.primary.healthy.min(self.desired) + old + self.guarded.healthy
    }

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
    /// Of those on instances that drain.
    pub stop_leaving: u32,
    /// More would end if they were not protected.
    pub waits_for_protected: bool,
    /// There is something to do, and neither a start nor a stop is allowed.
    pub deadlocked: bool,
}

pub fn moves(counts: &Counts) -> Moves {
    let Counts { desired, primary, old, kept, leaving, guarded, .. } = *counts;
    // Promising tasks beyond the wish end; unhealthy ones are seen to below.
    let stop_primary = primary.promising().saturating_sub(desired + counts.extra);
    let mut moves = Moves { stop_primary, ..Moves::default() };
    let needed = match counts.given_up {
        true => 0,
        false => desired.saturating_sub(primary.promising()),
    };
    let stays = primary.living() - moves.stop_primary;
    let room = counts.maximum().saturating_sub(stays + counts.others());
    moves.start = needed.min(room);
    let mut short = needed - moves.start;
    // An unhealthy task is replaced first and stopped then; where there is no room for that, it
    // makes room.
    moves.stop_unhealthy = match primary.healthy + primary.settling >= desired {
        true => primary.unhealthy,
        false => primary.unhealthy.min(short),
    };
    short -= moves.stop_unhealthy.min(short);
    let lacking = lacking(counts);
    moves.start_old = lacking.min(room - moves.start);
    let mut without_room = lacking - moves.start_old;

    moves.stop_leaving = stop_leaving(counts, short, without_room);
    short = short.saturating_sub(moves.stop_leaving);
    without_room = without_room.saturating_sub(moves.stop_leaving);

    let healthy_primary = primary.healthy.min(desired);
    let taken = moves.stop_leaving.saturating_sub(leaving.living() - leaving.healthy);
    let healthy = counts.healthy() + leaving.healthy - taken;
    let spare = healthy.saturating_sub(counts.minimum());
    // Old tasks that are of no use may always go, as far as they are in excess; healthy ones only
    // while enough are left.
    let all_old = old.living() + kept.living();
    let replaced = all_old.saturating_sub(desired.saturating_sub(healthy_primary));
    moves.waits_for_protected = replaced > old.living() || guarded.living() > 0;
    let replaced = replaced.min(old.living());
    let in_the_way = without_room.min(old.unhealthy);
    let wanted = replaced.max(short.min(old.living())).max(in_the_way);
    let useless = old.living() - old.healthy;
    moves.stop_old = wanted.min(useless + spare.min(old.healthy));
    moves.deadlocked = is_deadlocked(counts, &moves, needed);
    moves
}

/// How many tasks of the deployment before are to start. What leaves does not count as there. When
/// the primary was given up, whoever leaves is replaced by its own kind.
fn lacking(counts: &Counts) -> u32 {
    let Counts { desired, primary, old, kept, leaving, .. } = *counts;
    if !counts.old_may_start {
        return 0;
    }
    let promising = old.promising() + kept.promising();
    let covered = primary.healthy.min(desired) + promising;
    let lacking = counts.minimum().saturating_sub(covered);
    let unreplaced = desired.saturating_sub(primary.promising() + promising);
    match counts.given_up {
        true => lacking.max(leaving.living().min(unreplaced)),
        false => lacking,
    }
}

/// How many of those on draining instances end now. Each is replaced first and ends then; where
/// there is no room for that, it makes room as far as the minimum allows. One that has just begun
/// to run is worth as much as a healthy one here: its replacement is no better.
fn stop_leaving(counts: &Counts, short: u32, without_room: u32) -> u32 {
    let Counts { desired, primary, leaving, .. } = *counts;
    let without = |there: u32| desired.saturating_sub(there);
    let replaced = match (counts.given_up, counts.old_may_start) {
        (false, _) => counts.others().saturating_sub(without(primary.healthy)),
        (true, true) => leaving.living().saturating_sub(without(counts.healthy())),
        // Nobody comes in their place.
        (true, false) => leaving.living(),
    };
    let wanted = replaced.max(short).max(without_room).min(leaving.living());
    let standing = leaving.healthy + leaving.settling;
    let spare = (counts.healthy() + standing).saturating_sub(counts.minimum());
    wanted.min(leaving.living() - standing + spare.min(standing))
}

/// There is something to do, nothing is allowed, and nothing is under way that would change that.
fn is_deadlocked(counts: &Counts, moves: &Moves, needed: u32) -> bool {
    let Counts { primary, old, leaving, .. } = *counts;
    let idle = moves.start == 0
        && moves.start_old == 0
        && moves.stop_old == 0
        && moves.stop_leaving == 0
        && moves.stop_unhealthy == 0;
    let comes = |tally: &Tally| tally.starting + tally.settling > 0;
    let rolls = old.living() > 0 && primary.living() == 0;
    let drains = leaving.living() > 0 && !comes(&primary) && !comes(&old) && !comes(&leaving);
    idle && needed > 0 && (rolls || drains)
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
            ..Counts::default()
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

    #[test]
    fn what_leaves_is_replaced_as_the_rules_allow() {
        let draining = |minimum: u32, maximum: u32, stay: u32, leaving: Tally| Counts {
            leaving,
            ..counts(4, minimum, maximum, healthy(stay), Tally::default())
        };
        let start = |start: u32| Moves { start, ..Moves::default() };
        let stop = |stop_leaving: u32| Moves { stop_leaving, ..Moves::default() };
        // Start before stop where there is room.
        assert_eq!(moves(&draining(100, 200, 2, healthy(2))), start(2));
        assert_eq!(moves(&draining(50, 200, 2, healthy(2))), start(2));
        assert_eq!(moves(&draining(100, 200, 3, healthy(2))), Moves { start: 1, ..stop(1) });
        assert_eq!(moves(&draining(100, 200, 4, healthy(2))), stop(2));
        // The guide's example: two existing tasks are stopped before two new ones are started.
        assert_eq!(moves(&draining(50, 100, 0, healthy(4))), stop(2));
        assert_eq!(moves(&draining(50, 100, 0, healthy(2))), start(2));
        assert_eq!(moves(&draining(0, 100, 0, healthy(4))), stop(4));
        let stuck = Moves { deadlocked: true, ..Moves::default() };
        assert_eq!(moves(&draining(100, 100, 3, healthy(1))), stuck);
        // What has just begun to run is not thrown away before its replacement is there.
        let settling = Tally { settling: 2, ..Tally::default() };
        assert_eq!(moves(&draining(100, 200, 2, settling)), start(2));
        let coming = Tally { starting: 2, healthy: 2, ..Tally::default() };
        let waits = Counts { primary: coming, ..draining(100, 200, 2, settling) };
        assert_eq!(moves(&waits), Moves::default());
    }

    #[test]
    fn protected_tasks_that_leave_are_replaced_and_stay() {
        let begin =
            Counts { guarded: healthy(1), ..counts(2, 100, 200, healthy(1), Tally::default()) };
        let waits = Moves { waits_for_protected: true, ..Moves::default() };
        assert_eq!(moves(&begin), Moves { start: 1, ..waits });
        let replaced = Counts { primary: healthy(2), ..begin };
        assert_eq!(moves(&replaced), waits);
        // Those of an older deployment don't make others go in their place.
        let sick = Tally { unhealthy: 1, ..Tally::default() };
        let rollout = counts(2, 50, 100, Tally::default(), healthy(1));
        let stuck = Moves { deadlocked: true, ..Moves::default() };
        assert_eq!(moves(&Counts { kept: sick, ..rollout }), stuck);
    }

    #[test]
    fn a_deployment_that_was_given_up_is_replaced_by_its_own_kind_where_it_leaves() {
        let begin = Counts {
            leaving: healthy(2),
            given_up: true,
            old_may_start: true,
            ..counts(2, 100, 200, Tally::default(), Tally::default())
        };
        assert_eq!(moves(&begin), Moves { start_old: 2, ..Moves::default() });
        let coming = Counts { old: Tally { starting: 2, ..Tally::default() }, ..begin };
        assert_eq!(moves(&coming), Moves::default());
        let there = Counts { old: healthy(2), ..begin };
        assert_eq!(moves(&there), Moves { stop_leaving: 2, ..Moves::default() });
        // No new ones at all: the minimum stays.
        let alone = Counts { old_may_start: false, minimum_healthy_percent: 50, ..begin };
        assert_eq!(moves(&alone), Moves { stop_leaving: 1, ..Moves::default() });
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
                    for leaving in tallies(2) {
                        let none = Tally::default();
                        let counts =
                            Counts { leaving, ..counts(desired, minimum, maximum, new, none) };
                        check(&counts);
                        for old in [healthy(1), Tally { starting: 1, ..healthy(1) }] {
                            check(&Counts { old, ..counts });
                            check(&Counts { old, old_may_start: true, ..counts });
                            check(&Counts { old, old_may_start: true, given_up: true, ..counts });
                            check(&Counts { guarded: healthy(1), old, ..counts });
                            check(&Counts { kept: healthy(1), old, ..counts });
                        }
                    }
                }
            }
        }
    }

    fn check(counts: &Counts) {
        let moves = moves(counts);
        let Counts { primary, old, leaving, desired, .. } = *counts;
        let before = primary.living() + counts.others();
        assert!(moves.stop_primary + moves.stop_unhealthy <= primary.living());
        assert!(moves.stop_old <= old.living(), "{counts:?} {moves:?}");
        assert!(moves.stop_leaving <= leaving.living(), "{counts:?} {moves:?}");
        if moves.start + moves.start_old > 0 {
            let after = before - moves.stop_primary + moves.start + moves.start_old;
            assert!(after <= counts.maximum(), "{counts:?} {moves:?}");
        }
        // The most healthy tasks that the stops of old and leaving ones can take away.
        let taken = |stopped: u32, of: Tally| stopped.saturating_sub(of.living() - of.healthy);
        let before = counts.healthy() + leaving.healthy;
        let left = before - taken(moves.stop_old, old) - taken(moves.stop_leaving, leaving);
        assert!(left >= counts.minimum().min(before), "{counts:?} {moves:?}");
        assert!(primary.promising() - moves.stop_primary + moves.start <= desired);
        assert!(!counts.given_up || moves.start == 0);
    }
}
