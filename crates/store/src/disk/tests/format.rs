//! The format on disk: golden bytes that must stay readable, newer versions that must be refused,
//! and folders that are not what they should be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Item, Random, check_whole, do_deed, kinds};
use crate::commit::{Group, Row};
use crate::disk::{FORMAT, META, META_FORMAT, begin, row, wal};
use crate::record::{Kinds, Record, RecordFailure, encode};
use crate::snapshot::Revision;
use crate::txn::Address;
use crate::{OpenFailure, Store, hex};

/// A frame of format 1. Do not change it: states out there are made of such frames.
const GOLDEN_FRAME: &str = "6e66726d66000000b2be1c260700000000000000080000000000000007000000\
    0000000009006974656d2f3030303128000000\
    017b226964223a312c227772697474656e5f6279223a39392c2270616464696e67223a22c3a4227d\
    080000000000000009006974656d2f30303032ffffffff";

/// A record of format 1, as the table of records holds it.
const GOLDEN_RECORD: &str = "75cb76970700000000000000017b7d";

fn golden_group() -> Group {
    let kind = kinds().of::<Item>();
    let item = Item { id: 1, written_by: 99, padding: "ä".to_owned() };
    let address = |key: &str| Address { kind, key: Arc::from(key) };
    let put = Row { revision: Revision(7), stored: Some(encode(&item)) };
    let deleted = Row { revision: Revision(8), stored: None };
    let rows = [(address("0001"), put), (address("0002"), deleted)].into();
    Group { revision: Revision(8), rows }
}

#[test]
fn a_frame_is_written_as_ever() {
    let frame = row::encode_group(&golden_group(), Revision(6), &kinds());
    assert_eq!(hex::encode(&frame), GOLDEN_FRAME);
}

#[test]
fn a_golden_frame_reads_as_ever() {
    let frame = hex::decode(GOLDEN_FRAME).unwrap();
    let mut segment = wal::encode_header(&[7; 16], 7);
    segment.extend_from_slice(&frame);
    let Ok(frames) = wal::read(&segment, &[7; 16], 7, None) else { panic!("not readable") };
    let [frame] = &frames[..] else { panic!("one frame") };
    assert_eq!((frame.first, frame.last), (7, 8));
    let rows: Vec<_> = row::Rows::new(frame.rows).map(Result::unwrap).collect();
    assert_eq!((rows[0].revision, rows[0].name), (Revision(7), "item/0001"));
    let (version, body) = rows[0].stored.unwrap().split_first().unwrap();
    assert_eq!(Item::upgrade(*version, body).unwrap().written_by, 99);
    assert_eq!((rows[1].revision, rows[1].name), (Revision(8), "item/0002"));
    assert!(rows[1].stored.is_none());
}

#[test]
fn a_golden_record_reads_as_ever() {
    let record = row::encode_record("item/0001", Revision(7), b"\x01{}");
    assert_eq!(hex::encode(&record), GOLDEN_RECORD);
    let (revision, stored) = row::decode_record("item/0001", &record).unwrap();
    assert_eq!((revision, stored), (Revision(7), &b"\x01{}"[..]));
    assert!(row::decode_record("item/0002", &record).is_err(), "another name");
}

fn set_format(folder: &Path, format: u64) {
    let database = redb::Database::open(folder.join("records.redb")).unwrap();
    let txn = begin(&database).unwrap();
    let mut meta = txn.open_table(META).unwrap();
    meta.insert(META_FORMAT, format.to_le_bytes().as_slice()).unwrap();
    drop(meta);
    txn.commit().unwrap();
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path(), kinds()).unwrap().close().await;
    set_format(dir.path(), 41);
    let failure = Store::open(dir.path(), kinds()).err().unwrap();
    let text = failure.to_string();
    assert!(text.contains("41") && text.contains(&FORMAT.to_string()), "{text}");
    assert!(matches!(failure, OpenFailure::Newer { found: 41, .. }));
    set_format(dir.path(), FORMAT);
    Store::open(dir.path(), kinds()).unwrap().close().await;
}

/// `Item` as a later program has it.
#[derive(Debug, Serialize, Deserialize)]
struct LaterItem {
    id: u64,
    written_by: String,
}

impl Record for LaterItem {
    const KIND: &'static str = "item";
    const VERSION: u8 = 2;
    fn key(&self) -> String {
        format!("{:04}", self.id)
    }
    fn upgrade(version: u8, body: &[u8]) -> Result<Self, RecordFailure> {
        match version {
            1 => {
                let old: Item = crate::decode_newest(1, body)?;
                Ok(LaterItem { id: old.id, written_by: old.written_by.to_string() })
            }
            version => crate::decode_newest(version, body),
        }
    }
}

#[tokio::test]
async fn records_are_upgraded_and_newer_ones_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), kinds()).unwrap();
    let mut txn = store.begin();
    txn.put(Item { id: 1, written_by: 99, padding: String::new() });
    txn.put(Item { id: 2, written_by: 98, padding: String::new() });
    txn.commit().await.unwrap();
    store.close().await;

    let later = || Kinds::new().with::<LaterItem>();
    let store = Store::open(dir.path(), later()).unwrap();
    assert_eq!(store.snapshot().get::<LaterItem>("0001").unwrap().written_by, "99");
    let mut txn = store.begin();
    txn.put(LaterItem { id: 2, written_by: "them".to_owned() });
    txn.commit().await.unwrap();
    store.close().await;

    let store = Store::open(dir.path(), later()).unwrap();
    assert_eq!(store.snapshot().get::<LaterItem>("0001").unwrap().written_by, "99");
    assert_eq!(store.snapshot().get::<LaterItem>("0002").unwrap().written_by, "them");
    store.close().await;

    let failure = Store::open(dir.path(), kinds()).err().unwrap();
    let OpenFailure::Record { key, source, .. } = failure else { panic!("{failure}") };
    assert_eq!(key, "item/0002");
    assert!(matches!(source, RecordFailure::Newer { found: 2, newest: 1, .. }));

    let failure = Store::open(dir.path(), Kinds::new()).err().unwrap();
    assert!(matches!(failure, OpenFailure::UnknownKind { .. }), "{failure}");
}

/// Large enough for several batches and threads.
#[tokio::test]
async fn a_large_state_is_read_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), kinds()).unwrap();
    for first in (0..9000).step_by(100) {
        let mut txn = store.begin();
        for id in first..first + 100 {
            txn.put(Item { id, written_by: id * 7, padding: "p".repeat(id as usize % 50) });
        }
        txn.commit().await.unwrap();
    }
    store.close().await;
    let store = Store::open(dir.path(), kinds()).unwrap();
    let snapshot = store.snapshot();
    assert_eq!(snapshot.count::<Item>(""), 9000);
    for (at, (key, item)) in (0u64..).zip(snapshot.scan::<Item>("")) {
        assert_eq!((key, item.written_by), (format!("{at:04}").as_str(), at * 7));
        assert_eq!(snapshot.get::<Item>(key).unwrap().revision.0, at / 100 + 1);
    }
    store.close().await;
    // One record that can't be read, among thousands.
    let later = Kinds::new().with::<LaterItem>();
    let store = Store::open(dir.path(), later).unwrap();
    let mut txn = store.begin();
    txn.put(LaterItem { id: 4321, written_by: "them".to_owned() });
    txn.commit().await.unwrap();
    store.close().await;
    let failure = Store::open(dir.path(), kinds()).err().unwrap();
    assert!(matches!(&failure, OpenFailure::Record { key, .. } if key == "item/4321"), "{failure}");
}

#[tokio::test]
async fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), kinds()).unwrap();
    let failure = Store::open(dir.path(), kinds()).err().unwrap();
    let text = failure.to_string();
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    assert!(matches!(failure, OpenFailure::InUse { .. }));
    let cluster = store.cluster_id().to_owned();
    store.close().await;
    let store = Store::open(dir.path(), kinds()).unwrap();
    assert_eq!(store.cluster_id(), cluster);
    assert_eq!(cluster.len(), 32);
    store.close().await;
}

#[tokio::test]
async fn the_folder_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("a/state");
    let store = Store::open(&folder, kinds()).unwrap();
    do_deed(&store, 1, &mut Random(1)).await.unwrap();
    store.close().await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(files.iter().all(|path| mode(path) == 0o600), "{files:?}");
}

#[tokio::test]
async fn what_is_broken_is_never_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), kinds()).unwrap();
    do_deed(&store, 1, &mut Random(1)).await.unwrap();
    let deeds = check_whole(&store.snapshot());
    store.close().await;
    let path = dir.path().join("records.redb");
    let whole = fs::read(&path).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    for broken in [Some(Vec::new()), Some(vec![7; 5000]), Some(half), None] {
        match &broken {
            Some(content) => fs::write(&path, content).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let failure = Store::open(dir.path(), kinds()).err().unwrap();
        assert!(matches!(failure, OpenFailure::Damaged { .. }), "{failure}");
        assert_eq!(fs::read(&path).ok(), broken, "left as it is");
    }
    fs::write(&path, &whole).unwrap();
    let store = Store::open(dir.path(), kinds()).unwrap();
    assert_eq!(check_whole(&store.snapshot()), deeds);
    store.close().await;

    // A log of another state beside the records.
    let other = tempfile::tempdir().unwrap();
    Store::open(other.path(), kinds()).unwrap().close().await;
    let name = "00000000000000000001.wal";
    fs::copy(dir.path().join(name), other.path().join(name)).unwrap();
    let failure = Store::open(other.path(), kinds()).err().unwrap();
    assert!(failure.to_string().contains("another state"), "{failure}");
}
