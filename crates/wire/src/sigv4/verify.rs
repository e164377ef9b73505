//! The second step: whether the claim is true, now, here, for this body. What depends on the clock
//! and on the caller's terms comes first, as it says nothing about the secret.

use super::canonical::{self, PathStyle};
use super::claim::Claim;
use super::fault::SignatureFault;
use super::keys::SigningKey;
use super::{CONTENT_SHA256_HEADER, UNSIGNED_PAYLOAD, moment};
use crate::limits::CLOCK_SKEW_SECONDS_MAX;
use crate::{RequestParts, Timestamp};

/// The terms on which signatures are accepted.
#[derive(Clone, Copy, Debug)]
pub struct Accepted<'a> {
    /// None accepts any.
    pub regions: Option<&'a [&'a str]>,
    /// Signing names; none accepts any.
    pub services: Option<&'a [&'a str]>,
    pub path_style: PathStyle,
    /// Whether a request may leave its body out of the signature.
    pub unsigned_payload: bool,
}

/// A request that is from whom it says it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Whether the body was under the signature too.
    pub payload_signed: bool,
}

impl Claim {
    /// Checks the claim against the request it was parsed from.
    pub fn verify(
        &self,
        parts: &RequestParts<'_>,
        body: &[u8],
        key: &SigningKey,
        now: Timestamp,
        accepted: &Accepted<'_>,
    ) -> Result<Verified, SignatureFault> {
        self.check_scope(accepted)?;
        self.check_time(now.unix_ms.div_euclid(1000))?;
        let payload_hash = self.payload_hash(parts, body, accepted)?;
        let skip = self.is_presigned().then_some("X-Amz-Signature");
        let style = accepted.path_style;
        let request = canonical::request(parts, style, &self.signed_headers, skip, &payload_hash);
        let text = canonical::string_to_sign(&self.moment, &self.scope.text(), &request);
        if !key.is_signature(&text, &self.signature) {
            return Err(SignatureFault::Mismatch);
        }
        Ok(Verified { payload_signed: payload_hash != UNSIGNED_PAYLOAD })
    }

    fn check_scope(&self, accepted: &Accepted<'_>) -> Result<(), SignatureFault> {
        let region = self.scope.region.as_str();
        if accepted.regions.is_some_and(|regions| !regions.contains(&region)) {
            let text = "Credential should be scoped to a valid region.";
            return Err(SignatureFault::Scope(text.to_owned()));
        }
        let service = self.scope.service.as_str();
        if let Some(services) = accepted.services
            && !services.contains(&service)
        {
            let named = services.join("', '");
            return Err(SignatureFault::Scope(format!(
                "Credential should be scoped to correct service: '{named}'."
            )));
        }
        Ok(())
    }

    fn check_time(&self, now_unix_s: i64) -> Result<(), SignatureFault> {
        let signed = self.signed_at_unix_s;
        let basic = moment::basic;
        let latest = now_unix_s + CLOCK_SKEW_SECONDS_MAX;
        if signed > latest {
            return Err(SignatureFault::NotYetCurrent(format!(
                "Signature not yet current: {} is still later than {} ({} + {} min.)",
                basic(signed),
                basic(latest),
                basic(now_unix_s),
                CLOCK_SKEW_SECONDS_MAX / 60
            )));
        }
        if let Some(expires_seconds) = self.expires_seconds {
            let end = signed + expires_seconds;
            if now_unix_s > end {
                return Err(SignatureFault::Expired(format!(
                    "Signature expired: {} is now earlier than {}",
                    basic(end),
                    basic(now_unix_s)
                )));
            }
            return Ok(());
        }
        let earliest = now_unix_s - CLOCK_SKEW_SECONDS_MAX;
        if signed < earliest {
            return Err(SignatureFault::Expired(format!(
                "Signature expired: {} is now earlier than {} ({} - {} min.)",
                basic(signed),
                basic(earliest),
                basic(now_unix_s),
                CLOCK_SKEW_SECONDS_MAX / 60
            )));
        }
        Ok(())
    }

    /// The body's hash as it stands in the canonical request. What the header claims of the body
    /// must be true of it.
    fn payload_hash(
        &self,
        parts: &RequestParts<'_>,
        body: &[u8],
        accepted: &Accepted<'_>,
    ) -> Result<String, SignatureFault> {
        let Some(value) = parts.headers.get(CONTENT_SHA256_HEADER) else {
            // S3's presigned requests leave the body out without saying so.
            let implied = self.is_presigned() && accepted.path_style == PathStyle::AsSent;
            if implied && accepted.unsigned_payload {
                return Ok(UNSIGNED_PAYLOAD.to_owned());
            }
            return Ok(canonical::sha256_hex(body));
        };
        if value == UNSIGNED_PAYLOAD {
            if accepted.unsigned_payload {
                return Ok(UNSIGNED_PAYLOAD.to_owned());
            }
            let text = "The body must be signed: UNSIGNED-PAYLOAD is not accepted here.";
            return Err(SignatureFault::Incomplete(text.to_owned()));
        }
        let actual = canonical::sha256_hex(body);
        if value.as_bytes() != actual.as_bytes() {
            return Err(SignatureFault::Mismatch);
        }
        Ok(actual)
    }
}
