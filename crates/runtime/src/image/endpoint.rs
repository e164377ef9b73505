//! Which registries there are for this machine: where a host of a reference really answers, with
//! whose credentials, and with which of them plain http is spoken. The caller decides all of it
//! once; nothing here reads configuration.

use super::proxy::Proxies;
use rustls::pki_types::CertificateDer;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};

/// A user name and a password that can't be printed by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct BasicAuth {
    pub username: String,
    password: String,
}

impl BasicAuth {
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: password.into() }
    }

    /// The value of an `Authorization` header.
    pub(crate) fn header(&self) -> String {
        use base64::Engine as _;
        let pair = format!("{}:{}", self.username, self.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BasicAuth({}, …)", self.username)
    }
}

/// What a provider answers, some time.
pub type Credentials<'a> = Pin<Box<dyn Future<Output = Result<BasicAuth, String>> + Send + 'a>>;

/// Credentials that change, as ECR's do. Asked once for every pull; caching is the provider's.
pub trait CredentialsProvider: Send + Sync + 'static {
    fn credentials(&self) -> Credentials<'_>;
}

impl CredentialsProvider for BasicAuth {
    fn credentials(&self) -> Credentials<'_> {
        let auth = self.clone();
        Box::pin(async move { Ok(auth) })
    }
}

/// Where a host of a reference is served in truth.
#[derive(Clone)]
pub struct Endpoint {
    /// Scheme and authority, no path: `http://127.0.0.1:4566`. Plain http is fine here: it was
    /// configured.
    pub base_url: String,
    /// Used when the pull itself brings none.
    pub credentials: Option<Arc<dyn CredentialsProvider>>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.base_url)
    }
}

/// Hosts of references that one registry answers for, told anew while images are pulled. Cheap to
/// clone; all clones are one.
#[derive(Clone, Default, Debug)]
pub struct LearnedHosts(Arc<RwLock<Option<(BTreeSet<String>, Endpoint)>>>);

impl LearnedHosts {
    /// Instead of what was told before.
    pub fn learn(&self, hosts: BTreeSet<String>, endpoint: Endpoint) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some((hosts, endpoint));
    }

    fn endpoint(&self, host: &str) -> Option<Endpoint> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (hosts, endpoint) = known.as_ref()?;
        hosts.contains(host).then(|| endpoint.clone())
    }
}

/// Everything known about registries. The default knows the public ones by their names.
#[derive(Clone, Default, Debug)]
pub struct RegistryMap {
    /// Hosts as they stand in references (`000000000000.dkr.ecr.us-east-1.amazonaws.com`, or a
    /// mirrored `docker.io`), and who answers for them.
    pub ecr_hosts: BTreeMap<String, Endpoint>,
    /// More of them, as they become known.
    pub learned: LearnedHosts,
    /// Hosts, with port as in the reference, with which plain http is spoken. Loopback always is.
    pub insecure_hosts: BTreeSet<String>,
    /// Certificates to trust beside the system's.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// What stands between this machine and all of them.
    pub proxies: Proxies,
}

/// A registry as it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub base_url: String,
    pub credentials: Option<Arc<dyn CredentialsProvider>>,
}

impl fmt::Debug for dyn CredentialsProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsProvider")
    }
}

impl RegistryMap {
    pub(crate) fn site(&self, registry: &str) -> Site {
        let known = self.ecr_hosts.get(registry).cloned();
        if let Some(endpoint) = known.or_else(|| self.learned.endpoint(registry)) {
            return Site {
                base_url: endpoint.base_url.trim_end_matches('/').to_owned(),
                credentials: endpoint.credentials,
            };
        }
        let plain = self.insecure_hosts.contains(registry) || is_loopback(host_of(registry));
        let scheme = if plain { "http" } else { "https" };
        // The name in references and the host that serves them differ, for this registry alone.
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        Site { base_url: format!("{scheme}://{host}"), credentials: None }
    }
}

/// The host without its port.
pub(crate) fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Addresses that mean something else on this machine than where the redirect was written:
/// following a stranger's redirect to them would make us his hands.
pub(crate) fn is_local(host: &str) -> bool {
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost"
        || address.is_ok_and(|address| match address.to_canonical() {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_loopback_and_the_configured() {
        let mut map = RegistryMap::default();
        map.insecure_hosts.insert("registry.lan:5000".to_owned());
        let endpoint = Endpoint { base_url: "http://10.0.0.1:4566/".to_owned(), credentials: None };
        map.ecr_hosts.insert("1.dkr.ecr.eu-west-1.amazonaws.com".to_owned(), endpoint);
        for (registry, base_url) in [
            ("docker.io", "https://registry-1.docker.io"),
            ("ghcr.io", "https://ghcr.io"),
            ("localhost:5000", "http://localhost:5000"),
            ("127.3.2.1:5000", "http://127.3.2.1:5000"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("registry.lan:5000", "http://registry.lan:5000"),
            ("registry.lan", "https://registry.lan"),
            ("localhost.example.com", "https://localhost.example.com"),
            ("1.dkr.ecr.eu-west-1.amazonaws.com", "http://10.0.0.1:4566"),
        ] {
            assert_eq!(map.site(registry).base_url, base_url);
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        assert_eq!(format!("{:?}", BasicAuth::new("AWS", "secret")), "BasicAuth(AWS, …)");
    }
}
