//! `cargo xtask bench …`: measurements, each paired in the same run with the product it is compared
//! with, because absolute numbers of a shared machine say little. One module per benchmark.

use anyhow::{Result, bail};

const NAMES: [&str; 3] = ["launch", "api", "store"];

/// Runs the benchmark named first. None is written yet, and the refusal says so.
pub fn run(args: &[String]) -> Result<()> {
    let known = NAMES.join(", ");
    match args.first().map(String::as_str) {
        None => bail!("name a benchmark: {known}"),
        Some(name) if NAMES.contains(&name) => bail!("benchmark `{name}` is not written yet"),
        Some(name) => bail!("no benchmark `{name}`; there are: {known}"),
    }
}
