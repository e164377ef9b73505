//! What scaling has done, the newest first.

use super::{Paging, asked, dimension, named, namespace, page, time};
use crate::context::{Caller, Context};
use crate::cursor::Cursor;
use crate::fault::Fault;
use model::scaling::{ScalingActivity, ScalingProgress, resource_id};
use std::sync::Arc;
use wire::application_autoscaling as aas;

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: aas::DescribeScalingActivitiesRequest,
) -> Result<aas::DescribeScalingActivitiesResponse, Fault> {
    let scope = named!(asked, input)?;
    let snapshot = cx.store.snapshot();
    let records: Vec<Arc<ScalingProgress>> = match &scope {
        None => Vec::new(),
        Some(None) => snapshot.scan::<ScalingProgress>("").map(|(_, it)| it).collect(),
        Some(Some(scope)) => {
            snapshot.get::<ScalingProgress>(&scope.key()).map(|it| it.value).into_iter().collect()
        }
    };
    let mut all: Vec<(String, aas::ScalingActivity)> = Vec::new();
    for progress in &records {
        for (number, activity) in progress.activities.iter().enumerate() {
            all.push((key(progress, number, activity), show(progress, activity)));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    let named = input.resource_id.as_deref().unwrap_or("");
    let cursor = Cursor::new(&["DescribeScalingActivities", named]);
    let paging = Paging { token: input.next_token.as_deref(), max_results: input.max_results };
    let (activities, next_token) = page(&cursor, all.into_iter(), &paging)?;
    Ok(aas::DescribeScalingActivitiesResponse { scaling_activities: Some(activities), next_token })
}

/// Sorts the newest first; those of one moment as they are kept, which is the same.
fn key(progress: &ScalingProgress, number: usize, activity: &ScalingActivity) -> String {
    let (later_first, of) = (i64::MAX - activity.started_at.0, &progress.service);
    format!("{later_first:020}/{}/{of}/{number:03}", progress.cluster)
}

fn show(progress: &ScalingProgress, activity: &ScalingActivity) -> aas::ScalingActivity {
    aas::ScalingActivity {
        activity_id: Some(activity.id.clone()),
        cause: Some(activity.cause.clone()),
        description: Some(activity.description.clone()),
        details: None,
        end_time: Some(time(activity.ended_at)),
        not_scaled_reasons: None,
        resource_id: Some(resource_id(&progress.cluster, &progress.service)),
        scalable_dimension: dimension(),
        service_namespace: namespace(),
        start_time: Some(time(activity.started_at)),
        status_code: Some(aas::ScalingActivityStatusCode::Successful),
        status_message: Some(activity.message.clone()),
    }
}
