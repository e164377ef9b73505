//! A server that a benchmark started: what it says goes to a file, and it is ended by its process
//! id when the guard goes out of scope.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, kill_process};

use crate::meter::pid;

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1);
/// How long a server may take to start, and to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a server's last words that an error quotes.
const LAST_WORDS_BYTES: usize = 2000;

#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    said: PathBuf,
}

impl Server {
    /// `command` writes to a file in `folder`.
    pub fn start(name: &str, mut command: Command, folder: &Path) -> Result<Server> {
        let said = folder.join(format!("{name}.log"));
        let file = File::create(&said).with_context(|| format!("can't write {said:?}"))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("can't start {name}"))?;
        Ok(Server { name: name.to_owned(), child, said })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` gives something.
    pub fn wait_for<T>(&mut self, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = ready() {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} has ended ({status}): {}", self.name, self.last_words());
            }
            if Instant::now() > give_up {
                bail!("{} is not ready after {PATIENCE:?}: {}", self.name, self.last_words());
            }
            std::thread::sleep(LOOK_AGAIN_AFTER);
        }
    }

    pub fn last_words(&self) -> String {
        let text = fs::read(&self.said).unwrap_or_default();
        let start = text.len().saturating_sub(LAST_WORDS_BYTES);
        String::from_utf8_lossy(&text[start..]).into_owned()
    }

    /// Tells it to end and waits; kills it when it does not listen.
    pub fn end(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        if let Some(process) = pid(self.id()) {
            kill_process(process, Signal::TERM).context("a child of ours can be signalled")?;
        }
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > give_up {
                eprintln!("bench: {} does not end, killing it: {}", self.name, self.last_words());
                self.child.kill()?;
                return Ok(self.child.wait()?);
            }
            std::thread::sleep(LOOK_AGAIN_AFTER);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.end() {
            Err(failure) => eprintln!("bench: {} could not be ended: {failure:#}", self.name),
            Ok(status) if !status.success() && status.code().is_some() => {
                eprintln!("bench: {} ended with {status}: {}", self.name, self.last_words());
            }
            Ok(_) => {}
        }
    }
}
