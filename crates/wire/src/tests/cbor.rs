//! CBOR against RFC 8949's own examples, against hostile bodies, and a service that speaks three
//! protocols answering the same in each.

use http::HeaderMap;
use serde_json::{Value, json};

use crate::cbor::{decode, encode};
use crate::cloudwatch::{
    ErrorCode, GetMetricStatisticsInput, GetMetricStatisticsOutput, PutMetricDataInput, SERVICE,
};
use crate::{Call, Protocol, RequestParts, Timestamp, classify, cloudwatch, servicediscovery};

fn bytes(hex: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("two digits");
    (0..hex.len()).step_by(2).map(pair).collect()
}

#[test]
fn the_examples_of_rfc_8949_are_read() {
    let cases = [
        ("00", json!(0)),
        ("1818", json!(24)),
        ("1903e8", json!(1000)),
        ("1b000000e8d4a51000", json!(1_000_000_000_000_i64)),
        ("20", json!(-1)),
        ("3903e7", json!(-1000)),
        ("f93c00", json!(1.0)),
        ("f97bff", json!(65504.0)),
        ("f90001", json!(5.960_464_477_539_063e-8)),
        ("f9c400", json!(-4.0)),
        ("fa47c35000", json!(100_000.0)),
        ("fb3ff199999999999a", json!(1.1)),
        ("c1fb41d452d9ec200000", json!(1_363_896_240.5)),
        ("f4", json!(false)),
        ("f6", Value::Null),
        ("4401020304", json!("AQIDBA==")),
        ("5f42010243030405ff", json!("AQIDBAU=")),
        ("6449455446", json!("IETF")),
        ("7f657374726561646d696e67ff", json!("streaming")),
        ("9f018202039f0405ffff", json!([1, [2, 3], [4, 5]])),
        ("bf61610161629f0203ffff", json!({"a": 1, "b": [2, 3]})),
        ("a26161016162820203", json!({"a": 1, "b": [2, 3]})),
    ];
    for (hex, value) in cases {
        assert_eq!(decode::<Value>(&bytes(hex)), Ok(value), "{hex}");
    }
}

#[test]
fn what_is_no_cbor_is_refused_and_costs_nothing() {
    let deep = "81".repeat(10_000);
    let broken =
        ["1c", "18", "62", "9bffffffffffffffff", "5f61", "a101", "ff", "f8ff", "f97e00", "0000"];
    for hex in broken.iter().copied().chain([deep.as_str()]) {
        let refused = decode::<Value>(&bytes(hex)).expect_err(hex);
        assert!(refused.message().starts_with("The request body is not valid CBOR"), "{hex}");
    }
}

#[test]
fn numbers_take_the_shortest_form_and_moments_their_tag() {
    let value = json!([0, 23, 24, 256, 65_536, 4_294_967_296_i64, -1, -500, 1.5, true, null, "a"]);
    assert_eq!(
        encode(&value),
        bytes(
            "8c0017181819010\
             01a000100001b0000000100000000203901f3fb3ff8000000000000f5f66161"
        )
    );
    assert_eq!(decode::<Value>(&encode(&value)), Ok(value));
    let moment = Timestamp::from_unix_ms(1_363_896_240_500);
    assert_eq!(encode(&moment), bytes("c1fb41d452d9ec200000"));
    assert_eq!(decode::<Option<Timestamp>>(&encode(&moment)), Ok(Some(moment)));
}

fn call<'a>(headers: &'a HeaderMap, path: &'a str, body: &'a [u8]) -> Call<'a> {
    let parts = RequestParts { method: "POST", path, query: "", headers };
    classify(&parts, Some("monitoring"), body).expect("the operation is known")
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &'static str)| {
        (name.parse().expect("a header's name"), value.parse().expect("a header's value"))
    };
    pairs.iter().map(pair).collect()
}

#[test]
fn one_service_is_asked_in_three_protocols() {
    let cbor_headers = headers(&[("smithy-protocol", "rpc-v2-cbor")]);
    let json_headers = headers(&[
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", "GraniteServiceVersion20100801.GetMetricStatistics"),
    ]);
    let form_headers = headers(&[("content-type", "application/x-www-form-urlencoded")]);
    let members = json!({"Namespace": "AWS/ECS", "Period": 60, "StartTime": 1.5, "EndTime": 60});
    let cbor_body = encode(&members);
    let json_body = members.to_string();
    let form_body = "Action=GetMetricStatistics&Version=2010-08-01&Namespace=AWS%2FECS&Period=60\
                     &StartTime=1970-01-01T00%3A00%3A01.500Z&EndTime=1970-01-01T00%3A01%3A00Z";
    let path = "/service/GraniteServiceVersion20100801/operation/GetMetricStatistics";
    let calls = [
        call(&cbor_headers, path, &cbor_body),
        call(&json_headers, "/", json_body.as_bytes()),
        call(&form_headers, "/", form_body.as_bytes()),
    ];
    let wanted = GetMetricStatisticsInput {
        namespace: Some("AWS/ECS".to_owned()),
        period: Some(60),
        start_time: Some(Timestamp::from_unix_ms(1_500)),
        end_time: Some(Timestamp::from_unix_ms(60_000)),
        ..Default::default()
    };
    let output = GetMetricStatisticsOutput {
        datapoints: Some(vec![cloudwatch::Datapoint {
            timestamp: Some(Timestamp::from_unix_ms(60_000)),
            average: Some(2.0),
            ..Default::default()
        }]),
        ..Default::default()
    };
    let protocols = [Protocol::RpcV2Cbor, Protocol::AwsJson10, Protocol::AwsQuery];
    for (call, protocol) in calls.iter().zip(protocols) {
        assert_eq!(call.protocol, protocol);
        assert_eq!(call.decode(), Ok(wanted.clone()), "{protocol:?}");
        let reply = call.reply(&output, "id");
        assert_eq!(reply.headers()["content-type"], protocol.content_type());
        match protocol {
            Protocol::RpcV2Cbor => {
                assert_eq!(reply.headers()["smithy-protocol"], "rpc-v2-cbor");
                let shown: Value = decode(reply.body()).expect("our own CBOR is read");
                assert_eq!(shown["Datapoints"][0]["Timestamp"], json!(60.0));
            }
            Protocol::AwsJson10 => assert_eq!(
                String::from_utf8_lossy(reply.body()),
                r#"{"Datapoints":[{"Average":2.0,"Timestamp":60}]}"#
            ),
            _ => assert!(
                String::from_utf8_lossy(reply.body())
                    .contains("<Average>2.0</Average><Timestamp>1970-01-01T00:01:00Z</Timestamp>")
            ),
        }
    }
}

#[test]
fn errors_of_such_a_service_have_both_of_their_names() {
    let fault = ErrorCode::InvalidParameterValueException.fault("text");
    for protocol in [Protocol::RpcV2Cbor, Protocol::AwsJson10] {
        let reply = fault.render(protocol, Some(&SERVICE), "id");
        assert_eq!(reply.headers()["x-amzn-query-error"], "InvalidParameterValue;Sender");
        let shown: Value = match protocol {
            Protocol::RpcV2Cbor => decode(reply.body()).expect("our own CBOR is read"),
            _ => serde_json::from_slice(reply.body()).expect("our own JSON is read"),
        };
        assert_eq!(shown["__type"], "InvalidParameterValueException");
    }
    // Dashboards have an error of the same code.
    let missing = ErrorCode::ResourceNotFound.fault("text");
    let reply = missing.render(Protocol::AwsJson10, Some(&SERVICE), "id");
    assert_eq!(reply.headers()["x-amzn-errortype"], "ResourceNotFound");
    let reply = fault.render(Protocol::AwsQuery, Some(&SERVICE), "id");
    assert!(String::from_utf8_lossy(reply.body()).contains("<Code>InvalidParameterValue</Code>"));
}

#[test]
fn the_json_services_understand_cbor_as_well() {
    let headers = headers(&[("smithy-protocol", "rpc-v2-cbor")]);
    let path = "/service/Route53AutoNaming_v20170314/operation/GetNamespace";
    let body = encode(&json!({"Id": "ns-1"}));
    let parts = RequestParts { method: "POST", path, query: "", headers: &headers };
    let call = classify(&parts, Some("servicediscovery"), &body).expect("it is known");
    let input: servicediscovery::GetNamespaceRequest = call.decode().expect("it is read");
    assert_eq!(input.id.as_deref(), Some("ns-1"));
    // An empty body stands for a request that sets nothing.
    assert_eq!(decode(b""), Ok(PutMetricDataInput::default()));
}
