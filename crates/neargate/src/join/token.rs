//! The token that an operator carries from the control plane to a machine: which token it is, the
//! secret that proves it, and the fingerprint of the control plane's authority, so that the machine
//! knows whom it talks to before it says the secret.

use super::unhex;
use crate::world::Random;
use model::credentials::Hidden;
use std::fmt;
use std::str::FromStr;

const PREFIX: &str = "ng1";
const ID_CHARACTERS: usize = 12;
const SECRET_CHARACTERS: usize = 32;
const FINGERPRINT_CHARACTERS: usize = 64;

#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    pub id: String,
    pub secret: Hidden,
    /// SHA-256 of the authority's certificate.
    pub authority: String,
}

impl Token {
    pub fn mint(random: &Random, authority: &str) -> Self {
        let draw = |characters: usize| format!("{:032x}", random())[..characters].to_owned();
        let (id, secret) = (draw(ID_CHARACTERS), Hidden::new(draw(SECRET_CHARACTERS)));
        Self { id, secret, authority: authority.to_owned() }
    }

    /// The whole token, for the operator.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}.{}.{}.{}", self.id, self.secret.expose(), self.authority)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, …)", self.id)
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let lengths = [ID_CHARACTERS, SECRET_CHARACTERS, FINGERPRINT_CHARACTERS];
        match parts[..] {
            [PREFIX, id, secret, authority]
                if [id, secret, authority].map(str::len) == lengths
                    && [id, secret, authority].iter().all(|part| unhex(part).is_some()) =>
            {
                let secret = Hidden::new(secret);
                Ok(Self { id: id.to_owned(), secret, authority: authority.to_owned() })
            }
            _ => Err("that is no token, or not all of one: `neargate token` prints one".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_written_and_in_no_debug_text() {
        let made = Token::mint(&crate::world::random(), &"ab".repeat(32));
        let text = made.reveal();
        assert_eq!(text.parse::<Token>(), Ok(made.clone()));
        assert!(!format!("{made:?}").contains(made.secret.expose()));
        let cut = &text[..text.len() - 1];
        for bad in ["", "ng1", cut, &text.replacen("ng1", "ng2", 1), &text.replace("ab", "+b")] {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
    }
}
