//! TLS: certificates by the name that a client asks for, and connections to targets that speak it.
//! A listener's certificates change for new connections only. Targets' certificates are not
//! checked, as ALB does not: the network says who they are. Source: ELB user guide, "Target
//! groups".

use model::balancing::{CertificateWithKey, Certificates};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::BTreeMap;
use std::sync::Arc;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A certificate that can be served, with the names it is for.
#[derive(Clone)]
pub struct Usable {
    pub arn: String,
    key: Arc<CertifiedKey>,
    names: Vec<String>,
}

/// Certificates as they were read, so that a table with the same ones reads none again.
#[derive(Default)]
pub struct Cabinet {
    read: BTreeMap<String, (CertificateWithKey, Result<Usable, String>)>,
}

impl Cabinet {
    pub fn learn(&mut self, certificates: &Certificates) {
        self.read.retain(|arn, (pem, _)| certificates.get(arn) == Some(pem));
        for (arn, pem) in certificates {
            if !self.read.contains_key(arn) {
                let usable = read(arn, pem);
                self.read.insert(arn.clone(), (pem.clone(), usable));
            }
        }
    }

    pub fn get(&self, arn: &str) -> Result<&Usable, &str> {
        match self.read.get(arn) {
            Some((_, read)) => read.as_ref().map_err(String::as_str),
            None => Err("it is not there"),
        }
    }
}

fn read(arn: &str, pem: &CertificateWithKey) -> Result<Usable, String> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pem.chain_pem.as_bytes()).collect();
    let chain = chain.map_err(|failure| format!("the chain is no PEM: {failure}"))?;
    let leaf = chain.first().ok_or("the chain is empty")?;
    let names = names(leaf).map_err(|failure| format!("the certificate: {failure}"))?;
    let key = PrivateKeyDer::from_pem_slice(pem.key_pem.expose().as_bytes())
        .map_err(|failure| format!("the key is no PEM: {failure}"))?;
    let key = CertifiedKey::from_der(chain, key, &provider())
        .map_err(|failure| format!("the key can't be used: {failure}"))?;
    Ok(Usable { arn: arn.to_owned(), key: Arc::new(key), names })
}

/// The names a certificate is for, in lower case.
fn names(leaf: &CertificateDer<'_>) -> Result<Vec<String>, webpki::Error> {
    let leaf = webpki::EndEntityCert::try_from(leaf)?;
    Ok(leaf.valid_dns_names().map(str::to_ascii_lowercase).collect())
}

/// A listener's certificates; the first is for whoever asks for none of them.
pub struct Choice(Vec<Usable>);

impl Choice {
    /// The one for a name: exactly, or by a wildcard for its first label.
    pub fn for_name(&self, name: Option<&str>) -> Option<&Usable> {
        let name = name.map(str::to_ascii_lowercase);
        let by = |wanted: &str| self.0.iter().find(|c| c.names.iter().any(|name| name == wanted));
        let exact = name.as_deref().and_then(by);
        let wild = || by(&format!("*.{}", name.as_deref()?.split_once('.')?.1));
        exact.or_else(wild).or(self.0.first())
    }
}

impl std::fmt::Debug for Choice {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.0.iter().map(|usable| &usable.arn)).finish()
    }
}

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.for_name(hello.server_name()).map(|usable| usable.key.clone())
    }
}

/// What a listener serves TLS with.
#[derive(Debug)]
pub struct Served {
    pub config: Arc<ServerConfig>,
    pub choice: Arc<Choice>,
}

/// `policy`: ELB's name of it. Those named for TLS 1.3 alone refuse older versions.
pub fn serve(certificates: Vec<Usable>, policy: Option<&str>, http2: bool) -> Served {
    let choice = Arc::new(Choice(certificates));
    let newest_only = policy.is_some_and(|policy| policy.contains("TLS13-1-3"));
    let versions: &[_] = match newest_only {
        true => &[&rustls::version::TLS13],
        false => &[&rustls::version::TLS12, &rustls::version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("ring has suites for these versions")
        .with_no_client_auth()
        .with_cert_resolver(choice.clone());
    if http2 {
        config.alpn_protocols.push(b"h2".to_vec());
    }
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Served { config: Arc::new(config), choice }
}

pub fn to_targets() -> tokio_rustls::TlsConnector {
    Arc::new(crate::trust::client(&[])).into()
}
