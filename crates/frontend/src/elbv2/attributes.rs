//! Attributes: which there are for what, with AWS's defaults and what each may be. What is given is
//! kept; what the data plane does by it is `plan::routes`' business, and what has no effect there
//! stands in the gap file.
//! Source: API reference, LoadBalancerAttribute, TargetGroupAttribute, ListenerAttribute.

use super::{change, invalid_configuration, not_here, nouns, validation};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::balancing::{BalancerKind, Listener, LoadBalancer, Protocol, TargetGroup};
use std::collections::BTreeMap;
use wire::elbv2;

/// What the value of an attribute may be.
#[derive(Clone, Copy)]
enum Values {
    Flag,
    OneOf(&'static [&'static str]),
    Number(u32, u32),
    /// A number, or this word.
    NumberOr(u32, u32, &'static str),
    /// Any text up to so many characters.
    Text(usize),
    /// What a header of an answer may say.
    HeaderValue,
    /// What a header may be called; none: as it is called anyway.
    HeaderName,
    /// Nothing but the default: what else there is on AWS is not here, and would not be what runs.
    Only,
}

/// Its key, its default, what it may be, and whether something goes by it here.
struct Attribute(&'static str, &'static str, Values, Effect);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Works,
    /// Kept and shown; nothing would go by it on AWS either, as what it is about can't be here:
    /// client certificates, IPv6, web ACLs, zonal shifts, TLS listeners of network load balancers.
    Moot,
    /// Kept and shown.
    None,
}

use Effect::{Moot, None as Kept, Works};
use Values::{Flag, HeaderName, HeaderValue, Number, NumberOr, OneOf, Only, Text};

/// Characters of a bucket's name and of a prefix in it. Source: S3 user guide.
const BUCKET: Values = Text(63);
const PREFIX: Values = Text(1024);
/// Bytes of a header's value or name, and what a value may hold beside letters and digits. Source:
/// ELB user guide, "HTTP header modification for your Application Load Balancer".
const HEADER_BYTES_MAX: usize = 1024;
const HEADER_MARKS: &[u8] = b"_ :;.,\\/'?!(){}[]@<>=-+*#&`|~^%";

/// Logs of requests and connections are written, though not to a bucket: they lie in the data
/// folder.
const APPLICATION: &[Attribute] = &[
    Attribute("access_logs.s3.enabled", "false", Flag, Works),
    Attribute("access_logs.s3.bucket", "", BUCKET, Kept),
    Attribute("access_logs.s3.prefix", "", PREFIX, Kept),
    Attribute("client_keep_alive.seconds", "3600", Number(60, 604_800), Works),
    Attribute("connection_logs.s3.enabled", "false", Flag, Works),
    Attribute("connection_logs.s3.bucket", "", BUCKET, Kept),
    Attribute("connection_logs.s3.prefix", "", PREFIX, Kept),
    Attribute("deletion_protection.enabled", "false", Flag, Works),
    Attribute("health_check_logs.s3.enabled", "false", Flag, Kept),
    Attribute("health_check_logs.s3.bucket", "", BUCKET, Kept),
    Attribute("health_check_logs.s3.prefix", "", PREFIX, Kept),
    Attribute("idle_timeout.timeout_seconds", "60", Number(1, 4000), Works),
    Attribute("ipv6.deny_all_igw_traffic", "false", Flag, Moot),
    Attribute("load_balancing.cross_zone.enabled", "true", Only, Works),
    Attribute(
        "routing.http.desync_mitigation_mode",
        "defensive",
        OneOf(&["monitor", "defensive", "strictest"]),
        Works,
    ),
    Attribute("routing.http.drop_invalid_header_fields.enabled", "false", Flag, Works),
    Attribute("routing.http.preserve_host_header.enabled", "false", Flag, Works),
    Attribute("routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false", Flag, Works),
    Attribute("routing.http.xff_client_port.enabled", "false", Flag, Works),
    Attribute(
        "routing.http.xff_header_processing.mode",
        "append",
        OneOf(&["append", "preserve", "remove"]),
        Works,
    ),
    Attribute("routing.http2.enabled", "true", Flag, Works),
    Attribute("waf.fail_open.enabled", "false", Flag, Moot),
    Attribute("zonal_shift.config.enabled", "false", Flag, Moot),
];

const NETWORK: &[Attribute] = &[
    Attribute("access_logs.s3.enabled", "false", Flag, Moot),
    Attribute("access_logs.s3.bucket", "", BUCKET, Moot),
    Attribute("access_logs.s3.prefix", "", PREFIX, Moot),
    Attribute("deletion_protection.enabled", "false", Flag, Works),
    Attribute(
        "dns_record.client_routing_policy",
        "any_availability_zone",
        OneOf(&[
            "any_availability_zone",
            "availability_zone_affinity",
            "partial_availability_zone_affinity",
        ]),
        Kept,
    ),
    Attribute("ipv6.deny_all_igw_traffic", "false", Flag, Moot),
    Attribute("load_balancing.cross_zone.enabled", "false", Flag, Kept),
    Attribute("secondary_ips.auto_assigned.per_subnet", "0", Only, Works),
    Attribute("zonal_shift.config.enabled", "false", Flag, Moot),
];

const CROSS_ZONE: Values = OneOf(&["true", "false", "use_load_balancer_configuration"]);
const COUNT: Values = NumberOr(1, 1000, "off");
const PERCENT: Values = NumberOr(1, 100, "off");

const GROUP_HTTP: &[Attribute] = &[
    Attribute("deregistration_delay.timeout_seconds", "300", Number(0, 3600), Works),
    Attribute("load_balancing.algorithm.anomaly_mitigation", "off", OneOf(&["on", "off"]), Kept),
    Attribute(
        "load_balancing.algorithm.type",
        "round_robin",
        OneOf(&["round_robin", "least_outstanding_requests", "weighted_random"]),
        Works,
    ),
    Attribute(
        "load_balancing.cross_zone.enabled",
        "use_load_balancer_configuration",
        CROSS_ZONE,
        Kept,
    ),
    Attribute("slow_start.duration_seconds", "0", NumberOr(30, 900, "0"), Works),
    Attribute("stickiness.app_cookie.cookie_name", "", Text(256), Works),
    Attribute("stickiness.app_cookie.duration_seconds", "86400", Number(1, 604_800), Works),
    Attribute("stickiness.enabled", "false", Flag, Works),
    Attribute("stickiness.lb_cookie.duration_seconds", "86400", Number(1, 604_800), Works),
    Attribute("stickiness.type", "lb_cookie", OneOf(&["lb_cookie", "app_cookie"]), Works),
    Attribute("target_group_health.dns_failover.minimum_healthy_targets.count", "1", COUNT, Kept),
    Attribute(
        "target_group_health.dns_failover.minimum_healthy_targets.percentage",
        "off",
        PERCENT,
        Kept,
    ),
    Attribute(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
        "1",
        Number(1, 1000),
        Works,
    ),
    Attribute(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
        "off",
        PERCENT,
        Works,
    ),
];

const GROUP_TCP: &[Attribute] = &[
    Attribute("deregistration_delay.connection_termination.enabled", "false", Flag, Works),
    Attribute("deregistration_delay.timeout_seconds", "300", Number(0, 3600), Works),
    Attribute(
        "load_balancing.cross_zone.enabled",
        "use_load_balancer_configuration",
        CROSS_ZONE,
        Kept,
    ),
    Attribute("preserve_client_ip.enabled", "false", Only, Works),
    Attribute("proxy_protocol_v2.enabled", "false", Only, Works),
    Attribute("stickiness.enabled", "false", Only, Works),
    Attribute("stickiness.type", "source_ip", Only, Works),
    Attribute("target_group_health.dns_failover.minimum_healthy_targets.count", "1", COUNT, Kept),
    Attribute(
        "target_group_health.dns_failover.minimum_healthy_targets.percentage",
        "off",
        PERCENT,
        Kept,
    ),
    Attribute(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
        "1",
        Number(1, 1000),
        Works,
    ),
    Attribute(
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
        "off",
        PERCENT,
        Works,
    ),
    Attribute("target_health_state.unhealthy.connection_termination.enabled", "true", Flag, Works),
    Attribute(
        "target_health_state.unhealthy.draining_interval_seconds",
        "0",
        Number(0, 360_000),
        Kept,
    ),
];

const LISTENER_HTTP: &[Attribute] = &[
    Attribute(
        "routing.http.response.access_control_allow_credentials.header_value",
        "",
        HeaderValue,
        Works,
    ),
    Attribute(
        "routing.http.response.access_control_allow_headers.header_value",
        "",
        HeaderValue,
        Works,
    ),
    Attribute(
        "routing.http.response.access_control_allow_methods.header_value",
        "",
        HeaderValue,
        Works,
    ),
    Attribute(
        "routing.http.response.access_control_allow_origin.header_value",
        "",
        HeaderValue,
        Works,
    ),
    Attribute(
        "routing.http.response.access_control_expose_headers.header_value",
        "",
        HeaderValue,
        Works,
    ),
    Attribute("routing.http.response.access_control_max_age.header_value", "", HeaderValue, Works),
    Attribute("routing.http.response.content_security_policy.header_value", "", HeaderValue, Works),
    Attribute("routing.http.response.server.enabled", "true", Flag, Works),
    Attribute("routing.http.response.x_content_type_options.header_value", "", HeaderValue, Works),
    Attribute("routing.http.response.x_frame_options.header_value", "", HeaderValue, Works),
];

/// What listeners of HTTPS have beside.
const LISTENER_HTTPS: &[Attribute] = &[
    Attribute(
        "routing.http.request.x_amzn_mtls_clientcert.header_name",
        "X-Amzn-Mtls-Clientcert",
        HeaderName,
        Moot,
    ),
    Attribute(
        "routing.http.request.x_amzn_mtls_clientcert_issuer.header_name",
        "X-Amzn-Mtls-Clientcert-Issuer",
        HeaderName,
        Moot,
    ),
    Attribute(
        "routing.http.request.x_amzn_mtls_clientcert_leaf.header_name",
        "X-Amzn-Mtls-Clientcert-Leaf",
        HeaderName,
        Moot,
    ),
    Attribute(
        "routing.http.request.x_amzn_mtls_clientcert_serial_number.header_name",
        "X-Amzn-Mtls-Clientcert-Serial-Number",
        HeaderName,
        Moot,
    ),
    Attribute(
        "routing.http.request.x_amzn_mtls_clientcert_subject.header_name",
        "X-Amzn-Mtls-Clientcert-Subject",
        HeaderName,
        Moot,
    ),
    Attribute(
        "routing.http.request.x_amzn_mtls_clientcert_validity.header_name",
        "X-Amzn-Mtls-Clientcert-Validity",
        HeaderName,
        Moot,
    ),
    Attribute(
        "routing.http.request.x_amzn_tls_cipher_suite.header_name",
        "X-Amzn-Tls-Cipher-Suite",
        HeaderName,
        Works,
    ),
    Attribute(
        "routing.http.request.x_amzn_tls_version.header_name",
        "X-Amzn-Tls-Version",
        HeaderName,
        Works,
    ),
    Attribute(
        "routing.http.response.strict_transport_security.header_value",
        "",
        HeaderValue,
        Works,
    ),
];

const LISTENER_TCP: &[Attribute] =
    &[Attribute("tcp.idle_timeout.seconds", "350", Number(60, 6000), Works)];

fn of_balancer(it: &LoadBalancer) -> Vec<&'static Attribute> {
    match it.kind {
        BalancerKind::Application => APPLICATION.iter().collect(),
        BalancerKind::Network => NETWORK.iter().collect(),
    }
}

fn of_group(it: &TargetGroup) -> Vec<&'static Attribute> {
    match it.protocol {
        Protocol::Http | Protocol::Https => GROUP_HTTP.iter().collect(),
        Protocol::Tcp => GROUP_TCP.iter().collect(),
    }
}

fn of_listener(it: &Listener) -> Vec<&'static Attribute> {
    match it.protocol {
        Protocol::Http => LISTENER_HTTP.iter().collect(),
        Protocol::Https => LISTENER_HTTP.iter().chain(LISTENER_HTTPS).collect(),
        Protocol::Tcp => LISTENER_TCP.iter().collect(),
    }
}

/// The attributes without effect, each with the operation that takes it.
pub fn kept() -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = [
        ("ModifyLoadBalancerAttributes", &[APPLICATION, NETWORK][..]),
        ("ModifyTargetGroupAttributes", &[GROUP_HTTP, GROUP_TCP]),
        ("ModifyListenerAttributes", &[LISTENER_HTTP, LISTENER_HTTPS, LISTENER_TCP]),
    ];
    let mut kept = std::collections::BTreeSet::new();
    for (operation, tables) in all {
        let without = tables.iter().copied().flatten().filter(|it| it.3 == Effect::None);
        kept.extend(without.map(|it| (operation, it.0)));
    }
    kept.into_iter()
}

type Given = BTreeMap<String, String>;

/// Each with its value, as given or by default.
fn shown<'a>(
    all: &'a [&'static Attribute],
    given: &'a Given,
) -> impl Iterator<Item = (Option<String>, Option<String>)> + 'a {
    all.iter().map(|Attribute(key, default, ..)| {
        let value = given.get(*key).map_or(*default, String::as_str);
        (Some((*key).to_owned()), Some(value.to_owned()))
    })
}

/// Checks what is given and puts it over what there was.
fn put(
    what: &str,
    all: &[&'static Attribute],
    before: &mut Given,
    given: &[(Option<String>, Option<String>)],
) -> Result<(), Fault> {
    for (key, value) in given {
        let (key, value) = (key.as_deref().unwrap_or(""), value.as_deref().unwrap_or(""));
        let Some(Attribute(_, default, values, _)) = all.iter().find(|it| it.0 == key) else {
            return Err(validation(format!("{what} attribute key '{key}' is not recognized")));
        };
        check(key, value, default, *values)?;
        let is_default = value == *default || (value.is_empty() && matches!(values, HeaderName));
        if is_default {
            before.remove(key);
        } else {
            before.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(())
}

fn check(key: &str, value: &str, default: &str, values: Values) -> Result<(), Fault> {
    let number =
        |least: u32, most: u32| value.parse::<u32>().is_ok_and(|it| (least..=most).contains(&it));
    let (fits, must) = match values {
        Flag => (matches!(value, "true" | "false"), "one of 'true, false'".to_owned()),
        OneOf(all) => (all.contains(&value), format!("one of '{}'", all.join(", "))),
        Number(least, most) => (number(least, most), format!("between '{least}' and '{most}'")),
        NumberOr(least, most, word) => (
            value == word || number(least, most),
            format!("'{word}' or between '{least}' and '{most}'"),
        ),
        Text(most) => {
            let plain = !value.chars().any(char::is_control);
            (plain && value.chars().count() <= most, format!("of at most '{most}' characters"))
        }
        HeaderValue => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || HEADER_MARKS.contains(&byte);
            let text = format!("of at most '{HEADER_BYTES_MAX}' letters, digits, spaces and marks");
            (value.len() <= HEADER_BYTES_MAX && value.bytes().all(fits), text)
        }
        HeaderName => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            let text = format!("of at most '{HEADER_BYTES_MAX}' letters, digits, '-' and '_'");
            (value.len() <= HEADER_BYTES_MAX && value.bytes().all(fits), text)
        }
        Only if value == default => return Ok(()),
        Only => return Err(not_here(&format!("the value '{value}' of '{key}'"))),
    };
    if fits {
        return Ok(());
    }
    Err(validation(format!("The value '{value}' of the attribute '{key}' must be {must}")))
}

pub async fn describe_of_load_balancer(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DescribeLoadBalancerAttributesInput,
) -> Result<elbv2::DescribeLoadBalancerAttributesOutput, Fault> {
    let arn = input.load_balancer_arn.unwrap_or_default();
    let found = nouns::load_balancer(cx, &cx.store.snapshot(), &arn)?;
    let attributes = show_balancer(&found);
    Ok(elbv2::DescribeLoadBalancerAttributesOutput { attributes: Some(attributes) })
}

fn show_balancer(it: &LoadBalancer) -> Vec<elbv2::LoadBalancerAttribute> {
    let all = of_balancer(it);
    let one = |(key, value)| elbv2::LoadBalancerAttribute { key, value };
    shown(&all, &it.attributes).map(one).collect()
}

pub async fn modify_of_load_balancer(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::ModifyLoadBalancerAttributesInput,
) -> Result<elbv2::ModifyLoadBalancerAttributesOutput, Fault> {
    let arn = input.load_balancer_arn.unwrap_or_default();
    let given = input.attributes.unwrap_or_default();
    let given: Vec<_> = given.into_iter().map(|it| (it.key, it.value)).collect();
    let changed = change(cx, |txn| {
        let found = nouns::load_balancer(cx, txn.snapshot(), &arn)?;
        let mut changed = (*found).clone();
        put("Load balancer", &of_balancer(&found), &mut changed.attributes, &given)?;
        check_logs(&changed.attributes)?;
        txn.put(changed.clone());
        Ok(changed)
    })
    .await?;
    let attributes = Some(show_balancer(&changed));
    Ok(elbv2::ModifyLoadBalancerAttributesOutput { attributes })
}

/// Logs need a bucket. Source: API reference, LoadBalancerAttribute.
fn check_logs(given: &Given) -> Result<(), Fault> {
    for logs in ["access_logs", "connection_logs", "health_check_logs"] {
        let is_on = given.get(&format!("{logs}.s3.enabled")).is_some_and(|it| it == "true");
        if is_on && !given.contains_key(&format!("{logs}.s3.bucket")) {
            let text = format!("The value of '{logs}.s3.bucket' cannot be empty");
            return Err(invalid_configuration(text));
        }
    }
    Ok(())
}

pub async fn describe_of_target_group(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DescribeTargetGroupAttributesInput,
) -> Result<elbv2::DescribeTargetGroupAttributesOutput, Fault> {
    let arn = input.target_group_arn.unwrap_or_default();
    let found = nouns::target_group(cx, &cx.store.snapshot(), &arn)?;
    let attributes = Some(show_group(&found));
    Ok(elbv2::DescribeTargetGroupAttributesOutput { attributes })
}

fn show_group(it: &TargetGroup) -> Vec<elbv2::TargetGroupAttribute> {
    let all = of_group(it);
    let one = |(key, value)| elbv2::TargetGroupAttribute { key, value };
    shown(&all, &it.attributes).map(one).collect()
}

pub async fn modify_of_target_group(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::ModifyTargetGroupAttributesInput,
) -> Result<elbv2::ModifyTargetGroupAttributesOutput, Fault> {
    let arn = input.target_group_arn.unwrap_or_default();
    let given = input.attributes.unwrap_or_default();
    let given: Vec<_> = given.into_iter().map(|it| (it.key, it.value)).collect();
    let changed = change(cx, |txn| {
        let found = nouns::target_group(cx, txn.snapshot(), &arn)?;
        let mut changed = (*found).clone();
        put("Target group", &of_group(&found), &mut changed.attributes, &given)?;
        check_group(&changed.attributes)?;
        txn.put(changed.clone());
        Ok(changed)
    })
    .await?;
    let attributes = Some(show_group(&changed));
    Ok(elbv2::ModifyTargetGroupAttributesOutput { attributes })
}

/// What several of its attributes together may not be. Source: user guide, sticky sessions, target
/// group attributes.
fn check_group(given: &Given) -> Result<(), Fault> {
    let value = |key: &str| given.get(key).map_or("", String::as_str);
    let cookie = value("stickiness.app_cookie.cookie_name");
    if cookie.starts_with("AWSALB") {
        let text = format!("The cookie name '{cookie}' is reserved for the load balancer");
        return Err(validation(text));
    }
    if !cookie.bytes().all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&b)) {
        return Err(validation(format!("The cookie name '{cookie}' is not valid")));
    }
    let by_cookie =
        value("stickiness.enabled") == "true" && value("stickiness.type") == "app_cookie";
    if by_cookie && cookie.is_empty() {
        let text = "You must specify an application cookie name when stickiness type is app_cookie";
        return Err(invalid_configuration(text));
    }
    let slow = !value("slow_start.duration_seconds").is_empty();
    let algorithm = value("load_balancing.algorithm.type");
    if slow && !algorithm.is_empty() {
        let text = format!("Slow start is not supported with the algorithm '{algorithm}'");
        return Err(invalid_configuration(text));
    }
    let mitigates = !value("load_balancing.algorithm.anomaly_mitigation").is_empty();
    if mitigates && algorithm != "weighted_random" {
        let text = "Anomaly mitigation requires the algorithm 'weighted_random'";
        return Err(invalid_configuration(text));
    }
    Ok(())
}

pub async fn describe_of_listener(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DescribeListenerAttributesInput,
) -> Result<elbv2::DescribeListenerAttributesOutput, Fault> {
    let arn = input.listener_arn.unwrap_or_default();
    let (_, found) = nouns::listener(cx, &cx.store.snapshot(), &arn)?;
    let attributes = Some(show_listener(&found));
    Ok(elbv2::DescribeListenerAttributesOutput { attributes })
}

fn show_listener(it: &Listener) -> Vec<elbv2::ListenerAttribute> {
    let all = of_listener(it);
    let one = |(key, value)| elbv2::ListenerAttribute { key, value };
    shown(&all, &it.attributes).map(one).collect()
}

pub async fn modify_of_listener(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::ModifyListenerAttributesInput,
) -> Result<elbv2::ModifyListenerAttributesOutput, Fault> {
    let arn = input.listener_arn.unwrap_or_default();
    let given = input.attributes.unwrap_or_default();
    let given: Vec<_> = given.into_iter().map(|it| (it.key, it.value)).collect();
    let changed = change(cx, |txn| {
        let (_, found) = nouns::listener(cx, txn.snapshot(), &arn)?;
        let mut changed = (*found).clone();
        put("Listener", &of_listener(&found), &mut changed.attributes, &given)?;
        txn.put(changed.clone());
        Ok(changed)
    })
    .await?;
    let attributes = Some(show_listener(&changed));
    Ok(elbv2::ModifyListenerAttributesOutput { attributes })
}
