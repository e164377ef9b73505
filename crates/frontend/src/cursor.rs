//! Pages of lists. A token says where the next page begins, and is bound to the request it belongs
//! to: one that is not ours, or of another request, opens to nothing, which each service words in
//! its own way. A page is served from one snapshot: what is added or removed between pages shows or
//! not, but nothing is served twice.

use crate::fault::Fault;
use crate::limits::PAGE_TOKEN_BYTES_MAX;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};

/// Bytes of the request's fingerprint in a token: enough that a mix-up never goes unnoticed.
const BINDING_BYTES: usize = 8;

/// Makes and opens the tokens of one request.
#[derive(Debug)]
pub struct Cursor {
    binding: [u8; BINDING_BYTES],
}

impl Cursor {
    /// `request` is all that decides what is in the list, the operation's name first.
    pub fn new(request: &[&str]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in request {
            // The length in front keeps neighbours from running into each other.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut binding = [0; BINDING_BYTES];
        binding.copy_from_slice(&context.finish().as_ref()[..BINDING_BYTES]);
        Self { binding }
    }

    pub fn seal(&self, last: &str) -> String {
        let mut bytes = self.binding.to_vec();
        bytes.extend_from_slice(last.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn open(&self, token: &str) -> Option<String> {
        if token.len() > PAGE_TOKEN_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let last = bytes.strip_prefix(&self.binding)?;
        String::from_utf8(last.to_vec()).ok()
    }

    /// The last item of the page before; none for the first page.
    pub fn after(
        &self,
        token: Option<&str>,
        unknown: impl FnOnce() -> Fault,
    ) -> Result<Option<String>, Fault> {
        token.map(|token| self.open(token).ok_or_else(unknown)).transpose()
    }

    /// Takes a page off what is left of a list, and the token of the next if there is more. `key`
    /// is what `after` will be.
    pub fn take<T>(
        &self,
        mut items: impl Iterator<Item = T>,
        limit: usize,
        key: impl Fn(&T) -> &str,
    ) -> (Vec<T>, Option<String>) {
        let page: Vec<T> = items.by_ref().take(limit).collect();
        let more = items.next().is_some();
        let next = page.last().filter(|_| more).map(|last| self.seal(key(last)));
        (page, next)
    }

    /// The same of a whole list whose keys rise.
    pub fn page<T>(
        &self,
        items: impl Iterator<Item = (String, T)>,
        after: Option<&str>,
        limit: usize,
    ) -> (Vec<T>, Option<String>) {
        let rest = items.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
        let (page, next) = self.take(rest, limit, |(key, _)| key);
        (page.into_iter().map(|(_, item)| item).collect(), next)
    }
}

/// Items of one page, as the caller wants it.
pub fn page_items(wanted: Option<i32>, default: usize) -> usize {
    wanted.and_then(|wanted| usize::try_from(wanted).ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_for_its_request() {
        let cursor = Cursor::new(&["List", "a"]);
        let token = cursor.seal("last");
        assert_eq!(cursor.open(&token).as_deref(), Some("last"));
        for other in [&["List", "b"][..], &["Lista", ""], &["List"]] {
            assert_eq!(Cursor::new(other).open(&token), None);
        }
        for nonsense in ["", "x", "&&&", &token[1..]] {
            assert_eq!(cursor.open(nonsense), None, "{nonsense}");
        }
    }
}
