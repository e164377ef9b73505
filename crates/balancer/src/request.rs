//! What becomes of a request: the rule it falls under, and from there the answer or the target. It
//! knows nothing of how the request came; HTTP/1 and HTTP/2 ask it alike.

use crate::answer::{self, Answer, Trouble};
use crate::core::Core;
use crate::counts::BalancerCount;
use crate::group::Group;
use crate::sticky::{self, Tag};
use crate::table::{Act, Forwarding, Site};
use crate::target::Lease;
use crate::time::unix;
use model::balancing::{ProtocolVersion, Stickiness};
use plan::routes::RequestView;
use std::sync::Arc;

/// How the request came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoken {
    Http1,
    Http2,
}

pub struct Decision {
    /// Which of the listener's rules it falls under.
    pub rule: usize,
    pub way: Way,
}

pub enum Way {
    Answer(Answer),
    Forward(Route),
}

/// A target for a request, with what its answer has to carry.
pub struct Route {
    pub group: Arc<Group>,
    pub lease: Lease,
    pub group_sticky_seconds: Option<u32>,
}

impl Route {
    /// Another target, after this one did not take the request. False: there is none.
    pub fn turn_away(&mut self, draw: u64) -> bool {
        let tried = self.lease.tag;
        match self.group.pick(None, Some(&tried), draw) {
            Some(lease) => {
                self.lease = lease;
                true
            }
            None => false,
        }
    }

    pub fn is_sticky(&self) -> bool {
        self.group_sticky_seconds.is_some() || self.group.entry.settings.stickiness.is_some()
    }

    /// The name of the application's cookie that is followed.
    pub fn application_cookie(&self) -> Option<&str> {
        match &self.group.entry.settings.stickiness {
            Some(Stickiness::Application { cookie, .. }) => Some(cookie),
            _ => None,
        }
    }

    /// What the answer is to set.
    pub fn set_cookies(&self, core: &Core, application: bool) -> Vec<String> {
        let group = self.group_sticky_seconds.map(|seconds| (&self.group.tag, seconds));
        let stickiness = self.group.entry.settings.stickiness.as_ref();
        let target = stickiness.map(|stickiness| (&self.lease.tag, stickiness));
        sticky::set_cookies(&core.seal, group, target, application, unix().as_secs())
    }
}

/// The port is the listener's; the host of the view has none.
pub fn decide(
    core: &Core,
    worker: usize,
    site: &Site,
    view: &RequestView<'_>,
    spoken: Spoken,
) -> Result<Decision, Trouble> {
    let rule = site.rules.position(view).ok_or(Trouble::Unavailable)?;
    let tally = &site.front.tally;
    let way = match &site.actions[rule] {
        Act::Answer(answer) => {
            tally.add(worker, BalancerCount::FixedResponses, 1);
            Way::Answer(answer.clone())
        }
        Act::Redirect(redirect) => {
            tally.add(worker, BalancerCount::Redirects, 1);
            let location = plan::routes::location(redirect, view, site.scheme, site.port);
            Way::Answer(answer::redirect(redirect.status, location))
        }
        Act::Forward(forwarding) => Way::Forward(forward(core, worker, forwarding, view, spoken)?),
    };
    Ok(Decision { rule, way })
}

fn forward(
    core: &Core,
    worker: usize,
    forwarding: &Forwarding,
    view: &RequestView<'_>,
    spoken: Spoken,
) -> Result<Route, Trouble> {
    let sticky_seconds = forwarding.sticky_seconds;
    let named = sticky_seconds.and_then(|_| tag(core, view, sticky::GROUP));
    let draw = core.draw(worker);
    let group = forwarding.choose(named.as_ref(), draw).ok_or(Trouble::Unavailable)?;
    if !goes_with(group.entry.version, view.method, spoken) {
        return Err(Trouble::Incompatible);
    }
    let wanted = group.entry.settings.stickiness.as_ref().and_then(|stickiness| {
        let name = match stickiness {
            Stickiness::Balancer { .. } => sticky::TARGET,
            Stickiness::Application { .. } => sticky::APPLICATION,
        };
        tag(core, view, name)
    });
    let lease = group.pick(wanted.as_ref(), None, core.draw(worker));
    let lease = lease.ok_or(Trouble::Unavailable)?;
    Ok(Route { group: group.clone(), lease, group_sticky_seconds: sticky_seconds })
}

/// The tag in the client's cookie of that name, if it is ours and has not ended.
fn tag(core: &Core, view: &RequestView<'_>, name: &str) -> Option<Tag> {
    let mut found = None;
    view.headers.any("cookie", &mut |header| {
        found = sticky::cookie(header, name)
            .and_then(|value| core.seal.open(name, value, unix().as_secs()));
        found.is_some()
    });
    found
}

/// Source: ELB user guide, "HTTP 464".
fn goes_with(version: ProtocolVersion, method: &str, spoken: Spoken) -> bool {
    match version {
        ProtocolVersion::Http1 => true,
        ProtocolVersion::Http2 => spoken == Spoken::Http2,
        ProtocolVersion::Grpc => spoken == Spoken::Http2 && method == "POST",
    }
}

/// The host without its port.
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}
