//! AWS Signature Version 4, both ways: checking what clients send, and signing for our own CLI,
//! tests and benchmarks. A signature is an HMAC over a canonical text of the request; everything
//! that makes two requests different must make the texts different, and everything a proxy may
//! change must not. Pure: the moment is an argument, and keys are looked up by the caller between
//! the two steps `parse` (who says they are calling?) and `Claim::verify` (is it true?).

pub(crate) mod canonical;
mod claim;
mod fault;
mod keys;
mod moment;
mod sign;
mod verify;

pub use canonical::PathStyle;
pub use claim::{Claim, Scope, parse};
pub use fault::SignatureFault;
pub use keys::{SecretKey, SigningKey, SigningKeys};
pub use sign::Signer;
pub use verify::{Accepted, Verified};

pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
pub(crate) const TERMINATOR: &str = "aws4_request";
pub(crate) const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
pub(crate) const DATE_HEADER: &str = "x-amz-date";
pub(crate) const TOKEN_HEADER: &str = "x-amz-security-token";
pub(crate) const CONTENT_SHA256_HEADER: &str = "x-amz-content-sha256";
