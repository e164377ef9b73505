//! containerd's published breakout cases (its `TestBreakouts`, by their names there), as a table of
//! our own. containerd unpacks a layer over the layers below; we unpack each by itself and let
//! overlay put them together. So every case that needs something below runs twice: all in one
//! layer, which is closest to what containerd tests, and in two. Where we refuse what containerd
//! confines, or show something else, the case says why.

use crate::overlay::{mount, private_mounts};
use crate::registry::{Layer, Registry, push};
use crate::tars::{Item, directory, file, hard_link, symlink, tar};
use crate::{open, pull};
use Outcome::{Refused, Shows};
use Seen::{Differ, Gone, Link, Same, Says};
use runtime::image::PullFailure;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

enum Outcome {
    /// As the image's fault.
    Refused,
    Shows(Vec<Seen>),
}

/// What a container would find.
enum Seen {
    Says(String, &'static str),
    Gone(&'static str),
    Link(&'static str, &'static str),
    Same(&'static str, &'static str),
    Differ(&'static str, &'static str),
}

fn says(path: &str, text: &'static str) -> Seen {
    Says(path.to_owned(), text)
}

struct Case {
    name: &'static str,
    below: Vec<Item>,
    items: Vec<Item>,
    /// In one layer.
    together: Outcome,
    /// In two; none if nothing has to be below.
    apart: Option<Outcome>,
}

fn one(name: &'static str, items: Vec<Item>, together: Outcome) -> Case {
    Case { name, below: Vec::new(), items, together, apart: None }
}

fn two(
    name: &'static str,
    below: Vec<Item>,
    items: Vec<Item>,
    together: Outcome,
    apart: Outcome,
) -> Case {
    Case { name, below, items, together, apart: Some(apart) }
}

fn dirs(names: &[&str]) -> Vec<Item> {
    names.iter().map(|name| directory(name)).collect()
}

/// `etc` with a password file in it, and what else.
fn passwd(more: &[Item]) -> Vec<Item> {
    [&[directory("etc").mode(0o770), file("/etc/passwd", "inside")], more].concat()
}

fn through_links() -> Vec<Case> {
    let unbroken = || file("/localetc/unbroken", "unbroken");
    let dummy = || file("/dummy/etc/unbroken", "unbroken");
    let shows = || Shows(vec![says("etc/unbroken", "unbroken")]);
    let all = |first: Vec<Item>, rest: Vec<Item>| [first, rest].concat();
    vec![
        one(
            "SymlinkAbsolute",
            all(dirs(&["etc"]), vec![symlink("localetc", "/etc"), unbroken()]),
            shows(),
        ),
        one(
            "SymlinkUpAndOut",
            all(dirs(&["etc", "dummy"]), vec![symlink("localetc", "/dummy/../etc"), unbroken()]),
            shows(),
        ),
        one(
            "SymlinkMultipleAbsolute",
            all(
                dirs(&["etc", "dummy"]),
                vec![symlink("/dummy/etc", "/etc"), symlink("localetc", "/dummy/etc"), dummy()],
            ),
            shows(),
        ),
        one(
            "SymlinkMultipleRelative",
            all(
                dirs(&["etc", "dummy"]),
                vec![symlink("/dummy/etc", "/etc"), symlink("localetc", "./dummy/etc"), dummy()],
            ),
            shows(),
        ),
        one(
            "SymlinkEmptyFile",
            vec![
                directory("etc"),
                file("etc/emptied", "notempty"),
                symlink("localetc", "/etc"),
                file("/localetc/emptied", ""),
            ],
            Shows(vec![says("etc/emptied", "")]),
        ),
    ]
}

fn hard_links() -> Vec<Case> {
    let local = || Shows(vec![Same("localpasswd", "etc/passwd")]);
    let in_breakouts = || Shows(vec![Same("breakouts/mypasswd", "etc/passwd")]);
    let link = || hard_link("localpasswd", "/localetc/passwd");
    let breakout = || hard_link("breakouts/mypasswd", "/breakouts/d1/passwd");
    vec![
        one(
            "HardlinkRelative",
            passwd(&[directory("breakouts"), symlink("breakouts/d1", "../../etc"), breakout()]),
            in_breakouts(),
        ),
        one(
            "HardlinkDownAndOut",
            passwd(&[
                directory("breakouts"),
                directory("downandout"),
                symlink("breakouts/d1", "../downandout/../../etc"),
                breakout(),
            ]),
            in_breakouts(),
        ),
        one("HardlinkAbsolute", passwd(&[symlink("localetc", "/etc"), link()]), local()),
        one(
            "HardlinkRelativeLong",
            passwd(&[symlink("localetc", "../../../../../../../etc"), link()]),
            local(),
        ),
        one(
            "HardlinkRelativeUpAndOut",
            // The kernel looks for `upandout`, which containerd's own resolver doesn't.
            passwd(&[symlink("localetc", "upandout/../../../etc"), link()]),
            Refused,
        ),
        one(
            "HardlinkDirectRelative",
            // A name that climbs out is refused as Docker refuses it.
            passwd(&[hard_link("localpasswd", "../../../../../etc/passwd")]),
            Refused,
        ),
        one("HardlinkDirectAbsolute", passwd(&[hard_link("localpasswd", "/etc/passwd")]), local()),
    ]
}

fn odd_names() -> Vec<Case> {
    let link = || hard_link("localpasswd", "/etc/passwd");
    let inside = || hard_link("/localetc/localpasswd", "/etc/passwd");
    let same = || Shows(vec![Same("localetc/localpasswd", "etc/passwd")]);
    let below = || passwd(&[directory("/localetc/")]);
    vec![
        // Names for the root itself, or for what is above it: containerd puts a link there.
        one("SymlinkParentDirectory", passwd(&[symlink("..", "/etc/"), link()]), Refused),
        one("SymlinkEmptyFilename", passwd(&[symlink("", "/etc/"), link()]), Refused),
        one(
            "SymlinkParentRelative",
            passwd(&[symlink("localetc/sub/..", "/etc/"), inside()]),
            same(),
        ),
        one("SymlinkSlashEnded", passwd(&[directory("localetc/"), inside()]), same()),
        // A hard link to what only a lower layer holds can't be: no tool writes one.
        two(
            "SymlinkOverrideDirectory",
            below(),
            vec![symlink("localetc", "/etc"), inside()],
            same(),
            Refused,
        ),
        two(
            "SymlinkOverrideDirectoryRelative",
            below(),
            vec![symlink("localetc", "../../etc"), inside()],
            same(),
            Refused,
        ),
        two(
            "DirectoryOverrideSymlink",
            passwd(&[symlink("localetc", "/etc")]),
            vec![directory("/localetc/"), inside()],
            same(),
            Refused,
        ),
        two(
            "DirectoryOverrideSymlinkAndHardlink",
            passwd(&[symlink("localetc", "etc"), inside()]),
            vec![directory("/localetc/"), file("/localetc/localpasswd", "different")],
            Shows(vec![Differ("localetc/localpasswd", "etc/passwd"), says("etc/passwd", "inside")]),
            Shows(vec![Differ("localetc/localpasswd", "etc/passwd"), says("etc/passwd", "inside")]),
        ),
    ]
}

fn whiteouts() -> Vec<Case> {
    let users = || vec![directory("/etc/"), file("/etc/passwd", "all users")];
    let with = |more: &[Item]| [&users()[..], more].concat();
    let kept = || says("etc/passwd", "all users");
    let refused = |name, path| two(name, passwd(&[]), vec![file(path, "")], Refused, Refused);
    let whitedout = || file("/etc/whitedout", "ahhhh whiteout");
    let local = || symlink("localetc", "/etc");
    vec![
        refused("WhiteoutRootParent", ".wh..."),
        refused("WhiteoutParent", "etc/.wh..."),
        refused("WhiteoutRoot", ".wh.."),
        refused("WhiteoutCurrentDirectory", "etc/.wh.."),
        two(
            "WhiteoutSymlink",
            with(&[local()]),
            vec![file(".wh.localetc", "")],
            // A whiteout is about lower layers.
            Shows(vec![kept(), Link("localetc", "/etc")]),
            Shows(vec![kept(), Gone("localetc")]),
        ),
        two(
            "WhiteoutSymlinkPath",
            with(&[whitedout(), local()]),
            vec![file("localetc/.wh.whitedout", "")],
            Shows(vec![kept(), says("etc/whitedout", "ahhhh whiteout")]),
            // By itself the layer knows of no link, and its `localetc` is a folder, as with
            // Docker's overlay driver.
            Shows(vec![kept(), says("etc/whitedout", "ahhhh whiteout")]),
        ),
        two(
            "WhiteoutDirectoryName",
            with(&[whitedout(), local()]),
            vec![file(".wh.etc/somefile", "non-empty")],
            Shows(vec![kept(), says(".wh.etc/somefile", "non-empty")]),
            Shows(vec![kept(), says(".wh.etc/somefile", "non-empty")]),
        ),
        two(
            "WhiteoutDeadSymlinkParent",
            with(&[symlink("localetc", "/dne")]),
            vec![file("localetc/.wh.etc", "")],
            Refused,
            Shows(vec![kept()]),
        ),
        two(
            "WhiteoutRelativePath",
            with(&[symlink("localetc", "/dne")]),
            vec![file("dne/../.wh.etc", "")],
            Shows(vec![kept()]),
            Shows(vec![Gone("etc")]),
        ),
    ]
}

/// `outside` is a folder of the host's.
fn last_ones(outside: &Path) -> Vec<Case> {
    let outside = outside.to_str().unwrap();
    let target = format!("foo{outside}/breakout");
    let (kept, sketchy) = (format!("{outside}/perm400"), format!("{outside}/also-outside"));
    let duplicate = hard_link("localpasswd-dup", "localpasswd");
    vec![
        one(
            "SymlinkOverridePath",
            vec![
                directory("foo"),
                file(&target, "012"),
                symlink("foo", "/"),
                file(&target, "345"),
                directory("foo"),
                directory(&format!("foo{outside}")),
                file(&target, "678"),
            ],
            Shows(vec![Says(target.clone(), "678"), Says(target[4..].to_owned(), "345")]),
        ),
        one(
            "HardlinkSymlinkBeforeCreateTarget",
            vec![
                directory("etc").mode(0o770),
                symlink("localpasswd", "/etc/passwd"),
                duplicate,
                file("/etc/passwd", "after"),
            ],
            Shows(vec![Same("localpasswd-dup", "etc/passwd"), says("localpasswd-dup", "after")]),
        ),
        one(
            "HardlinkSymlinkRelative",
            passwd(&[
                symlink("passwdlink", "../../../../../etc/passwd"),
                hard_link("localpasswd", "/passwdlink"),
            ]),
            Shows(vec![
                Link("localpasswd", "../../../../../etc/passwd"),
                Same("localpasswd", "etc/passwd"),
            ]),
        ),
        one(
            "HardlinkSymlinkAbsolute",
            passwd(&[
                symlink("passwdlink", "/etc/passwd"),
                hard_link("localpasswd", "/passwdlink"),
            ]),
            Shows(vec![Link("localpasswd", "/etc/passwd"), Same("localpasswd", "etc/passwd")]),
        ),
        one(
            "HardlinkSymlinkChmod",
            vec![symlink(&sketchy, &kept), hard_link("sketchylink", &sketchy)],
            Shows(Vec::new()),
        ),
    ]
}

/// Opens as a container would: links lead inside.
fn inside(root: &Path, path: &str) -> rustix::io::Result<std::fs::File> {
    let folder = std::fs::File::open(root).unwrap();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT;
    rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve).map(std::fs::File::from)
}

fn check(name: &str, root: &Path, seen: &Seen) {
    let open = |path: &str| inside(root, path).unwrap_or_else(|e| panic!("{name}: {path}: {e}"));
    let node = |path: &str| {
        let metadata = open(path).metadata().unwrap();
        (metadata.dev(), metadata.ino())
    };
    match seen {
        Says(path, text) => {
            let mut found = String::new();
            open(path).read_to_string(&mut found).unwrap();
            assert_eq!(found, *text, "{name}: {path}");
        }
        Gone(path) => {
            let found = std::fs::symlink_metadata(root.join(path));
            assert!(found.is_err(), "{name}: {path} is there");
        }
        Link(path, target) => {
            let found = std::fs::read_link(root.join(path));
            let found = found.unwrap_or_else(|e| panic!("{name}: {path}: {e}"));
            assert_eq!(found.to_str(), Some(*target), "{name}: {path}");
        }
        Same(left, right) => assert_eq!(node(left), node(right), "{name}: {left} and {right}"),
        Differ(left, right) => assert_ne!(node(left), node(right), "{name}: {left} and {right}"),
    }
}

fn run(registry: &Registry, tokio: &tokio::runtime::Runtime, case: &Case, home: &Path) {
    let whole = [&case.below[..], &case.items[..]].concat();
    let mut ways = vec![("together", vec![whole], &case.together)];
    if let Some(apart) = &case.apart {
        ways.push(("apart", vec![case.below.clone(), case.items.clone()], apart));
    }
    for (way, layers, outcome) in ways {
        let name = format!("{} {way}", case.name);
        let store = home.join(&name).join("store");
        let layers: Vec<Layer> = layers.iter().map(|items| Layer::gzip(&tar(items))).collect();
        let pulled = tokio.block_on(async {
            push(registry, &layers);
            pull(&open(&store), registry).await
        });
        match (pulled, outcome) {
            (Err(PullFailure::BadLayer { .. }), Refused) => {}
            (Ok(_), Refused) => panic!("{name}: was not refused"),
            (Err(failure), _) => panic!("{name}: {failure}"),
            (Ok(image), Shows(all)) => {
                let mut merged = image.layers[0].clone();
                if image.links.len() > 1 {
                    merged = home.join(&name).join("merged");
                    mount(&image.links, &merged);
                }
                all.iter().for_each(|seen| check(&name, &merged, seen));
            }
        }
    }
}

#[test]
fn containerds_breakout_cases_are_refused_or_stay_inside() {
    let home = tempfile::tempdir().unwrap();
    let outside = home.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("perm400"), "...").unwrap();
    std::fs::write(outside.join("also-outside"), "...").unwrap();
    let read_only = std::os::unix::fs::PermissionsExt::from_mode(0o400);
    std::fs::set_permissions(outside.join("perm400"), read_only).unwrap();
    let before = crate::trees::tree(&outside);
    let path = home.path().to_owned();
    let cases = [through_links(), hard_links(), odd_names(), whiteouts(), last_ones(&outside)];
    let cases: Vec<Case> = cases.into_iter().flatten().collect();
    assert_eq!(cases.len(), 34, "containerd has as many");
    // A thread of its own, for its mounts.
    let ran = std::thread::spawn(move || {
        let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let registry = tokio.block_on(Registry::start());
        private_mounts();
        cases.iter().for_each(|case| run(&registry, &tokio, case, &path));
    });
    let ran = ran.join();
    assert_eq!(crate::trees::tree(&outside), before, "what is outside");
    if let Err(panic) = ran {
        std::panic::resume_unwind(panic);
    }
}
