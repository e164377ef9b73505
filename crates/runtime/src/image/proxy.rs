//! The proxy that stands between this machine and registries, if one does. The rules are those that
//! curl and Go have made customary for HTTP_PROXY, HTTPS_PROXY and NO_PROXY; the texts come from
//! whoever reads the environment.

use super::endpoint::is_loopback;
use base64::Engine as _;
use http::{HeaderValue, Uri};
use std::fmt;
use std::net::IpAddr;

/// Which requests go through which proxy.
#[derive(Clone, Default, Debug)]
pub struct Proxies {
    plain: Option<Proxy>,
    secure: Option<Proxy>,
    exempt: Vec<Exempt>,
}

/// What was configured can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a proxy that can be used: it must be http://host:port")]
pub struct ProxyProblem(pub String);

#[derive(Clone)]
pub(crate) struct Proxy {
    pub host: String,
    pub port: u16,
    /// For `Proxy-Authorization`.
    pub authorization: Option<HeaderValue>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", self.host, self.port)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Exempt {
    Everything,
    /// First address and length of a range.
    Range(IpAddr, u8),
    /// A host with all below it, or (with a leading dot) all below it only; and a port.
    Host(String, Option<u16>),
}

impl Proxies {
    /// From the values of HTTP_PROXY, HTTPS_PROXY and NO_PROXY; empty is none.
    ///
    /// # Errors
    /// A proxy is not spoken to over plain HTTP, or is no address at all.
    pub fn new(http: &str, https: &str, no_proxy: &str) -> Result<Self, ProxyProblem> {
        let exempt = no_proxy.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
        Ok(Self {
            plain: Proxy::parse(http)?,
            secure: Proxy::parse(https)?,
            exempt: exempt.map(Exempt::parse).collect(),
        })
    }

    pub(crate) fn of(&self, uri: &Uri) -> Option<&Proxy> {
        let secure = uri.scheme_str() == Some("https");
        let proxy = if secure { &self.secure } else { &self.plain }.as_ref()?;
        let host = uri.host()?.trim_matches(['[', ']']).to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let direct = is_loopback(&host) || self.exempt.iter().any(|e| e.covers(&host, port));
        (!direct).then_some(proxy)
    }
}

impl Proxy {
    fn parse(text: &str) -> Result<Option<Self>, ProxyProblem> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(None);
        }
        let problem = || ProxyProblem(without_password(text));
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err(problem()),
            None => text,
        };
        let rest = rest.split('/').next().unwrap_or_default();
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, rest),
        };
        let uri: Uri = format!("http://{address}").parse().map_err(|_| problem())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(problem)?;
        let authorization = user.map(|user| {
            let pair = unescaped(user);
            let pair = if pair.contains(':') { pair } else { format!("{pair}:") };
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
                .expect("base 64 fits into a header");
            value.set_sensitive(true);
            value
        });
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Some(Self { host, port: uri.port_u16().unwrap_or(80), authorization }))
    }
}

impl Exempt {
    fn parse(text: &str) -> Self {
        if text == "*" {
            return Self::Everything;
        }
        let text = text.to_ascii_lowercase();
        if let Some((address, length)) = text.split_once('/')
            && let (Ok(address), Ok(length)) = (address.parse(), length.parse())
        {
            return Self::Range(address, length);
        }
        let bare = text.trim_matches(['[', ']']);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Self::Range(address, if address.is_ipv4() { 32 } else { 128 });
        }
        match text.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => {
                Self::Host(host.trim_start_matches('*').to_owned(), port.parse().ok())
            }
            _ => Self::Host(text.trim_start_matches('*').to_owned(), None),
        }
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Range(first, length) => {
                host.parse().is_ok_and(|address| in_range(address, *first, *length))
            }
            Self::Host(name, on) => {
                let named = match name.strip_prefix('.') {
                    Some(_) => host.ends_with(name.as_str()),
                    None => host == name || host.ends_with(&format!(".{name}")),
                };
                named && on.is_none_or(|on| on == port)
            }
        }
    }
}

fn in_range(address: IpAddr, first: IpAddr, length: u8) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let ((address, width), (first, of)) = (bits(address), bits(first));
    let mask = u128::MAX.checked_shl(128 - u32::from(length.min(of))).unwrap_or(0);
    width == of && address & mask == first & mask
}

/// `%40` is how a URL says `@` in a password.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(escaped) if *byte == b'%' => {
                plain.push(escaped);
                at += 3;
            }
            _ => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// It ends up in messages.
fn without_password(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, address)) => format!("…@{address}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exempt_is_reached_directly() {
        let no_proxy = "intern.example, .only-below.example,10.0.0.0/8,192.0.2.7,a.example:5000,\
                        *.star.example,fd00::/8";
        let proxies = Proxies::new("http://p:3128", "u:p%40ss@q", no_proxy).unwrap();
        let proxy = |uri: &str| proxies.of(&uri.parse().unwrap()).map(|proxy| proxy.host.clone());
        for (uri, through) in [
            ("http://registry.example/v2/", Some("p")),
            ("https://registry.example/v2/", Some("q")),
            ("https://intern.example/", None),
            ("https://a.intern.example/", None),
            ("https://notintern.example/", Some("q")),
            ("https://only-below.example/", Some("q")),
            ("https://x.only-below.example/", None),
            ("http://10.9.8.7:5000/", None),
            ("http://11.9.8.7:5000/", Some("p")),
            ("http://192.0.2.7/", None),
            ("https://a.example:5000/", None),
            ("https://a.example/", Some("q")),
            ("https://x.star.example/", None),
            ("http://[fd00::1]:5000/", None),
            ("http://127.0.0.1:4566/", None),
            ("http://localhost:4566/", None),
            ("http://[::1]:4566/", None),
        ] {
            assert_eq!(proxy(uri).as_deref(), through, "{uri}");
        }
        let all = Proxies::new("p:1", "p:1", "*").unwrap();
        assert!(all.of(&"http://registry.example/".parse().unwrap()).is_none());
    }

    #[test]
    fn a_proxy_is_read_with_its_user_and_never_printed_with_it() {
        let proxy = Proxy::parse("http://me:p%40ss@proxy.example:8080/").unwrap().unwrap();
        assert_eq!((&*proxy.host, proxy.port), ("proxy.example", 8080));
        // me:p@ss
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic bWU6cEBzcw==");
        assert_eq!(format!("{proxy:?}"), "Proxy(proxy.example:8080)");
        assert_eq!(Proxy::parse("").unwrap().map(|proxy| proxy.port), None);
        for bad in ["socks5://p:1", "https://me:secret@p:1", "http://", "http://:80"] {
            let problem = Proxy::parse(bad).unwrap_err().to_string();
            assert!(!problem.contains("secret"), "{problem}");
        }
    }
}
