//! `cargo xtask deny`: licences, banned and doubled crates, by `deny.toml`. Where cargo-deny is
//! installed it does the work; elsewhere the same lists are checked here against what cargo says it
//! would build, because installing cargo-deny takes longer than the whole test run.

mod licence;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell::{self, Run};

pub fn run(args: &[String]) -> Result<()> {
    if let Some(unknown) = args.first() {
        bail!("deny takes no arguments, got `{unknown}`");
    }
    if shell::on_path("cargo-deny") {
        return Run::line("cargo deny check bans licenses sources").check();
    }
    let lists = std::fs::read_to_string(shell::root().join("deny.toml"))?;
    let lists = Lists::parse(&lists)?;
    let host = Run::line("rustc -vV").read()?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let metadata = Run::line("cargo metadata --format-version 1 --locked --filter-platform")
        .arg(host.context("rustc does not tell its host")?)
        .read()?;
    let packages = packages(&serde_json::from_str(&metadata)?).context("metadata lacks a field")?;
    for doubled in doubled(&packages) {
        println!("note: {doubled}");
    }
    let refused = lists.refuse(&packages);
    for line in &refused {
        println!("{line}");
    }
    if !refused.is_empty() {
        bail!("{} refusals by deny.toml", refused.len());
    }
    println!("deny: {} packages, all allowed by deny.toml", packages.len());
    Ok(())
}

/// The lists of deny.toml that are checked here.
#[derive(Debug, Default)]
struct Lists {
    licences: Vec<String>,
    /// Crate and reason.
    banned: Vec<(String, String)>,
}

impl Lists {
    /// Understands as much of TOML as deny.toml uses: an array of strings, and one of one-line
    /// tables.
    fn parse(text: &str) -> Result<Lists> {
        let array = |section: &str, key: &str| -> Result<Vec<Vec<String>>> {
            let start = text.find(&format!("\n[{section}]\n"));
            let body = &text[start.with_context(|| format!("deny.toml has no [{section}]"))?..];
            let start = body.find(&format!("\n{key} = [\n"));
            let body = &body[start.with_context(|| format!("[{section}] has no {key}"))?..];
            let end = body.find("\n]").with_context(|| format!("{key} does not end"))?;
            let lines = body[..end].lines().skip(2);
            // Every second part between quotes is a string.
            let strings =
                |line: &str| line.split('"').skip(1).step_by(2).map(str::to_owned).collect();
            Ok(lines.map(strings).filter(|strings: &Vec<String>| !strings.is_empty()).collect())
        };
        let licences: Vec<String> = array("licenses", "allow")?.into_iter().flatten().collect();
        let banned: Vec<(String, String)> = array("bans", "deny")?
            .into_iter()
            .map(|strings| (strings[0].clone(), strings.get(1).cloned().unwrap_or_default()))
            .collect();
        if licences.is_empty() || banned.is_empty() {
            bail!("deny.toml allows no licence or bans no crate: was it meant?");
        }
        Ok(Lists { licences, banned })
    }

    fn refuse(&self, packages: &[Package]) -> Vec<String> {
        let mut refused = Vec::new();
        for package in packages {
            let Package { name, version, .. } = package;
            if let Some((_, reason)) = self.banned.iter().find(|(banned, _)| banned == name) {
                refused.push(format!("{name} {version} is banned: {reason}"));
            }
            let allowed = |id: &str| self.licences.iter().any(|licence| licence == id);
            match &package.licence {
                None => refused.push(format!("{name} {version} states no licence")),
                Some(text) => match licence::permits(text, &allowed) {
                    Some(true) => {}
                    Some(false) => refused.push(format!("{name} {version}: {text} is not allowed")),
                    None => refused.push(format!("{name} {version}: can't read licence `{text}`")),
                },
            }
        }
        refused
    }
}

#[derive(Debug)]
struct Package {
    name: String,
    version: String,
    licence: Option<String>,
}

/// The packages that the workspace reaches on this platform.
fn packages(metadata: &Value) -> Option<Vec<Package>> {
    let nodes = metadata["resolve"]["nodes"].as_array()?;
    let reached: BTreeSet<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    let mut packages = Vec::new();
    for package in metadata["packages"].as_array()? {
        if reached.contains(package["id"].as_str()?) {
            packages.push(Package {
                name: package["name"].as_str()?.to_owned(),
                version: package["version"].as_str()?.to_owned(),
                licence: package["license"].as_str().map(str::to_owned),
            });
        }
    }
    Some(packages)
}

/// Crates that are there more than once.
fn doubled(packages: &[Package]) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    let several = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    several.map(|(name, versions)| format!("{name} is there as {}", versions.join(", "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, licence: Option<&str>) -> Package {
        let licence = licence.map(str::to_owned);
        Package { name: name.to_owned(), version: "1.0.0".to_owned(), licence }
    }

    #[test]
    fn the_lists_of_the_project_are_read_and_obeyed() {
        let text = std::fs::read_to_string(shell::root().join("deny.toml")).expect("deny.toml");
        let lists = Lists::parse(&text).expect("deny.toml is understood");
        assert!(lists.licences.contains(&"MIT".to_owned()), "{lists:?}");
        assert_eq!(lists.refuse(&[package("serde", Some("MIT OR Apache-2.0"))]).len(), 0);
        let banned = lists.refuse(&[package("aws-lc-sys", Some("ISC"))]);
        assert!(banned[0].contains("aws-lc-sys 1.0.0 is banned: one crypto"), "{banned:?}");
        assert_eq!(lists.refuse(&[package("a", None)]).len(), 1);
        assert_eq!(lists.refuse(&[package("a", Some("AGPL-3.0-only"))]).len(), 1);
    }

    #[test]
    fn doubled_crates_are_named_with_their_versions() {
        let mut second = package("syn", None);
        second.version = "2.0.0".to_owned();
        let found = doubled(&[package("syn", None), second, package("serde", None)]);
        assert_eq!(found, ["syn is there as 1.0.0, 2.0.0"]);
    }
}
