//! Patterns with `*` (any run of characters) and `?` (any one).

/// Whether the whole text fits the pattern. Takes time in proportion to the product of the lengths
/// at most, whatever the pattern.
pub fn matches_pattern(pattern: &str, text: &str) -> bool {
    fits(pattern.as_bytes(), text.as_bytes(), |byte| byte)
}

/// The same of a pattern in lower case and a text in any.
pub fn matches_pattern_of_any_case(pattern: &str, text: &str) -> bool {
    fits(pattern.as_bytes(), text.as_bytes(), |byte| byte.to_ascii_lowercase())
}

fn fits(pattern: &[u8], text: &[u8], as_read: impl Fn(u8) -> u8) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star was, and how much of the text it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&one) if one == b'?' || one == as_read(text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((at, taken)) => {
                    *taken += 1;
                    p = *at + 1;
                    t = *taken;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_take_runs_and_question_marks_one() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "anything"),
            ("a*c", "abbbc"),
            ("a*b*c", "aXbXbXc"),
            ("?at", "cat"),
            ("*.example.com", "a.b.example.com"),
            ("/img/*", "/img/"),
        ] {
            assert!(matches_pattern(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("?", ""), ("a*c", "abb"), ("/img/*", "/img"), ("*.x", "x"), ("abc", "ab")]
        {
            assert!(!matches_pattern(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn no_pattern_takes_long() {
        let text = "a".repeat(2_000);
        assert!(!matches_pattern(&format!("{}b", "*a".repeat(60)), &text));
    }
}
