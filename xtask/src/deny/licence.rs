//! Licence expressions as crates state them (SPDX: `MIT OR (Apache-2.0 AND ISC)`, and the older
//! `MIT/Apache-2.0`): does a list of allowed licences satisfy one? AND binds before OR.

/// `None` if the expression can't be read.
pub fn permits(text: &str, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, allowed };
    let answer = reader.either()?;
    reader.words.is_empty().then_some(answer)
}

struct Reader<'a> {
    words: &'a [&'a str],
    allowed: &'a dyn Fn(&str) -> bool,
}

impl Reader<'_> {
    fn take(&mut self, word: &str) -> bool {
        let found = self.words.first() == Some(&word);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    fn either(&mut self) -> Option<bool> {
        let mut answer = self.both()?;
        while self.take("OR") {
            answer |= self.both()?;
        }
        Some(answer)
    }

    fn both(&mut self) -> Option<bool> {
        let mut answer = self.one()?;
        while self.take("AND") {
            answer &= self.one()?;
        }
        Some(answer)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let answer = self.either()?;
            return self.take(")").then_some(answer);
        }
        let (id, rest) = self.words.split_first()?;
        if matches!(*id, "OR" | "AND" | "WITH" | ")") {
            return None;
        }
        self.words = rest;
        if self.take("WITH") {
            let (exception, rest) = self.words.split_first()?;
            self.words = rest;
            return Some((self.allowed)(&format!("{id} WITH {exception}")));
        }
        // "This version or a later one": who allows this version may choose it.
        Some((self.allowed)(id) || id.strip_suffix('+').is_some_and(self.allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_weighed_as_spdx_says() {
        let allowed = |id: &str| ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].contains(&id);
        let permits = |text: &str| permits(text, &allowed);
        assert_eq!(permits("MIT"), Some(true));
        assert_eq!(permits("GPL-3.0-only"), Some(false));
        assert_eq!(permits("GPL-3.0-only OR MIT"), Some(true));
        assert_eq!(permits("Unlicense/MIT"), Some(true));
        assert_eq!(permits("GPL-3.0-only AND MIT"), Some(false));
        assert_eq!(permits("GPL-3.0-only AND MIT OR ISC"), Some(true));
        assert_eq!(permits("ISC AND (GPL-3.0-only OR MIT)"), Some(true));
        assert_eq!(permits("Apache-2.0 WITH LLVM-exception"), Some(true));
        assert_eq!(permits("Apache-2.0"), Some(false));
        assert_eq!(permits("ISC+"), Some(true));
        for broken in ["", "MIT OR", "(MIT", "MIT ISC", "AND MIT"] {
            assert_eq!(permits(broken), None, "{broken}");
        }
    }
}
