//! Who may use the registry: holders of a password of GetAuthorizationToken, and the agents, which
//! have a fixed pair of their own. Basic authentication, as ECR's.

use crate::answer::Refusal;
use crate::query::Query;
use crate::token::{PRESIGNED_END, PRESIGNED_MAC, Signer, USER, Verdict};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, StatusCode, Uri};
use model::Timestamp;
use ring::hmac;

/// Checks credentials.
pub struct Access {
    signer: Signer,
    agent: Pair,
}

/// A user and a password that is kept only as its keyed digest, so that comparing takes the same
/// time whatever is wrong.
struct Pair {
    key: hmac::Key,
    digest: hmac::Tag,
}

impl Pair {
    fn new(key: hmac::Key, user: &str, password: &str) -> Self {
        let digest = hmac::sign(&key, format!("{user}:{password}").as_bytes());
        Self { key, digest }
    }

    fn is(&self, user: &str, password: &str) -> bool {
        let given = format!("{user}:{password}");
        hmac::verify(&self.key, given.as_bytes(), self.digest.as_ref()).is_ok()
    }
}

impl Access {
    /// Whether a path was presigned: layers' download URLs, which plain clients fetch.
    pub fn presigned(&self, path: &str, query: &Query, now: Timestamp) -> bool {
        let given = query.get(PRESIGNED_END).zip(query.get(PRESIGNED_MAC));
        given.is_some_and(|(end, mac)| {
            self.signer.verify_presigned(path, end, mac, now) == Verdict::Good
        })
    }

    /// An empty agent password is refused always, not accepted.
    pub fn new(signer: Signer, agent_user: &str, agent_password: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"registry agent credentials");
        Self { signer, agent: Pair::new(key, agent_user, agent_password) }
    }

    pub fn check(&self, headers: &HeaderMap, uri: &Uri, now: Timestamp) -> Result<(), Refusal> {
        let Some(given) = headers.get(AUTHORIZATION) else {
            return Err(challenge(headers, uri, "Not Authorized"));
        };
        let Some((user, password)) = given.to_str().ok().and_then(basic) else {
            return Err(challenge(headers, uri, "Your Authorization Token is invalid."));
        };
        if !password.is_empty() && self.agent.is(&user, &password) {
            return Ok(());
        }
        match self.signer.verify(&password, now) {
            Verdict::Good if user == USER => Ok(()),
            Verdict::Expired if user == USER => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "DENIED",
                "Your authorization token has expired. Reauthenticate and try again.",
            )),
            _ => Err(challenge(headers, uri, "Your Authorization Token is invalid.")),
        }
    }
}

/// User and password of a Basic header.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The answer that makes clients send their credentials.
fn challenge(headers: &HeaderMap, uri: &Uri, message: &str) -> Refusal {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(uri.authority().map(http::uri::Authority::as_str)).unwrap_or("localhost");
    // What the client sent goes back inside quotes, so only what a host can hold may pass.
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
    let host = if host.chars().all(plain) { host } else { "localhost" };
    Refusal::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message).with_header(
        http::header::WWW_AUTHENTICATE,
        &format!("Basic realm=\"http://{host}/\",service=\"ecr.amazonaws.com\""),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_750_000_000_000);

    fn check(access: &Access, user: &str, password: &str) -> Result<(), StatusCode> {
        let mut headers = HeaderMap::new();
        let pair = STANDARD.encode(format!("{user}:{password}"));
        let value = format!("Basic {pair}").parse().expect("a header value");
        headers.insert(AUTHORIZATION, value);
        access.check(&headers, &Uri::from_static("/v2/"), NOW).map_err(|refusal| refusal.status)
    }

    #[test]
    fn only_the_two_kinds_of_credentials_pass() {
        let signer = Signer::new(b"secret");
        let access = Access::new(signer.clone(), "agent", "s3cret");
        let (password, _) = signer.mint(NOW);
        assert_eq!(check(&access, "AWS", &password), Ok(()));
        assert_eq!(check(&access, "agent", "s3cret"), Ok(()));
        let (old, _) = signer.mint(NOW.plus_seconds(-13 * 3600));
        assert_eq!(check(&access, "AWS", &old), Err(StatusCode::FORBIDDEN));
        for (user, wrong) in [
            ("aws", password.as_str()),
            ("agent", password.as_str()),
            ("agent", ""),
            ("agent", "s3cre"),
            ("AWS", "s3cret"),
            ("", ""),
        ] {
            let found = check(&access, user, wrong);
            assert_eq!(found, Err(StatusCode::UNAUTHORIZED), "{user} {wrong}");
        }
        let none = access.check(&HeaderMap::new(), &Uri::from_static("/v2/"), NOW);
        assert_eq!(none.map_err(|refusal| refusal.status), Err(StatusCode::UNAUTHORIZED));
    }

    #[test]
    fn an_agent_without_a_password_never_passes() {
        let access = Access::new(Signer::new(b"secret"), "agent", "");
        assert_eq!(check(&access, "agent", ""), Err(StatusCode::UNAUTHORIZED));
    }
}
