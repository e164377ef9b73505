//! What resolvers on an instance must know: every VPC's table whole at first, then those that
//! changed. A burst of changes is one table.

use crate::Context;
use model::balancing::LoadBalancer;
use model::discovery::{DiscoveryInstance, DiscoveryService, NameTable, Namespace};
use model::network::{InterfaceKind, NetworkInterface, Vpc};
use model::session::ToAgent;
use model::{InterfaceId, VpcId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{Snapshot, WatchFailure};
use tokio::sync::mpsc;

/// How long changes are gathered, in milliseconds.
const GATHER_MS: u64 = 20;

/// Returns when the session or the store is over.
pub async fn keep_sending(cx: &Context, outbox: &mpsc::Sender<ToAgent>) {
    let mut sent: Option<BTreeMap<VpcId, Arc<NameTable>>> = None;
    loop {
        let snapshot = cx.store.snapshot();
        let mut watch = cx.store.watch(snapshot.revision());
        let tables = tables(&snapshot);
        if let Some(message) = news(sent.as_ref(), &tables)
            && outbox.send(message).await.is_err()
        {
            return;
        }
        sent = Some(tables);
        loop {
            match watch.next().await {
                Ok(batch) if batch.changes.iter().any(concerns_names) => break,
                Ok(_) => {}
                Err(WatchFailure::Compacted { .. }) => break,
                Err(WatchFailure::Closed) => return,
            }
        }
        tokio::time::sleep(Duration::from_millis(GATHER_MS)).await;
    }
}

fn concerns_names(change: &store::Change) -> bool {
    change.of::<DiscoveryInstance>().is_some()
        || change.of::<DiscoveryService>().is_some()
        || change.of::<Namespace>().is_some()
        || change.of::<Vpc>().is_some()
        || change.of::<LoadBalancer>().is_some()
        || change.of::<NetworkInterface>().is_some_and(|(old, new)| {
            [old, new].into_iter().flatten().any(|one| is_balancers(one.kind))
        })
}

fn is_balancers(kind: InterfaceKind) -> bool {
    matches!(kind, InterfaceKind::LoadBalancer | InterfaceKind::NetworkLoadBalancer)
}

fn tables(snapshot: &Snapshot) -> BTreeMap<VpcId, Arc<NameTable>> {
    let vpcs: Vec<_> = snapshot.scan::<Vpc>("").map(|(_, vpc)| vpc).collect();
    let namespaces: Vec<_> = snapshot.scan::<Namespace>("").map(|(_, it)| it).collect();
    let services: Vec<_> = snapshot.scan::<DiscoveryService>("").map(|(_, it)| it).collect();
    let instances: Vec<_> = snapshot.scan::<DiscoveryInstance>("").map(|(_, it)| it).collect();
    let interface = |id: &InterfaceId| snapshot.get::<NetworkInterface>(id.as_str());
    let balancers = snapshot
        .scan::<LoadBalancer>("")
        .map(|(_, it)| (it.dns_name.clone(), plan::names::balancer_addresses(&it, interface)));
    let tables = plan::names::tables(
        vpcs.iter().map(|it| &**it),
        namespaces.iter().map(|it| &**it),
        services.iter().map(|it| &**it),
        instances.iter().map(|it| &**it),
        &balancers.collect(),
    );
    tables.into_iter().map(|(vpc, table)| (vpc, Arc::new(table))).collect()
}

/// What has to be said. A VPC that is gone makes everything be said anew.
fn news(
    sent: Option<&BTreeMap<VpcId, Arc<NameTable>>>,
    tables: &BTreeMap<VpcId, Arc<NameTable>>,
) -> Option<ToAgent> {
    let Some(sent) = sent.filter(|sent| sent.keys().all(|vpc| tables.contains_key(vpc))) else {
        return Some(ToAgent::Names { everything: true, tables: tables.clone() });
    };
    let changed: BTreeMap<_, _> = tables
        .iter()
        .filter(|(vpc, table)| sent.get(*vpc) != Some(table))
        .map(|(vpc, table)| (vpc.clone(), Arc::clone(table)))
        .collect();
    (!changed.is_empty()).then_some(ToAgent::Names { everything: false, tables: changed })
}
