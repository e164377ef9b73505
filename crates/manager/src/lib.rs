//! Cluster manager and capacity manager: loops that wake, read a snapshot, let `plan` decide and
//! commit what it decided, and the sessions with agents. A loop holds no truth of its own: an index
//! it keeps is folded from the store and can be thrown away at any moment.

mod admission;
mod agenda;
mod balancing;
mod context;
mod follow;
mod limits;
mod reconcile;
mod session;

pub use admission::{Certified, JoinFailure};
pub use balancing::BalancingFailure;
pub use context::Context;
pub use session::{Connected, Origin, SessionFailure};

use model::InstanceId;
use model::join::AgentCertificate;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::TransactFailure;
use tokio::io::{AsyncRead, AsyncWrite};

/// The manager of one control plane process.
#[derive(Clone)]
pub struct Manager {
    cx: Context,
    connected: Connected,
    services_rest: Arc<AtomicBool>,
}

impl Manager {
    pub fn new(cx: Context) -> Self {
        Self { cx, connected: Connected::default(), services_rest: Arc::default() }
    }

    /// Runs every loop until the store closes.
    pub async fn run(&self) {
        tokio::join!(
            reconcile::placement::run(&self.cx, &self.connected),
            reconcile::release::run(&self.cx, &self.connected),
            reconcile::deadlines::run(&self.cx),
            reconcile::draining::run(&self.cx),
            reconcile::events::run(&self.cx),
            reconcile::expiry::run(&self.cx),
            reconcile::fleet::run(&self.cx, &self.connected),
            reconcile::lifecycle_policy::run(&self.cx),
            reconcile::scaling::run(&self.cx),
            reconcile::secret_deletion::run(&self.cx),
            reconcile::services::run(&self.cx, &self.services_rest),
            reconcile::targets::run(&self.cx),
        );
    }

    /// From now on services start and stop nothing: who stops every task would else be told that
    /// each was replaced. For the rest of this process; the next takes services up again.
    pub fn rest_services(&self) {
        self.services_rest.store(true, Ordering::SeqCst);
    }

    /// Serves the balancer's process over a stream of bytes until it ends.
    pub async fn serve_balancer<S>(&self, stream: S) -> BalancingFailure
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        balancing::serve(&self.cx, stream).await
    }

    pub fn has_load_balancers(&self) -> bool {
        balancing::are_wanted(&self.cx.store.snapshot())
    }

    /// Completes when there is a load balancer, or, asked the other way, when there is none. False:
    /// the store is closed.
    pub async fn until_load_balancers(&self, wanted: bool) -> bool {
        balancing::until_wanted(&self.cx, wanted).await
    }

    /// Serves one agent over a stream of bytes until it ends.
    pub async fn serve_agent<S>(&self, origin: Origin, stream: S) -> SessionFailure
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        session::serve(&self.cx, &self.connected, origin, stream).await
    }

    /// Lets a machine in that shows a token; see `admission::join`.
    pub async fn join(
        &self,
        token: &str,
        secret_sha256: &str,
        public_key_sha256: &str,
    ) -> Result<InstanceId, TransactFailure<JoinFailure>> {
        admission::join(&self.cx, token, secret_sha256, public_key_sha256).await
    }

    /// Writes a certificate down; see `admission::certify`.
    pub async fn certify(
        &self,
        certificate: AgentCertificate,
        renewed: Option<String>,
    ) -> Result<(), TransactFailure<JoinFailure>> {
        admission::certify(&self.cx, certificate, renewed).await
    }

    /// Whose certificate it is, by its SHA-256.
    pub fn certified(&self, fingerprint: &str) -> Certified {
        admission::certified(&self.cx, fingerprint)
    }

    /// Whether an instance has a session now.
    pub fn is_connected(&self, instance: &InstanceId) -> bool {
        self.connected.has(instance)
    }
}
