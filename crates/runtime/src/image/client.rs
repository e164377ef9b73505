//! The registry protocol, for one repository at a time: authorize, resolve a tag, get a manifest,
//! open a blob. Every byte that leaves here towards a caller has been checked against the digest
//! that was asked for, or is about to be (`blob`).

use super::challenge::{Challenge, Learnt, TokenJson, TokenKey};
use super::digest::Digest;
use super::endpoint::{self, BasicAuth, RegistryMap, Site};
use super::failure::PullFailure;
use super::limits;
use super::manifest::{INDEX_DOCKER, INDEX_OCI, MANIFEST_DOCKER, MANIFEST_OCI};
use super::reference::ImageRef;
use super::transport::{Broken, Patience, Transport};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RANGE, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const DOCKER_CONTENT_DIGEST: &str = "docker-content-digest";

/// What all pulls share.
pub(crate) struct RegistryClient {
    pub transport: Transport,
    pub patience: Patience,
    map: RegistryMap,
    learnt: Learnt,
}

impl RegistryClient {
    pub fn new(map: RegistryMap, patience: Patience) -> Self {
        let transport = Transport::new(map.extra_roots.clone(), map.proxies.clone(), patience);
        Self { transport, patience, map, learnt: Learnt::default() }
    }

    /// Finds out where and as whom; no request is made yet.
    pub async fn session(
        self: &Arc<Self>,
        reference: &ImageRef,
        auth: Option<BasicAuth>,
    ) -> Result<Session, PullFailure> {
        let site = self.map.site(&reference.registry);
        let (auth, principal) = match (auth, &site.credentials) {
            (Some(auth), _) => {
                let principal = Digest::of(auth.header().as_bytes()).hex();
                (Some(auth), principal)
            }
            // The provider's tokens change all the time, but it is always the same one who asks.
            (None, Some(provider)) => {
                let auth = provider.credentials().await.map_err(|message| {
                    PullFailure::Credentials { registry: reference.registry.clone(), message }
                })?;
                (Some(auth), "provider".to_owned())
            }
            (None, None) => (None, "anonymous".to_owned()),
        };
        Ok(Session {
            client: Arc::clone(self),
            site,
            reference: reference.clone(),
            auth,
            principal,
        })
    }
}

/// One pull's view of its registry.
#[derive(Clone)]
pub(crate) struct Session {
    client: Arc<RegistryClient>,
    site: Site,
    pub reference: ImageRef,
    auth: Option<BasicAuth>,
    principal: String,
}

/// A manifest's bytes, checked.
pub(crate) struct Document {
    pub digest: Digest,
    pub content_type: String,
    pub body: Vec<u8>,
}

impl Session {
    pub fn transport(&self) -> &Transport {
        &self.client.transport
    }

    pub fn patience(&self) -> Patience {
        self.client.patience
    }

    /// Names who asks whom for what, so that only equals share a pull.
    pub fn flight_key(&self, what: &str) -> String {
        let (base, repository) = (&self.site.base_url, &self.reference.repository);
        format!("{base} {repository} {} {what}", self.principal)
    }

    /// The digest a tag stands for now; `None` if the registry doesn't tell without sending the
    /// manifest.
    pub async fn resolve(&self) -> Result<Option<Digest>, PullFailure> {
        let path = self.manifest_path(&self.reference.version());
        let response = match self.retried(&Method::HEAD, &path).await {
            // A refusal of HEAD has no words; that of the manifest itself has.
            Err(PullFailure::AccessDenied { .. }) => return Ok(None),
            // Some know no HEAD; the manifest itself is the answer then.
            Err(PullFailure::UnexpectedStatus { status, .. }) if status.starts_with('4') => {
                return Ok(None);
            }
            other => other?,
        };
        let digest = response.headers().get(DOCKER_CONTENT_DIGEST);
        Ok(digest.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok()))
    }

    /// By digest, and then the bytes are what was asked for; or by the reference's tag.
    pub async fn manifest(&self, digest: Option<Digest>) -> Result<Document, PullFailure> {
        let version = digest.map_or_else(|| self.reference.version(), |d| d.to_string());
        let path = self.manifest_path(&version);
        let mut attempts = 1;
        let (content_type, body) = loop {
            let response = self.retried(&Method::GET, &path).await?;
            let content_type = text_header(&response, CONTENT_TYPE.as_str());
            let whole =
                self.transport().whole_body(response.into_body(), limits::MANIFEST_BYTES_MAX).await;
            match whole {
                Ok(Some(body)) => break (content_type, body),
                Ok(None) => {
                    return Err(PullFailure::TooLarge {
                        what: format!("manifest of {}", self.reference),
                        bound: limits::MANIFEST_BYTES_MAX,
                    });
                }
                Err(broken) if attempts >= limits::ATTEMPTS_MAX => {
                    return Err(self.unreachable(&Method::GET, &self.url(&path), broken, attempts));
                }
                Err(_) => tokio::time::sleep(self.patience().backoff(attempts)).await,
            }
            attempts += 1;
        };
        let computed = Digest::of(&body);
        match digest {
            Some(expected) if expected != computed => Err(PullFailure::DigestMismatch {
                what: format!("manifest-{expected}"),
                expected,
                computed,
            }),
            _ => Ok(Document { digest: computed, content_type, body }),
        }
    }

    /// Opens a blob at an offset. The response is 200 or 206; what that means for the offset is the
    /// caller's to see. One attempt: the caller knows how much patience is left.
    pub async fn open_blob(
        &self,
        digest: &Digest,
        offset: u64,
    ) -> Result<Response<Incoming>, PullFailure> {
        let path = format!("/v2/{}/blobs/{digest}", self.reference.repository);
        let response = self.request(&Method::GET, &path, None, offset).await?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            _ => Err(self.refused(&Method::GET, &path, response, 1).await),
        }
    }

    pub fn blob_unreachable(&self, digest: &Digest, broken: Broken) -> PullFailure {
        let path = format!("/v2/{}/blobs/{digest}", self.reference.repository);
        self.unreachable(&Method::GET, &self.url(&path), broken, 1)
    }

    fn manifest_path(&self, version: &str) -> String {
        format!("/v2/{}/manifests/{version}", self.reference.repository)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.site.base_url)
    }

    /// A request for a manifest that is made again while its failure may pass.
    async fn retried(
        &self,
        method: &Method,
        path: &str,
    ) -> Result<Response<Incoming>, PullFailure> {
        let accept = [MANIFEST_OCI, INDEX_OCI, MANIFEST_DOCKER, INDEX_DOCKER].join(", ");
        for attempt in 1.. {
            let failure = match self.request(method, path, Some(&accept), 0).await {
                Ok(response) if response.status() == StatusCode::OK => return Ok(response),
                Ok(response) => self.refused(method, path, response, attempt).await,
                Err(failure) => failure,
            };
            let passing = attempt < limits::ATTEMPTS_MAX && failure.is_passing();
            let pause = self.patience().pause(&failure, attempt).filter(|_| passing);
            let Some(pause) = pause else { return Err(failure.after_attempts(attempt)) };
            tracing::debug!(%failure, attempt, "asking the registry again");
            tokio::time::sleep(pause).await;
        }
        unreachable!("the loop has no end but its returns")
    }

    /// One request with all it takes: authorization, a challenge answered, redirects followed.
    async fn request(
        &self,
        method: &Method,
        path: &str,
        accept: Option<&str>,
        offset: u64,
    ) -> Result<Response<Incoming>, PullFailure> {
        let url = self.url(path);
        let known = self.client.learnt.challenge(&self.site.base_url);
        // What the registry asked for elsewhere it need not ask for here: if it can't be had, that
        // is no failure yet.
        let mut authorization = match &known {
            Some(challenge) => self.authorization(challenge).await.unwrap_or_default(),
            None => None,
        };
        let response = self.follow(method, &url, accept, offset, authorization.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let Some(challenge) = Challenge::parse(response.headers()) else { return Ok(response) };
        // A token may have been revoked before its time.
        self.client.learnt.forget_token(&self.token_key());
        let sent = authorization.take();
        let answer = self.authorization(&challenge).await?;
        self.client.learnt.remember_challenge(&self.site.base_url, challenge);
        if answer.is_none() || answer == sent {
            return Ok(response);
        }
        self.follow(method, &url, accept, offset, answer.as_ref()).await
    }

    fn token_key(&self) -> TokenKey {
        TokenKey {
            base_url: self.site.base_url.clone(),
            repository: self.reference.repository.clone(),
            principal: self.principal.clone(),
        }
    }

    /// The header that answers a challenge, if we have anything to answer with.
    async fn authorization(
        &self,
        challenge: &Challenge,
    ) -> Result<Option<HeaderValue>, PullFailure> {
        let text = match challenge {
            Challenge::Basic => self.auth.as_ref().map(BasicAuth::header),
            Challenge::Bearer { realm, service } => {
                let key = self.token_key();
                let token = match self.client.learnt.token(&key) {
                    Some(token) => token,
                    None => self.earn_token(key, realm, service.as_deref()).await?,
                };
                Some(format!("Bearer {token}"))
            }
        };
        let Some(text) = text else { return Ok(None) };
        let mut value = HeaderValue::try_from(text).map_err(|_| PullFailure::Credentials {
            registry: self.reference.registry.clone(),
            message: "they hold characters that a header can't".to_owned(),
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn earn_token(
        &self,
        key: TokenKey,
        realm: &str,
        service: Option<&str>,
    ) -> Result<String, PullFailure> {
        let url = self.token_url(realm, service)?;
        let header = self.auth.as_ref().map(BasicAuth::header);
        let authorization = header.and_then(|text| HeaderValue::try_from(text).ok());
        let mut attempt = 1;
        let body = loop {
            let failure = match self.ask_token(&url, authorization.as_ref(), attempt).await {
                Ok(body) => break body,
                Err(failure) => failure,
            };
            let passing = attempt < limits::ATTEMPTS_MAX && failure.is_passing();
            let pause = self.patience().pause(&failure, attempt).filter(|_| passing);
            let Some(pause) = pause else { return Err(failure.after_attempts(attempt)) };
            tokio::time::sleep(pause).await;
            attempt += 1;
        };
        let json: Option<TokenJson> = serde_json::from_slice(&body).ok();
        let Some((token, lifetime)) = json.and_then(TokenJson::usable) else {
            let problem = "the answer holds no token".to_owned();
            return Err(PullFailure::Protocol { method: "GET".to_owned(), url, problem });
        };
        self.client.learnt.remember_token(key, token.clone(), lifetime);
        Ok(token)
    }

    async fn ask_token(
        &self,
        url: &str,
        authorization: Option<&HeaderValue>,
        attempt: u32,
    ) -> Result<Vec<u8>, PullFailure> {
        let get = Method::GET;
        let response = self.follow(&get, url, None, 0, authorization).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(&get, url, response, attempt).await);
        }
        let body = self.transport().whole_body(response.into_body(), limits::TOKEN_BYTES_MAX).await;
        body.map_err(|broken| self.unreachable(&get, url, broken, attempt))?.ok_or_else(|| {
            PullFailure::TooLarge { what: url.to_owned(), bound: limits::TOKEN_BYTES_MAX }
        })
    }

    fn token_url(&self, realm: &str, service: Option<&str>) -> Result<String, PullFailure> {
        let problem = |problem: &str| PullFailure::Protocol {
            method: "GET".to_owned(),
            url: realm.to_owned(),
            problem: problem.to_owned(),
        };
        let uri: Uri = realm.parse().map_err(|_| problem("the realm is not a URL"))?;
        let from: Uri =
            self.site.base_url.parse().map_err(|_| problem("the registry's URL is not one"))?;
        self.may_go(&from, &uri).map_err(|text| problem(&text))?;
        let mut query = Vec::new();
        if let Some(service) = service {
            query.push(format!("service={}", escape(service)));
        }
        let scope = format!("repository:{}:pull", self.reference.repository);
        query.push(format!("scope={}", escape(&scope)));
        let joint = if realm.contains('?') { '&' } else { '?' };
        Ok(format!("{realm}{joint}{}", query.join("&")))
    }

    /// Sends, and follows redirects. The authorization stays with the host it was made for.
    async fn follow(
        &self,
        method: &Method,
        url: &str,
        accept: Option<&str>,
        offset: u64,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, PullFailure> {
        let failed = |url: &str, problem: String| PullFailure::Protocol {
            method: method.to_string(),
            url: url.to_owned(),
            problem,
        };
        let mut url = url.to_owned();
        let mut authorization = authorization.cloned();
        for _ in 0..=limits::REDIRECTS_MAX {
            let uri: Uri = url.parse().map_err(|_| failed(&url, "not a URL".to_owned()))?;
            let request = build(method, &uri, accept, offset, authorization.as_ref())
                .map_err(|error| failed(&url, error.to_string()))?;
            let sent = self.transport().send(request).await;
            let response = sent.map_err(|broken| self.unreachable(method, &url, broken, 1))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let next = join(&uri, &text_header(&response, LOCATION.as_str()))
                .ok_or_else(|| failed(&url, "a redirect to nowhere".to_owned()))?;
            self.may_go(&uri, &next).map_err(|problem| failed(&url, problem))?;
            if next.scheme() != uri.scheme() || next.authority() != uri.authority() {
                authorization = None;
            }
            url = next.to_string();
        }
        Err(failed(&url, format!("stopped after {} redirects", limits::REDIRECTS_MAX)))
    }

    /// Whether a redirect, or a token server's address, is one a registry may send us to.
    fn may_go(&self, from: &Uri, to: &Uri) -> Result<(), String> {
        let host = |uri: &Uri| uri.host().unwrap_or_default().to_owned();
        let same = from.scheme() == to.scheme() && from.authority() == to.authority();
        if same {
            return Ok(());
        }
        let from_local = endpoint::is_local(&host(from));
        if endpoint::is_local(&host(to)) && !from_local {
            return Err(format!("refused to be sent to {to}: it is this machine's own"));
        }
        match to.scheme_str() {
            Some("https") => Ok(()),
            Some("http") => {
                let authority = to.authority().map_or("", http::uri::Authority::as_str);
                let plain = self.client.map.insecure_hosts.contains(authority)
                    || (from_local && endpoint::is_local(&host(to)));
                let refusal = || format!("refused to be sent to {to}: it is plain http");
                plain.then_some(()).ok_or_else(refusal)
            }
            _ => Err(format!("refused to be sent to {to}")),
        }
    }

    fn unreachable(
        &self,
        method: &Method,
        url: &str,
        Broken(problem): Broken,
        attempts: u32,
    ) -> PullFailure {
        PullFailure::Unreachable {
            reference: self.reference.to_string(),
            registry: self.reference.registry.clone(),
            method: method.to_string(),
            url: url.to_owned(),
            problem,
            attempts,
        }
    }

    /// What an answer that is no success means.
    async fn refused(
        &self,
        method: &Method,
        path: &str,
        response: Response<Incoming>,
        attempts: u32,
    ) -> PullFailure {
        let status = response.status();
        let is_manifest = path.contains("/manifests/");
        let retry_after = retry_after(&text_header(&response, RETRY_AFTER.as_str()));
        let message = match self
            .transport()
            .whole_body(response.into_body(), limits::ERROR_BODY_BYTES_MAX)
            .await
        {
            Ok(Some(body)) => registry_message(&body),
            // The status says enough when its body can't be had.
            Ok(None) | Err(_) => None,
        };
        let url = if path.starts_with('/') { self.url(path) } else { path.to_owned() };
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => PullFailure::AccessDenied {
                repository: self.reference.name(),
                message: message.unwrap_or_else(|| {
                    "denied: requested access to the resource is denied".to_owned()
                }),
            },
            StatusCode::NOT_FOUND if is_manifest => {
                PullFailure::NotFound { reference: self.reference.to_string() }
            }
            StatusCode::TOO_MANY_REQUESTS => PullFailure::RateLimited {
                url,
                message: message.unwrap_or_else(|| "toomanyrequests: Too Many Requests".to_owned()),
                retry_after,
                attempts,
            },
            _ => PullFailure::UnexpectedStatus {
                method: method.to_string(),
                url,
                status: status.to_string(),
                message: message.map(|m| format!(" - Server message: {m}")).unwrap_or_default(),
                attempts,
            },
        }
    }
}

fn build(
    method: &Method,
    uri: &Uri,
    accept: Option<&str>,
    offset: u64,
    authorization: Option<&HeaderValue>,
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header(USER_AGENT, concat!("neargate/", env!("CARGO_PKG_VERSION")));
    if let Some(accept) = accept {
        request = request.header(ACCEPT, accept);
    }
    if offset > 0 {
        request = request.header(RANGE, format!("bytes={offset}-"));
    }
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    request.body(Empty::new())
}

pub(crate) fn text_header(response: &Response<Incoming>, name: &str) -> String {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// How long a server asks to be left alone: seconds, or a date.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The first error of a registry's answer, as Docker's daemon shows it: `denied: no such thing`.
fn registry_message(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct ErrorsJson {
        errors: Vec<ErrorJson>,
    }
    #[derive(serde::Deserialize)]
    struct ErrorJson {
        code: String,
        #[serde(default)]
        message: String,
    }
    let json: ErrorsJson = serde_json::from_slice(body).ok()?;
    let error = json.errors.into_iter().next()?;
    let text = format!("{}: {}", error.code.to_lowercase().replace('_', " "), error.message);
    // It ends up in a task's description; a registry must not be able to write more than a line
    // there.
    Some(text.chars().filter(|c| !c.is_control()).take(300).collect())
}

/// Percent-encodes a query value; the few characters that are left are safe in every server's
/// parser.
fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("writing to a string can't fail");
        }
        escaped
    })
}

/// A redirect's target, seen from where it was found.
fn join(base: &Uri, location: &str) -> Option<Uri> {
    if location.is_empty() {
        return None;
    }
    if location.contains("://") && !location.starts_with('/') {
        return location.parse().ok();
    }
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let text = if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let (folder, _) = base.path().rsplit_once('/')?;
        format!("{scheme}://{authority}{folder}/{location}")
    };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_joined() {
        let base: Uri = "http://a.example:5000/v2/x/blobs/y?z=1".parse().unwrap();
        for (location, joined) in [
            ("https://cdn.example/b?sig=1", "https://cdn.example/b?sig=1"),
            ("//cdn.example/b", "http://cdn.example/b"),
            ("/b?u=http://x", "http://a.example:5000/b?u=http://x"),
            ("b", "http://a.example:5000/v2/x/blobs/b"),
        ] {
            assert_eq!(join(&base, location).unwrap().to_string(), joined);
        }
        assert!(join(&base, "").is_none());
    }

    #[test]
    fn a_registrys_error_is_one_short_line() {
        let body = br#"{"errors":[{"code":"NAME_UNKNOWN","message":"re\npo"}]}"#;
        assert_eq!(registry_message(body).unwrap(), "name unknown: repo");
        assert!(registry_message(b"<html>").is_none());
    }
}
