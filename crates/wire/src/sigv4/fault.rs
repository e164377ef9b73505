//! Why a signature was refused, and how AWS says so. The JSON services answer 400 with names that
//! end in "Exception"; the query services 403 with other names; EC2 has names of its own and 401.
//! Sources: ECR's `UnrecognizedClientException` with 400 (aws-sdk-php issue 1114), ECS's
//! `InvalidSignatureException` with 400 (prometheus-ecs-discovery issue 7), EC2's `AuthFailure`
//! with 401 (terraform issue 17273).

use crate::{Fault, Protocol};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    #[error("the request is not signed")]
    Missing,
    /// What was sent is no signature: a part is missing, doubled or malformed.
    #[error("incomplete signature: {0}")]
    Incomplete(String),
    /// The scope is not one that we accept.
    #[error("wrong scope: {0}")]
    Scope(String),
    #[error("signature does not match")]
    Mismatch,
    /// Signed too long ago, or a presigned URL beyond its time.
    #[error("expired: {0}")]
    Expired(String),
    #[error("signed in the future: {0}")]
    NotYetCurrent(String),
    /// There is no such access key, or it is inactive.
    #[error("unknown access key")]
    UnknownKey,
    /// The session token is not one of the access key's.
    #[error("invalid session token")]
    InvalidToken,
    #[error("expired session token")]
    ExpiredToken,
    /// The signature holds, but the caller may not.
    #[error("access denied: {0}")]
    AccessDenied(String),
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you \
    provided. Check your AWS Secret Access Key and signing method. Consult the service \
    documentation for details.";
const INVALID_TOKEN: &str = "The security token included in the request is invalid.";
const EXPIRED_TOKEN: &str = "The security token included in the request is expired";
const MISSING: &str = "Request is missing Authentication Token";
const EC2_NOT_VALIDATED: &str = "AWS was not able to validate the provided access credentials";
const EC2_EXPIRED: &str = "Request has expired.";

impl SignatureFault {
    pub fn into_fault(self, protocol: Protocol) -> Fault {
        match protocol {
            Protocol::AwsJson10 | Protocol::AwsJson11 | Protocol::RpcV2Cbor => self.json(),
            Protocol::AwsQuery => self.query(),
            Protocol::Ec2Query => self.ec2(),
        }
    }

    fn json(self) -> Fault {
        let (code, message) = match self {
            SignatureFault::Missing => ("MissingAuthenticationTokenException", MISSING.to_owned()),
            SignatureFault::Incomplete(text) => ("IncompleteSignatureException", text),
            SignatureFault::Mismatch => ("InvalidSignatureException", MISMATCH.to_owned()),
            SignatureFault::Scope(text)
            | SignatureFault::Expired(text)
            | SignatureFault::NotYetCurrent(text) => ("InvalidSignatureException", text),
            SignatureFault::UnknownKey | SignatureFault::InvalidToken => {
                ("UnrecognizedClientException", INVALID_TOKEN.to_owned())
            }
            SignatureFault::ExpiredToken => ("ExpiredTokenException", EXPIRED_TOKEN.to_owned()),
            SignatureFault::AccessDenied(text) => ("AccessDeniedException", text),
        };
        Fault::client(code, message)
    }

    fn query(self) -> Fault {
        let (code, status, message) = match self {
            SignatureFault::Missing => ("MissingAuthenticationToken", 403, MISSING.to_owned()),
            SignatureFault::Incomplete(text) => ("IncompleteSignature", 400, text),
            SignatureFault::Mismatch => ("SignatureDoesNotMatch", 403, MISMATCH.to_owned()),
            SignatureFault::Scope(text)
            | SignatureFault::Expired(text)
            | SignatureFault::NotYetCurrent(text) => ("SignatureDoesNotMatch", 403, text),
            SignatureFault::UnknownKey | SignatureFault::InvalidToken => {
                ("InvalidClientTokenId", 403, INVALID_TOKEN.to_owned())
            }
            SignatureFault::ExpiredToken => ("ExpiredToken", 403, EXPIRED_TOKEN.to_owned()),
            SignatureFault::AccessDenied(text) => ("AccessDenied", 403, text),
        };
        Fault::new(code, status, message)
    }

    fn ec2(self) -> Fault {
        let (code, status, message) = match self {
            SignatureFault::Missing => ("MissingAuthenticationToken", 403, MISSING.to_owned()),
            SignatureFault::Incomplete(text) => ("IncompleteSignature", 400, text),
            SignatureFault::Mismatch
            | SignatureFault::Scope(_)
            | SignatureFault::UnknownKey
            | SignatureFault::InvalidToken => ("AuthFailure", 401, EC2_NOT_VALIDATED.to_owned()),
            SignatureFault::Expired(_)
            | SignatureFault::NotYetCurrent(_)
            | SignatureFault::ExpiredToken => ("RequestExpired", 400, EC2_EXPIRED.to_owned()),
            SignatureFault::AccessDenied(text) => ("UnauthorizedOperation", 403, text),
        };
        Fault::new(code, status, message)
    }
}
