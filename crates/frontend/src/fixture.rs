//! A context for tests of operations: stores in memory and in a temporary folder, a clock that
//! stands still until it is moved, and ids that count.

use crate::context::{Caller, Context};
use model::Timestamp;
use model::arn::Locality;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use store::Store;
use store::blob::{FolderObjects, Staging};
use store::logs::{Durability, Logs};
use store::metrics::Metrics;
use store::secret::Sealer;
use tempfile::TempDir;

pub const NOW: Timestamp = Timestamp(1_750_000_000_000);

pub struct Fixture {
    pub cx: Context,
    pub caller: Caller,
    now_ms: Arc<AtomicI64>,
    _folder: TempDir,
}

impl Fixture {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let now_ms = Arc::new(AtomicI64::new(NOW.0));
        let clock = Arc::clone(&now_ms);
        let count = AtomicU64::new(1);
        let cx = Context {
            store: Store::in_memory(store::kinds::all()),
            logs: Logs::open(&at("logs"), Durability::Written).expect("a folder"),
            metrics: Metrics::default(),
            blobs: Arc::new(FolderObjects::open(&at("blobs")).expect("a folder")),
            staging: Staging::open(&at("uploads")).expect("a folder"),
            locality: Arc::new(Locality {
                region: "us-east-1".into(),
                account: "000000000000".into(),
            }),
            sealer: Arc::new(Sealer::open(&at("key")).expect("a key")),
            clock: Arc::new(move || Timestamp(clock.load(Ordering::SeqCst))),
            random: Arc::new(move || u128::from(count.fetch_add(1, Ordering::SeqCst))),
            registry_password: Arc::new(|now| ("password".to_owned(), now.plus_seconds(43_200))),
            presigned_query: Arc::new(|path, _| format!("signed={}", path.len())),
            collect_images: Arc::new(|_| Box::pin(std::future::ready(None))),
            instance_images: Arc::new(|_| Box::pin(std::future::ready(None))),
            is_connected: Arc::new(|_| false),
            mint_join_token: Arc::new(|| None),
            family_queues: crate::ecs::FamilyQueues::default(),
        };
        let caller = Caller {
            access_key: "AKIA0000000000000000".into(),
            principal_arn: cx.locality.root_principal().into(),
            user_id: "000000000000".into(),
            host: "127.0.0.1:4566".into(),
        };
        Self { cx, caller, now_ms, _folder: folder }
    }

    /// Lets time pass.
    pub fn pass_ms(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::SeqCst);
    }
}
