//! A medium that can be told to misbehave as disks do: to lose and tear what was not synced, to
//! fail, to be full, and to go dark in the middle of anything.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use redb::StorageBackend;

use super::Random;
use crate::disk::{Medium, Segment, create};

const SECTOR_BYTES: usize = 512;

/// A handle to a medium; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Faulty(Arc<Mutex<World>>, Arc<Gate>);

/// Holds up syncs of the log while it is shut.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    shut: bool,
    waiting: usize,
}

impl Gate {
    pub fn shut(&self, shut: bool) {
        self.state.lock().expect("nobody panics with it").shut = shut;
        self.changed.notify_all();
    }

    /// Returns once a sync waits.
    pub fn until_somebody_waits(&self) {
        let state = self.state.lock().expect("nobody panics with it");
        let waited = self.changed.wait_while(state, |state| state.waiting == 0);
        drop(waited.expect("nobody panics with it"));
    }

    fn pass(&self) {
        let mut state = self.state.lock().expect("nobody panics with it");
        state.waiting += 1;
        self.changed.notify_all();
        let waited = self.changed.wait_while(state, |state| state.shut);
        waited.expect("nobody panics with it").waiting -= 1;
    }
}

#[derive(Debug, Default)]
pub(crate) struct World {
    /// By number; names point to numbers.
    files: BTreeMap<usize, File>,
    names: BTreeMap<u64, usize>,
    durable_names: BTreeMap<u64, usize>,
    next_file: usize,
    /// Operations until the power goes; None: it stays.
    pub fuse: Option<u64>,
    /// Bytes that can still be added; None: no end.
    pub room_bytes: Option<usize>,
    /// Others fill what room there is at once, also what is given back.
    pub greedy_neighbours: bool,
    /// One in so many operations fails; 0: none does.
    pub failing_one_in: u64,
    pub failures: u64,
    /// Writes to the file of records fail; the log is well.
    pub records_fail: bool,
    random: Option<Random>,
}

#[derive(Clone, Debug, Default)]
struct File {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<Op>,
}

#[derive(Clone, Debug)]
enum Op {
    Write { at: usize, data: Vec<u8> },
    SetLength(usize),
}

impl Op {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Op::SetLength(bytes) => content.resize(*bytes, 0),
            Op::Write { at, data } => {
                content.resize(content.len().max(at + data.len()), 0);
                content[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }
}

impl File {
    fn add(&mut self, op: Op) {
        op.apply(&mut self.current);
        self.pending.push(op);
    }

    fn sync(&mut self) {
        for op in self.pending.drain(..) {
            op.apply(&mut self.durable);
        }
    }

    /// What is left when the power goes: any part of what was not synced, sector by sector.
    fn lose_power(&mut self, random: &mut Random) {
        // Nothing, everything, a coin for each sector, or all before some place.
        let manner = random.below(4);
        for op in std::mem::take(&mut self.pending) {
            match op {
                Op::SetLength(_) if manner == 0 || manner == 2 && random.below(2) == 0 => {}
                Op::SetLength(_) => op.apply(&mut self.durable),
                Op::Write { at, data } => {
                    let cut = random.below(data.len() as u64 + 1) as usize;
                    let mut from = 0;
                    while from < data.len() {
                        // Sectors are those of the file, not of the write.
                        let sector_end = (at + from) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES;
                        let to = (sector_end - at).min(data.len());
                        let kept = match manner {
                            0 => false,
                            1 => true,
                            2 => random.below(2) == 0,
                            _ => to <= cut,
                        };
                        if kept {
                            let data = data[from..to].to_vec();
                            Op::Write { at: at + from, data }.apply(&mut self.durable);
                        }
                        from = to;
                    }
                }
            }
        }
        self.current.clone_from(&self.durable);
    }
}

/// The file of records is always there.
const RECORDS: usize = usize::MAX;

impl Faulty {
    /// A medium with a new, empty state on it.
    pub fn created(seed: u64) -> Faulty {
        let mut world = World { random: Some(Random(seed)), ..World::default() };
        world.files.insert(RECORDS, File::default());
        let medium = Faulty(Arc::new(Mutex::new(world)), Arc::default());
        create(Box::new(medium.clone())).expect("nothing fails yet");
        medium.world().file(RECORDS).sync();
        medium
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("no test panics while it holds it")
    }

    pub fn gate(&self) -> &Gate {
        &self.1
    }

    /// Whether the fuse has burnt down.
    pub fn is_dark(&self) -> bool {
        self.world().fuse == Some(0)
    }

    /// What a new start of the machine finds.
    pub fn lose_power(&self, random: &mut Random) -> Faulty {
        let old = self.world();
        let mut names = BTreeMap::new();
        for name in old.names.keys().chain(old.durable_names.keys()) {
            let (current, durable) = (old.names.get(name), old.durable_names.get(name));
            let kept = if random.below(2) == 0 { current } else { durable };
            names.extend(kept.map(|file| (*name, *file)));
        }
        let mut files = old.files.clone();
        for file in files.values_mut() {
            file.lose_power(random);
        }
        let world = World {
            files,
            durable_names: names.clone(),
            names,
            next_file: old.next_file,
            random: Some(random.clone()),
            ..World::default()
        };
        Faulty(Arc::new(Mutex::new(world)), Arc::default())
    }

    /// Changes bytes behind the engine's back. `name` of None: the file of records.
    pub fn damage(&self, name: Option<u64>, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.world();
        let number = name.map_or(RECORDS, |name| world.names[&name]);
        let file = world.file(number);
        change(&mut file.current);
        file.durable.clone_from(&file.current);
        file.pending.clear();
    }

    pub fn content(&self, name: Option<u64>) -> Vec<u8> {
        let mut world = self.world();
        let number = name.map_or(RECORDS, |name| world.names[&name]);
        world.file(number).current.clone()
    }

    /// A copy that shares nothing.
    pub fn copy(&self) -> Faulty {
        let old = self.world();
        let world = World {
            files: old.files.clone(),
            names: old.names.clone(),
            durable_names: old.durable_names.clone(),
            next_file: old.next_file,
            random: old.random.clone(),
            ..World::default()
        };
        Faulty(Arc::new(Mutex::new(world)), Arc::default())
    }
}

fn dark() -> io::Error {
    io::Error::other("the power is gone")
}

impl World {
    fn file(&mut self, number: usize) -> &mut File {
        self.files.get_mut(&number).expect("a handle's file exists")
    }

    fn readable(&self) -> io::Result<()> {
        if self.fuse == Some(0) { Err(dark()) } else { Ok(()) }
    }

    /// Counts an operation; it may be the one that fails.
    fn step(&mut self) -> io::Result<()> {
        self.readable()?;
        if let Some(left) = &mut self.fuse {
            *left -= 1;
            if *left == 0 {
                return Err(dark());
            }
        }
        let (one_in, random) = (self.failing_one_in, self.random.as_mut());
        if let (1.., Some(random)) = (one_in, random)
            && random.below(one_in) == 0
        {
            self.failures += 1;
            return Err(io::Error::other("a passing failure"));
        }
        Ok(())
    }

    fn step_at(&mut self, number: usize) -> io::Result<()> {
        if number == RECORDS && self.records_fail {
            return Err(io::Error::other("the records are unwell"));
        }
        self.step()
    }

    fn write(&mut self, number: usize, at: usize, data: &[u8]) -> io::Result<()> {
        let stepped = self.step_at(number);
        let file = self.files.get(&number).expect("a handle's file exists");
        let growth = (at + data.len()).saturating_sub(file.current.len());
        let room = self.room_bytes.unwrap_or(usize::MAX);
        let written = data.len() - growth.saturating_sub(room).min(data.len());
        if let Some(room) = &mut self.room_bytes {
            *room -= growth.min(*room);
        }
        // A write that fails may have happened, or a part of it.
        self.file(number).add(Op::Write { at, data: data[..written].to_vec() });
        stepped?;
        match written == data.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn sync(&mut self, number: usize) -> io::Result<()> {
        let stepped = self.step_at(number);
        // A sync that fails may have worked.
        let worked = self.random.as_mut().is_none_or(|random| random.below(2) == 0);
        if stepped.is_ok() || worked {
            self.file(number).sync();
        }
        stepped
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        let mut world = self.world();
        world.readable()?;
        Ok(world.file(RECORDS).current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut world = self.world();
        world.readable()?;
        let content = &world.file(RECORDS).current;
        let found = content.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        let growth = (len as usize).saturating_sub(world.file(RECORDS).current.len());
        if let Some(room) = &mut world.room_bytes {
            *room = room.checked_sub(growth).ok_or(io::ErrorKind::StorageFull)?;
        }
        world.file(RECORDS).add(Op::SetLength(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.world().sync(RECORDS)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.world().write(RECORDS, offset as usize, data)
    }
}

impl Medium for Faulty {
    fn records(&self) -> io::Result<Box<dyn StorageBackend>> {
        self.world().readable()?;
        Ok(Box::new(self.clone()))
    }

    fn segments(&self) -> io::Result<Vec<u64>> {
        let world = self.world();
        world.readable()?;
        Ok(world.names.keys().copied().collect())
    }

    fn read_segment(&self, first: u64) -> io::Result<Vec<u8>> {
        let mut world = self.world();
        world.readable()?;
        let number = *world.names.get(&first).ok_or(io::ErrorKind::NotFound)?;
        Ok(world.file(number).current.clone())
    }

    fn create_segment(&self, first: u64) -> io::Result<Box<dyn Segment>> {
        let mut world = self.world();
        world.step()?;
        let number = match world.names.get(&first) {
            Some(number) => {
                let number = *number;
                world.file(number).add(Op::SetLength(0));
                number
            }
            None => {
                world.next_file += 1;
                let number = world.next_file;
                world.files.insert(number, File::default());
                world.names.insert(first, number);
                number
            }
        };
        Ok(Box::new(Appending { medium: self.clone(), number }))
    }

    fn remove_segment(&self, first: u64) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        let number = world.names.remove(&first).ok_or(io::ErrorKind::NotFound)?;
        let bytes = world.file(number).current.len();
        let greedy = world.greedy_neighbours;
        if let (Some(room), false) = (&mut world.room_bytes, greedy) {
            *room += bytes;
        }
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        world.durable_names = world.names.clone();
        Ok(())
    }
}

struct Appending {
    medium: Faulty,
    number: usize,
}

impl Segment for Appending {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.medium.world();
        let end = world.file(self.number).current.len();
        world.write(self.number, end, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.medium.gate().pass();
        self.medium.world().sync(self.number)
    }
}
