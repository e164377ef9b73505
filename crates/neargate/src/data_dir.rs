//! The data folder: where what lies in it, and the two small files that other commands read.
//! `credentials` is in AWS's own format and holds the administrator's key; `endpoint.json` says
//! where a running Neargate listens, and is there only while it does. Folder 0700, files 0600.

use anyhow::{Context, Result, bail};
use model::arn::Locality;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub struct DataDir {
    root: PathBuf,
}

/// Where a running Neargate is.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub url: String,
    pub region: String,
    pub account_id: String,
    pub pid: u32,
}

/// The administrator's key. Not Debug: it holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl DataDir {
    /// Makes the folder if need be, and closes it to everybody else.
    pub fn make(root: &Path) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(root);
        made.with_context(|| format!("cannot make the data folder {}", root.display()))?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("cannot close the data folder {}", root.display()))?;
        let root = root.canonicalize().context("cannot resolve the data folder's path")?;
        Ok(Self { root })
    }

    /// The folder of a Neargate that was started before.
    pub fn existing(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// What waits to be put to an object store that is not a folder.
    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn balancer(&self) -> PathBuf {
        self.root.join("balancer")
    }

    /// What of the agent's folder is the runtime's.
    pub fn runtime(&self) -> PathBuf {
        self.agent().join("runtime")
    }

    pub fn agent(&self) -> PathBuf {
        self.root.join("agent")
    }

    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub fn root_key(&self) -> PathBuf {
        self.root.join("root.key")
    }

    fn credentials(&self) -> PathBuf {
        self.root.join("credentials")
    }

    fn endpoint(&self) -> PathBuf {
        self.root.join("endpoint.json")
    }

    pub fn write_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        write_private(&self.endpoint(), &serde_json::to_vec_pretty(endpoint)?)
    }

    /// Called as Neargate ends; a file that is gone already is no failure.
    pub fn remove_endpoint(&self) {
        if let Err(failure) = fs::remove_file(self.endpoint())
            && failure.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%failure, "the endpoint file could not be removed");
        }
    }

    pub fn read_endpoint(&self) -> Result<Endpoint> {
        let path = self.endpoint();
        let Some(bytes) = read(&path)? else {
            bail!(
                "no Neargate is running on the data folder {0}: start one with `neargate up \
                 --data-dir {0}`",
                self.root.display()
            );
        };
        serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
    }

    pub fn write_credentials(&self, credentials: &Credentials) -> Result<()> {
        let text = format!(
            "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            credentials.access_key_id, credentials.secret_access_key
        );
        write_private(&self.credentials(), text.as_bytes())
    }

    /// The key and the certificate of the authority that agents trust, in PEM. None: never made.
    pub fn read_authority(&self) -> Result<Option<(String, String)>> {
        let text = |name: &str| {
            let read = read(&self.root.join(name))?;
            anyhow::Ok(read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        };
        Ok(text("authority.key")?.zip(text("authority.crt")?))
    }

    pub fn write_authority(&self, key: &str, certificate: &str) -> Result<()> {
        write_private(&self.root.join("authority.key"), key.as_bytes())?;
        write_private(&self.root.join("authority.crt"), certificate.as_bytes())
    }

    pub fn write_registry_key(&self, key: &[u8]) -> Result<()> {
        write_private(&self.root.join("registry.key"), key)
    }

    /// None when it was never written.
    pub fn read_registry_key(&self) -> Result<Option<Vec<u8>>> {
        read(&self.root.join("registry.key"))
    }

    /// Remembers which account and region the folder's state is of, and refuses another: every ARN
    /// that was ever handed out names them.
    pub fn keep_locality(&self, locality: &Locality) -> Result<()> {
        let path = self.root.join("locality.json");
        let Some(bytes) = read(&path)? else {
            return write_private(&path, &serde_json::to_vec_pretty(locality)?);
        };
        let kept: Locality = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged", path.display()))?;
        if kept != *locality {
            bail!(
                "the data folder {} belongs to account {} in region {}: start with --account-id \
                 {1} --region {2}, or name another --data-dir",
                self.root.display(),
                kept.account,
                kept.region
            );
        }
        Ok(())
    }

    pub fn read_locality(&self) -> Result<Locality> {
        let path = self.root.join("locality.json");
        let bytes = read(&path)?.with_context(|| format!("there is no {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Remembers where the folder's images are kept and refuses another place: what the state names
    /// would be nowhere. A folder that is older than this record keeps its images in itself.
    pub fn keep_object_store(&self, name: &str) -> Result<()> {
        let path = self.root.join("object-store");
        let kept = match read(&path)? {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None if self.blobs().exists() => "folder".to_owned(),
            None => return write_private(&path, name.as_bytes()),
        };
        if kept != name {
            let root = self.root.display();
            bail!("the images of the data folder {root} are kept in {kept}, not in {name}");
        }
        Ok(())
    }

    /// None when they were never written.
    pub fn read_credentials(&self) -> Result<Option<Credentials>> {
        let path = self.credentials();
        let Some(bytes) = read(&path)? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let value = |name: &str| {
            let mut pairs = text.lines().filter_map(|line| line.split_once('='));
            let found = pairs.find(|(key, _)| key.trim() == name);
            found.map(|(_, value)| value.trim().to_owned())
        };
        match (value("aws_access_key_id"), value("aws_secret_access_key")) {
            (Some(access_key_id), Some(secret_access_key)) => {
                Ok(Some(Credentials { access_key_id, secret_access_key }))
            }
            _ => bail!("{} is damaged: it names no key", path.display()),
        }
    }
}

/// None when there is no such file.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(failure) if failure.kind() == ErrorKind::NotFound => Ok(None),
        Err(failure) => Err(failure).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Writes a file that only we may read, whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_private_and_read_back() {
        let temp = tempfile::tempdir().expect("a folder");
        let dir = DataDir::make(&temp.path().join("deep/er")).expect("made");
        assert!(dir.read_credentials().expect("readable").is_none());
        let error = dir.read_endpoint().expect_err("none is running").to_string();
        assert!(error.contains("neargate up --data-dir"), "{error}");

        let credentials = Credentials {
            access_key_id: "AKIAEXAMPLE".to_owned(),
            secret_access_key: "s+e/c=ret".to_owned(),
        };
        dir.write_credentials(&credentials).expect("written");
        assert!(dir.read_credentials().expect("readable") == Some(credentials));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&dir.credentials()), 0o600);
        assert_eq!(mode(&dir.root), 0o700);
    }
}
