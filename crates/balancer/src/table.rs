//! The table as requests need it: each listener with its actions ready to be taken. Made once for
//! each table, so that a request looks nothing up by name.

use crate::answer::Answer;
use crate::counts::BalancerTally;
use crate::group::Group;
use crate::head::{Known, known};
use crate::imposed::Imposed;
use crate::sticky::Tag;
use crate::tls;
use model::balancing::{
    Action, BalancerEntry, BalancerSettings, Forward, ListenerEntry, Protocol, Redirect,
};
use model::{LoadBalancerId, TargetGroupId};
use plan::routes::Rules;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A load balancer.
pub struct Front {
    pub id: LoadBalancerId,
    pub name: String,
    pub dns_name: String,
    pub settings: BalancerSettings,
    pub tally: Arc<BalancerTally>,
}

/// A listener.
pub struct Site {
    pub front: Arc<Front>,
    pub port: u16,
    /// As X-Forwarded-Proto has it.
    pub scheme: &'static str,
    pub entry: ListenerEntry,
    pub rules: Arc<Rules>,
    /// One for each rule.
    pub actions: Vec<Act>,
    pub imposed: Imposed,
    /// Names of the headers that tell targets version and cipher of the client's TLS.
    pub tls_headers: [String; 2],
    pub tls: Option<tls::Served>,
}

impl Site {
    /// A group that some rule leads to.
    pub fn group(&self, id: &TargetGroupId) -> Option<&Arc<Group>> {
        let groups = self.actions.iter().filter_map(|act| match act {
            Act::Forward(forwarding) => Some(forwarding.groups.iter()),
            _ => None,
        });
        groups.flatten().map(|(group, _)| group).find(|group| group.id == *id)
    }
}

/// An action, ready.
pub enum Act {
    Answer(Answer),
    Redirect(Redirect),
    Forward(Forwarding),
}

pub struct Forwarding {
    pub groups: Vec<(Arc<Group>, u32)>,
    pub sticky_seconds: Option<u32>,
}

impl Forwarding {
    /// The group that a cookie names, or one by weight.
    pub fn choose(&self, wanted: Option<&Tag>, draw: u64) -> Option<&Arc<Group>> {
        if let [(only, _)] = self.groups.as_slice() {
            return Some(only);
        }
        let named = self.groups.iter().find(|(group, _)| Some(&group.tag) == wanted);
        if let Some((group, _)) = named {
            return Some(group);
        }
        let weights = self.groups.iter().map(|(_, weight)| *weight);
        crate::choose::by_weight(weights, draw).map(|at| &self.groups[at].0)
    }
}

pub fn front(id: &LoadBalancerId, entry: &BalancerEntry, tally: Arc<BalancerTally>) -> Front {
    Front {
        id: id.clone(),
        name: entry.name.clone(),
        dns_name: entry.dns_name.clone(),
        settings: entry.settings.clone(),
        tally,
    }
}

/// `before` is what was served in its place; rules that are as they were are not compiled again.
pub fn site(
    front: Arc<Front>,
    port: u16,
    entry: &ListenerEntry,
    tls: Option<tls::Served>,
    groups: &BTreeMap<TargetGroupId, Arc<Group>>,
    before: Option<&Site>,
) -> Site {
    let scheme = if entry.protocol == Protocol::Https { "https" } else { "http" };
    let actions = entry.rules.iter().map(|rule| act(&rule.action, groups)).collect();
    let same = before.filter(|before| before.entry.rules == entry.rules);
    let rules = same.map_or_else(|| Arc::new(Rules::new(&entry.rules)), |same| same.rules.clone());
    let settings = &entry.settings;
    let tls_headers = [
        tls_header(settings.tls_version_header.as_deref(), "x-amzn-tls-version"),
        tls_header(settings.tls_cipher_header.as_deref(), "x-amzn-tls-cipher-suite"),
    ];
    let imposed = Imposed::new(settings);
    Site { front, port, scheme, entry: entry.clone(), rules, actions, imposed, tls_headers, tls }
}

/// A name that means something to whoever reads the head is not taken.
fn tls_header(given: Option<&str>, usual: &str) -> String {
    let given = given.filter(|name| known(name.as_bytes()) == Known::Other);
    given.unwrap_or(usual).to_owned()
}

fn act(action: &Action, groups: &BTreeMap<TargetGroupId, Arc<Group>>) -> Act {
    match action {
        Action::Fixed(fixed) => Act::Answer(Answer {
            status: fixed.status,
            content_type: plan::routes::content_type(fixed).to_owned(),
            location: None,
            body: fixed.body.clone().into(),
        }),
        Action::Redirect(redirect) => Act::Redirect(redirect.clone()),
        Action::Forward(Forward { groups: named, sticky_seconds, .. }) => {
            let known = named.iter();
            let known = known.filter_map(|(id, weight)| Some((groups.get(id)?.clone(), *weight)));
            Act::Forward(Forwarding { groups: known.collect(), sticky_seconds: *sticky_seconds })
        }
    }
}
