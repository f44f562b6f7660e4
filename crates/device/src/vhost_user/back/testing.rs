//! A front end for tests, which does what it is told and nothing else.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use sunstar_virtio::net::features;
use sunstar_virtio::net::{HEADER_BYTES, encode};
use sunstar_virtio::{DriverQueue, Memory, QueueOptions, Segment, packed, split};

use super::mapping;
use crate::vhost_user::channel::Channel;
use crate::vhost_user::message::{
    RegionDescription, Reply, Request, RingAddresses, RingFile, RingState, protocol_features,
};
use sunstar_packet::Offload;

/// Where its memory is: for the driver, and for itself.
pub(super) const GUEST: u64 = 0x10_0000;
pub(super) const USER: u64 = 0x7000_0000_0000;

/// How much memory it has, of which each ring has a part, and behind those are data.
pub(super) const MEMORY: u64 = 0x20_0000;
pub(super) const RING: usize = 0x8000;
pub(super) const DATA: usize = 0x10_0000;

/// Descriptors of each ring.
pub(super) const SIZE: u16 = 64;

/// What a front end that can everything agrees to.
pub(super) const FEATURES: u64 =
    features::VERSION_1 | features::MRG_RXBUF | features::VHOST_USER_PROTOCOL | features::CSUM | features::GUEST_CSUM;

/// A ring, as its driver has it.
pub(super) struct DriverRing {
    pub(super) driver: DriverQueue,
    pub(super) kick: OwnedFd,
    pub(super) call: OwnedFd,
    pub(super) err: OwnedFd,
}

pub(super) struct Front {
    pub(super) channel: Channel,
    pub(super) file: OwnedFd,
    pub(super) memory: Memory,
    pub(super) features: u64,
}

/// A file in memory of so many bytes.
pub(super) fn memory_file(bytes: u64) -> OwnedFd {
    let file = memfd_create("front", MemfdFlags::ALLOW_SEALING).expect("a file");
    ftruncate(&file, bytes).expect("it has a length");
    file
}

pub(super) fn bell() -> OwnedFd {
    eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd")
}

/// Whether a descriptor is readable now.
pub(super) fn is_readable(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("it is polled") == 1
}

/// Waits until a descriptor is readable.
pub(super) fn wait(fd: impl AsFd) {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let ready = poll(&mut fds, Some(&Timespec { tv_sec: 60, tv_nsec: 0 })).expect("it is polled");
    assert_eq!(ready, 1, "it becomes readable");
}

impl Front {
    pub(super) fn connect(path: &Path) -> Self {
        Self::new(UnixStream::connect(path).expect("the back end listens"))
    }

    pub(super) fn new(stream: UnixStream) -> Self {
        let file = memory_file(MEMORY);
        let memory = mapping::map(&file, 0, MEMORY).expect("it is mapped").memory;
        Self { channel: Channel::new(stream.into()), file, memory, features: 0 }
    }

    pub(super) fn send(&self, request: &Request, needs_reply: bool, files: &[BorrowedFd<'_>]) {
        self.channel.send(&request.encode(needs_reply), files).expect("the back end reads");
    }

    pub(super) fn ask(&mut self, request: &Request) -> Reply {
        self.send(request, false, &[]);
        self.reply(request)
    }

    pub(super) fn reply(&mut self, request: &Request) -> Reply {
        let received = self.channel.receive().expect("it answers").expect("the connection blocks");
        Reply::decode(request, received.header, &received.payload, 0).expect("an answer to it")
    }

    /// Has a request answered; answers whether it was refused.
    pub(super) fn is_refused(&mut self, request: &Request, files: &[BorrowedFd<'_>]) -> bool {
        self.send(request, true, files);
        self.reply(request) != Reply::Value(0)
    }

    fn tell(&mut self, request: &Request, files: &[BorrowedFd<'_>]) {
        self.send(request, true, files);
        assert_eq!(self.reply(request), Reply::Value(0), "{request:?}");
    }

    /// Agrees on features, and shares the memory.
    pub(super) fn begin(&mut self, features: u64) {
        let Reply::Value(offered) = self.ask(&Request::GetFeatures) else { panic!("a number") };
        assert_eq!(offered & features, features, "they are offered");
        let wanted = protocol_features::REPLY_ACK | protocol_features::RESET_DEVICE;
        let Reply::Value(offered) = self.ask(&Request::GetProtocolFeatures) else { panic!("a number") };
        assert_eq!(offered & wanted, wanted);
        self.send(&Request::SetProtocolFeatures(wanted), false, &[]);
        self.tell(&Request::SetOwner, &[]);
        self.tell(&Request::SetFeatures(features), &[]);
        self.features = features;
        self.share();
    }

    pub(super) fn region() -> RegionDescription {
        RegionDescription { guest_address: GUEST, bytes: MEMORY, user_address: USER, file_offset: 0 }
    }

    pub(super) fn share(&mut self) {
        let file = self.file.try_clone().expect("a descriptor");
        self.tell(&Request::SetMemTable(vec![Self::region()]), &[file.as_fd()]);
    }

    fn areas(&self, index: u8) -> [(u64, Memory); 3] {
        let bytes =
            if self.features & features::RING_PACKED != 0 { packed::area_bytes(SIZE) } else { split::area_bytes(SIZE) };
        let mut offset = RING * usize::from(index);
        bytes.map(|bytes| {
            let area = self.memory.slice(offset, bytes).expect("it has room");
            let address = USER + offset as u64;
            offset += bytes.next_multiple_of(64);
            (address, area)
        })
    }

    /// Sets a ring up and starts it. Its driver begins anew.
    pub(super) fn ring(&mut self, index: u8) -> DriverRing {
        self.memory.write(RING * usize::from(index), &[0; RING]);
        let is_packed = self.features & features::RING_PACKED != 0;
        let ring = DriverRing { driver: self.driver(index), kick: bell(), call: bell(), err: bell() };
        self.start(index, &ring, if is_packed { packed::NEW.into() } else { 0 });
        self.tell(&Request::SetVringEnable(RingState { index: index.into(), value: 1 }), &[]);
        ring
    }

    fn driver(&self, index: u8) -> DriverQueue {
        let options = QueueOptions {
            size: SIZE,
            has_event_index: self.features & features::EVENT_IDX != 0,
            is_in_order: self.features & features::IN_ORDER != 0,
            has_indirect: false,
        };
        let [(_, first), (_, second), (_, third)] = self.areas(index);
        if self.features & features::RING_PACKED != 0 {
            let areas = packed::Areas { descriptors: first, driver_events: second, device_events: third };
            DriverQueue::Packed(packed::Driver::new(&areas, options, None).expect("it fits"))
        } else {
            let areas = split::Areas { descriptors: first, available: second, used: third };
            DriverQueue::Split(split::Driver::new(&areas, options, None).expect("it fits"))
        }
    }

    /// Starts a ring at a place.
    pub(super) fn start(&mut self, index: u8, ring: &DriverRing, base: u32) {
        let state = |value| RingState { index: index.into(), value };
        self.tell(&Request::SetVringNum(state(SIZE.into())), &[]);
        self.tell(&Request::SetVringBase(state(base)), &[]);
        let [(descriptors, _), (available, _), (used, _)] = self.areas(index);
        let addresses = RingAddresses { index: index.into(), flags: 0, descriptors, used, available, log: 0 };
        self.tell(&Request::SetVringAddr(addresses), &[]);
        let file = RingFile { index, has_file: true };
        self.tell(&Request::SetVringCall(file), &[ring.call.as_fd()]);
        self.tell(&Request::SetVringErr(file), &[ring.err.as_fd()]);
        self.tell(&Request::SetVringKick(file), &[ring.kick.as_fd()]);
    }

    /// Makes a packet available to be transmitted; answers whether the device has to be told.
    pub(super) fn transmit(&self, ring: &mut DriverRing, at: usize, offload: &Offload, bytes: &[u8]) -> bool {
        let header = encode(offload).expect("a header tells it");
        self.memory.write(DATA + at, &[&header[..], bytes].concat());
        ring.driver.add(&[segment(at, HEADER_BYTES + bytes.len())], &[]).expect("there is room");
        ring.driver.publish()
    }

    /// Makes room available to be received into; answers whether the device has to be told.
    pub(super) fn provide(&self, ring: &mut DriverRing, at: usize, bytes: usize) -> bool {
        ring.driver.add(&[], &[segment(at, bytes)]).expect("there is room");
        ring.driver.publish()
    }

    pub(super) fn at(&self, at: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory.read(DATA + at, &mut bytes);
        bytes
    }
}

impl DriverRing {
    /// How much was written to each of the chains that have come back.
    pub(super) fn used(&mut self) -> Vec<u32> {
        std::iter::from_fn(|| self.driver.take_used().expect("the ring is fine"))
            .map(|used| used.written.expect("it says so"))
            .collect()
    }

    pub(super) fn kick(&self) {
        rustix::io::write(&self.kick, &1_u64.to_ne_bytes()).expect("it is told");
    }
}

fn segment(at: usize, len: usize) -> Segment {
    let address = GUEST + (DATA + at) as u64;
    Segment { address, len: u32::try_from(len).expect("tests are small") }
}
