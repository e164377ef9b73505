//! `cargo run -p sim -- --seed N` writes the transcript of one run; `--seeds N` runs the first N
//! seeds and stops at the first that goes wrong.

use std::io::{self, Write};
use std::process::ExitCode;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let code = match (number("--seed"), number("--seeds")) {
        (Some(seed), _) => one(seed, &mut out)?,
        (None, Some(seeds)) => many(seeds, &mut out)?,
        (None, None) => {
            writeln!(out, "usage: sim --seed N | --seeds N")?;
            ExitCode::FAILURE
        }
    };
    out.flush()?;
    Ok(code)
}

fn one(seed: u64, out: &mut impl Write) -> io::Result<ExitCode> {
    let run = sim::run(seed, None, true);
    for line in &run.transcript {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{} happenings, ends: {:?}", run.happenings, run.outcomes)?;
    match run.violation {
        None => Ok(ExitCode::SUCCESS),
        Some(violation) => {
            writeln!(out, "seed {seed}: {violation}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn many(seeds: u64, out: &mut impl Write) -> io::Result<ExitCode> {
    for seed in 0..seeds {
        if let Some(violation) = sim::run(seed, None, false).violation {
            writeln!(out, "seed {seed}: {violation}")?;
            return Ok(ExitCode::FAILURE);
        }
    }
    writeln!(out, "{seeds} seeds are fine")?;
    Ok(ExitCode::SUCCESS)
}
