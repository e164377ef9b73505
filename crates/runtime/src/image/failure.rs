//! Why a pull failed, told twice: to operators as what happened, and to ECS's users in ECS's own
//! words (`ecs_reason`), because people and their scripts search for those. The texts follow the
//! developer guide's pages "CannotPullContainer task errors" and "stopped task error messages
//! updates", and where those are silent, what containerd says on Fargate.

use super::digest::Digest;
use super::limits;
use std::time::Duration;

/// Values are shared by everyone who waited for the same pull, hence `Clone` and texts for causes.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PullFailure {
    /// The text is Docker's.
    #[error("{0}")]
    InvalidReference(String),
    #[error("{reference}: not found")]
    NotFound { reference: String },
    #[error("access to {repository} denied: {message}")]
    AccessDenied { repository: String, message: String },
    #[error("credentials for {registry} could not be had: {message}")]
    Credentials { registry: String, message: String },
    #[error("{url}: too many requests: {message}")]
    RateLimited {
        url: String,
        message: String,
        /// How long the registry asks to be left alone, if it says so.
        retry_after: Option<Duration>,
        attempts: u32,
    },
    /// No connection, or one that broke or went silent.
    #[error("{method} {url}: {problem}")]
    Unreachable {
        reference: String,
        registry: String,
        method: String,
        url: String,
        problem: String,
        attempts: u32,
    },
    #[error("{method} {url}: unexpected status {status}{message}")]
    UnexpectedStatus {
        method: String,
        url: String,
        status: String,
        /// What the body said, introduced as such; empty if it said nothing.
        message: String,
        attempts: u32,
    },
    #[error("{method} {url}: {problem}")]
    Protocol { method: String, url: String, problem: String },
    #[error("{what}: unexpected digest {computed}, expected {expected}")]
    DigestMismatch { what: String, expected: Digest, computed: Digest },
    #[error("{what}: unexpected size {received}, expected {expected}")]
    SizeMismatch { what: String, expected: u64, received: u64 },
    #[error("layer {layer} unpacks to {computed}, its image says {expected}")]
    DiffIdMismatch { layer: Digest, expected: Digest, computed: Digest },
    #[error("{what} has unsupported media type {media_type:?}")]
    UnsupportedMediaType { what: String, media_type: String },
    #[error("no manifest of {reference} is for {platform}")]
    NoMatchingPlatform { reference: String, platform: String },
    #[error("{what} is malformed: {problem}")]
    Malformed { what: String, problem: String },
    /// A layer that can't be, or must not be, unpacked.
    #[error("layer {layer}: {problem}")]
    BadLayer { layer: Digest, problem: String },
    #[error("{what} is larger than {bound}")]
    TooLarge { what: String, bound: u64 },
    #[error("{path}: no space left on device")]
    DiskFull { path: String },
    #[error("{what}: {problem}")]
    Disk { what: String, problem: String },
    #[error("the pull took longer than {seconds} s")]
    TimedOut { seconds: u64 },
    /// The work this pull waited for was dropped; only a process that is ending does that.
    #[error("the pull was interrupted")]
    Interrupted,
}

impl PullFailure {
    /// What a stopped task's `stoppedReason` says.
    pub fn ecs_reason(&self) -> String {
        let reason = format!("CannotPullContainerError: {}", self.ecs_text());
        match reason.char_indices().nth(limits::REASON_CHARS_MAX) {
            Some((end, _)) => reason[..end].to_owned(),
            None => reason,
        }
    }

    /// Whether the same pull may succeed later with nothing changed by its owner.
    pub fn is_passing(&self) -> bool {
        match self {
            // A server in trouble may be out of it soon; one that refuses will refuse again.
            Self::UnexpectedStatus { status, .. } => status.starts_with('5'),
            Self::RateLimited { .. }
            | Self::Unreachable { .. }
            | Self::DiskFull { .. }
            | Self::TimedOut { .. }
            | Self::Interrupted => true,
            _ => false,
        }
    }

    /// The same, of several attempts.
    pub(crate) fn after_attempts(mut self, made: u32) -> Self {
        if let Self::Unreachable { attempts, .. }
        | Self::RateLimited { attempts, .. }
        | Self::UnexpectedStatus { attempts, .. } = &mut self
        {
            *attempts = made;
        }
        self
    }

    fn ecs_text(&self) -> String {
        match self {
            Self::InvalidReference(text) => text.clone(),
            Self::NotFound { reference } => format!(
                "pull image manifest has been retried 1 time(s): failed to resolve ref \
                 {reference}: {reference}: not found"
            ),
            Self::AccessDenied { repository, message } => format!(
                "The task can’t pull the image. Check whether the image exists. Error response \
                 from daemon: pull access denied for {repository}, repository does not exist or \
                 may require 'docker login': {message}"
            ),
            Self::Credentials { registry, message } => format!(
                "unable to pull secrets or registry auth: credentials for {registry} could not be \
                 retrieved: {message}"
            ),
            Self::RateLimited { url, message, attempts, .. } => format!(
                "ref pull has been retried {attempts} time(s): failed to copy: httpReadSeeker: \
                 failed open: unexpected status code {url}: 429 Too Many Requests - Server \
                 message: {message}"
            ),
            Self::Unreachable { reference, registry, method, url, problem, .. } => {
                let (whose, what) = match registry.contains(".dkr.ecr.") {
                    true => ("Amazon ECR repository", "Amazon ECR"),
                    false => ("registry", "the registry"),
                };
                format!(
                    "The task cannot pull {reference} from the {whose} {registry}. There is a \
                     connection issue between the task and {what}. Check your task network \
                     configuration. : failed to copy: httpReadSeeker: failed open: failed to do \
                     request: {} {url:?}: {problem}",
                    title_case(method)
                )
            }
            Self::UnexpectedStatus { url, status, message, attempts, .. } => format!(
                "ref pull has been retried {attempts} time(s): failed to copy: httpReadSeeker: \
                 failed open: unexpected status code {url}: {status}{message}"
            ),
            Self::Protocol { method, url, problem } => {
                format!("failed to do request: {} {url:?}: {problem}", title_case(method))
            }
            Self::NoMatchingPlatform { platform, .. } => format!(
                "pull image manifest has been retried 1 time(s): image Manifest does not contain \
                 descriptor matching platform '{platform}'"
            ),
            _ => format!("ref pull has been retried 1 time(s): {}", self.copy_text()),
        }
    }

    /// The failures of an image that was found and reached.
    fn copy_text(&self) -> String {
        match self {
            Self::DigestMismatch { what, expected, computed } => format!(
                "failed commit on ref {what:?}: unexpected commit digest {computed}, expected \
                 {expected}: failed precondition"
            ),
            Self::SizeMismatch { what, expected, received } => format!(
                "failed commit on ref {what:?}: unexpected commit size {received}, expected \
                 {expected}: failed precondition"
            ),
            Self::DiffIdMismatch { layer, expected, computed } => format!(
                "failed to extract layer {expected}: wrong diff id calculated on extraction of \
                 {layer}: {computed}"
            ),
            Self::BadLayer { layer, problem } => {
                format!("failed to extract layer {layer}: {problem}")
            }
            Self::UnsupportedMediaType { what, media_type } => {
                format!("{what}: unsupported media type {media_type:?}")
            }
            Self::DiskFull { path } => {
                format!("failed to register layer: write {path}: no space left on device")
            }
            other => other.to_string(),
        }
    }
}

/// Go writes the method of a failed request as a word: `Get "https://…"`.
fn title_case(method: &str) -> String {
    let mut word = method.to_ascii_lowercase();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_in_the_words_of_ecs() {
        let reference = "docker.io/library/nope:latest".to_owned();
        assert_eq!(
            PullFailure::NotFound { reference: reference.clone() }.ecs_reason(),
            "CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to \
             resolve ref docker.io/library/nope:latest: docker.io/library/nope:latest: not found"
        );
        let unreachable = PullFailure::Unreachable {
            reference,
            registry: "registry-1.docker.io".to_owned(),
            method: "GET".to_owned(),
            url: "https://registry-1.docker.io/v2/".to_owned(),
            problem: "dial tcp 192.0.2.1:443: i/o timeout".to_owned(),
            attempts: 5,
        };
        assert_eq!(
            unreachable.ecs_reason(),
            "CannotPullContainerError: The task cannot pull docker.io/library/nope:latest from the \
             registry registry-1.docker.io. There is a connection issue between the task and the \
             registry. Check your task network configuration. : failed to copy: httpReadSeeker: \
             failed open: failed to do request: Get \"https://registry-1.docker.io/v2/\": dial tcp \
             192.0.2.1:443: i/o timeout"
        );
        let long = PullFailure::InvalidReference("é".repeat(5000)).ecs_reason();
        assert_eq!(long.chars().count(), limits::REASON_CHARS_MAX);
    }
}
