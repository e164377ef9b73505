//! Regular expressions of conditions. The engine takes time in proportion to the product of the
//! lengths of expression and text, whatever they are, and both are bounded.

use regex_lite::{Regex, RegexBuilder};

/// Bytes of a compiled expression: what 128 characters come to, unless they are counted repeats of
/// counted repeats.
const COMPILED_BYTES_MAX: usize = 128 * 1024;

pub fn compiled(expression: &str, ignore_case: bool) -> Option<Regex> {
    RegexBuilder::new(expression)
        .case_insensitive(ignore_case)
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .ok()
}

/// Whether it is an expression that can be asked.
pub fn is_regex(expression: &str) -> bool {
    compiled(expression, true).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_bounded() {
        assert!(is_regex("^/v[0-9]{1,3}/(a|b)$"));
        for bad in ["(", "[z-a]", "(a{1000}){1000}"] {
            assert!(!is_regex(bad), "{bad}");
        }
    }
}
