//! The model's constraints, checked: required members, lengths, ranges, sizes, enumerations. Each
//! service words its refusals in its own way, so a violation carries the facts (where, what, which
//! bound) and offers the wording that most of AWS uses.

use std::fmt;

use crate::limits::{VALUE_SHOWN_CHARS_MAX, VIOLATIONS_MAX};
use crate::{Blob, Choice, Sensitive};

#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// From the request's root: `containerDefinitions[0].name`.
    pub path: String,
    pub bound: Bound,
    /// What stood there; `null` for a missing member, hidden for a sensitive one.
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    Required,
    MinLength(i64),
    MaxLength(i64),
    AtLeast(f64),
    AtMost(f64),
    OneOf(&'static [&'static str]),
}

impl fmt::Display for Bound {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Required => out.write_str("Member must not be null"),
            Bound::MinLength(n) => {
                write!(out, "Member must have length greater than or equal to {n}")
            }
            Bound::MaxLength(n) => write!(out, "Member must have length less than or equal to {n}"),
            Bound::AtLeast(n) => write!(out, "Member must have value greater than or equal to {n}"),
            Bound::AtMost(n) => write!(out, "Member must have value less than or equal to {n}"),
            Bound::OneOf(values) => {
                write!(out, "Member must satisfy enum value set: [{}]", values.join(", "))
            }
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { path, bound, value } = self;
        if *bound == Bound::Required {
            write!(out, "Value null at '{path}' failed to satisfy constraint: {bound}")
        } else {
            write!(out, "Value '{value}' at '{path}' failed to satisfy constraint: {bound}")
        }
    }
}

impl Violation {
    /// "2 validation errors detected: …; …", or nothing if there is nothing to say.
    pub fn summary(violations: &[Violation]) -> Option<String> {
        let (count, plural) = match violations.len() {
            0 => return None,
            1 => (1, ""),
            many => (many, "s"),
        };
        let texts: Vec<String> = violations.iter().map(Violation::to_string).collect();
        Some(format!("{count} validation error{plural} detected: {}", texts.join("; ")))
    }
}

/// A structure that has constraints, its own or inside.
pub trait Rules {
    fn check(&self, found: &mut Violations);
}

impl<T: Rules> Rules for Box<T> {
    fn check(&self, found: &mut Violations) {
        (**self).check(found);
    }
}

#[derive(Clone, Copy)]
enum Step {
    Member(&'static str),
    Index(usize),
}

/// Collects violations along the walk. The path is text only once something is wrong.
#[derive(Default)]
pub struct Violations {
    path: Vec<Step>,
    found: Vec<Violation>,
}

/// The bounded things a string, blob, list or map has in common.
pub(crate) trait Measured {
    fn size(&self) -> usize;
    fn shown(&self) -> String;
}

impl Measured for String {
    fn size(&self) -> usize {
        // AWS counts characters; UTF-16 units and bytes agree for nearly everything sent.
        if self.is_ascii() { self.len() } else { self.chars().count() }
    }
    fn shown(&self) -> String {
        self.chars().take(VALUE_SHOWN_CHARS_MAX).collect()
    }
}

impl Measured for Sensitive {
    fn size(&self) -> usize {
        self.expose().chars().count()
    }
    fn shown(&self) -> String {
        "***".to_owned()
    }
}

impl Measured for Blob {
    fn size(&self) -> usize {
        self.0.len()
    }
    fn shown(&self) -> String {
        format!("{} bytes", self.0.len())
    }
}

impl<T> Measured for Vec<T> {
    fn size(&self) -> usize {
        self.len()
    }
    fn shown(&self) -> String {
        format!("{} elements", self.len())
    }
}

impl<V> Measured for Map<V> {
    fn size(&self) -> usize {
        self.len()
    }
    fn shown(&self) -> String {
        format!("{} entries", self.len())
    }
}

type Map<V> = std::collections::BTreeMap<String, V>;

pub(crate) trait Number: Copy {
    fn as_f64(self) -> f64;
}

impl Number for i32 {
    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Number for i64 {
    fn as_f64(self) -> f64 {
        // Bounds beyond 2^53 mean "no bound", so the rounding decides nothing.
        self as f64
    }
}

impl Number for f64 {
    fn as_f64(self) -> f64 {
        self
    }
}

impl Violations {
    pub fn of(value: &impl Rules) -> Vec<Violation> {
        let mut violations = Violations::default();
        value.check(&mut violations);
        violations.found
    }

    fn add(&mut self, name: &'static str, bound: Bound, value: String) {
        if self.found.len() >= VIOLATIONS_MAX {
            return;
        }
        let mut path = String::new();
        for step in self.path.iter().copied().chain(self.last_step(name)) {
            match step {
                Step::Member(name) if path.is_empty() => path.push_str(name),
                Step::Member(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Step::Index(index) => path.push_str(&format!("[{index}]")),
            }
        }
        self.found.push(Violation { path, bound, value });
    }

    /// An empty name means the current place itself: an element of a list.
    fn last_step(&self, name: &'static str) -> Option<Step> {
        (!name.is_empty()).then_some(Step::Member(name))
    }

    fn at(&mut self, name: &'static str, index: Option<usize>, run: impl FnOnce(&mut Violations)) {
        let depth = self.path.len();
        self.path.push(Step::Member(name));
        self.path.extend(index.map(Step::Index));
        run(self);
        self.path.truncate(depth);
    }

    pub(crate) fn required<T>(&mut self, name: &'static str, value: Option<&T>) {
        if value.is_none() {
            self.add(name, Bound::Required, "null".to_owned());
        }
    }

    pub(crate) fn min_length(
        &mut self,
        name: &'static str,
        min: i64,
        value: Option<&impl Measured>,
    ) {
        if let Some(value) = value
            && (value.size() as i64) < min
        {
            self.add(name, Bound::MinLength(min), value.shown());
        }
    }

    pub(crate) fn max_length(
        &mut self,
        name: &'static str,
        max: i64,
        value: Option<&impl Measured>,
    ) {
        if let Some(value) = value
            && (value.size() as i64) > max
        {
            self.add(name, Bound::MaxLength(max), value.shown());
        }
    }

    pub(crate) fn min_size(&mut self, name: &'static str, min: i64, value: Option<&impl Measured>) {
        self.min_length(name, min, value);
    }

    pub(crate) fn max_size(&mut self, name: &'static str, max: i64, value: Option<&impl Measured>) {
        self.max_length(name, max, value);
    }

    pub(crate) fn at_least<N: Number + fmt::Display>(
        &mut self,
        name: &'static str,
        min: impl Number,
        value: Option<&N>,
    ) {
        if let Some(value) = value
            && value.as_f64() < min.as_f64()
        {
            self.add(name, Bound::AtLeast(min.as_f64()), value.to_string());
        }
    }

    pub(crate) fn at_most<N: Number + fmt::Display>(
        &mut self,
        name: &'static str,
        max: impl Number,
        value: Option<&N>,
    ) {
        if let Some(value) = value
            && value.as_f64() > max.as_f64()
        {
            self.add(name, Bound::AtMost(max.as_f64()), value.to_string());
        }
    }

    pub(crate) fn choice<C: Choice>(&mut self, name: &'static str, value: Option<&C>) {
        if let Some(value) = value
            && !value.is_recognized()
        {
            let shown = value.as_str().chars().take(VALUE_SHOWN_CHARS_MAX).collect();
            self.add(name, Bound::OneOf(C::VALUES), shown);
        }
    }

    pub(crate) fn inside(&mut self, name: &'static str, value: Option<&impl Rules>) {
        if let Some(value) = value {
            self.at(name, None, |found| value.check(found));
        }
    }

    fn each<T>(
        &mut self,
        name: &'static str,
        items: Option<&Vec<T>>,
        mut run: impl FnMut(&mut Violations, &T),
    ) {
        for (index, item) in items.into_iter().flatten().enumerate() {
            self.at(name, Some(index), |found| run(found, item));
        }
    }

    pub(crate) fn each_inside<T: Rules>(&mut self, name: &'static str, items: Option<&Vec<T>>) {
        self.each(name, items, |found, item| item.check(found));
    }

    pub(crate) fn each_choice<T: Choice>(&mut self, name: &'static str, items: Option<&Vec<T>>) {
        self.each(name, items, |found, item| found.choice("", Some(item)));
    }

    pub(crate) fn each_min_length<T: Measured>(
        &mut self,
        name: &'static str,
        min: i64,
        items: Option<&Vec<T>>,
    ) {
        self.each(name, items, |found, item| found.min_length("", min, Some(item)));
    }

    pub(crate) fn each_max_length<T: Measured>(
        &mut self,
        name: &'static str,
        max: i64,
        items: Option<&Vec<T>>,
    ) {
        self.each(name, items, |found, item| found.max_length("", max, Some(item)));
    }

    pub(crate) fn key_min_length<V>(&mut self, name: &'static str, min: i64, map: Option<&Map<V>>) {
        for key in map.into_iter().flat_map(Map::keys) {
            self.at(name, None, |found| found.min_length("key", min, Some(key)));
        }
    }

    pub(crate) fn key_max_length<V>(&mut self, name: &'static str, max: i64, map: Option<&Map<V>>) {
        for key in map.into_iter().flat_map(Map::keys) {
            self.at(name, None, |found| found.max_length("key", max, Some(key)));
        }
    }

    pub(crate) fn value_min_length<V: Measured>(
        &mut self,
        name: &'static str,
        min: i64,
        map: Option<&Map<V>>,
    ) {
        for value in map.into_iter().flat_map(Map::values) {
            self.at(name, None, |found| found.min_length("value", min, Some(value)));
        }
    }

    pub(crate) fn value_max_length<V: Measured>(
        &mut self,
        name: &'static str,
        max: i64,
        map: Option<&Map<V>>,
    ) {
        for value in map.into_iter().flat_map(Map::values) {
            self.at(name, None, |found| found.max_length("value", max, Some(value)));
        }
    }
}

macro_rules! rules {
    ($name:ident, [$($field:ident = $kind:ident($($arg:expr),*)),* $(,)?]) => {
        impl $crate::Rules for $name {
            #[allow(unused_variables)]
            fn check(&self, found: &mut $crate::Violations) {
                $(found.$kind($($arg,)* self.$field.as_ref());)*
            }
        }
    };
}
pub(crate) use rules;
