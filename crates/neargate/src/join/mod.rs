//! Machines that join a control plane elsewhere (ADR 0019): the control plane is a certificate
//! authority for its agents and listens for them on a port of its own (`gate`); a machine shows a
//! token once (`membership`), and everything that goes between the two is TLS from both sides. One
//! port carries three things, told apart by the name that TLS negotiates (ALPN): the call by which
//! a machine joins, the agent's session, and HTTP, so that images and the API are reached from
//! machines that can't reach the endpoint itself (`carry`).

mod accept;
pub mod authority;
pub mod carry;
pub mod gate;
pub mod membership;
mod message;
pub mod token;

use crate::cli;
use crate::client::{Client, text};
use anyhow::Result;
use ring::digest::{SHA256, digest};
use std::time::Duration;

/// Names that TLS negotiates.
pub const JOIN: &[u8] = b"neargate-join/1";
pub const SESSION: &[u8] = b"neargate-session/1";
pub const HTTP: &[u8] = b"neargate-http/1";
/// Whom an agent asks for, whatever address it finds it at.
pub const CONTROL_PLANE: &str = "control-plane.neargate.internal";
/// How long either side waits for the other's part of a handshake or of joining.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of a message of joining.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// In hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// None: they are no hexadecimal digits.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pair = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).ok().filter(|text| !text.starts_with('+'))?;
        u8::from_str_radix(text, 16).ok()
    };
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(pair).collect()).flatten()
}

/// `neargate token`: prints what to run on the machine that is to join.
pub async fn offer(wish: &cli::JoinToken) -> Result<()> {
    let client = Client::of(&wish.folder.data_dir)?;
    let seconds = u64::from(wish.valid_minutes) * 60;
    let path = format!("/neargate/v1/join-tokens?validSeconds={seconds}&uses={}", wish.uses);
    let made = client.operate(&path).await?;
    println!(
        "neargate agent --join {} --token {}",
        text(&made, "/address")?,
        text(&made, "/token")?
    );
    Ok(())
}
