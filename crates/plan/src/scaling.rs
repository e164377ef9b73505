//! What a service's desired count should become: from the bounds of its scalable target, from its
//! scheduled actions, and from the alarms of its policies. Target tracking goes out to the target
//! in one step as soon as one policy asks for it, and comes in only when all that may do so agree.
//! Source: Application Auto Scaling user guide, "How target tracking scaling works", "Cooldown
//! periods", "How step scaling works"; ECS developer guide, service-autoscaling-targettracking.

use crate::schedule;
use model::Timestamp;
use model::scaling::{
    ACTIVITIES_MAX, Adjustment, PolicyRule, ScalableTarget, Scaled, ScalingActivity, ScalingPolicy,
    ScalingProgress, ScheduledAction, StepScaling, TargetTracking,
};

/// An alarm that is in ALARM, whose actions include a policy.
#[derive(Clone, PartialEq, Debug)]
pub struct Signal {
    pub alarm: String,
    pub threshold: f64,
    /// Of the metric's newest period.
    pub value: f64,
}

#[derive(Clone, Debug)]
pub struct PolicyView<'a> {
    pub policy: &'a ScalingPolicy,
    pub signals: Vec<Signal>,
}

pub struct View<'a> {
    pub target: &'a ScalableTarget,
    pub policies: &'a [PolicyView<'a>],
    pub actions: &'a [&'a ScheduledAction],
    pub desired: u32,
    pub progress: Option<&'a ScalingProgress>,
    /// How often a policy may act at most: as often as there is something new to see.
    pub minute_ms: i64,
    pub now: Timestamp,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Decision {
    pub min_capacity: u32,
    pub max_capacity: u32,
    pub desired: u32,
    pub progress: ScalingProgress,
}

/// A count that a policy asks for.
struct Wish<'a> {
    count: u32,
    policy: &'a str,
    alarm: &'a str,
    cooldown_seconds: u32,
}

/// `mint` gives the activities their ids.
pub fn decide(view: &View<'_>, mint: &mut dyn FnMut() -> u128) -> Decision {
    let target = view.target;
    let known = view.progress.cloned().unwrap_or_else(|| ScalingProgress::new(target));
    let mut decision = Decision {
        min_capacity: target.min_capacity,
        max_capacity: target.max_capacity,
        desired: view.desired,
        progress: known,
    };
    run_schedules(view, &mut decision, mint);
    enforce_bounds(view, &mut decision, mint);
    let (least, most) = (decision.min_capacity, decision.max_capacity);
    let desired = decision.desired;
    if let Some(out) = outward(view, &decision.progress, desired) {
        let count = out.count.clamp(least, most);
        if !target.suspended.scale_out && count > desired {
            follow(view, &mut decision, &out, count, mint);
        }
    } else if let Some(inward) = inward(view, &decision.progress, desired) {
        let count = inward.count.clamp(least, most);
        if !target.suspended.scale_in && count < desired {
            follow(view, &mut decision, &inward, count, mint);
        }
    }
    decision
}

fn run_schedules(view: &View<'_>, decision: &mut Decision, mint: &mut dyn FnMut() -> u128) {
    let names = |name: &String| view.actions.iter().any(|action| action.name == *name);
    decision.progress.ran.retain(|name, _| names(name));
    for action in view.actions {
        if !is_due(action, &decision.progress, view.now) {
            continue;
        }
        decision.progress.ran.insert(action.name.clone(), view.now);
        if view.target.suspended.scheduled {
            continue;
        }
        decision.min_capacity = action.min_capacity.unwrap_or(decision.min_capacity);
        decision.max_capacity = action.max_capacity.unwrap_or(decision.max_capacity);
        let (least, most) = (action.min_capacity, action.max_capacity);
        let set = match (least, most) {
            (Some(least), Some(most)) => {
                format!("min capacity to {least} and max capacity to {most}")
            }
            (Some(least), None) => format!("min capacity to {least}"),
            (None, Some(most)) => format!("max capacity to {most}"),
            (None, None) => continue,
        };
        let activity = ScalingActivity {
            id: model::uuid(mint()),
            description: format!("Setting {set}"),
            cause: format!("scheduled action name {} was triggered", action.name),
            message: format!("Successfully set {set}"),
            started_at: view.now,
            ended_at: view.now,
        };
        record(&mut decision.progress, activity);
    }
}

/// When an action runs next, after it last ran. None: never again.
pub fn next_run(action: &ScheduledAction, progress: Option<&ScalingProgress>) -> Option<Timestamp> {
    let parsed = schedule::parse(&action.schedule)?;
    let ran = progress.and_then(|progress| progress.ran.get(&action.name)).copied();
    let base = action.start.unwrap_or(action.created_at);
    // Just before its start, so that it may run at the start itself.
    let begins = action.start.map_or(action.created_at, |start| start.plus_ms(-1));
    let after = ran.map_or(begins, |ran| ran.max(begins));
    parsed.next(base, after).filter(|at| action.end.is_none_or(|end| *at <= end))
}

fn is_due(action: &ScheduledAction, progress: &ScalingProgress, now: Timestamp) -> bool {
    next_run(action, Some(progress)).is_some_and(|at| at <= now)
}

/// Bounds that are new hold at once; later ones may be left by hand.
fn enforce_bounds(view: &View<'_>, decision: &mut Decision, mint: &mut dyn FnMut() -> u128) {
    let bounds = (decision.min_capacity, decision.max_capacity);
    if decision.progress.enforced == Some(bounds) {
        return;
    }
    decision.progress.enforced = Some(bounds);
    let count = view.desired.clamp(bounds.0, bounds.1.max(bounds.0));
    if count == view.desired {
        return;
    }
    let cause = match count > view.desired {
        true => format!("minimum capacity was set to {}", bounds.0),
        false => format!("maximum capacity was set to {}", bounds.1),
    };
    decision.desired = count;
    let activity = activity(count, cause, view.now, mint);
    record(&mut decision.progress, activity);
}

fn follow(
    view: &View<'_>,
    decision: &mut Decision,
    wish: &Wish<'_>,
    count: u32,
    mint: &mut dyn FnMut() -> u128,
) {
    let cooldown_ms = i64::from(wish.cooldown_seconds).saturating_mul(1000);
    let scaled = Scaled {
        at: view.now,
        from: decision.desired,
        to: count,
        until: view.now.plus_ms(cooldown_ms.max(view.minute_ms)),
    };
    match count > decision.desired {
        true => {
            decision.progress.scaled_out = Some(scaled);
            // Whoever goes out again need not wait for having come in.
            decision.progress.scaled_in = None;
        }
        false => decision.progress.scaled_in = Some(scaled),
    }
    decision.desired = count;
    let cause =
        format!("monitor alarm {} in state ALARM triggered policy {}", wish.alarm, wish.policy);
    let activity = activity(count, cause, view.now, mint);
    record(&mut decision.progress, activity);
}

fn activity(
    count: u32,
    cause: String,
    now: Timestamp,
    mint: &mut dyn FnMut() -> u128,
) -> ScalingActivity {
    ScalingActivity {
        id: model::uuid(mint()),
        description: format!("Setting desired count to {count}."),
        cause,
        message: format!(
            "Successfully set desired count to {count}. Change successfully fulfilled by ecs."
        ),
        started_at: now,
        ended_at: now,
    }
}

fn record(progress: &mut ScalingProgress, activity: ScalingActivity) {
    progress.activities.insert(0, activity);
    progress.activities.truncate(ACTIVITIES_MAX);
}

/// The largest count that any policy wants to go out to. While the last step out still counts, only
/// what is larger than it would have been from where that began.
fn outward<'a>(view: &View<'a>, progress: &ScalingProgress, desired: u32) -> Option<Wish<'a>> {
    let waiting = progress.scaled_out.filter(|scaled| scaled.until > view.now);
    if waiting.is_some_and(|scaled| view.now.since_ms(scaled.at) < view.minute_ms) {
        return None;
    }
    // Counts set by hand since then are no step of ours.
    let base = waiting.filter(|scaled| scaled.to == desired).map_or(desired, |scaled| scaled.from);
    let wishes = view.policies.iter().flat_map(|policy| wishes(policy, base, Direction::Out));
    wishes.filter(|wish| wish.count > desired).max_by_key(|wish| wish.count)
}

fn inward<'a>(view: &View<'a>, progress: &ScalingProgress, desired: u32) -> Option<Wish<'a>> {
    let resting = |scaled: Option<Scaled>| scaled.is_some_and(|scaled| scaled.until > view.now);
    if resting(progress.scaled_in) || resting(progress.scaled_out) {
        return None;
    }
    let mut all = Vec::new();
    for policy in view.policies {
        let asked = wishes(policy, desired, Direction::In);
        // One that could come in and doesn't ask for it holds the count where it is.
        if asked.is_empty() && holds(policy) {
            return None;
        }
        all.extend(asked);
    }
    all.into_iter().max_by_key(|wish| wish.count).filter(|wish| wish.count < desired)
}

fn holds(policy: &PolicyView<'_>) -> bool {
    match &policy.policy.rule {
        PolicyRule::TargetTracking(tracking) => !tracking.disable_scale_in,
        PolicyRule::Step(_) => false,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Out,
    In,
}

/// What a policy asks for, from a count.
fn wishes<'a>(view: &'a PolicyView<'a>, base: u32, direction: Direction) -> Vec<Wish<'a>> {
    let policy = view.policy;
    let mut all = Vec::new();
    for signal in &view.signals {
        let (count, cooldown_seconds) = match &policy.rule {
            PolicyRule::TargetTracking(tracking) => {
                let Some(count) = tracked(tracking, base, signal.value, direction) else {
                    continue;
                };
                let cooldown = match direction {
                    Direction::Out => tracking.out_cooldown_seconds,
                    Direction::In => tracking.in_cooldown_seconds,
                };
                (count, cooldown)
            }
            PolicyRule::Step(steps) => match stepped(steps, base, signal) {
                Some(count) if (count > base) == (direction == Direction::Out) => {
                    (count, steps.cooldown_seconds)
                }
                _ => continue,
            },
        };
        all.push(Wish { count, policy: &policy.name, alarm: &signal.alarm, cooldown_seconds });
    }
    all
}

/// In proportion to how far the metric is off. None: it does not ask in this direction.
fn tracked(tracking: &TargetTracking, base: u32, value: f64, direction: Direction) -> Option<u32> {
    let asks = match direction {
        Direction::Out => value > tracking.target,
        Direction::In => value < tracking.target && !tracking.disable_scale_in,
    };
    if !asks || tracking.target <= 0.0 {
        return None;
    }
    let exact = (f64::from(base) * value / tracking.target).ceil();
    // From none there is no proportion; a clamp to the bounds follows.
    Some(exact.clamp(0.0, f64::from(u32::MAX)) as u32)
}

fn stepped(rule: &StepScaling, base: u32, signal: &Signal) -> Option<u32> {
    let distance = signal.value - signal.threshold;
    let fits = |step: &&model::scaling::Step| {
        let (lower, upper) = (step.lower, step.upper);
        // At or above zero the lower bound belongs to the step, below zero the upper one.
        match distance >= 0.0 {
            true => lower.is_none_or(|l| distance >= l) && upper.is_none_or(|u| distance < u),
            false => lower.is_none_or(|l| distance > l) && upper.is_none_or(|u| distance <= u),
        }
    };
    let by = i64::from(rule.steps.iter().find(fits)?.adjustment);
    let from = i64::from(base);
    let count = match rule.adjustment {
        Adjustment::To => by,
        Adjustment::By => from + by,
        Adjustment::ByPercent => {
            let exact = from as f64 * by as f64 / 100.0;
            // Larger than one is rounded down, smaller than one counts as one.
            let whole = match exact.abs() {
                0.0 => 0.0,
                size if size < 1.0 => exact.signum(),
                _ => exact.trunc(),
            };
            let least = f64::from(rule.min_magnitude.unwrap_or(0));
            let moved = if by == 0 { 0.0 } else { whole.abs().max(least) * (by as f64).signum() };
            from + moved as i64
        }
    };
    u32::try_from(count.max(0)).ok()
}
