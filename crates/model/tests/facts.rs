//! Every reachable set of facts, from every start, by every legal step. At this size one does not
//! sample: one looks at all of them. The checker is shown to be one by giving it two mistakes that
//! it must find.

use model::facts::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

type Steps = fn(&Facts, &Placement) -> Vec<(Writer, Facts)>;

fn place() -> Placement {
    Placement { instance: "i".into(), zone: "z".into() }
}

fn starts() -> Vec<Facts> {
    let interfaces = [InterfaceFact::NotNeeded, InterfaceFact::Wanted];
    let targets = [TargetFact::NotNeeded, TargetFact::Wanted];
    interfaces.iter().flat_map(|i| targets.iter().map(|t| Facts::new(*i, *t))).collect()
}

/// Which facts differ, by the writer they belong to.
fn writers_of_difference(before: &Facts, after: &Facts) -> Vec<Writer> {
    let mut writers = Vec::new();
    if before.desired != after.desired {
        writers.push(Writer::Frontend);
    }
    if before.placed != after.placed {
        writers.push(Writer::Placement);
    }
    if before.interface != after.interface {
        writers.push(Writer::Session);
    }
    if before.containers != after.containers {
        writers.push(Writer::Session);
    }
    if before.target != after.target {
        writers.push(Writer::Targets);
    }
    writers
}

fn check_set(facts: &Facts) -> Result<(), String> {
    if facts.last_status() == TaskStatus::Stopped {
        let attached = facts.interface == InterfaceFact::Attached;
        let targeted = matches!(facts.target, TargetFact::Registered | TargetFact::Draining);
        if attached || targeted {
            return Err(format!("STOPPED holds something: {facts:?}"));
        }
    }
    let targeted = matches!(facts.target, TargetFact::Registered | TargetFact::Draining);
    if targeted && facts.told() == Desired::Stopped {
        return Err(format!("told to end while requests come: {facts:?}"));
    }
    let wanted = facts.desired_status() == Desired::Running;
    let going = facts.last_status() < TaskStatus::Deactivating;
    match wanted == going {
        true => Ok(()),
        false => Err(format!("desired and last status contradict each other: {facts:?}")),
    }
}

fn check_step(before: &Facts, writer: Writer, after: &Facts) -> Result<(), String> {
    let told = || format!("{writer:?}: {before:?} -> {after:?}");
    if writers_of_difference(before, after) != [writer] {
        return Err(format!("not one fact by its writer: {}", told()));
    }
    let forward = before.desired <= after.desired
        && before.placed <= after.placed
        && before.interface <= after.interface
        && before.containers <= after.containers
        && before.target <= after.target;
    if !forward {
        return Err(format!("a fact went back: {}", told()));
    }
    if after.last_status() < before.last_status() {
        return Err(format!("the status went back: {}", told()));
    }
    if before.last_status() == TaskStatus::Stopped {
        return Err(format!("a stopped task moved: {}", told()));
    }
    Ok(())
}

/// Walks everything reachable. Answers with how many sets and steps there are, or the first
/// mistake.
fn check(steps: Steps) -> Result<(usize, usize), String> {
    let mut seen: BTreeSet<Facts> = starts().into_iter().collect();
    let mut queue: VecDeque<Facts> = seen.iter().cloned().collect();
    let mut count = 0;
    while let Some(facts) = queue.pop_front() {
        check_set(&facts)?;
        let next = steps(&facts, &place());
        if next.is_empty() && facts.last_status() != TaskStatus::Stopped {
            return Err(format!("a dead end that is not STOPPED: {facts:?}"));
        }
        for (writer, after) in next {
            check_step(&facts, writer, &after)?;
            count += 1;
            if seen.insert(after.clone()) {
                queue.push_back(after);
            }
        }
    }
    Ok((seen.len(), count))
}

#[test]
fn no_status_goes_back_and_every_dead_end_is_stopped() {
    assert_eq!(check(Facts::steps), Ok((126, 330)), "a golden number: explain a change of it");
}

#[test]
fn every_status_is_reached_and_every_task_can_still_stop() {
    let mut after: BTreeMap<Facts, Vec<Facts>> = BTreeMap::new();
    let mut queue = starts();
    while let Some(facts) = queue.pop() {
        if after.contains_key(&facts) {
            continue;
        }
        let next: Vec<Facts> = facts.steps(&place()).into_iter().map(|(_, facts)| facts).collect();
        queue.extend(next.iter().cloned());
        after.insert(facts, next);
    }
    let reached: BTreeSet<TaskStatus> = after.keys().map(Facts::last_status).collect();
    assert_eq!(reached.len(), 8, "{reached:?}");
    // Backwards from STOPPED: whoever isn't found can't get there.
    let mut stops: BTreeSet<&Facts> =
        after.keys().filter(|f| f.last_status() == TaskStatus::Stopped).collect();
    loop {
        let more: Vec<&Facts> = after
            .iter()
            .filter(|(facts, next)| {
                !stops.contains(facts) && next.iter().any(|n| stops.contains(n))
            })
            .map(|(facts, _)| facts)
            .collect();
        if more.is_empty() {
            break;
        }
        stops.extend(more);
    }
    assert_eq!(stops.len(), after.len());
}

/// A session that attaches an interface whatever has become of the task.
fn attach_after_stop(facts: &Facts, place: &Placement) -> Vec<(Writer, Facts)> {
    let mut steps = facts.steps(place);
    if matches!(facts.interface, InterfaceFact::Wanted | InterfaceFact::Released) {
        let interface = InterfaceFact::Attached;
        steps.push((Writer::Session, Facts { interface, ..facts.clone() }));
    }
    steps
}

/// Placement that doesn't look at what is wanted.
fn place_what_was_stopped(facts: &Facts, place: &Placement) -> Vec<(Writer, Facts)> {
    let mut steps = facts.steps(place);
    if facts.placed.is_none() && facts.desired == Desired::Stopped {
        let placed = Some(place.clone());
        steps.push((Writer::Placement, Facts { placed, ..facts.clone() }));
    }
    steps
}

/// Targets that register what no longer runs.
fn register_what_stops(facts: &Facts, place: &Placement) -> Vec<(Writer, Facts)> {
    let mut steps = facts.steps(place);
    if facts.target == TargetFact::Wanted {
        let target = TargetFact::Registered;
        steps.push((Writer::Targets, Facts { target, ..facts.clone() }));
    }
    steps
}

/// A session that writes what is not its own.
fn two_facts_at_once(facts: &Facts, place: &Placement) -> Vec<(Writer, Facts)> {
    let mut steps = facts.steps(place);
    if facts.containers == ContainersFact::Stopping {
        let containers = ContainersFact::Stopped;
        let desired = Desired::Stopped;
        steps.push((Writer::Session, Facts { containers, desired, ..facts.clone() }));
    }
    steps
}

#[test]
fn the_checker_finds_mistakes() {
    for mistake in
        [attach_after_stop, place_what_was_stopped, register_what_stops, two_facts_at_once]
    {
        check(mistake).expect_err("a mistake");
    }
}
