//! One file, seen the way the rules need it: its text, and its code, which is the text with
//! comments and the insides of literals blanked out, byte for byte. So a rule can look for a word
//! without stumbling over prose, and every offset still tells its line.

use std::ops::Range;

#[derive(Debug)]
pub struct Source {
    /// Relative to the workspace's root, with `/`.
    pub path: String,
    pub text: String,
    /// As long as `text`; only for Rust files, else empty.
    pub code: String,
    /// Parts of `code` that only tests compile.
    tests: Vec<Range<usize>>,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let rust = path.ends_with(".rs");
        let code = if rust { blank(text) } else { String::new() };
        let tests = if rust { test_ranges(&code) } else { Vec::new() };
        Source { path: path.to_owned(), text: text.to_owned(), code, tests }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub fn is_generated(&self) -> bool {
        self.path.contains("/generated/")
    }

    /// The crate whose folder holds this file.
    pub fn crate_name(&self) -> Option<&str> {
        match self.path.strip_prefix("crates/") {
            Some(inside) => inside.split_once('/').map(|(name, _)| name),
            None => self.path.starts_with("xtask/").then_some("xtask"),
        }
    }

    /// A file that only tests compile, by where it lies.
    pub fn is_test_file(&self) -> bool {
        let stem = self.path.trim_end_matches(".rs");
        let folders = ["/tests/", "/benches/"];
        folders.iter().any(|folder| self.path.contains(folder))
            || stem.ends_with("/tests")
            || stem.ends_with("_tests")
    }

    pub fn is_test_at(&self, offset: usize) -> bool {
        self.is_test_file() || self.tests.iter().any(|range| range.contains(&offset))
    }

    /// The line of a byte offset, from 1.
    pub fn line_of(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count()
    }

    /// Offsets in the code at which `needle` stands as whole words.
    pub fn find(&self, needle: &str) -> Vec<usize> {
        let bytes = self.code.as_bytes();
        let starts_word = needle.bytes().next().is_some_and(is_word);
        let ends_word = needle.bytes().last().is_some_and(is_word);
        self.code
            .match_indices(needle)
            .map(|(offset, _)| offset)
            .filter(|offset| !starts_word || *offset == 0 || !is_word(bytes[offset - 1]))
            .filter(|offset| {
                let after = bytes.get(offset + needle.len());
                !ends_word || !after.copied().is_some_and(is_word)
            })
            .collect()
    }
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where the bracket opened at `open` closes, counting only its own kind. `code` is blanked.
pub fn closing(code: &str, open: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    let (up, down) = match bytes[open] {
        b'{' => (b'{', b'}'),
        b'(' => (b'(', b')'),
        b'[' => (b'[', b']'),
        _ => return None,
    };
    let mut depth = 0_usize;
    for (offset, byte) in bytes.iter().enumerate().skip(open) {
        if *byte == up {
            depth += 1;
        } else if *byte == down {
            depth -= 1;
            if depth == 0 {
                return Some(offset);
            }
        }
    }
    None
}

/// The first `{` or `;` at or after `from` that is not inside parentheses or brackets: where an
/// item's head ends.
pub fn head_end(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' | b';' if depth == 0 => return Some(offset),
            _ => {}
        }
    }
    None
}

/// The items behind `#[cfg(test)]` and the functions behind `#[test]`.
fn test_ranges(code: &str) -> Vec<Range<usize>> {
    const MARKS: [&str; 5] =
        ["#[cfg(test)]", "#[cfg(any(test", "#[cfg(all(test", "#[test]", "#[tokio::test"];
    let mut ranges = Vec::new();
    for mark in MARKS {
        for (start, _) in code.match_indices(mark) {
            let Some(attribute_end) = closing(code, start + 1) else {
                continue;
            };
            let Some(end) = head_end_after_attributes(code, attribute_end + 1) else {
                continue;
            };
            let end = match code.as_bytes()[end] {
                b'{' => closing(code, end).unwrap_or(code.len()),
                _ => end,
            };
            ranges.push(start..end);
        }
    }
    ranges
}

fn head_end_after_attributes(code: &str, mut from: usize) -> Option<usize> {
    loop {
        let rest = &code[from..];
        let trimmed = rest.trim_start();
        if !trimmed.starts_with("#[") {
            return head_end(code, from);
        }
        let open = from + (rest.len() - trimmed.len()) + 1;
        from = closing(code, open)? + 1;
    }
}

/// Replaces comments and the insides of literals by spaces; line breaks stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (inside, next) = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => {
                let end = text[at..].find('\n').map_or(bytes.len(), |length| at + length);
                (at..end, end)
            }
            b'/' if bytes[at..].starts_with(b"/*") => {
                let end = block_comment_end(bytes, at);
                (at..end, end)
            }
            b'"' => {
                let end = string_end(bytes, at + 1);
                (at + 1..end, end + 1)
            }
            b'r' if at == 0 || !continues_word(bytes, at) => match raw_string(bytes, at) {
                Some((start, end, next)) => (start..end, next),
                None => (at..at, at + 1),
            },
            b'\'' => match char_end(text, at) {
                Some(end) => (at + 1..end, end + 1),
                None => (at..at, at + 1),
            },
            _ => (at..at, at + 1),
        };
        for byte in &mut out[inside.start..inside.end.min(bytes.len())] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = next;
    }
    String::from_utf8(out).expect("whole characters were replaced by spaces")
}

/// Whether the `r` at `at` is the tail of a longer word; the prefixes of `br"…"` and `cr"…"` are
/// part of the literal.
fn continues_word(bytes: &[u8], at: usize) -> bool {
    let before = bytes[at - 1];
    let prefixed = matches!(before, b'b' | b'c') && (at < 2 || !is_word(bytes[at - 2]));
    is_word(before) && !prefixed
}

fn block_comment_end(bytes: &[u8], from: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = from;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// The closing quote of a string whose inside starts at `from`.
fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Inside start, inside end and end of the raw string whose `r` is at `at`; `None` for a raw
/// identifier or any other `r`.
fn raw_string(bytes: &[u8], at: usize) -> Option<(usize, usize, usize)> {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    let quote = at + 1 + hashes;
    if bytes.get(quote) != Some(&b'"') {
        return None;
    }
    let mut end = quote + 1;
    while end < bytes.len() {
        let close = bytes[end] == b'"'
            && bytes.len() - end > hashes
            && bytes[end + 1..=end + hashes].iter().all(|byte| *byte == b'#');
        if close {
            return Some((quote + 1, end, end + 1 + hashes));
        }
        end += 1;
    }
    Some((quote + 1, bytes.len(), bytes.len()))
}

/// The closing quote of the character literal at `at`; `None` for a lifetime or a label.
fn char_end(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at + 1..];
    let first = rest.chars().next()?;
    if first == '\\' {
        // The character after the backslash may be a quote itself.
        let close = rest.get(2..)?.find('\'')?;
        return Some(at + 1 + 2 + close);
    }
    let close = at + 1 + first.len_utf8();
    (first != '\'' && text.as_bytes().get(close) == Some(&b'\'')).then_some(close)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new("x.rs", text).code
    }

    #[test]
    fn comments_and_literals_are_blanked_and_nothing_else() {
        assert_eq!(code("a // unsafe\nb"), "a          \nb");
        assert_eq!(code("a /* x /* y */ z */ b"), "a                   b");
        assert_eq!(code(r#"f("a \" b", c)"#), r#"f("      ", c)"#);
        assert_eq!(code(r##"f(r#"a " b"#, c)"##), r##"f(r#"     "#, c)"##);
        assert_eq!(code(r##"f(br"ab", c)"##), r##"f(br"  ", c)"##);
        assert_eq!(code(r"f('{', b'\'', '\u{1}')"), r"f(' ', b'  ', '     ')");
        assert_eq!(code("fn f<'a>(x: &'a str) {}"), "fn f<'a>(x: &'a str) {}");
        assert_eq!(code("let r#fn = 'é';"), "let r#fn = '  ';");
    }

    #[test]
    fn lines_survive_blanking() {
        let source = Source::new("x.rs", "let a = \"one\ntwo\";\nunsafe {}\n");
        let found = source.find("unsafe");
        assert_eq!(found.len(), 1);
        assert_eq!(source.line_of(found[0]), 3);
    }

    #[test]
    fn words_are_found_whole() {
        let source = Source::new("x.rs", "fn sleepy() { sleep(1); x.sleep(2); asleep(3) }");
        assert_eq!(source.find("sleep").len(), 2);
        assert_eq!(source.find("sleep(").len(), 2);
    }

    #[test]
    fn test_code_is_told_from_the_rest() {
        let text = "fn a() { one() }\n#[cfg(test)]\n#[allow(x)]\nmod tests { fn b() { two() } }\n\
                    fn c() { three() }\n#[tokio::test(flavor = \"x\")]\nasync fn d() { four() }";
        let source = Source::new("crates/x/src/a.rs", text);
        let tested = |word: &str| source.is_test_at(source.find(word)[0]);
        assert!(!tested("one"));
        assert!(tested("two"));
        assert!(!tested("three"));
        assert!(tested("four"));
        assert!(Source::new("crates/x/tests/a.rs", "fn a() {}").is_test_at(0));
    }
}
