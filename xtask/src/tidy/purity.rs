//! `model` and `plan` are functions of their arguments: time, ids and randomness come in as values.
//! That is what lets the simulator replay a seed and a test state a whole decision. The dependency
//! list holds most of it; this holds what the standard library would still let through.

use super::{Finding, Tree};

const PURE: [&str; 2] = ["model", "plan"];

/// Words that would let the outside in, and what to do instead.
const BANNED: [(&str, &str); 20] = [
    ("Instant::now", "take the time as an argument"),
    ("SystemTime", "take the time as an argument"),
    ("Timestamp::now", "take the time as an argument"),
    ("rand::", "take the random number as an argument"),
    ("getrandom", "take the random number as an argument"),
    ("RandomState", "hash maps are seeded at random: use BTreeMap"),
    ("HashMap", "its order differs from run to run: use BTreeMap"),
    ("HashSet", "its order differs from run to run: use BTreeSet"),
    ("std::fs", "files belong to the shells"),
    ("std::io", "input and output belong to the shells"),
    ("std::env", "only neargate reads the environment"),
    ("std::process", "processes belong to runtime"),
    ("std::thread", "a decision has one thread"),
    ("std::sync", "a decision shares nothing that changes"),
    ("std::os", "the kernel belongs to runtime"),
    ("TcpStream", "sockets belong to the shells"),
    ("TcpListener", "sockets belong to the shells"),
    ("UdpSocket", "sockets belong to the shells"),
    ("ToSocketAddrs", "names are resolved by the shells"),
    ("static mut", "a decision has no memory"),
];

/// `Arc` shares what never changes, so it is no way out of a pure function.
const ALLOWED: [&str; 2] = ["std::sync::Arc", "std::sync::{Arc}"];

pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let pure = |name: Option<&str>| name.is_some_and(|name| PURE.contains(&name));
    for file in tree.rust().filter(|file| pure(file.crate_name())) {
        for (word, instead) in BANNED {
            for offset in file.find(word) {
                let rest = &file.code[offset..];
                if file.is_test_at(offset) || ALLOWED.iter().any(|it| rest.starts_with(it)) {
                    continue;
                }
                let path = file.path.clone();
                let line = file.line_of(offset);
                let says = format!("`{word}` in a pure crate: {instead}");
                findings.push(Finding { path, line, rule: "purity", says });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        let mut findings = Vec::new();
        check(&Tree::of(&[(path, text)]), &mut findings);
        findings.len()
    }

    #[test]
    fn pure_crates_see_nothing_of_the_world() {
        for (word, _) in BANNED {
            let text = format!("fn a() {{ {word} }}");
            assert_eq!(count("crates/plan/src/place.rs", &text), 1, "{word}");
            assert_eq!(count("crates/model/src/task.rs", &text), 1, "{word}");
            assert_eq!(count("crates/manager/src/place.rs", &text), 0, "{word}");
        }
    }

    #[test]
    fn prose_tests_and_shared_constants_are_no_way_out() {
        assert_eq!(count("crates/plan/src/a.rs", "// never Instant::now\n"), 0);
        assert_eq!(count("crates/plan/src/a.rs", "use std::sync::Arc;"), 0);
        assert_eq!(count("crates/plan/src/a.rs", "use std::sync::Mutex;"), 1);
        assert_eq!(count("crates/plan/tests/a.rs", "use std::fs;"), 0);
        assert_eq!(count("crates/plan/src/a.rs", "fn a() { MyHashMap }"), 0);
    }
}
