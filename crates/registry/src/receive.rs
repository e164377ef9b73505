//! Request bodies on their way into an upload. While one piece is written and digested the next one
//! is received. What arrived before a failure stays; the client asks how far it came.

use crate::answer::{Body, Refusal};
use crate::limits::{BODY_PAUSE_SECONDS_MAX, WRITE_BYTES};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::BodyExt;
use std::time::Duration;
use store::blob::Held;

/// Appends a whole body to an upload.
pub async fn append(held: Held, mut body: Body) -> Result<Held, Refusal> {
    let mut ready = Some(held);
    let mut writing = None;
    loop {
        let (pieces, ended) = gather(&mut body).await;
        if !pieces.is_empty() {
            let held = match writing.take() {
                Some(write) => write.await?,
                None => ready.take().expect("either it is written to or it is here"),
            };
            writing = Some(held.append(pieces));
        }
        if let Some(ended) = ended {
            let held = match writing {
                Some(write) => write.await?,
                None => ready.expect("either it is written to or it is here"),
            };
            return ended.map(|()| held);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::BoxError;
    use futures_util::stream::{self, StreamExt};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use model::RepositoryName;
    use store::blob::Staging;

    /// A body that sends some bytes and then nothing more, without an end.
    fn stalled(first: &'static [u8]) -> Body {
        let first = stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from_static(first)))]);
        StreamBody::new(first.chain(stream::pending())).boxed_unsync()
    }

    #[tokio::test(start_paused = true)]
    async fn who_pauses_too_long_is_sent_away_and_may_go_on_later() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let staging = Staging::open(folder.path()).expect("opened");
        let name = RepositoryName::from("x");
        let held = staging.begin("slow".to_owned(), name.clone()).await.expect("begun");
        let started = tokio::time::Instant::now();
        let refusal = append(held, stalled(b"first")).await.err().expect("it never ends");
        assert_eq!(refusal.status, StatusCode::REQUEST_TIMEOUT);
        assert!(started.elapsed() >= Duration::from_secs(BODY_PAUSE_SECONDS_MAX));
        let held = staging.hold("slow", &name).await.expect("free again");
        assert_eq!(held.bytes(), 5);
    }
}
