//! What attacks on other unpackers were made of, by the reports they were published in, and the
//! corners of the tar format where two readers see two archives. Each case is refused as the
//! image's fault, or leads to the one tree that is written here. `confinement` has the general
//! part: names, links, whiteouts.

use crate::registry::{Layer, Registry, push};
use crate::tars::{Item, directory, file, hard_link, item, symlink, tar};
use crate::trees::{Tree, tree};
use crate::{open, pull};
use runtime::image::PullFailure;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

struct Scene {
    home: tempfile::TempDir,
    before: Tree,
}

impl Scene {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("victims/sub")).unwrap();
        std::fs::write(home.path().join("victims/file"), "untouched").unwrap();
        let before = tree(&home.path().join("victims"));
        Self { home, before }
    }

    fn victims(&self) -> String {
        self.home.path().join("victims").to_str().unwrap().to_owned()
    }

    async fn pull(&self, name: &str, archive: Vec<u8>) -> Result<Tree, PullFailure> {
        let registry = Registry::start().await;
        push(&registry, &[Layer::plain(archive)]);
        let store = open(&self.home.path().join("store"));
        let pulled = pull(&store, &registry).await;
        let victims = tree(Path::new(&self.victims()));
        assert_eq!(victims, self.before, "{name}: the victims");
        pulled.map(|image| tree(&image.layers[0]))
    }
}

async fn refused(name: &str, items: impl FnOnce(&str) -> Vec<Item>) -> String {
    let scene = Scene::new();
    let items = items(&scene.victims());
    match scene.pull(name, tar(&items)).await {
        Err(failure @ (PullFailure::BadLayer { .. } | PullFailure::TooLarge { .. })) => {
            let reason = failure.ecs_reason();
            assert!(reason.starts_with("CannotPullContainerError: "), "{name}: {reason}");
            reason
        }
        Err(other) => panic!("{name}: {other}"),
        Ok(found) => panic!("{name}: was not refused: {found:?}"),
    }
}

/// The entries by name, each beginning so; the root is not counted.
async fn gives(name: &str, expected: &[(&str, &str)], items: impl FnOnce(&str) -> Vec<Item>) {
    let scene = Scene::new();
    let victims = scene.victims();
    let items = items(&victims);
    let found = scene.pull(name, tar(&items)).await;
    let found = found.unwrap_or_else(|failure| panic!("{name}: {failure}"));
    let names: Vec<&str> = found.keys().map(String::as_str).filter(|it| !it.is_empty()).collect();
    let wanted: Vec<String> =
        expected.iter().map(|it| it.0.replace("VICTIMS", &victims[1..])).collect();
    assert_eq!(names, wanted, "{name}");
    for (path, begin) in wanted.iter().zip(expected.iter().map(|it| it.1)) {
        let text = &found[path];
        let rest = text.split_once(" @").map_or("", |(_, rest)| rest);
        let told = text.starts_with(begin) || rest.ends_with(begin);
        assert!(told, "{name}: {path}: {text}");
    }
}

/// The unpacker believes that a directory is there because it has made it; by then it is a link.
#[tokio::test]
async fn directories_that_become_links_are_looked_at_again() {
    // node-tar, CVE-2021-32803 and CVE-2021-37701: one entry each for the directory, the link in
    // its place, and the file that is to go through.
    refused("a slash at the link's end", |v| {
        vec![directory("a"), symlink("a/", v), file("a/new", "x")]
    })
    .await;
    refused("by another spelling", |v| {
        vec![directory("a"), symlink(".//a/./", v), file("a/new", "x")]
    })
    .await;
    refused("the parent of the directory", |v| {
        vec![directory("a/sub"), file("a/sub/one", "x"), symlink("a", v), file("a/sub/new/x", "x")]
    })
    .await;
    // By a hard link to a link.
    refused("by a second name of a link", |v| {
        vec![
            symlink("l", v),
            directory("a"),
            file("a/x", "x"),
            hard_link("a", "l"),
            file("a/y", ""),
        ]
    })
    .await;
    gives("a directory again in the link's place", &[("a", "dir"), ("a/new", "\"inside\"")], |v| {
        vec![symlink("a", v), directory("a"), file("a/new", "inside")]
    })
    .await;
    gives("a file in its place", &[("a", "\"2\"")], |_| vec![file("a/b/c", "1"), file("a", "2")])
        .await;
}

/// Links that only a resolver in user space loses its way in.
#[tokio::test]
async fn chains_of_links_are_followed_by_the_kernel_or_not_at_all() {
    // CPython, CVE-2025-4517: the chain is so long that realpath stops looking, and goes on as if
    // what is left were no links.
    let deep = "d".repeat(240);
    refused("longer than any path", |v| {
        let mut items = Vec::new();
        let (mut place, mut through) = (String::new(), String::new());
        for step in "abcdefghijklmnop".chars() {
            items.push(directory(&format!("{place}{deep}")));
            items.push(symlink(&format!("{place}{step}"), &deep));
            place = format!("{place}{deep}/");
            through = format!("{through}{step}/");
        }
        let climb = "../".repeat(16);
        items.push(symlink(&format!("{through}{}", "l".repeat(254)), &climb));
        items.push(symlink("escape", &format!("{through}{}/..{v}", "l".repeat(254))));
        items.push(file("escape/new/x", "x"));
        items
    })
    .await;
    refused("more than forty links", |_| {
        let link = |n: u32| symlink(&format!("l{n}"), &format!("l{}", n + 1));
        let mut items: Vec<Item> = (0..60).map(link).collect();
        items.extend([directory("l60"), file("l0/x", "x")]);
        items
    })
    .await;
    // CPython, CVE-2025-4330, and Go's os.Root cases: `..` behind a link is seen from its target.
    gives(
        "up from where a link leads",
        &[("a", "dir"), ("a/b", "dir"), ("a/x", "\"inside\""), ("l", "link")],
        |_| {
            let up = symlink("l", "a/b/..");
            vec![directory("a"), directory("a/b"), up, file("l/x", "inside")]
        },
    )
    .await;
    // umoci, CVE-2021-29136: the root itself as a link.
    for root in [".", "./", "/", "//.", "a/..", ""] {
        refused(&format!("the root as a link: {root:?}"), |v| {
            vec![symlink(root, v), file("new", "x")]
        })
        .await;
        refused(&format!("the root as a hard link: {root:?}"), |_| {
            vec![file("a", "x"), hard_link(root, "a")]
        })
        .await;
        refused(&format!("the root as a fifo: {root:?}"), |_| vec![item(b'6', root)]).await;
    }
    // Of a device there is nothing to be a second name of.
    refused("a hard link to a device", |_| {
        vec![item(b'3', "null").device(1, 3), hard_link("too", "null")]
    })
    .await;
}

/// Whoever takes another size than we do sees other entries behind it (CVE-2025-62518, tokio-tar).
#[tokio::test]
async fn a_size_means_the_same_to_us_as_to_gnu_tar() {
    let inner = tar(&[file("smuggled", "x")]);
    let outer = |name: &str| Item { data: inner.clone(), ..item(b'0', name) };
    let size = inner.len().to_string();
    // PAX's size counts, whatever the header says.
    gives("pax over nothing", &[("a", ""), ("b", "\"b\"")], |_| {
        let item = outer("a").pax("size", size.as_bytes()).patch(124, b"00000000000");
        vec![item, file("b", "b")]
    })
    .await;
    gives("nothing over the header's", &[("a", "\"\""), ("smuggled", "\"x\"")], |_| {
        vec![outer("a").pax("size", b"0"), file("b", "b")]
    })
    .await;
    // What is no file has no data, so what follows is a header.
    for kind in [b'1', b'2', b'3', b'4', b'5', b'6'] {
        let name = format!("kind {}", char::from(kind));
        let expected: &[(&str, &str)] = match kind {
            b'1' => &[("a", ""), ("b", "same as a"), ("smuggled", "\"x\"")],
            b'3' | b'4' => &[("a", ""), ("smuggled", "\"x\"")],
            _ => &[("a", ""), ("b", ""), ("smuggled", "\"x\"")],
        };
        gives(&name, expected, |_| {
            let second = Item { link: b"a".to_vec(), data: inner.clone(), ..item(kind, "b") };
            vec![file("a", "a"), second]
        })
        .await;
    }
    gives("base 256", &[("a", "\"four\""), ("b", "\"b\"")], |_| {
        let wide = [0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];
        vec![file("a", "four").patch(124, &wide), file("b", "b")]
    })
    .await;
    let negative = [0xff; 12];
    let huge = [&[0x80, 0, 0, 0][..], &[0x7f; 8]].concat();
    let wider = [0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];
    for field in [&negative[..], &huge, &wider, b"-0000000001\0", b"0000000000z\0", b"9999999\0"] {
        refused(&format!("size {field:x?}"), |_| vec![file("a", "x").patch(124, field)]).await;
    }
    for value in ["-1", "1e3", "0x10", " 1", "1 ", "9223372036854775808", "18446744073709551616"] {
        refused(&format!("pax size {value:?}"), |_| {
            vec![file("a", "x").pax("size", value.as_bytes())]
        })
        .await;
    }
}

/// The places a name may stand in, and which of them wins.
#[tokio::test]
async fn a_name_is_read_from_where_go_and_docker_read_it() {
    let posix = |item: Item| item.patch(257, b"ustar\x0000");
    gives("ustar's prefix", &[("deep", "dir"), ("deep/a", "\"a\"")], |_| {
        vec![posix(file("a", "a").patch(345, b"deep\0"))]
    })
    .await;
    refused("a prefix that climbs", |v| {
        let climb = format!("{}{}", "../".repeat(20), &v[1..]);
        let start = climb.len().saturating_sub(150);
        let climb = format!("../{}", &climb[start..]);
        vec![posix(file("new", "x").patch(345, climb.as_bytes()))]
    })
    .await;
    gives("an absolute prefix", &[("etc", "dir"), ("etc/a", "\"a\"")], |_| {
        vec![posix(file("a", "a").patch(345, b"/etc\0"))]
    })
    .await;
    // GNU keeps times there. Go before 1.8, and so Docker then, kept a prefix all the same.
    gives("no prefix under GNU's magic", &[("a", "\"a\"")], |_| {
        vec![file("a", "a").patch(345, b"14000000000\x0014000000000\x00")]
    })
    .await;
    gives("old Go's prefix", &[("deep", "dir"), ("deep/a", "\"a\"")], |_| {
        vec![file("a", "a").patch(345, b"deep\0")]
    })
    .await;
    // A name without its end, in a field that is full.
    let full = "n".repeat(100);
    gives("a full field", &[(&full, "\"a\"")], |_| vec![Item { cut: true, ..file(&full, "a") }])
        .await;
    gives("pax wins over GNU and header", &[("pax", "\"a\"")], |_| {
        let name = "g".repeat(120);
        vec![file(&name, "a").pax("path", b"pax")]
    })
    .await;
    gives("the last of several wins", &[("second", "\"a\"")], |_| {
        vec![file("a", "a").pax("path", b"first").pax("path", b"second")]
    })
    .await;
    gives("an empty value takes it back", &[("a", "\"a\"")], |_| {
        vec![file("a", "a").pax("path", b"first").pax("path", b"")]
    })
    .await;
    gives("global names are nobody's", &[("a", "\"a\"")], |_| {
        let records = crate::tars::pax_record("path", b"global");
        vec![Item { data: records, ..item(b'g', "global") }, file("a", "a")]
    })
    .await;
    gives("what GNU cuts at a NUL", &[("short", "\"a\"")], |_| {
        let long = Item { data: b"short\0/../../x".to_vec(), ..item(b'L', "././@LongLink") };
        vec![long, file("a", "a")]
    })
    .await;
    refused("a NUL in a pax link", |_| vec![symlink("a", "x").pax("linkpath", b"a\0b")]).await;
    gives("new lines and other signs", &[("a\nb", "\"x\""), ("c\u{1}\\..\\d", "\"y\"")], |_| {
        vec![file("a\nb", "x"), file("c\u{1}\\..\\d", "y")]
    })
    .await;
    gives("dots that are names", &[("...", "dir"), (".../..a", "\"x\"")], |_| {
        vec![directory("..."), file(".../..a", "x")]
    })
    .await;
}

#[tokio::test]
async fn sparse_files_stay_within_their_size_and_their_data() {
    let old = |map: &[(u64, u64)], size: u64, data: &str| {
        let mut entry = Item { data: data.as_bytes().to_vec(), ..item(b'S', "old") };
        for (index, (offset, bytes)) in map.iter().enumerate() {
            let pair = format!("{offset:011o}\0{bytes:011o}\0");
            entry = entry.patch(386 + index * 24, pair.as_bytes());
        }
        entry.patch(483, format!("{size:011o}\0").as_bytes())
    };
    gives("old GNU", &[("old", "\"ab\\0\\0cd\\0\\0\"")], |_| {
        vec![old(&[(0, 2), (4, 2), (8, 0)], 8, "abcd")]
    })
    .await;
    refused("data beyond the size", |_| vec![old(&[(6, 4)], 8, "abcd")]).await;
    refused("overlapping", |_| vec![old(&[(0, 2), (1, 2)], 8, "abcd")]).await;
    refused("backwards", |_| vec![old(&[(4, 2), (0, 2)], 8, "abcd")]).await;
    refused("more data than said", |_| vec![old(&[(0, 2)], 8, "abcd")]).await;
    refused("less data than said", |_| vec![old(&[(0, 4), (4, 4)], 8, "abcd")]).await;
    refused("more continuing blocks than there are", |_| {
        vec![old(&[(0, 4)], 8, "abcd").patch(482, &[1])]
    })
    .await;
    let whole = (1u64 << 40) - 1;
    refused("larger than anything", |_| vec![old(&[(whole, 0)], whole, "")]).await;
    let version_1 = |map: &str, size: &str| {
        let data = format!("{map:\0<512}ab");
        file("new", &data)
            .pax("GNU.sparse.major", b"1")
            .pax("GNU.sparse.minor", b"0")
            .pax("GNU.sparse.name", b"real")
            .pax("GNU.sparse.realsize", size.as_bytes())
    };
    gives("PAX 1.0", &[("real", "\"\\0\\0ab\"")], |_| vec![version_1("1\n2\n2\n", "4")]).await;
    for map in ["", "1\n", "1\n0\n", "2\n0\n2\n", "x\n", "1\n-1\n2\n", "1\n3\n2\n", "99999999\n"] {
        refused(&format!("map {map:?}"), |_| vec![version_1(map, "4")]).await;
    }
    refused("a map that never ends", |_| vec![version_1(&"1".repeat(512), "4")]).await;
    let pairs = (0..70_000).map(|n| format!("{},0", n * 2)).collect::<Vec<_>>().join(",");
    refused("more segments than any file has", |_| {
        let sparse = file("a", "").pax("GNU.sparse.size", b"200000");
        vec![sparse.pax("GNU.sparse.map", pairs.as_bytes())]
    })
    .await;
}

#[tokio::test]
async fn counts_lengths_and_depths_have_their_bounds() {
    refused("a name longer than a page of memory", |_| {
        vec![file("a", "x").pax("path", "n/".repeat(2048).as_bytes())]
    })
    .await;
    refused("one part of 256", |_| vec![directory(&"n".repeat(256))]).await;
    refused("a link's target longer than a path", |_| vec![symlink("a", &"t/".repeat(3000))]).await;
    let reason = refused("a hundred headers before one entry", |_| {
        let long = || Item { data: vec![b'a'; 16 << 10], ..item(b'L', "././@LongLink") };
        let mut items: Vec<Item> = (0..100).map(|_| long()).collect();
        items.push(file("a", "x"));
        items
    })
    .await;
    assert!(reason.contains("an extended header is larger than 1048576"), "{reason}");
    let records = (0..40_000).map(|n| (format!("k{n}"), b"value of some length".to_vec()));
    refused("forty thousand records", |_| vec![Item { pax: records.collect(), ..file("a", "x") }])
        .await;
    // ext4 gives one file 65,000 names; what the file system refuses is the image's fault.
    let reason = refused("more names than a file can have", |_| {
        let mut items = vec![file("a", "x")];
        items.extend((0..65_001).map(|n| hard_link(&format!("d{}/{n}", n % 16), "a")));
        items
    })
    .await;
    assert!(reason.contains("Too many links"), "{reason}");
}

#[tokio::test]
async fn what_an_entry_says_of_itself_is_kept_inside_and_nowhere_else() {
    gives("negative and odd times", &[("a", ""), ("b", ""), ("c", "")], |_| {
        let before = [&[0xff; 4][..], &(-86_400i64).to_be_bytes()].concat();
        vec![
            file("a", "x").patch(136, &before),
            file("b", "x").pax("mtime", b"-1.25"),
            file("c", "x").pax("mtime", b"99999999999.999999999"),
        ]
    })
    .await;
    for time in ["", "x", "1.x", "--1", "1.2.3", "99999999999999999999"] {
        let item = file("a", "x").pax("mtime", time.as_bytes());
        if time.is_empty() {
            gives("no time", &[("a", "\"x\"")], |_| vec![item]).await;
        } else {
            refused(&format!("time {time:?}"), |_| vec![item]).await;
        }
    }
    // A capability is kept in the form the kernel knows; all other attributes are dropped.
    let scene = Scene::new();
    let capability = [&[1, 0, 0, 2, 0, 4][..], &[0; 14]].concat();
    let key = |name: &str| format!("SCHILY.xattr.{name}");
    let ping = file("ping", "x")
        .mode(0o4755)
        .pax(&key("security.capability"), &capability)
        .pax(&key("security.selinux"), b"system_u:object_r:root_t:s0")
        .pax(&key("system.posix_acl_access"), &[2, 0, 0, 0])
        .pax(&key("user.mime_type"), b"x")
        .pax("LIBARCHIVE.xattr.user.x", b"eA==");
    let opaque = directory("opaque").pax(&key("trusted.overlay.opaque"), b"y");
    let found = scene.pull("attributes", tar(&[ping, opaque])).await.unwrap();
    assert!(found["ping"].starts_with("file 4755"), "{found:?}");
    assert_eq!(found["ping"].matches('+').count(), 1, "{found:?}");
    assert!(found["ping"].contains("+security.capability="), "{found:?}");
    assert!(!found["opaque"].contains('+'), "{found:?}");
    // Set-id programs and capabilities are within nobody's reach: only root may enter the store.
    let store = std::fs::metadata(scene.home.path().join("store")).unwrap();
    assert_eq!((store.mode() & 0o777, store.uid()), (0o700, 0));
    // A whiteout that an image brings along as a device would delete below; it is left out.
    gives("devices 0/0", &[("a", "dir")], |_| {
        vec![directory("a"), item(b'3', "a/b").device(0, 0), item(b'4', "c").device(0, 0)]
    })
    .await;
}
