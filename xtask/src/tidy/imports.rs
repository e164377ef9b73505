//! Who may import whom. The table is ARCHITECTURE.md's; an arrow only points down, shells do not
//! import shells (but for agent → runtime), and the pure crates may use only crates that can do no
//! I/O, because what is not in the dependency list can't be called by mistake.

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Finding, Tree};
use crate::shell::Run;

struct Row {
    name: &'static str,
    may: &'static [&'static str],
    /// What its tests may use on top.
    tests_may: &'static [&'static str],
}

const fn row(
    name: &'static str,
    may: &'static [&'static str],
    tests_may: &'static [&'static str],
) -> Row {
    Row { name, may, tests_may }
}

const TABLE: &[Row] = &[
    row("wire", &[], &[]),
    row("model", &[], &[]),
    row("plan", &["model"], &[]),
    row("store", &["model"], &[]),
    row("frontend", &["wire", "model", "plan", "store"], &[]),
    row("manager", &["wire", "model", "plan", "store"], &[]),
    row("agent", &["wire", "model", "plan", "runtime"], &[]),
    row("runtime", &["model"], &[]),
    row("registry", &["model", "store"], &[]),
    row("balancer", &["model", "plan"], &[]),
    row("dns", &["model", "plan"], &[]),
    row(
        "sim",
        &[
            "wire", "model", "plan", "store", "frontend", "manager", "agent", "runtime",
            "registry", "balancer", "dns",
        ],
        &[],
    ),
    row(
        "neargate",
        &[
            "wire", "model", "plan", "store", "frontend", "manager", "agent", "runtime",
            "registry", "balancer", "dns",
        ],
        &["sim"],
    ),
    row("xtask", &["wire"], &[]),
];

/// The pure crates, and all of the outside world they may build on (their tests: also the second).
const PURE: [&str; 2] = ["model", "plan"];
const PURE_MAY: [&str; 5] = ["imbl", "regex-lite", "serde", "serde_json", "thiserror"];
const PURE_TESTS_MAY: [&str; 2] = ["expect-test", "proptest"];

/// What matters of one Cargo.toml.
#[derive(Debug)]
pub struct Manifest {
    pub name: String,
    /// Relative to the workspace's root.
    pub path: String,
    pub dependencies: Vec<Dependency>,
}

#[derive(Debug)]
pub struct Dependency {
    pub name: String,
    /// What the crate's sources call it.
    pub called: String,
    pub for_tests: bool,
}

/// The workspace's manifests, as cargo understands them.
pub fn manifests() -> Result<Vec<Manifest>> {
    let line = "cargo metadata --no-deps --offline --format-version 1";
    let text = Run::line(line).read()?;
    let metadata = serde_json::from_str(&text).context("cargo metadata wrote no JSON")?;
    parse(&metadata).context("cargo metadata lacks a field")
}

fn parse(metadata: &Value) -> Option<Vec<Manifest>> {
    let root = metadata["workspace_root"].as_str()?;
    let manifest = |package: &Value| {
        let path = package["manifest_path"].as_str()?.strip_prefix(root)?;
        let dependency = |it: &Value| {
            let name = it["name"].as_str()?.to_owned();
            let called = it["rename"].as_str().unwrap_or(&name).replace('-', "_");
            Some(Dependency { name, called, for_tests: it["kind"].as_str() == Some("dev") })
        };
        let dependencies = package["dependencies"].as_array()?.iter().map(dependency);
        Some(Manifest {
            name: package["name"].as_str()?.to_owned(),
            path: path.trim_start_matches('/').to_owned(),
            dependencies: dependencies.collect::<Option<_>>()?,
        })
    };
    metadata["packages"].as_array()?.iter().map(manifest).collect()
}

pub fn check(manifests: &[Manifest], tree: &Tree, findings: &mut Vec<Finding>) {
    for manifest in manifests {
        let text = tree.get(&manifest.path).map_or("", |file| file.text.as_str());
        let mut push = |word: &str, rule, says| {
            let line = line_of(text, word);
            findings.push(Finding { path: manifest.path.clone(), line, rule, says });
        };
        let name = manifest.name.as_str();
        let expected = match name {
            "xtask" => "xtask/Cargo.toml".to_owned(),
            _ => format!("crates/{name}/Cargo.toml"),
        };
        if manifest.path != expected {
            let says = format!("crate `{name}` belongs in {expected}: folder name = crate name");
            push("name", "folder", says);
        }
        if !text.contains("[lints]\nworkspace = true") {
            let says = "no `[lints] workspace = true`: one set of lints holds everywhere";
            push("[package]", "lints", says.to_owned());
        }
        let Some(row) = TABLE.iter().find(|row| row.name == name) else {
            let says =
                format!("`{name}` has no row in xtask's import table: decide who it imports");
            push("name", "import", says);
            continue;
        };
        for dependency in &manifest.dependencies {
            if let Some(says) = refusal(row, dependency) {
                push(&dependency.name, "import", says);
            }
            if !is_named(manifest, dependency, tree) {
                let says = format!(
                    "`{}` is named nowhere{}: what nobody uses is built and checked for nothing",
                    dependency.called,
                    if dependency.for_tests { "" } else { " but in tests, if there" }
                );
                push(&dependency.name, "unused", says);
            }
        }
    }
}

/// Whether the crate's sources name a dependency; for one that isn't for tests, outside of tests.
fn is_named(manifest: &Manifest, dependency: &Dependency, tree: &Tree) -> bool {
    let folder = manifest.path.trim_end_matches("Cargo.toml");
    let sources = tree.files.iter().filter(|it| it.is_rust() && it.path.starts_with(folder));
    let mut counted = sources.filter(|it| dependency.for_tests || !it.is_test_file());
    let paths = [format!("{}::", dependency.called), format!("use {}", dependency.called)];
    counted.any(|it| {
        let mut places = paths.iter().flat_map(|path| it.find(path));
        // A module of the crate's own may have the same name.
        let is_own = |at: usize| it.code[..at].ends_with("::");
        places.any(|at| !is_own(at) && (dependency.for_tests || !it.is_test_at(at)))
    })
}

fn refusal(row: &Row, dependency: &Dependency) -> Option<String> {
    let wanted = dependency.name.as_str();
    let pure = PURE.contains(&row.name);
    if TABLE.iter().any(|row| row.name == wanted) {
        let allowed = row.may.contains(&wanted)
            || (dependency.for_tests && row.tests_may.contains(&wanted))
            // A crate's own tests may name it as a dependency.
            || row.name == wanted;
        (!allowed).then(|| {
            let may =
                if row.may.is_empty() { "nothing of ours".into() } else { row.may.join(", ") };
            format!("`{}` must not import `{wanted}` (it may: {may}): arrows point down", row.name)
        })
    } else {
        let allowed = !pure
            || PURE_MAY.contains(&wanted)
            || (dependency.for_tests && PURE_TESTS_MAY.contains(&wanted));
        (!allowed).then(|| {
            let may = PURE_MAY.join(", ");
            format!("`{}` is pure and may use only {may}, not `{wanted}`", row.name)
        })
    }
}

/// The first line that starts with `word`, or 1.
fn line_of(text: &str, word: &str) -> usize {
    let starts = |line: &str| {
        let rest = line.trim_start().strip_prefix(word);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'))
    };
    text.lines().position(starts).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(name: &str, path: &str, dependencies: &[(&str, bool)]) -> Manifest {
        let dependency = |it: &(&str, bool)| {
            let (name, called) = (it.0.to_owned(), it.0.replace('-', "_"));
            Dependency { name, called, for_tests: it.1 }
        };
        Manifest {
            name: name.to_owned(),
            path: path.to_owned(),
            dependencies: dependencies.iter().map(dependency).collect(),
        }
    }

    fn findings(manifest: Manifest, text: &str) -> Vec<String> {
        // A source that names everything.
        let all: Vec<_> = manifest.dependencies.iter().map(|it| it.called.as_str()).collect();
        let source = format!("fn f() {{ {}::g() }}", all.join("::g(); "));
        let path = manifest.path.replace("Cargo.toml", "src/lib.rs");
        let tree = Tree::of(&[(&manifest.path, text), (&path, &source)]);
        let mut findings = Vec::new();
        check(&[manifest], &tree, &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    const LINTS: &str = "[package]\nname = \"x\"\n[lints]\nworkspace = true\n";

    #[test]
    fn arrows_point_down() {
        let path = "crates/plan/Cargo.toml";
        assert!(findings(manifest("plan", path, &[("model", false)]), LINTS).is_empty());
        let text = format!("{LINTS}[dependencies]\nstore.workspace = true\n");
        let found = findings(manifest("plan", path, &[("store", false)]), &text);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("crates/plan/Cargo.toml:6: import: `plan` must not import"));
        // Also not for tests, unless the table says so.
        assert_eq!(findings(manifest("plan", path, &[("store", true)]), LINTS).len(), 1);
        let path = "crates/neargate/Cargo.toml";
        assert!(findings(manifest("neargate", path, &[("sim", true)]), LINTS).is_empty());
        assert_eq!(findings(manifest("neargate", path, &[("sim", false)]), LINTS).len(), 1);
    }

    #[test]
    fn the_pure_crates_can_do_no_io() {
        let path = "crates/model/Cargo.toml";
        assert!(findings(manifest("model", path, &[("serde", false)]), LINTS).is_empty());
        assert!(findings(manifest("model", path, &[("proptest", true)]), LINTS).is_empty());
        assert_eq!(findings(manifest("model", path, &[("proptest", false)]), LINTS).len(), 1);
        assert_eq!(findings(manifest("model", path, &[("tokio", true)]), LINTS).len(), 1);
        let path = "crates/store/Cargo.toml";
        assert!(findings(manifest("store", path, &[("tokio", false)]), LINTS).is_empty());
    }

    #[test]
    fn folder_name_is_crate_name_and_every_crate_is_known() {
        assert_eq!(findings(manifest("plan", "crates/planner/Cargo.toml", &[]), LINTS).len(), 1);
        let found = findings(manifest("utils", "crates/utils/Cargo.toml", &[]), LINTS);
        assert!(found[0].contains("no row"), "{found:?}");
    }

    #[test]
    fn every_crate_takes_the_lints() {
        let path = "crates/plan/Cargo.toml";
        let found = findings(manifest("plan", path, &[]), "[package]\nname = \"plan\"\n");
        assert!(found[0].contains("lints"), "{found:?}");
    }

    #[test]
    fn cargos_metadata_is_understood() {
        let manifests = manifests().expect("cargo metadata runs");
        let plan = manifests.iter().find(|it| it.name == "plan").expect("plan is a member");
        assert_eq!(plan.path, "crates/plan/Cargo.toml");
        assert!(plan.dependencies.iter().any(|it| it.name == "model" && !it.for_tests));
    }

    #[test]
    fn dependencies_that_nobody_names_are_found() {
        let wanted = [("serde-json", false), ("tempfile", true), ("hyper", false), ("ring", false)];
        let manifest = manifest("store", "crates/store/Cargo.toml", &wanted);
        let source = "use serde_json::Value; // hyper::\nuse crate::hyper::x;\n\
                      #[cfg(test)]\nmod tests { use tempfile::TempDir; use ring::digest; }\n";
        let other = "use hyper::body;\n";
        let tree = Tree::of(&[
            ("crates/store/Cargo.toml", LINTS),
            ("crates/store/src/lib.rs", source),
            ("crates/frontend/src/lib.rs", other),
        ]);
        let mut findings = Vec::new();
        check(&[manifest], &tree, &mut findings);
        let unused = findings.iter().filter(|it| it.rule == "unused").map(|it| it.says.as_str());
        let names: Vec<_> = unused.filter_map(|says| says.split('`').nth(1)).collect();
        assert_eq!(names, ["hyper", "ring"]);
    }
}
