//! Words that must not be written, or only in certain places: unsafe code outside `runtime`,
//! unfinished code, sleeping where a test should wait for a fact, printing from libraries, and
//! this or that machine's folders.

use super::source::Source;
use super::{Finding, Tree};

/// Test files that may sleep, and why a condition can't stand there instead. Files that poll for a
/// condition with a deadline belong here too: the sleep is between two looks.
const MAY_SLEEP: &[(&str, &str)] = &[
    ("conformance/waiting.py", "the suite's one loop that looks for a condition until a deadline"),
    (
        "crates/balancer/tests/hostile/backends.rs",
        "looks until a backend listens, or a deadline has passed",
    ),
    (
        "crates/balancer/tests/hostile/slow.rs",
        "a slow client's pace is the test's subject; and looks with a deadline",
    ),
    (
        "crates/balancer/tests/served/world.rs",
        "the balancer's tests' one loop that looks for a condition until a deadline",
    ),
    (
        "crates/runtime/tests/conformance/embedded.rs",
        "looks at the kernel until it has taken everything away, or a deadline has passed",
    ),
    (
        "crates/runtime/tests/conformance/limits.rs",
        "measures the share of a CPU over a span of time: the span is what it waits for",
    ),
    (
        "crates/runtime/tests/conformance/network.rs",
        "connects until the container's server listens again after each answer",
    ),
    (
        "crates/runtime/tests/conformance/network_docker.rs",
        "asks a dockerd until it answers, and looks at what its firewall lets through, until a \
         deadline",
    ),
    (
        "crates/runtime/tests/conformance/recovery.rs",
        "looks for processes that come and go by themselves, until a deadline",
    ),
    (
        "crates/runtime/tests/conformance/suite.rs",
        "signals until a shell has set its trap, which nobody outside can see",
    ),
    (
        "crates/runtime/tests/image/registry.rs",
        "a fake registry that sends slowly: the pause is what it does, nobody waits by it",
    ),
];

/// Crates whose duty includes talking to a terminal.
const MAY_PRINT: [&str; 2] = ["neargate", "xtask"];

/// Crates that may read the environment.
const MAY_READ_ENVIRONMENT: [&str; 2] = ["neargate", "xtask"];

pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in tree.rust() {
        unfinished(file, findings);
        unsafety(file, findings);
        sleeping(file, findings);
        quiet(file, findings);
    }
    for file in tree.python() {
        python(file, findings);
    }
    for file in tree.files.iter().filter(|file| !file.is_generated()) {
        machine_paths(file, findings);
    }
    stale_permissions(tree, findings);
}

fn push(file: &Source, offset: usize, rule: &'static str, says: String, to: &mut Vec<Finding>) {
    to.push(Finding { path: file.path.clone(), line: file.line_of(offset), rule, says });
}

fn unfinished(file: &Source, findings: &mut Vec<Finding>) {
    const BANNED: [(&str, &str); 5] = [
        ("todo!", "unfinished work is an issue, not a panic"),
        ("unimplemented!", "unfinished work is an issue, not a panic"),
        ("dbg!", "it was for one afternoon"),
        ("#[ignore", "a test that does not run holds nothing: make it run or delete it"),
        ("#[should_panic", "any panic satisfies it: assert on the error instead"),
    ];
    for (word, why) in BANNED {
        for offset in file.find(word) {
            push(file, offset, "unfinished", format!("`{word}`: {why}"), findings);
        }
    }
    for offset in file.find(".unwrap()") {
        if !file.is_test_at(offset) {
            let says = "`unwrap()` outside a test: return the failure, or say with `expect` why \
                        there can be none";
            push(file, offset, "unwrap", says.to_owned(), findings);
        }
    }
}

fn unsafety(file: &Source, findings: &mut Vec<Finding>) {
    for offset in file.find("unsafe") {
        if file.crate_name() != Some("runtime") {
            let says = "`unsafe` outside crate runtime: one crate to audit, not twelve".to_owned();
            push(file, offset, "unsafe", says, findings);
        } else if needs_reason(&file.code[offset..]) && !has_reason(file, offset) {
            let says = "`unsafe` without a `// SAFETY:` above it: say why it is sound".to_owned();
            push(file, offset, "unsafe", says, findings);
        }
    }
}

/// Blocks and impls claim something; `unsafe fn` and the attribute `#[unsafe(…)]` only ask for it.
fn needs_reason(code: &str) -> bool {
    let rest = code["unsafe".len()..].trim_start();
    rest.starts_with('{') || rest.starts_with("impl")
}

/// Whether the comment above the statement that holds `offset` (or beside it) gives a reason.
fn has_reason(file: &Source, offset: usize) -> bool {
    const MARK: &str = "SAFETY:";
    let line = file.line_of(offset) - 1;
    let lines: Vec<&str> = file.text.lines().collect();
    let code: Vec<&str> = file.code.lines().collect();
    if lines[line].contains(MARK) {
        return true;
    }
    let mut commented = false;
    for above in (0..line).rev() {
        let is_comment = code[above].trim().is_empty() && !lines[above].trim().is_empty();
        let is_attribute = code[above].trim_start().starts_with("#[");
        if is_comment {
            commented = true;
            if lines[above].contains(MARK) {
                return true;
            }
        } else if commented || lines[above].trim().is_empty() {
            return false;
        } else if !is_attribute && code[above].trim_end().ends_with([';', '{', '}', ',']) {
            // The statement before this one.
            return false;
        }
    }
    false
}

fn sleeping(file: &Source, findings: &mut Vec<Finding>) {
    if MAY_SLEEP.iter().any(|(path, _)| *path == file.path) {
        return;
    }
    for word in ["sleep(", "sleep_until("] {
        for offset in file.find(word) {
            // A function of that name, or a fake clock's method, waits for nothing.
            let before = file.code[..offset].trim_end();
            let other = before.ends_with("fn") || before.ends_with('.');
            if file.is_test_at(offset) && !other {
                let says = "a sleep in a test: wait for the fact, with a deadline (a file that \
                            polls may be listed in tidy/words.rs, with its reason)";
                push(file, offset, "sleep", says.to_owned(), findings);
            }
        }
    }
}

fn quiet(file: &Source, findings: &mut Vec<Finding>) {
    let Some(name) = file.crate_name() else {
        return;
    };
    let own_program = file.path.ends_with("/build.rs") || file.path.contains("/examples/");
    let mut ban = |words: &[&str], rule, why: &str| {
        for word in words {
            for offset in file.find(word) {
                if !file.is_test_at(offset) && !own_program {
                    push(file, offset, rule, format!("`{word}` in `{name}`: {why}"), findings);
                }
            }
        }
    };
    if !MAY_PRINT.contains(&name) {
        let words = ["println!", "print!", "eprintln!", "eprint!"];
        ban(&words, "print", "a library tells tracing, not the terminal");
    }
    if !MAY_READ_ENVIRONMENT.contains(&name) {
        let words = ["env::var(", "env::var_os(", "env::vars(", "env::vars_os("];
        ban(&words, "environment", "configuration is an argument; only neargate reads it");
    }
}

fn python(file: &Source, findings: &mut Vec<Finding>) {
    const BANNED: [(&str, &str); 4] = [
        ("time.sleep(", "wait for the fact, with a deadline"),
        ("pytest.skip(", "a test that does not run holds nothing"),
        ("pytest.mark.skip", "a test that does not run holds nothing"),
        ("breakpoint(", "it was for one afternoon"),
    ];
    for (word, why) in BANNED {
        let listed = word == "time.sleep(" && MAY_SLEEP.iter().any(|(path, _)| *path == file.path);
        for (offset, _) in file.text.match_indices(word) {
            if !listed {
                push(file, offset, "python", format!("`{word}`: {why}"), findings);
            }
        }
    }
}

/// Folders of the machine something was written on. Split, so that this file may name them.
fn machine_paths(file: &Source, findings: &mut Vec<Finding>) {
    for word in [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")] {
        for (offset, _) in file.text.match_indices(word) {
            // Part of a longer path or an address, such as `docs/home/x`.
            let before = file.text[..offset].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || "._-}~".contains(c)) {
                continue;
            }
            let says = format!("`{word}`: a folder of one machine; nobody else has it");
            push(file, offset, "machine-path", says, findings);
        }
    }
}

/// A permission nobody uses is a hole.
fn stale_permissions(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, _) in MAY_SLEEP {
        let sleeps = tree.get(path).is_some_and(|file| file.text.contains("sleep"));
        if !sleeps {
            let says = format!("`{path}` may sleep but does not: strike it from the list");
            let path = "xtask/src/tidy/words.rs".to_owned();
            findings.push(Finding { path, line: 1, rule: "sleep", says });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, &'static str)> {
        let tree = Tree::of(&[(path, text)]);
        let mut findings = Vec::new();
        for file in tree.rust() {
            unfinished(file, &mut findings);
            unsafety(file, &mut findings);
            sleeping(file, &mut findings);
            quiet(file, &mut findings);
        }
        for file in tree.python() {
            python(file, &mut findings);
        }
        for file in &tree.files {
            machine_paths(file, &mut findings);
        }
        findings.into_iter().map(|finding| (finding.line, finding.rule)).collect()
    }

    const PLAN: &str = "crates/plan/src/a.rs";
    const RUNTIME: &str = "crates/runtime/src/a.rs";

    #[test]
    fn unfinished_code_is_found() {
        let text = "fn a() {\n todo!();\n unimplemented!();\n dbg!(1);\n}\n\
                    #[ignore = \"x\"]\n#[should_panic]\nfn b() { x.unwrap() }";
        let all: Vec<usize> = found(PLAN, text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(all, [2, 3, 4, 6, 7, 8]);
        assert_eq!(found(PLAN, "// todo! and dbg! are words\n"), []);
        assert_eq!(found(PLAN, "#[test]\nfn a() { x.unwrap() }"), []);
    }

    #[test]
    fn unsafe_belongs_to_runtime_and_gives_its_reason() {
        assert_eq!(found(PLAN, "// SAFETY: no.\nunsafe {}"), [(2, "unsafe")]);
        assert_eq!(found(RUNTIME, "fn a() {\n  unsafe { b() }\n}"), [(2, "unsafe")]);
        assert_eq!(found(RUNTIME, "fn a() {\n  // SAFETY: yes.\n  unsafe { b() }\n}"), []);
        assert_eq!(found(RUNTIME, "unsafe impl Send for A {}"), [(1, "unsafe")]);
        assert_eq!(found(RUNTIME, "// SAFETY: yes.\n#[x]\nunsafe impl Send for A {}"), []);
        let statement = "// SAFETY: yes,\n// at length.\nlet a =\n    b(unsafe { c() });";
        assert_eq!(found(RUNTIME, statement), []);
        let second = "// SAFETY: yes.\nunsafe { a() };\nunsafe { b() };";
        assert_eq!(found(RUNTIME, second), [(3, "unsafe")]);
        assert_eq!(found(RUNTIME, "unsafe fn a() {}\n#[unsafe(no_mangle)]\nfn b() {}"), []);
    }

    #[test]
    fn tests_wait_for_facts() {
        assert_eq!(found(PLAN, "fn a() { thread::sleep(x) }"), []);
        assert_eq!(found(PLAN, "#[test]\nfn a() {\n thread::sleep(x) }"), [(3, "sleep")]);
        let path = "crates/manager/tests/a.rs";
        assert_eq!(found(path, "async fn a() { sleep(x).await }"), [(1, "sleep")]);
        assert_eq!(found(path, "fn sleep(x: u8) { world.sleep(x) }"), []);
        assert_eq!(found("conformance/a.py", "time.sleep(1)\n"), [(1, "python")]);
    }

    #[test]
    fn libraries_are_quiet_and_take_arguments() {
        assert_eq!(found(PLAN, "fn a() { println!() }"), [(1, "print")]);
        assert_eq!(found("crates/neargate/src/a.rs", "fn a() { println!() }"), []);
        assert_eq!(found(PLAN, "fn a() { std::env::var(X) }"), [(1, "environment")]);
        assert_eq!(found("crates/neargate/src/a.rs", "fn a() { std::env::var(X) }"), []);
    }

    #[test]
    fn folders_of_one_machine_are_found() {
        let bad = format!("see {}x", concat!("/wo", "rk/"));
        assert_eq!(found("README.md", &bad), [(1, "machine-path")]);
        let good = format!("https://example.org{}x", concat!("/ho", "me/"));
        assert_eq!(found("README.md", &good), []);
    }
}
