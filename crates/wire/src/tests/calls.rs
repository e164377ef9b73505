//! Which operation a request is taken for, and what the replies and refusals look like.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    Call, Fault, NoOutput, Protocol, Request, RequestParts, SERVICES, Timestamp, Unclassified,
    classify, ec2, ecs, logs, seeming, sts,
};

struct Sent {
    method: &'static str,
    path: &'static str,
    query: &'static str,
    headers: HeaderMap,
    scope: Option<&'static str>,
    body: &'static str,
}

impl Sent {
    fn new(
        scope: &'static str,
        headers: &[(&'static str, &'static str)],
        body: &'static str,
    ) -> Sent {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        Sent {
            method: "POST",
            path: "/",
            query: "",
            headers: headers.iter().map(pair).collect(),
            scope: (!scope.is_empty()).then_some(scope),
            body,
        }
    }

    fn parts(&self) -> RequestParts<'_> {
        let Sent { method, path, query, ref headers, .. } = *self;
        RequestParts { method, path, query, headers }
    }

    fn classify(&self) -> Result<Call<'_>, Unclassified> {
        classify(&self.parts(), self.scope, self.body.as_bytes())
    }

    fn named(&self) -> String {
        match self.classify() {
            Ok(call) => format!("{}.{}", call.service.id, call.operation.name),
            Err(refused) => {
                format!("{:?} {}: {}", refused.protocol, refused.fault.code, refused.fault.message)
            }
        }
    }
}

const JSON11: (&str, &str) = ("content-type", "application/x-amz-json-1.1");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");

fn target(scope: &'static str, target: &'static str) -> Sent {
    Sent::new(scope, &[JSON11, ("x-amz-target", target)], "{}")
}

fn form(scope: &'static str, body: &'static str) -> Sent {
    Sent::new(scope, &[FORM], body)
}

#[test]
fn every_operation_is_found_under_its_own_name() {
    let mut count = 0;
    for service in SERVICES {
        assert!(service.operations.is_sorted_by(|a, b| a.name < b.name), "{}", service.id);
        for operation in service.operations {
            assert_eq!(service.operation(operation.name), Some(operation));
            count += 1;
        }
        assert_eq!(service.operation("NoSuchOperation"), None);
    }
    assert_eq!(ecs::SERVICE.operations.len(), 77);
    assert_eq!(ec2::SERVICE.operations.len(), 765);
    // ECS, STS, ECR, Logs, EC2; then Secrets Manager, Systems Manager, Cloud Map, Application Auto
    // Scaling, load balancing and IAM; then Certificate Manager, CloudWatch and EventBridge.
    // Counted in botocore 1.43.11.
    let first = 77 + 11 + 58 + 113 + 765;
    assert_eq!(count, first + 23 + 146 + 30 + 14 + 51 + 176 + 17 + 46 + 57);
}

#[test]
fn json_calls_go_by_target() {
    let run_task = target("ecs", "AmazonEC2ContainerServiceV20141113.RunTask");
    assert_eq!(run_task.named(), "ecs.RunTask");
    assert_eq!(run_task.classify().unwrap().protocol, Protocol::AwsJson11);
    assert_eq!(target("logs", "Logs_20140328.PutLogEvents").named(), "logs.PutLogEvents");
    let ecr = target("ecr", "AmazonEC2ContainerRegistry_V20150921.PutImage");
    assert_eq!(ecr.named(), "ecr.PutImage");
    let unsigned = target("", "AmazonEC2ContainerServiceV20141113.ListClusters");
    assert_eq!(unsigned.named(), "ecs.ListClusters");
    let mut json10 = target("ecs", "AmazonEC2ContainerServiceV20141113.RunTask");
    json10.headers.insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
    assert_eq!(json10.classify().unwrap().protocol, Protocol::AwsJson10);
}

#[test]
fn query_calls_go_by_action() {
    let who = form("sts", "Action=GetCallerIdentity&Version=2011-06-15");
    assert_eq!(who.named(), "sts.GetCallerIdentity");
    assert_eq!(who.classify().unwrap().protocol, Protocol::AwsQuery);
    let vpcs = form("ec2", "Action=DescribeVpcs&Version=2016-11-15");
    assert_eq!(vpcs.named(), "ec2.DescribeVpcs");
    assert_eq!(vpcs.classify().unwrap().protocol, Protocol::Ec2Query);
    // Old clients of EC2 name old versions; a missing version is nobody's loss.
    assert_eq!(form("ec2", "Action=DescribeVpcs&Version=2013-10-15").named(), "ec2.DescribeVpcs");
    assert_eq!(form("sts", "Action=GetCallerIdentity").named(), "sts.GetCallerIdentity");
    // Without a signature the version tells the service.
    assert_eq!(form("", "Action=DescribeVpcs&Version=2016-11-15").named(), "ec2.DescribeVpcs");
    let mut get = Sent::new("sts", &[], "");
    (get.method, get.query) = ("GET", "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Date=x");
    assert_eq!(get.named(), "sts.GetCallerIdentity");
}

#[test]
fn what_is_unknown_gets_its_protocols_refusal() {
    let unknown = "AwsJson11 UnknownOperationException: Unknown operation ";
    for (scope, name) in [
        ("ecs", "AmazonEC2ContainerServiceV20141113.RunTusk"),
        ("ecs", "AmazonEC2ContainerServiceV20141113"),
        ("ecs", "AmazonEC2ContainerServiceV20141113.RunTask.x"),
        ("ecs", "amazonec2containerservicev20141113.RunTask"),
        ("kms", "TrentService.Encrypt"),
        // A signature for one service does not reach another.
        ("logs", "AmazonEC2ContainerServiceV20141113.RunTask"),
        ("ecs", ".DescribeVpcs"),
        ("ecs", ""),
    ] {
        assert_eq!(target(scope, name).named(), format!("{unknown}{name}"));
    }
    let mut get = target("ecs", "AmazonEC2ContainerServiceV20141113.RunTask");
    get.method = "GET";
    assert!(get.named().starts_with(unknown));
    assert_eq!(
        form("sts", "Action=Nothing&Version=2011-06-15").named(),
        "AwsQuery InvalidAction: Could not find operation Nothing for version 2011-06-15"
    );
    assert_eq!(
        form("sts", "Action=GetCallerIdentity&Version=2000-01-01").named(),
        "AwsQuery InvalidAction: Could not find operation GetCallerIdentity for version 2000-01-01"
    );
    assert_eq!(
        form("ec2", "Action=DescribeNothing&Version=2016-11-15").named(),
        "Ec2Query InvalidAction: The action DescribeNothing is not valid for this web service."
    );
    assert!(form("sqs", "Action=SendMessage").named().starts_with("AwsQuery InvalidAction"));
    assert!(form("sts", "Version=2011-06-15").named().starts_with("AwsQuery MissingAction"));
    assert!(form("ecs", "Action=RunTask").named().starts_with("AwsQuery InvalidAction"));
    let mut cbor = Sent::new("monitoring", &[("smithy-protocol", "rpc-v2-cbor")], "");
    cbor.path = "/service/GraniteServiceVersion20100801/operation/PutMetricData";
    assert_eq!(cbor.named(), "cloudwatch.PutMetricData");
    // A signature for one service must not reach another, and the query services have no names.
    cbor.path = "/service/Logs_20140328/operation/PutLogEvents";
    assert!(cbor.named().starts_with("RpcV2Cbor UnknownOperationException: Unknown operation"));
    cbor.path = "/service//operation/CreateVpc";
    assert!(cbor.named().starts_with("RpcV2Cbor UnknownOperationException: Unknown operation"));
}

#[test]
fn a_protocol_is_seen_before_the_body() {
    let seen = |sent: &Sent| {
        let (protocol, service) = seeming(&sent.parts(), sent.scope);
        (protocol, service.map(|service| service.id))
    };
    let run_task = target("", "AmazonEC2ContainerServiceV20141113.RunTask");
    assert_eq!(seen(&run_task), (Protocol::AwsJson11, Some("ecs")));
    assert_eq!(seen(&form("ec2", "")), (Protocol::Ec2Query, Some("ec2")));
    assert_eq!(seen(&form("", "")), (Protocol::AwsQuery, None));
    assert_eq!(seen(&Sent::new("logs", &[JSON11], "")), (Protocol::AwsJson11, Some("logs")));
    assert_eq!(seen(&Sent::new("ecs", &[], "")), (Protocol::AwsJson11, Some("ecs")));
}

#[test]
fn a_call_is_decoded_and_answered() {
    let mut sent = target("ecs", "AmazonEC2ContainerServiceV20141113.ListClusters");
    sent.body = r#"{"maxResults":5}"#;
    let call = sent.classify().unwrap();
    let request: ecs::ListClustersRequest = call.decode().unwrap();
    assert_eq!(request.max_results, Some(5));
    let output = ecs::ListClustersResponse { cluster_arns: Some(Vec::new()), ..Default::default() };
    let reply = call.reply(&output, "id-1");
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.headers()["content-type"], "application/x-amz-json-1.1");
    assert_eq!(reply.headers()["x-amzn-requestid"], "id-1");
    assert_eq!(reply.body(), br#"{"clusterArns":[]}"#);

    sent.body = r#"{"cluster":{}"#;
    let fault = sent.classify().unwrap().decode::<ecs::ListClustersRequest>().unwrap_err();
    assert_eq!((fault.code.as_ref(), fault.status), ("SerializationException", 400));
}

#[test]
fn query_replies_are_wrapped() {
    let sent = form("sts", "Action=GetCallerIdentity&Version=2011-06-15");
    let call = sent.classify().unwrap();
    let _: sts::GetCallerIdentityRequest = call.decode().unwrap();
    let output = sts::GetCallerIdentityResponse {
        user_id: Some("AIDA".to_owned()),
        account: Some("000000000000".to_owned()),
        arn: Some("arn:aws:iam::000000000000:root".to_owned()),
    };
    let reply = call.reply(&output, "id-2");
    assert_eq!(reply.headers()["content-type"], "text/xml;charset=UTF-8");
    assert_eq!(
        String::from_utf8(reply.into_body()).unwrap(),
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <GetCallerIdentityResult><Account>000000000000</Account>\
         <Arn>arn:aws:iam::000000000000:root</Arn><UserId>AIDA</UserId>\
         </GetCallerIdentityResult><ResponseMetadata><RequestId>id-2</RequestId>\
         </ResponseMetadata></GetCallerIdentityResponse>"
    );
}

#[test]
fn ec2_replies_are_wrapped_otherwise() {
    let sent = form("ec2", "Action=DescribeNetworkInterfaces&NetworkInterfaceId.1=eni-1");
    let call = sent.classify().unwrap();
    let request: ec2::DescribeNetworkInterfacesRequest = call.decode().unwrap();
    assert_eq!(request.network_interface_ids.unwrap(), ["eni-1"]);
    let attachment = ec2::NetworkInterfaceAttachment {
        attach_time: Some(Timestamp::from_unix_ms(1_450_293_766_000)),
        ..Default::default()
    };
    let interface = ec2::NetworkInterface { attachment: Some(attachment), ..Default::default() };
    let output = ec2::DescribeNetworkInterfacesResult {
        network_interfaces: Some(vec![interface]),
        ..Default::default()
    };
    let reply = call.reply(&output, "id-3");
    assert_eq!(
        String::from_utf8(reply.into_body()).unwrap(),
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <DescribeNetworkInterfacesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <requestId>id-3</requestId><networkInterfaceSet><item><attachment>\
         <attachTime>2015-12-16T19:22:46.000Z</attachTime></attachment></item>\
         </networkInterfaceSet></DescribeNetworkInterfacesResponse>"
    );
}

#[test]
fn nothing_has_three_spellings() {
    let create = target("logs", "Logs_20140328.CreateLogGroup");
    let call = create.classify().unwrap();
    assert_eq!(<logs::CreateLogGroupRequest as Request>::OPERATION, call.operation.name);
    assert_eq!(call.reply(&NoOutput, "id").body(), b"");
    let delete = form("ec2", "Action=DeleteVpc");
    let body = delete.classify().unwrap().reply(&NoOutput, "id").into_body();
    assert!(String::from_utf8(body).unwrap().contains("<return>true</return>"));
    let query = form("sts", "Action=AssumeRole");
    let body = query.classify().unwrap().reply(&NoOutput, "id").into_body();
    assert!(String::from_utf8(body).unwrap().contains("><ResponseMetadata>"));
}

#[test]
fn faults_speak_every_protocol() {
    let render = |fault: &Fault, protocol, service| {
        let reply = fault.render(protocol, service, "id-4");
        assert_eq!(reply.headers()["x-amzn-requestid"], "id-4");
        (reply.status().as_u16(), String::from_utf8_lossy(reply.body()).into_owned(), reply)
    };
    let fault = ecs::ErrorCode::ConflictException
        .fault("The \"token\" is taken.")
        .with("resourceIds", vec!["arn:1"]);
    let (status, body, reply) = render(&fault, Protocol::AwsJson11, Some(&ecs::SERVICE));
    assert_eq!(status, 400);
    assert_eq!(reply.headers()["x-amzn-errortype"], "ConflictException");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({"__type": "ConflictException",
            "message": "The \"token\" is taken.", "resourceIds": ["arn:1"]})
    );
    assert_eq!(ecs::ErrorCode::ServerException.status(), 500);

    let fault = sts::ErrorCode::IDPRejectedClaimException.fault("no <claim>");
    let (status, body, _) = render(&fault, Protocol::AwsQuery, Some(&sts::SERVICE));
    assert_eq!(status, 403);
    assert_eq!(
        body,
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error>\
         <Type>Sender</Type><Code>IDPRejectedClaim</Code><Message>no &lt;claim&gt;</Message>\
         </Error><RequestId>id-4</RequestId></ErrorResponse>"
    );

    let fault = Fault::client("InvalidVpcID.NotFound", "The vpc ID 'vpc-1' does not exist");
    let (_, body, _) = render(&fault, Protocol::Ec2Query, Some(&ec2::SERVICE));
    assert_eq!(
        body,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error>\
         <Code>InvalidVpcID.NotFound</Code><Message>The vpc ID 'vpc-1' does not exist</Message>\
         </Error></Errors><RequestID>id-4</RequestID></Response>"
    );

    let fault = Fault::client("ComplexError", "Hi")
        .with("TopLevel", "Top & level")
        .with("Nested", serde_json::json!({"Foo": ["bar", 1, true]}));
    let (_, body, _) = render(&fault, Protocol::Ec2Query, None);
    assert!(body.contains(
        "<Message>Hi</Message><Nested><Foo><member>bar</member><member>1</member>\
         <member>true</member></Foo></Nested><TopLevel>Top &amp; level</TopLevel></Error>"
    ));
    let (_, body, _) = render(&fault, Protocol::AwsQuery, None);
    assert!(body.contains("<TopLevel>Top &amp; level</TopLevel></Error>"));

    let fault = Fault::client("Code", "text");
    let reply = fault.render(Protocol::RpcV2Cbor, None, "id-4");
    assert_eq!(reply.headers()["smithy-protocol"], "rpc-v2-cbor");
    assert_eq!(reply.body(), b"\xa2\x66__type\x64Code\x67message\x64text");
}
