//! One layer, from its registry to its place in the store: fetched, inflated and written at the
//! same time, and put in place by one rename when both its digests have proved right.

use super::blob::BlobStream;
use super::client::Session;
use super::confine::Root;
use super::digest::Digest;
use super::disk::{Disk, LayerRecord, Scratch};
use super::failure::PullFailure;
use super::inflate::{self, Chunk, Growth, LayerProblem};
use super::limits;
use super::manifest::Descriptor;
use super::progress::{Progress, Watchers};
use super::unpack::{self, Unpacked};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

type Inflating = JoinHandle<Result<(Digest, u64), LayerProblem>>;
type Writing = JoinHandle<Result<(Unpacked, Scratch), LayerProblem>>;

/// Brings the layer in, unless it is there. When this future is dropped the threads notice, stop
/// and clean up behind themselves.
pub(crate) async fn bring_in(
    disk: Arc<Disk>,
    session: Session,
    blob: Descriptor,
    diff_id: Digest,
    watchers: &Watchers,
) -> Result<(), PullFailure> {
    if disk.has_layer(&diff_id) {
        return Ok(());
    }
    let scratch = blocking({
        let disk = Arc::clone(&disk);
        move || disk.scratch()
    })
    .await?;
    let (sender, inflating, writing) = start(scratch);
    let mut stream = BlobStream::new(&session, "layer", &blob);
    let fetched = fetch(&mut stream, &sender, watchers).await;
    drop(sender);
    let inflated = joined(inflating.await);
    let written = joined(writing.await);
    // Whoever was cut short isn't the cause, so the first with a cause of its own is.
    if let Err(failure) = fetched
        && !matches!(failure, PullFailure::Interrupted)
    {
        return discard(written, failure).await;
    }
    let (computed, bytes) = match inflated {
        Ok(told) => told,
        Err(LayerProblem::CutShort) => {
            let problem = written.err().unwrap_or(LayerProblem::CutShort);
            return Err(named(&disk, &blob, problem));
        }
        Err(problem) => return discard(written, named(&disk, &blob, problem)).await,
    };
    let (unpacked, scratch) = written.map_err(|problem| named(&disk, &blob, problem))?;
    if computed != diff_id {
        let failure =
            PullFailure::DiffIdMismatch { layer: blob.digest, expected: diff_id, computed };
        return discard(Ok((unpacked, scratch)), failure).await;
    }
    let record = LayerRecord::new(diff_id, blob.digest, bytes, unpacked);
    blocking(move || disk.publish_layer(scratch, record)).await?;
    watchers.tell(|| Progress::Unpacked { layer: blob.digest });
    Ok(())
}

fn start(scratch: Scratch) -> (mpsc::Sender<Chunk>, Inflating, Writing) {
    let (sender, receiver) = mpsc::channel(limits::CHUNKS_WAITING_MAX);
    let (block_sender, block_reader) = inflate::blocks();
    let inflating = tokio::task::spawn_blocking(move || {
        // Moved in whole: when this thread is done, for whatever reason, the writer must see it.
        let block_sender = block_sender;
        inflate::inflate(receiver, &block_sender, Growth::default())
    });
    let writing = tokio::task::spawn_blocking(move || {
        let root = Root::new(scratch.open("fs")?, scratch.open("trash")?);
        let unpacked = unpack::unpack(block_reader, root)?;
        Ok((unpacked, scratch))
    });
    (sender, inflating, writing)
}

/// Feeds the inflater. `Interrupted` if it stopped listening.
async fn fetch(
    stream: &mut BlobStream,
    sender: &mpsc::Sender<Chunk>,
    watchers: &Watchers,
) -> Result<(), PullFailure> {
    while let Some(chunk) = stream.next().await? {
        watchers.tell(|| stream.progress());
        if sender.send(Chunk::Data(chunk)).await.is_ok() {
            continue;
        }
        // It has met something it can't unpack. If that is because the registry sent something
        // else than what was asked for, that is the thing to say.
        if stream.remaining() <= limits::DRAIN_BYTES_MAX {
            while stream.next().await?.is_some() {}
        }
        return Err(PullFailure::Interrupted);
    }
    sender.send(Chunk::End).await.map_err(|_| PullFailure::Interrupted)
}

/// A thread that panicked is a bug of ours that must not take more than this pull with it.
fn joined<T>(
    result: Result<Result<T, LayerProblem>, tokio::task::JoinError>,
) -> Result<T, LayerProblem> {
    result.unwrap_or_else(|error| {
        tracing::error!(%error, "unpacking a layer ended without a result");
        Err(LayerProblem::Bad("unpacking ended without a result".to_owned()))
    })
}

/// Removes what was unpacked before it tells the failure, off the threads that must not wait for
/// disks.
async fn discard(
    written: Result<(Unpacked, Scratch), LayerProblem>,
    failure: PullFailure,
) -> Result<(), PullFailure> {
    blocking(move || {
        drop(written);
        Err(failure)
    })
    .await
}

fn named(disk: &Disk, blob: &Descriptor, problem: LayerProblem) -> PullFailure {
    let layer = blob.digest;
    match problem {
        LayerProblem::CutShort => PullFailure::Interrupted,
        LayerProblem::Bad(problem) => PullFailure::BadLayer { layer, problem },
        LayerProblem::TooLarge { what, bound } => {
            PullFailure::TooLarge { what: format!("layer {layer}: {what}"), bound }
        }
        LayerProblem::Disk(error) => disk.failure(&format!("unpacking layer {layer}"), &error),
    }
}

/// Runs what waits for a disk where that hurts nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PullFailure> + Send + 'static,
) -> Result<T, PullFailure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a step of a pull ended without a result");
        Err(PullFailure::Interrupted)
    })
}
