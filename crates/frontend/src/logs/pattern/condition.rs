//! Conditions joined by `&&`, `||` and parentheses, over subjects that differ by form: selectors
//! into JSON, or the names of words.

use super::Malformed;
use super::lexer::Token;
use regex_lite::Regex;
use serde_json::Value;

/// `S` says what a condition is about.
#[derive(Debug)]
pub enum Expression<S> {
    Any(Vec<Expression<S>>),
    All(Vec<Expression<S>>),
    Is(S, Test),
}

#[derive(Debug)]
pub enum Test {
    Compare(Operator, Operand),
    Null,
    Bool(bool),
    Exists,
    NotExists,
}

#[derive(Clone, Copy, Debug)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a value is compared with.
#[derive(Debug)]
pub enum Operand {
    /// As a number, and as it was written.
    Number(f64, String),
    /// `*` stands for any text.
    Text(String),
    Regex(Regex),
}

impl<S> Expression<S> {
    /// Whether it holds, given how a single condition is judged.
    pub fn holds(&self, judge: &impl Fn(&S, &Test) -> bool) -> bool {
        match self {
            Self::Any(all) => all.iter().any(|one| one.holds(judge)),
            Self::All(all) => all.iter().all(|one| one.holds(judge)),
            Self::Is(subject, test) => judge(subject, test),
        }
    }
}

/// Reads expressions off a list of tokens.
pub struct Parser<'a, S> {
    tokens: &'a [Token],
    subject: fn(&str) -> Result<S, Malformed>,
}

impl<'a, S> Parser<'a, S> {
    pub fn new(tokens: &'a [Token], subject: fn(&str) -> Result<S, Malformed>) -> Self {
        Self { tokens, subject }
    }

    /// The whole list as one expression.
    pub fn whole(mut self) -> Result<Expression<S>, Malformed> {
        let expression = self.any()?;
        match self.tokens.first() {
            None => Ok(expression),
            Some(token) => Err(unexpected(Some(token))),
        }
    }

    fn any(&mut self) -> Result<Expression<S>, Malformed> {
        let mut all = vec![self.all()?];
        while self.take(&Token::Or) {
            all.push(self.all()?);
        }
        Ok(Expression::Any(all))
    }

    fn all(&mut self) -> Result<Expression<S>, Malformed> {
        let mut all = vec![self.one()?];
        while self.take(&Token::And) {
            all.push(self.one()?);
        }
        Ok(Expression::All(all))
    }

    fn one(&mut self) -> Result<Expression<S>, Malformed> {
        if self.take(&Token::Sign("(")) {
            let inner = self.any()?;
            return match self.take(&Token::Sign(")")) {
                true => Ok(inner),
                false => Err(unexpected(self.tokens.first())),
            };
        }
        match self.next() {
            Some(Token::Word(word)) => {
                let subject = (self.subject)(word)?;
                Ok(Expression::Is(subject, self.test()?))
            }
            other => Err(unexpected(other)),
        }
    }

    fn test(&mut self) -> Result<Test, Malformed> {
        match self.next() {
            Some(Token::Operator(operator)) => {
                let operand = self.operand()?;
                Test::compare(operator, operand)
            }
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("IS") => match self.next() {
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("NULL") => Ok(Test::Null),
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("TRUE") => {
                    Ok(Test::Bool(true))
                }
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("FALSE") => {
                    Ok(Test::Bool(false))
                }
                other => Err(unexpected(other)),
            },
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("EXISTS") => Ok(Test::Exists),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("NOT") => match self.next() {
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("EXISTS") => {
                    Ok(Test::NotExists)
                }
                other => Err(unexpected(other)),
            },
            other => Err(unexpected(other)),
        }
    }

    fn operand(&mut self) -> Result<Operand, Malformed> {
        match self.next() {
            Some(Token::Quoted(text)) => Ok(Operand::Text(text.clone())),
            Some(Token::Regex(text)) => regex(text).map(Operand::Regex),
            Some(Token::Word(word)) => Ok(match word.parse::<f64>() {
                Ok(number) if number.is_finite() => Operand::Number(number, word.clone()),
                _ => Operand::Text(word.clone()),
            }),
            other => Err(unexpected(other)),
        }
    }

    fn next(&mut self) -> Option<&'a Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first)
    }

    fn take(&mut self, token: &Token) -> bool {
        let found = self.tokens.first() == Some(token);
        if found {
            self.tokens = &self.tokens[1..];
        }
        found
    }
}

pub fn regex(text: &str) -> Result<Regex, Malformed> {
    Regex::new(text).map_err(|_| Malformed::new(format!("Invalid regular expression '{text}'")))
}

fn unexpected(token: Option<&Token>) -> Malformed {
    match token {
        None => Malformed::new("The filter pattern ends too early"),
        Some(Token::Sign(text) | Token::Operator(text)) => {
            Malformed::new(format!("Unexpected {text} in filter pattern"))
        }
        Some(Token::Quoted(text) | Token::Regex(text) | Token::Word(text)) => {
            Malformed::new(format!("Unexpected {text} in filter pattern"))
        }
        Some(Token::And) => Malformed::new("Unexpected && in filter pattern"),
        Some(Token::Or) => Malformed::new("Unexpected || in filter pattern"),
    }
}

impl Test {
    /// Only numbers have an order.
    fn compare(operator: &str, operand: Operand) -> Result<Self, Malformed> {
        let operator = match operator {
            "=" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            _ => Operator::GreaterOrEqual,
        };
        let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        match operand {
            Operand::Number(..) => Ok(Self::Compare(operator, operand)),
            Operand::Text(_) | Operand::Regex(_) if equality => {
                Ok(Self::Compare(operator, operand))
            }
            Operand::Text(_) | Operand::Regex(_) => {
                Err(Malformed::new("Only numbers can be compared by < and >"))
            }
        }
    }

    /// Judges a value that may be missing. A comparison never holds for what is missing.
    pub fn judge(&self, value: Option<&Value>) -> bool {
        match self {
            Self::Exists => value.is_some(),
            Self::NotExists => value.is_none(),
            Self::Null => value.is_some_and(Value::is_null),
            Self::Bool(wanted) => value.and_then(Value::as_bool) == Some(*wanted),
            Self::Compare(operator, operand) => {
                value.is_some_and(|value| compare(value, *operator, operand))
            }
        }
    }
}

fn compare(value: &Value, operator: Operator, operand: &Operand) -> bool {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return false,
    };
    let (number, written) = match operand {
        Operand::Number(number, written) => (*number, written),
        Operand::Text(pattern) => return matches_wildcards(pattern, &text) == operator.is_equal(),
        Operand::Regex(regex) => return regex.is_match(&text) == operator.is_equal(),
    };
    let Some(found) = value.as_f64().or_else(|| text.parse().ok()) else {
        // A word is no number: it can only differ.
        return matches!(operator, Operator::NotEqual) && text != *written;
    };
    match operator {
        Operator::Equal => found == number,
        Operator::NotEqual => found != number,
        Operator::Less => found < number,
        Operator::LessOrEqual => found <= number,
        Operator::Greater => found > number,
        Operator::GreaterOrEqual => found >= number,
    }
}

impl Operator {
    fn is_equal(self) -> bool {
        matches!(self, Self::Equal)
    }
}

/// Whether the text is what the pattern says, `*` standing for any text.
fn matches_wildcards(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
