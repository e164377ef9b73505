//! The JSON protocols: bodies in, bodies out, and what is said of bodies that can't be read. The
//! simple cases are those of AWS's public protocol tests.

use serde_json::json;

use crate::json::{decode, encode};
use crate::{Blob, Sensitive, Timestamp, ecr, ecs, logs};

#[derive(Clone, Debug, Default, PartialEq)]
struct Sink {
    string: Option<String>,
    integer: Option<i32>,
    long: Option<i64>,
    double: Option<f64>,
    boolean: Option<bool>,
    blob: Option<Blob>,
    timestamp: Option<Timestamp>,
    list: Option<Vec<String>>,
    lists: Option<Vec<Vec<String>>>,
    map: Option<std::collections::BTreeMap<String, Vec<String>>>,
    recursive: Option<Box<Sink>>,
    recursive_list: Option<Vec<Sink>>,
    choice: Option<Color>,
    document: Option<serde_json::Value>,
}

crate::json_shape!(
    Sink,
    [
        string = "String",
        integer = "Integer",
        long = "Long",
        double = "Double",
        boolean = "Boolean",
        blob = "Blob",
        timestamp = "Timestamp",
        list = "ListOfStrings",
        lists = "ListOfLists",
        map = "MapOfListsOfStrings",
        recursive = "RecursiveStruct",
        recursive_list = "RecursiveList",
        choice = "Color",
        document = "Document",
    ]
);

crate::string_enum!(Color, [Red = "RED", Green = "GREEN"]);

fn sink(body: &str) -> Sink {
    decode(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"))
}

#[test]
fn every_kind_of_value_goes_in_and_out() {
    let cases = [
        r#"{"String":"abc xyz"}"#,
        r#"{"String":"\u0000\t\"é\\"}"#,
        r#"{"Integer":-2147483648,"Long":1234567890123456789}"#,
        r#"{"Double":1234.5}"#,
        r#"{"Boolean":false}"#,
        r#"{"Blob":"YmluYXJ5LXZhbHVl"}"#,
        r#"{"Timestamp":946845296}"#,
        r#"{"Timestamp":946845296.123}"#,
        r#"{"ListOfStrings":["abc","mno","xyz"]}"#,
        r#"{"ListOfStrings":[]}"#,
        r#"{"ListOfLists":[["abc"],[],["hjk","qrs"]]}"#,
        r#"{"MapOfListsOfStrings":{"abc":["abc","xyz"],"mno":[]}}"#,
        r#"{"RecursiveStruct":{"RecursiveStruct":{"Boolean":true}}}"#,
        r#"{"RecursiveList":[{"RecursiveList":[{"Integer":123}]}]}"#,
        r#"{"Color":"RED"}"#,
        r#"{"Color":"MAUVE"}"#,
        r#"{"Document":{"foo":[1,null,"bar"]}}"#,
        "{}",
    ];
    for case in cases {
        let text = String::from_utf8(encode(&sink(case))).unwrap();
        let (got, wanted): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(&text).unwrap(), serde_json::from_str(case).unwrap());
        assert_eq!(got, wanted);
    }
}

#[test]
fn values_mean_what_they_say() {
    assert_eq!(sink(r#"{"Blob":"dmFsdWU="}"#).blob, Some(Blob(b"value".to_vec())));
    let at = |text: &str| sink(&format!(r#"{{"Timestamp":{text}}}"#)).timestamp.unwrap().unix_ms;
    assert_eq!(at("1398796238"), 1_398_796_238_000);
    assert_eq!(at("1.398796238123e9"), 1_398_796_238_123);
    assert_eq!(at(r#""2000-01-02T20:34:56.123Z""#), 946_845_296_123);
    assert_eq!(at(r#""2019-12-17T00:48:18+01:00""#), 1_576_540_098_000);
    assert_eq!(at("-0.5"), -500);
    assert_eq!(sink(r#"{"Color":"GREEN"}"#).choice, Some(Color::Green));
    let unknown = Some(Color::Unrecognized("BLUE".to_owned()));
    assert_eq!(sink(r#"{"Color":"BLUE"}"#).choice, unknown);
}

#[test]
fn what_is_unknown_or_null_is_passed_over() {
    let body = r#"{"New":{"a":[1,{"b":null}]},"String":"s","Integer":null,"__type":"x#y"}"#;
    assert_eq!(sink(body), Sink { string: Some("s".to_owned()), ..Sink::default() });
    assert_eq!(Sink::MEMBERS.first(), Some(&"String"));
    assert_eq!(sink(r#"{"\u0053tring":"escaped name"}"#).string.as_deref(), Some("escaped name"));
    assert_eq!(sink(r#"{"String":"a","String":"b"}"#).string.as_deref(), Some("b"));
    for empty in ["", " \r\n", "{}"] {
        assert_eq!(sink(empty), Sink::default());
    }
}

#[test]
fn wrong_types_are_told_in_awss_words() {
    let cases = [
        (r#"{"String":5}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"String":1.5}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"String":true}"#, "TRUE_VALUE can not be converted to a String"),
        (r#"{"String":{}}"#, "Start of structure or map found where not expected."),
        (r#"{"String":[]}"#, "Start of list found where not expected"),
        (r#"{"Integer":"5"}"#, "STRING_VALUE can not be converted to an Integer"),
        (r#"{"Long":"expected x"}"#, "STRING_VALUE can not be converted to a Long"),
        (r#"{"Double":false}"#, "FALSE_VALUE can not be converted to a Double"),
        (r#"{"Boolean":"true"}"#, "STRING_VALUE can not be converted to a Boolean"),
        (r#"{"Boolean":", expected i32"}"#, "STRING_VALUE can not be converted to a Boolean"),
        (r#"{"Color":1}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"Timestamp":true}"#, "TRUE_VALUE can not be converted to a Date"),
        (r#"{"Timestamp":"yesterday"}"#, "STRING_VALUE can not be converted to a Date"),
        (r#"{"Integer":2147483648}"#, "Integer out of range"),
        (r#"{"Long":9223372036854775808}"#, "Long out of range"),
        (r#"{"Blob":"?"}"#, "Invalid base64 in a blob"),
        (r#"{"ListOfStrings":"a"}"#, "Expected list or null"),
        (r#"{"ListOfStrings":[1]}"#, "NUMBER_VALUE can not be converted to a String"),
        (r#"{"RecursiveStruct":"a"}"#, "Expected null"),
        (r#"{"RecursiveStruct":["a"]}"#, "Start of list found where not expected"),
        (r#"["a"]"#, "Start of list found where not expected"),
        ("null", "Expected null"),
    ];
    for (body, message) in cases {
        let error = decode::<Sink>(body.as_bytes()).expect_err(body);
        assert_eq!(error.message(), message, "{body}");
    }
}

#[test]
fn what_is_not_json_is_said_to_be_so() {
    for body in ["{", "{]", "{\"String\":\"a\"", "{}x", "\u{feff}{}", "{'a':1}", "Action=RunTask"] {
        let error = decode::<Sink>(body.as_bytes()).expect_err(body);
        assert!(error.message().starts_with("The request body is not valid JSON"), "{body}");
    }
    let error = decode::<Sink>(b"{\"String\":\"\xff\"}").expect_err("not UTF-8");
    assert!(error.message().starts_with("The request body is not valid JSON"));
    let deep = format!("{}{}", r#"{"RecursiveStruct":"#.repeat(100_000), "}".repeat(100_000));
    decode::<Sink>(deep.as_bytes()).expect_err("deep nesting is refused, not overflowed");
}

#[test]
fn a_run_task_call_is_read_whole() {
    let body = json!({
        "cluster": "default",
        "taskDefinition": "web:3",
        "launchType": "FARGATE",
        "count": 2,
        "enableECSManagedTags": true,
        "networkConfiguration": {"awsvpcConfiguration": {
            "subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "ENABLED"}},
        "overrides": {"containerOverrides": [{"name": "app", "command": ["a", "b"],
            "environment": [{"name": "K", "value": "V"}]}], "cpu": "512"},
        "tags": [{"key": "team", "value": "x"}],
        "someFutureField": {"a": 1},
    });
    let request: ecs::RunTaskRequest = decode(body.to_string().as_bytes()).unwrap();
    assert_eq!(request.cluster.as_deref(), Some("default"));
    assert_eq!(request.launch_type, Some(ecs::LaunchType::Fargate));
    assert_eq!(request.count, Some(2));
    let network = request.network_configuration.unwrap().awsvpc_configuration.unwrap();
    assert_eq!(network.assign_public_ip, Some(ecs::AssignPublicIp::Enabled));
    let overrides = request.overrides.unwrap();
    let container = &overrides.container_overrides.unwrap()[0];
    assert_eq!(container.command.as_ref().unwrap().len(), 2);
    // Environments are sensitive: they may hold what nobody should read in a log.
    let shown = format!("{container:?}");
    assert!(shown.contains("environment: Some([KeyValuePair(hidden)])"), "{shown}");
}

#[test]
fn replies_have_awss_names_and_nothing_unset() {
    let task = ecs::Task {
        task_arn: Some("arn:aws:ecs:us-east-1:000000000000:task/default/0123".to_owned()),
        created_at: Some(Timestamp::from_unix_ms(1_700_000_000_123)),
        health_status: Some(ecs::HealthStatus::Unknown),
        version: Some(1),
        containers: Some(Vec::new()),
        ..ecs::Task::default()
    };
    let reply = ecs::RunTaskResponse { tasks: Some(vec![task]), failures: Some(Vec::new()) };
    assert_eq!(
        String::from_utf8(encode(&reply)).unwrap(),
        r#"{"failures":[],"tasks":[{"containers":[],"createdAt":1700000000.123,"#.to_owned()
            + r#""healthStatus":"UNKNOWN","#
            + r#""taskArn":"arn:aws:ecs:us-east-1:000000000000:task/default/0123","version":1}]}"#
    );
}

#[test]
fn other_services_speak_it_too() {
    let body = br#"{"logGroupName":"g","logEvents":[{"timestamp":1,"message":"m"}]}"#;
    let request: logs::PutLogEventsRequest = decode(body).unwrap();
    assert_eq!(request.log_events.unwrap()[0].timestamp, Some(1));
    let body = br#"{"repositoryNames":["a/b"],"maxResults":10}"#;
    let request: ecr::DescribeRepositoriesRequest = decode(body).unwrap();
    assert_eq!(request.max_results, Some(10));
}

#[test]
fn a_sensitive_string_must_be_asked_for() {
    let secret = Sensitive::new("hunter2");
    assert!(!format!("{secret:?}").contains("hunter2"));
    assert_eq!(secret.expose(), "hunter2");
}

#[test]
fn moments_have_one_spelling_and_many_readings() {
    for (unix_ms, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00Z"),
        (1_709_164_800_000, "2024-02-29T00:00:00Z"),
        (4_107_542_399_000, "2100-02-28T23:59:59Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00Z"),
    ] {
        let moment = Timestamp::from_unix_ms(unix_ms);
        assert_eq!(moment.iso8601(false), text);
        assert_eq!(Timestamp::parse(text), Some(moment));
    }
    assert_eq!(Timestamp::from_unix_ms(0).iso8601(true), "1970-01-01T00:00:00.000Z");
    for text in [
        "",
        "2100-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-01",
        "nan",
        "inf",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00+1",
        "1e300",
    ] {
        assert_eq!(Timestamp::parse(text), None, "{text}");
    }
}
