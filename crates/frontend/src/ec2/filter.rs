//! Filters of describe calls. All filters must hold; a filter holds when one of its values matches
//! one of the resource's. `*` stands for any text, `?` for one character, `\` takes a character as
//! it is. Source: EC2 API reference, Filter.
//!
//! An operation lists the filters it knows as columns over the very shape it answers with, so what
//! a filter sees is what the client sees.

use crate::fault::Fault;
use wire::ec2::{Filter, Tag};

/// A filter's name and where its values are in the answer.
pub type Column<T> = (&'static str, fn(&T) -> Vec<String>);

/// The value of a column that is one optional text.
pub fn text(value: &Option<String>) -> Vec<String> {
    value.iter().cloned().collect()
}

/// The value of a column that has another printed form.
pub fn shown<V: ToString>(value: &Option<V>) -> Vec<String> {
    value.iter().map(ToString::to_string).collect()
}

/// The values of a column within a list.
pub fn each<V>(list: &Option<Vec<V>>, value: impl Fn(&V) -> Option<String>) -> Vec<String> {
    list.iter().flatten().filter_map(value).collect()
}

/// A filter that can be applied.
enum Test<'a, T> {
    Column(fn(&T) -> Vec<String>),
    TagKey,
    TagValue,
    Tag(&'a str),
}

/// Keeps what passes all filters. `tags` of None: the resource has none, nor filters for them.
pub fn select<T>(
    items: Vec<T>,
    filters: Option<&[Filter]>,
    columns: &[Column<T>],
    tags: Option<fn(&T) -> &Option<Vec<Tag>>>,
) -> Result<Vec<T>, Fault> {
    let mut tests = Vec::new();
    for filter in filters.unwrap_or_default() {
        let name = filter.name.as_deref().unwrap_or("null");
        let column = columns.iter().find(|(column, _)| *column == name);
        let test = match (column, name) {
            (Some((_, value)), _) => Test::Column(*value),
            (None, "tag-key") if tags.is_some() => Test::TagKey,
            (None, "tag-value") if tags.is_some() => Test::TagValue,
            (None, _) => match name.strip_prefix("tag:").filter(|_| tags.is_some()) {
                Some(key) => Test::Tag(key),
                None => return Err(unknown(name)),
            },
        };
        tests.push((test, filter.values.as_deref().unwrap_or_default()));
    }
    let passes = |item: &T| {
        tests.iter().all(|(test, wanted)| {
            let values = match test {
                Test::Column(value) => value(item),
                Test::TagKey => tag_texts(item, tags, |tag| tag.key.clone()),
                Test::TagValue => tag_texts(item, tags, |tag| tag.value.clone()),
                Test::Tag(key) => tag_texts(item, tags, |tag| {
                    tag.value.clone().filter(|_| tag.key.as_deref() == Some(*key))
                }),
            };
            values.iter().any(|value| wanted.iter().any(|wanted| matches(wanted, value)))
        })
    };
    Ok(items.into_iter().filter(passes).collect())
}

fn tag_texts<T>(
    item: &T,
    tags: Option<fn(&T) -> &Option<Vec<Tag>>>,
    text: impl Fn(&Tag) -> Option<String>,
) -> Vec<String> {
    tags.map(|tags| each(tags(item), text)).unwrap_or_default()
}

fn unknown(name: &str) -> Fault {
    Fault::client("InvalidParameterValue", format!("The filter '{name}' is invalid"))
}

/// Whether the pattern stands for the whole text. Case counts.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern = tokens(pattern);
    let text: Vec<char> = text.chars().collect();
    // Greedy with one way back: after a mismatch the last star takes one more character.
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Token::Any) => {
                star = Some((p, t));
                p += 1;
            }
            Some(token) if token.takes(text[t]) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|token| matches!(token, Token::Any))
}

enum Token {
    Any,
    One,
    Literal(char),
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Literal(literal) => *literal == c,
        }
    }
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut chars = pattern.chars();
    let mut tokens = Vec::new();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Any,
            '?' => Token::One,
            '\\' => Token::Literal(chars.next().unwrap_or('\\')),
            c => Token::Literal(c),
        });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::ec2::Vpc;

    #[test]
    fn wildcards_match_as_ec2_says() {
        for (pattern, text, expected) in [
            ("web", "web", true),
            ("web", "Web", false),
            ("web*", "web-1", true),
            ("*-1", "web-1", true),
            ("w*b*1", "web-b-1", true),
            ("w?b", "web", true),
            ("w?b", "wb", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*a*b*c*", "xxaxxbxx", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn all_filters_must_hold_and_unknown_ones_are_refused() {
        let tag = |key: &str, value: &str| Tag {
            key: Some(key.to_owned()),
            value: Some(value.to_owned()),
        };
        let vpc = |id: &str, tags: Vec<Tag>| Vpc {
            vpc_id: Some(id.to_owned()),
            tags: Some(tags),
            ..Vpc::default()
        };
        let all = vec![
            vpc("vpc-1", vec![tag("env", "prod"), tag("team", "a")]),
            vpc("vpc-2", vec![tag("env", "dev")]),
            vpc("vpc-3", vec![]),
        ];
        let columns: &[Column<Vpc>] = &[("vpc-id", |vpc| text(&vpc.vpc_id))];
        let find = |filters: &[(&str, &[&str])]| {
            let filters: Vec<_> = filters
                .iter()
                .map(|(name, values)| Filter {
                    name: Some((*name).to_owned()),
                    values: Some(values.iter().map(ToString::to_string).collect()),
                })
                .collect();
            let found = select(all.clone(), Some(&filters), columns, Some(|vpc| &vpc.tags));
            found.map(|found| found.into_iter().filter_map(|vpc| vpc.vpc_id).collect::<Vec<_>>())
        };
        assert_eq!(find(&[]).expect("valid"), ["vpc-1", "vpc-2", "vpc-3"]);
        assert_eq!(find(&[("vpc-id", &["vpc-3", "vpc-2"])]).expect("valid"), ["vpc-2", "vpc-3"]);
        assert_eq!(find(&[("tag:env", &["*"])]).expect("valid"), ["vpc-1", "vpc-2"]);
        assert_eq!(find(&[("tag:env", &["d*"]), ("vpc-id", &["*"])]).expect("valid"), ["vpc-2"]);
        assert_eq!(find(&[("tag-key", &["team"])]).expect("valid"), ["vpc-1"]);
        assert!(find(&[("tag-value", &["team"])]).expect("valid").is_empty());
        assert!(find(&[("vpc-id", &[])]).expect("valid").is_empty());
        let fault = find(&[("colour", &["red"])]).expect_err("unknown");
        assert_eq!(fault.code, "InvalidParameterValue");
        assert_eq!(fault.message, "The filter 'colour' is invalid");
    }
}
