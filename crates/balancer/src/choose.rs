//! Which target gets a request: functions of numbers alone. Source: ELB user guide, "Routing
//! algorithms", "Slow start mode", "Target group weights".

/// The nth of `count` in turn.
pub fn in_turn(turn: usize, count: usize) -> usize {
    turn % count
}

/// Who has least to do; of several the next in turn.
pub fn least_outstanding(
    outstanding: impl Iterator<Item = u32>,
    turn: usize,
    count: usize,
) -> usize {
    let rotated = |at: usize| (at + count - turn % count) % count;
    let ranked = outstanding.enumerate().map(|(at, busy)| (busy, rotated(at), at));
    ranked.min().map_or(0, |(_, _, at)| at)
}

/// A number below `count`, evenly, from 64 random bits.
pub fn evenly(draw: u64, count: usize) -> usize {
    let wide = u128::from(draw) * count as u128;
    usize::try_from(wide >> 64).expect("it is below count")
}

/// Which of some weights a draw falls on; None if all are zero.
pub fn by_weight(weights: impl Iterator<Item = u32> + Clone, draw: u64) -> Option<usize> {
    let total: u64 = weights.clone().map(u64::from).sum();
    if total == 0 {
        return None;
    }
    let mut left = (u128::from(draw) * u128::from(total)) >> 64;
    for (at, weight) in weights.enumerate() {
        let weight = u128::from(weight);
        if left < weight {
            return Some(at);
        }
        left -= weight;
    }
    None
}

/// Whether a target that became healthy `since_ms` ago takes the request that would be its turn:
/// its share grows in proportion to time.
pub fn takes_in_slow_start(since_ms: u64, slow_start_ms: u64, draw: u64) -> bool {
    let share = (u128::from(since_ms) << 64) / u128::from(slow_start_ms.max(1));
    u128::from(draw) < share
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: u64 = 1 << 63;

    #[test]
    fn each_has_its_turn_and_the_least_busy_goes_first() {
        let turns: Vec<usize> = (0..5).map(|turn| in_turn(turn, 3)).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1]);
        let least = |turn| least_outstanding([3, 1, 2, 1].into_iter(), turn, 4);
        assert_eq!([least(0), least(1), least(2), least(3)], [1, 1, 3, 3]);
    }

    #[test]
    fn draws_fall_in_proportion() {
        assert_eq!([evenly(0, 4), evenly(HALF, 4), evenly(u64::MAX, 4)], [0, 2, 3]);
        let weights = [1, 0, 3];
        let of = |draw| by_weight(weights.into_iter(), draw);
        assert_eq!([of(0), of(HALF / 2), of(u64::MAX)], [Some(0), Some(2), Some(2)]);
        assert_eq!(by_weight([0, 0].into_iter(), HALF), None);
    }

    #[test]
    fn a_slow_start_is_a_ramp() {
        assert!(!takes_in_slow_start(0, 30_000, 0));
        assert!(takes_in_slow_start(16_000, 30_000, HALF));
        assert!(!takes_in_slow_start(14_000, 30_000, HALF));
        assert!(takes_in_slow_start(30_000, 30_000, u64::MAX));
    }
}
