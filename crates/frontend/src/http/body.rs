//! Reading a request's body, bounded in bytes and in time. One operation takes more than all
//! others, a part of a layer; of those only a few are read at a time.

use crate::fault::Fault;
use crate::limits::{
    BODY_BYTES_MAX, BODY_TIMEOUT_MS, LAYER_BODIES_MAX, LAYER_BODY_BYTES_MAX, LAYER_BODY_TIMEOUT_MS,
};
use ::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::time::Duration;
use tokio::sync::Semaphore;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The operation whose bodies are large, as its clients name it.
const LAYER_TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.UploadLayerPart";
/// Large bodies being read, which are in memory whole.
static LAYER_BODIES: Semaphore = Semaphore::const_new(LAYER_BODIES_MAX);

pub async fn read<B>(headers: &HeaderMap, body: B) -> Result<Bytes, Fault>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Failure>,
{
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    if target != Some(LAYER_TARGET) {
        return read_up_to(headers, body, BODY_BYTES_MAX, BODY_TIMEOUT_MS).await;
    }
    let _turn = LAYER_BODIES.acquire().await.expect("the semaphore is never closed");
    read_up_to(headers, body, LAYER_BODY_BYTES_MAX, LAYER_BODY_TIMEOUT_MS).await
}

async fn read_up_to<B>(
    headers: &HeaderMap,
    body: B,
    bytes_max: usize,
    timeout_ms: u64,
) -> Result<Bytes, Fault>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Failure>,
{
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    let deadline = Duration::from_millis(timeout_ms);
    let collected = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(deadline, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(failure)) if failure.is::<LengthLimitError>() => Err(too_large(bytes_max)),
        Ok(Err(failure)) => {
            let text = format!("The request's body could not be read: {failure}");
            Err(Fault::client("RequestAbortedException", text))
        }
        Err(_) => {
            let text = "The request's body did not arrive in time.";
            Err(Fault::new("RequestTimeoutException", 408, text))
        }
    }
}

fn too_large(bytes_max: usize) -> Fault {
    let text = format!("The request's body has more than {bytes_max} bytes.");
    Fault::new("RequestEntityTooLargeException", 413, text)
}
