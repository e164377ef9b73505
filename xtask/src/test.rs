//! `cargo xtask test`: everything that must hold, from one command on a fresh machine. The steps go
//! from quick to slow, each is timed, and the first red one ends the run. What the tests leave in
//! the kernel is counted at the end whatever happened, because a leak is a failure too.

mod census;
mod tools;
mod vm;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell::Run;
use crate::{deny, tidy};
use census::Census;

/// How many tests passed and failed, added up over the runners.
#[derive(Debug, Default, Clone, Copy)]
struct Total {
    passed: u64,
    failed: u64,
    /// Conformance tests that are known not to pass yet; each stands in conformance/pending.txt.
    pending: u64,
}

struct Step {
    name: &'static str,
    does: &'static str,
    run: fn(&mut Total) -> Result<()>,
}

const STEPS: &[Step] = &[
    Step { name: "format", does: "rustfmt changes nothing", run: format },
    Step { name: "codegen", does: "regenerating the AWS types changes nothing", run: codegen },
    Step { name: "tidy", does: "the house rules", run: |_| tidy::run(&[]) },
    Step { name: "clippy", does: "no warning in any target", run: clippy },
    Step { name: "build", does: "every crate, binary and test, once", run: build },
    Step { name: "deny", does: "licences and banned crates", run: |_| deny::run(&[]) },
    Step { name: "nextest", does: "all Rust tests", run: nextest },
    Step { name: "vm", does: "control groups of version 2, in a virtual machine", run: vm::run },
    Step { name: "doc", does: "the examples in the documentation", run: doc },
    Step { name: "conformance", does: "real clients against `neargate up`", run: conformance },
];

pub fn run(args: &[String]) -> Result<()> {
    let chosen = chosen(args)?;
    if !census::is_root() {
        bail!("the tests make namespaces, mounts and cgroups: run this as root");
    }
    let started = Instant::now();
    timed("tools", "what the tests need is installed", tools::install)?;
    let before = Census::take()?;
    let mut total = Total::default();
    let mut outcome = Ok(());
    for step in chosen {
        outcome = timed(step.name, step.does, || (step.run)(&mut total));
        if outcome.is_err() {
            break;
        }
    }
    let leaks = timed("census", "nothing is left in the kernel", || before.compare());
    let outcome = outcome.and(leaks);
    let seconds = started.elapsed().as_secs();
    let Total { passed, failed, pending } = total;
    println!(
        "\n{} in {seconds} s: {passed} passed, {failed} failed, {pending} pending",
        if outcome.is_ok() { "ok" } else { "FAILED" },
    );
    outcome
}

/// All steps, or those named.
fn chosen(args: &[String]) -> Result<Vec<&'static Step>> {
    if args.is_empty() {
        return Ok(STEPS.iter().collect());
    }
    let known = || STEPS.iter().map(|step| step.name).collect::<Vec<_>>().join(", ");
    let find = |arg: &String| {
        let step = STEPS.iter().find(|step| step.name == arg);
        step.with_context(|| format!("no step `{arg}`; there are: {}", known()))
    };
    args.iter().map(find).collect()
}

fn timed(name: &str, does: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("\n==> {name}: {does}");
    let started = Instant::now();
    let outcome = run();
    let seconds = started.elapsed().as_secs_f32();
    match &outcome {
        Ok(()) => println!("<== {name}: ok, {seconds:.1} s"),
        Err(error) => println!("<== {name}: FAILED after {seconds:.1} s: {error:#}"),
    }
    outcome.with_context(|| format!("step `{name}`"))
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn format(_: &mut Total) -> Result<()> {
    Run::line("cargo fmt --all -- --check").check().context("run `cargo fmt --all`")
}

fn codegen(_: &mut Total) -> Result<()> {
    let this = std::env::current_exe().context("where this program is")?;
    let this = this.to_str().context("this program's path is not UTF-8")?;
    // A process of its own, so that it finds the pinned botocore first on PATH.
    Run::new(this).arg("codegen").arg("--check").env("PATH", tools::path()?).check()
}

fn clippy(_: &mut Total) -> Result<()> {
    let line = "cargo clippy --workspace --all-targets --locked --quiet -- -D warnings";
    Run::line(line).follow(minutes(15), |_| ())
}

/// Tests and binaries in one invocation, so that both see one set of features and nothing is built
/// twice.
fn build(_: &mut Total) -> Result<()> {
    Run::line("cargo build --workspace --bins --tests --locked --quiet").follow(minutes(20), |_| ())
}

fn nextest(total: &mut Total) -> Result<()> {
    Run::line("cargo nextest run --workspace --locked --no-tests=pass")
        .env("PATH", tools::path()?)
        .follow(minutes(20), |line| total.read_nextest(line))
}

fn doc(total: &mut Total) -> Result<()> {
    Run::line("cargo test --workspace --locked --doc --quiet")
        .follow(minutes(10), |line| total.read_doc(line))
}

fn conformance(total: &mut Total) -> Result<()> {
    let python = tools::venv().join("bin/python");
    let python = python.to_str().context("the target folder's path is not UTF-8")?;
    Run::new(python)
        .args(["-m", "pytest", "-ra", "--durations=30", "--strict-markers"])
        .args(["-p", "no:cacheprovider"])
        .arg("conformance")
        .env("PATH", tools::path()?)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NEARGATE_BIN", neargate()?)
        .env("NEARGATE_TEST_CACHE", target()?.join("test-images"))
        .follow(minutes(45), |line| total.read_pytest(line))
}

/// The binary that step `build` made.
fn neargate() -> Result<PathBuf> {
    let host = Run::line("rustc -vV").read()?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not tell its host")?;
    let path = target()?.join(host).join("debug/neargate");
    if !path.is_file() {
        bail!("{} is not there: `cargo xtask test build` makes it", path.display());
    }
    Ok(path)
}

/// Cargo's target folder, wherever the machine's owner has put it.
fn target() -> Result<PathBuf> {
    let line = "cargo metadata --no-deps --offline --format-version 1";
    let metadata: serde_json::Value = serde_json::from_str(&Run::line(line).read()?)?;
    let folder = metadata["target_directory"].as_str().context("cargo names no target folder")?;
    Ok(PathBuf::from(folder))
}

impl Total {
    /// `Summary [   0.310s] 32 tests run: 31 passed (1 slow), 1 failed, 0 skipped`
    fn read_nextest(&mut self, line: &str) {
        if line.trim_start().starts_with("Summary [") {
            self.passed += count_before(line, " passed");
            self.failed += count_before(line, " failed") + count_before(line, " timed out");
        }
    }

    /// `test result: ok. 1 passed; 0 failed; 0 ignored; …`
    fn read_doc(&mut self, line: &str) {
        if line.starts_with("test result:") {
            self.passed += count_before(line, " passed");
            self.failed += count_before(line, " failed");
        }
    }

    /// `==== 1 failed, 40 passed, 3 xfailed, 1 error in 12.34s ====`
    fn read_pytest(&mut self, line: &str) {
        if line.starts_with("==") && line.contains(" in ") {
            self.passed += count_before(line, " passed");
            self.failed += count_before(line, " failed") + count_before(line, " error");
            self.pending += count_before(line, " xfailed");
        }
    }
}

/// The number that stands right before `word`, or none.
fn count_before(line: &str, word: &str) -> u64 {
    let Some(end) = line.find(word) else { return 0 };
    let head = &line[..end];
    let start = head.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |offset| offset + 1);
    head[start..].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_from_what_the_runners_print() {
        let mut total = Total::default();
        total.read_nextest("     Summary [   0.3s] 34 tests run: 31 passed, 2 failed, 1 timed out");
        total.read_nextest("        PASS [   0.3s] 5 passed");
        total.read_doc("test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured");
        total.read_pytest(
            "===== 1 failed, 40 passed, 3 xfailed, 2 errors in 12.34s (0:00:12) =====",
        );
        assert_eq!((total.passed, total.failed, total.pending), (75, 6, 3));
    }

    #[test]
    fn an_unknown_step_is_refused_by_name() {
        let refused = chosen(&["nextests".to_owned()]).err().expect("there is no such step");
        assert!(refused.to_string().contains("nextests"), "{refused}");
        assert_eq!(chosen(&[]).expect("all").len(), STEPS.len());
    }
}
