//! `cargo xtask codegen`: writes crates/wire/src/generated from the service models that botocore
//! ships, so that every shape, name and limit on the wire is AWS's own and nobody types them by
//! hand. The output is committed; `--check` regenerates in memory and fails if a byte differs.
//! AWS's prose is not copied: only names, types and numbers.

mod botocore;
mod emit;
mod names;
mod reach;
mod rules;
mod services;
mod shapes;

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::shell;

const OUTPUT_DIR: &str = "crates/wire/src/generated";

pub fn run(args: &[String]) -> Result<()> {
    let check = match args {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => bail!("usage: cargo xtask codegen [--check]"),
    };
    let models = botocore::Models::find()?;
    let folder = shell::root().join(OUTPUT_DIR);
    let mut stale = Vec::new();
    for plan in services::SERVICES {
        let text = models.read(plan.botocore, plan.version)?;
        let model: shapes::Model = serde_json::from_slice(&text)
            .with_context(|| format!("the model of {} has an unexpected form", plan.module))?;
        let source = emit::service(plan, &model)
            .and_then(|source| rustfmt(&source))
            .with_context(|| format!("generating {}", plan.module))?;
        let path = folder.join(format!("{}.rs", plan.module));
        if check {
            if std::fs::read_to_string(&path).unwrap_or_default() != source {
                stale.push(format!("{OUTPUT_DIR}/{}.rs", plan.module));
            }
        } else {
            write_if_changed(&path, &source)?;
        }
    }
    if check {
        stale.extend(orphans(&folder)?);
    }
    if !stale.is_empty() {
        bail!("not what the models give, run `cargo xtask codegen`: {}", stale.join(", "));
    }
    Ok(())
}

/// Files that no service of the table accounts for.
fn orphans(folder: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let module = name.strip_suffix(".rs").unwrap_or(&name);
        if !services::SERVICES.iter().any(|plan| plan.module == module) {
            found.push(format!("{OUTPUT_DIR}/{name} (of no service)"));
        }
    }
    found.sort();
    Ok(found)
}

/// An untouched file keeps its time stamp, and cargo need not rebuild `wire`.
fn write_if_changed(path: &Path, source: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|old| old == source) {
        return Ok(());
    }
    std::fs::create_dir_all(path.parent().expect("the path was joined from a folder"))?;
    std::fs::write(path, source).with_context(|| format!("writing {}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

/// Formats with the house's settings; a syntax error in what we emitted is an error here.
fn rustfmt(source: &str) -> Result<String> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(shell::root().join("rustfmt.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("can't start rustfmt (rustup component add rustfmt)")?;
    let mut stdin = child.stdin.take().expect("stdin was asked to be a pipe");
    let text = source.to_owned();
    // rustfmt reads all of its input before it writes, but that is its affair, not a contract:
    // a writer of our own can't deadlock.
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().expect("the writer has no panic in it")?;
    if !output.status.success() {
        bail!("rustfmt refused what was generated ({})", output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
