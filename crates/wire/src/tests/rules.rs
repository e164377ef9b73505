//! The models' constraints, told with their places and in AWS's words.

use crate::{Bound, Request, Violation, ecr, ecs, logs, sts};

fn said(violations: &[Violation]) -> Vec<String> {
    violations.iter().map(Violation::to_string).collect()
}

#[test]
fn a_good_request_has_none() {
    let request = ecs::RunTaskRequest {
        task_definition: Some("web".to_owned()),
        launch_type: Some(ecs::LaunchType::Fargate),
        ..Default::default()
    };
    assert_eq!(request.violations(), []);
    assert_eq!(Violation::summary(&request.violations()), None);
    assert_eq!(sts::GetCallerIdentityRequest::default().violations(), []);
}

#[test]
fn places_are_paths() {
    let request = ecs::RunTaskRequest {
        launch_type: Some(ecs::LaunchType::from("MOON")),
        network_configuration: Some(ecs::NetworkConfiguration {
            awsvpc_configuration: Some(ecs::AwsVpcConfiguration::default()),
        }),
        tags: Some(vec![
            ecs::Tag::default(),
            ecs::Tag { key: Some(String::new()), value: Some("v".repeat(257)) },
        ]),
        ..Default::default()
    };
    let violations = request.violations();
    let subnets = "networkConfiguration.awsvpcConfiguration.subnets";
    let places: Vec<(&str, Bound)> =
        violations.iter().map(|found| (found.path.as_str(), found.bound)).collect();
    assert_eq!(
        places,
        [
            ("launchType", Bound::OneOf(&["EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"])),
            (subnets, Bound::Required),
            ("tags[1].key", Bound::MinLength(1)),
            ("tags[1].value", Bound::MaxLength(256)),
            ("taskDefinition", Bound::Required),
        ]
    );
}

#[test]
fn awss_words() {
    let request =
        logs::CreateLogGroupRequest { log_group_name: Some("x".repeat(513)), ..Default::default() };
    let x = "x".repeat(256);
    let wanted = format!(
        "1 validation error detected: Value '{x}' at 'logGroupName' failed to satisfy \
         constraint: Member must have length less than or equal to 512"
    );
    assert_eq!(Violation::summary(&request.violations()), Some(wanted));
    let request = ecr::ListImagesRequest { max_results: Some(1001), ..Default::default() };
    assert_eq!(
        said(&request.violations()),
        [
            "Value '1001' at 'maxResults' failed to satisfy constraint: Member must have value \
             less than or equal to 1000",
            "Value null at 'repositoryName' failed to satisfy constraint: Member must not be null",
        ]
    );
    let summary = Violation::summary(&request.violations()).unwrap();
    assert!(summary.starts_with("2 validation errors detected: "));
}

#[test]
fn elements_and_entries_are_checked() {
    let request = logs::TagLogGroupRequest {
        log_group_name: Some("g".to_owned()),
        tags: Some([(String::new(), "v".repeat(257))].into()),
    };
    let paths: Vec<String> = request.violations().into_iter().map(|v| v.path).collect();
    assert_eq!(paths, ["tags.key", "tags.value"]);
    let request = ecs::DescribeTasksRequest {
        include: Some(vec![ecs::TaskField::Tags, ecs::TaskField::from("ALL")]),
        tasks: Some(Vec::new()),
        ..Default::default()
    };
    let paths: Vec<String> = request.violations().into_iter().map(|v| v.path).collect();
    assert_eq!(paths, ["include[1]"]);
}

#[test]
fn there_is_an_end_to_it() {
    let tag = ecs::Tag { key: Some("k".repeat(129)), value: None };
    let request = ecs::RunTaskRequest {
        task_definition: Some("web".to_owned()),
        tags: Some(vec![tag; 1000]),
        ..Default::default()
    };
    assert_eq!(request.violations().len(), crate::limits::VIOLATIONS_MAX);
}
