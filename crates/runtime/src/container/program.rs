//! A container's program: its environment, its working directory, where it is found, and what is
//! said when it isn't. The texts are what Docker says through ECS.

use super::{CODE_NOT_FOUND, CODE_NOT_RUNNABLE, StartFailure};
use crate::spec::ContainerLaunch;
use crate::sys::{c_string, process};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// Where programs are looked for when the image says nothing.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub struct Program {
    name: String,
    argv: Vec<CString>,
    env: Vec<CString>,
    path: String,
}

/// Goes to the working directory, which is made if it isn't there.
pub fn enter_folder(cwd: Option<&str>) -> Result<(), StartFailure> {
    let cwd = cwd.filter(|c| !c.is_empty()).unwrap_or("/");
    let failed = |e: io::Error| StartFailure::new(format!("mkdir {cwd}: {}", plain(&e)));
    if !cwd.starts_with('/') {
        let text =
            format!("the working directory '{cwd}' is invalid, it needs to be an absolute path");
        return Err(StartFailure::new(text));
    }
    // Opened and not named: a path through /proc could lead to a folder outside.
    let root = File::open("/").map_err(failed)?;
    let folder = super::root::make_folders(root.as_fd(), Path::new(cwd)).map_err(failed)?;
    let failed =
        |e: io::Error| StartFailure::new(format!("chdir to cwd (\"{cwd}\"): {}", plain(&e)));
    process::enter_folder(folder.as_fd()).map_err(failed)
}

/// The kernel's words without Rust's addition.
pub fn plain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT) => "no such file or directory".to_owned(),
        Some(libc::EACCES) => "permission denied".to_owned(),
        Some(libc::ENOTDIR | libc::EEXIST) => "not a directory".to_owned(),
        Some(libc::ENOEXEC) => "exec format error".to_owned(),
        Some(libc::EROFS) => "read-only file system".to_owned(),
        Some(libc::EISDIR) => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}

impl Program {
    pub fn new(launch: &ContainerLaunch, hostname: &str, home: &str) -> Result<Self, StartFailure> {
        Self::with(&launch.argv, &launch.env, hostname, home)
    }

    /// PATH, HOSTNAME and HOME are there unless `env` has them.
    pub fn with(
        argv: &[String],
        env: &[(String, String)],
        hostname: &str,
        home: &str,
    ) -> Result<Self, StartFailure> {
        let Some(name) = argv.first().filter(|n| !n.is_empty()) else {
            return Err(StartFailure::new("no command specified"));
        };
        let invalid = |_| StartFailure::new("a command or an environment variable has a NUL byte");
        let mut all = Vec::with_capacity(env.len() + 3);
        for (key, value) in [("PATH", PATH_DEFAULT), ("HOSTNAME", hostname), ("HOME", home)] {
            if !env.iter().any(|(k, _)| k == key) {
                all.push(c_string(format!("{key}={value}").as_bytes()).map_err(invalid)?);
            }
        }
        for (key, value) in env {
            all.push(c_string(format!("{key}={value}").as_bytes()).map_err(invalid)?);
        }
        let argv = argv.iter().map(|a| c_string(a.as_bytes()).map_err(invalid));
        let path = env.iter().rev().find(|(k, _)| k == "PATH").map_or(PATH_DEFAULT, |(_, v)| v);
        Ok(Self {
            name: name.clone(),
            argv: argv.collect::<Result<_, _>>()?,
            env: all,
            path: path.to_owned(),
        })
    }

    /// Becomes the program. Returns only on failure.
    pub fn execute(&self) -> StartFailure {
        if self.name.contains('/') {
            let error = process::execute(&self.argv[0], &self.argv, &self.env);
            return match error.raw_os_error() {
                Some(libc::ENOENT) => self.failure(
                    &format!("stat {}: no such file or directory", self.name),
                    CODE_NOT_FOUND,
                ),
                _ => self.failure(&plain(&error), CODE_NOT_RUNNABLE),
            };
        }
        let mut refused = None;
        for folder in self.path.split(':') {
            let folder = if folder.is_empty() { "." } else { folder };
            let Ok(file) = c_string(format!("{folder}/{}", self.name).as_bytes()) else { continue };
            let error = process::execute(&file, &self.argv, &self.env);
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) => refused = Some(error),
                _ => return self.failure(&plain(&error), CODE_NOT_RUNNABLE),
            }
        }
        match refused {
            Some(error) => self.failure(&plain(&error), CODE_NOT_RUNNABLE),
            None => self.failure("executable file not found in $PATH", CODE_NOT_FOUND),
        }
    }

    fn failure(&self, what: &str, code: i32) -> StartFailure {
        StartFailure { reason: format!("exec: \"{}\": {what}", self.name), code }
    }
}
