//! Query strings, and the pages of lists that they ask for.

use crate::answer::Refusal;
use crate::limits::PAGE_ENTRIES_MAX;

/// Parameters in the order given.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// How many entries are wanted and after which.
    pub fn page(&self) -> Result<Page<'_>, Refusal> {
        let entries = match self.get("n") {
            None => PAGE_ENTRIES_MAX,
            Some(n) => n.parse::<usize>().map_err(|_| {
                let message = "n must be a number of entries";
                Refusal::bad_request("PAGINATION_NUMBER_INVALID", message)
            })?,
        };
        Ok(Page { entries: entries.min(PAGE_ENTRIES_MAX), last: self.get("last") })
    }
}

pub struct Page<'a> {
    pub entries: usize,
    /// The last entry of the page before.
    pub last: Option<&'a str>,
}

impl Page<'_> {
    /// The entries of this page out of all, which come in order, and whether there are more.
    pub fn take<'n>(&self, all: impl Iterator<Item = &'n str>) -> (Vec<&'n str>, bool) {
        let mut rest = all.filter(|entry| self.last.is_none_or(|last| *entry > last));
        let page: Vec<_> = rest.by_ref().take(self.entries).collect();
        let more = !page.is_empty() && rest.next().is_some();
        (page, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_repetition() {
        let all = ["a", "b", "c", "d", "e"];
        let mut seen = Vec::new();
        let mut last = None::<String>;
        loop {
            let page = Page { entries: 2, last: last.as_deref() };
            let (entries, more) = page.take(all.into_iter());
            seen.extend(entries.iter().map(ToString::to_string));
            last = entries.last().map(ToString::to_string);
            if !more {
                break;
            }
        }
        assert_eq!(seen, all);
        let none = Page { entries: 0, last: None };
        assert_eq!(none.take(all.into_iter()), (vec![], false));
        assert!(Query::parse("n=x").page().is_err());
    }
}
