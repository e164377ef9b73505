//! What a task's own network tells it, at 169.254.170.2: metadata and statistics of itself, its
//! protection, the keys of its role (`credentials`), and a way to our API. One listener of each
//! kind for a VPC, none for a task: who asks is told by the address it asks from.

mod answer;
mod api;
mod document;
mod protection;
mod residents;
mod server;
mod stats;

pub use answer::{Answer, json};
pub use api::Api;
pub use residents::{Resident, Residents};

use crate::Shared;
use crate::images::Images;
use model::VpcId;
use runtime::{Embedded, Failure, Runtime};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::{Arc, Weak};
use tokio::task::JoinSet;

/// Where metadata and credentials are. Source: developer guide, task-iam-roles.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
const PORT: u16 = 80;
/// Where our API is for tasks, whatever the endpoint itself listens on: what a running task was
/// told must stay true when the endpoint is started anew elsewhere.
pub const API_PORT: u16 = 4566;
/// A VPC's resolver at the address that all VPCs have. Source: VPC user guide, DNS.
const RESOLVER: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 253);
const DNS_PORT: u16 = 53;

/// Sockets in a VPC's network on this instance.
pub trait Doors: Send + Sync + 'static {
    fn listener(&self, vpc: &VpcId, at: SocketAddrV4) -> Result<TcpListener, Failure>;
    fn datagram(&self, vpc: &VpcId, at: SocketAddrV4) -> Result<UdpSocket, Failure>;
}

impl Doors for Embedded {
    fn listener(&self, vpc: &VpcId, at: SocketAddrV4) -> Result<TcpListener, Failure> {
        self.vpc_listener(vpc, at)
    }

    fn datagram(&self, vpc: &VpcId, at: SocketAddrV4) -> Result<UdpSocket, Failure> {
        self.vpc_datagram(vpc, at)
    }
}

/// Answers questions for names, VPC by VPC.
pub trait NameServer: Send + Sync + 'static {
    /// Serves a VPC on these sockets from now on, instead of those it was served on before.
    fn serve(&self, vpc: &VpcId, range: model::network::Cidr, sockets: NameSockets);

    /// What is known of names. `everything`: a VPC that is not named is not known any more.
    fn learn(
        &self,
        everything: bool,
        tables: std::collections::BTreeMap<VpcId, Arc<model::discovery::NameTable>>,
    );
}

/// Where a VPC's tasks ask for names.
#[derive(Debug)]
pub struct NameSockets {
    pub datagrams: Vec<UdpSocket>,
    pub listeners: Vec<TcpListener>,
}

/// Opens a VPC's sockets and serves them in tasks of `serving`, which ends them when it is dropped.
pub fn open<R: Runtime, I: Images>(
    shared: &Arc<Shared<R, I>>,
    doors: &dyn Doors,
    names: &dyn NameServer,
    vpc: &VpcId,
    range: model::network::Cidr,
    serving: &mut JoinSet<()>,
) -> Result<(), Failure> {
    let metadata = doors.listener(vpc, SocketAddrV4::new(ADDRESS, PORT))?;
    let api = doors.listener(vpc, SocketAddrV4::new(ADDRESS, API_PORT))?;
    // What serves must not keep alive what it serves: the runtime is taken apart at the end.
    let weak: Weak<Shared<R, I>> = Arc::downgrade(shared);
    serving.spawn(report_end(vpc.clone(), server::serve(weak.clone(), vpc.clone(), metadata)));
    serving.spawn(report_end(vpc.clone(), api::serve(weak, vpc.clone(), api)));
    let addresses = [Some(RESOLVER), range.nth(2)];
    let mut sockets = NameSockets { datagrams: Vec::new(), listeners: Vec::new() };
    for address in addresses.into_iter().flatten() {
        let at = SocketAddrV4::new(address, DNS_PORT);
        sockets.datagrams.push(doors.datagram(vpc, at)?);
        sockets.listeners.push(doors.listener(vpc, at)?);
    }
    names.serve(vpc, range, sockets);
    Ok(())
}

async fn report_end(vpc: VpcId, serving: impl Future<Output = io::Result<()>>) {
    if let Err(failure) = serving.await {
        tracing::error!(%vpc, %failure, "a VPC's endpoints could not be served");
    }
}
