//! Certificates as they are shown, and deleted. What is shown is read out of the certificate
//! itself.

use super::x509::{Key, X509};
use super::{find, pem, validation};
use crate::context::{Caller, Context};
use crate::cursor::{Cursor, page_items};
use crate::elbv2;
use crate::fault::Fault;
use model::Timestamp;
use model::balancing::{Certificate, Listener, LoadBalancer};
use std::collections::BTreeSet;
use store::Snapshot;
use wire::acm::{self, ErrorCode};
use wire::{Choice, NoOutput};

/// Certificates of one page when the caller names no number. Source: API reference (MaxItems).
const PAGE_ITEMS: usize = 1000;

/// The bits of a key usage, in their order. Source: RFC 5280, KeyUsage.
const KEY_USAGES: [&str; 9] = [
    "DIGITAL_SIGNATURE",
    "NON_REPUDIATION",
    "KEY_ENCIPHERMENT",
    "DATA_ENCIPHERMENT",
    "KEY_AGREEMENT",
    "CERTIFICATE_SIGNING",
    "CRL_SIGNING",
    "ENCIPHER_ONLY",
    "DECIPHER_ONLY",
];
const EXTENDED_KEY_USAGES: [(&str, &str); 6] = [
    ("1.3.6.1.5.5.7.3.1", "TLS_WEB_SERVER_AUTHENTICATION"),
    ("1.3.6.1.5.5.7.3.2", "TLS_WEB_CLIENT_AUTHENTICATION"),
    ("1.3.6.1.5.5.7.3.3", "CODE_SIGNING"),
    ("1.3.6.1.5.5.7.3.4", "EMAIL_PROTECTION"),
    ("1.3.6.1.5.5.7.3.8", "TIME_STAMPING"),
    ("1.3.6.1.5.5.7.3.9", "OCSP_SIGNING"),
];

fn time(at: Timestamp) -> Option<wire::Timestamp> {
    Some(wire::Timestamp::from_unix_ms(at.0))
}

fn algorithm(key: Key) -> acm::KeyAlgorithm {
    match key {
        Key::Rsa(bits) => acm::KeyAlgorithm::parse(&format!("RSA_{bits}")),
        Key::P256 => acm::KeyAlgorithm::EcPrime256v1,
        Key::P384 => acm::KeyAlgorithm::EcSecp384r1,
        Key::P521 => acm::KeyAlgorithm::EcSecp521r1,
    }
}

fn status(it: &Certificate, now: Timestamp) -> acm::CertificateStatus {
    match it.not_after <= now {
        true => acm::CertificateStatus::Expired,
        false => acm::CertificateStatus::Issued,
    }
}

/// Key usages by name; one that says nothing may be used for any.
fn key_usages(it: &X509<'_>) -> Vec<acm::KeyUsageName> {
    let Some(bits) = it.key_usage else { return vec![acm::KeyUsageName::Any] };
    let named = KEY_USAGES.iter().enumerate().filter(|(at, _)| bits & (0x8000 >> at) != 0);
    named.map(|(_, name)| acm::KeyUsageName::parse(name)).collect()
}

fn extended_key_usages(it: &X509<'_>) -> Vec<acm::ExtendedKeyUsage> {
    let one = |oid: &String| {
        let known = EXTENDED_KEY_USAGES.iter().find(|(of, _)| of == oid);
        let name = known.map_or("CUSTOM", |(_, name)| name);
        acm::ExtendedKeyUsage {
            name: Some(acm::ExtendedKeyUsageName::parse(name)),
            oid: Some(oid.clone()),
        }
    };
    it.extended_key_usage.iter().map(one).collect()
}

/// The load balancers whose listeners have it.
fn users(cx: &Context, snapshot: &Snapshot, arn: &str) -> Vec<String> {
    let listeners = snapshot.scan::<Listener>("");
    let having = listeners.filter(|(_, it)| it.certificates.iter().any(|of| of == arn));
    let ids: BTreeSet<String> = having.map(|(_, it)| it.load_balancer.to_string()).collect();
    let found = ids.iter().filter_map(|id| snapshot.get::<LoadBalancer>(id));
    found.map(|it| it.arn(&cx.locality)).collect()
}

fn domain(it: &Certificate, parsed: &X509<'_>) -> Option<String> {
    parsed.common_name.clone().or_else(|| it.names.first().cloned())
}

/// The leaf's bytes.
fn leaf(it: &Certificate) -> Vec<u8> {
    let blocks = pem::read(&it.chain_pem).unwrap_or_default();
    blocks.into_iter().next().map(|block| block.bytes).unwrap_or_default()
}

fn parsed(bytes: &[u8]) -> X509<'_> {
    X509::parse(bytes).expect("it was read when it was imported")
}

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: acm::DescribeCertificateRequest,
) -> Result<acm::DescribeCertificateResponse, Fault> {
    let arn = input.certificate_arn.unwrap_or_default();
    let snapshot = cx.store.snapshot();
    let it = find(cx, &snapshot, &arn)?;
    let bytes = leaf(&it);
    let read = parsed(&bytes);
    let serial: Vec<String> = read.serial.iter().map(|byte| format!("{byte:02x}")).collect();
    let usages = key_usages(&read).into_iter();
    let detail = acm::CertificateDetail {
        created_at: time(it.created_at),
        domain_name: domain(&it, &read),
        extended_key_usages: Some(extended_key_usages(&read)),
        imported_at: time(it.created_at),
        in_use_by: Some(users(cx, &snapshot, &arn)),
        issuer: Some(read.issuer.clone()),
        key_algorithm: Some(algorithm(read.key)),
        key_usages: Some(usages.map(|name| acm::KeyUsage { name: Some(name) }).collect()),
        not_after: time(it.not_after),
        not_before: time(it.not_before),
        options: Some(acm::CertificateOptions {
            certificate_transparency_logging_preference: Some(
                acm::CertificateTransparencyLoggingPreference::Disabled,
            ),
            export: None,
        }),
        renewal_eligibility: Some(acm::RenewalEligibility::Ineligible),
        serial: Some(serial.join(":")),
        signature_algorithm: Some(read.algorithm().to_owned()),
        status: Some(status(&it, cx.now())),
        subject: Some(read.subject.clone()),
        subject_alternative_names: Some(it.names.clone()),
        r#type: Some(acm::CertificateType::Imported),
        certificate_arn: Some(arn),
        ..Default::default()
    };
    Ok(acm::DescribeCertificateResponse { certificate: Some(detail) })
}

pub async fn get(
    cx: &Context,
    _caller: &Caller,
    input: acm::GetCertificateRequest,
) -> Result<acm::GetCertificateResponse, Fault> {
    let arn = input.certificate_arn.unwrap_or_default();
    let it = find(cx, &cx.store.snapshot(), &arn)?;
    let blocks = pem::read(&it.chain_pem).unwrap_or_default();
    let mut all = blocks.iter().map(|block| pem::write(&block.label, &block.bytes));
    let certificate = all.next();
    let chain: String = all.collect();
    Ok(acm::GetCertificateResponse {
        certificate,
        certificate_chain: (!chain.is_empty()).then_some(chain),
    })
}

fn summary(cx: &Context, snapshot: &Snapshot, it: &Certificate) -> acm::CertificateSummary {
    let bytes = leaf(it);
    let read = parsed(&bytes);
    let extended = extended_key_usages(&read).into_iter().filter_map(|it| it.name).collect();
    acm::CertificateSummary {
        certificate_arn: Some(it.arn.clone()),
        created_at: time(it.created_at),
        domain_name: domain(it, &read),
        exported: Some(false),
        extended_key_usages: Some(extended),
        has_additional_subject_alternative_names: Some(false),
        imported_at: time(it.created_at),
        in_use: Some(!users(cx, snapshot, &it.arn).is_empty()),
        key_algorithm: Some(algorithm(read.key)),
        key_usages: Some(key_usages(&read)),
        not_after: time(it.not_after),
        not_before: time(it.not_before),
        renewal_eligibility: Some(acm::RenewalEligibility::Ineligible),
        status: Some(status(it, cx.now())),
        subject_alternative_name_summaries: Some(it.names.clone()),
        r#type: Some(acm::CertificateType::Imported),
        ..Default::default()
    }
}

/// Whether a filter lets it through. Without a word about keys only RSA's of 1024 and 2048 bits are
/// shown. Source: API reference, ListCertificates.
fn included(it: &acm::CertificateSummary, filters: Option<&acm::Filters>) -> bool {
    let blank = acm::Filters::default();
    let filters = filters.unwrap_or(&blank);
    let keys = filters.key_types.as_deref();
    let usual = [acm::KeyAlgorithm::Rsa1024, acm::KeyAlgorithm::Rsa2048];
    let keys = keys.filter(|keys| !keys.is_empty()).unwrap_or(&usual);
    let has =
        |wanted: &acm::KeyUsageName| it.key_usages.iter().flatten().any(|usage| usage == wanted);
    let extended = |wanted: &acm::ExtendedKeyUsageName| {
        it.extended_key_usages.iter().flatten().any(|usage| usage == wanted)
    };
    it.key_algorithm.as_ref().is_some_and(|key| keys.contains(key))
        && filters.key_usage.iter().flatten().all(has)
        && filters.extended_key_usage.iter().flatten().all(extended)
        && filters.managed_by.is_none()
        && filters.export_option != Some(acm::CertificateExport::Enabled)
}

pub async fn list(
    cx: &Context,
    _caller: &Caller,
    input: acm::ListCertificatesRequest,
) -> Result<acm::ListCertificatesResponse, Fault> {
    if input.sort_by.is_some() != input.sort_order.is_some() {
        let text = "SortBy and SortOrder must be specified together";
        return Err(validation(text));
    }
    let falling = input.sort_order == Some(acm::SortOrder::Descending);
    let snapshot = cx.store.snapshot();
    let all = snapshot.scan::<Certificate>("").map(|(_, it)| it);
    let mut found: Vec<(String, acm::CertificateSummary)> = Vec::new();
    for it in all {
        let shown = summary(cx, &snapshot, &it);
        let statuses = input.certificate_statuses.as_deref().unwrap_or_default();
        let wanted = statuses.is_empty() || shown.status.iter().all(|it| statuses.contains(it));
        if wanted && included(&shown, input.includes.as_ref()) {
            let at = it.created_at.0;
            let order = if falling { i64::MAX - at } else { at };
            found.push((format!("{order:020}/{}", it.arn), shown));
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let asked = format!("{:?}{:?}{falling}", input.certificate_statuses, input.includes);
    let cursor = Cursor::new(&["ListCertificates", &asked]);
    let unknown = || validation("The next token is not valid");
    let after = cursor.after(input.next_token.as_deref(), unknown)?;
    let limit = page_items(input.max_items, PAGE_ITEMS).max(1);
    let (page, next_token) = cursor.page(found.into_iter(), after.as_deref(), limit);
    Ok(acm::ListCertificatesResponse { certificate_summary_list: Some(page), next_token })
}

pub async fn delete(
    cx: &Context,
    _caller: &Caller,
    input: acm::DeleteCertificateRequest,
) -> Result<NoOutput, Fault> {
    let arn = input.certificate_arn.unwrap_or_default();
    elbv2::change(cx, |txn| {
        let snapshot = txn.snapshot().clone();
        let it = find(cx, &snapshot, &arn)?;
        if !users(cx, &snapshot, &arn).is_empty() {
            let account = &cx.locality.account;
            let text = format!("Certificate {arn} in account {account} is in use.");
            return Err(ErrorCode::ResourceInUseException.fault(text));
        }
        txn.delete::<Certificate>(&it.arn);
        Ok(NoOutput)
    })
    .await
}

/// A certificate that is requested waits for somebody to validate its domain, who is not here.
pub async fn request(
    _cx: &Context,
    _caller: &Caller,
    _input: acm::RequestCertificateRequest,
) -> Result<acm::RequestCertificateResponse, Fault> {
    let text = "Neargate issues no certificates, as nobody here could validate a domain: import \
                one (ImportCertificate)";
    Err(ErrorCode::InvalidParameterException.fault(text))
}
