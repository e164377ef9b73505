//! Reading a request's body, bounded in bytes and in time.

use crate::fault::Fault;
use crate::limits::{BODY_BYTES_MAX, BODY_TIMEOUT_MS};
use ::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::time::Duration;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

pub async fn read<B>(headers: &HeaderMap, body: B) -> Result<Bytes, Fault>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<Failure>,
{
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let deadline = Duration::from_millis(BODY_TIMEOUT_MS);
    let collected = Limited::new(body, BODY_BYTES_MAX).collect();
    match tokio::time::timeout(deadline, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(failure)) if failure.is::<LengthLimitError>() => Err(too_large()),
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

fn too_large() -> Fault {
    let text = format!("The request's body has more than {BODY_BYTES_MAX} bytes.");
    Fault::new("RequestEntityTooLargeException", 413, text)
}
