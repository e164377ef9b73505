//! Targets, policies and actions as they are kept and shown; what comes of them is tested where it
//! is decided.

use crate::autoscaling::{actions, policies, tags, targets};
use crate::fixture::Fixture;
use model::metrics::{Alarm, Comparison};
use model::scaling::{ScalableTarget, ScalingPolicy, ScheduledAction};
use model::service::{DeploymentRules, Service, ServiceStatus, ServiceTemplate, WantedDeployment};
use model::{Document, Tags, TaskDefinitionRevision, Timestamp};
use std::sync::Arc;
use wire::application_autoscaling as aas;

async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let mut txn = fixture.cx.store.begin();
    txn.put(service());
    txn.commit().await.expect("committed");
    fixture
}

fn service() -> Service {
    let template = ServiceTemplate {
        family: "web".into(),
        revision: TaskDefinitionRevision(1),
        launch_type: Some("FARGATE".to_owned()),
        strategy: Vec::new(),
        platform_version: "1.4.0".to_owned(),
        network: model::task::NetworkRequest::default(),
        enable_execute_command: false,
        load_balancers: Vec::new(),
        registries: Vec::new(),
        connect: None,
    };
    Service {
        name: "web".into(),
        cluster: "default".into(),
        status: ServiceStatus::Active,
        desired_count: 1,
        wanted: WantedDeployment {
            id: model::DeploymentId::mint(1),
            revision_number: 1,
            template: Arc::new(template),
            asked_at: Timestamp(0),
        },
        rules: DeploymentRules {
            maximum_percent: 200,
            minimum_healthy_percent: 100,
            circuit_breaker: false,
            rollback: false,
            document: Document::default(),
        },
        health_check_grace_period_seconds: None,
        az_rebalancing: false,
        propagate_tags: None,
        enable_managed_tags: false,
        tags: Tags::new(),
        created_at: Timestamp(0),
        created_by: String::new(),
        abort: None,
        client_token: None,
    }
}

fn registration(resource: &str) -> aas::RegisterScalableTargetRequest {
    aas::RegisterScalableTargetRequest {
        service_namespace: super::namespace(),
        scalable_dimension: super::dimension(),
        resource_id: Some(resource.to_owned()),
        min_capacity: Some(1),
        max_capacity: Some(4),
        ..Default::default()
    }
}

fn tracking(name: &str, kind: &str) -> aas::PutScalingPolicyRequest {
    let configuration = aas::TargetTrackingScalingPolicyConfiguration {
        target_value: Some(75.0),
        predefined_metric_specification: Some(aas::PredefinedMetricSpecification {
            predefined_metric_type: Some(kind.into()),
            resource_label: None,
        }),
        ..Default::default()
    };
    aas::PutScalingPolicyRequest {
        policy_name: Some(name.to_owned()),
        policy_type: Some(aas::PolicyType::TargetTrackingScaling),
        service_namespace: super::namespace(),
        scalable_dimension: super::dimension(),
        resource_id: Some("service/default/web".to_owned()),
        target_tracking_scaling_policy_configuration: Some(configuration),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_target_is_registered_changed_and_taken_away_with_all_it_has() {
    let Fixture { cx, caller, .. } = &fixture().await;
    let mut wanted = registration("service/default/web");
    wanted.tags = Some([("a".to_owned(), "b".to_owned())].into());
    let made = targets::register(cx, caller, wanted).await.expect("registered");
    let arn = made.scalable_target_arn.expect("an ARN");
    assert!(arn.starts_with("arn:aws:application-autoscaling:us-east-1:000000000000:scalable-"));
    let mut change = registration("service/default/web");
    (change.min_capacity, change.max_capacity) = (None, Some(9));
    let changed = targets::register(cx, caller, change).await.expect("changed");
    assert_eq!(changed.scalable_target_arn.as_ref(), Some(&arn));
    let asked = aas::ListTagsForResourceRequest { resource_arn: Some(arn) };
    let listed = tags::list(cx, caller, asked).await.expect("listed").tags.expect("tags");
    assert_eq!(listed.get("a").map(String::as_str), Some("b"));
    let put = policies::put(cx, caller, tracking("cpu", "ECSServiceAverageCPUUtilization")).await;
    assert_eq!(put.expect("put").alarms.expect("alarms").len(), 2);
    let action = aas::PutScheduledActionRequest {
        service_namespace: super::namespace(),
        scalable_dimension: super::dimension(),
        resource_id: Some("service/default/web".to_owned()),
        scheduled_action_name: Some("night".to_owned()),
        schedule: Some("cron(0 22 * * ? *)".to_owned()),
        scalable_target_action: Some(aas::ScalableTargetAction {
            min_capacity: Some(0),
            max_capacity: Some(0),
        }),
        ..Default::default()
    };
    actions::put(cx, caller, action).await.expect("put");
    let shown = targets::describe(
        cx,
        caller,
        aas::DescribeScalableTargetsRequest {
            service_namespace: super::namespace(),
            ..Default::default()
        },
    );
    let shown = shown.await.expect("shown").scalable_targets.expect("targets");
    assert_eq!((shown[0].min_capacity, shown[0].max_capacity), (Some(1), Some(9)));
    let gone = aas::DeregisterScalableTargetRequest {
        service_namespace: super::namespace(),
        scalable_dimension: super::dimension(),
        resource_id: Some("service/default/web".to_owned()),
    };
    targets::deregister(cx, caller, gone.clone()).await.expect("deregistered");
    let snapshot = cx.store.snapshot();
    assert_eq!(snapshot.count::<ScalableTarget>(""), 0);
    assert_eq!(snapshot.count::<ScalingPolicy>(""), 0);
    assert_eq!(snapshot.count::<ScheduledAction>(""), 0);
    assert_eq!(snapshot.count::<Alarm>(""), 0);
    let again = targets::deregister(cx, caller, gone).await.expect_err("it is gone");
    assert_eq!(again.code, "ObjectNotFoundException");
}

#[tokio::test]
async fn what_cannot_be_scaled_is_refused_in_awss_words() {
    let Fixture { cx, caller, .. } = &fixture().await;
    let refused = targets::register(cx, caller, registration("service/default/other")).await;
    let text = refused.expect_err("there is no such service").message;
    assert_eq!(text, "ECS service doesn't exist: service/default/other");
    let mut foreign = registration("table/orders");
    foreign.service_namespace = Some("dynamodb".into());
    let refused = targets::register(cx, caller, foreign).await.expect_err("not ours");
    let text = "Unsupported service namespace, resource type or scalable dimension";
    assert_eq!((&*refused.code, refused.message.as_str()), ("ValidationException", text));
    let early = policies::put(cx, caller, tracking("cpu", "ECSServiceAverageCPUUtilization"));
    assert_eq!(
        early.await.expect_err("there is no target").message,
        "No scalable target registered for service namespace: ecs, resource ID: \
         service/default/web, scalable dimension: ecs:service:DesiredCount"
    );
    let mut upside_down = registration("service/default/web");
    upside_down.min_capacity = Some(5);
    let refused = targets::register(cx, caller, upside_down).await.expect_err("min above max");
    assert_eq!(refused.message, "Maximum capacity cannot be less than minimum capacity");
}

#[tokio::test]
async fn tracking_makes_its_alarms_as_aws_does() {
    let Fixture { cx, caller, .. } = &fixture().await;
    targets::register(cx, caller, registration("service/default/web")).await.expect("registered");
    let put = tracking("cpu", "ECSServiceAverageCPUUtilization");
    let made = policies::put(cx, caller, put).await.expect("put");
    let snapshot = cx.store.snapshot();
    let alarms: Vec<_> = snapshot.scan::<Alarm>("").map(|(_, alarm)| alarm).collect();
    let (high, low) = (&alarms[0], &alarms[1]);
    assert!(high.name.starts_with("TargetTracking-service/default/web-AlarmHigh-"));
    assert!(low.name.starts_with("TargetTracking-service/default/web-AlarmLow-"));
    let rule = |alarm: &Alarm| (alarm.comparison, alarm.threshold, alarm.evaluation_periods);
    assert_eq!(rule(high), (Comparison::Above, 75.0, 3));
    assert_eq!(rule(low), (Comparison::Below, 67.5, 15));
    assert_eq!(high.alarm_actions, [made.policy_arn.expect("an ARN")]);
    let second = policies::put(cx, caller, tracking("two", "ECSServiceAverageCPUUtilization"));
    let text = "Only one TargetTrackingScaling policy for a given metric specification is allowed.";
    assert_eq!(second.await.expect_err("one is enough").message, text);
    // Put again without scaling in, it has one alarm left.
    let mut only_out = tracking("cpu", "ECSServiceAverageCPUUtilization");
    if let Some(given) = &mut only_out.target_tracking_scaling_policy_configuration {
        given.disable_scale_in = Some(true);
    }
    policies::put(cx, caller, only_out).await.expect("changed");
    assert_eq!(cx.store.snapshot().count::<Alarm>(""), 1);
}
