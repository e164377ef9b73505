//! Where agents come in: a port of the control plane that speaks TLS. A machine that shows a token
//! gets a certificate; an agent that shows its certificate gets a session that is its instance's,
//! or HTTP to the API and the registry. A certificate is good only while it is written down.

use super::accept::accept;
use super::authority::Authority;
use super::token::Token;
use super::{HANDSHAKE_LIMIT, HTTP, JOIN, SESSION, message, sha256, unhex};
use crate::cli::Fleet;
use crate::data_dir::DataDir;
use crate::http::{self, Router};
use crate::world::{Clock, Random};
use anyhow::{Context, Result, bail};
use frontend::{MintJoinToken, MintedToken};
use manager::{Certified, Manager, Origin};
use model::credentials::Hidden;
use model::join::{AgentCertificate, JoinAnswer, JoinRequest, TokenProof};
use model::session::{PROTOCOL_VERSION, ToAgent};
use model::{InstanceId, Timestamp};
use std::net::SocketAddr;
use std::sync::Arc;
use store::TransactFailure;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Connections served at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 16_384;

/// A port that is listened on, and whom machines find there.
pub struct Entrance {
    listener: TcpListener,
    tls: TlsAcceptor,
    authority: Arc<Authority>,
    /// As it is told to operators.
    address: String,
}

impl Entrance {
    /// None: agents are not listened for.
    pub async fn open(fleet: &Fleet, dir: &DataDir, now: Timestamp) -> Result<Option<Self>> {
        let Some(at) = fleet.listen_agents else { return Ok(None) };
        let listener = TcpListener::bind(at).await;
        let listener = listener.with_context(|| format!("cannot listen for agents on {at}"))?;
        let port = listener.local_addr().context("cannot tell where we listen")?.port();
        let address = match (at.ip().is_unspecified(), fleet.underlay()) {
            (false, _) => format!("{}", SocketAddr::new(at.ip(), port)),
            (true, Some(own)) => format!("{own}:{port}"),
            (true, None) => format!("ADDRESS-OF-THIS-MACHINE:{port}"),
        };
        if fleet.underlay().is_none() {
            tracing::warn!("other instances can't reach tasks here: give --instance-address");
        }
        let authority = Arc::new(Authority::open(dir, now)?);
        let tls = TlsAcceptor::from(Arc::new(authority.server(now)?));
        Ok(Some(Self { listener, tls, authority, address }))
    }

    /// What makes tokens for it.
    pub fn minting(&self, random: &Random) -> MintJoinToken {
        let (authority, random) = (Arc::clone(&self.authority), Arc::clone(random));
        let address = self.address.clone();
        Arc::new(move || {
            let token = Token::mint(&random, authority.fingerprint());
            Some(MintedToken {
                secret_sha256: sha256(token.secret.expose().as_bytes()),
                text: Hidden::new(token.reveal()),
                id: token.id,
                address: address.clone(),
            })
        })
    }

    pub fn gate(self, manager: Manager, router: Router, clock: &Clock) -> Gate {
        let Self { listener, tls, authority, .. } = self;
        let keeper = Keeper { authority, manager, router, clock: Arc::clone(clock), tls };
        Gate { listener, keeper }
    }
}

pub struct Gate {
    listener: TcpListener,
    keeper: Keeper,
}

/// What each connection is received with.
#[derive(Clone)]
struct Keeper {
    authority: Arc<Authority>,
    manager: Manager,
    router: Router,
    clock: Clock,
    tls: TlsAcceptor,
}

impl Gate {
    /// Serves until told to end.
    pub async fn serve(self, mut end: watch::Receiver<bool>) {
        let Self { listener, keeper } = self;
        let receiving = accept(listener, CONNECTIONS_MAX, |stream, peer| {
            let keeper = keeper.clone();
            async move {
                if let Err(failure) = keeper.receive(stream).await {
                    tracing::info!(%peer, why = format!("{failure:#}"), "not let in");
                }
            }
        });
        // Those that are open end with it.
        tokio::select! {
            () = receiving => {}
            () = http::told(&mut end) => {}
        }
    }
}

impl Keeper {
    async fn receive(self, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let accepted = timeout(HANDSHAKE_LIMIT, self.tls.accept(stream)).await;
        let stream = accepted.context("the handshake took too long")?.context("the handshake")?;
        let (_, connection) = stream.get_ref();
        let certificate = connection.peer_certificates().and_then(|chain| chain.first());
        let fingerprint = certificate.map(|certificate| sha256(certificate));
        let certified = match &fingerprint {
            Some(fingerprint) => self.manager.certified(fingerprint),
            None => Certified::Unknown,
        };
        match connection.alpn_protocol() {
            Some(JOIN) => self.join(stream, certified, fingerprint).await,
            Some(SESSION) => self.session(stream, certified).await,
            Some(HTTP) => self.http(stream, certified).await,
            _ => bail!("it does not say what it wants"),
        }
    }

    async fn session(self, stream: TlsStream<TcpStream>, certified: Certified) -> Result<()> {
        let origin = match certified {
            Certified::Instance(instance) => Origin::Joined(instance),
            Certified::Forgotten(instance) => Origin::Forgotten(instance),
            Certified::Unknown => {
                let mut stream = stream;
                let reason = "this control plane knows no such certificate: join with a token";
                let refused = ToAgent::Refused { reason: reason.to_owned(), retry: false };
                message::send(&mut stream, &refused).await?;
                bail!("a session without a certificate that is known");
            }
        };
        // The manager says why a session ended.
        self.manager.serve_agent(origin, stream).await;
        Ok(())
    }

    async fn http(self, stream: TlsStream<TcpStream>, certified: Certified) -> Result<()> {
        let Certified::Instance(_) = certified else {
            bail!("HTTP without a certificate that is known");
        };
        http::converse_with_agent(stream, self.router).await;
        Ok(())
    }

    async fn join(
        self,
        mut stream: TlsStream<TcpStream>,
        certified: Certified,
        shown: Option<String>,
    ) -> Result<()> {
        let asked = timeout(HANDSHAKE_LIMIT, message::receive::<JoinRequest>(&mut stream)).await;
        let asked = asked.context("the machine did not say what it wants")??;
        let answer = match self.admit(asked, certified, shown).await {
            Ok(answer) => answer,
            Err(failure) => {
                let reason = format!("{failure:#}");
                tracing::warn!(reason, "a machine was not let in");
                JoinAnswer::Refused { reason }
            }
        };
        timeout(HANDSHAKE_LIMIT, message::send(&mut stream, &answer)).await??;
        Ok(())
    }

    async fn admit(
        &self,
        asked: JoinRequest,
        certified: Certified,
        shown: Option<String>,
    ) -> Result<JoinAnswer> {
        let theirs = asked.protocol;
        if theirs != PROTOCOL_VERSION {
            bail!("the agent speaks protocol {theirs}, this control plane {PROTOCOL_VERSION}");
        }
        let public_key = unhex(&asked.public_key).context("the public key is malformed")?;
        let (instance, renewed) = match (asked.token, certified) {
            (Some(token), _) => (self.redeem(&token, &public_key).await?, None),
            (None, Certified::Instance(instance)) => (instance, shown),
            (None, Certified::Forgotten(_)) => bail!("this instance was forgotten"),
            (None, Certified::Unknown) => bail!("a token is needed: `neargate token` makes one"),
        };
        let now = (self.clock)();
        let issued = self.authority.issue(&instance, public_key, now)?;
        let certificate = AgentCertificate {
            fingerprint: issued.fingerprint,
            instance: instance.clone(),
            issued_at: now,
            expires_at: issued.expires_at,
            revoked_at: None,
        };
        let written = self.manager.certify(certificate, renewed).await;
        written.context("the certificate could not be written down")?;
        tracing::info!(%instance, "a machine has a certificate");
        let (certificate_pem, expires_at) = (issued.pem, issued.expires_at);
        Ok(JoinAnswer::Joined { instance, certificate_pem, expires_at })
    }

    async fn redeem(&self, token: &TokenProof, public_key: &[u8]) -> Result<InstanceId> {
        let secret = sha256(token.secret.expose().as_bytes());
        match self.manager.join(&token.id, &secret, &sha256(public_key)).await {
            Ok(instance) => Ok(instance),
            Err(TransactFailure::Aborted(refused)) => Err(refused.into()),
            Err(other) => Err(anyhow::Error::new(other).context("it could not be written down")),
        }
    }
}
