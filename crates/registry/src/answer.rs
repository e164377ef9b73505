//! Answers: bodies, and refusals in the distribution specification's JSON with ECR's words.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use model::RepositoryName;
use model::arn::Locality;
use serde_json::{Value, json};
use store::blob::{BlobFailure, StagingFailure};
use store::{CommitFailure, TransactFailure};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of requests and answers alike.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

pub fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A call that is not done, as the client will read it.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    pub detail: Option<Value>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), detail: None, headers: Vec::new() }
    }

    /// A value that a header can't hold is left out.
    pub fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub fn unsupported() -> Self {
        let message = "The operation is unsupported.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message)
    }

    pub fn repository_unknown(locality: &Locality, name: &RepositoryName) -> Self {
        let account = &locality.account;
        Self::not_found(
            "NAME_UNKNOWN",
            format!(
                "The repository with name '{name}' does not exist in the registry with id \
                 '{account}'"
            ),
        )
    }

    pub fn manifest_unknown() -> Self {
        Self::not_found("MANIFEST_UNKNOWN", "Requested image not found")
    }

    pub fn blob_unknown(digest: &model::Digest) -> Self {
        Self::not_found("BLOB_UNKNOWN", "blob unknown to registry")
            .with_detail(json!({ "digest": digest.as_str() }))
    }

    /// The world failed, not the client: the cause goes to the log, the client learns no more
    /// than that it may try again.
    pub fn failure(source: &(dyn std::error::Error + 'static)) -> Self {
        let mut cause = Some(source);
        while let Some(error) = cause {
            let io = error.downcast_ref::<std::io::Error>();
            if io.is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull) {
                tracing::error!(error = source, "the registry's disk is full");
                let status = StatusCode::INSUFFICIENT_STORAGE;
                return Self::new(status, "UNKNOWN", "the registry's disk is full");
            }
            cause = error.source();
        }
        tracing::error!(error = source, "a registry call failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "internal failure")
    }

    pub fn into_response(self) -> Response<Body> {
        let mut entry = json!({ "code": self.code, "message": self.message });
        if let Some(detail) = self.detail {
            entry["detail"] = detail;
        }
        let content = json!({ "errors": [entry] }).to_string();
        let mut response = Response::new(empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(content.len()));
        headers.extend(self.headers);
        *response.body_mut() = full(content);
        response
    }
}

impl From<std::io::Error> for Refusal {
    fn from(failure: std::io::Error) -> Self {
        Self::failure(&failure)
    }
}

impl From<BlobFailure> for Refusal {
    fn from(failure: BlobFailure) -> Self {
        Self::failure(&failure)
    }
}

impl From<StagingFailure> for Refusal {
    fn from(failure: StagingFailure) -> Self {
        let busy = |message| Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message);
        match failure {
            StagingFailure::Unknown => {
                Self::not_found("BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
            }
            StagingFailure::Busy => busy("another request of this upload is still running"),
            StagingFailure::TooMany => busy("too many uploads are under way"),
            StagingFailure::TooLarge { bytes_max } => {
                let message = format!("a blob has at most {bytes_max} bytes");
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message)
            }
            StagingFailure::DigestMismatch { wanted, found } => {
                let message = "provided digest did not match uploaded content";
                let detail = json!({ "wanted": wanted.to_string(), "found": found.to_string() });
                Self::bad_request("DIGEST_INVALID", message).with_detail(detail)
            }
            failure @ (StagingFailure::Blob(_) | StagingFailure::Io { .. }) => {
                Self::failure(&failure)
            }
        }
    }
}

impl From<CommitFailure> for Refusal {
    fn from(failure: CommitFailure) -> Self {
        Self::failure(&failure)
    }
}

impl From<TransactFailure<Refusal>> for Refusal {
    fn from(failure: TransactFailure<Refusal>) -> Self {
        match failure {
            TransactFailure::Aborted(refusal) => refusal,
            TransactFailure::Commit(failure) => Self::failure(&failure),
            TransactFailure::Contended { attempts, key } => {
                tracing::error!(attempts, key, "a registry transaction never got through");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "TOOMANYREQUESTS", "try again")
            }
        }
    }
}

/// An answer without a body.
pub fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}

/// Sets a header whose value is known to be printable: digests, paths, numbers.
pub fn set(response: &mut Response<Body>, name: impl Into<HeaderName>, value: &str) {
    let value = HeaderValue::from_str(value).expect("checked names and numbers are printable");
    response.headers_mut().insert(name.into(), value);
}
