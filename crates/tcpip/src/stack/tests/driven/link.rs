//! A wire that does to packets what it is told.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use core::time::Duration;

use sunstar_packet::{Buffer, Checksum, Packet};
use sunstar_tcpip::time::Instant;

/// So often does one packet arrive at most, however many plans it meets.
const MAX_COPIES: u32 = 64;

/// What becomes of one packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Lost,
    Twice,
    /// So many milliseconds later than others.
    Late(u8),
    /// A byte is another one. Behind the Ethernet header, which nothing protects here.
    Damaged {
        at: u8,
        change: u8,
    },
}

/// A packet on its way.
#[derive(Debug)]
pub(super) struct Arriving {
    pub(super) when: Instant,
    pub(super) bytes: Vec<u8>,
    pub(super) offload: sunstar_packet::Offload,
    pub(super) is_intact: bool,
}

/// One direction.
pub(super) struct Link {
    pub(super) delay: Duration,
    pub(super) front_bytes: usize,
    /// What happens to the packet after so many.
    fates: Vec<(u8, Fate)>,
    /// One packet of so many is lost; none if that is zero.
    pub(super) loses_one_of: u8,
    count: u64,
    arriving: VecDeque<Arriving>,
    pub(super) lost: u32,
    pub(super) damaged: u32,
}

impl Link {
    pub(super) fn new(delay: Duration, front_bytes: usize) -> Self {
        let (fates, arriving) = (Vec::new(), VecDeque::new());
        Self { delay, front_bytes, fates, loses_one_of: 0, count: 0, arriving, lost: 0, damaged: 0 }
    }

    /// The packet after the next `after` ones meets this.
    pub(super) fn plan(&mut self, after: u8, fate: Fate) {
        self.fates.push((after, fate));
    }

    pub(super) fn heal(&mut self) {
        self.fates.clear();
        self.loses_one_of = 0;
    }

    pub(super) fn carry(&mut self, now: Instant, packet: &Packet) {
        self.count += 1;
        let bytes: Vec<u8> = packet.buffers().concat();
        let mut arriving = Arriving { when: now + self.delay, bytes, offload: packet.offload, is_intact: true };
        let mut copies = 1_u32;
        if self.loses_one_of > 0 && self.count.is_multiple_of(self.loses_one_of.into()) {
            copies = 0;
        }
        for fate in self.due() {
            match fate {
                Fate::Lost => copies = 0,
                Fate::Twice => copies = (copies * 2).min(MAX_COPIES),
                Fate::Late(ms) => arriving.when = arriving.when + Duration::from_millis(ms.into()),
                Fate::Damaged { at, change } => self.damage(&mut arriving, at, change),
            }
        }
        self.lost += u32::from(copies == 0);
        for _ in 0..copies {
            let copy = Arriving { bytes: arriving.bytes.clone(), ..arriving };
            let at = self.arriving.partition_point(|other| other.when <= copy.when);
            self.arriving.insert(at, copy);
        }
    }

    /// What is planned for this packet.
    fn due(&mut self) -> Vec<Fate> {
        let due = self.fates.iter().filter(|(after, _)| *after == 0).map(|(_, fate)| *fate).collect();
        self.fates.retain(|(after, _)| *after > 0);
        self.fates.iter_mut().for_each(|(after, _)| *after -= 1);
        due
    }

    fn damage(&mut self, arriving: &mut Arriving, at: u8, change: u8) {
        let ethertype = arriving.bytes.get(12..14);
        let is_arp = self.front_bytes > 0 && ethertype != Some(&[8, 0]) && ethertype != Some(&[0x86, 0xdd]);
        // The header of IPv6 has no checksum, and not all of it counts.
        let is_v6 = arriving.bytes.get(self.front_bytes).is_some_and(|first| first >> 4 == 6);
        let front = self.front_bytes + if is_v6 { 40 } else { 0 };
        // Nobody looks for damage where the checksum is not complete, and a second one might hide the first one.
        if change == 0 || is_arp || !arriving.is_intact || arriving.offload.checksum != Checksum::Complete {
            return;
        }
        let room = arriving.bytes.len() - front;
        arriving.bytes[front + usize::from(at) % room] ^= change;
        arriving.is_intact = false;
        self.damaged += 1;
        self.lost += 1;
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.arriving.front().map(|first| first.when)
    }

    pub(super) fn take(&mut self, now: Instant) -> Option<Arriving> {
        self.arriving.pop_front_if(|first| first.when <= now)
    }
}

/// Counts the buffers that somebody holds.
#[derive(Clone, Default)]
pub(super) struct Held(Rc<Cell<usize>>);

impl Held {
    pub(super) fn count(&self) -> usize {
        self.0.get()
    }

    pub(super) fn buffer(&self, bytes: Vec<u8>) -> Buffer {
        self.0.set(self.0.get() + 1);
        Buffer::from_owner(Owner { bytes, held: self.clone() })
    }

    /// A packet as a device hands it over: in two buffers if it is long, with the cut in the headers of some.
    pub(super) fn packet(&self, mut bytes: Vec<u8>) -> Packet {
        let cut = if bytes.len().is_multiple_of(3) { 30 } else { 1_000 };
        let rest = bytes.split_off(cut.min(bytes.len()));
        let mut packet = Packet::from(self.buffer(bytes));
        if !rest.is_empty() {
            packet.push_back(self.buffer(rest)).expect("the second one");
        }
        packet
    }
}

struct Owner {
    bytes: Vec<u8>,
    held: Held,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.held.0.set(self.held.0.get() - 1);
    }
}
