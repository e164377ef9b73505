//! Takes the structured forms of patterns apart into words and signs.

use super::Malformed;

#[derive(Clone, PartialEq, Debug)]
pub enum Token {
    /// `( ) [ ] { } , ...`
    Sign(&'static str),
    And,
    Or,
    /// `= != < <= > >=`
    Operator(&'static str),
    /// In double quotes.
    Quoted(String),
    /// Between percent signs.
    Regex(String),
    /// Anything else, up to a blank or a sign. What begins with `$` keeps its brackets: it is a
    /// selector.
    Word(String),
}

const SIGNS: [&str; 7] = ["...", "(", ")", "{", "}", "[", "]"];
const OPERATORS: [&str; 6] = ["!=", "<=", ">=", "=", "<", ">"];

pub fn tokens(text: &str) -> Result<Vec<Token>, Malformed> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '"' => delimited(rest, '"').map(|(word, after)| (Token::Quoted(word), after))?,
            '%' => delimited(rest, '%').map(|(word, after)| (Token::Regex(word), after))?,
            '$' => selector(rest)?,
            _ => sign_or_word(rest)?,
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

/// What stands between two marks; a backslash keeps the mark after it.
pub fn delimited(text: &str, mark: char) -> Result<(String, &str), Malformed> {
    let mut word = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, next)) if next == mark || (mark == '"' && next == '\\') => word.push(next),
                // The backslash belongs to a regular expression, or to nothing special.
                Some((_, next)) => word.extend(['\\', next]),
                None => break,
            },
            c if c == mark => return Ok((word, &text[at + c.len_utf8()..])),
            c => word.push(c),
        }
    }
    Err(Malformed::new(format!("Unmatched {mark} in filter pattern")))
}

fn selector(text: &str) -> Result<(Token, &str), Malformed> {
    let mut in_brackets = false;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if in_brackets => quote = Some(c),
            (None, '[') => in_brackets = true,
            (None, ']') if in_brackets => in_brackets = false,
            (None, c) if !in_brackets && ends_word(c) => {
                return Ok((Token::Word(text[..at].to_owned()), &text[at..]));
            }
            (None, _) => {}
        }
    }
    match in_brackets {
        true => Err(Malformed::new("Unmatched [ in filter pattern")),
        false => Ok((Token::Word(text.to_owned()), "")),
    }
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || "()[]{},=!<>&|\"".contains(c)
}

fn sign_or_word(text: &str) -> Result<(Token, &str), Malformed> {
    let starting = |signs: &[&'static str]| signs.iter().copied().find(|s| text.starts_with(s));
    if let Some(sign) = starting(&SIGNS).or(starting(&[","])) {
        return Ok((Token::Sign(sign), &text[sign.len()..]));
    }
    if let Some(operator) = starting(&OPERATORS) {
        return Ok((Token::Operator(operator), &text[operator.len()..]));
    }
    for (sign, token) in [("&&", Token::And), ("||", Token::Or)] {
        if let Some(after) = text.strip_prefix(sign) {
            return Ok((token, after));
        }
    }
    match text.find(ends_word).unwrap_or(text.len()) {
        0 => {
            let first = text.chars().next().unwrap_or_default();
            Err(Malformed::new(format!("Unexpected {first} in filter pattern")))
        }
        end => Ok((Token::Word(text[..end].to_owned()), &text[end..])),
    }
}
