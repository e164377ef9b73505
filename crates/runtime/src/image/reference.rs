//! Image references, read as Docker reads them: `nginx` is `docker.io/library/nginx:latest`, a
//! first part with a dot, a colon or an upper-case letter is a registry, and what doesn't fit is
//! refused in Docker's words. Source: the grammar of the distribution project's reference package.

use super::digest::Digest;
use super::failure::PullFailure;
use super::limits;
use std::fmt;
use std::str::FromStr;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const DEFAULT_TAG: &str = "latest";

/// A reference with everything spelled out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ImageRef {
    /// Host, and port if any, as it was written: `docker.io`, `localhost:5000`, `[::1]:5000`.
    pub registry: String,
    /// Path below the registry: `library/nginx`.
    pub repository: String,
    /// `latest` if neither tag nor digest was given. A digest beside it wins.
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

impl ImageRef {
    /// `docker.io/library/nginx`: the part that names no version.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The last part of a manifest's URL.
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => DEFAULT_TAG.to_owned(),
        }
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for ImageRef {
    type Err = PullFailure;

    fn from_str(text: &str) -> Result<Self, PullFailure> {
        if text.len() > limits::REFERENCE_CHARS_MAX || !text.is_ascii() {
            return Err(invalid(""));
        }
        if text.len() == 64
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return Err(PullFailure::InvalidReference(format!(
                "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )));
        }
        let (domain, remainder) = split_domain(text);
        let (rest, digest) = match remainder.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| invalid(""))?)),
            None => (remainder.as_str(), None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(invalid(&format!(": repository name ({repository}) must be lowercase")));
        }
        let fits = is_domain(&domain)
            && !repository.is_empty()
            && repository.split('/').all(is_component)
            && tag.is_none_or(is_tag);
        if !fits {
            return Err(invalid(""));
        }
        if domain.len() + 1 + repository.len() > limits::REPOSITORY_CHARS_MAX {
            return Err(PullFailure::InvalidReference(
                "repository name must not be more than 255 characters".to_owned(),
            ));
        }
        let tag = tag.or(if digest.is_none() { Some(DEFAULT_TAG) } else { None });
        Ok(Self {
            registry: domain,
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

fn invalid(detail: &str) -> PullFailure {
    PullFailure::InvalidReference(format!("invalid reference format{detail}"))
}

/// What stands before the first slash is a registry only if it could be nothing else.
fn split_domain(text: &str) -> (String, String) {
    let (mut domain, mut remainder) = match text.split_once('/') {
        Some((head, tail))
            if head.contains(['.', ':'])
                || head == "localhost"
                || head.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (head.to_owned(), tail.to_owned())
        }
        _ => (DEFAULT_DOMAIN.to_owned(), text.to_owned()),
    };
    if domain == LEGACY_DEFAULT_DOMAIN {
        DEFAULT_DOMAIN.clone_into(&mut domain);
    }
    let names_path = remainder.split(['@', ':']).next().is_some_and(|path| path.contains('/'));
    if domain == DEFAULT_DOMAIN && !names_path {
        remainder.insert_str(0, "library/");
    }
    (domain, remainder)
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(bracketed) => {
            let Some((address, rest)) = bracketed.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest {
                "" => return true,
                _ => ("x", rest.strip_prefix(':').or(Some(""))),
            }
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let label = |label: &str| {
        let bytes = label.as_bytes();
        !bytes.is_empty()
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            && bytes[0] != b'-'
            && bytes[bytes.len() - 1] != b'-'
    };
    let port_fits = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    host.split('.').all(label) && port_fits
}

/// Lower-case letters and digits, held together by one dot, one or two underscores, or any number
/// of dashes.
fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    alphanumeric(first)
        && alphanumeric(last)
        && bytes.split(alphanumeric).all(|separator| {
            matches!(separator, [] | [b'.'] | [b'_'] | [b'_', b'_'])
                || separator.iter().all(|byte| *byte == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = tag.as_bytes();
    (1..=128).contains(&bytes.len())
        && word(bytes[0])
        && bytes.iter().all(|&byte| word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_are_spelled_out_as_docker_does() {
        for (given, spelled) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("bitnami/redis", "docker.io/bitnami/redis:latest"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:v1", "localhost:5000/app:v1"),
            ("127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000/a/b/c:v1"),
            ("[::1]:5000/app", "[::1]:5000/app:latest"),
            ("[2001:db8::1]/app", "[2001:db8::1]/app:latest"),
            ("Host/app", "Host/app:latest"),
            ("a__b/c-----d/e.f", "docker.io/a__b/c-----d/e.f:latest"),
            ("app:v1.0-rc_2", "docker.io/library/app:v1.0-rc_2"),
            (
                "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:7",
                "111122223333.dkr.ecr.us-east-1.amazonaws.com/team/app:7",
            ),
            (&format!("app@sha256:{HEX}"), &format!("docker.io/library/app@sha256:{HEX}")),
            (
                &format!("localhost:5000/app:v1@sha256:{HEX}"),
                &format!("localhost:5000/app:v1@sha256:{HEX}"),
            ),
        ] {
            let parsed: ImageRef = given.parse().unwrap_or_else(|e| panic!("{given}: {e}"));
            assert_eq!(parsed.to_string(), spelled, "{given}");
            assert_eq!(spelled.parse::<ImageRef>().unwrap(), parsed, "{spelled} read again");
        }
    }

    #[test]
    fn what_docker_refuses_is_refused_in_its_words() {
        let long = "a".repeat(256);
        for (given, words) in [
            ("", "invalid reference format"),
            (":latest", "invalid reference format"),
            ("/app", "invalid reference format"),
            ("app:", "invalid reference format"),
            ("app@", "invalid reference format"),
            ("app@sha256:12", "invalid reference format"),
            ("app:a:b", "invalid reference format"),
            ("app name", "invalid reference format"),
            ("app:-x", "invalid reference format"),
            ("a..b", "invalid reference format"),
            ("a___b", "invalid reference format"),
            ("-app", "invalid reference format"),
            ("a//b", "invalid reference format"),
            ("a/../b", "invalid reference format"),
            ("https://host.example/app", "invalid reference format"),
            ("host.example:/app", "invalid reference format"),
            ("host.example:99999/app", "invalid reference format"),
            ("-host.example/app", "invalid reference format"),
            ("[::1/app", "invalid reference format"),
            ("app\n", "invalid reference format"),
            ("App", "invalid reference format: repository name (library/App) must be lowercase"),
            (HEX, "invalid repository name"),
            (&long, "repository name must not be more than 255 characters"),
        ] {
            match given.parse::<ImageRef>() {
                Err(PullFailure::InvalidReference(text)) => {
                    assert!(text.starts_with(words), "{given:?}: {text}");
                }
                other => panic!("{given:?}: {other:?}"),
            }
        }
    }
}
