//! What is not served, as text: every operation of AWS's models without a function here, and every
//! field that is accepted but changes nothing. Made from the tables themselves, so it can't be
//! forgotten; the copy in the repository is a golden file that shrinks in review.

use crate::dispatch::SERVED;
use crate::ecs::gap;
use crate::elbv2::attributes_without_effect;
use std::collections::BTreeSet;
use std::fmt::Write;
use wire::SERVICES;

const HEAD: &str = "\
Generated from the tables of operations: what Neargate knows of AWS's APIs and does not do.
Services that are not named here are not known at all.
";

/// The gap file.
pub fn render() -> String {
    let mut out = HEAD.to_owned();
    for service in SERVICES {
        let routes = || SERVED.iter().copied().flatten().filter(|r| r.service.id == service.id);
        let served: BTreeSet<&str> = routes().map(|route| route.operation).collect();
        let all = service.operations.len();
        line(&mut out, &format!("\n{}: {} of {all} operations served", service.id, served.len()));
        for operation in service.operations {
            if !served.contains(operation.name) {
                line(&mut out, &format!("  not served: {}", operation.name));
            }
        }
        for route in routes() {
            for field in route.ignored {
                line(&mut out, &format!("  accepted, no effect: {} {field}", route.operation));
            }
        }
        if service.id == "elbv2" {
            for (operation, key) in attributes_without_effect() {
                line(&mut out, &format!("  accepted, no effect: {operation} {key} (kept)"));
            }
        }
        if service.id == "ecs" {
            for field in gap::REFUSED_AT_RUN_TASK {
                line(&mut out, &format!("  registered, refused by RunTask: {field}"));
            }
        }
    }
    out
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a string takes everything");
}
