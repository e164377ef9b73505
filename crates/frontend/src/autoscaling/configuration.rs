//! What a policy's configuration means, read once and checked; beside it the configuration is kept
//! as it came, to be echoed.

use super::invalid;
use crate::fault::Fault;
use model::Document;
use model::metrics::{MetricKey, Statistic};
use model::scaling::{Adjustment, PolicyRule, Step, StepScaling, TargetTracking, TrackedMetric};
use std::collections::BTreeMap;
use wire::application_autoscaling as aas;

/// Of ECS services, in seconds. Source: API reference, TargetTrackingScalingPolicyConfiguration and
/// StepScalingPolicyConfiguration.
const COOLDOWN_SECONDS: u32 = 300;
/// Source: Application Auto Scaling quotas.
const STEPS_MAX: usize = 20;

fn kept(configuration: &impl serde::Serialize) -> Document {
    let text = serde_json::to_string(configuration);
    Document::new(text.expect("these structures have string keys only"))
}

fn seconds(given: Option<i32>) -> Result<u32, Fault> {
    let given = given.map(u32::try_from).transpose();
    let given = given.map_err(|_| invalid("Cooldown must not be negative"))?;
    Ok(given.unwrap_or(COOLDOWN_SECONDS))
}

pub fn tracking(
    given: &aas::TargetTrackingScalingPolicyConfiguration,
) -> Result<(PolicyRule, Document), Fault> {
    let target = given.target_value.unwrap_or(0.0);
    if !target.is_finite() || target <= 0.0 {
        return Err(invalid("TargetValue must be greater than zero"));
    }
    let both = (&given.predefined_metric_specification, &given.customized_metric_specification);
    let metric = match both {
        (Some(predefined), None) => predefined_metric(predefined)?,
        (None, Some(customized)) => customized_metric(customized)?,
        _ => {
            let text = "Exactly one of PredefinedMetricSpecification and \
                        CustomizedMetricSpecification must be specified";
            return Err(invalid(text));
        }
    };
    let rule = PolicyRule::TargetTracking(TargetTracking {
        metric,
        target,
        out_cooldown_seconds: seconds(given.scale_out_cooldown)?,
        in_cooldown_seconds: seconds(given.scale_in_cooldown)?,
        disable_scale_in: given.disable_scale_in.unwrap_or(false),
    });
    Ok((rule, kept(given)))
}

fn predefined_metric(given: &aas::PredefinedMetricSpecification) -> Result<TrackedMetric, Fault> {
    let kind = given.predefined_metric_type.as_ref().map_or("", |kind| kind.as_str());
    match kind {
        "ECSServiceAverageCPUUtilization" => Ok(TrackedMetric::Cpu),
        "ECSServiceAverageMemoryUtilization" => Ok(TrackedMetric::Memory),
        "ALBRequestCountPerTarget" => {
            let label = given.resource_label.clone().unwrap_or_default();
            let parts: Vec<&str> = label.split('/').collect();
            let fits = matches!(parts[..], ["app", _, _, "targetgroup", _, _]);
            match fits && parts.iter().all(|part| !part.is_empty()) {
                true => Ok(TrackedMetric::RequestsPerTarget { label }),
                false => {
                    let text = format!("Invalid resource label: {label}");
                    Err(invalid(text))
                }
            }
        }
        other => Err(invalid(format!(
            "Invalid predefined metric type {other} for the service namespace ecs and the \
             scalable dimension ecs:service:DesiredCount"
        ))),
    }
}

fn customized_metric(given: &aas::CustomizedMetricSpecification) -> Result<TrackedMetric, Fault> {
    if given.metrics.as_ref().is_some_and(|metrics| !metrics.is_empty()) {
        return Ok(TrackedMetric::Expression);
    }
    let (Some(namespace), Some(name)) = (&given.namespace, &given.metric_name) else {
        return Err(invalid("Namespace and MetricName are required"));
    };
    let statistic = given.statistic.as_ref().and_then(|it| Statistic::parse(it.as_str()));
    let Some(statistic) = statistic else {
        return Err(invalid("Statistic is required"));
    };
    let mut dimensions = BTreeMap::new();
    for dimension in given.dimensions.iter().flatten() {
        let (name, value) = (dimension.name.clone(), dimension.value.clone());
        dimensions.insert(name.unwrap_or_default(), value.unwrap_or_default());
    }
    let metric = MetricKey { namespace: namespace.clone(), name: name.clone(), dimensions };
    Ok(TrackedMetric::Custom { metric, statistic })
}

pub fn steps(given: &aas::StepScalingPolicyConfiguration) -> Result<(PolicyRule, Document), Fault> {
    let adjustment = match given.adjustment_type.as_ref().map(aas::AdjustmentType::as_str) {
        Some("ChangeInCapacity") => Adjustment::By,
        Some("PercentChangeInCapacity") => Adjustment::ByPercent,
        Some("ExactCapacity") => Adjustment::To,
        _ => return Err(invalid("AdjustmentType is required")),
    };
    let given_steps = given.step_adjustments.as_deref().unwrap_or_default();
    if !(1..=STEPS_MAX).contains(&given_steps.len()) {
        let text = format!("Between 1 and {STEPS_MAX} step adjustments must be specified");
        return Err(invalid(text));
    }
    let mut steps: Vec<Step> = given_steps.iter().map(step).collect();
    steps.sort_by(|a, b| bound(a.lower, f64::MIN).total_cmp(&bound(b.lower, f64::MIN)));
    check_bounds(&steps)?;
    let aggregation = given.metric_aggregation_type.as_ref().map_or("Average", |it| it.as_str());
    let min_magnitude = given.min_adjustment_magnitude.map(u32::try_from).transpose();
    let rule = PolicyRule::Step(StepScaling {
        adjustment,
        steps,
        min_magnitude: min_magnitude
            .map_err(|_| invalid("MinAdjustmentMagnitude must not be negative"))?,
        cooldown_seconds: seconds(given.cooldown)?,
        aggregation: Statistic::parse(aggregation).unwrap_or(Statistic::Average),
    });
    Ok((rule, kept(given)))
}

fn step(given: &aas::StepAdjustment) -> Step {
    Step {
        lower: given.metric_interval_lower_bound,
        upper: given.metric_interval_upper_bound,
        adjustment: given.scaling_adjustment.unwrap_or(0),
    }
}

fn bound(given: Option<f64>, open: f64) -> f64 {
    given.unwrap_or(open)
}

/// Steps neither overlap nor leave a gap. Source: user guide, "Step adjustments".
fn check_bounds(steps: &[Step]) -> Result<(), Fault> {
    for step in steps {
        if bound(step.lower, f64::MIN) >= bound(step.upper, f64::MAX) {
            return Err(invalid(
                "The lower bound of a step adjustment must be less than its upper bound",
            ));
        }
    }
    for pair in steps.windows(2) {
        let (upper, lower) = (bound(pair[0].upper, f64::MAX), bound(pair[1].lower, f64::MIN));
        if upper != lower {
            return Err(invalid("Step adjustment intervals can't overlap or have a gap"));
        }
    }
    Ok(())
}
