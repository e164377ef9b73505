//! Pages of ECS's lists, which all have the same bounds and the same words for what is wrong.

use crate::cursor::Cursor;
use crate::fault::{self, Fault};
use crate::limits::PAGE_ITEMS_MAX;

/// Which page of which list is wanted.
#[derive(Debug)]
pub struct Page {
    cursor: Cursor,
    /// The last item of the page before; None for the first page.
    after: Option<String>,
    limit: usize,
}

impl Page {
    /// `filters` are all parameters that decide what is in the list, the operation's name first.
    pub fn new<'a>(
        filters: &[Option<&'a str>],
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
        // A filter that is not there is another than one that is empty.
        let part = |filter: &Option<&'a str>| filter.map_or(["", ""], |text| ["=", text]);
        let cursor = Cursor::new(&filters.iter().flat_map(part).collect::<Vec<_>>());
        let token = next_token.filter(|token| !token.is_empty());
        let after = cursor.after(token, || fault::invalid_parameter("Invalid token."))?;
        Ok(Self { cursor, after, limit })
    }

    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Takes a page off the items that follow `after`, and the token for the next one if there are
    /// more. `key` is what `after` will be.
    pub fn take<T>(
        &self,
        items: impl Iterator<Item = T>,
        key: impl Fn(&T) -> &str,
    ) -> (Vec<T>, Option<String>) {
        self.cursor.take(items, self.limit, key)
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
