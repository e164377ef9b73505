//! Request smuggling: what http-desync-guardian says of a request's head, and what follows from it
//! in each mitigation mode. It is the library that AWS's own load balancers ask, so the verdicts
//! are theirs by construction. Most requests are surely compliant, which is proven here in one
//! pass, so that the library is asked only about the others; that the proof never disagrees with
//! the library is tested against it.
//!
//! What is judged are the bytes as they were sent. A parser that repairs (merges equal lengths,
//! drops one beside a transfer coding, takes bare line feeds) would leave nothing to judge, which
//! is why HTTP/1.1 heads are read by our own code. HTTP/2 frames its messages itself, and the h2
//! crate refuses the headers that frame HTTP/1.1's; `verdict` judges what is left of it, the names
//! that a target might take for them.

mod proof;

use http_desync_guardian::ClassificationReason as Reason;
use http_desync_guardian::RequestSafetyTier;
use http_desync_guardian::request_analyzer::{HttpHeader, HttpRequestData, RequestAnalysisResult};
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

impl Tier {
    /// As the access log spells it.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Compliant => "Compliant",
            Tier::Acceptable => "Acceptable",
            Tier::Ambiguous => "Ambiguous",
            Tier::Severe => "Severe",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub tier: Tier,
    /// As the access log spells it, as in `BothTeClPresent`.
    pub reason: &'static str,
}

impl Verdict {
    pub const COMPLIANT: Verdict = Verdict { tier: Tier::Compliant, reason: "Compliant" };
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

/// Judges a head that was taken apart without a repair. How its lines ended it doesn't know.
pub fn verdict(head: &RawHead<'_>) -> Verdict {
    if proof::is_plain(head) {
        return Verdict::COMPLIANT;
    }
    let headers = head.fields.iter().map(|(name, value)| HttpHeader::new(name, value));
    let mut request = HttpRequestData {
        method: head.method,
        version: head.version,
        uri: head.target,
        headers: headers.collect(),
    };
    said(&request.analyze_parsed_request())
}

/// Judges a whole head in bytes, from the first of its method to its empty line: also its line
/// ends, folded lines and lines without a colon.
pub fn verdict_of_bytes(head: &[u8]) -> Verdict {
    if proof::is_plain_head(head) {
        return Verdict::COMPLIANT;
    }
    said(&HttpRequestData::analyze_raw_request(head))
}

fn said(result: &RequestAnalysisResult) -> Verdict {
    let tier = match result.tier {
        RequestSafetyTier::Compliant => Tier::Compliant,
        RequestSafetyTier::Acceptable => Tier::Acceptable,
        RequestSafetyTier::Ambiguous => Tier::Ambiguous,
        RequestSafetyTier::Severe => Tier::Severe,
    };
    Verdict { tier, reason: name(result.reason) }
}

/// The access log's names are the library's.
/// Source: ELB user guide, access log entries, classification reasons.
fn name(reason: Reason) -> &'static str {
    match reason {
        Reason::Compliant => "Compliant",
        Reason::EmptyHeader => "EmptyHeader",
        Reason::SuspiciousHeader => "SuspiciousHeader",
        Reason::NonCompliantHeader => "NonCompliantHeader",
        Reason::BadHeader => "BadHeader",
        Reason::AmbiguousUri => "AmbiguousUri",
        Reason::SpaceInUri => "SpaceInUri",
        Reason::BadUri => "BadUri",
        Reason::NonCompliantVersion => "NonCompliantVersion",
        Reason::BadVersion => "BadVersion",
        Reason::GetHeadZeroContentLength => "GetHeadZeroContentLength",
        Reason::UndefinedContentLengthSemantics => "UndefinedContentLengthSemantics",
        Reason::MultipleContentLength => "MultipleContentLength",
        Reason::DuplicateContentLength => "DuplicateContentLength",
        Reason::BadContentLength => "BadContentLength",
        Reason::UndefinedTransferEncodingSemantics => "UndefinedTransferEncodingSemantics",
        Reason::MultipleTransferEncodingChunked => "MultipleTransferEncodingChunked",
        Reason::BadTransferEncoding => "BadTransferEncoding",
        Reason::BothTeClPresent => "BothTeClPresent",
        Reason::BadMethod => "BadMethod",
        Reason::NonCrLfLineTermination => "NonCrLfLineTermination",
        Reason::MultilineHeader => "MultilineHeader",
        Reason::PartialHeaderLine => "PartialHeaderLine",
        Reason::MissingLastEmptyLine => "MissingLastEmptyLine",
        Reason::MissingHeaderColon => "MissingHeaderColon",
        Reason::MissingUri => "MissingUri",
    }
}

#[cfg(test)]
mod tests;
