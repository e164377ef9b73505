//! Listeners: a port of a load balancer, its protocol, and what becomes of a request that no rule
//! is for.

use super::create_target_group::read_protocol;
use super::{actions, certificates, change, not_here, nouns, page, policies, shown, tags, usage};
use super::{invalid_configuration, validation};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::ListenerId;
use model::balancing::{Action, BalancerKind, Listener, LoadBalancer, Protocol, Rule};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Snapshot;
use store::kinds::{listener_key, rule_key};
use wire::elbv2;
use wire::elbv2::{ErrorCode, MutualAuthenticationAttributes, ProtocolEnum};

/// Listeners of a load balancer. Source: user guide, quotas.
const LISTENERS_MAX: usize = 50;

/// What a call says about a listener.
struct Given<'a> {
    protocol: Option<&'a ProtocolEnum>,
    port: Option<i32>,
    ssl_policy: Option<&'a String>,
    certificates: Option<&'a Vec<elbv2::Certificate>>,
    actions: Option<&'a Vec<elbv2::Action>>,
    alpn: Option<&'a Vec<String>>,
    mutual: Option<&'a MutualAuthenticationAttributes>,
}

/// The listener as it shall be: what is given, over `before`.
fn read(
    cx: &Context,
    snapshot: &Snapshot,
    balancer: &LoadBalancer,
    given: &Given<'_>,
    before: Listener,
) -> Result<Listener, Fault> {
    let mut listener = before;
    refuse_unserved(given)?;
    if let Some(protocol) = given.protocol {
        listener.protocol = protocol_of(balancer, protocol)?;
    }
    if let Some(port) = given.port.and_then(|port| u16::try_from(port).ok()) {
        listener.port = port;
    }
    if let Some(given) = given.actions {
        let (actions, order) = actions::read(cx, snapshot, given)?;
        let is_forward = matches!(actions.as_slice(), [Action::Forward(_)]);
        if balancer.kind == BalancerKind::Network && !is_forward {
            let text = "Listeners of a Network Load Balancer support only the action type forward";
            return Err(invalid_configuration(text));
        }
        usage::check(cx, snapshot, balancer, &actions)?;
        (listener.default_actions, listener.action_order) = (actions, order);
    }
    if listener.protocol != Protocol::Https {
        if given.certificates.is_some_and(|all| !all.is_empty()) || given.ssl_policy.is_some() {
            let text = format!(
                "Certificates and security policies cannot be specified for {} listeners",
                shown::protocol(listener.protocol).as_str()
            );
            return Err(validation(text));
        }
        listener.certificates.clear();
        listener.ssl_policy = None;
        return Ok(listener);
    }
    if let Some(given) = given.certificates {
        let default = certificates::only(snapshot, given)?;
        listener.certificates.retain(|known| *known != default);
        match listener.certificates.first_mut() {
            Some(first) => *first = default,
            None => listener.certificates.push(default),
        }
    }
    if listener.certificates.is_empty() {
        return Err(validation("A certificate must be specified for HTTPS listeners"));
    }
    if let Some(policy) = given.ssl_policy {
        policies::check(policy)?;
        listener.ssl_policy = Some(policy.clone());
    }
    if listener.ssl_policy.is_none() {
        listener.ssl_policy = Some(policies::DEFAULT.to_owned());
    }
    Ok(listener)
}

fn refuse_unserved(given: &Given<'_>) -> Result<(), Fault> {
    let alpn = given.alpn.map(Vec::as_slice).unwrap_or_default();
    if alpn.iter().any(|policy| policy != "None") {
        let text = "ALPN policies are supported for TLS listeners only";
        return Err(ErrorCode::ALPNPolicyNotSupportedException.fault(text));
    }
    match given.mutual.and_then(|mutual| mutual.mode.as_deref()) {
        None | Some("off") => Ok(()),
        Some(mode) => Err(not_here(&format!("mutual authentication of mode {mode}"))),
    }
}

fn protocol_of(balancer: &LoadBalancer, given: &ProtocolEnum) -> Result<Protocol, Fault> {
    let of_kind = match balancer.kind {
        BalancerKind::Application => "HTTP, HTTPS",
        BalancerKind::Network => "TCP, TLS, UDP, TCP_UDP, QUIC, TCP_QUIC",
    };
    if !of_kind.split(", ").any(|protocol| protocol == given.as_str()) {
        let text = format!("Listener protocol '{}' must be one of '{of_kind}'", given.as_str());
        return Err(validation(text));
    }
    read_protocol(given)
}

/// Another listener on this port is in the way.
fn check_port(
    cx: &Context,
    snapshot: &Snapshot,
    balancer: &LoadBalancer,
    listener: &Listener,
) -> Result<Option<Arc<Listener>>, Fault> {
    let mut all = nouns::listeners_of(snapshot, balancer).into_iter();
    let known = all.find(|it| it.port == listener.port && it.id != listener.id);
    let Some(known) = known else { return Ok(None) };
    // Its default certificate counts; others were added later.
    let same = known.protocol == listener.protocol
        && known.default_actions == listener.default_actions
        && known.ssl_policy == listener.ssl_policy
        && known.certificates.first() == listener.certificates.first();
    if same {
        return Ok(Some(known));
    }
    let text = format!(
        "A listener already exists on this port for this load balancer '{}'",
        balancer.arn(&cx.locality)
    );
    Err(ErrorCode::DuplicateListenerException.fault(text))
}

pub async fn create(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::CreateListenerInput,
) -> Result<elbv2::CreateListenerOutput, Fault> {
    let arn = input.load_balancer_arn.clone().unwrap_or_default();
    let tags = tags::RULES.read(input.tags.clone())?;
    let (balancer, made) = change(cx, |txn| {
        let snapshot = txn.snapshot().clone();
        let balancer = nouns::load_balancer(cx, &snapshot, &arn)?;
        let Some(protocol) = &input.protocol else {
            return Err(validation("A listener protocol must be specified"));
        };
        let Some(port) = input.port else {
            return Err(validation("A listener port must be specified"));
        };
        let given = Given {
            protocol: Some(protocol),
            port: Some(port),
            ssl_policy: input.ssl_policy.as_ref().filter(|it| !it.is_empty()),
            certificates: input.certificates.as_ref(),
            actions: input.default_actions.as_ref(),
            alpn: input.alpn_policy.as_ref(),
            mutual: input.mutual_authentication.as_ref(),
        };
        let blank = Listener {
            id: ListenerId::mint(cx.random()),
            load_balancer: balancer.id.clone(),
            protocol: Protocol::Http,
            port: 0,
            ssl_policy: None,
            certificates: Vec::new(),
            default_actions: Vec::new(),
            action_order: None,
            attributes: BTreeMap::new(),
            created_at: cx.now(),
            tags: tags.clone(),
        };
        let made = read(cx, &snapshot, &balancer, &given, blank)?;
        if let Some(known) = check_port(cx, &snapshot, &balancer, &made)? {
            return Ok((balancer, (*known).clone()));
        }
        if nouns::listeners_of(&snapshot, &balancer).len() >= LISTENERS_MAX {
            let text = "The maximum number of listeners of this load balancer has been reached";
            return Err(ErrorCode::TooManyListenersException.fault(text));
        }
        txn.put(made.clone());
        Ok((balancer, made))
    })
    .await?;
    let shown = shown::listener(cx, &cx.store.snapshot(), &balancer, &made);
    Ok(elbv2::CreateListenerOutput { listeners: Some(vec![shown]) })
}

pub async fn modify(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::ModifyListenerInput,
) -> Result<elbv2::ModifyListenerOutput, Fault> {
    let arn = input.listener_arn.clone().unwrap_or_default();
    let (balancer, changed) = change(cx, |txn| {
        let snapshot = txn.snapshot().clone();
        let (balancer, before) = nouns::listener(cx, &snapshot, &arn)?;
        let given = Given {
            protocol: input.protocol.as_ref(),
            port: input.port,
            ssl_policy: input.ssl_policy.as_ref().filter(|it| !it.is_empty()),
            certificates: input.certificates.as_ref(),
            actions: input.default_actions.as_ref(),
            alpn: input.alpn_policy.as_ref(),
            mutual: input.mutual_authentication.as_ref(),
        };
        let changed = read(cx, &snapshot, &balancer, &given, (*before).clone())?;
        if check_port(cx, &snapshot, &balancer, &changed)?.is_some() {
            let text = format!(
                "A listener already exists on this port for this load balancer '{}'",
                balancer.arn(&cx.locality)
            );
            return Err(ErrorCode::DuplicateListenerException.fault(text));
        }
        txn.put(changed.clone());
        Ok((balancer, changed))
    })
    .await?;
    let shown = shown::listener(cx, &cx.store.snapshot(), &balancer, &changed);
    Ok(elbv2::ModifyListenerOutput { listeners: Some(vec![shown]) })
}

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DescribeListenersInput,
) -> Result<elbv2::DescribeListenersOutput, Fault> {
    let snapshot = cx.store.snapshot();
    let arns = input.listener_arns.unwrap_or_default();
    let of = input.load_balancer_arn;
    let mut found = Vec::new();
    match &of {
        Some(_) if !arns.is_empty() => {
            let text = "A load balancer ARN and listener ARNs cannot be specified at the same time";
            return Err(validation(text));
        }
        Some(arn) => {
            let balancer = nouns::load_balancer(cx, &snapshot, arn)?;
            let all = nouns::listeners_of(&snapshot, &balancer);
            found.extend(all.into_iter().map(|listener| (balancer.clone(), listener)));
        }
        None if arns.is_empty() => {
            let text = "You must specify either listener ARNs or a load balancer ARN";
            return Err(validation(text));
        }
        None => {
            for arn in &arns {
                found.push(nouns::listener(cx, &snapshot, arn)?);
            }
        }
    }
    let asked = format!("{arns:?}{of:?}");
    let request = ["DescribeListeners", asked.as_str()];
    let key = |(_, it): &(Arc<LoadBalancer>, Arc<Listener>)| format!("{:05}/{}", it.port, it.id);
    let (page, next_marker) = page(&request, found, key, input.marker.as_deref(), input.page_size)?;
    let show = |(balancer, it): &(Arc<LoadBalancer>, Arc<Listener>)| {
        shown::listener(cx, &snapshot, balancer, it)
    };
    let listeners = Some(page.iter().map(show).collect());
    Ok(elbv2::DescribeListenersOutput { listeners, next_marker })
}

pub async fn delete(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DeleteListenerInput,
) -> Result<elbv2::DeleteListenerOutput, Fault> {
    let arn = input.listener_arn.unwrap_or_default();
    change(cx, |txn| {
        let snapshot = txn.snapshot().clone();
        let (balancer, listener) = nouns::listener(cx, &snapshot, &arn)?;
        // A load balancer has fewer rules than a transaction takes.
        for rule in nouns::rules_of(&snapshot, &listener) {
            txn.delete::<Rule>(&rule_key(&listener.id, &rule.id));
        }
        txn.delete::<Listener>(&listener_key(&balancer.id, &listener.id));
        Ok(())
    })
    .await?;
    Ok(elbv2::DeleteListenerOutput {})
}
