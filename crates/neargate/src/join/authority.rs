//! The control plane's certificate authority: one key in the data folder, known to nobody else. It
//! signs the control plane's own certificate, which is made anew at every start, and those of
//! agents. Its certificate is its identity: tokens carry its SHA-256.

use super::{CONTROL_PLANE, HTTP, JOIN, SESSION, sha256};
use crate::data_dir::DataDir;
use anyhow::{Context, Result, bail};
use model::{InstanceId, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SignatureAlgorithm,
};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::sync::Arc;
use std::time::Duration;

/// How long an agent's certificate is good for, in days. Agents renew theirs when half is over.
const AGENT_DAYS: u64 = 365;
/// How long the control plane's own is good for, in days: longer than any process lives.
const SERVER_DAYS: u64 = 3650;
/// How long the authority's is good for, in days.
const AUTHORITY_DAYS: u64 = 36_500;
/// How far clocks may be apart, in days.
const SKEW_DAYS: u64 = 1;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Bytes of an uncompressed point of P-256, and the first of them.
const POINT_BYTES: usize = 65;
const POINT_UNCOMPRESSED: u8 = 4;

pub struct Authority {
    key: KeyPair,
    certificate: CertificateDer<'static>,
    fingerprint: String,
}

/// A certificate for an agent.
pub struct Issued {
    pub pem: String,
    pub fingerprint: String,
    pub expires_at: Timestamp,
}

/// An agent's public key, of which it holds the other half.
struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    /// The data folder's, made at first.
    pub fn open(dir: &DataDir, now: Timestamp) -> Result<Self> {
        let (key, pem) = match dir.read_authority()? {
            Some((key, pem)) => (KeyPair::from_pem(&key).context("authority.key is damaged")?, pem),
            None => {
                let key = KeyPair::generate().context("cannot make the authority's key")?;
                let mut params = own_params();
                set_life(&mut params, now, AUTHORITY_DAYS);
                let made = params.self_signed(&key).context("cannot sign the authority")?;
                dir.write_authority(&key.serialize_pem(), &made.pem())?;
                (key, made.pem())
            }
        };
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes());
        let certificate = certificate.context("authority.crt is damaged")?;
        let fingerprint = sha256(&certificate);
        Ok(Self { key, certificate, fingerprint })
    }

    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// How agents are received: who shows a certificate shows one of ours, and who shows none may
    /// only ask to join.
    pub fn server(&self, now: Timestamp) -> Result<ServerConfig> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = CertificateParams::new([CONTROL_PLANE.to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = self.sign(params, &key, now, SERVER_DAYS)?;
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).context("the authority's certificate is no root")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)?;
        config.alpn_protocols = [JOIN, SESSION, HTTP].map(<[u8]>::to_vec).to_vec();
        // An agent's certificate is looked at anew with every connection.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// A certificate for whoever holds the other half of the key.
    pub fn issue(
        &self,
        instance: &InstanceId,
        public_key: Vec<u8>,
        now: Timestamp,
    ) -> Result<Issued> {
        if public_key.len() != POINT_BYTES || public_key[0] != POINT_UNCOMPRESSED {
            bail!("that is no key of P-256");
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, instance.as_str());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = self.sign(params, &Point(public_key), now, AGENT_DAYS)?;
        Ok(Issued {
            pem: certificate.pem(),
            fingerprint: sha256(certificate.der()),
            expires_at: now.plus_ms(ms(AGENT_DAYS)),
        })
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        key: &impl PublicKeyData,
        now: Timestamp,
        days: u64,
    ) -> Result<rcgen::Certificate> {
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        set_life(&mut params, now, days);
        let own = own_params();
        let issuer = Issuer::from_params(&own, &self.key);
        params.signed_by(key, &issuer).context("cannot sign a certificate")
    }
}

fn own_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Neargate control plane");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn set_life(params: &mut CertificateParams, now: Timestamp, days: u64) {
    let now = Duration::from_millis(now.0.unsigned_abs());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(DAY * u32::try_from(SKEW_DAYS).unwrap_or(1));
    params.not_after = epoch + now + Duration::from_millis(ms(days).unsigned_abs());
}

fn ms(days: u64) -> i64 {
    i64::try_from(days.saturating_mul(24 * 3_600_000)).unwrap_or(i64::MAX)
}
