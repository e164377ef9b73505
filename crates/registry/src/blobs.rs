//! Blobs: reading them, and pushing them in one piece, in chunks, or from another repository.

use crate::answer::{Body, BoxError, Refusal, bare, set};
use crate::receive;
use crate::{Call, Inner};
use bytes::Bytes;
use futures_util::stream;
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE,
};
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use model::image::{BlobLink, Repository};
use model::manifest::{is_repository_name, parse_digest};
use model::{Digest, RepositoryName};
use store::Txn;
use store::blob::{Held, ObjectReader, links};
use store::kinds::blob_link_key;

pub const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");

impl Inner {
    pub(crate) async fn get_blob(
        &self,
        call: &Call,
        name: RepositoryName,
        digest: Digest,
    ) -> Result<Response<Body>, Refusal> {
        self.repository(&name)?;
        let key = blob_link_key(&name, &digest);
        let link = self.store.snapshot().get::<BlobLink>(&key);
        let mut arriving = None;
        if link.is_none()
            && let Some(pull_through) = &self.pull_through
        {
            arriving = pull_through.blob(&name, &digest).await?;
        }
        let bytes = link.map(|link| link.bytes).or(arriving.as_ref().map(|blob| blob.bytes));
        let bytes = bytes.ok_or_else(|| Refusal::blob_unknown(&digest))?;
        // Who asks may be about to push an image that needs it.
        self.collector.spare(&key);
        let wanted = call.headers.get(RANGE).and_then(|range| range.to_str().ok());
        let range = match wanted.filter(|_| call.method == Method::GET) {
            Some(range) => byte_range(range, bytes)?,
            None => None,
        };
        let mut response = bare(StatusCode::OK);
        set(&mut response, CONTENT_TYPE, "application/octet-stream");
        set(&mut response, CONTENT_DIGEST, digest.as_str());
        set(&mut response, ACCEPT_RANGES, "bytes");
        let length = range.as_ref().map_or(bytes, |range| range.end - range.start);
        set(&mut response, CONTENT_LENGTH, &length.to_string());
        if let Some(range) = &range {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let content_range = format!("bytes {}-{}/{bytes}", range.start, range.end - 1);
            set(&mut response, CONTENT_RANGE, &content_range);
        }
        let file = match &mut arriving {
            Some(arriving) if call.method == Method::GET => arriving.open().await?,
            _ => None,
        };
        if let (Some(arriving), Some(file)) = (arriving, file) {
            let range = range.unwrap_or(0..bytes);
            *response.body_mut() = arriving.body(file, range).await?;
        } else if call.method == Method::GET {
            let object = object_name(&digest);
            let reader = self.objects.get(object, range).await?;
            // A link without its object: somebody else removed a file of the data folder.
            let reader = reader.ok_or_else(|| {
                tracing::error!(%digest, repository = %name, "a linked blob is missing");
                Refusal::blob_unknown(&digest)
            })?;
            *response.body_mut() = stream_body(reader);
        }
        Ok(response)
    }

    /// `POST …/blobs/uploads/`: a mount, a whole blob, or the beginning of one.
    pub(crate) async fn begin_upload(
        &self,
        call: &Call,
        body: Body,
        name: RepositoryName,
    ) -> Result<Response<Body>, Refusal> {
        self.repository(&name)?;
        if let Some(mount) = call.query.get("mount") {
            let digest = parse_digest(mount).ok_or_else(digest_malformed)?;
            let from = call.query.get("from").filter(|from| is_repository_name(from));
            if let Some(from) = from
                && self.mount(&RepositoryName::from(from), &name, &digest).await?
            {
                return Ok(created(&name, &digest));
            }
        }
        let digest =
            call.query.get("digest").map(|text| parse_digest(text).ok_or_else(digest_malformed));
        let digest = digest.transpose()?;
        let held = self.staging.begin(self.upload_id()?, name.clone()).await?;
        match digest {
            None => Ok(progress(StatusCode::ACCEPTED, &held)),
            Some(digest) => {
                let held = receive::append(held, body).await?;
                self.commit_upload(held, name, digest).await
            }
        }
    }

    pub(crate) async fn upload_status(
        &self,
        name: RepositoryName,
        id: String,
    ) -> Result<Response<Body>, Refusal> {
        self.repository(&name)?;
        let held = self.staging.hold(&id, &name).await?;
        Ok(progress(StatusCode::NO_CONTENT, &held))
    }

    pub(crate) async fn continue_upload(
        &self,
        call: &Call,
        body: Body,
        name: RepositoryName,
        id: String,
    ) -> Result<Response<Body>, Refusal> {
        self.repository(&name)?;
        let held = self.staging.hold(&id, &name).await?;
        let held = receive(held, &call.headers, body).await?;
        Ok(progress(StatusCode::ACCEPTED, &held))
    }

    pub(crate) async fn finish_upload(
        &self,
        call: &Call,
        body: Body,
        name: RepositoryName,
        id: String,
    ) -> Result<Response<Body>, Refusal> {
        self.repository(&name)?;
        let digest =
            call.query.get("digest").and_then(parse_digest).ok_or_else(digest_malformed)?;
        let held = self.staging.hold(&id, &name).await?;
        let held = receive(held, &call.headers, body).await?;
        self.commit_upload(held, name, digest).await
    }

    pub(crate) async fn cancel_upload(
        &self,
        name: RepositoryName,
        id: String,
    ) -> Result<Response<Body>, Refusal> {
        self.repository(&name)?;
        let held = self.staging.hold(&id, &name).await?;
        self.staging.end(held).await?;
        Ok(bare(StatusCode::NO_CONTENT))
    }

    /// Checks the digest, makes the content an object and only then links it: a blob is visible
    /// only when it is whole, right and durable.
    async fn commit_upload(
        &self,
        held: Held,
        name: RepositoryName,
        digest: Digest,
    ) -> Result<Response<Body>, Refusal> {
        let stored = self.staging.finish(held, &*self.objects, stored_digest(&digest)).await?;
        self.link(&name, &digest, stored.bytes, None).await?;
        Ok(created(&name, &digest))
    }

    /// Whether the blob could be had from the other repository.
    async fn mount(
        &self,
        from: &RepositoryName,
        name: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, Refusal> {
        let link = self.store.snapshot().get::<BlobLink>(&blob_link_key(from, digest));
        let Some(link) = link else { return Ok(false) };
        self.link(name, digest, link.bytes, Some(from)).await
    }

    /// Whether it could be linked: what is mounted must still be in the other repository then, or
    /// its object may be gone. The link is written anew if there is one already, which keeps it
    /// from garbage collection for as long as a new one.
    pub(crate) async fn link(
        &self,
        name: &RepositoryName,
        digest: &Digest,
        bytes: u64,
        from: Option<&RepositoryName>,
    ) -> Result<bool, Refusal> {
        let linked = self.store.transact(|txn| self.link_in(txn, name, digest, bytes, from));
        let (linked, _) = linked.await?;
        Ok(linked)
    }
}

impl Inner {
    pub(crate) fn link_in(
        &self,
        txn: &mut Txn,
        name: &RepositoryName,
        digest: &Digest,
        bytes: u64,
        from: Option<&RepositoryName>,
    ) -> Result<bool, Refusal> {
        if txn.get::<Repository>(name.as_str()).is_none() {
            return Err(self.repository_unknown(name));
        }
        let source = from.map(|from| txn.get::<BlobLink>(&blob_link_key(from, digest)));
        if let Some(None) = source {
            return Ok(false);
        }
        links::link(txn, name, digest, bytes, self.now());
        Ok(true)
    }
}

/// Takes a chunk or the rest of a blob, which must begin where the upload stands.
async fn receive(held: Held, headers: &HeaderMap, body: Body) -> Result<Held, Refusal> {
    let Some(range) = headers.get(CONTENT_RANGE) else {
        return receive::append(held, body).await;
    };
    let Some((start, end)) = range.to_str().ok().and_then(chunk_range) else {
        return Err(Refusal::bad_request("BLOB_UPLOAD_INVALID", "malformed Content-Range"));
    };
    if start != held.bytes() {
        let standing = progress(StatusCode::RANGE_NOT_SATISFIABLE, &held);
        let message = format!("the next byte of this upload is {}", held.bytes());
        let mut refusal = Refusal::new(standing.status(), "BLOB_UPLOAD_INVALID", message);
        for (header, value) in standing.headers() {
            if header != CONTENT_LENGTH {
                refusal.headers.push((header.clone(), value.clone()));
            }
        }
        return Err(refusal);
    }
    let held = receive::append(held, body).await?;
    match held.bytes() == end + 1 {
        true => Ok(held),
        false => Err(Refusal::bad_request(
            "SIZE_INVALID",
            format!("the chunk should end at byte {end}, it ended before byte {}", held.bytes()),
        )),
    }
}

/// `0-99`; some clients write `bytes 0-99/200`. Both ends are inclusive.
fn chunk_range(text: &str) -> Option<(u64, u64)> {
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    let text = text.split_once('/').map_or(text, |(range, _)| range);
    let (start, end) = text.split_once('-')?;
    let (start, end) = (start.trim().parse().ok()?, end.trim().parse::<u64>().ok()?);
    (start <= end && end < u64::MAX).then_some((start, end))
}

/// One range of a blob. None: the header is of a form that may be ignored (RFC 9110, 14.2), other
/// units and several ranges among them.
fn byte_range(text: &str, bytes: u64) -> Result<Option<std::ops::Range<u64>>, Refusal> {
    let Some((start, end)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-'))
    else {
        return Ok(None);
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let range = match (start.trim(), end.trim()) {
        ("", "") => return Ok(None),
        ("", last) => match number(last) {
            Some(last) => bytes.saturating_sub(last)..bytes,
            None => return Ok(None),
        },
        (first, "") => match number(first) {
            Some(first) => first..bytes,
            None => return Ok(None),
        },
        (first, last) => match (number(first), number(last)) {
            // One that ends before it begins is refused as one outside: clients find out sooner.
            (Some(first), Some(last)) => first..bytes.min(last.saturating_add(1)),
            _ => return Ok(None),
        },
    };
    if range.start >= range.end {
        let refusal = Refusal::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "SIZE_INVALID",
            "the range is outside the blob",
        );
        return Err(refusal.with_header(CONTENT_RANGE, &format!("bytes */{bytes}")));
    }
    Ok(Some(range))
}

fn digest_malformed() -> Refusal {
    Refusal::bad_request("DIGEST_INVALID", "the digest is missing or no sha256 digest")
}

fn stored_digest(digest: &Digest) -> store::blob::Digest {
    store::blob::Digest::parse(digest.as_str()).expect("digests are checked where they come in")
}

pub fn object_name(digest: &Digest) -> store::blob::ObjectName {
    stored_digest(digest).object_name()
}

/// Where an upload stands. Its location is relative, so that it holds behind any name of ours.
fn progress(status: StatusCode, held: &Held) -> Response<Body> {
    let mut response = bare(status);
    let location = format!("/v2/{}/blobs/uploads/{}", held.repository(), held.id());
    set(&mut response, LOCATION, &location);
    set(&mut response, RANGE, &format!("0-{}", held.bytes().saturating_sub(1)));
    set(&mut response, UPLOAD_UUID, held.id());
    if status != StatusCode::NO_CONTENT {
        set(&mut response, CONTENT_LENGTH, "0");
    }
    response
}

fn created(name: &RepositoryName, digest: &Digest) -> Response<Body> {
    let mut response = bare(StatusCode::CREATED);
    set(&mut response, LOCATION, &format!("/v2/{name}/blobs/{digest}"));
    set(&mut response, CONTENT_DIGEST, digest.as_str());
    set(&mut response, CONTENT_LENGTH, "0");
    response
}

/// A body that reads as fast as the client takes it.
fn stream_body(reader: Box<dyn ObjectReader>) -> Body {
    let frames = stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(piece)) => Some((Ok(Frame::<Bytes>::data(piece)), Some(reader))),
            Ok(None) => None,
            Err(failure) => {
                tracing::error!(%failure, "a blob could not be read to its end");
                Some((Err(BoxError::from(failure)), None))
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_has_them() {
        for (text, found) in [
            ("bytes=0-0", Some(0..1)),
            ("bytes=5-", Some(5..10)),
            ("bytes=5-99", Some(5..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-99", Some(0..10)),
            ("bytes=0-1,3-4", None),
            ("lines=0-1", None),
            ("bytes=-", None),
        ] {
            assert_eq!(byte_range(text, 10).expect("satisfiable"), found, "{text}");
        }
        for text in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=4-2"] {
            let refusal = byte_range(text, 10).expect_err("outside");
            assert_eq!(refusal.status, StatusCode::RANGE_NOT_SATISFIABLE, "{text}");
        }
        assert_eq!(chunk_range("0-99"), Some((0, 99)));
        assert_eq!(chunk_range("bytes 5-9/10"), Some((5, 9)));
        for bad in ["", "9-5", "a-b", "5", "0-18446744073709551615"] {
            assert_eq!(chunk_range(bad), None, "{bad}");
        }
    }
}
