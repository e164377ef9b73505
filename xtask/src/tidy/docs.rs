//! Documents: a link in a page leads somewhere, and decision records are numbered without gaps, so
//! that "ADR 7" means one page for ever.

use std::path::Path;

use super::{Finding, Tree};

const RECORDS: &str = "docs/adr/";

pub fn check(tree: &Tree, root: &Path, findings: &mut Vec<Finding>) {
    for page in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = root.join(&page.path);
        let folder = folder.parent().expect("a file has a folder");
        for (line, target) in links(&page.text) {
            if !folder.join(&target).exists() {
                let says = format!("the link to `{target}` leads nowhere");
                let path = page.path.clone();
                findings.push(Finding { path, line, rule: "link", says });
            }
        }
    }
    let records: Vec<&str> =
        tree.files.iter().filter_map(|file| file.path.strip_prefix(RECORDS)).collect();
    numbering(&records, findings);
}

/// The relative targets of a page's links, without anchors; code and addresses left out.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // Every second part between backquotes is code.
        let prose: String = line.split('`').step_by(2).collect();
        for part in prose.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            let target = target.split('#').next().unwrap_or_default().trim();
            if !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:") {
                found.push((index + 1, target.to_owned()));
            }
        }
    }
    found
}

fn numbering(records: &[&str], findings: &mut Vec<Finding>) {
    for (index, name) in records.iter().enumerate() {
        let expected = format!("{:04}-", index + 1);
        let named = name.strip_prefix(&expected).is_some_and(|title| {
            let title = title.strip_suffix(".md").unwrap_or_default();
            !title.is_empty()
                && title.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        });
        if !named {
            let says = format!("expected `{expected}lower-case-title.md`: numbers have no gaps");
            let path = format!("{RECORDS}{name}");
            findings.push(Finding { path, line: 1, rule: "adr", says });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_taken_from_prose_only() {
        let text = "[a](b.md#x) and [c](https://example.org/d)\n`[e](f.md)`\n```\n[g](h.md)\n```\n\
                    ![i](j.png) [k](#l)";
        assert_eq!(links(text), [(1, "b.md".to_owned()), (6, "j.png".to_owned())]);
    }

    #[test]
    fn a_dead_link_is_found_and_a_live_one_is_not() {
        let tree = Tree::of(&[("xtask/README.md", "[a](Cargo.toml) [b](src) [c](nothing.md)")]);
        let mut findings = Vec::new();
        check(&tree, &crate::shell::root(), &mut findings);
        let says: Vec<&str> = findings.iter().map(|finding| finding.says.as_str()).collect();
        assert_eq!(says, ["the link to `nothing.md` leads nowhere"]);
    }

    #[test]
    fn records_are_numbered_without_gaps() {
        let count = |records: &[&str]| {
            let mut findings = Vec::new();
            numbering(records, &mut findings);
            findings.len()
        };
        assert_eq!(count(&["0001-a.md", "0002-b-c.md"]), 0);
        assert_eq!(count(&["0001-a.md", "0003-b.md"]), 1);
        assert_eq!(count(&["0001-a.md", "0001-b.md"]), 1);
        assert_eq!(count(&["0001-a.md", "notes.txt"]), 1);
        assert_eq!(count(&["0001-Bad Title.md"]), 1);
    }
}
