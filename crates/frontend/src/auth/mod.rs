//! Who calls: every request carries a signature, and it is checked before anything else is believed. An
//! unknown key and a wrong signature are answered alike, so that nobody learns which keys exist.

use crate::context::{Caller, Context};
use crate::fault::Fault;
use wire::RequestParts;

/// A request whose signature holds.
#[derive(Debug)]
pub struct Signed {
    pub caller: Caller,
    /// The service in the signature's scope.
    pub service: String,
}

/// Unsealed secrets of the keys in use.
pub struct Keys {}

impl Keys {
    pub fn new() -> Self {
        Self {}
    }

    pub fn verify(
        &self,
        _cx: &Context,
        _parts: &RequestParts<'_>,
        _body: &[u8],
    ) -> Result<Signed, Fault> {
        Err(Fault::new("MissingAuthenticationTokenException", 403, "Missing Authentication Token"))
    }
}

/// The service that the signature's scope claims, before anything is verified.
pub fn scope_service<'a>(_parts: &RequestParts<'a>) -> Option<&'a str> {
    None
}
