//! How other registries are reached, by agents and by the registry itself for its pull-through
//! caches: the options and the environment, read once and made into what the image client is given.

use anyhow::{Context, Result, ensure};
use clap::Args;
use runtime::image::{Proxies, RegistryMap};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::path::{Path, PathBuf};

/// Options of `neargate up`.
#[derive(Args, Debug, Clone, Default)]
pub struct Outbound {
    /// A file of PEM certificates to trust for registries, beside the system's; may be repeated
    #[arg(long, value_name = "FILE")]
    pub registry_ca: Vec<PathBuf>,
    /// A registry that is spoken to over plain HTTP, HOST or HOST:PORT as in image names; may be
    /// repeated (loopback always is)
    #[arg(long, value_name = "HOST")]
    pub plain_http_registry: Vec<String>,
}

impl Outbound {
    /// Everything but our own registry's names. Proxies are those of HTTP_PROXY, HTTPS_PROXY and
    /// NO_PROXY, in capitals or not.
    pub fn registries(&self) -> Result<RegistryMap> {
        let (http, https) = (variable("http_proxy"), variable("https_proxy"));
        let proxies = Proxies::new(&http, &https, &variable("no_proxy"))
            .context("the environment names a proxy")?;
        let mut extra_roots = Vec::new();
        for file in &self.registry_ca {
            extra_roots.extend(certificates(file)?);
        }
        Ok(RegistryMap {
            insecure_hosts: self.plain_http_registry.iter().cloned().collect(),
            extra_roots,
            proxies,
            ..RegistryMap::default()
        })
    }
}

/// As curl and Go do, the lower-case name comes first.
fn variable(name: &str) -> String {
    let found = std::env::var(name).ok().filter(|value| !value.is_empty());
    found.or_else(|| std::env::var(name.to_ascii_uppercase()).ok()).unwrap_or_default()
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    let all =
        read().with_context(|| format!("cannot read certificates from {}", file.display()))?;
    ensure!(!all.is_empty(), "{} holds no PEM certificate", file.display());
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "nothing").expect("written");
        let outbound = Outbound { registry_ca: vec![file], ..Outbound::default() };
        let failure = outbound.registries().expect_err("no certificate").to_string();
        assert!(failure.ends_with("holds no PEM certificate"), "{failure}");
        let missing = Outbound { registry_ca: vec!["/nowhere".into()], ..Outbound::default() };
        assert!(missing.registries().is_err());
    }
}
