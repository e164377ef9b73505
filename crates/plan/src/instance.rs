//! Whether an instance still counts as there. Silence first ends its lease (no new tasks), and only
//! after a grace its tasks: a machine that was cut off for a moment keeps what it runs.

use model::Timestamp;
use model::instance::InstanceState;
use model::limits::{INSTANCE_GRACE_SECONDS, SESSION_LEASE_SECONDS};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Lease {
    /// Heard of lately.
    Held,
    /// Silent past its lease: takes no more tasks, keeps those it has.
    Silent,
    /// Silent past lease and grace: its tasks are lost.
    Lost,
}

/// `heard_at` is when its session last said anything. An instance once lost stays lost until a new
/// session registers it (which sets its state), however the clock goes.
pub fn lease(state: InstanceState, heard_at: Timestamp, now: Timestamp) -> Lease {
    if state.is_over() || now >= lost_at(heard_at) {
        return Lease::Lost;
    }
    match now >= silent_at(heard_at) {
        true => Lease::Silent,
        false => Lease::Held,
    }
}

/// When to look again; None when nothing more can happen by itself.
pub fn next_look(state: InstanceState, heard_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    match lease(state, heard_at, now) {
        Lease::Held => Some(silent_at(heard_at)),
        Lease::Silent => Some(lost_at(heard_at)),
        Lease::Lost => None,
    }
}

fn silent_at(heard_at: Timestamp) -> Timestamp {
    heard_at.plus_seconds(SESSION_LEASE_SECONDS)
}

fn lost_at(heard_at: Timestamp) -> Timestamp {
    silent_at(heard_at).plus_seconds(INSTANCE_GRACE_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_ends_the_lease_and_then_the_instance() {
        let heard = Timestamp(1_000_000);
        let active = InstanceState::Active;
        let at = |seconds: i64| lease(active, heard, heard.plus_seconds(seconds));
        assert_eq!((at(0), at(14)), (Lease::Held, Lease::Held));
        assert_eq!((at(15), at(59)), (Lease::Silent, Lease::Silent));
        assert_eq!((at(60), at(6000)), (Lease::Lost, Lease::Lost));
        assert_eq!(at(-5), Lease::Held, "a clock that went back loses nobody");
        assert_eq!(lease(InstanceState::Lost, heard, heard), Lease::Lost);
    }

    #[test]
    fn every_look_comes_to_an_end() {
        let heard = Timestamp(0);
        let mut now = heard;
        let mut looks = 0;
        while let Some(next) = next_look(InstanceState::Active, heard, now) {
            assert!(next > now);
            now = next;
            looks += 1;
        }
        assert_eq!((looks, lease(InstanceState::Active, heard, now)), (2, Lease::Lost));
    }
}
