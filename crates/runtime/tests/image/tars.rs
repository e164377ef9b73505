//! Tar archives made byte by byte, because libraries refuse to write what these tests are about.

#[derive(Clone)]
pub struct Item {
    pub path: Vec<u8>,
    pub flag: u8,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: u64,
    pub data: Vec<u8>,
    pub pax: Vec<(String, Vec<u8>)>,
    pub device: (u32, u32),
    /// Bytes of the header that are written over what it would be, by their place.
    pub patches: Vec<(usize, Vec<u8>)>,
    /// The name and link as they are, without GNU's long names.
    pub cut: bool,
}

pub fn item(flag: u8, path: &str) -> Item {
    Item {
        path: path.as_bytes().to_vec(),
        flag,
        link: Vec::new(),
        mode: if flag == b'5' { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        mtime: 1_700_000_000,
        data: Vec::new(),
        pax: Vec::new(),
        device: (0, 0),
        patches: Vec::new(),
        cut: false,
    }
}

pub fn file(path: &str, data: &str) -> Item {
    Item { data: data.as_bytes().to_vec(), ..item(b'0', path) }
}

pub fn directory(path: &str) -> Item {
    item(b'5', path)
}

pub fn symlink(path: &str, target: &str) -> Item {
    Item { link: target.as_bytes().to_vec(), ..item(b'2', path) }
}

pub fn hard_link(path: &str, target: &str) -> Item {
    Item { link: target.as_bytes().to_vec(), ..item(b'1', path) }
}

impl Item {
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    pub fn owner(self, uid: u32, gid: u32) -> Self {
        Self { uid, gid, ..self }
    }

    pub fn pax(mut self, key: &str, value: &[u8]) -> Self {
        self.pax.push((key.to_owned(), value.to_vec()));
        self
    }

    pub fn device(self, major: u32, minor: u32) -> Self {
        Self { device: (major, minor), ..self }
    }

    pub fn patch(mut self, at: usize, bytes: &[u8]) -> Self {
        self.patches.push((at, bytes.to_vec()));
        self
    }

    fn write(&self, archive: &mut Vec<u8>) {
        if !self.pax.is_empty() {
            let records: Vec<u8> =
                self.pax.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
            write_entry(archive, &Item { data: records, ..item(b'x', "pax") });
        }
        if self.path.len() > 100 && !self.cut {
            let data = [&*self.path, b"\0"].concat();
            write_entry(archive, &Item { data, ..item(b'L', "././@LongLink") });
        }
        if self.link.len() > 100 && !self.cut {
            let data = [&*self.link, b"\0"].concat();
            write_entry(archive, &Item { data, ..item(b'K', "././@LongLink") });
        }
        write_entry(archive, self);
    }
}

/// The whole archive, with its end.
pub fn tar(items: &[Item]) -> Vec<u8> {
    let mut archive = Vec::new();
    for item in items {
        item.write(&mut archive);
    }
    archive.extend_from_slice(&[0; 1024]);
    archive
}

pub fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length += 1;
    }
    [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

fn write_entry(archive: &mut Vec<u8>, item: &Item) {
    let mut header = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &item.path[..item.path.len().min(100)]);
    put(100, format!("{:07o}", item.mode).as_bytes());
    put(108, format!("{:07o}", item.uid).as_bytes());
    put(116, format!("{:07o}", item.gid).as_bytes());
    put(124, format!("{:011o}", item.data.len()).as_bytes());
    put(136, format!("{:011o}", item.mtime).as_bytes());
    put(156, &[item.flag]);
    put(157, &item.link[..item.link.len().min(100)]);
    put(257, b"ustar  \0");
    put(329, format!("{:07o}", item.device.0).as_bytes());
    put(337, format!("{:07o}", item.device.1).as_bytes());
    for (at, bytes) in &item.patches {
        put(*at, bytes);
    }
    seal(&mut header);
    archive.extend_from_slice(&header);
    archive.extend_from_slice(&item.data);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

/// Writes the checksum.
pub fn seal(header: &mut [u8; 512]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
