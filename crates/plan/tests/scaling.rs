//! Scaling over virtual time: what is decided from alarms, bounds and schedules, with no clock and
//! no metric but those of the test.

use model::metrics::Statistic;
use model::scaling::{
    Adjustment, PolicyRule, ScalableTarget, ScalingPolicy, ScalingProgress, ScheduledAction, Step,
    StepScaling, Suspended, TargetTracking, TrackedMetric,
};
use model::{Document, Tags, Timestamp};
use plan::scaling::{Decision, PolicyView, Signal, View, decide, next_run};

const MINUTE_MS: i64 = 60_000;

fn target(least: u32, most: u32) -> ScalableTarget {
    ScalableTarget {
        cluster: "default".into(),
        service: "web".into(),
        id: "0".to_owned(),
        min_capacity: least,
        max_capacity: most,
        suspended: Suspended::default(),
        tags: Tags::new(),
        created_at: Timestamp(0),
    }
}

fn policy(name: &str, rule: PolicyRule) -> ScalingPolicy {
    ScalingPolicy {
        name: name.to_owned(),
        cluster: "default".into(),
        service: "web".into(),
        id: "1".to_owned(),
        rule,
        document: Document::default(),
        alarms: Vec::new(),
        created_at: Timestamp(0),
    }
}

fn tracking(name: &str, target: f64) -> ScalingPolicy {
    policy(
        name,
        PolicyRule::TargetTracking(TargetTracking {
            metric: TrackedMetric::Cpu,
            target,
            out_cooldown_seconds: 300,
            in_cooldown_seconds: 300,
            disable_scale_in: false,
        }),
    )
}

/// A service under scaling, and what was decided so far.
struct World {
    target: ScalableTarget,
    actions: Vec<ScheduledAction>,
    desired: u32,
    progress: Option<ScalingProgress>,
    now: Timestamp,
}

impl World {
    fn new(least: u32, most: u32, desired: u32) -> Self {
        let mut world = Self {
            target: target(least, most),
            actions: Vec::new(),
            desired,
            progress: None,
            now: Timestamp(1_000_000_000),
        };
        world.decide(&[]);
        world
    }

    fn after(&mut self, seconds: i64) -> &mut Self {
        self.now = self.now.plus_seconds(seconds);
        self
    }

    fn decide(&mut self, policies: &[(&ScalingPolicy, Option<f64>)]) -> u32 {
        let signal =
            |value: &f64| Signal { alarm: "alarm".to_owned(), threshold: 70.0, value: *value };
        let views: Vec<PolicyView<'_>> = policies
            .iter()
            .map(|(policy, value)| PolicyView {
                policy,
                signals: value.iter().map(signal).collect(),
            })
            .collect();
        let actions: Vec<&ScheduledAction> = self.actions.iter().collect();
        let view = View {
            target: &self.target,
            policies: &views,
            actions: &actions,
            desired: self.desired,
            progress: self.progress.as_ref(),
            minute_ms: MINUTE_MS,
            now: self.now,
        };
        let Decision { min_capacity, max_capacity, desired, progress } = decide(&view, &mut || 7);
        self.target.min_capacity = min_capacity;
        self.target.max_capacity = max_capacity;
        self.desired = desired;
        self.progress = Some(progress);
        desired
    }

    fn last_cause(&self) -> &str {
        let progress = self.progress.as_ref().expect("something was decided");
        progress.activities.first().map_or("", |activity| &activity.cause)
    }
}

#[test]
fn tracking_goes_out_in_proportion_and_then_rests() {
    let cpu = tracking("cpu", 50.0);
    let mut world = World::new(1, 10, 2);
    assert_eq!(world.decide(&[(&cpu, Some(90.0))]), 4, "2 * 90 / 50, rounded up");
    assert_eq!(world.last_cause(), "monitor alarm alarm in state ALARM triggered policy cpu");
    // The same again is covered by the step that was just taken.
    assert_eq!(world.after(60).decide(&[(&cpu, Some(90.0))]), 4);
    // A larger step is taken at once, measured from where the first began.
    assert_eq!(world.after(60).decide(&[(&cpu, Some(150.0))]), 6);
    assert_eq!(world.after(301).decide(&[(&cpu, Some(60.0))]), 8, "6 * 60 / 50");
    assert_eq!(world.after(301).decide(&[(&cpu, Some(99.0))]), 10, "the maximum");
    assert_eq!(world.after(301).decide(&[(&cpu, Some(99.0))]), 10);
}

#[test]
fn a_policy_acts_once_a_minute_at_most() {
    let mut cpu = tracking("cpu", 50.0);
    if let PolicyRule::TargetTracking(rule) = &mut cpu.rule {
        rule.out_cooldown_seconds = 0;
    }
    let mut world = World::new(1, 100, 2);
    assert_eq!(world.decide(&[(&cpu, Some(100.0))]), 4);
    assert_eq!(world.after(30).decide(&[(&cpu, Some(200.0))]), 4, "nothing new was measured yet");
    assert_eq!(world.after(31).decide(&[(&cpu, Some(100.0))]), 8);
}

#[test]
fn it_comes_in_only_when_all_agree_and_no_further_than_any_wants() {
    let (cpu, memory) = (tracking("cpu", 50.0), tracking("memory", 50.0));
    let mut world = World::new(1, 10, 8);
    assert_eq!(world.decide(&[(&cpu, Some(10.0)), (&memory, None)]), 8, "memory holds it");
    assert_eq!(world.decide(&[(&cpu, Some(10.0)), (&memory, Some(30.0))]), 5, "8 * 30 / 50");
    assert_eq!(world.after(60).decide(&[(&cpu, Some(1.0)), (&memory, Some(1.0))]), 5, "it rests");
    // Out is not held up by having come in.
    assert_eq!(world.after(1).decide(&[(&cpu, Some(60.0)), (&memory, Some(1.0))]), 6);
    assert_eq!(world.after(301).decide(&[(&cpu, Some(1.0)), (&memory, Some(1.0))]), 1);
    let mut only_out = tracking("memory", 50.0);
    if let PolicyRule::TargetTracking(rule) = &mut only_out.rule {
        rule.disable_scale_in = true;
    }
    let mut world = World::new(1, 10, 8);
    assert_eq!(world.decide(&[(&cpu, Some(25.0)), (&only_out, None)]), 4, "it has no say in this");
}

#[test]
fn bounds_hold_when_they_are_set_and_what_is_set_by_hand_stays() {
    let mut world = World::new(3, 5, 1);
    assert_eq!((world.desired, world.last_cause()), (3, "minimum capacity was set to 3"));
    world.desired = 0;
    assert_eq!(world.after(600).decide(&[]), 0, "set by hand");
    world.target.max_capacity = 2;
    world.target.min_capacity = 0;
    world.desired = 4;
    assert_eq!(world.decide(&[]), 2);
    assert_eq!(world.last_cause(), "maximum capacity was set to 2");
}

#[test]
fn what_is_suspended_does_nothing() {
    let cpu = tracking("cpu", 50.0);
    let mut world = World::new(1, 10, 4);
    world.target.suspended.scale_out = true;
    assert_eq!(world.decide(&[(&cpu, Some(90.0))]), 4);
    world.target.suspended = Suspended { scale_in: true, ..Suspended::default() };
    assert_eq!(world.decide(&[(&cpu, Some(1.0))]), 4);
}

#[test]
fn steps_go_by_how_far_the_metric_is_from_the_threshold() {
    let step = |lower, upper, adjustment| Step { lower, upper, adjustment };
    let rule = |adjustment, steps, min_magnitude| {
        policy(
            "steps",
            PolicyRule::Step(StepScaling {
                adjustment,
                steps,
                min_magnitude,
                cooldown_seconds: 300,
                aggregation: Statistic::Average,
            }),
        )
    };
    // The threshold is 70.
    let out = vec![step(Some(0.0), Some(15.0), 1), step(Some(15.0), None, 3)];
    let by_count = rule(Adjustment::By, out, None);
    for (value, count) in [(70.0, 5), (84.9, 5), (85.0, 7), (99.0, 7), (10.0, 4)] {
        assert_eq!(World::new(1, 10, 4).decide(&[(&by_count, Some(value))]), count, "{value}");
    }
    let back = vec![step(None, Some(0.0), -30)];
    let by_percent = rule(Adjustment::ByPercent, back.clone(), None);
    assert_eq!(World::new(1, 20, 10).decide(&[(&by_percent, Some(20.0))]), 7);
    assert_eq!(World::new(1, 20, 2).decide(&[(&by_percent, Some(20.0))]), 1, "0.6 counts as one");
    let at_least = rule(Adjustment::ByPercent, back, Some(4));
    assert_eq!(World::new(1, 20, 10).decide(&[(&at_least, Some(20.0))]), 6);
    let exact = rule(Adjustment::To, vec![step(Some(0.0), None, 9)], None);
    assert_eq!(World::new(1, 20, 10).decide(&[(&exact, Some(90.0))]), 9);
}

#[test]
fn a_scheduled_action_sets_the_bounds_once_each_time() {
    let mut world = World::new(1, 10, 2);
    let start = world.now;
    world.actions.push(ScheduledAction {
        name: "evening".to_owned(),
        cluster: "default".into(),
        service: "web".into(),
        id: "2".to_owned(),
        schedule: "rate(1 hour)".to_owned(),
        timezone: None,
        start: None,
        end: Some(start.plus_seconds(2 * 3600)),
        min_capacity: Some(5),
        max_capacity: Some(6),
        created_at: start,
    });
    assert_eq!(world.after(3599).decide(&[]), 2);
    assert_eq!(world.after(1).decide(&[]), 5);
    assert_eq!((world.target.min_capacity, world.target.max_capacity), (5, 6));
    let activities = &world.progress.as_ref().expect("decided").activities;
    assert_eq!(activities[0].cause, "minimum capacity was set to 5");
    assert_eq!(activities[1].cause, "scheduled action name evening was triggered");
    assert_eq!(activities[1].description, "Setting min capacity to 5 and max capacity to 6");
    world.target.min_capacity = 1;
    world.desired = 1;
    assert_eq!(world.after(60).decide(&[]), 1, "it ran already");
    let next = next_run(&world.actions[0], world.progress.as_ref());
    assert_eq!(next, Some(start.plus_seconds(7200)));
    assert_eq!(world.after(3600).decide(&[]), 5);
    assert_eq!(next_run(&world.actions[0], world.progress.as_ref()), None, "its end has come");
}
