//! `cargo xtask codegen`: placeholder until the generator lands here.

use anyhow::{Result, bail};

pub fn run(_args: &[String]) -> Result<()> {
    bail!("not written yet")
}
