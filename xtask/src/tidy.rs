//! `cargo xtask tidy`: the house rules a compiler does not know, checked over every file of the
//! tree: who may import whom, how big things get, what pure crates must not touch, which files and
//! links are dead. The same check is a test, so nobody has to remember to run it.
//!
//! A rule is a function from the tree to findings; a finding names the file, the line, the rule and
//! the reason for the rule, because a rule whose reason is lost is obeyed in letter only.

mod docs;
mod imports;
mod purity;
mod reach;
mod shape;
mod source;
mod words;
mod wrap;

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell::{self, Run};
use source::Source;

/// One broken rule at one place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub path: String,
    /// Counts from 1, as editors do.
    pub line: usize,
    pub rule: &'static str,
    /// What was found, and why it is not wanted.
    pub says: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.says)
    }
}

/// Every text file of the project, read once.
#[derive(Debug, Default)]
pub struct Tree {
    pub files: Vec<Source>,
}

impl Tree {
    /// A tree out of (path, text) pairs, for the tests of the rules.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Tree {
        Tree { files: files.iter().map(|(path, text)| Source::new(path, text)).collect() }
    }

    fn read(root: &Path) -> Result<Tree> {
        let mut files = Vec::new();
        for path in paths(root)? {
            let bytes = match std::fs::read(root.join(&path)) {
                Ok(bytes) => bytes,
                // Listed but gone: deleted in the work tree and not committed yet.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("can't read {path}")),
            };
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(Source::new(&path, &text));
            }
        }
        Ok(Tree { files })
    }

    pub fn get(&self, path: &str) -> Option<&Source> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Rust files that people write.
    pub fn rust(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|file| file.is_rust() && !file.is_generated())
    }

    /// Python files that people write.
    pub fn python(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().filter(|file| file.path.ends_with(".py"))
    }
}

/// The project's files, tracked and about to be, relative to `root`. Where git can't say (a source
/// archive, no git installed) every file counts but for what building leaves behind.
fn paths(root: &Path) -> Result<Vec<String>> {
    let listed = Run::line("git ls-files --cached --others --exclude-standard").read();
    let mut paths: Vec<String> = match listed {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(_) => walk(root, root)?,
    };
    paths.sort();
    paths.dedup();
    if paths.is_empty() {
        bail!("no files under {}", root.display());
    }
    Ok(paths)
}

fn walk(root: &Path, folder: &Path) -> Result<Vec<String>> {
    const NOT_OURS: [&str; 4] = [".git", "target", "__pycache__", ".pytest_cache"];
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if NOT_OURS.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            paths.extend(walk(root, &path)?);
        } else {
            let inside = path.strip_prefix(root).expect("a walk stays under its root");
            paths.push(inside.to_string_lossy().into_owned());
        }
    }
    Ok(paths)
}

/// All findings for the workspace at `root`, in the order of files and lines.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let tree = Tree::read(root)?;
    let manifests = imports::manifests()?;
    let mut findings = Vec::new();
    imports::check(&manifests, &tree, &mut findings);
    shape::check(&tree, &mut findings);
    words::check(&tree, &mut findings);
    purity::check(&tree, &mut findings);
    reach::check(&tree, &mut findings);
    docs::check(&tree, root, &mut findings);
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// Checks; with `--wrap`, first breaks comments that run past the width into lines that fit.
pub fn run(args: &[String]) -> Result<()> {
    let root = shell::root();
    match args {
        [] => {}
        [flag, folders @ ..] if flag == "--wrap" => rewrap(&root, folders)?,
        [unknown, ..] => bail!("usage: cargo xtask tidy [--wrap [FOLDER …]], got `{unknown}`"),
    }
    let findings = check(&root)?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: the tree is tidy"),
        count => bail!("{count} findings"),
    }
    Ok(())
}

fn rewrap(root: &Path, folders: &[String]) -> Result<()> {
    let tree = Tree::read(root)?;
    let meant = |file: &&Source| {
        folders.is_empty() || folders.iter().any(|folder| file.path.starts_with(folder.as_str()))
    };
    for file in tree.rust().filter(meant) {
        let wrapped = wrap::comments(&file.text);
        if wrapped != file.text {
            println!("wrapped {}", file.path);
            std::fs::write(root.join(&file.path), wrapped)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let findings = check(&shell::root()).expect("the tree can be read");
        let listed: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(listed.is_empty(), "{} findings:\n{}", listed.len(), listed.join("\n"));
    }

    #[test]
    fn without_git_the_walk_finds_the_same_kind_of_files() {
        let root = shell::root();
        let walked = walk(&root, &root).expect("the tree can be walked");
        assert!(walked.contains(&"xtask/src/tidy.rs".to_owned()));
        assert!(!walked.iter().any(|path| path.starts_with("target/")));
    }
}
