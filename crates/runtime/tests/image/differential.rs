//! The same archives to us, to GNU tar and to Python's tarfile (with its `data` filter). They are
//! made at random out of few names, so that entries meet: files over links, links over folders,
//! hard links to what was just replaced, paths through links. What both others unpack to the same
//! tree, we must unpack to that tree; where GNU tar has an opinion of modes, owners and times, ours
//! is the same. Of what either of them refuses, no more is asked than that we stay inside.
//!
//! GNU tar lets new directories inherit a set-group-id bit; no directory here has one.
//!
//! `NEARGATE_FUZZ_ARCHIVES` and `NEARGATE_FUZZ_SEED` ask for more than a test run has time for.

use crate::registry::{Layer, Registry, push};
use crate::tars::{Item, directory, file, hard_link, item, symlink, tar};
use crate::trees::{Tree, tree};
use crate::{open, pull};
use runtime::image::PullFailure;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const ARCHIVES: u64 = 400;
const SEED: u64 = 1;
/// Archives that one Python unpacks.
const BATCH: u64 = 100;

/// Says by a file beside it that an archive was refused.
const PYTHON: &str = "
import os, sys, tarfile
for line in sys.stdin:
    base = line.strip()
    os.mkdir(base + '/python')
    try:
        with tarfile.open(base + '/a.tar', errorlevel=2) as archive:
            archive.extractall(base + '/python', filter='data')
    except Exception as error:
        open(base + '/python.refused', 'w').write(repr(error))
";

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        // SplitMix64: every seed gives a sequence of its own.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % bound
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }

    fn path(&mut self) -> String {
        let depth = self.of(&[1, 1, 1, 2, 2, 3]);
        let mut parts: Vec<String> = (0..depth).map(|_| self.part()).collect();
        if self.one_in(12) {
            parts.insert(0, ".".to_owned());
        }
        if parts.len() > 1 && self.one_in(40) {
            parts.insert(1, String::new());
        }
        parts.join("/")
    }

    fn part(&mut self) -> String {
        match self.below(40) {
            0 => "n".repeat(120),
            1 => "\u{fc}\u{4e2d}".to_owned(),
            2 => " with space".to_owned(),
            3 => "-dash".to_owned(),
            _ => self.of(&["a", "b", "c", "d"]).to_owned(),
        }
    }

    fn target(&mut self) -> String {
        match self.below(10) {
            0 => format!("../{}", self.part()),
            1 => format!("/{}", self.part()),
            2 => ".".to_owned(),
            _ => self.path(),
        }
    }

    fn text(&mut self) -> String {
        let length = self.of(&[0, 1, 5, 30, 511, 512, 513, 3000]);
        (0..length).map(|_| char::from(b'a' + self.below(26) as u8)).collect()
    }
}

/// What an archive has made so far, so that entries meet instead of missing each other.
#[derive(Default)]
struct Known {
    files: Vec<String>,
    directories: Vec<String>,
}

impl Known {
    fn one(random: &mut Random, of: &[String]) -> Option<String> {
        let index = usize::try_from(random.below(of.len().max(1) as u64)).unwrap();
        of.get(index).cloned()
    }

    fn place(&self, random: &mut Random) -> String {
        match random.below(16) {
            0 => random.path(),
            1 | 2 => Self::one(random, &self.files).unwrap_or_else(|| random.path()),
            3..6 => random.part(),
            _ => match Self::one(random, &self.directories) {
                Some(directory) => format!("{directory}/{}", random.part()),
                None => random.part(),
            },
        }
    }
}

fn entry(random: &mut Random, known: &mut Known) -> Item {
    let path = known.place(random);
    let made = match random.below(100) {
        0..40 => {
            known.files.push(path.clone());
            contents(random, &path)
        }
        40..75 => {
            let slash = if random.one_in(2) { "/" } else { "" };
            known.directories.push(path.clone());
            directory(&format!("{path}{slash}")).mode(random.of(&[0o755, 0o700, 0o1777, 0o711]))
        }
        75..85 => {
            // Through a link at the top the archive may go on.
            let folder = Known::one(random, &known.directories);
            let folder = folder.filter(|_| !path.contains('/') && !random.one_in(3));
            if folder.is_some() {
                known.directories.push(path.clone());
            }
            let target = folder.unwrap_or_else(|| random.target());
            symlink(&path, &target).mode(0o777)
        }
        85..99 => {
            let target = Known::one(random, &known.files).filter(|_| !random.one_in(20));
            known.files.push(path.clone());
            hard_link(&path, &target.unwrap_or_else(|| random.path()))
        }
        _ => item(b'6', &path).mode(0o640),
    };
    let owner = random.of(&[(0, 0), (0, 0), (1000, 50), (2_000_000, 7)]);
    let mut made = made.owner(owner.0, owner.1);
    made.mtime = 1_500_000_000 + random.below(100_000_000);
    if random.one_in(8) {
        made = made.pax("mtime", format!("{}.25", 1_400_000_000 + random.below(99)).as_bytes());
    }
    if random.one_in(10) {
        let path = made.path.clone();
        made = Item { path: b"elsewhere".to_vec(), ..made }.pax("path", &path);
    }
    if random.one_in(30) {
        made = made.pax("uid", b"3000000").pax("comment", b"anything");
    }
    made
}

fn contents(random: &mut Random, path: &str) -> Item {
    let mode = random.of(&[0o644, 0o755, 0o600, 0o4755, 0o2711, 0o777, 0]);
    let text = random.text();
    let made = match random.below(25) {
        0 => {
            let map = format!("100,{}", text.len());
            let size = (200 + text.len()).to_string();
            // GNU tar looks for these records under POSIX's magic only.
            file(path, &text)
                .patch(257, b"ustar\x0000")
                .pax("GNU.sparse.name", path.as_bytes())
                .pax("GNU.sparse.size", size.as_bytes())
                .pax("GNU.sparse.numblocks", b"1")
                .pax("GNU.sparse.map", map.as_bytes())
        }
        1 => {
            let map = format!("1\n1000\n{}\n", text.len());
            let size = (1000 + text.len()).to_string();
            file(path, &format!("{map:\0<512}{text}"))
                .patch(257, b"ustar\x0000")
                .pax("GNU.sparse.major", b"1")
                .pax("GNU.sparse.minor", b"0")
                .pax("GNU.sparse.name", path.as_bytes())
                .pax("GNU.sparse.realsize", size.as_bytes())
        }
        2 => {
            // Base 256.
            let mut field = [0; 12];
            field[0] = 0x80;
            field[4..].copy_from_slice(&(text.len() as u64).to_be_bytes());
            file(path, &text).patch(124, &field)
        }
        3 => Item { flag: 0, ..file(path, &text) },
        4 => Item { flag: b'7', ..file(path, &text) },
        5 if path.len() < 90 => file(path, &text).patch(257, b"ustar\x0000").patch(345, b"b\0"),
        _ => file(path, &text),
    };
    made.mode(mode)
}

fn archive(seed: u64) -> Vec<Item> {
    let mut random = Random(seed);
    let mut known = Known::default();
    let entries = 1 + random.below(9);
    (0..entries).map(|_| entry(&mut random, &mut known)).collect()
}

/// Whether a directory comes where a link is: Docker and containerd replace the link, and so do we;
/// the others may take it for the directory.
fn puts_a_directory_over_a_link(items: &[Item]) -> bool {
    let name = |item: &Item| {
        let told = item.pax.iter().find(|it| it.0 == "path").map_or(&item.path, |it| &it.1);
        let told = String::from_utf8_lossy(told).into_owned();
        let parts = told.split('/').filter(|part| !part.is_empty() && *part != ".");
        parts.collect::<Vec<_>>().join("/")
    };
    items.iter().enumerate().any(|(index, item)| {
        let is_same = |it: &Item| it.flag == b'2' && name(it) == name(item);
        item.flag == b'5' && items[..index].iter().any(is_same)
    })
}

/// Everything but modes, owners and times, which the `data` filter changes.
fn shape(tree: &Tree) -> BTreeMap<&str, String> {
    let told = |text: &String| {
        let text = text.split(" +").next().unwrap();
        let mut words = text.splitn(5, ' ');
        let kind = words.next().unwrap().to_owned();
        if kind == "same" {
            return text.to_owned();
        }
        format!("{kind} {}", words.nth(3).unwrap_or_default())
    };
    tree.iter().map(|(path, text)| (path.as_str(), told(text))).collect()
}

/// With times of today as one: those are of directories that no entry names.
fn settled(tree: &Tree) -> Tree {
    let told = |(path, text): (&String, &String)| {
        let Some((head, tail)) = text.split_once('@') else { return (path.clone(), text.clone()) };
        let (seconds, rest) = tail.split_once('.').unwrap();
        let rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
        let made_up = seconds.parse::<u64>().unwrap() > 1_700_000_000;
        let time = if made_up { "now" } else { tail.split(' ').next().unwrap() };
        (path.clone(), format!("{head}@{time} {rest}"))
    };
    tree.iter().map(told).filter(|(path, _)| !path.is_empty()).collect()
}

struct Contest {
    home: PathBuf,
    registry: Registry,
    agreed: u64,
    compared: u64,
    refused: u64,
    taken_by_gnu: u64,
    as_gnu: u64,
}

impl Contest {
    async fn batch(&mut self, seeds: std::ops::Range<u64>) {
        let mut python = Command::new("python3")
            .args(["-c", PYTHON])
            .stdin(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut bases = Vec::new();
        for seed in seeds {
            let base = self.home.join(seed.to_string());
            std::fs::create_dir(&base).unwrap();
            std::fs::write(base.join("a.tar"), tar(&archive(seed))).unwrap();
            writeln!(python.stdin.as_mut().unwrap(), "{}", base.display()).unwrap();
            bases.push((seed, base));
        }
        drop(python.stdin.take());
        assert!(python.wait().unwrap().success(), "python3 goes on after every refusal");
        let store = open(&self.home.join("store"));
        for (seed, base) in bases {
            push(&self.registry, &[Layer::plain(std::fs::read(base.join("a.tar")).unwrap())]);
            let ours = match pull(&store, &self.registry).await {
                Ok(image) => Some(tree(&image.layers[0])),
                Err(PullFailure::BadLayer { problem, .. }) => {
                    assert!(!problem.contains("without a result"), "seed {seed}: a panic");
                    self.refused += 1;
                    // To the others a directory is a second name of itself; Docker refuses it.
                    if problem.contains("a hard link to a directory") {
                        continue;
                    }
                    None
                }
                Err(other) => panic!("seed {seed}: {other}"),
            };
            self.compare(seed, &base, ours.as_ref());
        }
        drop(store);
        for entry in std::fs::read_dir(&self.home).unwrap() {
            std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
    }

    fn compare(&mut self, seed: u64, base: &Path, ours: Option<&Tree>) {
        self.compared += 1;
        let (gnu, python) = (gnu(base), python(base));
        let Some(gnu) = gnu else { return };
        self.taken_by_gnu += 1;
        let alike = ours.is_some_and(|ours| shape(ours) == shape(&gnu));
        self.as_gnu += u64::from(alike);
        let replaces = puts_a_directory_over_a_link(&archive(seed));
        let agreed = python.is_some_and(|python| shape(&python) == shape(&gnu)) && !replaces;
        self.agreed += u64::from(agreed);
        let told = || {
            let told = |it: &Item| {
                let (path, link) = (String::from_utf8_lossy(&it.path), &it.link);
                let pax: Vec<_> = it.pax.iter().filter(|it| it.0 == "path").collect();
                let link = String::from_utf8_lossy(link);
                format!("  {} {path} {link} {pax:?}\n", char::from(it.flag))
            };
            archive(seed).iter().map(told).collect::<String>()
        };
        if !agreed && !alike {
            // For those who look for a reason to change our mind.
            println!("seed {seed}: {}we {ours:?}\nGNU tar {gnu:?}\n", told());
            return;
        }
        let Some(ours) = ours else { panic!("seed {seed}: only we refuse\n{}", told()) };
        let (mut ours, gnu) = (settled(ours), settled(&gnu));
        // GNU tar may set a directory's time before it puts something more into it, and forgets all
        // it knew of one when a link leads on from there.
        let lost = gnu.iter().filter(|it| it.1.starts_with("dir") && it.1.contains("@now"));
        for (path, text) in lost {
            let head = |text: &str| text.split_once('@').map(|it| it.0.to_owned());
            let forgotten = text.starts_with("dir 755 0:0 ");
            let Some(known) = ours.get_mut(path).filter(|known| known.starts_with("dir")) else {
                continue;
            };
            if forgotten || head(known) == head(text) {
                known.clone_from(text);
            }
        }
        assert!(ours == gnu, "seed {seed}: we {ours:#?}\nGNU tar {gnu:#?}\n{}", told());
    }
}

fn gnu(base: &Path) -> Option<Tree> {
    let root = base.join("gnu");
    std::fs::create_dir(&root).unwrap();
    let ran = Command::new("tar")
        .args(["-xp", "--numeric-owner", "--same-owner", "-f"])
        .arg(base.join("a.tar"))
        .arg("-C")
        .arg(&root)
        .env("LC_ALL", "C")
        .output()
        .expect("tar runs");
    // It says what it does otherwise than it was told, too.
    (ran.status.success() && ran.stderr.is_empty()).then(|| tree(&root))
}

fn python(base: &Path) -> Option<Tree> {
    (!base.join("python.refused").exists()).then(|| tree(&base.join("python")))
}

#[tokio::test]
async fn random_archives_give_the_tree_that_gnu_tar_and_python_agree_on() {
    let asked = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let archives = asked("NEARGATE_FUZZ_ARCHIVES").unwrap_or(ARCHIVES);
    let first = asked("NEARGATE_FUZZ_SEED").unwrap_or(SEED);
    let home = tempfile::tempdir().unwrap();
    let registry = Registry::start().await;
    let path = home.path().to_owned();
    let mut contest = Contest {
        home: path,
        registry,
        agreed: 0,
        compared: 0,
        refused: 0,
        taken_by_gnu: 0,
        as_gnu: 0,
    };
    let end = first + archives;
    let mut start = first;
    while start < end {
        let next = end.min(start + BATCH);
        contest.batch(start..next).await;
        start = next;
    }
    let Contest { agreed, compared, refused, taken_by_gnu, as_gnu, .. } = contest;
    println!(
        "{compared} archives: {agreed} compared, {refused} refused by us; GNU tar takes \
         {taken_by_gnu}, {as_gnu} of them as we do"
    );
    // Else this would test nothing: a third is what the generator was made to give.
    assert!(agreed * 5 > compared, "the others agree on {agreed} of {compared} only");
    assert!(refused > 0 && refused * 2 < compared, "{refused} of {compared}");
}
