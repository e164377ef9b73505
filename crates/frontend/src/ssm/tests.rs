//! The operations through their functions: versions, labels, hierarchies, lists, refusals.

use super::delete::{delete_parameter, delete_parameters};
use super::describe_parameters::describe_parameters;
use super::get::{get_parameter, get_parameter_history, get_parameters, get_parameters_by_path};
use super::labels::{label_parameter_version, unlabel_parameter_version};
use super::put_parameter::put_parameter;
use super::tags::{add_tags_to_resource, list_tags_for_resource, remove_tags_from_resource};
use crate::fault::Fault;
use crate::fixture::Fixture;
use model::secret::ParameterVersion;
use wire::Sensitive;
use wire::ssm::*;

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

async fn put(fixture: &Fixture, input: PutParameterRequest) -> Result<i64, Fault> {
    let put = put_parameter(&fixture.cx, &fixture.caller, input).await?;
    Ok(put.version.expect("a version"))
}

fn plain(name: &str, value: &str) -> PutParameterRequest {
    PutParameterRequest {
        name: some(name),
        value: Some(Sensitive::new(value)),
        r#type: Some("String".into()),
        ..Default::default()
    }
}

fn over(name: &str, value: &str) -> PutParameterRequest {
    PutParameterRequest { overwrite: Some(true), ..plain(name, value) }
}

async fn get(fixture: &Fixture, name: &str) -> Result<Parameter, Fault> {
    let input = GetParameterRequest { name: some(name), with_decryption: Some(true) };
    let got = get_parameter(&fixture.cx, &fixture.caller, input).await?;
    Ok(got.parameter.expect("one"))
}

async fn value(fixture: &Fixture, name: &str) -> Result<String, Fault> {
    let got = get(fixture, name).await?;
    Ok(got.value.map(Sensitive::into_exposed).unwrap_or_default())
}

#[tokio::test]
async fn a_parameter_has_versions_that_are_named_by_number_and_label() {
    let fixture = Fixture::new();
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    assert_eq!(put(&fixture, plain("/app/x", "one")).await, Ok(1));
    let fault = put(&fixture, plain("/app/x", "two")).await.expect_err("there");
    assert_eq!(fault.code, "ParameterAlreadyExists");
    assert_eq!(put(&fixture, over("/app/x", "two")).await, Ok(2));
    let label = |version: Option<i64>, labels: &[&str]| LabelParameterVersionRequest {
        name: some("/app/x"),
        parameter_version: version,
        labels: Some(labels.iter().map(|label| (*label).to_owned()).collect()),
    };
    let labelled = label_parameter_version(cx, caller, label(Some(1), &["live", "1bad"])).await;
    assert_eq!(labelled.expect("labelled").invalid_labels, Some(vec!["1bad".to_owned()]));
    let arn = "arn:aws:ssm:us-east-1:000000000000:parameter/app/x";
    for (name, expected) in [
        ("/app/x", "two"),
        ("/app/x:1", "one"),
        ("/app/x:live", "one"),
        (arn, "two"),
        (&format!("{arn}:1"), "one"),
    ] {
        assert_eq!(value(&fixture, name).await.as_deref(), Ok(expected), "{name}");
    }
    let got = get(&fixture, "/app/x:live").await.expect("got");
    assert_eq!((got.arn.as_deref(), got.selector.as_deref()), (Some(arn), Some(":live")));
    label_parameter_version(cx, caller, label(None, &["live"])).await.expect("moved");
    assert_eq!(value(&fixture, "/app/x:live").await.as_deref(), Ok("two"));
    let input = UnlabelParameterVersionRequest {
        name: some("/app/x"),
        parameter_version: Some(2),
        labels: Some(vec!["live".to_owned(), "other".to_owned()]),
    };
    let unlabelled = unlabel_parameter_version(cx, caller, input).await.expect("unlabelled");
    assert_eq!(unlabelled.removed_labels, Some(vec!["live".to_owned()]));
    assert_eq!(unlabelled.invalid_labels, Some(vec!["other".to_owned()]));
    for (name, code) in [
        ("/app/x:live", "ParameterVersionNotFound"),
        ("/app/x:9", "ParameterVersionNotFound"),
        ("/app/y", "ParameterNotFound"),
        ("arn:aws:ssm:eu-west-1:000000000000:parameter/app/x", "ParameterNotFound"),
    ] {
        assert_eq!(get(&fixture, name).await.expect_err(name).code, code, "{name}");
    }
    let input = GetParameterHistoryRequest {
        name: some("/app/x"),
        max_results: Some(1),
        ..Default::default()
    };
    let first = get_parameter_history(cx, caller, input.clone()).await.expect("listed");
    let input = GetParameterHistoryRequest { next_token: first.next_token, ..input };
    let second = get_parameter_history(cx, caller, input).await.expect("listed");
    assert_eq!(first.parameters.expect("one")[0].version, Some(1));
    assert_eq!(second.parameters.expect("one")[0].version, Some(2));
    assert_eq!(second.next_token, None);
}

#[tokio::test]
async fn a_secure_string_is_shown_only_decrypted_and_every_value_is_sealed() {
    let fixture = Fixture::new();
    let secure =
        PutParameterRequest { r#type: Some("SecureString".into()), ..plain("pw", "s3cret-value") };
    put(&fixture, secure).await.expect("put");
    put(&fixture, plain("open", "s3cret-value")).await.expect("put");
    assert_eq!(value(&fixture, "pw").await.as_deref(), Ok("s3cret-value"));
    let input = GetParameterRequest { name: some("pw"), with_decryption: None };
    let got = get_parameter(&fixture.cx, &fixture.caller, input).await.expect("got");
    let shown = got.parameter.and_then(|it| it.value).expect("a value").into_exposed();
    assert!(!shown.contains("s3cret"), "{shown}");
    let hex: String = "s3cret-value".bytes().map(|byte| format!("{byte:02x}")).collect();
    for (_, version) in fixture.cx.store.snapshot().scan::<ParameterVersion>("") {
        assert!(!version.sealed_value.contains(&hex));
        assert!(!format!("{version:?}").contains("s3cret"));
    }
}

#[tokio::test]
async fn what_parameter_store_refuses_is_refused() {
    let fixture = Fixture::new();
    put(&fixture, plain("there", "x")).await.expect("put");
    let typeless = PutParameterRequest { r#type: None, ..plain("new", "x") };
    let pattern = |value: &str| PutParameterRequest {
        allowed_pattern: some("[0-9]+"),
        ..plain("digits", value)
    };
    let other = PutParameterRequest { r#type: Some("StringList".into()), ..over("there", "a,b") };
    let tags = Some(vec![Tag { key: some("a"), value: some("b") }]);
    for (input, code) in [
        (plain("aws-x", "x"), "ValidationException"),
        (plain("a/b", "x"), "ValidationException"),
        (typeless, "ValidationException"),
        (plain("long", &"x".repeat(4097)), "ValidationException"),
        (pattern("x1"), "ParameterPatternMismatchException"),
        (other, "HierarchyTypeMismatchException"),
        (PutParameterRequest { tags, ..over("there", "x") }, "ValidationException"),
        (
            PutParameterRequest { data_type: some("aws:x"), ..plain("t", "x") },
            "ValidationException",
        ),
        (
            PutParameterRequest { policies: some("[{}]"), ..plain("p", "x") },
            "InvalidPolicyTypeException",
        ),
    ] {
        assert_eq!(put(&fixture, input.clone()).await.expect_err(code).code, code, "{input:?}");
    }
    put(&fixture, pattern("42")).await.expect("a match");
    let long = PutParameterRequest {
        tier: Some("Intelligent-Tiering".into()),
        ..plain("long", &"x".repeat(4097))
    };
    let put = put_parameter(&fixture.cx, &fixture.caller, long).await.expect("put");
    assert_eq!(put.tier, Some(ParameterTier::Advanced));
}

#[tokio::test]
async fn hierarchies_are_walked_page_by_page() {
    let fixture = Fixture::new();
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    for name in ["/a/1", "/a/2", "/a/b/3", "/ab/4", "a"] {
        put(&fixture, plain(name, name)).await.expect("put");
    }
    let walk = async |path: &str, recursive: bool| {
        let mut input = GetParametersByPathRequest {
            path: some(path),
            recursive: Some(recursive),
            max_results: Some(1),
            ..Default::default()
        };
        let mut names = Vec::new();
        loop {
            let page = get_parameters_by_path(cx, caller, input.clone()).await.expect("listed");
            names.extend(page.parameters.expect("a list").into_iter().filter_map(|it| it.name));
            input.next_token = page.next_token;
            if input.next_token.is_none() {
                return names.join(" ");
            }
        }
    };
    assert_eq!(walk("/a", false).await, "/a/1 /a/2");
    assert_eq!(walk("/a/", true).await, "/a/1 /a/2 /a/b/3");
    assert_eq!(walk("/nope", true).await, "");
    assert_eq!(walk("/", true).await.split(' ').count(), 4 + 2, "AWS's own two are below /");
    let input = GetParametersByPathRequest { path: some("a"), ..Default::default() };
    let fault = get_parameters_by_path(cx, caller, input).await.expect_err("no path");
    assert_eq!(fault.code, "ValidationException");
}

#[tokio::test]
async fn parameters_are_described_filtered_deleted_and_tagged() {
    let fixture = Fixture::new();
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let tags = Some(vec![Tag { key: some("env"), value: some("test") }]);
    put(&fixture, PutParameterRequest { tags, ..plain("/a/1", "x") }).await.expect("put");
    put(&fixture, plain("/a/2", "x")).await.expect("put");
    let secure = PutParameterRequest { r#type: Some("SecureString".into()), ..plain("b", "x") };
    put(&fixture, secure).await.expect("put");
    let describe = async |key: &str, option: Option<&str>, value: &str| {
        let filter = ParameterStringFilter {
            key: some(key),
            option: option.map(str::to_owned),
            values: Some(vec![value.to_owned()]),
        };
        let parameter_filters = Some(vec![filter]);
        let input = DescribeParametersRequest { parameter_filters, ..Default::default() };
        let page = describe_parameters(cx, caller, input).await?;
        let names = page.parameters.expect("a list").into_iter().filter_map(|it| it.name);
        Ok::<_, Fault>(names.collect::<Vec<_>>().join(" "))
    };
    for (key, option, value, expected) in [
        ("Name", Some("Contains"), "1", "/a/1"),
        ("Name", Some("BeginsWith"), "a/", "/a/1 /a/2"),
        ("Path", None, "/a", "/a/1 /a/2"),
        ("Type", None, "SecureString", "b"),
        ("KeyId", None, "alias/aws/ssm", "b"),
        ("tag:env", None, "test", "/a/1"),
    ] {
        assert_eq!(describe(key, option, value).await.as_deref(), Ok(expected), "{key}");
    }
    assert_eq!(describe("X", None, "x").await.expect_err("no key").code, "InvalidFilterKey");
    let fault = describe("Type", Some("Contains"), "x").await.expect_err("no option");
    assert_eq!(fault.code, "InvalidFilterOption");
    let (kind, id) = (Some(ResourceTypeForTagging::Parameter), some("/a/1"));
    let input = AddTagsToResourceRequest {
        resource_type: kind.clone(),
        resource_id: id.clone(),
        tags: Some(vec![Tag { key: some("team"), value: some("a") }]),
    };
    add_tags_to_resource(cx, caller, input).await.expect("tagged");
    let input = RemoveTagsFromResourceRequest {
        resource_type: kind.clone(),
        resource_id: id.clone(),
        tag_keys: Some(vec!["env".to_owned()]),
    };
    remove_tags_from_resource(cx, caller, input).await.expect("untagged");
    let input = ListTagsForResourceRequest { resource_type: kind, resource_id: id };
    let listed = list_tags_for_resource(cx, caller, input).await.expect("listed").tag_list;
    assert_eq!(listed, Some(vec![Tag { key: some("team"), value: some("a") }]));
    let names = Some(["/a/1", "/a/2", "nope"].map(str::to_owned).to_vec());
    let got = GetParametersRequest { names: names.clone(), with_decryption: None };
    let got = get_parameters(cx, caller, got).await.expect("got");
    assert_eq!(got.parameters.expect("a list").len(), 2);
    assert_eq!(got.invalid_parameters, Some(vec!["nope".to_owned()]));
    let gone =
        delete_parameters(cx, caller, DeleteParametersRequest { names }).await.expect("gone");
    assert_eq!(gone.deleted_parameters.expect("a list").len(), 2);
    assert_eq!(gone.invalid_parameters, Some(vec!["nope".to_owned()]));
    let input = DeleteParameterRequest { name: some("/a/1") };
    let fault = delete_parameter(cx, caller, input).await.expect_err("gone");
    assert_eq!(fault.code, "ParameterNotFound");
}

#[tokio::test]
async fn the_oldest_of_a_hundred_versions_goes_unless_a_label_holds_it() {
    let fixture = Fixture::new();
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    for n in 1..=101 {
        assert_eq!(put(&fixture, over("x", &n.to_string())).await, Ok(n));
    }
    assert_eq!(get(&fixture, "x:1").await.expect_err("gone").code, "ParameterVersionNotFound");
    let input = LabelParameterVersionRequest {
        name: some("x"),
        parameter_version: Some(2),
        labels: Some(vec!["held".to_owned()]),
    };
    label_parameter_version(cx, caller, input).await.expect("labelled");
    let fault = put(&fixture, over("x", "y")).await.expect_err("held");
    assert_eq!(fault.code, "ParameterMaxVersionLimitExceeded");
}

#[tokio::test]
async fn what_aws_publishes_can_be_read_and_belongs_to_nobody() {
    let fixture = Fixture::new();
    let got = get(&fixture, "/aws/service/aws-for-fluent-bit/stable").await.expect("there");
    assert!(got.value.expect("a value").expose().contains("aws-for-fluent-bit"));
    let arn = "arn:aws:ssm:us-east-1::parameter/aws/service/aws-for-fluent-bit/stable";
    assert_eq!(got.arn.as_deref(), Some(arn));
    assert!(get(&fixture, arn).await.is_ok());
    let all = DescribeParametersRequest::default();
    let all = describe_parameters(&fixture.cx, &fixture.caller, all).await.expect("listed");
    assert_eq!(all.parameters, Some(Vec::new()));
}
