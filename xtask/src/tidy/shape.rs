//! The shape of files: each opens by saying what it is for, and none grows past what a reader can
//! hold in the head. Generated code is exempt: nobody reads it, and nobody should.

use super::source::{Source, closing, head_end, is_word};
use super::{Finding, Tree};

const LINES_PER_FILE: usize = 800;
const LINES_PER_FUNCTION: usize = 70;
const COLUMNS_PER_LINE: usize = 100;
/// An opening shorter than this says nothing that the file's name does not.
const OPENING_CHARS: usize = 20;

pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in tree.rust() {
        opening(file, "//!", findings);
        functions(file, findings);
    }
    for file in tree.python() {
        opening(file, "\"\"\"", findings);
    }
    for file in tree.rust().chain(tree.python()) {
        sizes(file, findings);
    }
}

/// The file's first paragraph says what it is for and the idea behind it.
fn opening(file: &Source, mark: &str, findings: &mut Vec<Finding>) {
    let first = file.text.lines().next().unwrap_or_default();
    let length: usize = match mark {
        "//!" => {
            let lines = file.text.lines().map_while(|line| line.strip_prefix(mark));
            lines.map(|line| line.trim().len()).sum()
        }
        _ => file.text.split(mark).nth(1).unwrap_or_default().trim().len(),
    };
    let says = if !first.starts_with(mark) {
        format!("the first line is no `{mark}`: a file opens with what it is for and its idea")
    } else if length < OPENING_CHARS {
        format!("the opening has {length} characters: say what the file is for and its idea")
    } else {
        return;
    };
    findings.push(Finding { path: file.path.clone(), line: 1, rule: "opening", says });
}

fn sizes(file: &Source, findings: &mut Vec<Finding>) {
    let mut push = |line, rule, says| {
        findings.push(Finding { path: file.path.clone(), line, rule, says });
    };
    let lines = file.text.lines().count();
    if lines > LINES_PER_FILE {
        let says = format!(
            "{lines} lines, more than {LINES_PER_FILE}: a file this long holds two ideas, part them"
        );
        push(LINES_PER_FILE + 1, "file-length", says);
    }
    for (index, line) in file.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > COLUMNS_PER_LINE {
            let says = format!(
                "{columns} columns, more than {COLUMNS_PER_LINE}: two files must fit side by side"
            );
            push(index + 1, "line-length", says);
        }
    }
}

fn functions(file: &Source, findings: &mut Vec<Finding>) {
    for start in file.find("fn") {
        let Some(name) = name_after(&file.code, start + 2) else {
            continue;
        };
        let Some(open) = head_end(&file.code, start) else {
            continue;
        };
        if file.code.as_bytes()[open] != b'{' {
            continue;
        }
        let Some(close) = closing(&file.code, open) else {
            continue;
        };
        let line = file.line_of(start);
        let length = file.line_of(close) - line + 1;
        if length > LINES_PER_FUNCTION {
            let says = format!(
                "`{name}` has {length} lines, more than {LINES_PER_FUNCTION}: name its steps"
            );
            findings.push(Finding { path: file.path.clone(), line, rule: "fn-length", says });
        }
    }
}

/// The name of a function item; `None` for a function type such as `fn(u8)`.
fn name_after(code: &str, from: usize) -> Option<&str> {
    let rest = code.get(from..)?;
    let name = rest.trim_start();
    if name.len() == rest.len() {
        return None;
    }
    let length = name.bytes().take_while(|byte| is_word(*byte)).count();
    (length > 0).then(|| &name[..length])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENING: &str = "//! What this file is for, and the idea that is behind it.\n";

    fn rules(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let mut findings = Vec::new();
        check(&Tree::of(&[(path, text)]), &mut findings);
        findings.into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    #[test]
    fn a_file_opens_with_a_paragraph() {
        assert_eq!(rules("a.rs", "fn a() {}\n"), [(1, "opening")]);
        assert_eq!(rules("a.rs", "//! Tests.\nfn a() {}\n"), [(1, "opening")]);
        assert_eq!(rules("a.rs", &format!("{OPENING}fn a() {{}}\n")), []);
        assert_eq!(rules("a.py", "import os\n"), [(1, "opening")]);
        let docstring = "\"\"\"What this file is for, and the idea behind it.\"\"\"\n";
        assert_eq!(rules("a.py", docstring), []);
    }

    #[test]
    fn the_limits_are_exact() {
        let lines = |count: usize| format!("{OPENING}{}", "//\n".repeat(count - 1));
        assert_eq!(rules("a.rs", &lines(800)), []);
        assert_eq!(rules("a.rs", &lines(801)), [(801, "file-length")]);

        let columns = |count: usize| format!("{OPENING}// {}\n", "é".repeat(count - 3));
        assert_eq!(rules("a.rs", &columns(100)), []);
        assert_eq!(rules("a.rs", &columns(101)), [(2, "line-length")]);

        let function = |count: usize| {
            format!(
                "{OPENING}\npub fn long(\n    x: [u8; 2],\n) {{\n{}}}\n",
                "\n".repeat(count - 4)
            )
        };
        assert_eq!(rules("a.rs", &function(70)), []);
        assert_eq!(rules("a.rs", &function(71)), [(3, "fn-length")]);
    }

    #[test]
    fn declarations_and_function_types_have_no_length() {
        let text = format!("{OPENING}trait A {{ fn a(&self); }}\ntype B = fn(u8) -> u8;\n");
        let text = format!("{text}struct C {{\n{}}}\n", "\n".repeat(90));
        assert_eq!(rules("a.rs", &text), []);
    }

    #[test]
    fn generated_code_is_exempt() {
        assert_eq!(rules("crates/wire/src/generated/ecs.rs", &"x\n".repeat(900)), []);
    }
}
