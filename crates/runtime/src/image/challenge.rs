//! What a registry wants to see before it answers: the `WWW-Authenticate` header, parsed, and the
//! tokens already earned, remembered for as long as their server said.

use super::limits;
use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// The strongest challenge we can answer. Tokens are scoped and short-lived, so they come
    /// first.
    pub fn parse(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter();
        let found: Vec<_> =
            values.filter_map(|v| v.to_str().ok()).flat_map(split_challenges).collect();
        let bearer = found.iter().find_map(|(scheme, parameters)| {
            let realm = parameters.get("realm").filter(|_| scheme == "bearer")?;
            let service = parameters.get("service").cloned();
            Some(Self::Bearer { realm: realm.clone(), service })
        });
        bearer.or_else(|| found.iter().any(|(scheme, _)| scheme == "basic").then_some(Self::Basic))
    }
}

/// `Bearer realm="…",service="…", Basic realm="…"`: a word without `=` begins a new challenge.
fn split_challenges(text: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut challenges: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c == ',' || c.is_whitespace());
        let (word, tail) = rest.split_at(end.unwrap_or(rest.len()));
        if word.is_empty() {
            rest = tail[1..].trim_start();
            continue;
        }
        let Some(value) = tail.strip_prefix('=') else {
            challenges.push((word.to_ascii_lowercase(), BTreeMap::new()));
            rest = tail.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            continue;
        };
        let (value, tail) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = value.find([',', ' ']).unwrap_or(value.len());
                (value[..end].to_owned(), &value[end..])
            }
        };
        if let Some((_, parameters)) = challenges.last_mut() {
            parameters.insert(word.to_ascii_lowercase(), value);
        }
        rest = tail.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    }
    challenges
}

/// What stands before the closing quote, and what after it.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => value.push(character),
        }
    }
    (value, "")
}

/// A token server's answer.
#[derive(Deserialize)]
pub(crate) struct TokenJson {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl TokenJson {
    /// The token and how long it may be used.
    pub fn usable(self) -> Option<(String, Duration)> {
        let token = self.token.or(self.access_token).filter(|token| !token.is_empty())?;
        let seconds = self.expires_in.unwrap_or(limits::TOKEN_SECONDS_DEFAULT);
        Some((token, Duration::from_secs(seconds.saturating_sub(limits::TOKEN_MARGIN_SECONDS))))
    }
}

/// Whose token, where, for what.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenKey {
    pub base_url: String,
    pub repository: String,
    pub principal: String,
}

/// What was learnt about registries: their challenge, so that the next request answers it unasked,
/// and the tokens.
#[derive(Default)]
pub(crate) struct Learnt {
    challenges: Mutex<BTreeMap<String, Challenge>>,
    tokens: Mutex<BTreeMap<TokenKey, (String, Instant)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Both maps are whole between statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Learnt {
    pub fn challenge(&self, base_url: &str) -> Option<Challenge> {
        lock(&self.challenges).get(base_url).cloned()
    }

    pub fn remember_challenge(&self, base_url: &str, challenge: Challenge) {
        let mut challenges = lock(&self.challenges);
        if challenges.len() >= limits::TOKENS_MAX {
            challenges.clear();
        }
        challenges.insert(base_url.to_owned(), challenge);
    }

    pub fn token(&self, key: &TokenKey) -> Option<String> {
        let tokens = lock(&self.tokens);
        tokens.get(key).filter(|(_, end)| *end > Instant::now()).map(|(token, _)| token.clone())
    }

    pub fn remember_token(&self, key: TokenKey, token: String, lifetime: Duration) {
        let mut tokens = lock(&self.tokens);
        let now = Instant::now();
        if tokens.len() >= limits::TOKENS_MAX {
            tokens.retain(|_, (_, end)| *end > now);
        }
        if tokens.len() >= limits::TOKENS_MAX {
            tokens.clear();
        }
        // A server that says "for ever" is believed for a day.
        tokens.insert(key, (token, now + lifetime.min(Duration::from_secs(24 * 60 * 60))));
    }

    pub fn forget_token(&self, key: &TokenKey) {
        lock(&self.tokens).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::parse(&headers)
    }

    #[test]
    fn challenges_are_read_in_all_their_forms() {
        let bearer = |service: Option<&str>| {
            let service = service.map(str::to_owned);
            Some(Challenge::Bearer { realm: "https://auth.example/token".to_owned(), service })
        };
        let realm = r#"realm="https://auth.example/token""#;
        for (values, expected) in [
            (vec![], None),
            (vec!["Negotiate"], None),
            (vec!["Basic realm=\"x\""], Some(Challenge::Basic)),
            (vec!["basic"], Some(Challenge::Basic)),
            (vec![&*format!("Bearer {realm}")], bearer(None)),
            (
                vec![&*format!("Bearer {realm},service=\"a,b\",scope=\"repository:x:pull,push\"")],
                bearer(Some("a,b")),
            ),
            (vec![&*format!("BEARER {realm} , service=reg.example")], bearer(Some("reg.example"))),
            (vec![&*format!("Basic realm=\"a\", Bearer {realm}")], bearer(None)),
            (vec!["Basic realm=\"a\"", &*format!("Bearer {realm}")], bearer(None)),
            (vec!["Bearer service=\"no realm\""], None),
            (vec!["=,=\"", "\"\\"], None),
        ] {
            assert_eq!(parse(&values), expected, "{values:?}");
        }
    }
}
