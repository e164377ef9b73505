//! Instances of one zone and architecture, ordered by what is free, so that the best fit is found
//! without looking at all of them: a treap by free memory whose nodes know the most free CPU below
//! them. Its priorities are a fixed mixture of the slots' numbers, so that the same rooms give the
//! same answers.

const NIL: u32 = u32::MAX;

/// What is free, in the order of choice: the least free memory, then the least CPU, then the first
/// by id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Free {
    pub memory_mib: u32,
    pub cpu_units: u32,
    /// The instance's place in the order of ids.
    pub rank: u32,
}

struct Node {
    free: Free,
    priority: u64,
    left: u32,
    right: u32,
    most_cpu_units: u32,
}

/// Rooms are known by the number under which they were inserted: 0, 1, 2 and so on.
#[derive(Default)]
pub struct Rooms {
    nodes: Vec<Node>,
    root: Option<u32>,
}

impl Rooms {
    pub fn insert(&mut self, free: Free) -> u32 {
        let slot = u32::try_from(self.nodes.len()).expect("fewer instances than 2^32");
        let (cpu, priority) = (free.cpu_units, mix(u64::from(slot)));
        self.nodes.push(Node { free, priority, left: NIL, right: NIL, most_cpu_units: cpu });
        self.link(slot);
        slot
    }

    /// The first in the order of choice that has room for both.
    pub fn best_fit(&self, cpu_units: u32, memory_mib: u32) -> Option<(Free, u32)> {
        self.best_fit_of(cpu_units, memory_mib, &|_| true)
    }

    /// As `best_fit`, among those whose rank counts. Each that doesn't is a step more.
    pub fn best_fit_of(
        &self,
        cpu_units: u32,
        memory_mib: u32,
        counts: &dyn Fn(u32) -> bool,
    ) -> Option<(Free, u32)> {
        let slot = self.find(self.root.unwrap_or(NIL), cpu_units, memory_mib, counts)?;
        Some((self.nodes[slot as usize].free, slot))
    }

    pub fn take(&mut self, slot: u32, cpu_units: u32, memory_mib: u32) {
        let before = self.nodes[slot as usize].free;
        assert!(
            before.cpu_units >= cpu_units && before.memory_mib >= memory_mib,
            "a room is never overcommitted"
        );
        self.unlink(before);
        let node = &mut self.nodes[slot as usize];
        node.free.cpu_units -= cpu_units;
        node.free.memory_mib -= memory_mib;
        self.link(slot);
    }

    pub fn most_cpu_units(&self) -> u32 {
        self.root.map_or(0, |root| self.nodes[root as usize].most_cpu_units)
    }

    pub fn most_memory_mib(&self) -> u32 {
        let Some(mut at) = self.root else { return 0 };
        loop {
            let node = &self.nodes[at as usize];
            if node.right == NIL {
                return node.free.memory_mib;
            }
            at = node.right;
        }
    }

    /// At most one path leads along the bound on memory; right of it every step is towards an
    /// answer.
    fn find(
        &self,
        at: u32,
        cpu_units: u32,
        memory_mib: u32,
        counts: &dyn Fn(u32) -> bool,
    ) -> Option<u32> {
        let node = self.nodes.get(at as usize)?;
        if node.most_cpu_units < cpu_units {
            return None;
        }
        if node.free.memory_mib < memory_mib {
            return self.find(node.right, cpu_units, memory_mib, counts);
        }
        let fits = node.free.cpu_units >= cpu_units;
        self.find(node.left, cpu_units, memory_mib, counts)
            .or_else(|| (fits && counts(node.free.rank)).then_some(at))
            .or_else(|| self.find(node.right, cpu_units, memory_mib, counts))
    }

    fn link(&mut self, slot: u32) {
        let free = self.nodes[slot as usize].free;
        let (left, right) = self.split(self.root.unwrap_or(NIL), free);
        let node = &mut self.nodes[slot as usize];
        (node.left, node.right) = (NIL, NIL);
        self.refresh(slot);
        let left = self.merge(left, slot);
        self.root = Some(self.merge(left, right));
    }

    fn unlink(&mut self, free: Free) {
        let root = self.root.unwrap_or(NIL);
        let without = self.without(root, free);
        self.root = (without != NIL).then_some(without);
    }

    /// The tree without the node of this key.
    fn without(&mut self, at: u32, free: Free) -> u32 {
        let (found, left, right) = {
            let node = &self.nodes[at as usize];
            (node.free, node.left, node.right)
        };
        if found == free {
            return self.merge(left, right);
        }
        if free < found {
            self.nodes[at as usize].left = self.without(left, free);
        } else {
            self.nodes[at as usize].right = self.without(right, free);
        }
        self.refresh(at);
        at
    }

    /// Nodes before `free`, and the others.
    fn split(&mut self, at: u32, free: Free) -> (u32, u32) {
        if at == NIL {
            return (NIL, NIL);
        }
        if self.nodes[at as usize].free < free {
            let (left, right) = self.split(self.nodes[at as usize].right, free);
            self.nodes[at as usize].right = left;
            self.refresh(at);
            (at, right)
        } else {
            let (left, right) = self.split(self.nodes[at as usize].left, free);
            self.nodes[at as usize].left = right;
            self.refresh(at);
            (left, at)
        }
    }

    /// All of `left` is before all of `right`.
    fn merge(&mut self, left: u32, right: u32) -> u32 {
        if left == NIL || right == NIL {
            return left.min(right);
        }
        if self.nodes[left as usize].priority > self.nodes[right as usize].priority {
            self.nodes[left as usize].right = self.merge(self.nodes[left as usize].right, right);
            self.refresh(left);
            left
        } else {
            self.nodes[right as usize].left = self.merge(left, self.nodes[right as usize].left);
            self.refresh(right);
            right
        }
    }

    fn refresh(&mut self, at: u32) {
        let node = &self.nodes[at as usize];
        let below = [node.left, node.right]
            .map(|child| self.nodes.get(child as usize).map_or(0, |child| child.most_cpu_units));
        let most = node.free.cpu_units.max(below[0]).max(below[1]);
        self.nodes[at as usize].most_cpu_units = most;
    }
}

/// A well-mixed function of a number (splitmix64's finaliser).
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a plain list, over many takes.
    #[test]
    fn the_best_fit_is_the_one_a_full_search_finds() {
        let mut random = 1u64;
        let mut draw = |below: u64| {
            random = mix(random);
            u32::try_from(random % below).expect("small")
        };
        for _ in 0..50 {
            let mut rooms = Rooms::default();
            let mut list = Vec::new();
            for rank in 0..=draw(40) {
                let free = Free { memory_mib: draw(20), cpu_units: draw(20), rank };
                assert_eq!(rooms.insert(free), rank);
                list.push(free);
            }
            for _ in 0..200 {
                let (cpu, memory) = (draw(8), draw(8));
                let fits = |f: &&Free| f.cpu_units >= cpu && f.memory_mib >= memory;
                let want = list.iter().filter(fits).min().copied();
                let got = rooms.best_fit(cpu, memory);
                assert_eq!(got.map(|(free, _)| free), want);
                assert_eq!(Some(rooms.most_cpu_units()), list.iter().map(|f| f.cpu_units).max());
                assert_eq!(Some(rooms.most_memory_mib()), list.iter().map(|f| f.memory_mib).max());
                if let Some((free, slot)) = got {
                    rooms.take(slot, cpu, memory);
                    let taken = &mut list[free.rank as usize];
                    taken.cpu_units -= cpu;
                    taken.memory_mib -= memory;
                }
            }
        }
    }
}
