//! Load balancing as clients see it, through the operations' functions.

use super::{
    attributes, certificates, create_load_balancer, create_target_group, listeners, load_balancers,
    rules, tags, target_groups, target_health, targets,
};
use crate::ec2::ensure_default_network;
use crate::fault::Fault;
use crate::fixture::Fixture;
use model::balancing::{Listener, LoadBalancer, Rule, Target};
use model::network::{AddressPool, NetworkInterface, PublicPool, Subnet};
use store::Record;
use store::kinds::PUBLIC_POOL_KEY;
use wire::elbv2::*;

async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let cx = &fixture.cx;
    let made = ensure_default_network(&cx.store, &cx.locality, cx.now(), &*cx.random).await;
    made.expect("made");
    fixture
}

fn subnets(fixture: &Fixture) -> Vec<String> {
    let snapshot = fixture.cx.store.snapshot();
    snapshot.scan::<Subnet>("").map(|(id, _)| id.to_owned()).collect()
}

fn vpc(fixture: &Fixture) -> String {
    let snapshot = fixture.cx.store.snapshot();
    let mut all = snapshot.scan::<Subnet>("").map(|(_, it)| it.vpc.to_string());
    all.next().expect("a subnet")
}

fn all<T: Record>(fixture: &Fixture) -> Vec<std::sync::Arc<T>> {
    fixture.cx.store.snapshot().scan::<T>("").map(|(_, it)| it).collect()
}

fn balancer(fixture: &Fixture, name: &str) -> CreateLoadBalancerInput {
    CreateLoadBalancerInput {
        name: Some(name.to_owned()),
        subnets: Some(subnets(fixture)),
        ..Default::default()
    }
}

async fn make_balancer(fixture: &Fixture, input: CreateLoadBalancerInput) -> Result<String, Fault> {
    let made = create_load_balancer::create(&fixture.cx, &fixture.caller, input).await?;
    let made = made.load_balancers.expect("a list").pop().expect("one");
    Ok(made.load_balancer_arn.expect("an ARN"))
}

async fn make_group(fixture: &Fixture, name: &str) -> String {
    let input = CreateTargetGroupInput {
        name: Some(name.to_owned()),
        target_type: Some(TargetTypeEnum::Ip),
        protocol: Some(ProtocolEnum::Http),
        port: Some(80),
        vpc_id: Some(vpc(fixture)),
        ..Default::default()
    };
    let made = create_target_group::create(&fixture.cx, &fixture.caller, input).await;
    let made = made.expect("made").target_groups.expect("a list").pop().expect("one");
    made.target_group_arn.expect("an ARN")
}

fn forward(group: &str) -> Vec<Action> {
    vec![Action {
        r#type: Some(ActionTypeEnum::Forward),
        target_group_arn: Some(group.to_owned()),
        ..Default::default()
    }]
}

fn fixed(status: &str) -> Vec<Action> {
    vec![Action {
        r#type: Some(ActionTypeEnum::FixedResponse),
        fixed_response_config: Some(FixedResponseActionConfig {
            status_code: Some(status.to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    }]
}

async fn make_listener(
    fixture: &Fixture,
    balancer: &str,
    port: i32,
    actions: Vec<Action>,
) -> Result<String, Fault> {
    let input = CreateListenerInput {
        load_balancer_arn: Some(balancer.to_owned()),
        protocol: Some(ProtocolEnum::Http),
        port: Some(port),
        default_actions: Some(actions),
        ..Default::default()
    };
    let made = listeners::create(&fixture.cx, &fixture.caller, input).await?;
    let made = made.listeners.expect("a list").pop().expect("one");
    Ok(made.listener_arn.expect("an ARN"))
}

fn rule(listener: &str, priority: i32, path: &str, actions: Vec<Action>) -> CreateRuleInput {
    CreateRuleInput {
        listener_arn: Some(listener.to_owned()),
        priority: Some(priority),
        conditions: Some(vec![RuleCondition {
            field: Some("path-pattern".to_owned()),
            values: Some(vec![path.to_owned()]),
            ..Default::default()
        }]),
        actions: Some(actions),
        ..Default::default()
    }
}

fn code<T>(result: Result<T, Fault>) -> String {
    result.err().map(|fault| fault.code.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn a_load_balancer_has_interfaces_while_it_is_there() {
    let fixture = fixture().await;
    let arn = make_balancer(&fixture, balancer(&fixture, "web")).await.expect("made");
    assert!(arn.contains(":loadbalancer/app/web/"), "{arn}");
    let interfaces = all::<NetworkInterface>(&fixture);
    assert_eq!(interfaces.len(), 3);
    for interface in &interfaces {
        let path = arn.split_once("loadbalancer/").expect("an ARN").1;
        assert_eq!(interface.description, format!("ELB {path}"));
        assert_eq!(interface.requester.as_deref(), Some("amazon-elb"));
        assert!(interface.public.is_some() && interface.security_groups.len() == 1);
    }
    let again = make_balancer(&fixture, balancer(&fixture, "web")).await.expect("the same");
    assert_eq!(again, arn);
    let other = CreateLoadBalancerInput {
        scheme: Some(LoadBalancerSchemeEnum::Internal),
        ..balancer(&fixture, "web")
    };
    assert_eq!(code(make_balancer(&fixture, other).await), "DuplicateLoadBalancerName");
    let delete = || DeleteLoadBalancerInput { load_balancer_arn: Some(arn.clone()) };
    for _ in 0..2 {
        let gone = load_balancers::delete(&fixture.cx, &fixture.caller, delete()).await;
        gone.expect("gone, or gone already");
    }
    assert!(all::<NetworkInterface>(&fixture).is_empty());
    assert!(all::<AddressPool>(&fixture).iter().all(|pool| pool.taken.is_empty()));
    let snapshot = fixture.cx.store.snapshot();
    let public = snapshot.get::<PublicPool>(PUBLIC_POOL_KEY).expect("a pool");
    assert!(public.taken.is_empty());
}

#[tokio::test]
async fn where_a_load_balancer_can_not_stand_it_is_not_made() {
    let fixture = fixture().await;
    let named = |name: &str| balancer(&fixture, name);
    let one = || Some(subnets(&fixture)[..1].to_vec());
    let cases = [
        (CreateLoadBalancerInput { subnets: one(), ..named("a") }, "ValidationError"),
        (CreateLoadBalancerInput { subnets: None, ..named("a") }, "ValidationError"),
        (named("-a"), "ValidationError"),
        (named("internal-a"), "ValidationError"),
        (named(&"a".repeat(33)), "ValidationError"),
        (
            CreateLoadBalancerInput {
                subnets: Some(vec!["subnet-0".to_owned(), subnets(&fixture)[0].clone()]),
                ..named("a")
            },
            "SubnetNotFound",
        ),
        (
            CreateLoadBalancerInput {
                security_groups: Some(vec!["sg-0".to_owned()]),
                ..named("a")
            },
            "InvalidConfigurationRequest",
        ),
        (
            CreateLoadBalancerInput { r#type: Some(LoadBalancerTypeEnum::Gateway), ..named("a") },
            "ValidationError",
        ),
    ];
    for (input, expected) in cases {
        let asked = format!("{input:?}");
        assert_eq!(code(make_balancer(&fixture, input).await), expected, "{asked}");
    }
    assert!(all::<NetworkInterface>(&fixture).is_empty());
    let network = CreateLoadBalancerInput {
        r#type: Some(LoadBalancerTypeEnum::Network),
        subnets: one(),
        ..named("n")
    };
    let arn = make_balancer(&fixture, network).await.expect("one zone is enough");
    assert!(arn.contains("loadbalancer/net/n/"), "{arn}");
}

#[tokio::test]
async fn a_group_belongs_to_one_load_balancer_and_stays_while_it_is_used() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let first = make_balancer(&fixture, balancer(&fixture, "first")).await.expect("made");
    let second = make_balancer(&fixture, balancer(&fixture, "second")).await.expect("made");
    let group = make_group(&fixture, "web").await;
    assert_eq!(make_group(&fixture, "web").await, group, "the same again is the same");
    let listener = make_listener(&fixture, &first, 80, forward(&group)).await.expect("made");
    let again = make_listener(&fixture, &first, 80, forward(&group)).await.expect("the same");
    assert_eq!(again, listener);
    assert_eq!(code(make_listener(&fixture, &first, 80, fixed("404")).await), "DuplicateListener");
    assert_eq!(
        code(make_listener(&fixture, &second, 80, forward(&group)).await),
        "TargetGroupAssociationLimit"
    );
    let delete = || DeleteTargetGroupInput { target_group_arn: Some(group.clone()) };
    assert_eq!(code(target_groups::delete(cx, caller, delete()).await), "ResourceInUse");
    let shown = target_groups::describe(cx, caller, Default::default()).await.expect("found");
    let shown = shown.target_groups.expect("a list").pop().expect("one");
    assert_eq!(shown.load_balancer_arns, Some(vec![first.clone()]));
    let input = DeleteListenerInput { listener_arn: Some(listener) };
    listeners::delete(cx, caller, input).await.expect("gone");
    target_groups::delete(cx, caller, delete()).await.expect("gone");
    target_groups::delete(cx, caller, delete()).await.expect("gone already");
}

#[tokio::test]
async fn rules_have_priorities_of_their_own_and_go_with_their_load_balancer() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let arn = make_balancer(&fixture, balancer(&fixture, "web")).await.expect("made");
    let listener = make_listener(&fixture, &arn, 80, fixed("404")).await.expect("made");
    let mut made = Vec::new();
    for priority in 1..=100 {
        let input = rule(&listener, priority, "/a", fixed("200"));
        let rule = rules::create(cx, caller, input).await.expect("made").rules.expect("a list");
        made.push(rule[0].rule_arn.clone());
    }
    let more = rules::create(cx, caller, rule(&listener, 101, "/a", fixed("200"))).await;
    assert_eq!(code(more), "TooManyRules");
    let taken = rules::create(cx, caller, rule(&listener, 7, "/a", fixed("200"))).await;
    assert_eq!(code(taken), "PriorityInUse");
    let pair = |at: usize, priority| RulePriorityPair {
        rule_arn: made[at].clone(),
        priority: Some(priority),
    };
    let set = |pairs| SetRulePrioritiesInput { rule_priorities: Some(pairs) };
    rules::set_priorities(cx, caller, set(vec![pair(0, 2), pair(1, 1)])).await.expect("swapped");
    let taken = rules::set_priorities(cx, caller, set(vec![pair(0, 3)])).await;
    assert_eq!(code(taken), "PriorityInUse");
    let input = DescribeRulesInput { listener_arn: Some(listener.clone()), ..Default::default() };
    let shown = rules::describe(cx, caller, input).await.expect("found").rules.expect("a list");
    assert_eq!(shown.len(), 101);
    assert_eq!((&shown[0].rule_arn, &shown[1].rule_arn), (&made[1], &made[0]));
    assert_eq!(shown[100].priority.as_deref(), Some("default"));
    let input = DeleteRuleInput { rule_arn: shown[100].rule_arn.clone() };
    assert_eq!(code(rules::delete(cx, caller, input).await), "OperationNotPermitted");
    for port in 81..=110 {
        make_listener(&fixture, &arn, port, fixed("404")).await.expect("made");
    }
    let input = DeleteLoadBalancerInput { load_balancer_arn: Some(arn) };
    load_balancers::delete(cx, caller, input).await.expect("more than one transaction takes");
    assert!(all::<Rule>(&fixture).is_empty() && all::<Listener>(&fixture).is_empty());
    assert!(all::<LoadBalancer>(&fixture).is_empty());
}

#[tokio::test]
async fn targets_are_registered_shown_and_let_go() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let arn = make_balancer(&fixture, balancer(&fixture, "web")).await.expect("made");
    let group = make_group(&fixture, "web").await;
    let targets = |ids: &[&str]| {
        let one =
            |id: &&str| TargetDescription { id: Some((*id).to_owned()), ..Default::default() };
        Some(ids.iter().map(one).collect::<Vec<_>>())
    };
    let register = |ids: &[&str]| RegisterTargetsInput {
        target_group_arn: Some(group.clone()),
        targets: targets(ids),
    };
    for bad in ["i-0123", "10.0.0.1", "8.8.8.8", "nonsense"] {
        let refused = targets::register(cx, caller, register(&["172.31.0.9", bad])).await;
        assert_eq!(code(refused), "ValidationError", "{bad}");
    }
    assert!(all::<Target>(&fixture).is_empty(), "none of a call that is refused");
    targets::register(cx, caller, register(&["172.31.0.9", "172.31.0.10"])).await.expect("done");
    let states = async || {
        let input = DescribeTargetHealthInput {
            target_group_arn: Some(group.clone()),
            targets: targets(&["172.31.0.9", "172.31.0.10", "172.31.0.11"]),
            ..Default::default()
        };
        let shown = target_health::describe(cx, caller, input).await.expect("found");
        let shown = shown.target_health_descriptions.expect("a list");
        let reason = |it: TargetHealthDescription| {
            it.target_health.and_then(|it| it.reason).map(|it| it.as_str().to_owned())
        };
        shown.into_iter().filter_map(reason).collect::<Vec<_>>()
    };
    let (unused, unknown) = ("Target.NotInUse", "Target.NotRegistered");
    assert_eq!(states().await, [unused, unused, unknown]);
    make_listener(&fixture, &arn, 80, forward(&group)).await.expect("made");
    let registering = "Elb.RegistrationInProgress";
    assert_eq!(states().await, [registering, registering, unknown]);
    let deregister = DeregisterTargetsInput {
        target_group_arn: Some(group.clone()),
        targets: targets(&["172.31.0.9", "172.31.0.99"]),
    };
    targets::deregister(cx, caller, deregister).await.expect("also what is not there");
    let draining = "Target.DeregistrationInProgress";
    assert_eq!(states().await, [draining, registering, unknown]);
    targets::register(cx, caller, register(&["172.31.0.9"])).await.expect("once more");
    assert_eq!(states().await, [registering, registering, unknown]);
}

#[tokio::test]
async fn attributes_have_defaults_and_bounds() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let arn = make_balancer(&fixture, balancer(&fixture, "web")).await.expect("made");
    let set = |key: &str, value: &str| ModifyLoadBalancerAttributesInput {
        load_balancer_arn: Some(arn.clone()),
        attributes: Some(vec![LoadBalancerAttribute {
            key: Some(key.to_owned()),
            value: Some(value.to_owned()),
        }]),
    };
    for (key, value, expected) in [
        ("idle_timeout.timeout_seconds", "5", ""),
        ("idle_timeout.timeout_seconds", "0", "ValidationError"),
        ("idle_timeout.timeout_seconds", "x", "ValidationError"),
        ("routing.http2.enabled", "maybe", "ValidationError"),
        ("load_balancing.cross_zone.enabled", "false", "ValidationError"),
        ("load_balancing.cross_zone.enabled", "true", ""),
        ("no.such.key", "1", "ValidationError"),
        ("access_logs.s3.enabled", "true", "InvalidConfigurationRequest"),
        ("deletion_protection.enabled", "true", ""),
    ] {
        let done = attributes::modify_of_load_balancer(cx, caller, set(key, value)).await;
        assert_eq!(code(done), expected, "{key}={value}");
    }
    let input = DescribeLoadBalancerAttributesInput { load_balancer_arn: Some(arn.clone()) };
    let shown = attributes::describe_of_load_balancer(cx, caller, input).await.expect("found");
    let shown = shown.attributes.expect("a list");
    let value = |key: &str| {
        let found = shown.iter().find(|it| it.key.as_deref() == Some(key));
        found.and_then(|it| it.value.clone()).unwrap_or_default()
    };
    assert_eq!(value("idle_timeout.timeout_seconds"), "5");
    assert_eq!(value("client_keep_alive.seconds"), "3600");
    let delete = || DeleteLoadBalancerInput { load_balancer_arn: Some(arn.clone()) };
    let refused = load_balancers::delete(cx, caller, delete()).await;
    assert_eq!(code(refused), "OperationNotPermitted");
    let off = set("deletion_protection.enabled", "false");
    attributes::modify_of_load_balancer(cx, caller, off).await.expect("off");
    load_balancers::delete(cx, caller, delete()).await.expect("gone");
}

#[tokio::test]
async fn headers_of_listeners_hold_what_a_head_may() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let arn = make_balancer(&fixture, balancer(&fixture, "web")).await.expect("made");
    let listener = make_listener(&fixture, &arn, 80, fixed("200")).await.expect("made");
    let set = |key: &str, value: &str| ModifyListenerAttributesInput {
        listener_arn: Some(listener.clone()),
        attributes: Some(vec![ListenerAttribute {
            key: Some(format!("routing.http.{key}")),
            value: Some(value.to_owned()),
        }]),
    };
    for (key, value, expected) in [
        ("response.server.enabled", "no", "ValidationError"),
        ("response.x_frame_options.header_value", "DENY", ""),
        ("response.x_frame_options.header_value", "", ""),
        ("response.content_security_policy.header_value", "default-src 'self'; img-src *", ""),
        ("response.content_security_policy.header_value", "a\r\nB: c", "ValidationError"),
        ("response.content_security_policy.header_value", "\"", "ValidationError"),
        ("response.access_control_max_age.header_value", &"1".repeat(1025), "ValidationError"),
        // What only listeners of HTTPS have.
        ("response.strict_transport_security.header_value", "max-age=1", "ValidationError"),
        ("request.x_amzn_tls_version.header_name", "X-Tls", "ValidationError"),
    ] {
        let done = attributes::modify_of_listener(cx, caller, set(key, value)).await;
        assert_eq!(code(done), expected, "{key}={value}");
    }
    let input = DescribeListenerAttributesInput { listener_arn: Some(listener) };
    let shown = attributes::describe_of_listener(cx, caller, input).await.expect("found");
    let shown = shown.attributes.expect("a list").into_iter();
    let given = shown.filter(|it| it.value.as_deref().is_some_and(|it| !it.is_empty()));
    let given: Vec<_> = given.map(|it| it.key.unwrap_or_default()).collect();
    assert_eq!(
        given,
        [
            "routing.http.response.content_security_policy.header_value",
            "routing.http.response.server.enabled"
        ]
    );
}

#[tokio::test]
async fn a_stickiness_that_is_off_keeps_its_seconds() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let arn = make_balancer(&fixture, balancer(&fixture, "web")).await.expect("made");
    let group = make_group(&fixture, "blue").await;
    let action = |enabled, duration_seconds| {
        let mut actions = forward(&group);
        actions[0].forward_config = Some(ForwardActionConfig {
            target_groups: None,
            target_group_stickiness_config: Some(TargetGroupStickinessConfig {
                enabled,
                duration_seconds,
            }),
        });
        actions
    };
    for (port, enabled, seconds, expected) in [
        (80, Some(false), Some(300), ""),
        (81, Some(true), Some(300), ""),
        (82, Some(false), None, ""),
        (83, None, Some(300), ""),
        (84, Some(true), None, "ValidationError"),
        (84, Some(false), Some(0), "ValidationError"),
    ] {
        let made = make_listener(&fixture, &arn, port, action(enabled, seconds)).await;
        if !expected.is_empty() {
            assert_eq!(code(made), expected, "{enabled:?} {seconds:?}");
            continue;
        }
        let input = DescribeListenersInput {
            listener_arns: Some(vec![made.expect("made")]),
            ..Default::default()
        };
        let shown = listeners::describe(cx, caller, input).await.expect("found");
        let shown = shown.listeners.expect("a list").remove(0).default_actions.expect("a list");
        let config = shown[0].forward_config.clone().expect("it forwards");
        let sticky = config.target_group_stickiness_config.expect("it is told");
        let on = Some(enabled == Some(true));
        assert_eq!((sticky.enabled, sticky.duration_seconds), (on, seconds), "{port}");
    }
}

#[tokio::test]
async fn a_listener_of_https_needs_a_certificate_that_is_there() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let arn = make_balancer(&fixture, balancer(&fixture, "web")).await.expect("made");
    let input = |certificates: Option<Vec<Certificate>>| CreateListenerInput {
        load_balancer_arn: Some(arn.clone()),
        protocol: Some(ProtocolEnum::Https),
        port: Some(443),
        certificates,
        default_actions: Some(fixed("200")),
        ..Default::default()
    };
    let one = |arn: &str| Certificate { certificate_arn: Some(arn.to_owned()), is_default: None };
    assert_eq!(code(listeners::create(cx, caller, input(None)).await), "ValidationError");
    let unknown = Some(vec![one("arn:aws:acm:us-east-1:000000000000:certificate/0")]);
    assert_eq!(code(listeners::create(cx, caller, input(unknown)).await), "CertificateNotFound");
    let listener = make_listener(&fixture, &arn, 80, fixed("200")).await.expect("made");
    let more = AddListenerCertificatesInput {
        listener_arn: Some(listener.clone()),
        certificates: Some(vec![one("arn:aws:acm:us-east-1:000000000000:certificate/0")]),
    };
    assert_eq!(code(certificates::add(cx, caller, more).await), "ValidationError");
    let tag = AddTagsInput {
        resource_arns: Some(vec![listener.clone(), arn.clone()]),
        tags: Some(vec![Tag { key: Some("a".to_owned()), value: Some("b".to_owned()) }]),
    };
    tags::add(cx, caller, tag).await.expect("tagged");
    let shown = DescribeTagsInput { resource_arns: Some(vec![listener]) };
    let shown = tags::describe(cx, caller, shown).await.expect("found");
    let shown = shown.tag_descriptions.expect("a list").pop().expect("one");
    assert_eq!(shown.tags.expect("a list").len(), 1);
}
