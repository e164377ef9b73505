//! Registries behind TLS: the right one is believed, and no other. The authority and its
//! certificate (localhost, good for a hundred years) stand beside this file and are good for
//! nothing else.

use crate::impatient;
use crate::registry::{Layer, Registry, push};
use crate::tars::{file, tar};
use runtime::image::{Endpoint, ImageStore, Platform, RegistryMap};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::sync::Arc;

const AUTHORITY: &[u8] = include_bytes!("tls/authority.der");
const SERVER: &[u8] = include_bytes!("tls/server.der");
const SERVER_KEY: &[u8] = include_bytes!("tls/server.key.der");
/// Signed by itself, for `registry.test`, where a name must not be loopback's.
const NAMED: &[u8] = include_bytes!("tls/named.der");
const NAMED_KEY: &[u8] = include_bytes!("tls/named.key.der");

fn acceptor() -> tokio_rustls::TlsAcceptor {
    accepting(SERVER, SERVER_KEY)
}

/// Serves `registry.test`, to whom trusts this certificate.
pub fn named() -> (tokio_rustls::TlsAcceptor, CertificateDer<'static>) {
    (accepting(NAMED, NAMED_KEY), CertificateDer::from(NAMED))
}

fn accepting(certificate: &'static [u8], key: &'static [u8]) -> tokio_rustls::TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(certificate)],
            PrivatePkcs8KeyDer::from(key).into(),
        )
        .unwrap();
    Arc::new(config).into()
}

/// Pulls `registry.test/app:v1`, which is served at this address.
async fn pull(base_url: String, trusted: bool) -> Result<String, String> {
    let home = tempfile::tempdir().unwrap();
    let endpoint = Endpoint { base_url, credentials: None };
    let map = RegistryMap {
        ecr_hosts: [("registry.test".to_owned(), endpoint)].into(),
        extra_roots: trusted.then(|| CertificateDer::from(AUTHORITY)).into_iter().collect(),
        ..RegistryMap::default()
    };
    let store = ImageStore::open_with(home.path(), map, impatient()).unwrap();
    let pulled = store.pull("registry.test/app:v1", None, Platform::LinuxAmd64).await;
    match pulled {
        Ok(image) => Ok(std::fs::read_to_string(image.layers[0].join("a")).unwrap()),
        Err(failure) => Err(failure.ecs_reason()),
    }
}

#[tokio::test]
async fn a_certificate_must_be_trusted_and_of_that_name() {
    let registry = Registry::start_tls("127.0.0.1:0", acceptor()).await;
    push(&registry, &[Layer::gzip(&tar(&[file("a", "over tls")]))]);
    let port = registry.port();
    assert_eq!(pull(format!("https://localhost:{port}"), true).await.unwrap(), "over tls");
    assert_eq!(pull(format!("https://127.0.0.1:{port}"), true).await.unwrap(), "over tls");
    let unknown = pull(format!("https://localhost:{port}"), false).await.unwrap_err();
    let words = ["tls: invalid peer certificate: UnknownIssuer", "tls: this system has no root"];
    assert!(words.iter().any(|words| unknown.contains(words)), "{unknown}");
    // 127.0.0.2 is this machine, too, but the certificate doesn't say so.
    let elsewhere = Registry::start_tls("127.0.0.2:0", acceptor()).await;
    let other = pull(format!("https://{}", elsewhere.host()), true).await.unwrap_err();
    assert!(other.contains("tls: invalid peer certificate: certificate not valid"), "{other}");
}

#[tokio::test]
async fn plain_http_to_a_tls_port_is_refused() {
    let registry = Registry::start_tls("127.0.0.1:0", acceptor()).await;
    push(&registry, &[]);
    let failure = pull(format!("http://localhost:{}", registry.port()), true).await.unwrap_err();
    assert!(failure.contains("There is a connection issue"), "{failure}");
}

#[tokio::test]
async fn tls_to_a_plain_port_is_told_in_gos_words() {
    let registry = Registry::start().await;
    let failure = pull(format!("https://localhost:{}", registry.port()), true).await.unwrap_err();
    let words = "http: server gave HTTP response to HTTPS client";
    assert!(failure.ends_with(words), "{failure}");
}
