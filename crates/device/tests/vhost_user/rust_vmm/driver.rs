//! A driver with rust-vmm's front end: guest memory, the messages, and rings as virtio 1.2 §2.7 describes them.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use sunstar_virtio::net::{HEADER_BYTES, features};
use vhost::vhost_user::message::{VhostUserHeaderFlag, VhostUserProtocolFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Where the memory for rings begins for the driver, and where that for packets does.
pub(super) const RINGS: u64 = 0x10_0000;
pub(super) const DATA: u64 = 0x4000_0000;

/// Bytes of either.
pub(super) const BYTES: u64 = 0x20_0000;

/// Descriptors of a ring, and bytes of what each of them stands for.
pub(super) const SIZE: u16 = 64;
pub(super) const BUFFER: u64 = 2_048;

/// Bytes between rings.
const RING: u64 = 0x4000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// Whether requests are answered of which nothing is to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// As little as possible.
    Few,
    /// All of them.
    All,
}

/// A driver that has agreed with a back end.
pub(super) struct Driver {
    pub(super) front: Frontend,
    pub(super) memory: GuestMemoryMmap,
    pub(super) features: u64,
}

/// Memory in a file, as a virtual machine has it.
pub(super) fn memory(at: u64) -> (GuestAddress, usize, Option<FileOffset>) {
    let file = memfd_create("guest", MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, BYTES).unwrap();
    (GuestAddress(at), usize::try_from(BYTES).unwrap(), Some(FileOffset::new(File::from(file), 0)))
}

/// What a back end is told of a guest's memory.
pub(super) fn regions(memory: &GuestMemoryMmap) -> Vec<VhostUserMemoryRegionInfo> {
    memory.iter().map(|region| VhostUserMemoryRegionInfo::from_guest_region(region).unwrap()).collect()
}

impl Driver {
    /// Connects and agrees, with so many rings.
    pub(super) fn open(path: &Path, rings: u64, features: u64, answers: Answers) -> Self {
        let mut front = Frontend::connect(path, rings).unwrap();
        front.set_owner().unwrap();
        let offered = front.get_features().unwrap();
        assert_eq!(offered & features, features, "they are offered");
        if features & features::VHOST_USER_PROTOCOL != 0 {
            let protocol = front.get_protocol_features().unwrap();
            assert!(protocol.contains(VhostUserProtocolFeatures::REPLY_ACK));
            if answers == Answers::All {
                front.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
            }
            front.set_protocol_features(protocol).unwrap();
        }
        front.set_features(features).unwrap();
        let memory = GuestMemoryMmap::from_ranges_with_files([memory(RINGS), memory(DATA)]).unwrap();
        front.set_mem_table(&regions(&memory)).unwrap();
        Self { front, memory, features }
    }

    /// What the back end is told of a ring.
    pub(super) fn addresses(&self, index: usize) -> VringConfigData {
        let [descriptors, available, used] = places(index).map(|at| self.memory.get_host_address(at).unwrap() as u64);
        VringConfigData {
            queue_max_size: SIZE,
            queue_size: SIZE,
            flags: 0,
            desc_table_addr: descriptors,
            used_ring_addr: used,
            avail_ring_addr: available,
            log_addr: None,
        }
    }

    /// Sets a ring up and starts it.
    pub(super) fn ring(&mut self, index: usize) -> Ring {
        let [kick, call, err] = [0; 3].map(|_| EventFd::new(EFD_NONBLOCK).unwrap());
        let [descriptors, available, used] = places(index);
        self.front.set_vring_num(index, SIZE).unwrap();
        self.front.set_vring_base(index, 0).unwrap();
        self.front.set_vring_addr(index, &self.addresses(index)).unwrap();
        self.front.set_vring_call(index, &call).unwrap();
        self.front.set_vring_err(index, &err).unwrap();
        self.front.set_vring_kick(index, &kick).unwrap();
        if self.features & features::VHOST_USER_PROTOCOL != 0 {
            self.front.set_vring_enable(index, true).unwrap();
        }
        // It is answered in any case, and behind all the others.
        self.front.get_features().unwrap();
        let data = GuestAddress(DATA + index as u64 * u64::from(SIZE) * BUFFER);
        let has_event_index = self.features & features::EVENT_IDX != 0;
        let memory = self.memory.clone();
        Ring { memory, has_event_index, descriptors, available, used, data, kick, call, next: 0, seen: 0 }
    }

    /// Stops the first pair of rings and empties them; answers where they have stopped.
    pub(super) fn stop(&self) -> [u32; 2] {
        let places = [0, 1].map(|index| self.front.get_vring_base(index).unwrap());
        self.memory.write_slice(&vec![0; usize::try_from(BYTES).unwrap()], GuestAddress(RINGS)).unwrap();
        places
    }

    /// The first pair of rings, of which the back end may fill all of the first one.
    pub(super) fn pair(&mut self) -> [Ring; 2] {
        let mut rings = [self.ring(0), self.ring(1)];
        (0..SIZE).for_each(|_| rings[0].provide());
        rings
    }
}

/// Where the parts of a ring are for the driver.
fn places(index: usize) -> [GuestAddress; 3] {
    [0, 0x1000, 0x2000].map(|part| GuestAddress(RINGS + index as u64 * RING + part))
}

/// The driver's side of a ring. Each chain has its own place in the table, and its own part of the memory.
pub(super) struct Ring {
    memory: GuestMemoryMmap,
    has_event_index: bool,
    descriptors: GuestAddress,
    available: GuestAddress,
    used: GuestAddress,
    data: GuestAddress,
    kick: EventFd,
    call: EventFd,
    next: u16,
    seen: u16,
}

fn at(base: GuestAddress, offset: u64) -> GuestAddress {
    GuestAddress(base.0 + offset)
}

impl Ring {
    fn buffer(&self, index: u16) -> GuestAddress {
        at(self.data, u64::from(index) * BUFFER)
    }

    fn describe(&self, index: u16, address: GuestAddress, len: usize, flags: u16) {
        let place = at(self.descriptors, u64::from(index) * 16);
        let next = if flags & NEXT == 0 { 0 } else { index + 1 };
        self.memory.write_obj(address.0, place).unwrap();
        self.memory.write_obj(u32::try_from(len).unwrap(), at(place, 8)).unwrap();
        self.memory.write_obj([flags, next], at(place, 12)).unwrap();
    }

    /// Makes a chain available, and tells the device if it wants to be told.
    fn publish(&mut self, head: u16) {
        let place = at(self.available, 4 + 2 * u64::from(self.next % SIZE));
        self.memory.write_obj(head, place).unwrap();
        self.next = self.next.wrapping_add(1);
        self.memory.store(self.next, at(self.available, 2), Ordering::SeqCst).unwrap();
        // With the event index the flag is not used, and nothing is wrong with telling too often.
        if self.has_event_index || self.memory.load::<u16>(self.used, Ordering::SeqCst).unwrap() & 1 == 0 {
            self.kick.write(1).unwrap();
        }
    }

    /// Lets the device have a buffer to fill.
    pub(super) fn provide(&mut self) {
        let index = self.next % SIZE;
        self.describe(index, self.buffer(index), usize::try_from(BUFFER).unwrap(), WRITE);
        self.publish(index);
    }

    /// Sends a packet in two pieces: the header, and what is behind it.
    pub(super) fn send(&mut self, packet: &[u8]) {
        let head = 2 * self.next % SIZE;
        let [header, body] = [head, head + 1].map(|index| self.buffer(index));
        self.memory.write_slice(&[0; HEADER_BYTES], header).unwrap();
        self.memory.write_slice(packet, body).unwrap();
        self.describe(head, header, HEADER_BYTES, NEXT);
        self.describe(head + 1, body, packet.len(), 0);
        self.publish(head);
    }

    /// What the device has given back: heads, and how much was written.
    pub(super) fn used(&mut self) -> Vec<(u32, usize)> {
        let end: u16 = self.memory.load(at(self.used, 2), Ordering::SeqCst).unwrap();
        let mut all = Vec::new();
        while self.seen != end {
            let place = at(self.used, 4 + 8 * u64::from(self.seen % SIZE));
            let [head, len]: [u32; 2] = self.memory.read_obj(place).unwrap();
            self.seen = self.seen.wrapping_add(1);
            all.push((head, usize::try_from(len).unwrap()));
        }
        // It is told of the next one.
        let event = at(self.available, 4 + 2 * u64::from(SIZE));
        self.memory.store(self.seen, event, Ordering::SeqCst).unwrap();
        all
    }

    /// A packet that the device has handed over, without its header. It has given back as many buffers as the header says.
    pub(super) fn receive(&mut self) -> Vec<u8> {
        let mut packet = Vec::new();
        let used = self.used();
        for (head, len) in &used {
            let mut bytes = vec![0; *len];
            self.memory.read_slice(&mut bytes, self.buffer(u16::try_from(*head).unwrap())).unwrap();
            packet.extend(bytes);
        }
        let count = u16::from_le_bytes([packet[HEADER_BYTES - 2], packet[HEADER_BYTES - 1]]);
        assert_eq!(usize::from(count), used.len());
        used.iter().for_each(|_| self.provide());
        packet.split_off(HEADER_BYTES)
    }

    /// Whether the device has told of something since this was asked last.
    pub(super) fn is_told(&self) -> bool {
        self.call.read().is_ok()
    }
}
