//! Blobs that are being sent to us, before they are objects. Each upload is a folder with the bytes
//! so far and the name of the repository they are for, so it survives a restart; the running digest
//! is kept in memory and made anew from the bytes when it is lost.
//!
//! Whoever works on an upload holds it (`Held`). A request that is cut off may leave a write behind
//! that still runs: the write owns the hold, so the next request sees either all of it or none.
//!
//! ```text
//! let held = staging.begin(id, repository).await?;            // or hold(&id, &repository)
//! let held = held.append(pieces).await?;                      // as often as needed
//! let stored = staging.finish(held, &*objects, digest).await?; // then commit a BlobLink
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use model::RepositoryName;
use model::manifest::is_repository_name;
use ring::digest::{Context, SHA256};
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;

use super::{BlobFailure, BoxFuture, Digest, ObjectStore, Stored, Whole};
use crate::limits::{
    OBJECT_CHUNK_BYTES, STAGED_BYTES_MAX, STAGED_KEPT_SECONDS, STAGED_UPLOADS_MAX,
    STAGED_WAIT_SECONDS_MAX,
};

/// The bytes so far, in an upload's folder.
const DATA: &str = "data";
/// The repository's name, in an upload's folder.
const REPOSITORY: &str = "repository";

/// All uploads under way. Clones share them.
#[derive(Clone)]
pub struct Staging {
    folder: Arc<PathBuf>,
    sessions: Arc<Mutex<Sessions>>,
}

type Sessions = BTreeMap<String, Arc<tokio::sync::Mutex<Session>>>;

/// One upload.
struct Session {
    id: String,
    repository: RepositoryName,
    /// Bytes received so far; the file's length.
    bytes: u64,
    folder: PathBuf,
    /// None until the bytes have been read once after a restart or a failed write.
    running: Option<Context>,
    /// Ended, successfully or not: nothing more can be done with it.
    ended: bool,
    touched_at: SystemTime,
}

/// An upload that nobody else can touch while this is held. Dropping it lets the next one in.
pub struct Held {
    session: OwnedMutexGuard<Session>,
    /// Open from the first append on.
    file: Option<fs::File>,
}

/// Why an upload could not go on.
#[derive(Debug, thiserror::Error)]
pub enum StagingFailure {
    /// It never was, has ended, or is another repository's.
    #[error("there is no such upload")]
    Unknown,
    #[error("another request of this upload is still running")]
    Busy,
    #[error("too many uploads are under way")]
    TooMany,
    #[error("an upload has at most {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
    /// The upload has ended with that.
    #[error("the content has digest {found}, not {wanted}")]
    DigestMismatch { wanted: Digest, found: Digest },
    #[error(transparent)]
    Blob(#[from] BlobFailure),
    #[error("{what} failed")]
    Io {
        what: &'static str,
        #[source]
        source: io::Error,
    },
}

/// What a sweep of abandoned uploads ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub uploads: usize,
    pub bytes: u64,
}

impl Staging {
    /// Opens or makes the folder and finds the uploads that an earlier process left. Nothing else
    /// may use the folder. Blocks while it reads.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut sessions = Sessions::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            match read_session(&entry.path())? {
                Some(session) => {
                    let id = session.id.clone();
                    sessions.insert(id, Arc::new(tokio::sync::Mutex::new(session)));
                }
                // A crash between making the folder and filling it: nobody was told of it.
                None => fs::remove_dir_all(entry.path())?,
            }
        }
        let sessions = Arc::new(Mutex::new(sessions));
        Ok(Self { folder: Arc::new(folder.to_owned()), sessions })
    }

    /// Begins an upload under an id of letters, digits and `-` that is new and can't be guessed.
    pub async fn begin(
        &self,
        id: String,
        repository: RepositoryName,
    ) -> Result<Held, StagingFailure> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        assert!(!id.is_empty() && id.chars().all(plain), "an upload's id is the name of a folder");
        self.make_room().await?;
        let folder = self.folder.join(&id);
        let (path, name) = (folder.clone(), repository.clone());
        blocking("beginning an upload", move || make_session(&path, &name)).await?;
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
        Ok(Held { session: held, file: None })
    }

    /// Takes hold of an upload of this repository, waiting for an earlier request of it.
    pub async fn hold(
        &self,
        id: &str,
        repository: &RepositoryName,
    ) -> Result<Held, StagingFailure> {
        let session = self.lock().get(id).cloned().ok_or(StagingFailure::Unknown)?;
        let wait = Duration::from_secs(STAGED_WAIT_SECONDS_MAX);
        let Ok(session) = tokio::time::timeout(wait, session.lock_owned()).await else {
            return Err(StagingFailure::Busy);
        };
        match session.ended || session.repository != *repository {
            true => Err(StagingFailure::Unknown),
            false => Ok(Held { session, file: None }),
        }
    }

    /// Makes an upload the object of its digest and ends it. A digest other than the wanted one
    /// ends it too; after any other failure it stands as it did.
    pub async fn finish(
        &self,
        held: Held,
        objects: &dyn ObjectStore,
        wanted: Digest,
    ) -> Result<Stored, StagingFailure> {
        let (held, found) = held.digest().await?;
        if found != wanted {
            self.end(held).await?;
            return Err(StagingFailure::DigestMismatch { wanted, found });
        }
        let path = held.session.folder.join(DATA);
        let stored = objects.adopt(Whole { path, digest: found, bytes: held.bytes() }).await?;
        self.end(held).await?;
        Ok(stored)
    }

    /// Forgets an upload and removes what is left of it.
    pub async fn end(&self, mut held: Held) -> Result<(), StagingFailure> {
        held.session.ended = true;
        self.lock().remove(&held.session.id);
        let folder = held.session.folder.clone();
        blocking("removing an upload", move || match fs::remove_dir_all(&folder) {
            Err(failure) if failure.kind() != io::ErrorKind::NotFound => Err(failure),
            _ => Ok(()),
        })
        .await
    }

    /// Ends the uploads that nobody holds and none has touched for this long.
    pub async fn sweep(&self, kept: Duration) -> Result<Swept, StagingFailure> {
        let mut swept = Swept::default();
        for held in self.stale(kept) {
            swept.uploads += 1;
            swept.bytes += held.bytes();
            self.end(held).await?;
        }
        Ok(swept)
    }

    /// How many uploads are under way.
    pub fn uploads(&self) -> usize {
        self.lock().len()
    }

    /// When there are too many, ends those that nobody has touched for long, and refuses when there
    /// are still too many.
    async fn make_room(&self) -> Result<(), StagingFailure> {
        if self.uploads() < STAGED_UPLOADS_MAX {
            return Ok(());
        }
        self.sweep(Duration::from_secs(STAGED_KEPT_SECONDS)).await?;
        match self.uploads() < STAGED_UPLOADS_MAX {
            true => Ok(()),
            false => Err(StagingFailure::TooMany),
        }
    }

    fn stale(&self, kept: Duration) -> Vec<Held> {
        let sessions = self.lock();
        let idle = sessions.values().filter_map(|it| Arc::clone(it).try_lock_owned().ok());
        let stale = idle.filter(|it| it.touched_at.elapsed().is_ok_and(|age| age > kept));
        stale.map(|session| Held { session, file: None }).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    pub fn id(&self) -> &str {
        &self.session.id
    }

    pub fn repository(&self) -> &RepositoryName {
        &self.session.repository
    }

    /// Bytes received so far: where the next one belongs.
    pub fn bytes(&self) -> u64 {
        self.session.bytes
    }

    /// The file with the bytes so far, for who reads along.
    pub fn data(&self) -> PathBuf {
        self.session.folder.join(DATA)
    }

    /// Adds pieces at the end. The write begins at once and runs to its end whether or not the
    /// answer is waited for. After a failure what did arrive stays; `hold` it again to learn how
    /// much that is.
    pub fn append(self, pieces: Vec<Bytes>) -> BoxFuture<'static, Result<Held, StagingFailure>> {
        let mut held = self;
        let writing = spawn_blocking(move || held.write(&pieces).map(|()| held));
        Box::pin(async move { writing.await.expect("a write does not panic") })
    }

    fn write(&mut self, pieces: &[Bytes]) -> Result<(), StagingFailure> {
        let failed = |source| StagingFailure::Io { what: "writing an upload", source };
        let session = &mut *self.session;
        let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if session.bytes + bytes > STAGED_BYTES_MAX {
            return Err(StagingFailure::TooLarge { bytes_max: STAGED_BYTES_MAX });
        }
        session.touched_at = SystemTime::now();
        let file = match &mut self.file {
            Some(file) => file,
            file => {
                let opened = fs::OpenOptions::new().append(true).open(session.folder.join(DATA));
                file.insert(opened.map_err(failed)?)
            }
        };
        for piece in pieces {
            if let Err(failure) = file.write_all(piece) {
                // How much of the piece arrived is the file's to say.
                session.running = None;
                session.bytes = file.metadata().map_err(failed)?.len();
                return Err(failed(failure));
            }
            session.bytes += piece.len() as u64;
            if let Some(running) = &mut session.running {
                running.update(piece);
            }
        }
        Ok(())
    }

    /// The digest of all bytes so far. Reads them again only when the running digest was lost.
    pub async fn digest(self) -> Result<(Held, Digest), StagingFailure> {
        blocking("reading an upload", move || {
            let mut held = self;
            let running = match held.session.running.take() {
                Some(running) => running,
                None => digest_file(&held.session.folder.join(DATA))?,
            };
            let digest = Digest::from_context(running.clone());
            held.session.running = Some(running);
            Ok((held, digest))
        })
        .await
    }
}

fn digest_file(path: &Path) -> io::Result<Context> {
    let mut file = fs::File::open(path)?;
    let mut running = Context::new(&SHA256);
    let mut buffer = vec![0; OBJECT_CHUNK_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(running),
            read => running.update(&buffer[..read]),
        }
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
        Ok(name) if is_repository_name(&name) => RepositoryName::from(name),
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

async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StagingFailure> {
    let done = spawn_blocking(work).await.expect("work on files does not panic");
    done.map_err(|source| StagingFailure::Io { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> RepositoryName {
        RepositoryName::from("team/web")
    }

    fn abc() -> Vec<Bytes> {
        vec![Bytes::from_static(b"a"), Bytes::from_static(b"bc")]
    }

    #[tokio::test]
    async fn only_what_nobody_holds_or_touched_is_swept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let staging = Staging::open(folder.path()).expect("opened");
        let begin = async |id: &str| staging.begin(id.to_owned(), name()).await.expect("begun");
        let held = begin("held").await;
        let old = begin("old").await.append(abc()).await.expect("appended");
        drop(old);
        let mut fresh = begin("fresh").await;
        fresh.session.touched_at = SystemTime::now() + Duration::from_secs(3600);
        drop(fresh);
        let swept = staging.sweep(Duration::ZERO).await.expect("swept");
        assert_eq!(swept, Swept { uploads: 1, bytes: 3 });
        assert!(!folder.path().join("old").exists() && folder.path().join("held").exists());
        assert!(matches!(staging.hold("old", &name()).await, Err(StagingFailure::Unknown)));
        let held = held.append(abc()).await.expect("appended");
        assert_eq!(held.bytes(), 3);
    }

    #[tokio::test]
    async fn uploads_a_process_left_are_found_unless_half_made() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let staging = Staging::open(folder.path()).expect("opened");
        let held = staging.begin("kept".to_owned(), name()).await.expect("begun");
        drop(held.append(abc()).await.expect("appended"));
        drop(staging);
        fs::create_dir(folder.path().join("half")).expect("made");
        let staging = Staging::open(folder.path()).expect("opened");
        assert_eq!(staging.uploads(), 1);
        let other = RepositoryName::from("another");
        assert!(matches!(staging.hold("kept", &other).await, Err(StagingFailure::Unknown)));
        let held = staging.hold("kept", &name()).await.expect("held");
        let (held, digest) = held.digest().await.expect("digested");
        assert_eq!((held.bytes(), digest), (3, Digest::of(b"abc")));
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1);
    }

    #[tokio::test]
    async fn an_upload_becomes_an_object_only_with_its_digest() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let staging = Staging::open(&folder.path().join("uploads")).expect("opened");
        let objects = super::super::FolderObjects::open(&folder.path().join("objects"));
        let objects = objects.expect("opened");
        let upload = async |id: &str| {
            let held = staging.begin(id.to_owned(), name()).await.expect("begun");
            held.append(abc()).await.expect("appended")
        };
        let lie = Digest::of(b"a lie");
        let refused = staging.finish(upload("one").await, &objects, lie).await;
        assert!(matches!(refused, Err(StagingFailure::DigestMismatch { .. })), "{refused:?}");
        assert!(matches!(staging.hold("one", &name()).await, Err(StagingFailure::Unknown)));
        let truth = Digest::of(b"abc");
        for id in ["two", "three"] {
            let stored = staging.finish(upload(id).await, &objects, truth).await.expect("stored");
            assert_eq!(stored, Stored { digest: truth, bytes: 3 });
        }
        assert!(objects.head(lie.object_name()).await.expect("asked").is_none());
        assert_eq!(
            objects.head(truth.object_name()).await.expect("asked").expect("there").bytes,
            3
        );
        assert_eq!(fs::read_dir(folder.path().join("uploads")).expect("read").count(), 0);
    }
}
