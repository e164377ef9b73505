//! Which shapes the typed operations reach, and from which side. What only comes in needs no
//! writer, what only goes out needs no reader, and what nobody reaches is not written at all:
//! that is what keeps the compile time of `wire` small.

use std::collections::{BTreeMap, BTreeSet};

use super::services::Typed;
use super::shapes::{Kind, Model, Shape, ShapeRef};

pub struct Reach {
    pub inputs: BTreeSet<String>,
    pub outputs: BTreeSet<String>,
    /// Structures that contain themselves without a list or map between; such members are boxed.
    recursive: BTreeMap<String, BTreeSet<String>>,
    /// Structures whose content must not show in Debug.
    pub hidden: BTreeSet<String>,
}

impl Reach {
    pub fn of(model: &Model, typed: &Typed) -> Reach {
        let mut inputs = BTreeSet::new();
        let mut outputs = BTreeSet::new();
        for (name, operation) in &model.operations {
            if typed.has(name) {
                if let Some(input) = &operation.input {
                    walk(model, &input.shape, &mut inputs);
                }
                if let Some(output) = &operation.output {
                    walk(model, &output.shape, &mut outputs);
                }
            }
        }
        let mut recursive = BTreeMap::new();
        let mut hidden = BTreeSet::new();
        for name in inputs.union(&outputs) {
            let shape = model.shape(name);
            if shape.kind == Kind::Structure {
                recursive.insert(name.clone(), embedded(model, name));
            }
            if shape.sensitive {
                hidden.extend(hidden_by(shape, name));
            }
        }
        Reach { inputs, outputs, recursive, hidden }
    }

    pub fn all(&self) -> impl Iterator<Item = &String> {
        self.inputs.union(&self.outputs)
    }

    /// Whether a member of `owner` of type `member` closes a cycle.
    pub fn is_boxed(&self, owner: &str, member: &str) -> bool {
        self.recursive.get(member).is_some_and(|inside| inside.contains(owner))
    }
}

/// A sensitive list hides its elements, as the list itself is a plain `Vec`.
fn hidden_by(shape: &Shape, name: &str) -> Option<String> {
    match shape.kind {
        Kind::Structure => Some(name.to_owned()),
        Kind::List => shape.member.as_ref().map(|member| member.shape.clone()),
        Kind::Map => shape.value.as_ref().map(|value| value.shape.clone()),
        _ => None,
    }
}

fn walk(model: &Model, name: &str, seen: &mut BTreeSet<String>) {
    if !seen.insert(name.to_owned()) {
        return;
    }
    for next in targets(model.shape(name)) {
        walk(model, &next.shape, seen);
    }
}

pub fn targets(shape: &Shape) -> impl Iterator<Item = &ShapeRef> {
    let parts = [&shape.member, &shape.key, &shape.value];
    shape.members.values().chain(parts.into_iter().filter_map(Option::as_ref))
}

/// All structures that lie in `name` by value, itself included.
fn embedded(model: &Model, name: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![name.to_owned()];
    while let Some(next) = todo.pop() {
        let shape = model.shape(&next);
        if shape.kind == Kind::Structure && seen.insert(next) {
            todo.extend(shape.members.values().map(|member| member.shape.clone()));
        }
    }
    seen
}
