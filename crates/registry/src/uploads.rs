//! Uploads under way. Each is a folder with the bytes so far and the name of the repository they
//! are for; the running digest is kept in memory and made anew from the bytes after a restart.
//!
//! A request that is cut off may leave a write behind that still runs: the write owns the upload's
//! lock, so the next request of that upload sees either all of it or none.

use crate::answer::{Body, Refusal};
use crate::limits::{
    BLOB_BYTES_MAX, BODY_PAUSE_SECONDS_MAX, SWEEP_EVERY_SECONDS, UPLOAD_KEPT_SECONDS,
    UPLOAD_WAIT_SECONDS_MAX, UPLOADS_MAX, WRITE_BYTES,
};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use model::RepositoryName;
use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;

/// The bytes so far, in an upload's folder.
const DATA: &str = "data";
/// The repository's name, in an upload's folder.
const REPOSITORY: &str = "repository";

/// All uploads under way.
pub struct Uploads {
    folder: PathBuf,
    sessions: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Session>>>>,
    /// When stale uploads were last looked for.
    swept_at: Mutex<Instant>,
}

/// One upload. Whoever holds its lock is its only reader and writer.
pub struct Session {
    pub id: String,
    pub repository: RepositoryName,
    /// Bytes received so far; the file's length.
    pub bytes: u64,
    folder: PathBuf,
    /// None until the bytes have been read once after a restart or a failed write.
    running: Option<Context>,
    /// Ended, successfully or not: nothing more can be done with it.
    ended: bool,
    touched_at: SystemTime,
}

pub type Held = OwnedMutexGuard<Session>;

impl Uploads {
    /// Opens or makes the folder and finds the uploads that an earlier process left.
    pub fn open(folder: &Path) -> io::Result<Self> {
        make_folder(folder)?;
        let kept = Duration::from_secs(UPLOAD_KEPT_SECONDS);
        let mut sessions = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match read_session(&entry.path())? {
                // Nobody can be using it: the process has just begun.
                Some(session) if session.touched_at.elapsed().is_ok_and(|age| age > kept) => {
                    fs::remove_dir_all(entry.path())?;
                }
                Some(session) => {
                    let id = session.id.clone();
                    sessions.insert(id, Arc::new(tokio::sync::Mutex::new(session)));
                }
                // A crash between making the folder and filling it: nobody was told of it.
                None => fs::remove_dir_all(entry.path())?,
            }
        }
        let swept_at = Mutex::new(Instant::now());
        Ok(Self { folder: folder.to_owned(), sessions: Mutex::new(sessions), swept_at })
    }

    /// Begins an upload under the id, which must be new.
    pub async fn begin(&self, id: String, repository: RepositoryName) -> Result<Held, Refusal> {
        self.make_room().await?;
        let folder = self.folder.join(&id);
        let name = repository.clone();
        let path = folder.clone();
        blocking(move || make_session(&path, &name)).await?;
        let session = Session {
            id: id.clone(),
            repository,
            bytes: 0,
            folder,
            running: Some(Context::new(&SHA256)),
            ended: false,
            touched_at: SystemTime::now(),
        };
        let session = Arc::new(tokio::sync::Mutex::new(session));
        let held = Arc::clone(&session).try_lock_owned().expect("nobody else knows it yet");
        self.lock().insert(id, session);
        Ok(held)
    }

    /// Takes hold of an upload, waiting for an earlier request of it.
    pub async fn hold(&self, id: &str, repository: &RepositoryName) -> Result<Held, Refusal> {
        let unknown =
            || Refusal::not_found("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry");
        let session = self.lock().get(id).cloned().ok_or_else(unknown)?;
        let wait = Duration::from_secs(UPLOAD_WAIT_SECONDS_MAX);
        let Ok(held) = tokio::time::timeout(wait, session.lock_owned()).await else {
            let message = "another request of this upload is still running";
            return Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message));
        };
        match held.ended || held.repository != *repository {
            true => Err(unknown()),
            false => Ok(held),
        }
    }

    /// Forgets an upload and removes what is left of it.
    pub async fn end(&self, mut held: Held) -> Result<(), Refusal> {
        held.ended = true;
        self.lock().remove(&held.id);
        let folder = held.folder.clone();
        blocking(move || remove_folder(&folder)).await
    }

    /// Ends uploads that nobody has touched for long, now and then and when there are too many, and
    /// refuses when there are still too many.
    async fn make_room(&self) -> Result<(), Refusal> {
        let is_full = self.lock().len() >= UPLOADS_MAX;
        if !is_full && !self.sweep_is_due() {
            return Ok(());
        }
        for held in self.stale(Duration::from_secs(UPLOAD_KEPT_SECONDS)) {
            self.end(held).await?;
        }
        match self.lock().len() < UPLOADS_MAX {
            true => Ok(()),
            false => Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "TOOMANYREQUESTS",
                "too many uploads are under way",
            )),
        }
    }

    fn sweep_is_due(&self) -> bool {
        let mut swept_at = self.swept_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = swept_at.elapsed() >= Duration::from_secs(SWEEP_EVERY_SECONDS);
        if is_due {
            *swept_at = Instant::now();
        }
        is_due
    }

    /// The uploads that no request holds and none has touched for this long.
    fn stale(&self, kept: Duration) -> Vec<Held> {
        let sessions = self.lock();
        let idle = sessions.values().filter_map(|it| Arc::clone(it).try_lock_owned().ok());
        idle.filter(|it| it.touched_at.elapsed().is_ok_and(|age| age > kept)).collect()
    }

    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<tokio::sync::Mutex<Session>>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Appends a request's body to an upload. While one piece is written and digested the next one is
/// received. What arrived before a failure stays; the client asks how far it came.
pub async fn append(held: Held, mut body: Body) -> Result<Held, Refusal> {
    let mut writer = Some(open_writer(held).await?);
    let mut writing = None;
    loop {
        let (pieces, ended) = gather(&mut body).await;
        if !pieces.is_empty() {
            let ready = match writing.take() {
                Some(task) => joined(task).await?,
                None => writer.take().expect("either it writes or it is here"),
            };
            writing = Some(spawn_blocking(move || write_all(ready, &pieces)));
        }
        if let Some(ended) = ended {
            let writer = match writing {
                Some(task) => joined(task).await?,
                None => writer.expect("either it writes or it is here"),
            };
            ended?;
            return Ok(writer.held);
        }
    }
}

/// Up to `WRITE_BYTES` of the body, and whether (and how) it ended.
async fn gather(body: &mut Body) -> (Vec<Bytes>, Option<Result<(), Refusal>>) {
    let pause = Duration::from_secs(BODY_PAUSE_SECONDS_MAX);
    let mut pieces = Vec::new();
    let mut bytes = 0;
    while bytes < WRITE_BYTES {
        match tokio::time::timeout(pause, body.frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(piece) = frame.into_data()
                    && !piece.is_empty()
                {
                    bytes += piece.len();
                    pieces.push(piece);
                }
            }
            Ok(None) => return (pieces, Some(Ok(()))),
            Ok(Some(Err(failure))) => {
                tracing::debug!(%failure, "an upload was cut off");
                let refusal = Refusal::bad_request("BLOB_UPLOAD_INVALID", "the body was cut off");
                return (pieces, Some(Err(refusal)));
            }
            Err(_) => {
                let status = StatusCode::REQUEST_TIMEOUT;
                let refusal =
                    Refusal::new(status, "BLOB_UPLOAD_INVALID", "the body came too slowly");
                return (pieces, Some(Err(refusal)));
            }
        }
    }
    (pieces, None)
}

struct Writer {
    held: Held,
    file: fs::File,
}

async fn open_writer(held: Held) -> Result<Writer, Refusal> {
    blocking(move || {
        let file = fs::OpenOptions::new().append(true).open(held.folder.join(DATA))?;
        Ok(Writer { held, file })
    })
    .await
}

async fn joined(task: tokio::task::JoinHandle<Result<Writer, Refusal>>) -> Result<Writer, Refusal> {
    task.await.expect("a write does not panic")
}

fn write_all(mut writer: Writer, pieces: &[Bytes]) -> Result<Writer, Refusal> {
    let session = &mut *writer.held;
    let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
    if session.bytes + bytes > BLOB_BYTES_MAX {
        let status = StatusCode::PAYLOAD_TOO_LARGE;
        let message = format!("a blob has at most {BLOB_BYTES_MAX} bytes");
        return Err(Refusal::new(status, "SIZE_INVALID", message));
    }
    session.touched_at = SystemTime::now();
    for piece in pieces {
        if let Err(failure) = writer.file.write_all(piece) {
            // How much of the piece arrived is the file's to say.
            session.running = None;
            session.bytes = writer.file.metadata()?.len();
            return Err(failure.into());
        }
        session.bytes += piece.len() as u64;
        if let Some(running) = &mut session.running {
            running.update(piece);
        }
    }
    Ok(writer)
}

/// The digest of all bytes so far, in hexadecimal, and the session back. Reads the bytes again only
/// when the running digest was lost.
pub async fn digest(held: Held) -> Result<(Held, String), Refusal> {
    blocking(move || {
        let mut held = held;
        let running = match held.running.take() {
            Some(running) => running,
            None => digest_file(&held.data())?,
        };
        let hex = hex(running.clone().finish().as_ref());
        held.running = Some(running);
        Ok((held, hex))
    })
    .await
}

fn digest_file(path: &Path) -> io::Result<Context> {
    let mut file = fs::File::open(path)?;
    let mut running = Context::new(&SHA256);
    let mut buffer = vec![0; WRITE_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(running),
            read => running.update(&buffer[..read]),
        }
    }
}

impl Session {
    /// Where the bytes lie.
    pub fn data(&self) -> PathBuf {
        self.folder.join(DATA)
    }
}

fn make_session(folder: &Path, repository: &RepositoryName) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder)?;
    let create = |name: &str| {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(folder.join(name))
    };
    create(DATA)?;
    // Last: an upload whose name is there is whole.
    create(REPOSITORY)?.write_all(repository.as_str().as_bytes())
}

fn read_session(folder: &Path) -> io::Result<Option<Session>> {
    let Some(id) = folder.file_name().and_then(|name| name.to_str()) else { return Ok(None) };
    let repository = match fs::read_to_string(folder.join(REPOSITORY)) {
        Ok(name) if model::manifest::is_repository_name(&name) => RepositoryName::from(name),
        Ok(_) => return Ok(None),
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let metadata = match fs::metadata(folder.join(DATA)) {
        Ok(metadata) => metadata,
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(failure) => return Err(failure),
    };
    Ok(Some(Session {
        id: id.to_owned(),
        repository,
        bytes: metadata.len(),
        folder: folder.to_owned(),
        running: None,
        ended: false,
        touched_at: metadata.modified()?,
    }))
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(failure) if failure.kind() != io::ErrorKind::NotFound => Err(failure),
        _ => Ok(()),
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let done = spawn_blocking(work).await;
    Ok(done.expect("work on files does not panic")?)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::full;

    #[tokio::test]
    async fn only_what_nobody_holds_or_touched_is_stale() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let uploads = Uploads::open(folder.path()).expect("opened");
        let name = RepositoryName::from("x");
        let begin = async |id: &str| uploads.begin(id.to_owned(), name.clone()).await;
        let held = begin("held").await.expect("begun");
        drop(begin("old").await.expect("begun"));
        let mut fresh = begin("fresh").await.expect("begun");
        fresh.touched_at = SystemTime::now() + Duration::from_secs(3600);
        drop(fresh);
        let stale = uploads.stale(Duration::ZERO);
        assert_eq!(stale.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["old"]);
        for it in stale {
            uploads.end(it).await.expect("ended");
        }
        assert!(!folder.path().join("old").exists() && folder.path().join("held").exists());
        let held = append(held, full("abc")).await.expect("appended");
        assert_eq!(held.bytes, 3);
    }

    #[tokio::test]
    async fn uploads_a_process_left_are_found_unless_half_made_or_old() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let name = RepositoryName::from("x");
        let uploads = Uploads::open(folder.path()).expect("opened");
        for id in ["kept", "old"] {
            let held = uploads.begin(id.to_owned(), name.clone()).await.expect("begun");
            append(held, full("abc")).await.expect("appended");
        }
        drop(uploads);
        fs::create_dir(folder.path().join("half")).expect("made");
        let day = Duration::from_secs(UPLOAD_KEPT_SECONDS + 60);
        let data = fs::File::options().write(true).open(folder.path().join("old").join(DATA));
        data.expect("opened").set_modified(SystemTime::now() - day).expect("set");
        let uploads = Uploads::open(folder.path()).expect("opened");
        let kept: Vec<_> = uploads.lock().keys().cloned().collect();
        assert_eq!(kept, ["kept"]);
        let held = uploads.hold("kept", &name).await.expect("held");
        let (held, digest) = digest(held).await.expect("digested");
        let whole = ring::digest::digest(&SHA256, b"abc");
        assert_eq!((held.bytes, digest), (3, hex(whole.as_ref())));
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1);
    }
}
