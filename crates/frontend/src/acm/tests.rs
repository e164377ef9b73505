//! Certificates as clients see them. Keys on curves are made here; RSA's come from openssl in the
//! tests with real clients.

use super::{certificates, import};
use crate::fault::Fault;
use crate::fixture::{Fixture, NOW};
use model::balancing::Certificate;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use store::secret::Sealed;
use wire::Blob;
use wire::acm::*;

struct Made {
    certificate: String,
    key: String,
}

fn params(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names of hosts");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut params = params(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
    let certificate = params.self_signed(&key).expect("signed");
    (certificate.pem(), Issuer::new(params, key))
}

fn leaf(issuer: &Issuer<'static, KeyPair>) -> Made {
    let key = KeyPair::generate().expect("a key");
    let params = params("Web.example.com", &["web.example.com", "*.web.example.com"]);
    let certificate = params.signed_by(&key, issuer).expect("signed");
    Made { certificate: certificate.pem(), key: key.serialize_pem() }
}

fn input(made: &Made, chain: Option<&str>) -> ImportCertificateRequest {
    let blob = |text: &str| Some(Blob(text.as_bytes().to_vec()));
    ImportCertificateRequest {
        certificate: blob(&made.certificate),
        private_key: blob(&made.key),
        certificate_chain: chain.and_then(blob),
        ..Default::default()
    }
}

async fn import(fixture: &Fixture, input: ImportCertificateRequest) -> Result<String, Fault> {
    let made = import::import(&fixture.cx, &fixture.caller, input).await?;
    Ok(made.certificate_arn.expect("an ARN"))
}

#[tokio::test]
async fn a_certificate_comes_in_with_its_key_and_chain() {
    let fixture = Fixture::new();
    let (root, issuer) = authority("Example CA");
    let made = leaf(&issuer);
    let arn = import(&fixture, input(&made, Some(&root))).await.expect("imported");
    let stored = fixture.cx.store.snapshot().get::<Certificate>(&arn).expect("there").value;
    assert_eq!(stored.names, ["web.example.com", "*.web.example.com"]);
    assert!(stored.not_before < NOW && NOW < stored.not_after);
    assert!(!format!("{stored:?}").contains("PRIVATE"));
    let sealed = Sealed::from_hex(&stored.sealed_key).expect("sealed");
    let key = fixture.cx.sealer.unseal(&stored.seal_context(), &sealed).expect("opens");
    assert_eq!(key.expose_str().map(str::trim), Some(made.key.replace('\r', "").trim()));

    let request = DescribeCertificateRequest { certificate_arn: Some(arn.clone()) };
    let shown = certificates::describe(&fixture.cx, &fixture.caller, request).await;
    let shown = shown.expect("found").certificate.expect("one");
    assert_eq!(shown.key_algorithm, Some(KeyAlgorithm::EcPrime256v1));
    assert_eq!(shown.domain_name.as_deref(), Some("Web.example.com"));
    assert_eq!(shown.issuer.as_deref(), Some("Example CA"));
    assert_eq!(shown.signature_algorithm.as_deref(), Some("SHA384WITHECDSA"));
    assert_eq!(shown.status, Some(CertificateStatus::Issued));

    let request = GetCertificateRequest { certificate_arn: Some(arn.clone()) };
    let got = certificates::get(&fixture.cx, &fixture.caller, request).await.expect("found");
    let plain = |text: &str| text.replace('\r', "").trim().to_owned();
    assert_eq!(got.certificate.map(|it| plain(&it)), Some(plain(&made.certificate)));
    assert_eq!(got.certificate_chain.map(|it| plain(&it)), Some(plain(&root)));

    let again = ImportCertificateRequest {
        certificate_arn: Some(arn.clone()),
        ..input(&leaf(&issuer), Some(&root))
    };
    assert_eq!(import(&fixture, again).await.expect("over the first"), arn);
    let request = DeleteCertificateRequest { certificate_arn: Some(arn.clone()) };
    certificates::delete(&fixture.cx, &fixture.caller, request.clone()).await.expect("gone");
    let gone = certificates::delete(&fixture.cx, &fixture.caller, request).await;
    assert_eq!(gone.expect_err("gone").code, "ResourceNotFoundException");
}

#[tokio::test]
async fn what_does_not_belong_together_is_refused() {
    let fixture = Fixture::new();
    let (root, issuer) = authority("Example CA");
    let (other_root, _) = authority("Example CA");
    let (made, other) = (leaf(&issuer), leaf(&issuer));
    let mixed = Made { certificate: made.certificate.clone(), key: other.key.clone() };
    let two = Made {
        certificate: format!("{}{}", made.certificate, other.certificate),
        key: made.key.clone(),
    };
    let no_key = Made { certificate: made.certificate.clone(), key: made.certificate.clone() };
    let swapped = Made { certificate: made.key.clone(), key: made.key.clone() };
    let cut =
        Made { certificate: made.certificate.replacen("MII", "MIA", 1), key: made.key.clone() };
    for (what, input) in [
        ("another's key", input(&mixed, None)),
        ("two certificates", input(&two, None)),
        ("no key", input(&no_key, None)),
        ("a key for a certificate", input(&swapped, None)),
        ("a damaged certificate", input(&cut, None)),
        ("another's chain", input(&made, Some(&other_root))),
        ("a chain that is none", input(&made, Some("-----BEGIN CERTIFICATE-----\n!"))),
    ] {
        let fault = import(&fixture, input).await.expect_err(what);
        assert_eq!(fault.code, "ValidationException", "{what}");
    }
    import(&fixture, input(&made, Some(&root))).await.expect("what does belong together");
    import(&fixture, input(&made, None)).await.expect("a chain is not needed");
    fixture.pass_ms(i64::MAX / 4);
    let late = import(&fixture, input(&made, None)).await.expect_err("its time is over");
    assert_eq!(late.code, "ValidationException");
}
