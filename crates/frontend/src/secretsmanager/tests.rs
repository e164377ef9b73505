//! The operations through their functions: versions, labels, repetitions, names, deletion.

use super::change::{put_secret_value, update_secret, update_secret_version_stage};
use super::create_secret::create_secret;
use super::delete::{delete_secret, restore_secret};
use super::describe::{describe_secret, list_secrets};
use super::random_password::get_random_password;
use super::resource_policy::{delete_resource_policy, get_resource_policy, put_resource_policy};
use super::tags::{tag_resource, untag_resource};
use super::values::{batch_get_secret_value, get_secret_value, list_secret_version_ids};
use crate::fault::Fault;
use crate::fixture::Fixture;
use model::secret::SecretVersion;
use store::kinds::secret_version_key;
use wire::secretsmanager::*;
use wire::{Blob, Sensitive};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// A token as SDKs make them, told apart by a number.
fn token(n: u32) -> Option<String> {
    Some(format!("00000000-0000-4000-8000-{n:012}"))
}

async fn create(
    fixture: &Fixture,
    name: &str,
    value: &str,
    n: u32,
) -> Result<CreateSecretResponse, Fault> {
    let input = CreateSecretRequest {
        name: some(name),
        secret_string: Some(Sensitive::new(value)),
        client_request_token: token(n),
        ..Default::default()
    };
    create_secret(&fixture.cx, &fixture.caller, input).await
}

async fn put(
    fixture: &Fixture,
    id: &str,
    value: &str,
    n: u32,
    stages: Option<&[&str]>,
) -> Result<Vec<String>, Fault> {
    let stages = stages.map(|all| all.iter().map(|stage| (*stage).to_owned()).collect());
    let input = PutSecretValueRequest {
        secret_id: some(id),
        secret_string: Some(Sensitive::new(value)),
        client_request_token: token(n),
        version_stages: stages,
        ..Default::default()
    };
    let put = put_secret_value(&fixture.cx, &fixture.caller, input).await?;
    Ok(put.version_stages.unwrap_or_default())
}

/// The value, and the version's number.
async fn get(fixture: &Fixture, id: &str, stage: Option<&str>) -> Result<String, Fault> {
    let input = GetSecretValueRequest {
        secret_id: some(id),
        version_stage: stage.map(str::to_owned),
        version_id: None,
    };
    let got = get_secret_value(&fixture.cx, &fixture.caller, input).await?;
    Ok(got.secret_string.map(Sensitive::into_exposed).unwrap_or_default())
}

#[tokio::test]
async fn a_secret_is_found_by_name_arn_and_partial_arn() {
    let fixture = Fixture::new();
    let made = create(&fixture, "prod/db", "s3cret", 1).await.expect("made");
    let arn = made.arn.expect("an ARN");
    let partial = "arn:aws:secretsmanager:us-east-1:000000000000:secret:prod/db";
    assert_eq!(arn.len(), partial.len() + 7);
    for id in ["prod/db", arn.as_str(), partial] {
        assert_eq!(get(&fixture, id, None).await.as_deref(), Ok("s3cret"), "{id}");
    }
    let other = format!("{partial}-ZZZZZZ");
    for id in ["prod", "nope", &other, &arn.replace("us-east-1", "eu-west-1")] {
        let fault = get(&fixture, id, None).await.expect_err(id);
        assert_eq!(fault.code, "ResourceNotFoundException");
        assert_eq!(fault.message, "Secrets Manager can't find the specified secret.");
    }
    // One whose own name ends like an ARN, as the user guide warns.
    create(&fixture, "app-abcdef", "other", 2).await.expect("made");
    assert_eq!(get(&fixture, "app-abcdef", None).await.as_deref(), Ok("other"));
    let like_an_arn = partial.replace("prod/db", "app-abcdef");
    assert_eq!(get(&fixture, &like_an_arn, None).await.as_deref(), Ok("other"));
}

#[tokio::test]
async fn values_are_sealed_and_in_no_debug_text() {
    let fixture = Fixture::new();
    create(&fixture, "db", "s3cret-value", 1).await.expect("made");
    let key = secret_version_key("db", &token(1).expect("a token"));
    let stored = fixture.cx.store.snapshot().get::<SecretVersion>(&key).expect("stored").value;
    let hex: String = "s3cret-value".bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(!stored.sealed_value.contains(&hex));
    assert!(!format!("{stored:?}").contains("s3cret-value"));
    let input = GetSecretValueRequest { secret_id: some("db"), ..Default::default() };
    let got = get_secret_value(&fixture.cx, &fixture.caller, input).await.expect("got");
    assert!(!format!("{got:?}").contains("s3cret-value"));
}

#[tokio::test]
async fn labels_follow_the_versions() {
    let fixture = Fixture::new();
    create(&fixture, "db", "one", 1).await.expect("made");
    let fault = get(&fixture, "db", Some("AWSPREVIOUS")).await.expect_err("none yet");
    let text = "Secrets Manager can't find the specified secret value for staging label: \
                AWSPREVIOUS";
    assert_eq!(fault.message, text);
    assert_eq!(put(&fixture, "db", "two", 2, None).await, Ok(vec!["AWSCURRENT".to_owned()]));
    let stages = put(&fixture, "db", "three", 3, Some(&["AWSPENDING"])).await;
    assert_eq!(stages, Ok(vec!["AWSPENDING".to_owned()]));
    for (stage, value) in
        [(None, "two"), (Some("AWSPREVIOUS"), "one"), (Some("AWSPENDING"), "three")]
    {
        assert_eq!(get(&fixture, "db", stage).await.as_deref(), Ok(value));
    }
    let shift = |from: Option<u32>, to: Option<u32>| UpdateSecretVersionStageRequest {
        secret_id: some("db"),
        version_stage: some("AWSCURRENT"),
        remove_from_version_id: from.and_then(token),
        move_to_version_id: to.and_then(token),
    };
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    for (from, to) in [(None, Some(3)), (Some(1), Some(3)), (Some(2), None)] {
        let fault = update_secret_version_stage(cx, caller, shift(from, to)).await;
        assert_eq!(fault.expect_err("refused").code, "InvalidParameterException");
    }
    let missing = update_secret_version_stage(cx, caller, shift(Some(2), Some(9))).await;
    assert_eq!(missing.expect_err("no such version").code, "ResourceNotFoundException");
    update_secret_version_stage(cx, caller, shift(Some(2), Some(3))).await.expect("moved");
    assert_eq!(get(&fixture, "db", None).await.as_deref(), Ok("three"));
    assert_eq!(get(&fixture, "db", Some("AWSPREVIOUS")).await.as_deref(), Ok("two"));
    let list = |deprecated| ListSecretVersionIdsRequest {
        secret_id: some("db"),
        include_deprecated: Some(deprecated),
        max_results: Some(1),
        next_token: None,
    };
    let mut seen = 0;
    for (deprecated, count) in [(false, 2), (true, 3)] {
        let mut input = list(deprecated);
        let mut pages = 0;
        loop {
            let page = list_secret_version_ids(cx, caller, input.clone()).await.expect("listed");
            pages += page.versions.expect("a list").len();
            input.next_token = page.next_token;
            if input.next_token.is_none() {
                break;
            }
        }
        assert_eq!(pages, count);
        seen += pages;
    }
    assert_eq!(seen, 5);
}

#[tokio::test]
async fn a_repeated_call_changes_nothing_and_another_value_is_refused() {
    let fixture = Fixture::new();
    let made = create(&fixture, "db", "one", 1).await.expect("made");
    let again = create(&fixture, "db", "one", 1).await.expect("repeated");
    assert_eq!((again.arn, again.version_id), (made.arn, made.version_id));
    for (value, n) in [("other", 1), ("one", 2)] {
        let fault = create(&fixture, "db", value, n).await.expect_err("there");
        assert_eq!(fault.code, "ResourceExistsException");
        assert_eq!(fault.message, "The operation failed because the secret db already exists.");
    }
    put(&fixture, "db", "two", 2, None).await.expect("put");
    put(&fixture, "db", "three", 3, None).await.expect("put");
    put(&fixture, "db", "two", 2, None).await.expect("repeated");
    assert_eq!(get(&fixture, "db", None).await.as_deref(), Ok("three"));
    let fault = put(&fixture, "db", "other", 2, None).await.expect_err("another value");
    assert_eq!(fault.code, "ResourceExistsException");
    let input = PutSecretValueRequest {
        secret_id: some("db"),
        secret_string: Some(Sensitive::new("x")),
        ..Default::default()
    };
    let fault = put_secret_value(&fixture.cx, &fixture.caller, input).await;
    assert_eq!(fault.expect_err("no token").code, "InvalidRequestException");
}

#[tokio::test]
async fn a_secret_has_at_most_a_hundred_versions_and_labels_hold_theirs() {
    let fixture = Fixture::new();
    create(&fixture, "db", "0", 0).await.expect("made");
    put(&fixture, "db", "held", 1, Some(&["HELD"])).await.expect("put");
    for n in 2..100 {
        put(&fixture, "db", &n.to_string(), n, None).await.expect("put");
    }
    let fault = put(&fixture, "db", "x", 100, None).await.expect_err("all are young");
    assert_eq!(fault.code, "LimitExceededException");
    fixture.pass_ms(24 * 3600 * 1000);
    put(&fixture, "db", "x", 100, None).await.expect("the oldest without a label goes");
    let prefix = store::kinds::secret_version_prefix("db");
    assert_eq!(fixture.cx.store.snapshot().count::<SecretVersion>(&prefix), 100);
    assert_eq!(get(&fixture, "db", Some("HELD")).await.as_deref(), Ok("held"));
    let input = DeleteSecretRequest {
        secret_id: some("db"),
        force_delete_without_recovery: Some(true),
        recovery_window_in_days: None,
    };
    delete_secret(&fixture.cx, &fixture.caller, input).await.expect("deleted whole");
    assert_eq!(fixture.cx.store.snapshot().count::<SecretVersion>(""), 0);
}

#[tokio::test]
async fn a_deleted_secret_can_be_restored_until_it_is_gone() {
    let fixture = Fixture::new();
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    create(&fixture, "db", "one", 1).await.expect("made");
    let delete = |days: Option<i64>, force: Option<bool>| DeleteSecretRequest {
        secret_id: some("db"),
        recovery_window_in_days: days,
        force_delete_without_recovery: force,
    };
    for (days, force) in [(Some(6), None), (Some(31), None), (Some(7), Some(true))] {
        let fault = delete_secret(cx, caller, delete(days, force)).await.expect_err("refused");
        assert_eq!(fault.code, "InvalidParameterException");
    }
    let deleted = delete_secret(cx, caller, delete(Some(7), None)).await.expect("deleted");
    let in_a_week = cx.now().plus_seconds(7 * 24 * 3600).0;
    assert_eq!(deleted.deletion_date.map(|at| at.unix_ms), Some(in_a_week));
    let text = "You can't perform this operation on the secret because it was marked for deletion.";
    assert_eq!(get(&fixture, "db", None).await.expect_err("deleted").message, text);
    let fault = put(&fixture, "db", "two", 2, None).await.expect_err("deleted");
    assert_eq!(fault.message, text);
    let fault = create(&fixture, "db", "one", 3).await.expect_err("the name is taken");
    assert_eq!(fault.code, "InvalidRequestException");
    let all = list_secrets(cx, caller, ListSecretsRequest::default()).await.expect("listed");
    assert_eq!(all.secret_list.expect("a list").len(), 0);
    let input = ListSecretsRequest { include_planned_deletion: Some(true), ..Default::default() };
    let all = list_secrets(cx, caller, input).await.expect("listed").secret_list.expect("a list");
    assert!(all[0].deleted_date.is_some());
    let input = RestoreSecretRequest { secret_id: some("db") };
    restore_secret(cx, caller, input).await.expect("restored");
    assert_eq!(get(&fixture, "db", None).await.as_deref(), Ok("one"));
    delete_secret(cx, caller, delete(None, Some(true))).await.expect("deleted at once");
    delete_secret(cx, caller, delete(None, Some(true))).await.expect("and again");
    assert_eq!(
        get(&fixture, "db", None).await.expect_err("gone").code,
        "ResourceNotFoundException"
    );
    let new = create(&fixture, "db", "new", 4).await.expect("made anew").arn;
    assert_ne!(new, deleted.arn);
}

#[tokio::test]
async fn a_secret_is_described_changed_and_tagged() {
    let fixture = Fixture::new();
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let input = CreateSecretRequest {
        name: some("bin"),
        secret_binary: Some(Blob(vec![0, 255])),
        client_request_token: token(1),
        tags: Some(vec![Tag { key: some("env"), value: some("test") }]),
        ..Default::default()
    };
    create_secret(cx, caller, input).await.expect("made");
    let input = UpdateSecretRequest {
        secret_id: some("bin"),
        description: some("bytes"),
        client_request_token: token(2),
        ..Default::default()
    };
    let updated = update_secret(cx, caller, input).await.expect("updated");
    assert_eq!(updated.version_id, None);
    let tags = Some(vec![Tag { key: some("team"), value: some("a") }]);
    tag_resource(cx, caller, TagResourceRequest { secret_id: some("bin"), tags }).await.expect("x");
    let tag_keys = Some(vec!["env".to_owned()]);
    let input = UntagResourceRequest { secret_id: some("bin"), tag_keys };
    untag_resource(cx, caller, input).await.expect("untagged");
    let input = GetSecretValueRequest { secret_id: some("bin"), ..Default::default() };
    let got = get_secret_value(cx, caller, input).await.expect("got");
    assert_eq!((got.secret_binary, got.secret_string), (Some(Blob(vec![0, 255])), None));
    let input = DescribeSecretRequest { secret_id: some("bin") };
    let shown = describe_secret(cx, caller, input).await.expect("shown");
    assert_eq!(shown.description.as_deref(), Some("bytes"));
    assert_eq!(shown.tags, Some(vec![Tag { key: some("team"), value: some("a") }]));
    let stages = shown.version_ids_to_stages.expect("one version");
    assert_eq!(stages[&token(1).expect("it")], ["AWSCURRENT"]);
    assert!(shown.last_accessed_date.is_some());
    let bad = CreateSecretRequest {
        name: some("both"),
        secret_binary: Some(Blob(vec![1])),
        secret_string: Some(Sensitive::new("x")),
        client_request_token: token(3),
        ..Default::default()
    };
    let fault = create_secret(cx, caller, bad).await.expect_err("both");
    assert_eq!(fault.code, "InvalidParameterException");
    let fault = create(&fixture, "a b", "x", 4).await.expect_err("a bad name");
    assert_eq!(fault.code, "ValidationException");
}

#[tokio::test]
async fn secrets_are_listed_filtered_and_got_many_at_once() {
    let fixture = Fixture::new();
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    for (n, name) in ["prod/a", "prod/b", "test/c"].into_iter().enumerate() {
        create(&fixture, name, name, u32::try_from(n).expect("few")).await.expect("made");
        fixture.pass_ms(1000);
    }
    let filter = |key: &str, value: &str| {
        Some(vec![Filter { key: Some(key.into()), values: Some(vec![value.to_owned()]) }])
    };
    let names = async |input: ListSecretsRequest| {
        let page = list_secrets(cx, caller, input).await.expect("listed");
        let names = page.secret_list.expect("a list").into_iter().filter_map(|it| it.name);
        (names.collect::<Vec<_>>().join(" "), page.next_token)
    };
    for (filters, expected) in [
        (filter("name", "prod/"), "prod/a prod/b"),
        (filter("name", "!prod/"), "test/c"),
        (filter("all", "TEST"), "test/c"),
        (filter("tag-key", "x"), ""),
    ] {
        let input = ListSecretsRequest { filters, ..Default::default() };
        assert_eq!(names(input).await.0, expected);
    }
    let mut input = ListSecretsRequest { max_results: Some(2), ..Default::default() };
    input.sort_order = Some(SortOrderType::Desc);
    let (first, next_token) = names(input.clone()).await;
    assert_eq!(first, "test/c prod/b");
    assert_eq!(names(ListSecretsRequest { next_token, ..input }).await.0, "prod/a");
    let ids = ["prod/a", "nope", "test/c"].map(str::to_owned).to_vec();
    let input = BatchGetSecretValueRequest { secret_id_list: Some(ids), ..Default::default() };
    let got = batch_get_secret_value(cx, caller, input).await.expect("got");
    let errors = got.errors.expect("a list");
    assert_eq!(errors[0].error_code.as_deref(), Some("ResourceNotFoundException"));
    assert_eq!(got.secret_values.expect("a list").len(), 2);
    let input =
        BatchGetSecretValueRequest { filters: filter("name", "prod/"), ..Default::default() };
    let got = batch_get_secret_value(cx, caller, input).await.expect("got");
    assert_eq!(got.secret_values.expect("a list").len(), 2);
}

#[tokio::test]
async fn policies_are_kept_and_passwords_have_each_kind() {
    let fixture = Fixture::new();
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    create(&fixture, "db", "one", 1).await.expect("made");
    let policy = r#"{"Statement":[{"Effect":"Allow","Principal":"*","Action":"*"}]}"#;
    let put = |text: &str, block| PutResourcePolicyRequest {
        secret_id: some("db"),
        resource_policy: some(text),
        block_public_policy: block,
    };
    let fault = put_resource_policy(cx, caller, put("{", None)).await.expect_err("no JSON");
    assert_eq!(fault.code, "MalformedPolicyDocumentException");
    let fault = put_resource_policy(cx, caller, put(policy, Some(true))).await.expect_err("public");
    assert_eq!(fault.code, "PublicPolicyException");
    put_resource_policy(cx, caller, put(policy, None)).await.expect("put");
    let input = GetResourcePolicyRequest { secret_id: some("db") };
    let got = get_resource_policy(cx, caller, input.clone()).await.expect("got");
    assert_eq!(got.resource_policy.as_deref(), Some(policy));
    let gone = DeleteResourcePolicyRequest { secret_id: some("db") };
    delete_resource_policy(cx, caller, gone).await.expect("deleted");
    let got = get_resource_policy(cx, caller, input).await.expect("got");
    assert_eq!(got.resource_policy, None);

    let password = async |input: GetRandomPasswordRequest| {
        let made = get_random_password(cx, caller, input).await?;
        Ok::<_, Fault>(made.random_password.map(Sensitive::into_exposed).unwrap_or_default())
    };
    for length in [4, 32, 4096] {
        let input =
            GetRandomPasswordRequest { password_length: Some(length), ..Default::default() };
        let made = password(input).await.expect("made");
        assert_eq!(made.chars().count(), usize::try_from(length).expect("small"));
        let kinds: [fn(char) -> bool; 4] = [
            |c| c.is_ascii_lowercase(),
            |c| c.is_ascii_uppercase(),
            |c| c.is_ascii_digit(),
            |c| c.is_ascii_punctuation(),
        ];
        for kind in kinds {
            assert!(made.contains(kind), "{made}");
        }
    }
    let input = GetRandomPasswordRequest {
        exclude_punctuation: Some(true),
        exclude_uppercase: Some(true),
        exclude_numbers: Some(true),
        exclude_characters: some("abcdefghijklmnopqrstuvwxy"),
        password_length: Some(5),
        ..Default::default()
    };
    assert_eq!(password(input).await.as_deref(), Ok("zzzzz"));
    let short = GetRandomPasswordRequest { password_length: Some(3), ..Default::default() };
    assert_eq!(password(short).await.expect_err("short").code, "InvalidParameterException");
}
