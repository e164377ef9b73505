//! Amazon CloudWatch's metrics and alarms: measurements that agents and callers bring are read from
//! memory (`store::metrics`), alarms are records. Alarms are looked at by the scaling reconciler;
//! of their actions only scaling policies are carried out.

mod alarms;
mod describe_alarms;
mod metrics;
mod read;
mod tags;
#[cfg(test)]
mod tests;

use crate::context::Context;
use crate::dispatch::{Route, route};
use crate::fault::Fault;
use model::metrics::MetricKey;
use std::collections::BTreeMap;
use wire::cloudwatch as cw;
use wire::cloudwatch::ErrorCode;

pub const ROUTES: &[Route] = &[
    route!(cloudwatch, DeleteAlarmsInput, alarms::delete),
    route!(
        cloudwatch,
        DescribeAlarmHistoryInput,
        describe_alarms::history,
        ignores["historyItemType (state updates only)"]
    ),
    route!(
        cloudwatch,
        DescribeAlarmsInput,
        describe_alarms::describe,
        ignores["childrenOfAlarmName, parentsOfAlarmName (no composite alarms)"]
    ),
    route!(cloudwatch, DescribeAlarmsForMetricInput, describe_alarms::for_metric),
    route!(cloudwatch, DisableAlarmActionsInput, alarms::disable),
    route!(cloudwatch, EnableAlarmActionsInput, alarms::enable),
    route!(
        cloudwatch,
        GetMetricDataInput,
        read::data,
        ignores["labelOptions (moments in labels are UTC)", "maxDatapoints (one page has all)"]
    ),
    route!(cloudwatch, GetMetricStatisticsInput, read::statistics),
    route!(
        cloudwatch,
        ListMetricsInput,
        metrics::list,
        ignores["includeLinkedAccounts, owningAccount (there is one account)"]
    ),
    route!(cloudwatch, ListTagsForResourceInput, tags::list),
    route!(
        cloudwatch,
        PutMetricAlarmInput,
        alarms::put,
        ignores["actions that are not scaling policies (kept; nobody is told)"]
    ),
    route!(
        cloudwatch,
        PutMetricDataInput,
        metrics::put,
        ignores["storageResolution (minutes are the finest)", "strictEntityValidation"]
    ),
    route!(cloudwatch, SetAlarmStateInput, alarms::set_state),
    route!(cloudwatch, TagResourceInput, tags::tag),
    route!(cloudwatch, UntagResourceInput, tags::untag),
];

pub fn alarm_arn(cx: &Context, name: &str) -> String {
    cx.locality.arn("cloudwatch", &format!("alarm:{name}"))
}

fn invalid(text: impl Into<String>) -> Fault {
    ErrorCode::InvalidParameterValueException.fault(text)
}

fn unknown_token() -> Fault {
    ErrorCode::InvalidNextToken.fault("The token is not valid.")
}

fn combination(text: impl Into<String>) -> Fault {
    ErrorCode::InvalidParameterCombinationException.fault(text)
}

fn time(at: model::Timestamp) -> wire::Timestamp {
    wire::Timestamp::from_unix_ms(at.0)
}

fn key(namespace: &str, name: &str, dimensions: Option<&[cw::Dimension]>) -> MetricKey {
    let pair = |dimension: &cw::Dimension| {
        let (name, value) = (dimension.name.clone(), dimension.value.clone());
        (name.unwrap_or_default(), value.unwrap_or_default())
    };
    let dimensions: BTreeMap<String, String> = dimensions.unwrap_or(&[]).iter().map(pair).collect();
    MetricKey { namespace: namespace.to_owned(), name: name.to_owned(), dimensions }
}

fn shown_dimensions(key: &MetricKey) -> Vec<cw::Dimension> {
    let one = |(name, value): (&String, &String)| cw::Dimension {
        name: Some(name.clone()),
        value: Some(value.clone()),
    };
    key.dimensions.iter().map(one).collect()
}
