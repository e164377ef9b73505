//! The attributes of load balancers and target groups that the data plane acts on, read out of what
//! was given with AWS's defaults for the rest. Values were checked when they were given; one that
//! can't be read all the same has its default.

use model::balancing::{
    Algorithm, BalancerSettings, DesyncMode, ForwardedFor, GroupSettings, ListenerSettings,
    Protocol, Stickiness,
};
use std::collections::BTreeMap;

const IDLE_TIMEOUT_SECONDS: u32 = 60;
const CLIENT_KEEP_ALIVE_SECONDS: u32 = 3600;
const DEREGISTRATION_DELAY_SECONDS: u32 = 300;
const STICKY_SECONDS: u32 = 86_400;

type Attributes = BTreeMap<String, String>;

fn text<'a>(given: &'a Attributes, key: &str) -> &'a str {
    given.get(key).map_or("", String::as_str)
}

fn number(given: &Attributes, key: &str, default: u32) -> u32 {
    text(given, key).parse().unwrap_or(default)
}

fn flag(given: &Attributes, key: &str, default: bool) -> bool {
    text(given, key).parse().unwrap_or(default)
}

pub fn balancer_settings(given: &Attributes) -> BalancerSettings {
    BalancerSettings {
        idle_timeout_seconds: number(given, "idle_timeout.timeout_seconds", IDLE_TIMEOUT_SECONDS),
        drop_invalid_headers: flag(given, "routing.http.drop_invalid_header_fields.enabled", false),
        desync: match text(given, "routing.http.desync_mitigation_mode") {
            "monitor" => DesyncMode::Monitor,
            "strictest" => DesyncMode::Strictest,
            _ => DesyncMode::Defensive,
        },
        forwarded_for: match text(given, "routing.http.xff_header_processing.mode") {
            "preserve" => ForwardedFor::Preserve,
            "remove" => ForwardedFor::Remove,
            _ => ForwardedFor::Append,
        },
        forwarded_client_port: flag(given, "routing.http.xff_client_port.enabled", false),
        preserve_host: flag(given, "routing.http.preserve_host_header.enabled", false),
        http2: flag(given, "routing.http2.enabled", true),
        client_keep_alive_seconds: number(
            given,
            "client_keep_alive.seconds",
            CLIENT_KEEP_ALIVE_SECONDS,
        ),
        tls_headers: flag(given, "routing.http.x_amzn_tls_version_and_cipher_suite.enabled", false),
        access_log: flag(given, "access_logs.s3.enabled", false),
        connection_log: flag(given, "connection_logs.s3.enabled", false),
    }
}

/// Headers that a listener may put into every answer, by their place in the attribute's key.
/// Source: ELB user guide, "HTTP header modification for your Application Load Balancer".
const ANSWER_HEADERS: [(&str, &str); 10] = [
    ("access_control_allow_credentials", "Access-Control-Allow-Credentials"),
    ("access_control_allow_headers", "Access-Control-Allow-Headers"),
    ("access_control_allow_methods", "Access-Control-Allow-Methods"),
    ("access_control_allow_origin", "Access-Control-Allow-Origin"),
    ("access_control_expose_headers", "Access-Control-Expose-Headers"),
    ("access_control_max_age", "Access-Control-Max-Age"),
    ("content_security_policy", "Content-Security-Policy"),
    ("strict_transport_security", STRICT_TRANSPORT_SECURITY),
    ("x_content_type_options", "X-Content-Type-Options"),
    ("x_frame_options", "X-Frame-Options"),
];
const STRICT_TRANSPORT_SECURITY: &str = "Strict-Transport-Security";

/// What a listener of this protocol has no attribute for it does not go by, also if it had one
/// under another protocol.
pub fn listener_settings(given: &Attributes, protocol: Protocol) -> ListenerSettings {
    if protocol == Protocol::Tcp {
        let idle_timeout_seconds = text(given, "tcp.idle_timeout.seconds").parse().ok();
        return ListenerSettings { idle_timeout_seconds, ..Default::default() };
    }
    let secure = protocol == Protocol::Https;
    let value = |key: &str| Some(text(given, key)).filter(|it| !it.is_empty()).map(str::to_owned);
    let headers = ANSWER_HEADERS.iter().filter(|it| secure || it.1 != STRICT_TRANSPORT_SECURITY);
    let headers = headers.filter_map(|(key, name)| {
        let value = value(&format!("routing.http.response.{key}.header_value"))?;
        Some(((*name).to_owned(), value))
    });
    let renamed = |key: &str| {
        let renamed = value(&format!("routing.http.request.{key}.header_name"));
        renamed.filter(|_| secure)
    };
    ListenerSettings {
        hides_server: !flag(given, "routing.http.response.server.enabled", true),
        answer_headers: headers.collect(),
        tls_version_header: renamed("x_amzn_tls_version"),
        tls_cipher_header: renamed("x_amzn_tls_cipher_suite"),
        idle_timeout_seconds: None,
    }
}

pub fn group_settings(given: &Attributes) -> GroupSettings {
    let seconds = |key: &str| number(given, key, STICKY_SECONDS);
    let stickiness =
        flag(given, "stickiness.enabled", false).then(|| match text(given, "stickiness.type") {
            "app_cookie" => Stickiness::Application {
                cookie: text(given, "stickiness.app_cookie.cookie_name").to_owned(),
                seconds: seconds("stickiness.app_cookie.duration_seconds"),
            },
            _ => Stickiness::Balancer { seconds: seconds("stickiness.lb_cookie.duration_seconds") },
        });
    GroupSettings {
        algorithm: match text(given, "load_balancing.algorithm.type") {
            "least_outstanding_requests" => Algorithm::LeastOutstanding,
            "weighted_random" => Algorithm::Random,
            _ => Algorithm::RoundRobin,
        },
        slow_start_seconds: number(given, "slow_start.duration_seconds", 0),
        deregistration_delay_seconds: number(
            given,
            "deregistration_delay.timeout_seconds",
            DEREGISTRATION_DELAY_SECONDS,
        ),
        stickiness,
        healthy_min: number(given, &format!("{UNHEALTHY_ROUTING}.count"), 1),
        // "off" is no number.
        healthy_min_percent: number(given, &format!("{UNHEALTHY_ROUTING}.percentage"), 0),
        cut_unhealthy: flag(
            given,
            "target_health_state.unhealthy.connection_termination.enabled",
            true,
        ),
        cut_deregistered: flag(given, "deregistration_delay.connection_termination.enabled", false),
    }
}

const UNHEALTHY_ROUTING: &str =
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_has_awss_default() {
        let balancer = balancer_settings(&Attributes::new());
        assert_eq!((balancer.idle_timeout_seconds, balancer.http2), (60, true));
        assert_eq!(balancer.desync, DesyncMode::Defensive);
        let group = group_settings(&Attributes::new());
        assert_eq!((group.deregistration_delay_seconds, group.stickiness), (300, None));
        let given = [
            ("stickiness.enabled", "true"),
            ("stickiness.type", "app_cookie"),
            ("stickiness.app_cookie.cookie_name", "SID"),
            ("deregistration_delay.timeout_seconds", "5"),
        ];
        let given = given.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let group = group_settings(&Attributes::from(given));
        let sticky = Stickiness::Application { cookie: "SID".to_owned(), seconds: 86_400 };
        assert_eq!((group.deregistration_delay_seconds, group.stickiness), (5, Some(sticky)));
    }

    #[test]
    fn a_listener_goes_by_what_its_protocol_has() {
        let given = [
            ("routing.http.response.server.enabled", "false"),
            ("routing.http.response.x_frame_options.header_value", "DENY"),
            ("routing.http.response.strict_transport_security.header_value", "max-age=1"),
            ("routing.http.request.x_amzn_tls_version.header_name", "X-Tls"),
            ("tcp.idle_timeout.seconds", "60"),
        ];
        let given = Attributes::from(given.map(|(key, value)| (key.to_owned(), value.to_owned())));
        let headers = |settings: &ListenerSettings| {
            settings.answer_headers.keys().cloned().collect::<Vec<_>>()
        };
        let plain = listener_settings(&given, Protocol::Http);
        assert_eq!((plain.hides_server, plain.tls_version_header.as_deref()), (true, None));
        assert_eq!(headers(&plain), ["X-Frame-Options"]);
        let secure = listener_settings(&given, Protocol::Https);
        assert_eq!(secure.tls_version_header.as_deref(), Some("X-Tls"));
        assert_eq!(headers(&secure), [STRICT_TRANSPORT_SECURITY, "X-Frame-Options"]);
        let tcp = listener_settings(&given, Protocol::Tcp);
        let only = ListenerSettings { idle_timeout_seconds: Some(60), ..Default::default() };
        assert_eq!(tcp, only);
        assert_eq!(
            listener_settings(&Attributes::new(), Protocol::Https),
            ListenerSettings::default()
        );
    }
}
