//! The names of internet-facing load balancers on this machine itself: lines in its hosts file,
//! which is what curl, browsers and everything else here look at with nothing configured. Written
//! in place, as the file may be mounted into a container, and under a lock, as there may be several
//! of us; taken out when nothing serves them any more. An internal load balancer has no line: only
//! its VPC has a way to it.

mod text;

use model::balancing::LoadBalancer;
use model::network::{InterfaceKind, NetworkInterface};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read};
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Snapshot, Store, Watch, WatchFailure};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub const PATH: &str = "/etc/hosts";
/// How often it is looked at whether somebody has written the file anew, without our lines.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long somebody else may hold the file's lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// A file with more bytes is no hosts file.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

type Name = (Ipv4Addr, String);

/// Keeps the file true to the store until it is ended.
pub struct Keeper {
    keeping: JoinHandle<()>,
    end: watch::Sender<bool>,
    file: HostsFile,
}

#[derive(Clone)]
struct HostsFile {
    path: PathBuf,
    /// What tells our lines from those of other states on this machine.
    tag: String,
}

pub fn keep(store: &Store, path: &Path, tag: &str) -> Keeper {
    let file = HostsFile { path: path.to_owned(), tag: tag.to_owned() };
    let keeping = Keeping { store: store.clone(), file: file.clone(), told: Vec::new() };
    let (end, ended) = watch::channel(false);
    Keeper { keeping: tokio::spawn(keeping.run(ended)), end, file }
}

impl Keeper {
    /// The lines stay for as long as something serves them: when nothing does, they go.
    pub async fn end(self, idle: bool) {
        // Not cut off: what it is about to write would come after what is written here.
        self.end.send_replace(true);
        if let Err(failure) = self.keeping.await {
            tracing::error!(%failure, "the names of load balancers were kept badly");
        }
        if !idle {
            return;
        }
        if let Err(failure) = self.file.set(Vec::new()).await
            && self.file.path.exists()
        {
            let path = self.file.path.display();
            tracing::warn!(%failure, "the names of load balancers stay in {path}");
        }
    }
}

struct Keeping {
    store: Store,
    file: HostsFile,
    /// Names whose addresses an operator was told, as they can't be written.
    told: Vec<Name>,
}

impl Keeping {
    async fn run(mut self, mut ended: watch::Receiver<bool>) {
        loop {
            let snapshot = self.store.snapshot();
            let mut watch = self.store.watch(snapshot.revision());
            let names = names(&snapshot);
            match self.file.set(names.clone()).await {
                Ok(()) => self.told.clear(),
                Err(failure) => self.complain(&failure, names),
            }
            tokio::select! {
                open = changed(&mut watch) => if !open { return },
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = ended.changed() => return,
            }
        }
    }

    fn complain(&mut self, failure: &io::Error, names: Vec<Name>) {
        let path = self.file.path.display();
        for (address, name) in names.iter().filter(|name| !self.told.contains(name)) {
            tracing::warn!(
                %failure,
                "{path} can't be written, so {name} opens by its address only: {address}, as in \
                 curl --connect-to ::{address} http://{name}/"
            );
        }
        self.told = names;
    }
}

/// Waits for a change that matters. False: the store is closed.
async fn changed(watch: &mut Watch) -> bool {
    loop {
        match watch.next().await {
            Ok(batch) if batch.changes.iter().any(concerns_names) => return true,
            Ok(_) => {}
            Err(WatchFailure::Compacted { .. }) => return true,
            Err(WatchFailure::Closed) => return false,
        }
    }
}

fn concerns_names(change: &store::Change) -> bool {
    use InterfaceKind::{LoadBalancer as Application, NetworkLoadBalancer as Network};
    let held = |one: Option<Arc<NetworkInterface>>| {
        one.is_some_and(|one| matches!(one.kind, Application | Network))
    };
    change.of::<LoadBalancer>().is_some()
        || change.of::<NetworkInterface>().is_some_and(|(old, new)| held(old) || held(new))
}

fn names(snapshot: &Snapshot) -> Vec<Name> {
    let interface = |id: &model::InterfaceId| snapshot.get::<NetworkInterface>(id.as_str());
    let mut names = Vec::new();
    for (_, balancer) in snapshot.scan::<LoadBalancer>("").filter(|(_, it)| !it.internal) {
        let addresses = plan::names::balancer_addresses(&balancer, interface);
        names.extend(addresses.into_iter().map(|address| (address, balancer.dns_name.clone())));
    }
    names.sort_by(|one, other| (&one.1, one.0).cmp(&(&other.1, other.0)));
    names
}

impl HostsFile {
    /// Gives the file just these lines of ours.
    async fn set(&self, names: Vec<Name>) -> io::Result<()> {
        let own = self.clone();
        let set = tokio::task::spawn_blocking(move || own.write(&names));
        set.await.map_err(io::Error::other)?
    }

    fn write(&self, names: &[Name]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        // A machine without the file gets one when there is something to write.
        let file = options.read(true).write(true).create(!names.is_empty()).truncate(false);
        let file = match file.open(&self.path) {
            Err(failure) if failure.kind() == ErrorKind::NotFound && names.is_empty() => {
                return Ok(());
            }
            other => other?,
        };
        lock(&file)?;
        let mut before = Vec::new();
        (&file).take(FILE_BYTES_MAX + 1).read_to_end(&mut before)?;
        if before.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        let after = text::with_names(&before, &self.tag, names);
        if before == after {
            return Ok(());
        }
        let same = before.iter().zip(&after).take_while(|(one, other)| one == other).count();
        file.write_all_at(&after[same..], same as u64)?;
        file.set_len(after.len() as u64)?;
        file.sync_all()
    }
}

fn lock(file: &File) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(TryLockError::WouldBlock) => return Err(ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(failure)) => return Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    fn file(path: PathBuf, tag: &str) -> HostsFile {
        HostsFile { path, tag: tag.to_owned() }
    }

    fn web(last: u8) -> Vec<Name> {
        vec![(Ipv4Addr::new(198, 19, 0, last), format!("web-{last}.elb"))]
    }

    #[test]
    fn the_file_is_written_in_place_and_comes_back_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hosts");
        fs::write(&path, "127.0.0.1 localhost").expect("written");
        let inode = fs::metadata(&path).expect("there").ino();
        let hosts = file(path.clone(), "aaaa");
        hosts.write(&web(5)).expect("written");
        let text = fs::read_to_string(&path).expect("read");
        assert!(text.contains("198.19.0.5\tweb-5.elb"), "{text}");
        hosts.write(&[]).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("read"), "127.0.0.1 localhost");
        assert_eq!(fs::metadata(&path).expect("there").ino(), inode);
    }

    #[test]
    fn a_missing_file_is_made_only_when_there_is_something_to_write() {
        let folder = tempfile::tempdir().expect("a folder");
        let hosts = file(folder.path().join("hosts"), "aaaa");
        hosts.write(&[]).expect("nothing to do");
        assert!(!hosts.path.exists());
        hosts.write(&web(5)).expect("written");
        assert!(hosts.path.exists());
        let nowhere = file(folder.path().join("no/such/folder"), "aaaa");
        assert!(nowhere.write(&web(5)).is_err());
    }

    #[test]
    fn several_servers_at_once_lose_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hosts");
        fs::write(&path, "127.0.0.1 localhost\n").expect("written");
        std::thread::scope(|scope| {
            for n in 0..4_u8 {
                let hosts = file(path.clone(), &format!("tag{n}"));
                scope.spawn(move || {
                    for round in 0..25 {
                        hosts.write(&web(n * 50 + round)).expect("written");
                    }
                });
            }
        });
        let text = fs::read_to_string(&path).expect("read");
        for n in 0..4 {
            let last = n * 50 + 24;
            assert!(
                text.contains(&format!("198.19.0.{last}\tweb-{last}.elb\t# neargate tag{n}\n"))
            );
        }
        assert_eq!(text.lines().count(), 9, "{text}");
    }
}
