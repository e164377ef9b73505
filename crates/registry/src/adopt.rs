//! Makes a finished upload an object. Where objects are files of this machine it is renamed; other
//! engines get a copy through their own interface.

use crate::answer::Refusal;
use crate::limits::WRITE_BYTES;
use bytes::Bytes;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::blob::{Digest, ObjectStore};
use tokio::task::spawn_blocking;

pub struct Landing {
    objects: Arc<dyn ObjectStore>,
    folder: Option<PathBuf>,
}

impl Landing {
    pub fn new(objects: Arc<dyn ObjectStore>, folder: Option<PathBuf>) -> Self {
        Self { objects, folder }
    }

    /// The file's content, whose digest has been checked, becomes the object of that digest. Once
    /// this returns it is durable. The file may be gone then.
    pub async fn adopt(&self, file: PathBuf, digest: Digest) -> Result<(), Refusal> {
        match self.folder.clone() {
            Some(folder) => {
                let moved = spawn_blocking(move || rename(&file, &folder, digest)).await;
                Ok(moved.expect("renaming does not panic")?)
            }
            None => self.copy(file, digest).await,
        }
    }

    async fn copy(&self, file: PathBuf, digest: Digest) -> Result<(), Refusal> {
        if self.objects.head(digest.object_name()).await?.is_some() {
            return Ok(());
        }
        let mut file = fs::File::open(file)?;
        let mut upload = self.objects.begin().await?;
        loop {
            let read = spawn_blocking(move || {
                let mut piece = vec![0; WRITE_BYTES];
                let bytes = file.read(&mut piece)?;
                piece.truncate(bytes);
                Ok::<_, io::Error>((file, Bytes::from(piece)))
            });
            let (back, piece) = read.await.expect("reading does not panic")?;
            file = back;
            if piece.is_empty() {
                break;
            }
            upload.write(piece).await?;
        }
        upload.finish(None, Some(digest)).await?;
        Ok(())
    }
}

/// First the content is made durable, then its name, so that no name ever stands for half of it.
fn rename(file: &Path, folder: &Path, digest: Digest) -> io::Result<()> {
    let target = folder.join(digest.object_name().as_str());
    let parent = target.parent().expect("an object lies in a folder");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    fs::File::open(file)?.sync_all()?;
    fs::rename(file, &target)?;
    for folder_above in target.ancestors().skip(1) {
        fs::File::open(folder_above)?.sync_all()?;
        if folder_above == folder {
            break;
        }
    }
    Ok(())
}
