//! Certificates of HTTPS listeners: one by default, and others that are chosen by the name a client
//! asks for. They are those of Certificate Manager (ImportCertificate).

use super::{change, nouns, page, validation};
use crate::context::{Caller, Context};
use crate::fault::Fault;
use model::balancing::{Certificate, Listener, Protocol};
use store::Snapshot;
use store::kinds::listener_prefix;
use wire::elbv2;
use wire::elbv2::ErrorCode;

/// Certificates of a load balancer, default ones not counted. Source: user guide, quotas.
const CERTIFICATES_MAX: usize = 25;

fn find(snapshot: &Snapshot, given: &elbv2::Certificate) -> Result<String, Fault> {
    let arn = given.certificate_arn.clone().unwrap_or_default();
    if snapshot.get::<Certificate>(&arn).is_none() {
        let text = format!("Certificate '{arn}' not found");
        return Err(ErrorCode::CertificateNotFoundException.fault(text));
    }
    Ok(arn)
}

/// The one that a listener is made with.
pub fn only(snapshot: &Snapshot, given: &[elbv2::Certificate]) -> Result<String, Fault> {
    let [one] = given else {
        return Err(validation("Exactly one certificate must be specified"));
    };
    if one.is_default.is_some() {
        return Err(validation("IsDefault cannot be specified for this operation"));
    }
    find(snapshot, one)
}

pub async fn add(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::AddListenerCertificatesInput,
) -> Result<elbv2::AddListenerCertificatesOutput, Fault> {
    let arn = input.listener_arn.unwrap_or_default();
    let given = input.certificates.unwrap_or_default();
    if given.iter().any(|it| it.is_default.is_some()) {
        return Err(validation("IsDefault cannot be specified for this operation"));
    }
    let added = change(cx, |txn| {
        let snapshot = txn.snapshot().clone();
        let (balancer, listener) = nouns::listener(cx, &snapshot, &arn)?;
        if listener.protocol != Protocol::Https {
            return Err(validation("Certificates can be added to HTTPS listeners only"));
        }
        let mut changed = (*listener).clone();
        let mut added = Vec::new();
        for one in &given {
            let certificate = find(&snapshot, one)?;
            if !changed.certificates.contains(&certificate) {
                changed.certificates.push(certificate.clone());
            }
            added.push(certificate);
        }
        let prefix = listener_prefix(&balancer.id);
        let all = snapshot.scan::<Listener>(&prefix);
        let others = all.filter(|(_, it)| it.id != changed.id);
        let more = |it: &Listener| it.certificates.len().saturating_sub(1);
        let count = others.map(|(_, it)| more(&it)).sum::<usize>() + more(&changed);
        if count > CERTIFICATES_MAX {
            let text = "The maximum number of certificates of this load balancer has been reached";
            return Err(ErrorCode::TooManyCertificatesException.fault(text));
        }
        txn.put(changed);
        Ok(added)
    })
    .await?;
    let show = |arn| elbv2::Certificate { certificate_arn: Some(arn), is_default: Some(false) };
    let certificates = Some(added.into_iter().map(show).collect());
    Ok(elbv2::AddListenerCertificatesOutput { certificates })
}

pub async fn remove(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::RemoveListenerCertificatesInput,
) -> Result<elbv2::RemoveListenerCertificatesOutput, Fault> {
    let arn = input.listener_arn.unwrap_or_default();
    let given = input.certificates.unwrap_or_default();
    change(cx, |txn| {
        let (_, listener) = nouns::listener(cx, txn.snapshot(), &arn)?;
        let mut changed = (*listener).clone();
        for one in &given {
            let certificate = one.certificate_arn.clone().unwrap_or_default();
            if changed.certificates.first() == Some(&certificate) {
                let text = format!("Default certificate '{certificate}' cannot be removed");
                return Err(ErrorCode::OperationNotPermittedException.fault(text));
            }
            changed.certificates.retain(|known| *known != certificate);
        }
        txn.put(changed);
        Ok(())
    })
    .await?;
    Ok(elbv2::RemoveListenerCertificatesOutput {})
}

pub async fn describe(
    cx: &Context,
    _caller: &Caller,
    input: elbv2::DescribeListenerCertificatesInput,
) -> Result<elbv2::DescribeListenerCertificatesOutput, Fault> {
    let arn = input.listener_arn.unwrap_or_default();
    let (_, listener) = nouns::listener(cx, &cx.store.snapshot(), &arn)?;
    // The default one is shown first, and is among the others too when it was added to them.
    let all: Vec<(usize, String)> = listener.certificates.iter().cloned().enumerate().collect();
    let request = ["DescribeListenerCertificates", arn.as_str()];
    let key = |(at, arn): &(usize, String)| format!("{at:04}/{arn}");
    let (page, next_marker) = page(&request, all, key, input.marker.as_deref(), input.page_size)?;
    let show = |(at, arn): (usize, String)| elbv2::Certificate {
        certificate_arn: Some(arn),
        is_default: Some(at == 0),
    };
    let certificates = Some(page.into_iter().map(show).collect());
    Ok(elbv2::DescribeListenerCertificatesOutput { certificates, next_marker })
}
