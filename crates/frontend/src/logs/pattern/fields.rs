//! Patterns over events of words, such as a web server's: `[ip, user, ..., status = 4*, bytes]`. A
//! part in quotes or brackets is one word. `...` stands for any number of words; without it the
//! numbers must agree.

use super::Malformed;
use super::condition::{Expression, Parser};
use super::lexer::{self, Token};
use serde_json::Value;

#[derive(Debug)]
pub struct Fields {
    before: Vec<Field>,
    /// What follows `...`, if there is one.
    after: Option<Vec<Field>>,
}

/// A word that may be anything, or must meet conditions.
type Field = Option<Expression<String>>;

impl Fields {
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let tokens = lexer::tokens(text)?;
        let [Token::Sign("["), inner @ .., Token::Sign("]")] = tokens.as_slice() else {
            return Err(Malformed::new("Unmatched [ in filter pattern"));
        };
        let mut fields = Self { before: Vec::new(), after: None };
        for part in inner.split(|token| *token == Token::Sign(",")) {
            match (part, &mut fields.after) {
                ([Token::Sign("...")], None) => fields.after = Some(Vec::new()),
                ([Token::Sign("...")], Some(_)) => {
                    return Err(Malformed::new("Only one ... can be in a filter pattern"));
                }
                (part, Some(after)) => after.push(field(part)?),
                (part, None) => fields.before.push(field(part)?),
            }
        }
        Ok(fields)
    }

    pub fn matches(&self, message: &str) -> bool {
        let words = words(message);
        let all = |fields: &[Field], words: &[String]| {
            fields.iter().zip(words).all(|(field, word)| holds(field, word))
        };
        let before = self.before.len();
        match &self.after {
            None => words.len() == before && all(&self.before, &words),
            Some(after) => {
                words.len() >= before + after.len()
                    && all(&self.before, &words)
                    && all(after, &words[words.len() - after.len()..])
            }
        }
    }
}

fn field(part: &[Token]) -> Result<Field, Malformed> {
    match part {
        [] => Ok(None),
        [Token::Word(_)] => Ok(None),
        part => Parser::new(part, |name| Ok(name.to_owned())).whole().map(Some),
    }
}

fn holds(field: &Field, word: &str) -> bool {
    let value = Value::String(word.to_owned());
    let judge = |_: &String, test: &super::condition::Test| test.judge(Some(&value));
    field.as_ref().is_none_or(|expression| expression.holds(&judge))
}

fn words(message: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = message.trim_start();
    while let Some(first) = rest.chars().next() {
        let close = match first {
            '"' => Some('"'),
            '[' => Some(']'),
            _ => None,
        };
        let closed = close.and_then(|close| rest[1..].split_once(close));
        let (word, after) = match closed {
            Some(found) => found,
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}
