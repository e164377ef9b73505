//! What a file that claims to be a program needs to run. An image of one binary has nothing beside
//! it, so a binary that asks for a loader or for libraries would fail at its first start with "no
//! such file or directory", which names neither; here both are read from the binary itself.

use anyhow::{Result, bail};
use runtime::image::Platform;
use std::fs::File;
use std::os::unix::fs::FileExt;

pub const MAGIC: [u8; 4] = *b"\x7fELF";

/// Program headers of one binary; real ones have a dozen.
const SEGMENTS_MAX: u16 = 512;
/// Entries of the dynamic section.
const DYNAMIC_MAX: u64 = 4096;
/// Bytes of a loader's path or a library's name.
const NAME_BYTES_MAX: usize = 4096;
/// Libraries that a message names.
const NEEDED_MAX: usize = 64;

const EXECUTABLE: u16 = 2;
const SHARED: u16 = 3;
const MACHINE_AMD64: u16 = 62;
const MACHINE_ARM64: u16 = 183;

const LOAD: u32 = 1;
const DYNAMIC: u32 = 2;
const INTERPRETER: u32 = 3;

const NEEDED: u64 = 1;
const STRINGS: u64 = 5;
const SONAME: u64 = 14;

#[derive(Debug)]
pub struct Program {
    pub platform: Platform,
    /// The loader it asks for; none if it is static.
    pub interpreter: Option<String>,
    /// Libraries it asks the loader for.
    pub needed: Vec<String>,
}

impl Program {
    pub fn is_static(&self) -> bool {
        self.interpreter.is_none() && self.needed.is_empty()
    }
}

/// Reads what the kernel would look at, and refuses what it could not start.
pub fn inspect(file: &File) -> Result<Program> {
    let mut head = [0; 64];
    if file.read_exact_at(&mut head, 0).is_err() || head[..4] != MAGIC {
        bail!("it is no ELF program");
    }
    if head[4] != 2 || head[5] != 1 {
        bail!("it is a 32-bit or big-endian program; tasks run 64-bit Linux programs");
    }
    let machine = u16_at(&head, 18);
    let platform = match machine {
        MACHINE_AMD64 => Platform::LinuxAmd64,
        MACHINE_ARM64 => Platform::LinuxArm64,
        other => bail!("it is for another processor (ELF machine {other}) than amd64 or arm64"),
    };
    let kind = u16_at(&head, 16);
    if !matches!(kind, EXECUTABLE | SHARED) {
        bail!("it is an object file or a core dump, not a program");
    }
    let segments = segments(file, &head)?;
    let mut program = Program { platform, interpreter: None, needed: Vec::new() };
    let of_kind = |kind| segments.iter().find(move |it| it.kind == kind);
    if let Some(segment) = of_kind(INTERPRETER) {
        program.interpreter = Some(string_at(file, segment.offset)?);
    }
    let mut is_library = false;
    if let Some(segment) = of_kind(DYNAMIC) {
        is_library = read_dynamic(file, segment, &segments, &mut program)?;
    }
    let starts_somewhere = u64_at(&head, 24) != 0;
    if program.interpreter.is_none() && (is_library || !starts_somewhere) {
        bail!("it is a shared library, not a program");
    }
    Ok(program)
}

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    bytes: u64,
}

fn segments(file: &File, head: &[u8; 64]) -> Result<Vec<Segment>> {
    let (start, each, many) = (u64_at(head, 32), u16_at(head, 54), u16_at(head, 56));
    if each < 56 || many == 0 || many > SEGMENTS_MAX {
        bail!("its program headers make no sense");
    }
    (0..u64::from(many))
        .map(|index| {
            let mut header = [0; 56];
            read(file, &mut header, start.checked_add(index * u64::from(each)))?;
            Ok(Segment {
                kind: u32::from_le_bytes([header[0], header[1], header[2], header[3]]),
                offset: u64_at(&header, 8),
                address: u64_at(&header, 16),
                bytes: u64_at(&header, 32),
            })
        })
        .collect()
}

/// Fills in the libraries; tells whether the file calls itself one.
fn read_dynamic(
    file: &File,
    dynamic: &Segment,
    segments: &[Segment],
    program: &mut Program,
) -> Result<bool> {
    let (mut strings, mut names, mut is_library) = (None, Vec::new(), false);
    for index in 0..(dynamic.bytes / 16).min(DYNAMIC_MAX) {
        let mut entry = [0; 16];
        read(file, &mut entry, dynamic.offset.checked_add(index * 16))?;
        match (u64_at(&entry, 0), u64_at(&entry, 8)) {
            (0, _) => break,
            (NEEDED, name) if names.len() < NEEDED_MAX => names.push(name),
            (STRINGS, address) => strings = file_offset(segments, address),
            (SONAME, _) => is_library = true,
            _ => {}
        }
    }
    for name in names {
        match strings.and_then(|start| start.checked_add(name)) {
            Some(offset) => program.needed.push(string_at(file, offset)?),
            None => bail!("its dynamic section makes no sense"),
        }
    }
    Ok(is_library)
}

/// Where in the file lies what will be at this address.
fn file_offset(segments: &[Segment], address: u64) -> Option<u64> {
    let holds =
        |it: &&Segment| it.kind == LOAD && address >= it.address && address - it.address < it.bytes;
    let segment = segments.iter().find(holds)?;
    segment.offset.checked_add(address - segment.address)
}

fn string_at(file: &File, offset: u64) -> Result<String> {
    let mut bytes = vec![0; NAME_BYTES_MAX];
    let read = file.read_at(&mut bytes, offset)?;
    match bytes[..read].iter().position(|byte| *byte == 0) {
        Some(end) => Ok(String::from_utf8_lossy(&bytes[..end]).into_owned()),
        None => bail!("a name in it has no end"),
    }
}

fn read(file: &File, bytes: &mut [u8], offset: Option<u64>) -> Result<()> {
    match offset.map(|offset| file.read_exact_at(bytes, offset)) {
        Some(Ok(())) => Ok(()),
        _ => bail!("it is cut off"),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("written");
        file
    }

    /// A header and one program header of this kind, with a text behind them.
    fn made(machine: u16, kind: u16, segment: u32, text: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64 + 56];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[16..18].copy_from_slice(&kind.to_le_bytes());
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[24] = 1;
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = 1;
        bytes[64..68].copy_from_slice(&segment.to_le_bytes());
        bytes[64 + 8] = 120;
        bytes[64 + 32] = u8::try_from(text.len()).expect("short");
        bytes.extend_from_slice(text);
        bytes
    }

    #[test]
    fn a_static_program_is_told_from_one_that_needs_a_loader() {
        let program = inspect(&file(&made(MACHINE_AMD64, EXECUTABLE, LOAD, b""))).expect("read");
        assert!(program.is_static());
        assert_eq!(program.platform, Platform::LinuxAmd64);
        let dynamic = made(MACHINE_ARM64, SHARED, INTERPRETER, b"/lib/ld.so\0");
        let program = inspect(&file(&dynamic)).expect("read");
        assert_eq!(program.interpreter.as_deref(), Some("/lib/ld.so"));
        assert_eq!(program.platform, Platform::LinuxArm64);
        assert!(!program.is_static());
    }

    #[test]
    fn what_cannot_be_started_is_refused_by_what_it_is() {
        let refused = |bytes: &[u8]| inspect(&file(bytes)).expect_err("refused").to_string();
        assert!(refused(b"\x7fELF").contains("no ELF"));
        assert!(refused(&made(243, EXECUTABLE, LOAD, b"")).contains("another processor"));
        assert!(refused(&made(MACHINE_AMD64, 1, LOAD, b"")).contains("object file"));
        let mut narrow = made(MACHINE_AMD64, EXECUTABLE, LOAD, b"");
        narrow[4] = 1;
        assert!(refused(&narrow).contains("32-bit"));
        let mut library = made(MACHINE_AMD64, SHARED, LOAD, b"");
        library[24] = 0;
        assert!(refused(&library).contains("shared library"));
        assert!(refused(&made(MACHINE_AMD64, SHARED, INTERPRETER, b"/lib")).contains("no end"));
        let whole = made(MACHINE_AMD64, EXECUTABLE, LOAD, b"");
        assert!(refused(&whole[..100]).contains("cut off"));
    }

    #[test]
    fn this_program_is_read_as_what_it_is() {
        let program = inspect(&File::open("/proc/self/exe").expect("there")).expect("read");
        assert_eq!(program.platform, Platform::host());
        // Built as the binary is: static, or with the loader the machine has.
        if let Some(loader) = program.interpreter {
            assert!(std::path::Path::new(&loader).exists(), "{loader}");
            assert!(!program.needed.is_empty());
        }
    }
}
