//! The agent and the resolver, joined: neither knows the other. What a resolver doesn't know it
//! asks of this machine's own, also one on its loopback, which tasks themselves could not reach.

use crate::world::Random;
use agent::{NameServer, NameSockets};
use dns::{Place, Resolvers, Sockets};
use model::VpcId;
use model::discovery::NameTable;
use model::network::Cidr;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

const DNS_PORT: u16 = 53;
/// Resolvers that are asked at most. Source: resolv.conf(5), MAXNS.
const RESOLVERS_MAX: usize = 3;

/// The name server of this machine's VPCs.
pub struct Names(Resolvers);

impl Names {
    pub fn new(random: &Random) -> Self {
        // A machine without the file resolves nothing, and neither do its tasks.
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        Self(Resolvers::new(resolvers(&text), Arc::clone(random)))
    }
}

impl NameServer for Names {
    fn serve(&self, vpc: &VpcId, range: Cidr, domain: &str, sockets: NameSockets) {
        let NameSockets { datagrams, listeners } = sockets;
        let place = Place { range, domain: domain.to_owned() };
        let served = self.0.serve(vpc, place, Sockets { datagrams, listeners });
        if let Err(failure) = served {
            tracing::error!(%vpc, %failure, "a VPC's resolver could not be served");
        }
    }

    fn stop(&self, vpc: &VpcId) {
        self.0.stop(vpc);
    }

    fn learn(&self, everything: bool, tables: BTreeMap<VpcId, Arc<NameTable>>) {
        self.0.learn(everything, tables);
    }
}

fn resolvers(resolv_conf: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let named = words.next() == Some("nameserver");
        words.next().filter(|_| named)?.parse::<IpAddr>().ok()
    };
    let found = resolv_conf.lines().filter_map(address).take(RESOLVERS_MAX);
    found.map(|address| SocketAddr::new(address, DNS_PORT)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_resolvers_are_asked_in_their_order() {
        let text = "# c\nnameserver 127.0.0.53\nsearch x\nnameserver ::1\nnameserver 10.0.0.2 x\n\
                    nameserver nonsense\nnameserver 10.0.0.3\n";
        let found = resolvers(text);
        let expected = ["127.0.0.53:53", "[::1]:53", "10.0.0.2:53"];
        assert_eq!(found, expected.map(|text| text.parse().expect("an address")));
        assert_eq!(resolvers(""), []);
    }
}
