//! Where images are kept: in the data folder, or in a bucket that `--object-store` names. The keys
//! to the bucket come from the variables that AWS's tools read.

use crate::data_dir::DataDir;
use crate::s3::{Bucket, S3Client};
use anyhow::{Context, Result, bail};
use http::Uri;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use store::blob::{FolderObjects, ObjectStore, S3Objects};
use wire::sigv4::SecretKey;

/// `s3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=REGION`; everything but the bucket may be
/// left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Url {
    pub bucket: String,
    pub prefix: String,
    /// None is AWS's own for the region.
    pub endpoint: Option<Uri>,
    pub region: String,
}

impl FromStr for S3Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "an object store is s3://BUCKET/PREFIX?endpoint=http://HOST:PORT&region=REGION";
        let rest = text.strip_prefix("s3://").ok_or(form)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let bucket_is_good = (3..=63).contains(&bucket.len()) && bucket.chars().all(plain);
        if !bucket_is_good || !prefix.chars().all(|c| plain(c) || c == '/') {
            return Err(form.to_owned());
        }
        let mut url = Self {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            endpoint: None,
            region: "us-east-1".to_owned(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("region", region)) if !region.is_empty() && region.chars().all(plain) => {
                    url.region = region.to_owned();
                }
                Some(("endpoint", endpoint)) => {
                    let endpoint: Uri = endpoint.parse().map_err(|_| form.to_owned())?;
                    let known = matches!(endpoint.scheme_str(), Some("http" | "https"));
                    if !known || endpoint.host().is_none() || endpoint.path() != "/" {
                        return Err(format!("{endpoint} is no http:// or https:// address"));
                    }
                    url.endpoint = Some(endpoint);
                }
                _ => return Err(form.to_owned()),
            }
        }
        Ok(url)
    }
}

/// What stays the same whichever way the bucket is reached.
impl fmt::Display for S3Url {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "s3://{}/{}", self.bucket, self.prefix)
    }
}

/// Opens what is named, or the data folder's own. A data folder keeps to the one it began with:
/// what its state names is nowhere else.
pub async fn open(dir: &DataDir, url: Option<&S3Url>) -> Result<Arc<dyn ObjectStore>> {
    let name = url.map_or_else(|| "folder".to_owned(), ToString::to_string);
    dir.keep_object_store(&name)?;
    let Some(url) = url else {
        let objects =
            FolderObjects::open(&dir.blobs()).context("cannot open the images' folder")?;
        return Ok(Arc::new(objects));
    };
    let client = S3Client::new(bucket(url)?)?;
    let objects = S3Objects::open(Arc::new(client), &url.prefix, &dir.spool())
        .context("cannot open the spool of the object store")?;
    let reached = objects.check().await;
    reached.with_context(|| format!("cannot use the object store {url}"))?;
    Ok(Arc::new(objects))
}

fn bucket(url: &S3Url) -> Result<Bucket> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let id = variable("AWS_ACCESS_KEY_ID");
    let (Some(access_key_id), Some(secret)) = (id, variable("AWS_SECRET_ACCESS_KEY")) else {
        bail!(
            "an object store needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment: \
             its own keys, not those of `neargate env`"
        );
    };
    let endpoint = match &url.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => format!("https://s3.{}.amazonaws.com/", url.region).parse()?,
    };
    Ok(Bucket {
        name: url.bucket.clone(),
        endpoint,
        region: url.region.clone(),
        access_key_id,
        secret_key: SecretKey::new(secret),
        session_token: variable("AWS_SESSION_TOKEN"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_bucket_and_how_it_is_reached() {
        let url: S3Url =
            "s3://images/a/b/?endpoint=http://127.0.0.1:9000&region=eu-1".parse().expect("valid");
        assert_eq!((url.bucket.as_str(), url.prefix.as_str()), ("images", "a/b"));
        assert_eq!(url.endpoint.as_ref().and_then(Uri::port_u16), Some(9000));
        assert_eq!(url.region, "eu-1");
        assert_eq!(url.to_string(), "s3://images/a/b");
        assert_eq!("s3://images".parse::<S3Url>().expect("valid").region, "us-east-1");
        for bad in [
            "/var/lib",
            "s3://",
            "s3://UP CASE",
            "s3://images/a?b",
            "s3://images?endpoint=ftp://x/",
            "s3://images?endpoint=http://x/below",
            "s3://images?region=",
            "s3://images/../x y",
        ] {
            assert!(bad.parse::<S3Url>().is_err(), "{bad}");
        }
    }
}
