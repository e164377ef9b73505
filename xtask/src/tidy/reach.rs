//! Dead files: a `.rs` file that no `mod` declaration reaches is compiled by nobody, so it rots
//! while looking alive. From each crate root this follows the declarations as rustc does.

use std::collections::BTreeSet;

use super::source::{Source, closing, is_word};
use super::{Finding, Tree};

pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for file in tree.files.iter().filter(|file| file.is_rust() && is_root(&file.path)) {
        visit(tree, file, &mut seen);
    }
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        if !seen.contains(file.path.as_str()) {
            let says = "no `mod` declaration leads here: nobody compiles it".to_owned();
            let path = file.path.clone();
            findings.push(Finding { path, line: 1, rule: "dead-file", says });
        }
    }
}

/// The files cargo hands to rustc by itself.
fn is_root(path: &str) -> bool {
    let Some(inside) = path.strip_prefix("xtask/").or_else(|| {
        let inside = path.strip_prefix("crates/")?;
        inside.split_once('/').map(|(_, inside)| inside)
    }) else {
        return false;
    };
    let direct = |folder: &str| {
        inside
            .strip_prefix(folder)
            .is_some_and(|name| !name.contains('/') || name.ends_with("/main.rs"))
    };
    matches!(inside, "src/lib.rs" | "src/main.rs" | "build.rs")
        || ["src/bin/", "tests/", "benches/", "examples/"].iter().any(|folder| direct(folder))
}

fn visit<'a>(tree: &'a Tree, file: &'a Source, seen: &mut BTreeSet<&'a str>) {
    if !seen.insert(&file.path) {
        return;
    }
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let owns_folder = is_root(&file.path) || name == "mod.rs";
    let children = match owns_folder {
        true => folder.to_owned(),
        false => file.path.trim_end_matches(".rs").to_owned(),
    };
    for declared in declarations(file) {
        let candidates = match &declared.path {
            Some(path) => vec![normal(&format!("{folder}/{path}"))],
            None => {
                let stem = format!("{children}/{}", declared.name.join("/"));
                vec![format!("{stem}.rs"), format!("{stem}/mod.rs")]
            }
        };
        for candidate in candidates {
            if let Some(child) = tree.get(&candidate) {
                visit(tree, child, seen);
            }
        }
    }
}

struct Declared {
    /// The inline modules around it, then its own name.
    name: Vec<String>,
    /// The value of `#[path = "…"]`.
    path: Option<String>,
}

/// The `mod name;` declarations of a file, and the files it includes as text.
fn declarations(file: &Source) -> Vec<Declared> {
    let mut inline: Vec<(usize, usize, String)> = Vec::new();
    let mut declared = Vec::new();
    for start in file.find("mod") {
        let rest = &file.code[start + 3..];
        let name = rest.trim_start().trim_start_matches("r#");
        let length = name.bytes().take_while(|byte| is_word(*byte)).count();
        let at = start + 3 + (rest.len() - name.len()) + length;
        let name = name[..length].to_owned();
        match file.code[at..].trim_start().as_bytes().first() {
            Some(b';') => {
                let around = inline.iter().filter(|(from, to, _)| (*from..*to).contains(&start));
                let mut path: Vec<String> = around.map(|(_, _, name)| name.clone()).collect();
                path.push(name);
                declared.push(Declared { name: path, path: path_attribute(file, start) });
            }
            Some(b'{') => {
                let open = at + file.code[at..].find('{').expect("just seen");
                let close = closing(&file.code, open).unwrap_or(file.code.len());
                inline.push((open, close, name));
            }
            _ => {}
        }
    }
    for start in file.find("include!") {
        if let Some(path) = quoted(&file.text[start..]) {
            declared.push(Declared { name: Vec::new(), path: Some(path) });
        }
    }
    declared
}

fn path_attribute(file: &Source, declaration: usize) -> Option<String> {
    let item = file.code[..declaration].rfind([';', '}', '{']).map_or(0, |offset| offset + 1);
    let attribute = file.code[item..declaration].find("#[path")?;
    quoted(&file.text[item + attribute..declaration])
}

fn quoted(text: &str) -> Option<String> {
    let mut parts = text.split('"');
    parts.next()?;
    parts.next().map(str::to_owned)
}

/// Resolves `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(files: &[(&str, &str)]) -> Vec<String> {
        let mut findings = Vec::new();
        check(&Tree::of(files), &mut findings);
        findings.into_iter().map(|finding| finding.path).collect()
    }

    #[test]
    fn declarations_are_followed_as_rustc_does() {
        let alive = dead(&[
            ("crates/a/src/lib.rs", "mod b;\npub mod c { mod d; }\n#[path = \"x/e.rs\"]\nmod f;"),
            ("crates/a/src/b.rs", "pub(crate) mod g;"),
            ("crates/a/src/b/g.rs", "include!(\"../h.rs\");"),
            ("crates/a/src/h.rs", ""),
            ("crates/a/src/c/d.rs", ""),
            ("crates/a/src/x/e.rs", ""),
            ("crates/a/tests/it.rs", "mod common;"),
            ("crates/a/tests/common/mod.rs", "mod deep;"),
            ("crates/a/tests/common/deep.rs", ""),
            ("crates/a/build.rs", ""),
        ]);
        assert_eq!(alive, Vec::<String>::new());
    }

    #[test]
    fn what_nobody_declares_is_dead() {
        let dead = dead(&[
            ("crates/a/src/lib.rs", "// mod b;\nmod c;"),
            ("crates/a/src/b.rs", ""),
            ("crates/a/src/c.rs", ""),
            ("crates/a/src/sub/c.rs", ""),
            ("crates/a/tests/common/mod.rs", ""),
        ]);
        let expected =
            ["crates/a/src/b.rs", "crates/a/src/sub/c.rs", "crates/a/tests/common/mod.rs"];
        assert_eq!(dead, expected);
    }
}
