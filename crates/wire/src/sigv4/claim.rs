//! The first step: what a request says of itself. Parsing is strict, because every leniency here
//! is a second spelling of the same request, and refuses what is doubled, because two readers
//! might pick different ones.

use http::HeaderMap;

use super::fault::SignatureFault;
use super::{
    ALGORITHM, CONTENT_SHA256_HEADER, DATE_HEADER, TERMINATOR, TOKEN_HEADER, canonical, moment,
};
use crate::limits::{
    ACCESS_KEY_ID_CHARS_MAX, AUTHORIZATION_BYTES_MAX, PRESIGNED_EXPIRY_SECONDS_MAX,
    SIGNED_HEADERS_MAX,
};
use crate::{RequestParts, Sensitive};

/// What a signature is good for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// `20150830`
    pub date: String,
    pub region: String,
    pub service: String,
}

impl Scope {
    pub(crate) fn text(&self) -> String {
        let Scope { date, region, service } = self;
        format!("{date}/{region}/{service}/{TERMINATOR}")
    }
}

/// Who a request says it is from, and the signature that is to prove it. Nothing of it is true
/// until `verify` says so.
#[derive(Clone, Debug)]
pub struct Claim {
    pub access_key_id: String,
    pub scope: Scope,
    /// Lower-case, sorted, each once, `host` among them.
    pub signed_headers: Vec<String>,
    pub session_token: Option<Sensitive>,
    /// Seconds a presigned request is good for; none if the signature is in a header.
    pub expires_seconds: Option<i64>,
    /// As it was sent, for it is signed in that spelling.
    pub(super) moment: String,
    pub(super) signed_at_unix_s: i64,
    pub(super) signature: [u8; 32],
}

impl Claim {
    pub fn is_presigned(&self) -> bool {
        self.expires_seconds.is_some()
    }

    pub fn signs(&self, header: &str) -> bool {
        self.signed_headers.binary_search_by(|name| name.as_str().cmp(header)).is_ok()
    }
}

/// Reads the signature of a request, from its Authorization header or its query string.
pub fn parse(parts: &RequestParts<'_>) -> Result<Claim, SignatureFault> {
    for name in ["authorization", "host", "date", DATE_HEADER, TOKEN_HEADER, CONTENT_SHA256_HEADER]
    {
        if parts.headers.get_all(name).iter().count() > 1 {
            return incomplete(format!("The header '{name}' is there more than once."));
        }
    }
    let query = QueryAuth::find(parts.query)?;
    let header = parts.headers.get("authorization");
    let claim = match (header, query) {
        (None, None) => return Err(SignatureFault::Missing),
        (Some(_), Some(_)) => {
            return incomplete("Only one of Authorization header and query parameters may sign.");
        }
        (Some(value), None) => match value.to_str() {
            Ok(text) => from_header(parts.headers, text)?,
            Err(_) => return incomplete("The Authorization header is not plain text."),
        },
        (None, Some(query)) => query.claim(parts.headers)?,
    };
    check_signed_headers(&claim, parts.headers)?;
    if moment::parse_date(&claim.scope.date) != Some(day_of(claim.signed_at_unix_s)) {
        let day = claim.moment_date();
        return Err(SignatureFault::Scope(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
             HTTP: '{}' != '{day}', from '{}'.",
            claim.scope.date, claim.moment
        )));
    }
    Ok(claim)
}

fn incomplete<T>(text: impl Into<String>) -> Result<T, SignatureFault> {
    Err(SignatureFault::Incomplete(text.into()))
}

fn day_of(unix_s: i64) -> i64 {
    unix_s.div_euclid(86_400)
}

impl Claim {
    fn moment_date(&self) -> String {
        moment::basic(self.signed_at_unix_s)[..8].to_owned()
    }
}

/// `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`: these three, each once.
fn from_header(headers: &HeaderMap, text: &str) -> Result<Claim, SignatureFault> {
    if text.len() > AUTHORIZATION_BYTES_MAX {
        return incomplete("The Authorization header is too long.");
    }
    let (algorithm, rest) = text.split_once(' ').unwrap_or((text, ""));
    check_algorithm(algorithm)?;
    let names = ["Credential", "SignedHeaders", "Signature"];
    let mut found: [Option<&str>; 3] = [None; 3];
    for part in rest.split(',') {
        let Some((name, value)) = part.trim_matches(' ').split_once('=') else {
            return incomplete("Authorization header has a part that is not 'name=value'.");
        };
        let Some(index) = names.iter().position(|known| *known == name) else {
            return incomplete(format!("Authorization header has an unknown parameter '{name}'."));
        };
        if found[index].replace(value).is_some() {
            return incomplete(format!("Authorization header has '{name}' more than once."));
        }
    }
    let missing: Vec<String> = names
        .iter()
        .zip(found)
        .filter(|(_, value)| value.is_none_or(str::is_empty))
        .map(|(name, _)| format!("Authorization header requires '{name}' parameter."))
        .collect();
    let ([Some(credential), Some(signed_headers), Some(signature)], true) =
        (found, missing.is_empty())
    else {
        return incomplete(missing.join(" "));
    };
    let (access_key_id, scope) = credential_parts(credential)?;
    let signed_headers = header_names(signed_headers)?;
    let (moment, signed_at_unix_s) = header_moment(headers, &signed_headers)?;
    Ok(Claim {
        access_key_id,
        scope,
        signed_headers,
        session_token: text_header(headers, TOKEN_HEADER)?.map(Sensitive::from),
        expires_seconds: None,
        moment,
        signed_at_unix_s,
        signature: signature_bytes(signature)?,
    })
}

fn text_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, SignatureFault> {
    match headers.get(name).map(http::HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => incomplete(format!("The header '{name}' is not plain text.")),
    }
}

/// X-Amz-Date wins over Date, which counts only if it is signed. The text that was signed is the
/// basic form in either case.
fn header_moment(
    headers: &HeaderMap,
    signed_headers: &[String],
) -> Result<(String, i64), SignatureFault> {
    if let Some(text) = text_header(headers, DATE_HEADER)? {
        return match moment::parse_basic(text) {
            Some(unix_s) => Ok((text.to_owned(), unix_s)),
            None => incomplete(format!(
                "Date must be in ISO-8601 'basic format'. Got '{text}'. See \
                 http://en.wikipedia.org/wiki/ISO_8601"
            )),
        };
    }
    let Some(text) = text_header(headers, "date")? else {
        return incomplete(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        );
    };
    if !signed_headers.iter().any(|name| name == "date") {
        return incomplete("'Date' must be a 'SignedHeader' in the AWS Authorization.");
    }
    match moment::parse_basic(text).or_else(|| moment::parse_http(text)) {
        Some(unix_s) => Ok((moment::basic(unix_s), unix_s)),
        None => incomplete(format!("The Date header '{text}' is no date.")),
    }
}

fn check_algorithm(algorithm: &str) -> Result<(), SignatureFault> {
    if algorithm == ALGORITHM {
        return Ok(());
    }
    let shown: String = algorithm.chars().take(32).collect();
    incomplete(format!("Unsupported AWS 'algorithm': '{shown}'."))
}

fn credential_parts(text: &str) -> Result<(String, Scope), SignatureFault> {
    let parts: Vec<&str> = text.split('/').collect();
    let &[access_key_id, date, region, service, terminator] = parts.as_slice() else {
        return incomplete(
            "Credential must have exactly 5 slash-delimited elements, e.g. \
             keyid/date/region/service/term.",
        );
    };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let named = |text: &str, limit: usize| {
        !text.is_empty() && text.len() <= limit && text.chars().all(is_word)
    };
    if !named(access_key_id, ACCESS_KEY_ID_CHARS_MAX) {
        return incomplete("Credential has no valid access key id.");
    }
    if moment::parse_date(date).is_none() {
        return incomplete("Credential has no valid date, which must be like 20150830.");
    }
    if !named(region, 64) || !named(service, 64) {
        return incomplete("Credential has no valid region and service.");
    }
    if terminator != TERMINATOR {
        return Err(SignatureFault::Scope(format!(
            "Credential should be scoped with a valid terminator: '{TERMINATOR}'."
        )));
    }
    let scope =
        Scope { date: date.to_owned(), region: region.to_owned(), service: service.to_owned() };
    Ok((access_key_id.to_owned(), scope))
}

fn header_names(text: &str) -> Result<Vec<String>, SignatureFault> {
    let names: Vec<String> = text.split(';').map(str::to_owned).collect();
    if names.len() > SIGNED_HEADERS_MAX {
        return incomplete("SignedHeaders names too many headers.");
    }
    let is_token = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    if names.iter().any(|name| name.is_empty() || !name.bytes().all(is_token)) {
        return incomplete("SignedHeaders must be names of headers in lower case.");
    }
    if !names.is_sorted_by(|a, b| a < b) {
        return incomplete("SignedHeaders must be sorted and name each header once.");
    }
    Ok(names)
}

fn signature_bytes(text: &str) -> Result<[u8; 32], SignatureFault> {
    let mut out = [0; 32];
    let digit = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    if pairs.len() == out.len() && odd.is_empty() {
        let mut valid = true;
        for (byte, [high, low]) in out.iter_mut().zip(pairs) {
            match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => *byte = high << 4 | low,
                _ => valid = false,
            }
        }
        if valid {
            return Ok(out);
        }
    }
    incomplete("Signature must be 64 lower-case hexadecimal digits.")
}

/// The host and everything that AWS's own headers say must be under the signature.
fn check_signed_headers(claim: &Claim, headers: &HeaderMap) -> Result<(), SignatureFault> {
    if !claim.signs("host") {
        return incomplete(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        );
    }
    if claim.signs("authorization") {
        return incomplete("The Authorization header can't sign itself.");
    }
    for (name, value) in headers {
        // The canonical text is UTF-8; bytes that are not would all look the same in it.
        if claim.signs(name.as_str()) && std::str::from_utf8(value.as_bytes()).is_err() {
            return incomplete(format!("The header '{name}' is not UTF-8."));
        }
        if name.as_str().starts_with("x-amz-") && !claim.signs(name.as_str()) {
            return incomplete(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            ));
        }
    }
    Ok(())
}

/// The signature's query parameters, decoded.
#[derive(Default)]
struct QueryAuth {
    values: [Option<String>; PARAMETERS.len()],
}

const PARAMETERS: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
];
/// All but the token.
const PARAMETERS_REQUIRED: usize = 6;

impl QueryAuth {
    fn find(query: &str) -> Result<Option<QueryAuth>, SignatureFault> {
        let mut auth = QueryAuth::default();
        let mut any = false;
        for (name, value) in canonical::parameters(query) {
            // Spelled otherwise they would slip past this reader and reach another.
            let known = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
            let Some(index) = PARAMETERS.iter().position(known) else { continue };
            let name = PARAMETERS[index];
            any = true;
            let Ok(value) = String::from_utf8(value) else {
                return incomplete(format!("The parameter {name} is not UTF-8."));
            };
            if auth.values[index].replace(value).is_some() {
                return incomplete(format!("The parameter {name} is there more than once."));
            }
        }
        Ok(any.then_some(auth))
    }

    fn claim(self, headers: &HeaderMap) -> Result<Claim, SignatureFault> {
        let absent: Vec<String> = self.values[..PARAMETERS_REQUIRED]
            .iter()
            .zip(PARAMETERS)
            .filter(|(value, _)| value.as_deref().is_none_or(str::is_empty))
            .map(|(_, name)| format!("AWS query-string parameters must include '{name}'."))
            .collect();
        if !absent.is_empty() {
            return incomplete(absent.join(" "));
        }
        let [algorithm, credential, moment, expires, signed_headers, signature, token] =
            self.values.map(Option::unwrap_or_default);
        check_algorithm(&algorithm)?;
        if !token.is_empty() && headers.contains_key(TOKEN_HEADER) {
            return incomplete("The security token is both in the query and in a header.");
        }
        let (access_key_id, scope) = credential_parts(&credential)?;
        let Some(signed_at_unix_s) = moment::parse_basic(&moment) else {
            return incomplete(format!(
                "X-Amz-Date must be in ISO-8601 'basic format'. Got '{moment}'."
            ));
        };
        let seconds = crate::scalar::number(Some(&expires));
        let allowed = 1..=PRESIGNED_EXPIRY_SECONDS_MAX;
        let Some(expires_seconds) = seconds.filter(|seconds| allowed.contains(seconds)) else {
            return incomplete(format!(
                "X-Amz-Expires must be a number from 1 to {PRESIGNED_EXPIRY_SECONDS_MAX}."
            ));
        };
        let header_token = text_header(headers, TOKEN_HEADER)?.map(Sensitive::from);
        Ok(Claim {
            access_key_id,
            scope,
            signed_headers: header_names(&signed_headers)?,
            session_token: (!token.is_empty()).then(|| Sensitive::new(token)).or(header_token),
            expires_seconds: Some(expires_seconds),
            moment,
            signed_at_unix_s,
            signature: signature_bytes(&signature)?,
        })
    }
}
