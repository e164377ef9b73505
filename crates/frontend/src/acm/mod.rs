//! AWS Certificate Manager: certificates that users bring, for HTTPS listeners. A key is sealed as
//! it comes in and shown to nobody; only the balancer's process is given it. Nobody here could
//! validate a domain, so none are requested.

mod certificates;
mod der;
mod import;
mod keys;
mod pem;
mod tags;
#[cfg(test)]
mod tests;
mod x509;

use crate::context::Context;
use crate::dispatch::{Route, route};
use crate::fault::Fault;
use model::arn::Arn;
use model::balancing::Certificate;
use std::sync::Arc;
use store::Snapshot;
use wire::acm::ErrorCode;

pub const ROUTES: &[Route] = &[
    route!(acm, AddTagsToCertificateRequest, tags::add),
    route!(acm, DeleteCertificateRequest, certificates::delete),
    route!(acm, DescribeCertificateRequest, certificates::describe),
    route!(acm, GetCertificateRequest, certificates::get),
    route!(acm, ImportCertificateRequest, import::import),
    route!(acm, ListCertificatesRequest, certificates::list),
    route!(acm, ListTagsForCertificateRequest, tags::list),
    route!(acm, RemoveTagsFromCertificateRequest, tags::remove),
    route!(acm, RequestCertificateRequest, certificates::request),
];

fn validation(text: impl Into<String>) -> Fault {
    ErrorCode::ValidationException.fault(text)
}

/// The certificate a call names.
fn find(cx: &Context, snapshot: &Snapshot, arn: &str) -> Result<Arc<Certificate>, Fault> {
    let parsed = Arn::parse(arn).filter(|it| {
        it.service == "acm" && it.kind_and_rest().is_some_and(|(kind, _)| kind == "certificate")
    });
    if parsed.is_none() {
        let text = format!("The certificate ARN '{arn}' is not valid");
        return Err(ErrorCode::InvalidArnException.fault(text));
    }
    let found = snapshot.get::<Certificate>(arn).map(|found| found.value);
    found.ok_or_else(|| {
        let account = &cx.locality.account;
        let text = format!("Could not find certificate {arn} in account {account}.");
        ErrorCode::ResourceNotFoundException.fault(text)
    })
}
