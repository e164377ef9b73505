//! The attributes of load balancers and target groups that the data plane acts on, read out of what
//! was given with AWS's defaults for the rest. Values were checked when they were given; one that
//! can't be read all the same has its default.

use model::balancing::{
    Algorithm, BalancerSettings, DesyncMode, ForwardedFor, GroupSettings, Stickiness,
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
    }
}

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
}
