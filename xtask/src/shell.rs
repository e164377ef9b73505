//! Running other programs. Everything goes through `Run`, so that a failure always shows the whole
//! command line, its exit status and, when its output was captured, what it said.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, PipeReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long output may stay open after its command has ended. Longer means that somebody else holds
/// it: a process the command left behind, which must not hang us too.
const OUTPUT_GRACE: Duration = Duration::from_secs(5);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// The folder of the workspace's Cargo.toml.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies directly under the workspace's root")
        .to_path_buf()
}

/// A command to run from the workspace's root.
pub struct Run {
    command: Command,
    line: String,
}

impl Run {
    pub fn new(program: &str) -> Run {
        let mut command = Command::new(program);
        command.current_dir(root());
        for (key, _) in std::env::vars_os() {
            if is_of_this_build(&key.to_string_lossy()) {
                command.env_remove(key);
            }
        }
        Run { command, line: program.to_owned() }
    }

    /// Splits `line` at white space: only for constant lines without quoting.
    pub fn line(line: &str) -> Run {
        let mut words = line.split_whitespace();
        let program = words.next().expect("a command line names a program");
        words.fold(Run::new(program), Run::arg)
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Run {
        self.line.push(' ');
        self.line.push_str(&arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    pub fn args<S: AsRef<OsStr>>(self, args: impl IntoIterator<Item = S>) -> Run {
        args.into_iter().fold(self, Run::arg)
    }

    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Run {
        self.command.env(key, value);
        self
    }

    /// Runs with this terminal's output; anything but exit status 0 is an error.
    pub fn check(mut self) -> Result<()> {
        let status = self
            .command
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("can't start `{}`", self.line))?;
        if !status.success() {
            bail!("`{}` failed ({status})", self.line);
        }
        Ok(())
    }

    /// Runs with output and errors passed on line by line, each also shown to `see`. A command that
    /// takes longer than `deadline` is killed, and that is an error as any other exit than 0 is.
    pub fn follow(mut self, deadline: Duration, see: impl FnMut(&str)) -> Result<()> {
        let (reader, writer) = std::io::pipe()?;
        self.command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let child = self.command.spawn().with_context(|| format!("can't start `{}`", self.line))?;
        let line = self.line;
        // The command holds the writing ends; ours must go, or the reader would never see an end.
        drop(self.command);
        let status = pass_on(child, reader, deadline, see).with_context(|| format!("`{line}`"))?;
        if !status.success() {
            bail!("`{line}` failed ({status})");
        }
        Ok(())
    }

    /// Runs and returns standard output; anything but exit status 0 is an error that quotes
    /// standard error.
    pub fn read(mut self) -> Result<String> {
        let output = self
            .command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("can't start `{}`", self.line))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`{}` failed ({}): {}", self.line, output.status, said.trim());
        }
        String::from_utf8(output.stdout)
            .with_context(|| format!("`{}` wrote something that is not UTF-8", self.line))
    }
}

/// What cargo tells this program about its own build. A cargo started from here must not inherit
/// it: build scripts that watch these variables (ring's) would run again, and all that hangs on
/// them would be built anew, in turn with builds that were started by hand.
fn is_of_this_build(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

fn pass_on(
    mut child: Child,
    reader: PipeReader,
    deadline: Duration,
    mut see: impl FnMut(&str),
) -> Result<ExitStatus> {
    let lines = lines(reader);
    let started = Instant::now();
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        match lines.recv_timeout(LOOK_AGAIN_AFTER) {
            Ok(line) => {
                println!("{line}");
                see(&line);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(child.wait()?),
            Err(RecvTimeoutError::Timeout) => match ended {
                Some((status, at)) if at.elapsed() > OUTPUT_GRACE => {
                    println!("note: the command has ended but a process it left holds its output");
                    return Ok(status);
                }
                Some(_) => {}
                None => ended = child.try_wait()?.map(|status| (status, Instant::now())),
            },
        }
        if ended.is_none() && started.elapsed() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("killed after {} s", deadline.as_secs());
        }
    }
}

/// The lines of a pipe, read by a thread that ends with the pipe.
fn lines(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line);
            if sender.send(text.trim_end_matches('\n').to_owned()).is_err() {
                return;
            }
            line.clear();
        }
    });
    receiver
}

/// Whether `program` can be found on PATH.
pub fn on_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, deadline: Duration) -> (Result<()>, Vec<String>) {
        let mut seen = Vec::new();
        let outcome =
            Run::line("sh -c").arg(script).follow(deadline, |line| seen.push(line.to_owned()));
        (outcome, seen)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_and_errors_are_seen_in_order_and_the_status_decides() {
        let (outcome, seen) = sh("echo a; echo b >&2; printf c", LONG);
        outcome.expect("exit status 0");
        assert_eq!(seen, ["a", "b", "c"]);
        let (outcome, seen) = sh("echo a; exit 3", LONG);
        assert!(outcome.expect_err("exit status 3").to_string().contains("exit status: 3"));
        assert_eq!(seen, ["a"]);
    }

    #[test]
    fn a_command_does_not_learn_how_this_program_was_built() {
        assert!(std::env::vars().any(|(key, _)| is_of_this_build(&key)), "cargo runs the tests");
        let inherited = Run::new("env").read().expect("`env` lists variables");
        assert!(inherited.contains("PATH="));
        assert!(!inherited.lines().any(is_of_this_build), "{inherited}");
    }

    #[test]
    fn a_command_that_hangs_is_killed_at_its_deadline() {
        let started = Instant::now();
        let (outcome, _) = sh("exec sleep 100", Duration::from_millis(300));
        let said = format!("{:#}", outcome.expect_err("it was killed"));
        assert!(said.contains("killed after"), "{said}");
        assert!(started.elapsed() < LONG);
    }
}
