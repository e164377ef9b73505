//! A connection of a network load balancer: to a target of the listener's group, chosen by its
//! flow, and carried there byte for byte.

use crate::core::Core;
use crate::counts::GroupCount;
use crate::dial::connect;
use crate::leash::Leash;
use crate::limits::ATTEMPTS_MAX;
use crate::listener::Seat;
use crate::stream::{Flow, carry};
use crate::table::Act;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Source: ELB user guide, "Connection idle timeout" of network load balancers.
const IDLE: Duration = Duration::from_secs(350);

pub async fn serve(
    core: &Arc<Core>,
    seat: &Arc<Seat>,
    leash: &Leash,
    worker: usize,
    stream: TcpStream,
    client: SocketAddr,
) {
    let site = seat.site();
    let Some(Act::Forward(forwarding)) = site.actions.last() else { return };
    let Some(group) = forwarding.choose(None, core.draw(worker)).cloned() else { return };
    let SocketAddr::V4(client) = client else { return };
    let flow = Flow { client, listener: SocketAddrV4::new(*seat.at.ip(), site.port) };
    drop(site);
    let tally = &group.memory.tally;
    let mut avoided = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        let Some(lease) = group.pick_by_flow(&flow, &avoided) else { return };
        match connect(core, worker, &group, &lease).await {
            Ok(target) => {
                let mut gone = lease.gone.subscribe();
                let told = async {
                    tokio::select! {
                        () = leash.pulled() => {}
                        _ = gone.wait_for(|gone| *gone) => {}
                    }
                };
                carry(stream, target, IDLE, told).await;
                return;
            }
            Err(failure) => {
                tracing::debug!(%failure, target = %lease.shown, "a target was not reached");
                tally.add(worker, GroupCount::ConnectionErrors, 1);
                core.suspect(&lease);
                avoided.push(lease.tag);
            }
        }
    }
}
