//! What a path under `/v2/` names. Repository names hold slashes, so a path is read from its end.

use crate::answer::Refusal;
use model::manifest::{is_repository_name, is_tag, parse_digest};
use model::{Digest, RepositoryName};
use percent_encoding::percent_decode_str;

#[derive(Clone, PartialEq, Debug)]
pub enum Route {
    /// `/v2/`
    Ping,
    /// `/v2/_catalog`
    Catalog,
    Blob(RepositoryName, Digest),
    /// Where uploads begin.
    Uploads(RepositoryName),
    Upload(RepositoryName, String),
    Manifest(RepositoryName, Reference),
    Tags(RepositoryName),
    Referrers(RepositoryName, Digest),
}

/// How a manifest is named.
#[derive(Clone, PartialEq, Debug)]
pub enum Reference {
    Tag(String),
    Digest(Digest),
}

impl Route {
    pub fn parse(path: &str) -> Result<Self, Refusal> {
        let unknown = || Refusal::not_found("UNSUPPORTED", "there is nothing at this path");
        let path = percent_decode_str(path).decode_utf8().map_err(|_| unknown())?;
        let rest = path.strip_prefix("/v2").ok_or_else(unknown)?;
        if rest.is_empty() || rest == "/" {
            return Ok(Self::Ping);
        }
        let rest = rest.strip_prefix('/').ok_or_else(unknown)?;
        if rest == "_catalog" {
            return Ok(Self::Catalog);
        }
        let parts: Vec<&str> = rest.split('/').collect();
        match *parts.as_slice() {
            [ref name @ .., "tags", "list"] => Ok(Self::Tags(repository(name)?)),
            [ref name @ .., "manifests", last] => {
                Ok(Self::Manifest(repository(name)?, reference(last)?))
            }
            [ref name @ .., "referrers", last] => {
                Ok(Self::Referrers(repository(name)?, digest(last)?))
            }
            [ref name @ .., "blobs", "uploads"] | [ref name @ .., "blobs", "uploads", ""] => {
                Ok(Self::Uploads(repository(name)?))
            }
            [ref name @ .., "blobs", "uploads", id] => {
                Ok(Self::Upload(repository(name)?, id.to_owned()))
            }
            [ref name @ .., "blobs", last] => Ok(Self::Blob(repository(name)?, digest(last)?)),
            _ => Err(unknown()),
        }
    }
}

fn repository(parts: &[&str]) -> Result<RepositoryName, Refusal> {
    let name = parts.join("/");
    match is_repository_name(&name) {
        true => Ok(RepositoryName::from(name)),
        false => Err(Refusal::bad_request("NAME_INVALID", "invalid repository name")),
    }
}

fn reference(text: &str) -> Result<Reference, Refusal> {
    if text.contains(':') {
        return Ok(Reference::Digest(digest(text)?));
    }
    match is_tag(text) {
        true => Ok(Reference::Tag(text.to_owned())),
        false => Err(Refusal::bad_request("TAG_INVALID", "invalid tag")),
    }
}

fn digest(text: &str) -> Result<Digest, Refusal> {
    parse_digest(text)
        .ok_or_else(|| Refusal::bad_request("DIGEST_INVALID", "the digest is no sha256 digest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_slashes_are_told_from_what_follows() {
        let hex = "a".repeat(64);
        let digest = Digest::from(format!("sha256:{hex}"));
        let name = RepositoryName::from("team/blobs/web");
        for (path, route) in [
            ("/v2", Route::Ping),
            ("/v2/", Route::Ping),
            ("/v2/_catalog", Route::Catalog),
            ("/v2/team/blobs/web/tags/list", Route::Tags(name.clone())),
            ("/v2/team/blobs/web/blobs/uploads/", Route::Uploads(name.clone())),
            ("/v2/team/blobs/web/blobs/uploads/x", Route::Upload(name.clone(), "x".into())),
            (
                "/v2/team/blobs/web/manifests/v1",
                Route::Manifest(name.clone(), Reference::Tag("v1".into())),
            ),
        ] {
            assert_eq!(Route::parse(path).expect("valid"), route, "{path}");
        }
        for path in [format!("/v2/web/blobs/sha256:{hex}"), format!("/v2/web/blobs/sha256%3A{hex}")]
        {
            let route = Route::parse(&path).expect("valid");
            assert_eq!(route, Route::Blob(RepositoryName::from("web"), digest.clone()));
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for path in ["/v2/../blobs/uploads/", "/v2/a/manifests/-x", "/v2/a/blobs/sha256:1", "/v3/"]
        {
            assert!(Route::parse(path).is_err(), "{path}");
        }
    }
}
