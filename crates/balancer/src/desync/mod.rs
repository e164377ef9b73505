//! Request smuggling: what http-desync-guardian would say of a request's head, and what follows
//! from it in each mitigation mode.

use model::balancing::DesyncMode;

/// A head as it was sent. Names and values are as between line start, colon and line end: spaces
/// around them included.
#[derive(Clone, Copy, Debug)]
pub struct RawHead<'a> {
    pub method: &'a [u8],
    pub target: &'a [u8],
    /// As in `HTTP/1.1`; empty for HTTP/0.9.
    pub version: &'a [u8],
    pub fields: &'a [(&'a [u8], &'a [u8])],
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tier {
    Compliant,
    Acceptable,
    Ambiguous,
    Severe,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub tier: Tier,
    /// As the access log spells it, as in `BothTeClPresent`.
    pub reason: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    Route,
    /// Routed, and the connections of client and target are closed after it.
    RouteAndClose,
    Refuse,
}

/// Source: ELB user guide, desync mitigation mode.
pub fn measure(mode: DesyncMode, tier: Tier) -> Measure {
    match (mode, tier) {
        (DesyncMode::Monitor, _) | (_, Tier::Compliant) => Measure::Route,
        (DesyncMode::Defensive, Tier::Acceptable) => Measure::Route,
        (DesyncMode::Defensive, Tier::Ambiguous) => Measure::RouteAndClose,
        (DesyncMode::Defensive, Tier::Severe) | (DesyncMode::Strictest, _) => Measure::Refuse,
    }
}

pub fn verdict(_head: &RawHead<'_>) -> Verdict {
    Verdict { tier: Tier::Compliant, reason: "Compliant" }
}
