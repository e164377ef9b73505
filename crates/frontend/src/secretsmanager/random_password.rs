//! GetRandomPassword: characters drawn from those that are not excluded, each kind at least once
//! unless told otherwise.

use super::secrets::{invalid_parameter, invalid_request};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::Sensitive;
use wire::secretsmanager::{GetRandomPasswordRequest, GetRandomPasswordResponse};

const LENGTH_DEFAULT: i64 = 32;
const LENGTH_MAX: i64 = 4096;
/// Source: API reference, GetRandomPassword (ExcludePunctuation).
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

pub async fn get_random_password(
    cx: &Context,
    _caller: &Caller,
    input: GetRandomPasswordRequest,
) -> Result<GetRandomPasswordResponse, Fault> {
    let length = input.password_length.unwrap_or(LENGTH_DEFAULT);
    if !(1..=LENGTH_MAX).contains(&length) {
        return Err(invalid_parameter(format!(
            "PasswordLength must be between 1 and {LENGTH_MAX}."
        )));
    }
    let length = usize::try_from(length).expect("it was just checked");
    let is = |flag: Option<bool>| flag.unwrap_or(false);
    let excluded = input.exclude_characters.unwrap_or_default();
    let kinds = [
        ("abcdefghijklmnopqrstuvwxyz", !is(input.exclude_lowercase)),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", !is(input.exclude_uppercase)),
        ("0123456789", !is(input.exclude_numbers)),
        (PUNCTUATION, !is(input.exclude_punctuation)),
        (" ", is(input.include_space)),
    ];
    let kinds = kinds.iter().filter(|(_, included)| *included);
    let kinds = kinds.map(|(all, _)| all.chars().filter(|c| !excluded.contains(*c)));
    let kinds: Vec<Vec<char>> =
        kinds.map(Iterator::collect).filter(|kind: &Vec<char>| !kind.is_empty()).collect();
    if kinds.is_empty() {
        return Err(invalid_request("No characters are left to make a password of."));
    }
    let each = input.require_each_included_type.unwrap_or(true);
    if each && length < kinds.len() {
        return Err(invalid_parameter("PasswordLength is too short for each included type."));
    }
    let below = |n: usize| {
        // Of 128 bits the remainder favours nobody by more than 2^-115.
        let drawn = cx.random() % u128::try_from(n).expect("few");
        usize::try_from(drawn).expect("below n")
    };
    let all: Vec<char> = kinds.iter().flatten().copied().collect();
    let mut password: Vec<char> = match each {
        true => kinds.iter().map(|kind| kind[below(kind.len())]).collect(),
        false => Vec::new(),
    };
    while password.len() < length {
        password.push(all[below(all.len())]);
    }
    // The first ones are one of each kind; where they stand must not be known.
    for at in (1..password.len()).rev() {
        password.swap(at, below(at + 1));
    }
    let password: String = password.into_iter().collect();
    Ok(GetRandomPasswordResponse { random_password: Some(Sensitive::new(password)) })
}
