//! ImportCertificate: PEM of a certificate, its key and its chain, checked to belong together.
//! Source: ACM user guide, "Prerequisites for importing certificates".

use super::keys::{self, Wrong};
use super::x509::X509;
use super::{find, pem, tags, validation};
use crate::context::{Caller, Context};
use crate::elbv2;
use crate::fault::{self, Fault};
use model::Timestamp;
use model::balancing::Certificate;
use store::secret::Secret;
use wire::acm::{ErrorCode, ImportCertificateRequest, ImportCertificateResponse};

/// Certificates of an account. Source: ACM user guide, quotas (imported certificates).
const CERTIFICATES_MAX: usize = 2500;
/// Certificates of one chain, and bytes of it: a record has to fit a transaction.
const CHAIN_MAX: usize = 10;
const CHAIN_BYTES_MAX: usize = 128 * 1024;

/// What a call brings, checked.
pub struct Brought {
    pub chain_pem: String,
    pub key_pem: String,
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
}

pub async fn import(
    cx: &Context,
    _caller: &Caller,
    input: ImportCertificateRequest,
) -> Result<ImportCertificateResponse, Fault> {
    let text = |blob: Option<wire::Blob>| {
        let bytes = blob.map(|blob| blob.0).unwrap_or_default();
        String::from_utf8(bytes).map_err(|_| validation("The certificate is not valid PEM."))
    };
    let (certificate, key) = (text(input.certificate)?, text(input.private_key)?);
    let chain = text(input.certificate_chain)?;
    let brought = check(&certificate, &key, &chain, cx.now())?;
    if input.certificate_arn.is_some() && input.tags.is_some() {
        let text = "You cannot apply tags when you reimport a certificate.";
        return Err(validation(text));
    }
    let tags = tags::RULES.read(input.tags)?;
    let id = model::uuid(cx.random());
    let arn = elbv2::change(cx, |txn| {
        let snapshot = txn.snapshot().clone();
        let before = match input.certificate_arn.as_deref() {
            None => None,
            Some(arn) => Some(find(cx, &snapshot, arn)?),
        };
        let count = snapshot.scan::<Certificate>("").count();
        if before.is_none() && count >= CERTIFICATES_MAX {
            let text = "The maximum number of certificates has been reached.";
            return Err(ErrorCode::LimitExceededException.fault(text));
        }
        let new_arn = || cx.locality.arn("acm", &format!("certificate/{id}"));
        let mut made = Certificate {
            arn: before.as_ref().map_or_else(new_arn, |it| it.arn.clone()),
            chain_pem: brought.chain_pem.clone(),
            sealed_key: String::new(),
            names: brought.names.clone(),
            not_before: brought.not_before,
            not_after: brought.not_after,
            created_at: before.as_ref().map_or_else(|| cx.now(), |it| it.created_at),
            tags: before.as_ref().map_or_else(|| tags.clone(), |it| it.tags.clone()),
        };
        let secret = Secret::new(brought.key_pem.clone());
        let sealed = cx.sealer.seal(&made.seal_context(), &secret).map_err(|failure| {
            tracing::error!(%failure, "a certificate's key can't be sealed");
            fault::internal(wire::Protocol::AwsJson11)
        })?;
        made.sealed_key = sealed.to_hex();
        let arn = made.arn.clone();
        txn.put(made);
        Ok(arn)
    })
    .await?;
    Ok(ImportCertificateResponse { certificate_arn: Some(arn) })
}

/// Whether the three belong together, now.
pub fn check(certificate: &str, key: &str, chain: &str, now: Timestamp) -> Result<Brought, Fault> {
    let not_pem = || validation("The certificate is not valid PEM.");
    let leaf = pem::read(certificate).ok_or_else(not_pem)?;
    let [leaf] = leaf.as_slice() else {
        return Err(validation(match leaf.is_empty() {
            true => "The certificate is not valid PEM.",
            false => {
                "The certificate field contains more than one certificate. You can specify only \
                 one certificate in this field."
            }
        }));
    };
    let chain =
        pem::read(chain).ok_or_else(|| validation("The certificate chain is not valid PEM."))?;
    let bytes: usize = chain.iter().map(|it| it.bytes.len()).sum();
    if chain.len() > CHAIN_MAX || bytes > CHAIN_BYTES_MAX {
        return Err(validation("The certificate chain is too long."));
    }
    let unknown = || {
        validation(
            "The certificate can't be read, or its key is neither RSA nor on one of the curves \
             P-256, P-384 and P-521.",
        )
    };
    let all = std::iter::once(leaf).chain(&chain);
    let parsed: Option<Vec<X509<'_>>> = all
        .clone()
        .map(|it| X509::parse(&it.bytes).filter(|_| it.label == "CERTIFICATE"))
        .collect();
    let parsed = parsed.ok_or_else(unknown)?;
    let first = &parsed[0];
    if first.not_after <= now || first.not_before > now {
        return Err(validation("The certificate is not valid at the time of import."));
    }
    if !parsed.windows(2).all(|pair| pair[0].is_signed_by(&pair[1])) {
        return Err(validation("Could not validate the certificate with the certificate chain."));
    }
    let key_pem = keys::check(key, first).map_err(|wrong| {
        validation(match wrong {
            Wrong::Unreadable => "The private key is not valid PEM of an unencrypted private key.",
            Wrong::Unsupported => {
                "Neargate serves with RSA keys of 2048 to 8192 bits and with keys on the curves \
                 P-256 and P-384."
            }
            Wrong::Other => "The private key does not match the public key of the certificate.",
        })
    })?;
    Ok(Brought {
        chain_pem: all.map(|it| pem::write("CERTIFICATE", &it.bytes)).collect(),
        key_pem,
        names: first.names(),
        not_before: first.not_before,
        not_after: first.not_after,
    })
}
