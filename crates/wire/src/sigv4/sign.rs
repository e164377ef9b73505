//! Signing: what our CLI, tests and benchmarks send. It shares the canonical request with the
//! verifier, so AWS's published vectors, not the other half, show that both are right.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::canonical::{self, PathStyle};
use super::claim::Scope;
use super::keys::{SecretKey, SigningKey};
use super::{ALGORITHM, CONTENT_SHA256_HEADER, DATE_HEADER, TOKEN_HEADER, moment};
use crate::{RequestParts, Timestamp};

/// Headers that proxies and libraries change on the way.
const NEVER_SIGNED: &[&str] = &[
    "authorization",
    "connection",
    "expect",
    "transfer-encoding",
    "user-agent",
    "x-amzn-trace-id",
];

/// Whose signature it is to be, and for what.
#[derive(Clone, Copy)]
pub struct Signer<'a> {
    pub access_key_id: &'a str,
    pub secret_key: &'a SecretKey,
    pub session_token: Option<&'a str>,
    pub region: &'a str,
    pub service: &'a str,
    pub path_style: PathStyle,
}

impl fmt::Debug for Signer<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signer({} {}/{})", self.access_key_id, self.region, self.service)
    }
}

impl Signer<'_> {
    /// Adds X-Amz-Date, X-Amz-Security-Token and Authorization to `headers`. All other headers of
    /// the request must be there already, Host too.
    pub fn sign(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &mut HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) {
        let moment = moment::basic(now.unix_ms.div_euclid(1000));
        headers.insert(HeaderName::from_static(DATE_HEADER), text_value(&moment));
        if let Some(token) = self.session_token {
            headers.insert(HeaderName::from_static(TOKEN_HEADER), text_value(token));
        }
        let signed_headers = signed_headers(headers);
        let scope = self.scope(&moment);
        let parts = RequestParts { method, path, query, headers };
        let signature = self.signature(&parts, &signed_headers, &moment, &scope, body);
        let authorization = format!(
            "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={signature}",
            self.access_key_id,
            scope.text(),
            signed_headers.join(";"),
        );
        headers.insert(http::header::AUTHORIZATION, text_value(&authorization));
    }

    /// The query string of a request that needs no Authorization header for `expires_seconds`.
    /// `headers` must be sent as they are here.
    pub fn presign(
        &self,
        parts: &RequestParts<'_>,
        body: &[u8],
        now: Timestamp,
        expires_seconds: u32,
    ) -> String {
        let moment = moment::basic(now.unix_ms.div_euclid(1000));
        let signed_headers = signed_headers(parts.headers);
        let scope = self.scope(&moment);
        let credential = format!("{}/{}", self.access_key_id, scope.text());
        let mut query = parts.query.to_owned();
        let mut add = |name: &str, value: &str| {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
            query.push_str(&canonical::encode(value.as_bytes(), false));
        };
        add("X-Amz-Algorithm", ALGORITHM);
        add("X-Amz-Credential", &credential);
        add("X-Amz-Date", &moment);
        add("X-Amz-Expires", &expires_seconds.to_string());
        add("X-Amz-SignedHeaders", &signed_headers.join(";"));
        if let Some(token) = self.session_token {
            add("X-Amz-Security-Token", token);
        }
        let parts = RequestParts { query: &query, ..*parts };
        let signature = self.signature(&parts, &signed_headers, &moment, &scope, body);
        format!("{query}&X-Amz-Signature={signature}")
    }

    fn scope(&self, moment: &str) -> Scope {
        Scope {
            date: moment[..8].to_owned(),
            region: self.region.to_owned(),
            service: self.service.to_owned(),
        }
    }

    fn signature(
        &self,
        parts: &RequestParts<'_>,
        signed_headers: &[String],
        moment: &str,
        scope: &Scope,
        body: &[u8],
    ) -> String {
        let payload_hash = match parts.header(CONTENT_SHA256_HEADER) {
            Some(given) => given.to_owned(),
            None => canonical::sha256_hex(body),
        };
        let request =
            canonical::request(parts, self.path_style, signed_headers, None, &payload_hash);
        let text = canonical::string_to_sign(moment, &scope.text(), &request);
        SigningKey::derive(self.secret_key, scope).sign(&text)
    }
}

fn signed_headers(headers: &HeaderMap) -> Vec<String> {
    let names = headers.keys().map(|name| name.as_str().to_owned());
    let mut names: Vec<String> = names.filter(|n| !NEVER_SIGNED.contains(&n.as_str())).collect();
    names.sort_unstable();
    names
}

fn text_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("keys, tokens and scopes are visible ASCII")
}
