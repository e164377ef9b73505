//! The operations through their functions, over a real log store.

use super::names::DAY_MS;
use super::{
    create_log_group::create_log_group, create_log_stream::create_log_stream,
    delete_log_group::delete_log_group, delete_log_stream::delete_log_stream,
    delete_retention_policy::delete_retention_policy, describe_log_groups::describe_log_groups,
    describe_log_streams::describe_log_streams, filter_log_events::filter_log_events,
    get_log_events::get_log_events, list_tags_for_resource::list_tags_for_resource,
    list_tags_log_group::list_tags_log_group, put_log_events::put_log_events,
    put_retention_policy::put_retention_policy, tag_log_group::tag_log_group,
    tag_resource::tag_resource, untag_log_group::untag_log_group, untag_resource::untag_resource,
};
use crate::fault::Fault;
use crate::fixture::{Fixture, NOW};
use wire::logs::*;

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

async fn group(fixture: &Fixture, name: &str) -> Result<(), Fault> {
    let input = CreateLogGroupRequest { log_group_name: some(name), ..Default::default() };
    create_log_group(&fixture.cx, &fixture.caller, input).await.map(|_| ())
}

async fn stream(fixture: &Fixture, group: &str, name: &str) -> Result<(), Fault> {
    let input = CreateLogStreamRequest { log_group_name: some(group), log_stream_name: some(name) };
    create_log_stream(&fixture.cx, &fixture.caller, input).await.map(|_| ())
}

/// Events at these times from now, in milliseconds; the message is the number.
async fn put(
    fixture: &Fixture,
    group: &str,
    stream: &str,
    times_ms: &[i64],
) -> Result<PutLogEventsResponse, Fault> {
    let event = |ms: &i64| InputLogEvent {
        timestamp: Some(NOW.0 + ms),
        message: Some(format!("event {ms}")),
    };
    let input = PutLogEventsRequest {
        log_group_name: some(group),
        log_stream_name: some(stream),
        log_events: Some(times_ms.iter().map(event).collect()),
        ..Default::default()
    };
    put_log_events(&fixture.cx, &fixture.caller, input).await
}

async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    group(&fixture, "/ecs/web").await.expect("made");
    stream(&fixture, "/ecs/web", "s/app/1").await.expect("made");
    fixture
}

fn get_input(token: Option<String>, from_head: bool, limit: i32) -> GetLogEventsRequest {
    GetLogEventsRequest {
        log_group_name: some("/ecs/web"),
        log_stream_name: some("s/app/1"),
        start_from_head: Some(from_head),
        limit: Some(limit),
        next_token: token,
        ..Default::default()
    }
}

fn messages(found: &GetLogEventsResponse) -> Vec<String> {
    found.events.iter().flatten().filter_map(|event| event.message.clone()).collect()
}

#[tokio::test]
async fn what_is_not_there_or_already_there_is_refused_in_awss_words() {
    let fixture = fixture().await;
    let code = |fault: Fault| (fault.code.to_string(), fault.message);
    let exists = "ResourceAlreadyExistsException".to_owned();
    let fault = group(&fixture, "/ecs/web").await.expect_err("there");
    assert_eq!(code(fault), (exists.clone(), "The specified log group already exists".to_owned()));
    let fault = stream(&fixture, "/ecs/web", "s/app/1").await.expect_err("there");
    assert_eq!(code(fault), (exists, "The specified log stream already exists".to_owned()));
    let missing = "ResourceNotFoundException".to_owned();
    let no_group = (missing.clone(), "The specified log group does not exist.".to_owned());
    let no_stream = (missing, "The specified log stream does not exist.".to_owned());
    assert_eq!(code(stream(&fixture, "nope", "s").await.expect_err("no group")), no_group);
    assert_eq!(code(put(&fixture, "nope", "s", &[0]).await.expect_err("no group")), no_group);
    assert_eq!(code(put(&fixture, "/ecs/web", "s", &[0]).await.expect_err("no")), no_stream);
    let input =
        GetLogEventsRequest { log_stream_name: some("not yet"), ..get_input(None, true, 1) };
    let found = get_log_events(&fixture.cx, &fixture.caller, input).await;
    assert_eq!(code(found.expect_err("no stream")), no_stream);
    let fault = group(&fixture, "has blanks").await.expect_err("a bad name");
    assert_eq!(fault.code, "InvalidParameterException");
    assert!(fault.message.contains("Value 'has blanks' at 'logGroupName'"), "{}", fault.message);
    let fault = stream(&fixture, "/ecs/web", "a:b").await.expect_err("a bad name");
    assert_eq!(fault.code, "InvalidParameterException");
}

#[tokio::test]
async fn pages_go_both_ways_and_the_last_token_repeats() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    put(&fixture, "/ecs/web", "s/app/1", &[0, 1, 2, 3, 4]).await.expect("stored");
    let last = get_log_events(cx, caller, get_input(None, false, 1)).await.expect("read");
    assert_eq!(messages(&last), ["event 4"]);
    let before = get_input(last.next_backward_token.clone(), false, 2);
    let before = get_log_events(cx, caller, before).await.expect("read");
    assert_eq!(messages(&before), ["event 2", "event 3"]);
    let mut token = None;
    let mut seen = Vec::new();
    loop {
        let page = get_log_events(cx, caller, get_input(token.clone(), true, 2)).await;
        let page = page.expect("read");
        seen.extend(messages(&page));
        let next = page.next_forward_token;
        if next == token {
            break;
        }
        token = next;
    }
    assert_eq!(seen, ["event 0", "event 1", "event 2", "event 3", "event 4"]);
    put(&fixture, "/ecs/web", "s/app/1", &[9]).await.expect("stored");
    let more = get_log_events(cx, caller, get_input(token, true, 2)).await.expect("read");
    assert_eq!(messages(&more), ["event 9"], "following picks up what came later");
    let fault = get_log_events(cx, caller, get_input(some("f/1/s"), true, 2)).await;
    assert_eq!(fault.expect_err("no token").message, "The specified nextToken is invalid.");
    let input = GetLogEventsRequest {
        start_time: Some(NOW.0 + 1),
        end_time: Some(NOW.0 + 3),
        ..get_input(None, true, 9)
    };
    let some = get_log_events(cx, caller, input).await.expect("read");
    assert_eq!(messages(&some), ["event 1", "event 2"], "the end is exclusive");
}

#[tokio::test]
async fn batches_out_of_bounds_are_refused_or_cut() {
    let fixture = fixture().await;
    let put = async |times_ms: &[i64]| put(&fixture, "/ecs/web", "s/app/1", times_ms).await;
    let fault = put(&[1, 0]).await.expect_err("unsorted");
    assert_eq!(fault.code, "InvalidParameterException");
    assert!(fault.message.contains("chronological order"));
    let fault = put(&[-DAY_MS - 1, 0]).await.expect_err("too long a span");
    assert!(fault.message.contains("cannot span more than 24 hours"));
    let hour_ms = 3_600_000;
    let answer = put(&[-15 * DAY_MS, -14 * DAY_MS - 1, 0, 2 * hour_ms, 2 * hour_ms + 1]).await;
    let rejected = answer.expect("stored").rejected_log_events_info.expect("some");
    assert_eq!(rejected.too_old_log_event_end_index, Some(2));
    assert_eq!(rejected.too_new_log_event_start_index, Some(4));
    assert_eq!(rejected.expired_log_event_end_index, None);
    let found = get_log_events(&fixture.cx, &fixture.caller, get_input(None, true, 9)).await;
    assert_eq!(messages(&found.expect("read")), ["event 0", "event 7200000"]);
    let input = PutLogEventsRequest {
        log_group_name: some("/ecs/web"),
        log_stream_name: some("s/app/1"),
        log_events: Some(vec![InputLogEvent {
            timestamp: Some(NOW.0),
            message: Some("x".repeat(1_048_576 - 25)),
        }]),
        ..Default::default()
    };
    let fault = put_log_events(&fixture.cx, &fixture.caller, input).await.expect_err("too large");
    assert_eq!(fault.message, "Upload too large: 1048577 bytes exceeds limit of 1048576");
}

#[tokio::test]
async fn filtering_merges_streams_and_drops_the_token_at_the_end() {
    let fixture = fixture().await;
    stream(&fixture, "/ecs/web", "s/app/2").await.expect("made");
    stream(&fixture, "/ecs/web", "other").await.expect("made");
    put(&fixture, "/ecs/web", "s/app/1", &[0, 2, 4]).await.expect("stored");
    put(&fixture, "/ecs/web", "s/app/2", &[1, 3, 24]).await.expect("stored");
    put(&fixture, "/ecs/web", "other", &[2]).await.expect("stored");
    let filter = async |input: FilterLogEventsRequest| {
        let input = FilterLogEventsRequest { log_group_name: some("/ecs/web"), ..input };
        filter_log_events(&fixture.cx, &fixture.caller, input).await
    };
    let mut token = None;
    let mut seen = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    loop {
        let input = FilterLogEventsRequest {
            log_stream_name_prefix: some("s/"),
            limit: Some(2),
            next_token: token,
            ..Default::default()
        };
        let page = filter(input).await.expect("read");
        let events = page.events.expect("a list");
        assert!(events.len() <= 2);
        ids.extend(events.iter().filter_map(|event| event.event_id.clone()));
        seen.extend(events.into_iter().filter_map(|event| event.message));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["event 0", "event 1", "event 2", "event 3", "event 4", "event 24"]);
    assert_eq!(ids.len(), 6);
    let input = FilterLogEventsRequest { filter_pattern: some("4"), ..Default::default() };
    assert_eq!(filter(input).await.expect("read").events.expect("a list").len(), 2);
    let input = FilterLogEventsRequest { filter_pattern: some("a-b"), ..Default::default() };
    let fault = filter(input).await.expect_err("a bad pattern");
    assert_eq!(fault.code, "InvalidParameterException");
    let names = Some(vec!["nope".to_owned()]);
    let input = FilterLogEventsRequest { log_stream_names: names, ..Default::default() };
    assert_eq!(filter(input).await.expect_err("no stream").code, "ResourceNotFoundException");
}

#[tokio::test]
async fn streams_are_listed_by_name_or_by_last_event() {
    let fixture = fixture().await;
    for name in ["a", "b", "c"] {
        stream(&fixture, "/ecs/web", name).await.expect("made");
    }
    put(&fixture, "/ecs/web", "a", &[5]).await.expect("stored");
    put(&fixture, "/ecs/web", "c", &[1, 9]).await.expect("stored");
    let list = async |input: DescribeLogStreamsRequest| {
        let arn = fixture.cx.locality.log_group("/ecs/web") + ":*";
        let input = DescribeLogStreamsRequest { log_group_identifier: Some(arn), ..input };
        describe_log_streams(&fixture.cx, &fixture.caller, input).await
    };
    let names = |found: &DescribeLogStreamsResponse| -> Vec<String> {
        found.log_streams.iter().flatten().filter_map(|it| it.log_stream_name.clone()).collect()
    };
    let all = list(Default::default()).await.expect("found");
    assert_eq!(names(&all), ["a", "b", "c", "s/app/1"]);
    let with_events = &all.log_streams.as_ref().expect("a list")[2];
    assert_eq!(with_events.first_event_timestamp, Some(NOW.0 + 1));
    assert_eq!(with_events.last_event_timestamp, Some(NOW.0 + 9));
    assert_eq!(with_events.last_ingestion_time, Some(NOW.0));
    let mut token = None;
    let mut seen = Vec::new();
    loop {
        let input = DescribeLogStreamsRequest {
            order_by: Some("LastEventTime".into()),
            descending: Some(true),
            limit: Some(1),
            next_token: token,
            ..Default::default()
        };
        let page = list(input).await.expect("found");
        seen.extend(names(&page));
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["c", "a", "s/app/1", "b"]);
    let input = DescribeLogStreamsRequest {
        order_by: Some("LastEventTime".into()),
        log_stream_name_prefix: some("a"),
        ..Default::default()
    };
    let fault = list(input).await.expect_err("refused");
    assert_eq!(fault.message, "Cannot order by LastEventTime with a logStreamNamePrefix.");
    let both = DescribeLogStreamsRequest { log_group_name: some("x"), ..Default::default() };
    let fault = list(both).await.expect_err("both");
    assert_eq!(fault.code, "ValidationException");
}

#[tokio::test]
async fn groups_are_listed_and_retention_hides_what_is_old() {
    let fixture = fixture().await;
    group(&fixture, "/ecs/worker").await.expect("made");
    group(&fixture, "other").await.expect("made");
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let list = async |input: DescribeLogGroupsRequest| {
        let found = describe_log_groups(cx, caller, input).await?;
        let groups = found.log_groups.expect("a list");
        let names: Vec<_> = groups.iter().filter_map(|it| it.log_group_name.clone()).collect();
        Ok::<_, Fault>((names, groups, found.next_token))
    };
    let input = DescribeLogGroupsRequest { limit: Some(2), ..Default::default() };
    let (names, _, token) = list(input.clone()).await.expect("found");
    assert_eq!(names, ["/ecs/web", "/ecs/worker"]);
    let (names, _, token) =
        list(DescribeLogGroupsRequest { next_token: token, ..input }).await.expect("found");
    assert_eq!((names.as_slice(), token), (&["other".to_owned()][..], None));
    let input =
        DescribeLogGroupsRequest { log_group_name_pattern: some("work"), ..Default::default() };
    let (names, groups, _) = list(input).await.expect("found");
    assert_eq!(names, ["/ecs/worker"]);
    let arn = "arn:aws:logs:us-east-1:000000000000:log-group:/ecs/worker";
    assert_eq!(groups[0].log_group_arn.as_deref(), Some(arn));
    assert_eq!(groups[0].arn, Some(format!("{arn}:*")));
    let input = DescribeLogGroupsRequest {
        log_group_name_pattern: some("a"),
        log_group_name_prefix: some("a"),
        ..Default::default()
    };
    let fault = list(input).await.expect_err("both");
    assert!(fault.message.ends_with("are mutually exclusive parameters."));

    put(&fixture, "/ecs/web", "s/app/1", &[0]).await.expect("stored");
    let policy = |days| PutRetentionPolicyRequest {
        log_group_name: some("/ecs/web"),
        retention_in_days: Some(days),
    };
    let fault = put_retention_policy(cx, caller, policy(2)).await.expect_err("no such number");
    assert!(fault.message.contains("Value '2' at 'retentionInDays'"), "{}", fault.message);
    put_retention_policy(cx, caller, policy(1)).await.expect("set");
    let (_, groups, _) = list(Default::default()).await.expect("found");
    assert_eq!(groups[0].retention_in_days, Some(1));
    assert!(groups[0].stored_bytes > Some(0));
    fixture.pass_ms(DAY_MS + 1);
    let found = get_log_events(cx, caller, get_input(None, true, 9)).await.expect("read");
    assert!(messages(&found).is_empty());
    let answer = put(&fixture, "/ecs/web", "s/app/1", &[0, DAY_MS]).await.expect("stored");
    let rejected = answer.rejected_log_events_info.expect("some");
    assert_eq!(rejected.expired_log_event_end_index, Some(1));
    let input = DeleteRetentionPolicyRequest { log_group_name: some("/ecs/web") };
    delete_retention_policy(cx, caller, input).await.expect("unset");
    let found = get_log_events(cx, caller, get_input(None, true, 9)).await.expect("read");
    assert_eq!(messages(&found).len(), 2);
}

#[tokio::test]
async fn deleting_takes_streams_and_events_along() {
    let fixture = fixture().await;
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    put(&fixture, "/ecs/web", "s/app/1", &[0]).await.expect("stored");
    let one = DeleteLogStreamRequest {
        log_group_name: some("/ecs/web"),
        log_stream_name: some("s/app/1"),
    };
    delete_log_stream(cx, caller, one.clone()).await.expect("deleted");
    let fault = delete_log_stream(cx, caller, one).await.expect_err("gone");
    assert_eq!(fault.code, "ResourceNotFoundException");
    for n in 0..250 {
        stream(&fixture, "/ecs/web", &format!("many/{n}")).await.expect("made");
    }
    put(&fixture, "/ecs/web", "many/7", &[0]).await.expect("stored");
    let whole = DeleteLogGroupRequest { log_group_name: some("/ecs/web") };
    delete_log_group(cx, caller, whole.clone()).await.expect("deleted");
    let fault = delete_log_group(cx, caller, whole).await.expect_err("gone");
    assert_eq!(fault.code, "ResourceNotFoundException");
    group(&fixture, "/ecs/web").await.expect("made anew");
    let input =
        DescribeLogStreamsRequest { log_group_name: some("/ecs/web"), ..Default::default() };
    let found = describe_log_streams(cx, caller, input).await.expect("found");
    assert_eq!(found.log_streams.expect("a list"), []);
    stream(&fixture, "/ecs/web", "many/7").await.expect("made anew");
    let input = GetLogEventsRequest { log_stream_name: some("many/7"), ..get_input(None, true, 9) };
    assert!(messages(&get_log_events(cx, caller, input).await.expect("read")).is_empty());
}

#[tokio::test]
async fn tags_are_one_set_for_both_generations_of_calls() {
    let fixture = Fixture::new();
    let (cx, caller) = (&fixture.cx, &fixture.caller);
    let tags = |pairs: &[(&str, &str)]| {
        Some(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    };
    let input = CreateLogGroupRequest {
        log_group_name: some("g"),
        tags: tags(&[("env", "testing1")]),
        ..Default::default()
    };
    create_log_group(cx, caller, input).await.expect("made");
    let arn = Some(cx.locality.log_group("g"));
    let input = TagResourceRequest { resource_arn: arn.clone(), tags: tags(&[("a", "1")]) };
    tag_resource(cx, caller, input).await.expect("tagged");
    let input = TagLogGroupRequest { log_group_name: some("g"), tags: tags(&[("b", "2")]) };
    tag_log_group(cx, caller, input).await.expect("tagged");
    let input =
        UntagResourceRequest { resource_arn: arn.clone(), tag_keys: Some(vec!["env".to_owned()]) };
    untag_resource(cx, caller, input).await.expect("untagged");
    let input = ListTagsForResourceRequest { resource_arn: arn.clone() };
    let listed = list_tags_for_resource(cx, caller, input).await.expect("found");
    assert_eq!(listed.tags, tags(&[("a", "1"), ("b", "2")]));
    let input =
        UntagLogGroupRequest { log_group_name: some("g"), tags: Some(vec!["a".to_owned()]) };
    untag_log_group(cx, caller, input).await.expect("untagged");
    let input = ListTagsLogGroupRequest { log_group_name: some("g") };
    let listed = list_tags_log_group(cx, caller, input).await.expect("found");
    assert_eq!(listed.tags, tags(&[("b", "2")]));
    let many: Vec<(String, String)> = (0..50).map(|n| (format!("k{n}"), String::new())).collect();
    let input =
        TagResourceRequest { resource_arn: arn.clone(), tags: Some(many.into_iter().collect()) };
    let fault = tag_resource(cx, caller, input).await.expect_err("too many");
    assert_eq!(fault.code, "TooManyTagsException");
    let input = TagResourceRequest { resource_arn: arn, tags: tags(&[("aws:x", "1")]) };
    let fault = tag_resource(cx, caller, input).await.expect_err("reserved");
    assert_eq!(fault.code, "InvalidParameterException");
    let missing = Some(cx.locality.log_group("nope"));
    let input = ListTagsForResourceRequest { resource_arn: missing };
    let fault = list_tags_for_resource(cx, caller, input).await.expect_err("missing");
    assert_eq!(fault.code, "ResourceNotFoundException");
}
