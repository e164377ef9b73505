//! Tokens of lists that are not ECS's: where the next page begins, bound to the request it belongs
//! to. A token that is not ours, or of another request, opens to nothing; each service words that
//! in its own way.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{Context, SHA256};

/// Bytes of the request's fingerprint in a token: enough that a mix-up never goes unnoticed.
const BINDING_BYTES: usize = 8;
/// Bytes of a token; ours hold a name or two.
const TOKEN_BYTES_MAX: usize = 4096;

/// Makes and opens the tokens of one request.
pub struct Cursor {
    binding: [u8; BINDING_BYTES],
}

impl Cursor {
    /// `request` is all that decides what is in the list, the operation's name first.
    pub fn new(request: &[&str]) -> Self {
        let mut context = Context::new(&SHA256);
        for part in request {
            // The length in front keeps neighbours from running into each other.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut binding = [0; BINDING_BYTES];
        binding.copy_from_slice(&context.finish().as_ref()[..BINDING_BYTES]);
        Self { binding }
    }

    pub fn seal(&self, last: &str) -> String {
        let mut bytes = self.binding.to_vec();
        bytes.extend_from_slice(last.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn open(&self, token: &str) -> Option<String> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let last = bytes.strip_prefix(&self.binding)?;
        String::from_utf8(last.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_for_its_request() {
        let cursor = Cursor::new(&["List", "a"]);
        let token = cursor.seal("last");
        assert_eq!(cursor.open(&token).as_deref(), Some("last"));
        for other in [&["List", "b"][..], &["Lista", ""], &["List"]] {
            assert_eq!(Cursor::new(other).open(&token), None);
        }
        for nonsense in ["", "x", "&&&", &token[1..]] {
            assert_eq!(cursor.open(nonsense), None, "{nonsense}");
        }
    }
}
