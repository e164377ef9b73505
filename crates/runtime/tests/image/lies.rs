//! Layers that are not what they say: streams that end early or go on too long, several streams in
//! one, wrong types, digests of something else. Either the tree is the one that was meant, or the
//! pull is refused, nothing is left of it, and ECS's reason says what is wrong.

use crate::registry::{Layer, Registry, push};
use crate::tars::{directory, file, item, tar};
use crate::trees::{Tree, tree};
use crate::{open, pull};
use runtime::image::{Digest, PullFailure};
use std::io::Write as _;

fn archive() -> Vec<u8> {
    let body: String = (0..20_000).map(|n| format!("{n} ")).collect();
    tar(&[directory("./"), directory("folder"), file("folder/file", &body), file("last", "last")])
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

async fn outcome(blob: &[u8], unpacked: &[u8]) -> Result<Tree, PullFailure> {
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    push(&registry, &[Layer { blob: blob.to_vec(), diff_id: Digest::of(unpacked) }]);
    let store = home.path().join("store");
    let pulled = pull(&open(&store), &registry).await;
    if pulled.is_err() {
        for folder in ["tmp", "layers", "images", "tags", "l"] {
            assert_eq!(std::fs::read_dir(store.join(folder)).unwrap().count(), 0, "{folder}");
        }
    }
    pulled.map(|image| tree(&image.layers[0]))
}

/// Refused as the layer's fault, with these words in what its user reads.
async fn refused(name: &str, blob: &[u8], words: &str) {
    match outcome(blob, &archive()).await {
        Err(failure @ (PullFailure::BadLayer { .. } | PullFailure::DiffIdMismatch { .. })) => {
            let reason = failure.ecs_reason();
            assert!(reason.starts_with("CannotPullContainerError: "), "{name}: {reason}");
            assert!(reason.contains(words), "{name}: {reason}");
        }
        Err(other) => panic!("{name}: {other}"),
        Ok(_) => panic!("{name}: was not refused"),
    }
}

#[tokio::test]
async fn several_streams_in_a_row_are_one_layer() {
    let whole = archive();
    let expected = outcome(&whole, &whole).await.unwrap();
    assert_eq!(expected.keys().collect::<Vec<_>>(), ["", "folder", "folder/file", "last"]);
    let (first, second) = whole.split_at(700);
    let skippable = [&[0x5e, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any"].concat();
    let streams: [(&str, Vec<u8>); 6] = [
        ("two members", [gzip(first), gzip(second)].concat()),
        ("an empty member between", [gzip(first), gzip(b""), gzip(second)].concat()),
        ("two frames", [zstd(first), zstd(second)].concat()),
        ("a skippable frame first", [skippable.clone(), zstd(&whole)].concat()),
        ("one in the middle", [zstd(first), skippable.clone(), zstd(second)].concat()),
        ("one at the end", [zstd(&whole), skippable].concat()),
    ];
    for (name, blob) in streams {
        let found = outcome(&blob, &whole).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(found, expected, "{name}");
    }
}

#[tokio::test]
async fn streams_that_end_early_or_go_on_are_refused() {
    let whole = archive();
    let (zipped, framed) = (gzip(&whole), zstd(&whole));
    let failed = "failed to extract layer";
    for cut in [11, 100, zipped.len() / 2, zipped.len() - 8, zipped.len() - 1] {
        refused(&format!("gzip cut at {cut}"), &zipped[..cut], failed).await;
    }
    for cut in [5, 100, framed.len() / 2, framed.len() - 1] {
        refused(&format!("zstd cut at {cut}"), &framed[..cut], failed).await;
    }
    refused("garbage behind zstd", &[&framed[..], b"garbage"].concat(), failed).await;
    refused("gzip's head behind gzip", &[&zipped[..], &[0x1f, 0x8b, 8]].concat(), failed).await;
    let mut flipped = zipped.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    refused("a changed bit", &flipped, failed).await;
    for at in [8, 4] {
        // The checksum and the length at gzip's end.
        let mut wrong = zipped.clone();
        let place = wrong.len() - at;
        wrong[place] ^= 1;
        refused("a wrong end", &wrong, failed).await;
    }
    refused("two compressions", &gzip(&zipped), failed).await;
    refused("no tar", &gzip(&[b'x'; 5000]), "invalid tar header").await;
    refused("half a header", &gzip(&whole[..300]), "unexpected EOF").await;
    refused("half a file", &gzip(&whole[..2000]), "unexpected EOF").await;
}

#[tokio::test]
async fn what_stands_behind_the_end_counts_for_the_digest_and_is_never_unpacked() {
    let more = [archive(), tar(&[file("smuggled", "x")])].concat();
    let found = outcome(&gzip(&more), &more).await.unwrap();
    assert_eq!(found, outcome(&archive(), &archive()).await.unwrap());
    // Under the digest of the honest part it is another layer.
    refused("behind the end", &gzip(&more), "wrong diff id").await;
    refused("in a second member", &[gzip(&archive()), gzip(b"more")].concat(), "wrong diff id")
        .await;
    // Without an end, and with half of one.
    let whole = archive();
    for blocks in [1, 2] {
        let open_ended = &whole[..whole.len() - blocks * 512];
        assert_eq!(outcome(open_ended, open_ended).await.unwrap(), found, "{blocks}");
    }
}

#[tokio::test]
async fn a_layer_of_another_digest_is_refused_whatever_it_holds() {
    let other = tar(&[file("other", "x")]);
    refused("another layer", &gzip(&other), "wrong diff id").await;
    refused("an empty one", &gzip(&[0; 1024]), "wrong diff id").await;
    refused("nothing at all", b"", "wrong diff id").await;
}

/// 1,100 MiB of zeros, in a few KiB: a bomb that goes off behind the archive's end, where nothing
/// is written.
#[tokio::test]
async fn a_bomb_is_refused_by_its_ratio_with_the_bound_in_its_reason() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(&tar(&[file("a", "x")])).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..1100 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 200_000, "{}", bomb.len());
    let failure = outcome(&bomb, b"").await.unwrap_err();
    let reason = failure.ecs_reason();
    assert!(matches!(failure, PullFailure::TooLarge { bound: 200, .. }), "{reason}");
    assert!(
        reason.contains("ratio of unpacked to compressed bytes is larger than 200"),
        "{reason}"
    );
}

#[tokio::test]
async fn files_that_are_only_large_in_name_are_bounded_together() {
    // Holes cost nothing to write, but whoever copies the container pays for them.
    let hole = |name: &str| {
        let size = (100u64 << 30).to_string();
        let sparse = item(b'0', name).pax("GNU.sparse.size", size.as_bytes());
        sparse.pax("GNU.sparse.map", b"0,0")
    };
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    push(&registry, &[Layer::gzip(&tar(&[hole("a")]))]);
    let image = pull(&open(&home.path().join("one")), &registry).await.unwrap();
    assert_eq!(std::fs::metadata(image.layers[0].join("a")).unwrap().len(), 100 << 30);
    push(&registry, &[Layer::gzip(&tar(&[hole("a"), hole("b")]))]);
    let failure = pull(&open(&home.path().join("two")), &registry).await.unwrap_err();
    assert!(matches!(failure, PullFailure::TooLarge { .. }), "{failure}");
}
