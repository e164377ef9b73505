//! An empty ext4 file system as the few blocks in which it differs from a file of zeros, so that
//! one of any size is made by a handful of writes and no program. It is as plain as ext4 can be:
//! no journal, as what a task wrote is worth nothing after a crash of its machine; no copies of
//! the superblock; and groups that nothing has been written to are marked so, which spares their
//! maps (`gdt_csum`). Everything is the same for every task, down to the id.
//!
//! Source: the kernel's Documentation/filesystems/ext4. e2fsck finds nothing to say about it.

/// Bytes of a block.
const BLOCK: usize = 4096;
/// As many as one block of a group's map has bits.
const BLOCKS_PER_GROUP: u32 = 32_768;
/// One for each 16 KiB, as mke2fs has it.
const INODES_PER_GROUP: u32 = 8_192;
const INODE_BYTES: u32 = 256;
const INODE_TABLE_BLOCKS: u32 = INODES_PER_GROUP * INODE_BYTES / BLOCK as u32;
/// The two maps of a group and its inodes.
const GROUP_OVERHEAD_BLOCKS: u32 = 2 + INODE_TABLE_BLOCKS;
const DESCRIPTOR_BYTES: usize = 32;
/// Where a descriptor's own checksum is.
const DESCRIPTOR_CHECKSUM: usize = 0x1e;

const ROOT_INODE: u32 = 2;
/// The first that isn't reserved, which holds `lost+found`, without which e2fsck is unhappy.
const LOST_INODE: u32 = 11;
const FILES_INODE: u32 = 12;
const USED_INODES: u32 = FILES_INODE;
/// The folder for what is to be stored. Folders made in the root itself are spread over all groups,
/// each of which is then begun; those made in this one stay with it.
pub const FILES_FOLDER: &str = "files";

const HAS_XATTRS: u32 = 0x8;
const DIR_INDEX: u32 = 0x20;
const SPARSE_SUPER2: u32 = 0x200;
const FILE_TYPES: u32 = 0x2;
const EXTENTS: u32 = 0x40;
const LARGE_FILES: u32 = 0x2;
const HUGE_FILES: u32 = 0x8;
const DESCRIPTOR_CHECKSUMS: u32 = 0x10;
const MANY_SUBFOLDERS: u32 = 0x20;
const EXTRA_INODE_BYTES: u32 = 0x40;

const INODES_UNTOUCHED: u16 = 1;
const BLOCKS_UNTOUCHED: u16 = 2;
/// Or the kernel would write zeros over zeros, and make them take room.
const INODES_ZEROED: u16 = 4;

/// Any will do: the kernel takes file systems with equal ones.
const UUID: [u8; 16] = *b"neargate storage";

/// Bytes to write, and where; everything else of the file is zeros.
pub struct Patch {
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// Group 0, which holds everything that there is at first.
struct Layout {
    groups: u32,
    blocks: u32,
    descriptor_blocks: u32,
}

impl Layout {
    fn block_map(&self) -> u32 {
        1 + self.descriptor_blocks
    }

    fn inode_table(&self) -> u32 {
        self.block_map() + 2
    }

    fn root_folder(&self) -> u32 {
        self.inode_table() + INODE_TABLE_BLOCKS
    }

    fn lost_folder(&self) -> u32 {
        self.root_folder() + 1
    }

    fn files_folder(&self) -> u32 {
        self.lost_folder() + 1
    }

    /// Blocks of a group that are taken, from its first on.
    fn used(&self, group: u32) -> u32 {
        if group == 0 { self.files_folder() + 1 } else { GROUP_OVERHEAD_BLOCKS }
    }

    fn free_blocks(&self) -> u32 {
        self.blocks - (0..self.groups).map(|group| self.used(group)).sum::<u32>()
    }

    fn last(&self) -> u32 {
        self.groups - 1
    }
}

/// What makes a file of `gib` GiB of zeros a file system.
pub fn blank(gib: u32) -> Vec<Patch> {
    let blocks = gib.clamp(1, 1024) << (30 - BLOCK.trailing_zeros());
    let groups = blocks / BLOCKS_PER_GROUP;
    let descriptor_blocks = (groups as usize * DESCRIPTOR_BYTES).div_ceil(BLOCK) as u32;
    let layout = Layout { groups, blocks, descriptor_blocks };
    let at = |block: u32| u64::from(block) * BLOCK as u64;
    let last = layout.last();
    let mut patches = vec![
        Patch { offset: 1024, bytes: superblock(&layout) },
        Patch { offset: at(1), bytes: descriptors(&layout) },
        Patch { offset: at(layout.block_map()), bytes: map(layout.used(0), BLOCKS_PER_GROUP) },
        Patch { offset: at(layout.block_map() + 1), bytes: map(USED_INODES, INODES_PER_GROUP) },
        Patch { offset: at(layout.inode_table()), bytes: inodes(&layout) },
        Patch { offset: at(layout.root_folder()), bytes: root_folder() },
        Patch { offset: at(layout.lost_folder()), bytes: folder(LOST_INODE, &[]) },
        Patch { offset: at(layout.files_folder()), bytes: folder(FILES_INODE, &[]) },
    ];
    // The last group's map is never left out, as the file system might end within it.
    let bytes = map(layout.used(last), BLOCKS_PER_GROUP);
    patches.push(Patch { offset: at(last * BLOCKS_PER_GROUP), bytes });
    patches
}

struct Record(Vec<u8>);

impl Record {
    fn new(bytes: usize) -> Self {
        Self(vec![0; bytes])
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn put_u16(&mut self, offset: usize, value: u16) {
        self.put(offset, &value.to_le_bytes());
    }

    fn put_u32(&mut self, offset: usize, value: u32) {
        self.put(offset, &value.to_le_bytes());
    }
}

fn superblock(layout: &Layout) -> Vec<u8> {
    let mut sb = Record::new(1024);
    sb.put_u32(0x00, INODES_PER_GROUP * layout.groups);
    sb.put_u32(0x04, layout.blocks);
    sb.put_u32(0x0c, layout.free_blocks());
    sb.put_u32(0x10, INODES_PER_GROUP * layout.groups - USED_INODES);
    // Blocks and clusters of 1024 << 2 bytes.
    sb.put_u32(0x18, 2);
    sb.put_u32(0x1c, 2);
    sb.put_u32(0x20, BLOCKS_PER_GROUP);
    sb.put_u32(0x24, BLOCKS_PER_GROUP);
    sb.put_u32(0x28, INODES_PER_GROUP);
    // Never due for a check by number of mounts.
    sb.put_u16(0x36, u16::MAX);
    sb.put_u16(0x38, 0xef53);
    // Clean; errors are lived with.
    sb.put_u16(0x3a, 1);
    sb.put_u16(0x3c, 1);
    sb.put_u32(0x4c, 1);
    // The first that isn't reserved.
    sb.put_u32(0x54, LOST_INODE);
    sb.put_u16(0x58, INODE_BYTES as u16);
    sb.put_u32(0x5c, HAS_XATTRS | DIR_INDEX | SPARSE_SUPER2);
    sb.put_u32(0x60, FILE_TYPES | EXTENTS);
    let later = DESCRIPTOR_CHECKSUMS | MANY_SUBFOLDERS | EXTRA_INODE_BYTES;
    sb.put_u32(0x64, LARGE_FILES | HUGE_FILES | later);
    sb.put(0x68, &UUID);
    sb.put(0x78, b"neargate-task");
    // The seed of the folders' hashes: half of MD4, over signed characters.
    sb.put(0xec, &UUID);
    sb.put(0xfc, &[1]);
    // Attributes and access lists of users, by default.
    sb.put_u32(0x100, 0x0c);
    sb.put_u16(0x15c, 32);
    sb.put_u16(0x15e, 32);
    sb.put_u32(0x160, 1);
    sb.0
}

fn descriptors(layout: &Layout) -> Vec<u8> {
    let mut all = Vec::with_capacity(layout.groups as usize * DESCRIPTOR_BYTES);
    for group in 0..layout.groups {
        let first = group * BLOCKS_PER_GROUP;
        let block_map = if group == 0 { layout.block_map() } else { first };
        let used_inodes = if group == 0 { USED_INODES } else { 0 };
        let free_inodes = (INODES_PER_GROUP - used_inodes) as u16;
        let mut flags = INODES_ZEROED;
        if group != 0 {
            flags |= INODES_UNTOUCHED;
        }
        if group != 0 && group != layout.last() {
            flags |= BLOCKS_UNTOUCHED;
        }
        let mut one = Record::new(DESCRIPTOR_BYTES);
        one.put_u32(0x00, block_map);
        one.put_u32(0x04, block_map + 1);
        one.put_u32(0x08, block_map + 2);
        one.put_u16(0x0c, (BLOCKS_PER_GROUP - layout.used(group)) as u16);
        one.put_u16(0x0e, free_inodes);
        one.put_u16(0x10, if group == 0 { 3 } else { 0 });
        one.put_u16(0x12, flags);
        one.put_u16(0x1c, free_inodes);
        let sum = crc16(u16::MAX, &UUID);
        let sum = crc16(sum, &group.to_le_bytes());
        let sum = crc16(sum, &one.0[..DESCRIPTOR_CHECKSUM]);
        one.put_u16(DESCRIPTOR_CHECKSUM, sum);
        all.extend(one.0);
    }
    all
}

fn crc16(mut sum: u16, bytes: &[u8]) -> u16 {
    for byte in bytes {
        sum ^= u16::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 1 { (sum >> 1) ^ 0xa001 } else { sum >> 1 };
        }
    }
    sum
}

/// A block of bits: the first `used` are taken, and those that stand for nothing too.
fn map(used: u32, bits: u32) -> Vec<u8> {
    let taken = |bit: u32| bit < used || bit >= bits;
    let byte = |at: u32| (0..8).fold(0u8, |b, bit| b | (u8::from(taken(at * 8 + bit)) << bit));
    (0..BLOCK as u32).map(byte).collect()
}

/// The inode table as far as it isn't zeros.
fn inodes(layout: &Layout) -> Vec<u8> {
    let mut table = Record::new((USED_INODES * INODE_BYTES) as usize);
    for (number, mode, links, block) in [
        (ROOT_INODE, 0o40_755, 4, layout.root_folder()),
        (LOST_INODE, 0o40_700, 2, layout.lost_folder()),
        (FILES_INODE, 0o40_755, 2, layout.files_folder()),
    ] {
        let at = ((number - 1) * INODE_BYTES) as usize;
        table.put_u16(at, mode);
        table.put_u32(at + 0x04, BLOCK as u32);
        table.put_u16(at + 0x1a, links);
        // In sectors.
        table.put_u32(at + 0x1c, BLOCK as u32 / 512);
        table.put_u32(at + 0x20, 0x8_0000);
        // A tree of extents of depth 0, with room for four, of which there is one of one block.
        table.put_u16(at + 0x28, 0xf30a);
        table.put_u16(at + 0x2a, 1);
        table.put_u16(at + 0x2c, 4);
        table.put_u16(at + 0x38, 1);
        table.put_u32(at + 0x3c, block);
        table.put_u16(at + 0x80, 32);
    }
    table.0
}

fn root_folder() -> Vec<u8> {
    folder(ROOT_INODE, &[(LOST_INODE, "lost+found"), (FILES_INODE, FILES_FOLDER)])
}

/// A folder below the root, with folders in it.
fn folder(own: u32, folders: &[(u32, &str)]) -> Vec<u8> {
    let mut block = Record::new(BLOCK);
    let all: Vec<(u32, &str)> =
        [(own, "."), (ROOT_INODE, "..")].into_iter().chain(folders.iter().copied()).collect();
    let mut at = 0;
    for (n, (inode, name)) in all.iter().enumerate() {
        let own_bytes = (8 + name.len()).next_multiple_of(4);
        let bytes = if n + 1 == all.len() { BLOCK - at } else { own_bytes };
        block.put_u32(at, *inode);
        block.put_u16(at + 4, bytes as u16);
        block.put(at + 6, &[name.len() as u8, 2]);
        block.put(at + 8, name.as_bytes());
        at += bytes;
    }
    block.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn the_checksum_is_the_one_of_the_kernel() {
        // CRC-16/MODBUS, which is the kernel's crc16 begun with all ones.
        assert_eq!(crc16(u16::MAX, b"123456789"), 0x4b37);
    }

    #[test]
    fn few_blocks_are_written_whatever_the_size() {
        for gib in [20, 21, 200] {
            let bytes: usize = blank(gib).iter().map(|patch| patch.bytes.len()).sum();
            assert!(bytes < 96 << 10, "{gib} GiB take {bytes} bytes");
        }
    }

    /// The file system's own checker is on every Debian; where it isn't, the kernel still judges
    /// in the conformance tests.
    #[test]
    fn its_own_checker_finds_nothing_wrong() {
        for gib in [1, 20, 200] {
            let file = tempfile::NamedTempFile::new().expect("a file");
            file.as_file().set_len(u64::from(gib) << 30).expect("sparse");
            for patch in blank(gib) {
                file.as_file().write_all_at(&patch.bytes, patch.offset).expect("written");
            }
            let mut e2fsck = std::process::Command::new("/sbin/e2fsck");
            let said = e2fsck.arg("-fn").arg(file.path()).output().expect("e2fsck is there");
            let text = String::from_utf8_lossy(&said.stdout);
            assert!(said.status.success(), "{text}{}", String::from_utf8_lossy(&said.stderr));
        }
    }
}
