//! A folder becomes a layer: everything in it, as it is (owners, modes, times, links, hard links,
//! capabilities), in the order of its names, so that the same folder gives the same digest. What an
//! image can't hold (sockets, devices, what is mounted inside) is left out and told.
//!
//! The archive goes to a file without a name, which is gone with this program however that ends.
//! It is not compressed: on one machine an image is pushed and unpacked once, and inflating would
//! cost more than the disk it saves.

use super::parts::{CHUNK_BYTES, Hashing, LAYER, Part, Span};
use super::progress::Counter;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// Entries of one layer, as many as can be unpacked.
const ENTRIES_MAX: u64 = runtime::image::limits::LAYER_ENTRIES_MAX;
/// Things left out that are told by name.
const TOLD_MAX: usize = 5;
/// Characters of a name in a tar's header; a longer one goes before it, in GNU's way.
const NAME_BYTES: usize = 100;
const CAPABILITY: &str = "security.capability";

pub struct Packed {
    pub layer: Part,
    pub notes: Vec<String>,
}

/// Packs what is in the folder; the folder itself stays as every image's root is.
pub fn pack(folder: &Path, counter: &Counter) -> Result<Packed> {
    let mut packer = Packer::new(counter.clone())?;
    let root = fs::metadata(folder).with_context(|| told("cannot read", folder))?;
    // Paths still to be packed, the next one last.
    let mut waiting: Vec<PathBuf> = Vec::new();
    push_children(folder, Path::new(""), &mut waiting)?;
    while let Some(path) = waiting.pop() {
        let place = folder.join(&path);
        let metadata = place.symlink_metadata().with_context(|| told("cannot read", &place))?;
        packer.take(&place, &path, &metadata)?;
        if !metadata.is_dir() {
            continue;
        }
        if metadata.dev() == root.dev() {
            push_children(&place, &path, &mut waiting)?;
        } else {
            packer.left_out.push(format!("what is mounted on {}", path.display()));
        }
    }
    if packer.entries == 0 {
        bail!("{} is empty: there is nothing to make an image of", folder.display());
    }
    packer.finish()
}

/// One program at the root of an image, and the folder that most programs ask for.
pub fn pack_program(program: &Span, name: &str, counter: &Counter) -> Result<Packed> {
    let mut packer = Packer::new(counter.clone())?;
    let modified = program.file.metadata()?.mtime();
    let mut header = plain_header(EntryType::Regular, 0o755, modified);
    header.set_size(program.bytes);
    packer.append(&mut header, name.as_bytes(), b"", &mut program.reader())?;
    let mut header = plain_header(EntryType::Directory, 0o1777, modified);
    packer.append(&mut header, b"tmp/", b"", &mut io::empty())?;
    packer.finish()
}

fn push_children(folder: &Path, path: &Path, waiting: &mut Vec<PathBuf>) -> Result<()> {
    let names = fs::read_dir(folder)
        .and_then(|entries| entries.map(|it| it.map(|it| it.file_name())).collect())
        .with_context(|| told("cannot list", folder));
    let mut names: Vec<_> = names?;
    names.sort_by(|a, b| b.cmp(a));
    for name in names {
        if name.as_bytes().starts_with(b".wh.") {
            bail!(
                "{} can't be in an image: a name that begins with .wh. means a deletion there",
                folder.join(name).display()
            );
        }
        waiting.push(path.join(name));
    }
    Ok(())
}

struct Packer {
    archive: tar::Builder<Hashing<BufWriter<File>>>,
    counter: Counter,
    /// Where a file of several names was packed first.
    linked: BTreeMap<(u64, u64), PathBuf>,
    left_out: Vec<String>,
    entries: u64,
}

impl Packer {
    fn new(counter: Counter) -> Result<Self> {
        let file = tempfile::tempfile().context("cannot make a temporary file (TMPDIR says where)");
        let writer = BufWriter::with_capacity(CHUNK_BYTES, file?);
        Ok(Self {
            archive: tar::Builder::new(Hashing::new(writer)),
            counter,
            linked: BTreeMap::new(),
            left_out: Vec::new(),
            entries: 0,
        })
    }

    fn take(&mut self, place: &Path, path: &Path, metadata: &Metadata) -> Result<()> {
        let kind = metadata.file_type();
        let name = path.as_os_str().as_bytes();
        let several = !kind.is_dir() && metadata.nlink() > 1;
        let identity = (metadata.dev(), metadata.ino());
        if several && let Some(first) = self.linked.get(&identity) {
            let first = first.as_os_str().as_bytes().to_vec();
            let mut header = header_of(EntryType::Link, metadata);
            return self.append(&mut header, name, &first, &mut io::empty());
        }
        if kind.is_file() {
            self.take_file(place, name, metadata)?;
        } else if kind.is_dir() {
            let name = [name, b"/"].concat();
            let mut header = header_of(EntryType::Directory, metadata);
            self.append(&mut header, &name, b"", &mut io::empty())?;
        } else if kind.is_symlink() {
            let target = fs::read_link(place).with_context(|| told("cannot read", place))?;
            let mut header = header_of(EntryType::Symlink, metadata);
            self.append(&mut header, name, target.as_os_str().as_bytes(), &mut io::empty())?;
        } else if kind.is_fifo() {
            let mut header = header_of(EntryType::Fifo, metadata);
            self.append(&mut header, name, b"", &mut io::empty())?;
        } else {
            let what = if kind.is_socket() { "the socket" } else { "the device" };
            self.left_out.push(format!("{what} {}", path.display()));
            return Ok(());
        }
        if several {
            self.linked.insert(identity, path.to_owned());
        }
        Ok(())
    }

    fn take_file(&mut self, place: &Path, name: &[u8], metadata: &Metadata) -> Result<()> {
        let file = File::open(place).with_context(|| told("cannot read", place))?;
        if let Some(capability) = capability(&file)? {
            let record = [("SCHILY.xattr.security.capability", &capability[..])];
            self.archive.append_pax_extensions(record)?;
        }
        let mut header = header_of(EntryType::Regular, metadata);
        header.set_size(metadata.len());
        self.append(&mut header, name, b"", &mut file.take(metadata.len()))
            .with_context(|| told("packing", place))
    }

    fn append(
        &mut self,
        header: &mut Header,
        name: &[u8],
        link: &[u8],
        data: &mut dyn Read,
    ) -> Result<()> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            bail!("more than {ENTRIES_MAX} files can't be in one layer");
        }
        for (kind, text) in [(EntryType::GNULongName, name), (EntryType::GNULongLink, link)] {
            if text.len() > NAME_BYTES {
                let mut long = plain_header(kind, 0o644, 0);
                put(&mut long.as_old_mut().name, b"././@LongLink");
                long.set_size(text.len() as u64 + 1);
                long.set_cksum();
                self.archive.append(&long, &mut text.chain(&b"\0"[..]))?;
            }
        }
        put(&mut header.as_old_mut().name, name);
        put(&mut header.as_old_mut().linkname, link);
        header.set_cksum();
        let wanted = header.size()?;
        let mut counting = Counting { inner: data, bytes: 0, counter: &self.counter };
        self.archive.append(header, &mut counting)?;
        // The header is written by now, so a file that changes meanwhile can't be packed.
        if counting.bytes != wanted {
            bail!("it changed while it was read");
        }
        Ok(())
    }

    fn finish(self) -> Result<Packed> {
        let notes = notes(&self.left_out);
        let hashing = self.archive.into_inner().context("writing the archive")?;
        let (digest, writer) = hashing.finish();
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error);
        let span = Span::whole(file.context("writing the archive")?)?;
        Ok(Packed { layer: Part::file(LAYER, digest, span), notes })
    }
}

struct Counting<'a> {
    inner: &'a mut dyn Read,
    bytes: u64,
    counter: &'a Counter,
}

impl Read for Counting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        self.counter.add(read as u64);
        Ok(read)
    }
}

fn notes(left_out: &[String]) -> Vec<String> {
    let mut told: Vec<String> =
        left_out.iter().take(TOLD_MAX).map(|it| format!("left out: {it}")).collect();
    if left_out.len() > TOLD_MAX {
        told.push(format!("left out: {} more of the kind", left_out.len() - TOLD_MAX));
    }
    told
}

fn capability(file: &File) -> Result<Option<Vec<u8>>> {
    let mut value = [0; runtime::image::limits::CAPABILITY_BYTES_MAX];
    match rustix::fs::fgetxattr(file, CAPABILITY, &mut value[..]) {
        Ok(bytes) => Ok(Some(value[..bytes].to_vec())),
        Err(rustix::io::Errno::NODATA | rustix::io::Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error).context("reading its capabilities"),
    }
}

fn header_of(kind: EntryType, metadata: &Metadata) -> Header {
    let mut header = plain_header(kind, metadata.mode() & 0o7777, metadata.mtime());
    header.set_uid(u64::from(metadata.uid()));
    header.set_gid(u64::from(metadata.gid()));
    header
}

fn plain_header(kind: EntryType, mode: u32, modified: i64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match u64::try_from(modified) {
        Ok(seconds) => header.set_mtime(seconds),
        // Before 1970: GNU's base 256, of which the first bits say that it is one.
        Err(_) => {
            let field = &mut header.as_old_mut().mtime;
            field.fill(0xff);
            field[4..].copy_from_slice(&modified.to_be_bytes());
        }
    }
    header
}

/// As much of the text as the field holds.
fn put(field: &mut [u8], text: &[u8]) {
    field.fill(0);
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text[..length]);
}

fn told(doing: &str, path: &Path) -> String {
    format!("{doing} {}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn entries(packed: &Packed) -> Vec<(String, EntryType, u32, String)> {
        let super::super::parts::Content::File(span) = &packed.layer.content else {
            panic!("a layer lies in a file")
        };
        let mut archive = tar::Archive::new(span.reader());
        let entries = archive.entries().expect("an archive").map(|entry| {
            let entry = entry.expect("whole");
            let link = entry.link_name_bytes().unwrap_or_default();
            (
                String::from_utf8_lossy(&entry.path_bytes()).into_owned(),
                entry.header().entry_type(),
                entry.header().mode().expect("a mode"),
                String::from_utf8_lossy(&link).into_owned(),
            )
        });
        entries.collect()
    }

    #[test]
    fn a_folder_is_packed_in_order_with_its_links_and_modes() {
        let home = tempfile::tempdir().expect("a folder");
        let root = home.path();
        let long = "n".repeat(150);
        fs::create_dir_all(root.join("b/c")).expect("made");
        fs::write(root.join("b/run"), "#!").expect("written");
        fs::set_permissions(root.join("b/run"), fs::Permissions::from_mode(0o4755)).expect("set");
        fs::hard_link(root.join("b/run"), root.join("z")).expect("linked");
        fs::write(root.join("a").with_file_name(&long), "x").expect("written");
        symlink("./b//run", root.join("link")).expect("linked");
        symlink(&long, root.join("far")).expect("linked");
        std::os::unix::net::UnixListener::bind(root.join("socket")).expect("bound");
        let packed = pack(root, &Counter::default()).expect("packed");
        let told: Vec<_> = entries(&packed);
        let names: Vec<&str> = told.iter().map(|it| it.0.as_str()).collect();
        assert_eq!(names, ["b/", "b/c/", "b/run", "far", "link", &long, "z"]);
        assert_eq!(told[2].2, 0o4755);
        assert_eq!(told[3].3, long);
        assert_eq!(told[4].3, "./b//run");
        assert_eq!((told[6].1, told[6].3.as_str()), (EntryType::Link, "b/run"));
        assert_eq!(packed.notes, ["left out: the socket socket"]);
        let again = pack(root, &Counter::default()).expect("packed");
        assert_eq!(again.layer.digest, packed.layer.digest);
    }

    #[test]
    fn what_no_image_can_be_made_of_is_refused() {
        let home = tempfile::tempdir().expect("a folder");
        let refused = || {
            let packed = pack(home.path(), &Counter::default());
            packed.err().map(|failure| format!("{failure:#}")).expect("refused")
        };
        assert!(refused().contains("is empty"));
        fs::write(home.path().join(".wh.x"), "").expect("written");
        assert!(refused().contains("deletion"));
    }

    #[test]
    fn times_before_1970_are_kept() {
        let header = plain_header(EntryType::Regular, 0o644, -5);
        assert_eq!(header.as_old().mtime[4..], (-5i64).to_be_bytes());
    }
}
