//! A listener's rules, ready to be asked: expressions compiled, patterns in lower case where case
//! makes no difference. Made once for each table, since a compiled expression is no data, and asked
//! for every request, which takes no memory for it.

use super::RequestView;
use super::pattern::{matches_pattern, matches_pattern_of_any_case};
use super::regex::compiled;
use model::balancing::{Condition, RuleEntry};
use model::network::Cidr;
use regex_lite::Regex;
use std::net::IpAddr;

/// The conditions of each rule, in their order.
#[derive(Debug)]
pub struct Rules(Vec<Vec<Test>>);

/// A condition. What stands here as a pattern for any case is in lower case.
#[derive(Debug)]
enum Test {
    Host(Vec<String>),
    HostRegex(Vec<Regex>),
    Path(Vec<String>),
    PathRegex(Vec<Regex>),
    Header { name: String, values: Vec<String> },
    HeaderRegex { name: String, values: Vec<Regex> },
    Query(Vec<(Option<String>, String)>),
    Method(Vec<String>),
    Source(Vec<Cidr>),
}

impl Rules {
    pub fn new(rules: &[RuleEntry]) -> Self {
        let tests = |rule: &RuleEntry| rule.conditions.iter().map(Test::new).collect();
        Self(rules.iter().map(tests).collect())
    }

    /// Which rule is the first that fits. A listener's last rule has no condition, so there is one;
    /// None only for a listener without rules, which no table has.
    pub fn position(&self, request: &RequestView<'_>) -> Option<usize> {
        self.0.iter().position(|rule| rule.iter().all(|test| test.holds(request)))
    }
}

impl Test {
    fn new(condition: &Condition) -> Self {
        let lower =
            |all: &[String]| all.iter().map(|it| it.to_ascii_lowercase()).collect::<Vec<_>>();
        // One that can't be compiled is found nowhere; none such is taken from callers.
        let regexes = |all: &[String], ignore_case| {
            all.iter().filter_map(|it| compiled(it, ignore_case)).collect::<Vec<_>>()
        };
        match condition {
            Condition::Host(patterns) => Self::Host(lower(patterns)),
            Condition::HostRegex(all) => Self::HostRegex(regexes(all, true)),
            Condition::Path(patterns) => Self::Path(patterns.clone()),
            Condition::PathRegex(all) => Self::PathRegex(regexes(all, false)),
            Condition::Header { name, values } => {
                Self::Header { name: name.clone(), values: lower(values) }
            }
            Condition::HeaderRegex { name, values } => {
                Self::HeaderRegex { name: name.clone(), values: regexes(values, false) }
            }
            Condition::Query(wanted) => {
                let wanted = wanted.iter().map(|(key, pattern)| {
                    let key = key.as_ref().map(|key| key.to_ascii_lowercase());
                    (key, pattern.to_ascii_lowercase())
                });
                Self::Query(wanted.collect())
            }
            Condition::Method(methods) => Self::Method(methods.clone()),
            Condition::Source(ranges) => Self::Source(ranges.clone()),
        }
    }

    fn holds(&self, request: &RequestView<'_>) -> bool {
        match self {
            Self::Host(patterns) => {
                patterns.iter().any(|it| matches_pattern_of_any_case(it, request.host))
            }
            Self::HostRegex(all) => all.iter().any(|it| it.is_match(request.host)),
            Self::Path(patterns) => patterns.iter().any(|it| matches_pattern(it, request.path)),
            Self::PathRegex(all) => all.iter().any(|it| it.is_match(request.path)),
            Self::Header { name, values } => request.headers.any(name, &mut |value| {
                values.iter().any(|it| matches_pattern_of_any_case(it, value))
            }),
            Self::HeaderRegex { name, values } => {
                request.headers.any(name, &mut |value| values.iter().any(|it| it.is_match(value)))
            }
            Self::Query(wanted) => has_query(wanted, request.query.unwrap_or("")),
            Self::Method(methods) => methods.iter().any(|method| method == request.method),
            Self::Source(ranges) => match request.source {
                IpAddr::V4(address) => ranges.iter().any(|range| range.contains(address)),
                IpAddr::V6(address) => address
                    .to_ipv4_mapped()
                    .is_some_and(|address| ranges.iter().any(|range| range.contains(address))),
            },
        }
    }
}

/// Keys and values are compared without regard to case.
fn has_query(wanted: &[(Option<String>, String)], query: &str) -> bool {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.any(|(key, value)| {
        wanted.iter().any(|(wanted_key, pattern)| {
            let keyed = wanted_key.as_ref().is_none_or(|it| it.eq_ignore_ascii_case(key));
            keyed && matches_pattern_of_any_case(pattern, value)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::Headers;
    use super::*;
    use model::balancing::{Action, FixedResponse};
    use std::net::Ipv4Addr;

    #[derive(Debug)]
    struct Given(Vec<(&'static str, &'static str)>);

    impl Headers for Given {
        fn any(&self, name: &str, look: &mut dyn FnMut(&str) -> bool) -> bool {
            let mut all = self.0.iter();
            all.any(|(key, value)| key.eq_ignore_ascii_case(name) && look(value))
        }
    }

    fn holds_alone(condition: Condition, request: &RequestView<'_>) -> bool {
        let rule = |conditions| RuleEntry {
            priority: 0,
            conditions,
            action: Action::Fixed(FixedResponse {
                status: 200,
                content_type: None,
                body: String::new(),
            }),
        };
        let rules = Rules::new(&[rule(vec![condition]), rule(Vec::new())]);
        rules.position(request) == Some(0)
    }

    #[test]
    fn each_kind_of_condition_holds_where_it_should() {
        let headers = Given(vec![("X-Team", "Blue-1"), ("x-team", "red")]);
        let request = RequestView {
            host: "Web.Example.com",
            method: "GET",
            path: "/api/v1/users",
            query: Some("Stage=Beta&flag"),
            headers: &headers,
            source: IpAddr::V4(Ipv4Addr::new(10, 0, 1, 5)),
        };
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let cases = [
            (Condition::Host(strings(&["*.example.COM"])), true),
            (Condition::Host(strings(&["example.com"])), false),
            (Condition::Path(strings(&["/img/*", "/api/*"])), true),
            (Condition::Path(strings(&["/API/*"])), false),
            (Condition::Header { name: "x-team".into(), values: strings(&["blue-?"]) }, true),
            (Condition::Header { name: "x-team".into(), values: strings(&["green"]) }, false),
            (Condition::Header { name: "x-none".into(), values: strings(&["*"]) }, false),
            (Condition::HostRegex(strings(&["^web[.](example|test)[.]com$"])), true),
            (Condition::HostRegex(strings(&["^example"])), false),
            (Condition::HostRegex(strings(&["(", "^web"])), true),
            (Condition::PathRegex(strings(&["("])), false),
            (Condition::Header { name: "X-TEAM".into(), values: strings(&["RED"]) }, true),
            (Condition::Query(vec![(Some("STAGE".into()), "B*".into())]), true),
            (Condition::PathRegex(strings(&["^/api/v[0-9]+/"])), true),
            (Condition::PathRegex(strings(&["^/API/"])), false),
            (Condition::HeaderRegex { name: "x-team".into(), values: strings(&["^re.$"]) }, true),
            (Condition::HeaderRegex { name: "x-team".into(), values: strings(&["^RE"]) }, false),
            (Condition::Query(vec![(Some("stage".into()), "beta".into())]), true),
            (Condition::Query(vec![(None, "bet?".into())]), true),
            (Condition::Query(vec![(Some("flag".into()), "on".into())]), false),
            (Condition::Method(strings(&["GET"])), true),
            (Condition::Method(strings(&["get"])), false),
            (Condition::Source(vec![Cidr::parse("10.0.0.0/16").expect("a range")]), true),
            (Condition::Source(vec![Cidr::parse("10.1.0.0/16").expect("a range")]), false),
        ];
        for (condition, expected) in cases {
            assert_eq!(holds_alone(condition.clone(), &request), expected, "{condition:?}");
        }
    }
}
