//! A deleted secret goes for good, with all its versions, when its recovery window has passed.

use crate::Context;
use model::Timestamp;
use model::secret::{Secret, SecretVersion};
use std::time::Duration;
use store::kinds::{secret_version_key, secret_version_prefix};
use store::{CommitFailure, Txn};

/// How often to look, in seconds; the window is counted in days.
const LOOK_EVERY_SECONDS: u64 = 60;

pub async fn run(cx: &Context) {
    let mut ticks = tokio::time::interval(Duration::from_secs(LOOK_EVERY_SECONDS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (snapshot, now) = (cx.store.snapshot(), cx.now());
        let due = snapshot.scan::<Secret>("").filter(|(_, secret)| is_due(secret, now));
        for (name, _) in due {
            let gone = cx.store.transact(|txn| Ok::<_, CommitFailure>(remove(txn, name, now)));
            match gone.await {
                Ok((true, _)) => tracing::info!(secret = name, "a deleted secret is gone"),
                Ok((false, _)) => {}
                Err(failure) => {
                    tracing::error!(secret = name, %failure, "a deleted secret stays; trying on");
                }
            }
        }
    }
}

fn is_due(secret: &Secret, now: Timestamp) -> bool {
    secret.gone_at.is_some_and(|at| at <= now)
}

/// A secret has so few versions that one transaction takes them all.
fn remove(txn: &mut Txn, name: &str, now: Timestamp) -> bool {
    // Guarded: it may be restored meanwhile.
    if !txn.get::<Secret>(name).is_some_and(|secret| is_due(&secret, now)) {
        return false;
    }
    let snapshot = txn.snapshot().clone();
    for (_, version) in snapshot.scan::<SecretVersion>(&secret_version_prefix(name)) {
        txn.delete::<SecretVersion>(&secret_version_key(name, &version.id));
    }
    txn.delete::<Secret>(name);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::Store;

    #[tokio::test]
    async fn a_secret_goes_when_its_window_has_passed_and_not_if_it_was_restored() {
        let store = Store::in_memory(store::kinds::all());
        let secret = |gone_at: Option<Timestamp>| Secret {
            name: "db".to_owned(),
            suffix: "AbCdEf".to_owned(),
            description: None,
            kms_key_id: None,
            tags: model::Tags::new(),
            policy: None,
            created_at: Timestamp(0),
            changed_at: Timestamp(0),
            accessed_at: None,
            deleted_at: gone_at.map(|_| Timestamp(1)),
            gone_at,
            stages: std::collections::BTreeMap::new(),
        };
        let version = |secret: &str| SecretVersion {
            secret: secret.to_owned(),
            id: "0123".to_owned(),
            created_at: Timestamp(0),
            accessed_at: None,
            sealed_value: String::new(),
            is_binary: false,
        };
        for (gone_at, now, goes) in [
            (Some(Timestamp(10)), Timestamp(9), false),
            (None, Timestamp(99), false),
            (Some(Timestamp(10)), Timestamp(10), true),
        ] {
            let mut txn = store.begin();
            txn.put(secret(gone_at));
            txn.put(version("db"));
            txn.put(version("db-2"));
            txn.commit().await.expect("committed");
            let removed = store.transact(|txn| Ok::<_, CommitFailure>(remove(txn, "db", now)));
            assert_eq!(removed.await.expect("committed").0, goes);
            let left = store.snapshot().count::<SecretVersion>("");
            assert_eq!(left, if goes { 1 } else { 2 }, "another's versions stay");
            assert_eq!(store.snapshot().get::<Secret>("db").is_none(), goes);
        }
    }
}
