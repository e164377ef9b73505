//! What a rule does: forward, redirect, or answer by itself. Authentication is refused by name.
//! Source: user guide, listener rules (rule action types); API reference, Action.

use super::{not_here, nouns, validation};
use crate::context::Context;
use crate::fault::Fault;
use model::balancing::{Action, FixedResponse, Forward, Redirect};
use store::Snapshot;
use wire::elbv2;
use wire::elbv2::{ActionTypeEnum, ErrorCode, RedirectActionStatusCodeEnum};

/// Groups of one forward action, and the greatest weight of one. Source: API reference.
const GROUPS_MAX: usize = 5;
const WEIGHT_MAX: u32 = 999;
/// How long a client may be bound to its group. Source: API reference.
const STICKY_SECONDS_MAX: u32 = 604_800;
const CONTENT_TYPES: [&str; 5] =
    ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];
const BODY_CHARS_MAX: usize = 1024;

/// The one action, and its order as it was given.
pub fn read(
    cx: &Context,
    snapshot: &Snapshot,
    given: &[elbv2::Action],
) -> Result<(Vec<Action>, Option<u32>), Fault> {
    for action in given {
        refuse_unserved(action)?;
    }
    let [one] = given else {
        if given.is_empty() {
            return Err(validation("An action must be specified"));
        }
        let text = "You must specify exactly one of the actions forward, redirect and \
                    fixed-response";
        return Err(ErrorCode::InvalidLoadBalancerActionException.fault(text));
    };
    let order = one.order.and_then(|order| u32::try_from(order).ok());
    let action = match one.r#type {
        Some(ActionTypeEnum::Forward) => Action::Forward(forward(cx, snapshot, one)?),
        Some(ActionTypeEnum::Redirect) => Action::Redirect(redirect(one)?),
        _ => Action::Fixed(fixed(one)?),
    };
    Ok((vec![action], order))
}

fn refuse_unserved(action: &elbv2::Action) -> Result<(), Fault> {
    match &action.r#type {
        Some(
            ActionTypeEnum::Forward | ActionTypeEnum::Redirect | ActionTypeEnum::FixedResponse,
        ) => Ok(()),
        other => {
            let name = other.as_ref().map_or("", |it| it.as_str());
            let fault = not_here(&format!("the action type {name}"));
            Err(ErrorCode::InvalidLoadBalancerActionException.fault(fault.message))
        }
    }
}

fn forward(cx: &Context, snapshot: &Snapshot, action: &elbv2::Action) -> Result<Forward, Fault> {
    let config = action.forward_config.as_ref();
    let tuples = config.and_then(|config| config.target_groups.as_deref()).unwrap_or_default();
    let sticky = config.and_then(|config| config.target_group_stickiness_config.as_ref());
    let mut groups = Vec::new();
    for tuple in tuples {
        let arn = tuple.target_group_arn.as_deref().unwrap_or_default();
        let weight = tuple.weight.map_or(Ok(1), |weight| {
            let fits = u32::try_from(weight).ok().filter(|weight| *weight <= WEIGHT_MAX);
            let why = || format!("Weight '{weight}' must be between '0' and '{WEIGHT_MAX}'");
            fits.ok_or_else(|| validation(why()))
        })?;
        let id = nouns::target_group(cx, snapshot, arn)?.id.clone();
        if groups.iter().any(|(known, _)| *known == id) {
            return Err(validation(format!("Target group '{arn}' is specified more than once")));
        }
        groups.push((id, weight));
    }
    if let Some(arn) = &action.target_group_arn {
        let id = nouns::target_group(cx, snapshot, arn)?.id.clone();
        match groups.as_slice() {
            [] => groups.push((id, 1)),
            [(known, _)] if *known == id => {}
            _ => {
                let text = "You must specify either a target group ARN or a forward configuration \
                            with the same target group";
                return Err(validation(text));
            }
        }
    }
    if groups.is_empty() {
        return Err(validation("A target group ARN must be specified"));
    }
    if groups.len() > GROUPS_MAX {
        let text = format!("A forward action can have at most '{GROUPS_MAX}' target groups");
        return Err(ErrorCode::TooManyUniqueTargetGroupsPerLoadBalancerException.fault(text));
    }
    let is_sticky = sticky.is_some_and(|sticky| sticky.enabled == Some(true));
    let seconds = match sticky.and_then(|sticky| sticky.duration_seconds) {
        None if is_sticky => return Err(sticky_bounds()),
        None => None,
        Some(seconds) => {
            let seconds = u32::try_from(seconds).ok();
            let fits = seconds.filter(|it| (1..=STICKY_SECONDS_MAX).contains(it));
            Some(fits.ok_or_else(sticky_bounds)?)
        }
    };
    let (sticky_seconds, unsticky_seconds) =
        if is_sticky { (seconds, None) } else { (None, seconds) };
    Ok(Forward { groups, sticky_seconds, unsticky_seconds })
}

fn sticky_bounds() -> Fault {
    validation(format!(
        "Target group stickiness duration must be between '1' and '{STICKY_SECONDS_MAX}' seconds"
    ))
}

fn redirect(action: &elbv2::Action) -> Result<Redirect, Fault> {
    let Some(config) = &action.redirect_config else {
        return Err(validation("A redirect configuration must be specified"));
    };
    let part =
        |given: &Option<String>, default: &str| given.clone().unwrap_or_else(|| default.to_owned());
    let status = match &config.status_code {
        Some(RedirectActionStatusCodeEnum::Http301) => 301,
        Some(RedirectActionStatusCodeEnum::Http302) => 302,
        _ => return Err(validation("Status code must be one of 'HTTP_301, HTTP_302'")),
    };
    let read = Redirect {
        protocol: part(&config.protocol, "#{protocol}"),
        host: part(&config.host, "#{host}"),
        port: part(&config.port, "#{port}"),
        path: part(&config.path, "/#{path}"),
        query: part(&config.query, "#{query}"),
        status,
    };
    if !["HTTP", "HTTPS", "#{protocol}"].contains(&read.protocol.as_str()) {
        let text = "Protocol must be one of 'HTTP, HTTPS, #{protocol}'";
        return Err(validation(text));
    }
    let is_port = read.port.parse::<u16>().is_ok_and(|port| port > 0);
    if read.port != "#{port}" && !is_port {
        let text = format!("Port '{}' must be a number from 1 to 65535 or #{{port}}", read.port);
        return Err(validation(text));
    }
    if !read.path.starts_with('/') {
        return Err(validation(format!("Path '{}' must begin with '/'", read.path)));
    }
    let longest = [&read.host, &read.path, &read.query].iter().map(|it| it.len()).max();
    if read.host.is_empty() || longest > Some(128) {
        return Err(validation("Parts of a redirect must have 1 to 128 characters"));
    }
    let stays = read.protocol == "#{protocol}"
        && read.host == "#{host}"
        && read.port == "#{port}"
        && read.path == "/#{path}";
    if stays {
        let text = "The redirect action is not valid because it creates a loop.";
        return Err(ErrorCode::InvalidLoadBalancerActionException.fault(text));
    }
    Ok(read)
}

fn fixed(action: &elbv2::Action) -> Result<FixedResponse, Fault> {
    let Some(config) = &action.fixed_response_config else {
        return Err(validation("A fixed response configuration must be specified"));
    };
    let code = config.status_code.as_deref().unwrap_or_default();
    let status = code.parse::<u16>().ok().filter(|it| matches!(it, 200..=299 | 400..=599));
    let Some(status) = status.filter(|_| code.len() == 3) else {
        let text = format!("Status code '{code}' must be a 2XX, 4XX or 5XX code");
        return Err(validation(text));
    };
    if let Some(kind) = &config.content_type
        && !CONTENT_TYPES.contains(&kind.as_str())
    {
        let text = format!("Content type '{kind}' must be one of '{}'", CONTENT_TYPES.join(", "));
        return Err(validation(text));
    }
    let body = config.message_body.clone().unwrap_or_default();
    if body.chars().count() > BODY_CHARS_MAX {
        let text = format!("Message body cannot be longer than '{BODY_CHARS_MAX}' characters");
        return Err(validation(text));
    }
    Ok(FixedResponse { status, content_type: config.content_type.clone(), body })
}
