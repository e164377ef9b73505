//! Running other programs. Everything goes through `Run`, so that a failure always shows the whole
//! command line, its exit status and, when its output was captured, what it said.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

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

/// Whether `program` can be found on PATH.
pub fn on_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
