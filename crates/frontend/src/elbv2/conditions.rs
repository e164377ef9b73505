//! What a rule asks of a request. Source: user guide, listener rules (condition types); API
//! reference, RuleCondition.

use super::{not_here, validation};
use crate::fault::Fault;
use model::balancing::Condition;
use model::network::Cidr;
use wire::elbv2;
use wire::elbv2::RuleCondition;

/// Values of all conditions of a rule. Source: user guide, quotas.
const VALUES_MAX: usize = 5;
/// Characters of a value. Source: API reference.
const VALUE_CHARS_MAX: usize = 128;
const HEADER_NAME_CHARS_MAX: usize = 40;
const FIELDS: &str =
    "host-header, path-pattern, http-header, query-string, http-request-method, source-ip";

pub fn read(given: &[RuleCondition]) -> Result<Vec<Condition>, Fault> {
    if given.is_empty() {
        return Err(validation("A condition must be specified"));
    }
    let mut read = Vec::with_capacity(given.len());
    let mut once: Vec<&str> = Vec::new();
    for condition in given {
        let field = condition.field.as_deref();
        let Some(field) = field.filter(|field| !field.is_empty()) else {
            return Err(validation("A condition field must be specified"));
        };
        // Of headers and query strings a rule may ask several times.
        let many = matches!(field, "http-header" | "query-string");
        if !many && once.contains(&field) {
            let text = format!("A rule can have only one condition of the field '{field}'");
            return Err(validation(text));
        }
        once.push(field);
        read.push(one(field, condition)?);
    }
    let count: usize = read.iter().map(values).sum();
    if count > VALUES_MAX {
        return Err(validation(format!("A rule can only have '{VALUES_MAX}' condition values")));
    }
    Ok(read)
}

fn values(condition: &Condition) -> usize {
    match condition {
        Condition::Host(it)
        | Condition::HostRegex(it)
        | Condition::Path(it)
        | Condition::PathRegex(it)
        | Condition::Method(it)
        | Condition::Header { values: it, .. }
        | Condition::HeaderRegex { values: it, .. } => it.len(),
        Condition::Query(it) => it.len(),
        Condition::Source(it) => it.len(),
    }
}

fn one(field: &str, it: &RuleCondition) -> Result<Condition, Fault> {
    match field {
        "host-header" => {
            let config = it.host_header_config.as_ref();
            let given = config.and_then(|it| it.values.as_ref()).or(it.values.as_ref());
            let regex = config.and_then(|it| it.regex_values.as_ref()).or(it.regex_values.as_ref());
            let is_host = |c: char| c.is_ascii_alphanumeric() || "-.*?".contains(c);
            either(field, given, regex, is_host, Condition::Host, Condition::HostRegex)
        }
        "path-pattern" => {
            let config = it.path_pattern_config.as_ref();
            let given = config.and_then(|it| it.values.as_ref()).or(it.values.as_ref());
            let regex = config.and_then(|it| it.regex_values.as_ref()).or(it.regex_values.as_ref());
            let is_path = |c: char| c.is_ascii_alphanumeric() || "_-.$/~\"'@:+&*?".contains(c);
            either(field, given, regex, is_path, Condition::Path, Condition::PathRegex)
        }
        "http-header" => header(it),
        "query-string" => query(it),
        "http-request-method" => {
            let config = it.http_request_method_config.as_ref();
            let given = config.and_then(|it| it.values.as_ref());
            let is_method = |c: char| c.is_ascii_uppercase() || "-_".contains(c);
            let values = checked(field, given, is_method)?;
            if values.iter().any(|method| method.len() > HEADER_NAME_CHARS_MAX) {
                let text = "The value of an HTTP request method can have at most 40 characters";
                return Err(validation(text));
            }
            Ok(Condition::Method(values))
        }
        "source-ip" => source(it),
        other => {
            let text = format!("Condition field '{other}' must be one of '[{FIELDS}]'");
            Err(validation(text))
        }
    }
}

/// Values, each with characters that are allowed there.
fn checked(
    field: &str,
    given: Option<&Vec<String>>,
    allowed: impl Fn(char) -> bool,
) -> Result<Vec<String>, Fault> {
    let values = given.filter(|values| !values.is_empty());
    let Some(values) = values else {
        return Err(validation(format!("A value must be specified for the condition '{field}'")));
    };
    for value in values {
        let chars = value.chars().count();
        if chars == 0 || chars > VALUE_CHARS_MAX {
            let text = format!(
                "The value '{value}' of the condition '{field}' must have 1 to {VALUE_CHARS_MAX} \
                 characters"
            );
            return Err(validation(text));
        }
        if !value.chars().all(&allowed) {
            let text = format!(
                "The value '{value}' of the condition '{field}' contains a character that is not \
                 valid"
            );
            return Err(validation(text));
        }
    }
    Ok(values.clone())
}

fn either(
    field: &str,
    given: Option<&Vec<String>>,
    regex: Option<&Vec<String>>,
    allowed: impl Fn(char) -> bool,
    plain: impl Fn(Vec<String>) -> Condition,
    by_regex: impl Fn(Vec<String>) -> Condition,
) -> Result<Condition, Fault> {
    let given = given.filter(|values| !values.is_empty());
    let Some(regex) = regex.filter(|values| !values.is_empty()) else {
        return checked(field, given, allowed).map(plain);
    };
    if given.is_some() {
        let text = format!(
            "The condition '{field}' can have either values or regular expressions, but not both"
        );
        return Err(validation(text));
    }
    let values = checked(field, Some(regex), |c| !c.is_control())?;
    if let Some(bad) = values.iter().find(|value| !plan::routes::is_regex(value)) {
        return Err(validation(format!("The regular expression '{bad}' is not valid")));
    }
    Ok(by_regex(values))
}

/// The characters of a header's name. Source: RFC 7230, token.
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

fn header(it: &RuleCondition) -> Result<Condition, Fault> {
    let field = "http-header";
    let config = it.http_header_config.as_ref();
    let name = config.and_then(|it| it.http_header_name.clone()).unwrap_or_default();
    if name.is_empty() || name.len() > HEADER_NAME_CHARS_MAX || !name.chars().all(is_token) {
        let text = format!("The HTTP header name '{name}' is not valid");
        return Err(validation(text));
    }
    // Source: API reference, HttpHeaderConditionConfig.
    if name.eq_ignore_ascii_case("host") {
        return Err(validation(
            "You can't use an HTTP header condition to specify the host header",
        ));
    }
    let given = config.and_then(|it| it.values.as_ref());
    let regex = config.and_then(|it| it.regex_values.as_ref());
    let printable = |c: char| !c.is_control();
    let plain = |values| Condition::Header { name: name.clone(), values };
    let by_regex = |values| Condition::HeaderRegex { name: name.clone(), values };
    either(field, given, regex, printable, plain, by_regex)
}

fn query(it: &RuleCondition) -> Result<Condition, Fault> {
    let config = it.query_string_config.as_ref();
    let pairs = config.and_then(|it| it.values.as_deref()).unwrap_or_default();
    if pairs.is_empty() {
        return Err(validation("A value must be specified for the condition 'query-string'"));
    }
    let mut read = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let value = pair.value.clone().unwrap_or_default();
        let key = pair.key.clone().filter(|key| !key.is_empty());
        let longest = value.chars().count().max(key.as_ref().map_or(0, |it| it.chars().count()));
        if value.is_empty() || longest > VALUE_CHARS_MAX {
            let text = format!(
                "A query string condition must have a value, and at most {VALUE_CHARS_MAX} \
                 characters in key and value"
            );
            return Err(validation(text));
        }
        read.push((key, value));
    }
    Ok(Condition::Query(read))
}

fn source(it: &RuleCondition) -> Result<Condition, Fault> {
    let config = it.source_ip_config.as_ref();
    let values = config.and_then(|it| it.values.as_deref()).unwrap_or_default();
    if values.is_empty() {
        return Err(validation("A value must be specified for the condition 'source-ip'"));
    }
    let range = |text: &String| {
        if text.contains(':') {
            return Err(not_here("IPv6 ranges in conditions"));
        }
        let why = || validation(format!("The source IP '{text}' is not a valid CIDR block"));
        crate::ec2::balancing::canonical(text).ok_or_else(why)
    };
    values.iter().map(range).collect::<Result<Vec<Cidr>, Fault>>().map(Condition::Source)
}

fn of(field: &str) -> RuleCondition {
    RuleCondition { field: Some(field.to_owned()), ..Default::default() }
}

pub fn show(it: &Condition) -> RuleCondition {
    match it {
        Condition::Host(values) => host(Some(values), None),
        Condition::HostRegex(values) => host(None, Some(values)),
        Condition::Path(values) => path(Some(values), None),
        Condition::PathRegex(values) => path(None, Some(values)),
        Condition::Header { name, values } => show_header(name, Some(values), None),
        Condition::HeaderRegex { name, values } => show_header(name, None, Some(values)),
        Condition::Query(pairs) => {
            let pair = |(key, value): &(Option<String>, String)| elbv2::QueryStringKeyValuePair {
                key: key.clone(),
                value: Some(value.clone()),
            };
            let values = Some(pairs.iter().map(pair).collect());
            RuleCondition {
                query_string_config: Some(elbv2::QueryStringConditionConfig { values }),
                ..of("query-string")
            }
        }
        Condition::Method(values) => {
            let values = Some(values.clone());
            let config = elbv2::HttpRequestMethodConditionConfig { values };
            RuleCondition { http_request_method_config: Some(config), ..of("http-request-method") }
        }
        Condition::Source(ranges) => {
            let values = Some(ranges.iter().map(ToString::to_string).collect());
            let config = elbv2::SourceIpConditionConfig { values };
            RuleCondition { source_ip_config: Some(config), ..of("source-ip") }
        }
    }
}

/// Of hosts and paths the values are shown twice, as they may be given in either place.
fn host(values: Option<&Vec<String>>, regex_values: Option<&Vec<String>>) -> RuleCondition {
    let (values, regex_values) = (values.cloned(), regex_values.cloned());
    RuleCondition {
        values: values.clone(),
        regex_values: regex_values.clone(),
        host_header_config: Some(elbv2::HostHeaderConditionConfig { values, regex_values }),
        ..of("host-header")
    }
}

fn path(values: Option<&Vec<String>>, regex_values: Option<&Vec<String>>) -> RuleCondition {
    let (values, regex_values) = (values.cloned(), regex_values.cloned());
    RuleCondition {
        values: values.clone(),
        regex_values: regex_values.clone(),
        path_pattern_config: Some(elbv2::PathPatternConditionConfig { values, regex_values }),
        ..of("path-pattern")
    }
}

fn show_header(
    name: &str,
    values: Option<&Vec<String>>,
    regex_values: Option<&Vec<String>>,
) -> RuleCondition {
    let config = elbv2::HttpHeaderConditionConfig {
        http_header_name: Some(name.to_owned()),
        values: values.cloned(),
        regex_values: regex_values.cloned(),
    };
    RuleCondition { http_header_config: Some(config), ..of("http-header") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(field: &str, values: &[&str]) -> RuleCondition {
        RuleCondition {
            field: Some(field.to_owned()),
            values: Some(values.iter().map(|it| (*it).to_owned()).collect()),
            ..Default::default()
        }
    }

    fn header(name: &str, all: &[&str]) -> RuleCondition {
        RuleCondition {
            field: Some("http-header".to_owned()),
            http_header_config: Some(elbv2::HttpHeaderConditionConfig {
                http_header_name: Some(name.to_owned()),
                values: Some(all.iter().map(|it| (*it).to_owned()).collect()),
                regex_values: None,
            }),
            ..Default::default()
        }
    }

    #[test]
    fn conditions_are_shown_as_they_were_given() {
        let given = vec![
            values("host-header", &["*.example.com"]),
            values("path-pattern", &["/api/*"]),
            header("X-Team", &["a b"]),
            header("x-team", &["*c*"]),
        ];
        let read = read(&given).expect("valid");
        assert_eq!(read[0], Condition::Host(vec!["*.example.com".to_owned()]));
        let shown: Vec<_> = read.iter().map(show).collect();
        assert_eq!(shown[1].values, given[1].values);
        assert_eq!(shown[1].path_pattern_config.as_ref().expect("one").values, given[1].values);
        assert_eq!(shown[2], given[2]);
    }

    #[test]
    fn what_a_rule_can_not_ask_is_refused() {
        let source = |text: &str| RuleCondition {
            field: Some("source-ip".to_owned()),
            source_ip_config: Some(elbv2::SourceIpConditionConfig {
                values: Some(vec![text.to_owned()]),
            }),
            ..Default::default()
        };
        assert!(read(&[source("10.0.0.0/8")]).is_ok());
        let regex = |text: &str| RuleCondition {
            field: Some("path-pattern".to_owned()),
            regex_values: Some(vec![text.to_owned()]),
            ..Default::default()
        };
        assert_eq!(
            read(&[regex("^/v[0-9]+/")]).expect("valid"),
            [Condition::PathRegex(vec!["^/v[0-9]+/".to_owned()])]
        );
        let long = "x".repeat(129);
        let bad: Vec<Vec<RuleCondition>> = vec![
            vec![],
            vec![values("", &["a"])],
            vec![values("cookie", &["a"])],
            vec![values("path-pattern", &[])],
            vec![values("path-pattern", &[long.as_str()])],
            vec![values("path-pattern", &["/a b"])],
            vec![values("host-header", &["a/b"])],
            vec![values("path-pattern", &["/a"]), values("path-pattern", &["/b"])],
            vec![values("path-pattern", &["/1", "/2", "/3", "/4", "/5", "/6"])],
            vec![header("Host", &["a"])],
            vec![header("", &["a"])],
            vec![source("10.0.0.0")],
            vec![source("::/0")],
            vec![regex("(")],
            vec![RuleCondition {
                regex_values: regex("a").regex_values,
                ..values("path-pattern", &["/a"])
            }],
        ];
        for given in bad {
            assert!(read(&given).is_err(), "{given:?}");
        }
    }
}
