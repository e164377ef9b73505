//! Where a balancer's process is found. The data folder has two slots, so that one balancer can
//! relieve another; each has a lock that the process holds while it lives, its socket and its id.
//! Whether one lives is asked of the lock, never of the id: ids are given out again.

use crate::balancing::link::{self, Messages};
use crate::data_dir::DataDir;
use anyhow::{Context, Result, bail};
use model::balancing::{FromBalancer, ToBalancer};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::net::UnixStream;

const SLOTS: [&str; 2] = ["a", "b"];
/// How long a new process may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long one that is there may take to say who it is.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long after its limit one that was told to end may take.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// How often a lock or a socket is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Bytes of a log before it is set aside when a process starts.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The balancers of one data folder.
pub struct Folder {
    data_dir: PathBuf,
    root: PathBuf,
    tag: String,
}

#[derive(Clone)]
pub struct Slot {
    folder: PathBuf,
}

fn private_folder(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

impl Folder {
    pub fn make(dir: &DataDir, tag: &str) -> Result<Self> {
        let root = dir.balancer();
        private_folder(&root)?;
        Ok(Self { data_dir: dir.root().to_owned(), root, tag: tag.to_owned() })
    }

    fn slots(&self) -> impl Iterator<Item = Slot> {
        SLOTS.iter().map(|name| Slot { folder: self.root.join(name) })
    }

    /// Those in which a process lives.
    pub fn taken(&self) -> Result<Vec<Slot>> {
        let mut taken = Vec::new();
        for slot in self.slots() {
            if slot.is_taken()? {
                taken.push(slot);
            }
        }
        Ok(taken)
    }

    /// Starts a process in a free slot and waits until it answers.
    pub async fn start(&self) -> Result<Slot> {
        for slot in self.slots() {
            if !slot.is_taken()? {
                private_folder(&slot.folder)?;
                self.spawn(&slot).await?;
                return Ok(slot);
            }
        }
        bail!("both slots are taken by balancers that are ending");
    }

    async fn spawn(&self, slot: &Slot) -> Result<()> {
        let log = self.log().context("cannot open the balancer's log")?;
        let mut command = tokio::process::Command::new("/proc/self/exe");
        command.arg0("neargate").arg("balancer");
        command.arg("--data-dir").arg(&self.data_dir).arg("--tag").arg(&self.tag);
        command.arg("--slot").arg(slot.name());
        command.current_dir("/").stdin(Stdio::null());
        command.stdout(log.try_clone().context("cannot share the balancer's log")?).stderr(log);
        let mut child = command.spawn().context("cannot start the balancer's process")?;
        let begun = Instant::now();
        loop {
            if slot.connect().await.is_ok() {
                break;
            }
            if let Some(status) = child.try_wait().context("cannot wait for the balancer")? {
                bail!("the balancer's process ended with {status}; its log says why");
            }
            if begun.elapsed() > START_PATIENCE {
                // It can't be left to itself: nobody would know of it.
                child.kill().await.context("cannot end a balancer that does not answer")?;
                bail!("the balancer's process does not answer");
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        // It may outlive us; while we are there its end must be taken note of.
        tokio::spawn(async move {
            match child.wait().await {
                Ok(status) if status.success() => tracing::info!("a balancer has ended"),
                Ok(status) => tracing::warn!(%status, "a balancer has ended"),
                Err(failure) => tracing::error!(%failure, "a balancer can't be waited for"),
            }
        });
        Ok(())
    }

    fn log(&self) -> io::Result<File> {
        let path = self.root.join("log");
        if fs::metadata(&path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
            fs::rename(&path, self.root.join("log.before"))?;
        }
        OpenOptions::new().append(true).create(true).mode(0o600).open(path)
    }

    /// Ends every process there is, gently and then not.
    pub async fn end_all(&self, limit: Duration) {
        let taken = match self.taken() {
            Ok(taken) => taken,
            Err(failure) => {
                let failure = format!("{failure:#}");
                return tracing::error!(failure, "cannot see whether balancers are running");
            }
        };
        for slot in &taken {
            if let Err(failure) = slot.ask_to_end(limit).await {
                let failure = format!("{failure:#}");
                tracing::warn!(failure, "a balancer could not be asked to end");
                slot.kill().await;
            }
        }
        for slot in &taken {
            if !slot.until_free(limit + END_PATIENCE).await {
                tracing::warn!("a balancer did not end in time and is killed");
                slot.kill().await;
            }
        }
    }
}

impl Slot {
    /// A slot as its process finds it.
    pub fn of(dir: &DataDir, name: &str) -> Result<Self> {
        let known = SLOTS.contains(&name);
        let folder = dir.balancer().join(name);
        if !known { bail!("there is no slot {name}") } else { Ok(Self { folder }) }
    }

    fn name(&self) -> &std::ffi::OsStr {
        self.folder.file_name().expect("a slot's folder has a name")
    }

    /// Holds the slot for as long as the answer lives; None: another process has it.
    pub fn take(&self) -> Result<Option<File>> {
        let begun = Instant::now();
        loop {
            let lock = self.lock_file().context("cannot open the slot's lock")?;
            match lock.try_lock() {
                Ok(()) => {
                    self.write_pid().context("cannot write the process's id")?;
                    return Ok(Some(lock));
                }
                // Somebody may only be looking.
                Err(TryLockError::WouldBlock) if begun.elapsed() < Duration::from_secs(1) => {
                    std::thread::sleep(LOOK_AGAIN);
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(failure)) => {
                    return Err(failure).context("cannot lock the slot");
                }
            }
        }
    }

    fn lock_file(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.open(self.folder.join("lock"))
    }

    fn write_pid(&self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(self.folder.join("pid"))?;
        writeln!(file, "{}", std::process::id())
    }

    pub fn is_taken(&self) -> Result<bool> {
        let lock = match File::open(self.folder.join("lock")) {
            Ok(lock) => lock,
            Err(failure) if failure.kind() == ErrorKind::NotFound => return Ok(false),
            Err(failure) => return Err(failure).context("cannot open a balancer's lock"),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(failure)) => {
                Err(failure).context("cannot look at a balancer's lock")
            }
        }
    }

    /// The folder, and the socket's path in it, as short as sockets' paths must be.
    fn socket(&self) -> io::Result<(File, PathBuf)> {
        let folder = File::open(&self.folder)?;
        let path = format!("/proc/self/fd/{}/socket", folder.as_raw_fd());
        Ok((folder, PathBuf::from(path)))
    }

    /// For the process that has taken the slot.
    pub fn listen(&self) -> Result<UnixListener> {
        let (_folder, path) = self.socket().context("cannot open the slot's folder")?;
        match fs::remove_file(&path) {
            Err(failure) if failure.kind() != ErrorKind::NotFound => {
                return Err(failure).context("cannot remove the socket of the process before");
            }
            _ => {}
        }
        let listener = UnixListener::bind(&path).context("cannot listen on the slot's socket")?;
        let closed = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&path, closed).context("cannot close the socket to others")?;
        listener.set_nonblocking(true).context("cannot wait on the slot's socket")?;
        Ok(listener)
    }

    pub async fn connect(&self) -> Result<UnixStream> {
        let (_folder, path) = self.socket().context("cannot open the slot's folder")?;
        UnixStream::connect(path).await.context("cannot connect to the balancer")
    }

    /// Which build the process is of.
    pub async fn build_of(&self) -> Result<String> {
        let ask = async {
            loop {
                // It may be about to listen.
                match self.connect().await {
                    Ok(stream) => {
                        let mut messages = Messages::new(stream);
                        if let Some(FromBalancer::Hello { version, .. }) = messages.next().await? {
                            return anyhow::Ok(version);
                        }
                    }
                    Err(failure) if !self.is_taken()? => return Err(failure),
                    Err(_) => {}
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(ANSWER_PATIENCE, ask).await.context("it took too long")?
    }

    /// Completes when the process serves all of its table.
    pub async fn until_serving(&self) -> Result<()> {
        let mut messages = Messages::new(self.connect().await?);
        while let Some(message) = messages.next().await? {
            if matches!(message, FromBalancer::Learned { failures } if failures.is_empty()) {
                return Ok(());
            }
        }
        bail!("it has ended");
    }

    pub async fn ask_to_end(&self, limit: Duration) -> Result<()> {
        let mut stream = self.connect().await?;
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        link::send(&mut stream, &ToBalancer::End { limit_ms }).await.context("cannot tell it")
    }

    /// False: it still lives after so long.
    pub async fn until_free(&self, limit: Duration) -> bool {
        let begun = Instant::now();
        while self.is_taken().unwrap_or(true) {
            if begun.elapsed() > limit {
                return false;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        true
    }

    /// Kills the process and waits until it is gone.
    pub async fn kill(&self) {
        let read = fs::read_to_string(self.folder.join("pid")).ok();
        let pid = read.and_then(|text| text.trim().parse::<i32>().ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw);
        // Who holds the lock has written this id.
        if let Some(pid) = pid
            && self.is_taken().unwrap_or(false)
        {
            let killed = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            if let Err(failure) = killed {
                tracing::error!(%failure, "a balancer could not be killed");
            }
        }
        if !self.until_free(END_PATIENCE).await {
            tracing::error!("a balancer lives on");
        }
    }
}
