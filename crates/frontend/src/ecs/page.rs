//! Pages of lists. A `nextToken` says where the next page begins and which request it belongs to;
//! it is of no use with other filters, and one that was not ours is refused. A list is served from
//! one snapshot a page: what is added or removed between pages shows or not, but nothing is served
//! twice.

use crate::fault::{self, Fault};
use crate::limits::{PAGE_ITEMS_MAX, PAGE_TOKEN_BYTES_MAX};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};

/// Bytes of the request's fingerprint in a token: enough that a mix-up never goes unnoticed.
const BINDING_BYTES: usize = 8;
const TOKEN_VERSION: u8 = 1;

/// Which page of which list is wanted.
#[derive(Debug)]
pub struct Page {
    binding: [u8; BINDING_BYTES],
    /// The last item of the page before; None for the first page.
    after: Option<String>,
    limit: usize,
}

impl Page {
    /// `filters` are all parameters that decide what is in the list, the operation's name first.
    pub fn new(
        filters: &[Option<&str>],
        next_token: Option<&str>,
        max_results: Option<i32>,
        default: usize,
    ) -> Result<Self, Fault> {
        let limit = match max_results {
            // The CLI and older SDKs send 0 for none.
            None | Some(0) => default,
            Some(n) => {
                usize::try_from(n).ok().filter(|n| *n <= PAGE_ITEMS_MAX).ok_or_else(|| {
                    fault::invalid_parameter("maxResults should be between 1 and 100")
                })?
            }
        };
        let binding = fingerprint(filters);
        let after = match next_token {
            None | Some("") => None,
            Some(token) => Some(open(token, binding).ok_or_else(bad_token)?),
        };
        Ok(Self { binding, after, limit })
    }

    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Takes a page off the items that follow `after`, and the token for the next one if there are
    /// more. `key` is what `after` will be.
    pub fn take<T>(
        &self,
        mut items: impl Iterator<Item = T>,
        key: impl Fn(&T) -> &str,
    ) -> (Vec<T>, Option<String>) {
        let page: Vec<T> = items.by_ref().take(self.limit).collect();
        let more = items.next().is_some();
        let token = page.last().filter(|_| more).map(|last| self.seal(key(last)));
        (page, token)
    }

    /// Like `take` for items that are sorted but can't be entered in the middle.
    pub fn take_sorted<T>(
        &self,
        items: Vec<T>,
        descending: bool,
        key: impl Fn(&T) -> &str,
    ) -> (Vec<T>, Option<String>) {
        let past = |item: &T| match self.after() {
            None => true,
            Some(after) if descending => key(item) < after,
            Some(after) => key(item) > after,
        };
        self.take(items.into_iter().filter(past), &key)
    }

    fn seal(&self, last: &str) -> String {
        let mut bytes = Vec::with_capacity(1 + BINDING_BYTES + last.len());
        bytes.push(TOKEN_VERSION);
        bytes.extend_from_slice(&self.binding);
        bytes.extend_from_slice(last.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

fn bad_token() -> Fault {
    fault::invalid_parameter("Invalid token.")
}

fn open(token: &str, binding: [u8; BINDING_BYTES]) -> Option<String> {
    if token.len() > PAGE_TOKEN_BYTES_MAX {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (bound, last) = rest.split_at_checked(BINDING_BYTES)?;
    let fits = *version == TOKEN_VERSION && bound == binding;
    if fits { String::from_utf8(last.to_vec()).ok() } else { None }
}

fn fingerprint(filters: &[Option<&str>]) -> [u8; BINDING_BYTES] {
    let mut context = Context::new(&SHA256);
    for filter in filters {
        // The length in front keeps neighbours from running into each other.
        let (mark, text) = match filter {
            None => (u64::MAX, ""),
            Some(text) => (text.len() as u64, *text),
        };
        context.update(&mark.to_be_bytes());
        context.update(text.as_bytes());
    }
    let mut binding = [0; BINDING_BYTES];
    binding.copy_from_slice(&context.finish().as_ref()[..BINDING_BYTES]);
    binding
}

#[cfg(test)]
mod tests {
    use super::*;

    const ITEMS: [&str; 5] = ["a", "b", "c", "d", "e"];

    fn walk(filters: &[Option<&str>], size: i32, descending: bool) -> Vec<String> {
        let mut all = Vec::new();
        let mut token = None;
        loop {
            let page = Page::new(filters, token.as_deref(), Some(size), 100).expect("ours");
            let mut items = ITEMS.to_vec();
            if descending {
                items.reverse();
            }
            let (items, next) = page.take_sorted(items, descending, |item| item);
            assert!(items.len() <= usize::try_from(size).expect("small"));
            all.extend(items.into_iter().map(str::to_owned));
            match next {
                None => return all,
                Some(next) => token = Some(next),
            }
        }
    }

    #[test]
    fn pages_of_any_size_give_the_whole_list_once() {
        for size in 1..=6 {
            assert_eq!(walk(&[Some("List")], size, false), ITEMS);
            assert_eq!(walk(&[Some("List")], size, true), ["e", "d", "c", "b", "a"]);
        }
    }

    #[test]
    fn a_token_is_bound_to_its_request() {
        let page = Page::new(&[Some("List"), Some("a")], None, Some(1), 100).expect("first");
        let (_, token) = page.take(ITEMS.into_iter(), |item| item);
        let token = token.expect("there is more");
        let with = |filters: &[Option<&str>], token: &str| {
            Page::new(filters, Some(token), Some(1), 100).is_ok()
        };
        assert!(with(&[Some("List"), Some("a")], &token));
        assert!(!with(&[Some("List"), Some("b")], &token));
        assert!(!with(&[Some("List"), None], &token));
        assert!(!with(&[Some("Lista"), Some("")], &token));
        assert!(!with(&[Some("List"), Some("a")], "nonsense"));
        assert!(!with(&[Some("List"), Some("a")], &token[1..]));
    }

    #[test]
    fn page_sizes_beyond_the_bounds_are_refused() {
        let size = |n| Page::new(&[], None, Some(n), 100).is_ok();
        assert!(size(0) && size(1) && size(100));
        assert!(!size(-1) && !size(101));
    }
}
