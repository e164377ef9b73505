//! Patterns of terms. All plain terms must be in the event and no term after `-`; of terms after
//! `?` one is enough, but they count only where they are alone. Terms are found anywhere in the
//! text; case counts.

use super::Malformed;
use super::condition::regex;
use super::lexer::delimited;
use regex_lite::Regex;

#[derive(Debug, Default)]
pub struct Terms {
    required: Vec<Term>,
    optional: Vec<Term>,
    excluded: Vec<Term>,
}

#[derive(Debug)]
enum Term {
    Text(String),
    Regex(Regex),
}

impl Term {
    fn is_in(&self, message: &str) -> bool {
        match self {
            Self::Text(text) => message.contains(text.as_str()),
            Self::Regex(regex) => regex.is_match(message),
        }
    }
}

impl Terms {
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let mut terms = Self::default();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (list, unmarked) = match rest.split_at_checked(1) {
                Some(("-", unmarked)) => (&mut terms.excluded, unmarked),
                Some(("?", unmarked)) => (&mut terms.optional, unmarked),
                _ => (&mut terms.required, rest),
            };
            let (term, after) = term(unmarked)?;
            list.push(term);
            rest = after.trim_start();
        }
        Ok(terms)
    }

    pub fn matches(&self, message: &str) -> bool {
        let optional_counts = self.required.is_empty() && self.excluded.is_empty();
        self.required.iter().all(|term| term.is_in(message))
            && !self.excluded.iter().any(|term| term.is_in(message))
            && (!optional_counts || self.optional.iter().any(|term| term.is_in(message)))
    }
}

fn term(text: &str) -> Result<(Term, &str), Malformed> {
    match text.chars().next() {
        Some('"') => {
            let (phrase, after) = delimited(text, '"')?;
            Ok((Term::Text(phrase), after))
        }
        Some('%') => {
            let (expression, after) = delimited(text, '%')?;
            Ok((Term::Regex(regex(&expression)?), after))
        }
        _ => {
            let end = text.find(char::is_whitespace).unwrap_or(text.len());
            let word = &text[..end];
            let plain = |c: char| c.is_alphanumeric() || c == '_';
            if word.is_empty() || !word.chars().all(plain) {
                return Err(Malformed::new(format!("Invalid character(s) in term '{word}'")));
            }
            Ok((Term::Text(word.to_owned()), &text[end..]))
        }
    }
}
