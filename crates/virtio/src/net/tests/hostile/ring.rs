//! A ring alone, whose driver is compared with what lies in memory.

use std::collections::VecDeque;

use sunstar_virtio::{Broken, Chain, ChainId, QueueOptions, Segment, Taken, Used};

use super::{BASE, Ends, FRAMES, Input, World};

/// Descriptors of a split ring, and of a packed one, which need not be a power of two.
const SIZES: [u16; 2] = [8, 7];

const STEPS: usize = 100;

/// A chain that the driver has made available.
struct Out {
    token: u16,
    slots: u16,
    is_published: bool,
}

struct Ring {
    ends: Ends,
    world: World,
    options: QueueOptions,
    /// In the order in which they were added.
    out: VecDeque<Out>,
    /// Chains that came back, and places of the ring that they had.
    chains: usize,
    slots: usize,
    /// Chains that were added, those that were made available, and of how many a split ring's index said that they were used when it was looked at last.
    added: usize,
    published: usize,
    seen: usize,
    /// Whether one that was used was not the last of those that one entry tells of, so that the ring was not looked at since.
    is_in_batch: bool,
    /// What the device has taken.
    taken: VecDeque<ChainId>,
}

/// What the device says at the place where the driver looks next.
#[derive(Debug)]
struct Entry {
    /// Whether it says anything.
    is_used: bool,
    id: u32,
    written: u32,
}

pub(super) fn check(kind: u8, input: &mut Input<'_>) {
    let bit = |at: u8| kind >> at & 1 == 1;
    let is_packed = bit(0);
    let size = SIZES[usize::from(is_packed)];
    let options = QueueOptions { size, has_event_index: bit(1), is_in_order: bit(2), has_indirect: bit(3) };
    let mut world = World::new();
    let ends = world.ends(0, is_packed, options);
    let (out, taken) = (VecDeque::new(), VecDeque::new());
    let (chains, slots, added, published, seen, is_in_batch) = (0, 0, 0, 0, 0, false);
    let mut ring = Ring { ends, world, options, out, chains, slots, added, published, seen, is_in_batch, taken };
    let mut is_well = true;
    for _ in 0..STEPS {
        if input.0.is_empty() || !is_well {
            break;
        }
        match input.next() % 8 {
            0 | 1 => ring.add(input),
            2 => ring.publish(),
            3 => ring.use_some(input),
            4 | 5 => is_well = ring.take_back(),
            6 => ring.sleep(input),
            _ => ring.ends.tampered.tamper(input),
        }
    }
    if is_well && ring.ends.tampered.is_honest {
        ring.finish();
    }
    ring.world.check_surroundings();
}

impl Ring {
    fn add(&mut self, input: &mut Input<'_>) {
        let shape = input.next();
        let (readable, writable) = (usize::from(shape & 3), usize::from(shape >> 2 & 3));
        let count = readable + writable;
        if count == 0 || count > usize::from(self.options.size) {
            return;
        }
        let segment = Segment { address: BASE + FRAMES as u64, len: 16 };
        let free = self.ends.driver.free();
        if let Ok(token) = self.ends.driver.add(&vec![segment; readable], &vec![segment; writable]) {
            assert!(token < self.options.size && self.out.iter().all(|out| out.token != token), "{token} is out");
            self.out.push_back(Out { token, slots: free - self.ends.driver.free(), is_published: false });
            self.added += 1;
        }
        // Most often at once, as drivers do.
        if shape & 0x10 == 0 {
            self.publish();
        }
    }

    fn publish(&mut self) {
        let has_to_be_told = self.ends.driver.publish();
        let is_new = self.out.iter().any(|out| !out.is_published) || !self.ends.tampered.is_honest;
        assert!(is_new || !has_to_be_told, "nobody is told of nothing");
        self.published = self.added;
        self.out.iter_mut().for_each(|out| out.is_published = true);
    }

    /// What a device does that keeps to the rules: takes chains, and gives one back.
    fn use_some(&mut self, input: &mut Input<'_>) {
        let mut chain = Chain::default();
        if let Ok(Taken::Chain | Taken::Refused(_)) = self.ends.device.take(&self.world.map, &mut chain) {
            self.taken.push_back(chain.id());
        }
        let (pick, written) = (input.next(), input.written());
        let pick = if self.options.is_in_order { 0 } else { usize::from(pick) % self.taken.len().max(1) };
        if let Some(id) = self.taken.remove(pick) {
            self.ends.device.put_used(id, written);
        }
        let _ = self.ends.device.publish();
        if input.next() & 1 == 0 {
            let _ = self.ends.device.enable_notifications();
        } else {
            self.ends.device.disable_notifications();
        }
    }

    /// What lies at the place of the next chain, found without what the driver knows.
    fn entry(&self) -> Entry {
        let (areas, size) = (&self.ends.tampered.areas, usize::from(self.options.size));
        let half = |area: usize, at: usize| {
            let mut bytes = [0; 2];
            areas[area].read(at, &mut bytes);
            u16::from_le_bytes(bytes)
        };
        let word = |area: usize, at: usize| u32::from(half(area, at)) | u32::from(half(area, at + 2)) << 16;
        if !self.ends.tampered.is_packed {
            let at = 4 + 8 * (self.chains % size);
            let is_used = usize::from(half(2, 2)) != self.chains % 0x1_0000;
            return Entry { is_used, id: word(2, at), written: word(2, at + 4) };
        }
        let at = 16 * (self.slots % size);
        let flags = half(0, at + 14);
        let wanted = if (self.slots / size).is_multiple_of(2) { super::PACKED_USED } else { 0 };
        let is_used = flags & super::PACKED_USED == wanted && !self.out.is_empty();
        let written = if flags & super::PACKED_WRITE == 0 { 0 } else { word(0, at + 8) };
        Entry { is_used, id: half(0, at + 12).into(), written }
    }

    /// Whether a split ring's index, if it is looked at now, is ahead of what was made available.
    fn is_index_ahead(&mut self) -> bool {
        if self.ends.tampered.is_packed || self.is_in_batch || self.seen != self.chains {
            return false;
        }
        let mut index = [0; 2];
        self.ends.tampered.areas[2].read(2, &mut index);
        let ahead = (usize::from(u16::from_le_bytes(index)) + 0x1_0000 - self.chains % 0x1_0000) % 0x1_0000;
        let is_ahead = ahead > self.published - self.chains;
        if !is_ahead {
            self.seen += ahead;
        }
        is_ahead
    }

    /// Takes one back; answers whether the queue is not broken.
    fn take_back(&mut self) -> bool {
        let (entry, is_in_batch, is_ahead) = (self.entry(), self.is_in_batch, self.is_index_ahead());
        let place = |id: u32| self.out.iter().position(|out| u32::from(out.token) == id);
        let result = self.ends.driver.take_used();
        assert_eq!(result == Err(Broken::Index), is_ahead, "{result:?}");
        let is_well = match result {
            Ok(None) => {
                assert!(!entry.is_used && !is_in_batch, "there is {entry:?}");
                true
            }
            Ok(Some(used)) => {
                let place = place(used.token.into()).expect("what comes back was out");
                self.check_used(used, place, &entry);
                let out = self.out.remove(place).expect("it was just found");
                self.chains += 1;
                self.slots += usize::from(out.slots);
                true
            }
            Err(error) => {
                assert!(!self.ends.tampered.is_honest, "an honest device breaks nothing: {error}");
                let is_known = place(entry.id).is_some();
                let is_ordered = self.options.is_in_order;
                assert!(is_ordered || error == Broken::Index || !is_known, "{error} though there is {entry:?}");
                assert_eq!(self.ends.driver.take_used(), Err(error), "it stays broken");
                false
            }
        };
        let out: u16 = self.out.iter().map(|out| out.slots).sum();
        assert_eq!(self.ends.driver.free() + out, self.options.size, "no descriptor is lost, and none is there twice");
        is_well
    }

    fn check_used(&mut self, used: Used, place: usize, entry: &Entry) {
        if !self.options.is_in_order {
            assert_eq!((u32::from(used.token), used.written), (entry.id, Some(entry.written)), "it is what was said");
            return;
        }
        assert_eq!(place, 0, "they come back in their order");
        // Of others than the last one nothing is said.
        if !self.is_in_batch && used.written.is_some() {
            assert_eq!((u32::from(used.token), used.written), (entry.id, Some(entry.written)), "it is what was said");
        }
        self.is_in_batch = used.written.is_none();
    }

    fn sleep(&mut self, input: &mut Input<'_>) {
        if input.next() & 1 == 0 {
            self.ends.driver.disable_notifications();
            return;
        }
        let is_there = self.ends.driver.enable_notifications();
        assert_eq!(is_there, self.entry().is_used || self.is_in_batch, "who sleeps has looked");
    }

    /// All that is out comes home.
    fn finish(&mut self) {
        self.publish();
        for _ in 0..2 * self.options.size {
            self.use_some(&mut Input(&[]));
            assert!(self.take_back());
        }
        assert_eq!((self.ends.driver.free(), self.out.len()), (self.options.size, 0), "all are home");
    }
}
