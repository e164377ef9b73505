//! The link with the balancer's process. Down goes the table it serves from, whole, after every
//! commit that changes it: what changes while one is written is in the next. Up come its findings,
//! which are folded into the records of targets' health. Losing the link stops no request: the
//! balancer goes on with the table it has.

mod metrics;

use crate::Context;
use crate::limits::{FOUND_PER_COMMIT_MAX, READ_BYTES};
use crate::session::{Messages, StreamFailure};
use model::Timestamp;
use model::balancing::{
    BalancerTable, Certificate, CertificateWithKey, Certificates, Found, FromBalancer, Listener,
    LoadBalancer, Rule, Target, TargetGroup, TargetHealth, TargetKey, ToBalancer,
};
use model::credentials::Hidden;
use model::frame::{self, FrameFault};
use model::network::NetworkInterface;
use std::collections::BTreeSet;
use std::sync::Arc;
use store::kinds::target_key;
use store::vault::open_certificate;
use store::{Change, CommitFailure, Snapshot, TransactFailure, Txn, Watch, WatchFailure};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

#[derive(Debug, thiserror::Error)]
pub enum BalancingFailure {
    #[error("the link with the balancer failed")]
    Stream(#[from] StreamFailure),
    #[error("the balancer's findings could not be stored")]
    Store(#[source] Box<TransactFailure<CommitFailure>>),
    #[error("the control plane is closing")]
    Closing,
}

impl From<FrameFault> for BalancingFailure {
    fn from(fault: FrameFault) -> Self {
        Self::Stream(fault.into())
    }
}

/// Serves one balancer until the link ends; says why it ended.
pub async fn serve<S>(cx: &Context, stream: S) -> BalancingFailure
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(stream);
    let ended = tokio::select! {
        ended = keep_telling(cx, writer) => ended,
        ended = keep_hearing(cx, Messages::new(reader)) => ended,
        never = metrics::keep_counting(cx) => match never {},
    };
    match ended {
        Ok(()) => BalancingFailure::Closing,
        Err(failure) => failure,
    }
}

pub fn are_wanted(snapshot: &Snapshot) -> bool {
    snapshot.count::<LoadBalancer>("") > 0
}

/// See `Manager::until_load_balancers`.
pub async fn until_wanted(cx: &Context, wanted: bool) -> bool {
    loop {
        let snapshot = cx.store.snapshot();
        if are_wanted(&snapshot) == wanted {
            return true;
        }
        let mut watch = cx.store.watch(snapshot.revision());
        if !changed(&mut watch, |change| change.of::<LoadBalancer>().is_some()).await {
            return false;
        }
    }
}

/// Waits for a change that matters. False: the store is closed.
async fn changed(watch: &mut Watch, matters: impl Fn(&Change) -> bool) -> bool {
    loop {
        match watch.next().await {
            Ok(batch) if batch.changes.iter().any(&matters) => return true,
            Ok(_) => {}
            Err(WatchFailure::Compacted { .. }) => return true,
            Err(WatchFailure::Closed) => return false,
        }
    }
}

async fn keep_telling<W: AsyncWrite + Unpin>(
    cx: &Context,
    mut writer: W,
) -> Result<(), BalancingFailure> {
    let mut told: Option<(BalancerTable, Certificates)> = None;
    let mut bytes = Vec::with_capacity(READ_BYTES);
    loop {
        let snapshot = cx.store.snapshot();
        let news = (table(&snapshot), certificates(cx, &snapshot));
        if told.as_ref() != Some(&news) {
            let (table, certificates) = (Arc::new(news.0.clone()), Arc::new(news.1.clone()));
            bytes.clear();
            frame::encode(&ToBalancer::Table { table, certificates }, &mut bytes)?;
            writer.write_all(&bytes).await.map_err(StreamFailure::Io)?;
            writer.flush().await.map_err(StreamFailure::Io)?;
            told = Some(news);
        }
        let mut watch = cx.store.watch(snapshot.revision());
        if !changed(&mut watch, concerns_balancing).await {
            return Ok(());
        }
    }
}

fn concerns_balancing(change: &Change) -> bool {
    let held = |interface: Option<Arc<NetworkInterface>>| {
        interface
            .is_some_and(|interface| interface.kind == model::network::InterfaceKind::LoadBalancer)
    };
    change.of::<Target>().is_some()
        || change.of::<LoadBalancer>().is_some()
        || change.of::<Listener>().is_some()
        || change.of::<Rule>().is_some()
        || change.of::<TargetGroup>().is_some()
        || change.of::<Certificate>().is_some()
        || change.of::<NetworkInterface>().is_some_and(|(old, new)| held(old) || held(new))
}

fn table(snapshot: &Snapshot) -> BalancerTable {
    let balancers: Vec<_> = snapshot.scan::<LoadBalancer>("").map(|(_, it)| it).collect();
    let listeners: Vec<_> = snapshot.scan::<Listener>("").map(|(_, it)| it).collect();
    let rules: Vec<_> = snapshot.scan::<Rule>("").map(|(_, it)| it).collect();
    let groups: Vec<_> = snapshot.scan::<TargetGroup>("").map(|(_, it)| it).collect();
    let targets: Vec<_> = snapshot.scan::<Target>("").map(|(_, it)| it).collect();
    let records = plan::routes::Records {
        balancers: balancers.iter().map(|it| &**it).collect(),
        listeners: listeners.iter().map(|it| &**it).collect(),
        rules: rules.iter().map(|it| &**it).collect(),
        groups: groups.iter().map(|it| &**it).collect(),
        targets: targets.iter().map(|it| &**it).collect(),
    };
    plan::routes::table(&records, |id| {
        snapshot.get::<NetworkInterface>(id.as_str()).map(|interface| interface.private_ip)
    })
}

/// Those that listeners name, with their keys: they are unsealed for this link alone.
fn certificates(cx: &Context, snapshot: &Snapshot) -> Certificates {
    let listeners = snapshot.scan::<Listener>("");
    let named: BTreeSet<String> =
        listeners.flat_map(|(_, listener)| listener.certificates.clone()).collect();
    let mut certificates = Certificates::new();
    for arn in named {
        let Some(certificate) = snapshot.get::<Certificate>(&arn) else { continue };
        let opened = open_certificate(&cx.sealer, &certificate);
        let Some(key_pem) = opened.as_ref().ok().and_then(|key| key.expose_str()) else {
            tracing::error!(arn, "the key of a certificate could not be opened");
            continue;
        };
        let chain_pem = certificate.chain_pem.clone();
        let key_pem = Hidden::new(key_pem);
        certificates.insert(arn, CertificateWithKey { chain_pem, key_pem });
    }
    certificates
}

async fn keep_hearing<R: AsyncRead + Unpin>(
    cx: &Context,
    mut messages: Messages<R>,
) -> Result<(), BalancingFailure> {
    loop {
        match messages.next::<FromBalancer>().await? {
            FromBalancer::Hello { version, pid } => {
                tracing::info!(version, pid, "the balancer is there");
            }
            FromBalancer::Found { everything, found } => fold(cx, everything, &found).await?,
            FromBalancer::Learned { failures } => {
                for failure in failures {
                    tracing::warn!(failure, "a part of load balancing is not served");
                }
            }
            FromBalancer::Served(served) => metrics::note(cx, &served),
        }
    }
}

async fn fold(
    cx: &Context,
    everything: bool,
    found: &[(TargetKey, Found)],
) -> Result<(), BalancingFailure> {
    for group in found.chunks(FOUND_PER_COMMIT_MAX) {
        let now = cx.now();
        commit(cx, |txn| group.iter().for_each(|(key, found)| note(txn, key, found, now))).await?;
    }
    if everything {
        // Nobody looks at what is not among it: it is not known any more.
        let named: BTreeSet<String> =
            found.iter().map(|(key, _)| target_key(&key.group, &key.id, key.port)).collect();
        let snapshot = cx.store.snapshot();
        let all = snapshot.scan::<TargetHealth>("").map(|(key, _)| key.to_owned());
        let unknown: Vec<String> = all.filter(|key| !named.contains(key)).collect();
        for keys in unknown.chunks(FOUND_PER_COMMIT_MAX) {
            commit(cx, |txn| keys.iter().for_each(|key| txn.delete::<TargetHealth>(key))).await?;
        }
    }
    Ok(())
}

async fn commit(cx: &Context, mut write: impl FnMut(&mut Txn)) -> Result<(), BalancingFailure> {
    let committed = cx.store.transact(|txn| {
        write(txn);
        Ok::<(), CommitFailure>(())
    });
    committed.await.map_err(|failure| BalancingFailure::Store(Box::new(failure)))?;
    Ok(())
}

/// Folds one finding in. What is said of a target that is not there is about one that was.
fn note(txn: &mut Txn, key: &TargetKey, found: &Found, now: Timestamp) {
    let at = target_key(&key.group, &key.id, key.port);
    let Some(target) = txn.get::<Target>(&at) else { return };
    let known = txn.get::<TargetHealth>(&at);
    // Only what drains can be drained; one that was taken back is not.
    let drained = found.drained && target.draining_since.is_some();
    let same = known.is_some_and(|known| {
        let fresh = target.draining_since.is_none_or(|since| known.since >= since);
        known.state == found.state
            && known.reason == found.reason
            && known.description == found.description
            && known.drained == drained
            && (fresh || !drained)
    });
    if !same {
        txn.put(TargetHealth {
            group: key.group.clone(),
            id: key.id.clone(),
            port: key.port,
            state: found.state,
            reason: found.reason.clone(),
            description: found.description.clone(),
            since: now,
            drained,
        });
    }
}
