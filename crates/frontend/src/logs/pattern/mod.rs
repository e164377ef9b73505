//! Filter patterns, the small language of FilterLogEvents. Three forms: terms (`ERROR -timeout "a
//! phrase"`, `?WARN ?ERROR`), conditions on JSON events (`{ $.status >= 500 && $.user.name = "a*"
//! }`) and conditions on events of words (`[ip, ..., status = 4*, bytes > 1000]`). Source:
//! CloudWatch Logs user guide, "Filter pattern syntax".

mod condition;
mod fields;
mod json;
mod lexer;
mod terms;
#[cfg(test)]
mod tests;

use self::fields::Fields;
use self::json::Selector;
use self::terms::Terms;
use condition::Expression;

/// A pattern that can be applied.
#[derive(Debug)]
pub enum Pattern {
    All,
    Terms(Terms),
    Json(Expression<Selector>),
    Fields(Fields),
}

/// What is wrong with a pattern.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Malformed {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let text = text.trim();
        match text.chars().next() {
            None => Ok(Self::All),
            Some('{') => json::parse(text).map(Self::Json),
            Some('[') => Fields::parse(text).map(Self::Fields),
            Some(_) => Terms::parse(text).map(Self::Terms),
        }
    }

    pub fn matches(&self, message: &str) -> bool {
        match self {
            Self::All => true,
            Self::Terms(terms) => terms.matches(message),
            Self::Json(expression) => json::matches(expression, message),
            Self::Fields(fields) => fields.matches(message),
        }
    }
}
