//! Lines of the log of connections, for load balancers that keep one: one for each connection that
//! came to be, or failed to. Source: ELB user guide, "Connection logs for your Application Load
//! Balancer".

use crate::connection::Tls;
use crate::core::Core;
use crate::table::Site;
use crate::time::{iso, unix};
use std::net::SocketAddr;
use std::time::Duration;

/// How it went.
#[derive(Clone, Copy)]
pub enum Opening<'a> {
    Plain,
    Secure {
        tls: &'a Tls,
        handshake: Duration,
    },
    /// There was no handshake that came to an end. What was wrong the client knows better.
    Failed,
}

pub fn note(core: &Core, site: &Site, client: SocketAddr, trace: u128, opening: Opening<'_>) {
    let log = core.connection_log.as_ref().filter(|_| site.front.settings.connection_log);
    if let Some(log) = log {
        log.write(line(unix(), site.port, client, trace, opening));
    }
}

/// Nobody is asked for a certificate, so there is nothing to tell of one.
fn line(at: Duration, port: u16, client: SocketAddr, trace: u128, opening: Opening<'_>) -> String {
    let (protocol, cipher, latency, status) = match opening {
        Opening::Plain => ("-", "-", "-".to_owned(), "-"),
        Opening::Secure { tls, handshake } => {
            (tls.version, tls.cipher, format!("{:.3}", handshake.as_secs_f64()), "Success")
        }
        Opening::Failed => ("-", "-", "-".to_owned(), "Failed:UnmappedConnectionError"),
    };
    let (at, ip, from, id) = (iso(at), client.ip(), client.port(), trace_id(trace));
    format!("{at} {ip} {from} {port} {protocol} {cipher} {latency} \"-\" - - {status} {id}")
}

/// By which this log and that of requests are joined.
pub fn trace_id(trace: u128) -> String {
    format!("TID_{trace:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_albs() {
        let of = |port, opening| {
            let client = "203.0.113.1:36280".parse().expect("an address");
            line(Duration::from_micros(1_696_439_115_514_108), port, client, 0x17, opening)
        };
        let tls = Tls {
            version: "TLSv1.2",
            cipher: "ECDHE-RSA-AES128-GCM-SHA256",
            server_name: None,
            certificate: None,
        };
        let handshake = Duration::from_micros(4_036_200);
        let id = "TID_00000000000000000000000000000017";
        let begin = "2023-10-04T17:05:15.514108Z 203.0.113.1 36280";
        assert_eq!(
            of(443, Opening::Secure { tls: &tls, handshake }),
            format!("{begin} 443 TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256 4.036 \"-\" - - Success {id}")
        );
        assert_eq!(
            of(443, Opening::Failed),
            format!("{begin} 443 - - - \"-\" - - Failed:UnmappedConnectionError {id}")
        );
        assert_eq!(of(80, Opening::Plain), format!("{begin} 80 - - - \"-\" - - - {id}"));
    }
}
