//! Registries behind a proxy: plain requests are handed to it whole, TLS goes through a tunnel it
//! digs, and neither it nor the registry sees the other's credentials.

use crate::impatient;
use crate::registry::{Auth, Layer, Registry, push};
use crate::tars::{file, tar};
use crate::tls;
use runtime::image::{BasicAuth, ImageStore, Platform, Proxies, PullFailure, RegistryMap};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A proxy that leads everything to one address, whatever name it was told, and remembers the heads
/// of requests.
struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, target.clone(), Arc::clone(&seen)));
            }
        });
        Self { port, heads }
    }

    fn map(&self, user: &str, no_proxy: &str) -> RegistryMap {
        let url = format!("http://{user}127.0.0.1:{}", self.port);
        RegistryMap {
            proxies: Proxies::new(&url, &url, no_proxy).unwrap(),
            insecure_hosts: ["registry.test".to_owned()].into(),
            ..RegistryMap::default()
        }
    }

    fn heads(&self) -> Vec<String> {
        std::mem::take(&mut self.heads.lock().unwrap())
    }
}

async fn serve(mut stream: TcpStream, target: String, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let text = String::from_utf8(head).unwrap();
    heads.lock().unwrap().push(text.clone());
    let mut registry = TcpStream::connect(target).await.unwrap();
    if text.starts_with("CONNECT ") {
        if text.starts_with("CONNECT refused.test") {
            let refusal = b"HTTP/1.1 403 Forbidden by policy\r\n\r\n";
            stream.write_all(refusal).await.unwrap();
            return;
        }
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    } else {
        // One request for each connection is all that a test's proxy can do.
        let (line, rest) = text.split_once("\r\n").unwrap();
        let line = line.replacen("http://registry.test", "", 1);
        let text = format!("{line}\r\nConnection: close\r\n{rest}");
        registry.write_all(text.as_bytes()).await.unwrap();
    }
    // Either side may go away first.
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut registry).await;
}

async fn pull(
    map: RegistryMap,
    host: &str,
    auth: Option<BasicAuth>,
) -> Result<String, PullFailure> {
    let home = tempfile::tempdir().unwrap();
    let store = ImageStore::open_with(home.path(), map, impatient()).unwrap();
    let image = store.pull(&format!("{host}/app:v1"), auth, Platform::LinuxAmd64).await?;
    Ok(std::fs::read_to_string(image.layers[0].join("a")).unwrap())
}

#[tokio::test]
async fn plain_requests_are_handed_to_the_proxy() {
    let registry = Registry::start_with(Auth::Basic("me".into(), "secret".into())).await;
    push(&registry, &[Layer::gzip(&tar(&[file("a", "through")]))]);
    let proxy = Proxy::start(registry.host()).await;
    let auth = Some(BasicAuth::new("me", "secret"));
    let map = proxy.map("user:word@", "other.test");
    assert_eq!(pull(map, "registry.test", auth).await.unwrap(), "through");
    let heads = proxy.heads();
    assert!(heads[0].starts_with("HEAD http://registry.test/v2/app/manifests/v1 HTTP/1.1\r\n"));
    for head in &heads {
        let head = head.to_lowercase();
        assert!(head.contains("host: registry.test\r\n"), "{head}");
        // user:word
        assert!(head.contains("proxy-authorization: basic dxnlcjp3b3jk\r\n"), "{head}");
    }
    // What is exempt doesn't come by.
    let map = proxy.map("", "registry.test");
    assert!(pull(map, "registry.test", None).await.is_err());
    assert!(proxy.heads().is_empty());
}

#[tokio::test]
async fn tls_goes_through_a_tunnel() {
    let (acceptor, certificate) = tls::named();
    let registry = Registry::start_tls("127.0.0.1:0", acceptor).await;
    push(&registry, &[Layer::gzip(&tar(&[file("a", "tunnelled")]))]);
    let proxy = Proxy::start(registry.host()).await;
    let map = || RegistryMap {
        extra_roots: vec![certificate.clone()],
        insecure_hosts: [].into(),
        ..proxy.map("u:p@", "")
    };
    assert_eq!(pull(map(), "registry.test", None).await.unwrap(), "tunnelled");
    for head in proxy.heads() {
        assert!(head.starts_with("CONNECT registry.test:443 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("Proxy-Authorization: Basic dTpw\r\n"), "{head}");
    }
    // Nor does the registry learn how the proxy was paid.
    assert!(registry.authorizations().iter().all(|(_, sent)| sent.is_none()));
    registry.asked();
    let wrong = pull(map(), "elsewhere.test:444", None).await.unwrap_err().to_string();
    assert!(wrong.contains("certificate not valid for name"), "{wrong}");
    assert!(proxy.heads()[0].starts_with("CONNECT elsewhere.test:444 HTTP/1.1\r\n"));
    let refused = pull(map(), "refused.test", None).await.unwrap_err().to_string();
    assert!(refused.ends_with("403 Forbidden by policy"), "{refused}");
    assert!(registry.asked().is_empty());
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_told_as_such() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = free.to_string();
    let proxies = Proxies::new(&url, &url, "").unwrap();
    let map = RegistryMap { proxies, ..RegistryMap::default() };
    let failure = pull(map, "registry.test", None).await.unwrap_err().to_string();
    let words = format!("proxyconnect tcp: dial tcp {free}: connect: connection refused");
    assert!(failure.ends_with(&words), "{failure}");
}
