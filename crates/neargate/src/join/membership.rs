//! A machine's side of joining: its key, made here and never sent, the certificate it got for it,
//! and how it calls the control plane. All of it lies in the agent's folder, so that an agent that
//! is started again needs no token. Before the token's secret is said, the other side has shown
//! the authority that the token names.

use super::token::Token;
use super::{CONTROL_PLANE, HANDSHAKE_LIMIT, JOIN, SESSION, hex, message, sha256};
use crate::data_dir::write_private;
use crate::world::Clock;
use anyhow::{Context, Result, bail};
use model::join::{JoinAnswer, JoinRequest, TokenProof};
use model::session::PROTOCOL_VERSION;
use model::{InstanceId, Timestamp};
use rcgen::KeyPair;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long what was sent may go unacknowledged before the connection counts as lost, in
/// milliseconds: that of a session's lease.
const UNACKNOWLEDGED_MS: u32 = 15_000;
/// How often it is looked whether the certificate is to be renewed.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// What is kept of having joined.
#[derive(Clone, Serialize, Deserialize)]
struct Record {
    address: String,
    token: String,
    instance: InstanceId,
    joined_at: Timestamp,
    expires_at: Timestamp,
    /// This machine's address on the way to the control plane, as it was last.
    local: Option<Ipv4Addr>,
}

pub struct Membership {
    folder: PathBuf,
    record: Mutex<Record>,
    tls: Mutex<Arc<ClientConfig>>,
    clock: Clock,
}

/// What the operator says.
pub struct Wish<'a> {
    pub address: Option<&'a str>,
    pub token: Option<&'a Token>,
}

impl Membership {
    /// As the folder has it; joins first when it has none, or a new token is given.
    pub async fn ensure(folder: &Path, wish: Wish<'_>, clock: &Clock) -> Result<Self> {
        let kept = read_record(folder)?;
        let record = match (kept, wish.token, wish.address) {
            (Some(kept), Some(token), _) if kept.token == token.id => kept,
            (_, Some(token), Some(address)) => join(folder, address, token, clock).await?,
            (Some(kept), None, address) => Record {
                address: address.map_or_else(|| kept.address.clone(), str::to_owned),
                ..kept
            },
            (_, Some(_), None) => bail!("--token needs --join ADDRESS"),
            (None, None, _) => bail!(
                "this machine has joined no control plane: `neargate token` there prints a command \
                 with --join and --token"
            ),
        };
        let tls = Mutex::new(Arc::new(member_config(folder)?));
        let (folder, clock) = (folder.to_owned(), Arc::clone(clock));
        Ok(Self { folder, record: Mutex::new(record), tls, clock })
    }

    fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn instance(&self) -> InstanceId {
        self.record().instance
    }

    pub fn address(&self) -> String {
        self.record().address
    }

    /// This machine's address on the way to the control plane; as it was last when there is no way
    /// now. None: it is a loopback's.
    pub async fn local_address(&self) -> Result<Option<Ipv4Addr>> {
        let mut record = self.record();
        if let Ok(stream) = dial(&record.address).await {
            record.local = match stream.local_addr().map(|address| address.ip().to_canonical()) {
                Ok(IpAddr::V4(address)) if !address.is_loopback() => Some(address),
                _ => None,
            };
            write_record(&self.folder, &record)?;
            *self.record.lock().unwrap_or_else(PoisonError::into_inner) = record.clone();
        }
        Ok(record.local)
    }

    /// A stream to the control plane for one of the things it is called for.
    pub async fn connect(&self, what: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        let tls = Arc::clone(&self.tls.lock().unwrap_or_else(PoisonError::into_inner));
        let address = self.address();
        call(&address, ClientConfig::clone(&tls), what).await.map_err(|failure| {
            let why = match is_of_another(&failure) {
                true => format!("{address} is not the control plane that this machine joined"),
                false => format!("{address}: {failure}"),
            };
            io::Error::new(failure.kind(), why)
        })
    }

    pub async fn session(&self) -> io::Result<TlsStream<TcpStream>> {
        self.connect(SESSION).await
    }

    /// Renews the certificate in good time, for ever.
    pub async fn keep_fresh(&self) {
        loop {
            if self.is_half_over((self.clock)()) {
                match self.renew().await {
                    Ok(()) => tracing::info!("this instance's certificate was renewed"),
                    Err(failure) => {
                        let why = format!("{failure:#}");
                        tracing::warn!(why, "this instance's certificate could not be renewed");
                    }
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn is_half_over(&self, now: Timestamp) -> bool {
        let record = self.record();
        now.since_ms(record.joined_at) > record.expires_at.since_ms(now)
    }

    pub async fn renew(&self) -> Result<()> {
        let mut record = self.record();
        let key = key_pair(&self.folder)?;
        let mut stream = self.connect(JOIN).await?;
        let answer = ask(&mut stream, None, &key).await?;
        take(&self.folder, &mut record, answer, (self.clock)())?;
        let renewed = Arc::new(member_config(&self.folder)?);
        *self.tls.lock().unwrap_or_else(PoisonError::into_inner) = renewed;
        *self.record.lock().unwrap_or_else(PoisonError::into_inner) = record;
        Ok(())
    }
}

async fn join(folder: &Path, address: &str, token: &Token, clock: &Clock) -> Result<Record> {
    let key = key_pair(folder)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pinned = Pinned { authority: token.authority.clone(), provider: Arc::clone(&provider) };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    let mut stream = match call(address, config, JOIN).await {
        Ok(stream) => stream,
        Err(failure) if is_of_another(&failure) => bail!(
            "{address} is not the control plane that the token is of: its certificate authority is \
             another one"
        ),
        Err(failure) => {
            return Err(failure)
                .with_context(|| format!("cannot reach a control plane at {address}"));
        }
    };
    let (_, connection) = stream.get_ref();
    let shown = connection.peer_certificates().unwrap_or_default();
    let authority = shown.iter().find(|one| sha256(one) == token.authority);
    let authority = authority.context("the control plane did not show its authority")?;
    let pem = pem_of(authority);
    let proof = TokenProof { id: token.id.clone(), secret: token.secret.clone() };
    let answer = ask(&mut stream, Some(proof), &key).await?;
    write_private(&folder.join("authority.crt"), pem.as_bytes())?;
    let mut record = Record {
        address: address.to_owned(),
        token: token.id.clone(),
        instance: InstanceId::from(""),
        joined_at: Timestamp(0),
        expires_at: Timestamp(0),
        local: None,
    };
    take(folder, &mut record, answer, clock())?;
    // Which instance this is from now on; what an earlier one left is cleared away at start.
    write_private(&folder.join("instance-id"), record.instance.as_str().as_bytes())?;
    Ok(record)
}

async fn ask(
    stream: &mut TlsStream<TcpStream>,
    token: Option<TokenProof>,
    key: &KeyPair,
) -> Result<JoinAnswer> {
    let public_key = hex(key.public_key_raw());
    let request = JoinRequest { protocol: PROTOCOL_VERSION, token, public_key };
    let exchange = async {
        message::send(stream, &request).await?;
        message::receive::<JoinAnswer>(stream).await
    };
    let answer = timeout(HANDSHAKE_LIMIT, exchange).await.context("the control plane is silent")?;
    answer.context("the control plane hung up")
}

/// Keeps a certificate, the record of it last.
fn take(folder: &Path, record: &mut Record, answer: JoinAnswer, now: Timestamp) -> Result<()> {
    match answer {
        JoinAnswer::Refused { reason } => bail!("the control plane refused: {reason}"),
        JoinAnswer::Joined { instance, certificate_pem, expires_at } => {
            write_private(&folder.join("agent.crt"), certificate_pem.as_bytes())?;
            (record.instance, record.joined_at, record.expires_at) = (instance, now, expires_at);
            write_record(folder, record)
        }
    }
}

async fn dial(address: &str) -> io::Result<TcpStream> {
    let dialled = timeout(HANDSHAKE_LIMIT, TcpStream::connect(address)).await;
    let stream = dialled.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_tcp_user_timeout(&stream, UNACKNOWLEDGED_MS)?;
    rustix::net::sockopt::set_socket_keepalive(&stream, true)?;
    Ok(stream)
}

async fn call(
    address: &str,
    mut config: ClientConfig,
    what: &[u8],
) -> io::Result<TlsStream<TcpStream>> {
    config.alpn_protocols = vec![what.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    let name = ServerName::try_from(CONTROL_PLANE).expect("it is a name");
    let stream = dial(address).await?;
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream);
    timeout(HANDSHAKE_LIMIT, connected)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Whether the other side showed certificates of somebody else.
fn is_of_another(failure: &io::Error) -> bool {
    let inner = failure.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

fn key_pair(folder: &Path) -> Result<KeyPair> {
    let path = folder.join("agent.key");
    match std::fs::read_to_string(&path) {
        Ok(pem) => {
            KeyPair::from_pem(&pem).with_context(|| format!("{} is damaged", path.display()))
        }
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => {
            let made = KeyPair::generate().context("cannot make a key")?;
            write_private(&path, made.serialize_pem().as_bytes())?;
            Ok(made)
        }
        Err(failure) => Err(failure).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// As a member calls: it trusts the authority it joined, and shows its own certificate.
fn member_config(folder: &Path) -> Result<ClientConfig> {
    let certificate = |name: &str| {
        let path = folder.join(name);
        CertificateDer::from_pem_file(&path)
            .with_context(|| format!("cannot read {}", path.display()))
    };
    let mut roots = RootCertStore::empty();
    roots.add(certificate("authority.crt")?).context("authority.crt is no root")?;
    let key = key_pair(folder)?.serialize_der();
    let key = PrivateKeyDer::try_from(key).map_err(anyhow::Error::msg)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate("agent.crt")?], key)
        .context("this instance's key and certificate don't belong together")
}

fn pem_of(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let body: Vec<_> = lines.collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", body.join("\n"))
}

const RECORD_FILE: &str = "membership.json";

fn read_record(folder: &Path) -> Result<Option<Record>> {
    let path = folder.join(RECORD_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let read = serde_json::from_slice(&bytes);
            read.with_context(|| format!("{} is damaged", path.display())).map(Some)
        }
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(failure) => Err(failure).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn write_record(folder: &Path, record: &Record) -> Result<()> {
    write_private(&folder.join(RECORD_FILE), &serde_json::to_vec_pretty(record)?)
}

/// Trusts one authority, known by its SHA-256, and nobody else.
#[derive(Debug)]
struct Pinned {
    authority: String,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let pinned = intermediates.iter().find(|one| sha256(one) == self.authority);
        let pinned = pinned.ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(pinned.clone().into_owned())?;
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = verifier.build().map_err(|_| CertificateError::UnknownIssuer)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
