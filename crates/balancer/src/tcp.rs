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
use crate::target::Target;
use model::balancing::GroupSettings;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// Source: ELB user guide, "Connection idle timeout" of network load balancers.
const IDLE_SECONDS: u32 = 350;

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
    let idle = site.entry.settings.idle_timeout_seconds.unwrap_or(IDLE_SECONDS);
    let idle = Duration::from_secs(u64::from(idle));
    drop(site);
    let tally = &group.memory.tally;
    let mut avoided = Vec::new();
    for _ in 0..ATTEMPTS_MAX {
        let Some(lease) = group.pick_by_flow(&flow, &avoided) else { return };
        match connect(core, worker, &group, &lease).await {
            Ok(target) => {
                let told = async {
                    tokio::select! {
                        () = leash.pulled() => {}
                        () = cut(&lease, &group.entry.settings) => {}
                    }
                };
                carry(stream, target, idle, told).await;
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

/// When the group wants connections to the target to end. Source: ELB user guide, network load
/// balancers, "Connection termination for unhealthy targets" and "Deregistration delay".
async fn cut(target: &Target, settings: &GroupSettings) {
    let (mut gone, mut fell_ill) = (target.gone.subscribe(), target.fell_ill.subscribe());
    let gone = async { drop(gone.wait_for(|gone| *gone).await) };
    tokio::select! {
        () = gone, if settings.cut_deregistered => {}
        _ = fell_ill.changed(), if settings.cut_unhealthy => {}
        else => std::future::pending().await,
    }
}
