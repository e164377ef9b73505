//! What the assembly tells the balancer once, at its start.

use std::path::PathBuf;

/// `Debug` does not show the seed: cookies are sealed with it.
#[derive(Clone)]
pub struct Settings {
    /// The folder for logs of load balancers that keep some.
    pub access_log: Option<PathBuf>,
    /// What ARNs of ours begin with, as in `arn:aws:elasticloadbalancing:us-east-1:123456789012`;
    /// for the access log.
    pub arn_prefix: String,
    /// Random, and the same after a restart, so that clients stay with their targets.
    pub seed: [u8; 32],
    /// Threads that serve.
    pub workers: usize,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = out.debug_struct("Settings");
        shown.field("access_log", &self.access_log).field("arn_prefix", &self.arn_prefix);
        shown.field("workers", &self.workers).finish_non_exhaustive()
    }
}
