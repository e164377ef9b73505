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
    /// `domain` is what the names of its addresses end in.
    fn serve(&self, vpc: &VpcId, range: model::network::Cidr, domain: &str, sockets: NameSockets);

    /// Lets go of a VPC's sockets.
    fn stop(&self, vpc: &VpcId);

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
    domain: &str,
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
    names.serve(vpc, range, domain, sockets);
    Ok(())
}

async fn report_end(vpc: VpcId, serving: impl Future<Output = io::Result<()>>) {
    if let Err(failure) = serving.await {
        tracing::error!(%vpc, %failure, "a VPC's endpoints could not be served");
    }
}

#[cfg(test)]
pub mod tests {
    use super::document::{Version, container, task};
    use super::*;
    use model::session::{AssignedSubnet, Assignment, Inside};
    use model::task::TaskInterface;
    use model::task_definition::{ContainerTemplate, TaskTemplate};
    use serde_json::{Value, json};

    /// An assignment of one container; `credentials` is the path of its role's keys.
    pub fn assignment(task: &str, credentials: Option<&str>) -> Arc<Assignment> {
        let container = ContainerTemplate {
            name: "curl".to_owned(),
            image: "curlimages/curl".to_owned(),
            ..ContainerTemplate::default()
        };
        let template = TaskTemplate {
            cpu_units: 256,
            memory_mib: 512,
            containers: vec![container],
            ..TaskTemplate::default()
        };
        let range = |text| model::network::Cidr::parse(text).expect("a range");
        let interface = TaskInterface {
            attachment: "a".into(),
            interface: "eni-1".into(),
            vpc: "vpc-1".into(),
            subnet: "subnet-1".into(),
            private_ip: Ipv4Addr::new(172, 31, 42, 189),
            public_ip: None,
            mac: "0e:98:9f:33:76:d3".to_owned(),
            private_dns_name: "ip-172-31-42-189.ec2.internal".to_owned(),
            resolving: None,
        };
        let subnet = AssignedSubnet {
            vpc_cidr: range("172.31.0.0/16"),
            cidr: range("172.31.32.0/20"),
            gateway: Ipv4Addr::new(172, 31, 32, 1),
            vpc_subnets: Vec::new(),
        };
        let inside = Inside {
            runtime_ids: vec![format!("{task}-1117626119")],
            container_arns: vec!["arn:c".to_owned()],
            credentials: credentials.map(str::to_owned),
            zone_id: "use1-az3".to_owned(),
            ..Inside::default()
        };
        let whole = json!({
            "task": task, "cluster": "default", "task_arn": "arn:t", "cluster_arn": "arn:cl",
            "family": "sample", "revision": 5, "desired": "Running", "template": template,
            "container_ids": [], "interface": interface, "subnet": subnet,
            "containers_fact": "Unseen", "start_failure": null, "launch_type": "FARGATE",
            "zone": "us-east-1d", "region": "us-east-1", "inside": inside,
            "registry_credentials": {}, "secrets": {},
        });
        Arc::new(serde_json::from_value(whole).expect("an assignment"))
    }

    /// The guide's own example, where it does not depend on what has happened.
    #[test]
    fn a_task_is_described_as_the_guide_does() {
        let assignment = assignment("bfa2636268144d039771334145e490c5", None);
        let told = serde_json::to_value(task(Version::V4, &assignment, None, false, None));
        let told = told.expect("JSON");
        assert_eq!(told["Limits"], json!({ "CPU": 0.25, "Memory": 512 }));
        assert_eq!(told["Revision"], json!("5"));
        assert_eq!(told["AvailabilityZoneID"], json!("use1-az3"));
        assert_eq!(told["KnownStatus"], json!("NONE"));
        let one = &told["Containers"][0];
        assert_eq!(one["DockerId"], json!("bfa2636268144d039771334145e490c5-1117626119"));
        assert_eq!(one["Limits"], json!({ "CPU": 2 }));
        assert_eq!(
            one["Networks"],
            json!([{
                "NetworkMode": "awsvpc",
                "IPv4Addresses": ["172.31.42.189"],
                "AttachmentIndex": 0,
                "MACAddress": "0e:98:9f:33:76:d3",
                "IPv4SubnetCIDRBlock": "172.31.32.0/20",
                "DomainNameServers": ["172.31.0.2"],
                "DomainNameSearchList": ["ec2.internal"],
                "PrivateDNSName": "ip-172-31-42-189.ec2.internal",
                "SubnetGatewayIpv4Address": "172.31.32.1/20"
            }])
        );
        let older = container(Version::V3, &assignment, None, 0).expect("a container");
        let older = serde_json::to_value(older).expect("JSON");
        let network = json!([{ "NetworkMode": "awsvpc", "IPv4Addresses": ["172.31.42.189"] }]);
        assert_eq!(older["Networks"], network);
        assert_eq!(older.get("ExitCode"), None::<&Value>);
    }
}
