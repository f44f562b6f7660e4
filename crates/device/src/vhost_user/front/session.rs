//! A session with a back end: what both agree on, and the rings that it gets.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use sunstar_virtio::net::features;
use sunstar_virtio::{DriverQueue, IndirectTables, Memory, QueueOptions, SetupError, packed, split};

use super::error::SessionError;
use crate::shared_memory::SharedMemory;
use crate::vhost_user::channel::Channel;
use crate::vhost_user::message::{
    RegionDescription, Reply, Request, RingAddresses, RingFile, RingState, protocol_features,
};

/// Descriptors of each ring.
pub(super) const RING: u16 = 256;

/// Descriptors of the table of a chain that is sent: most large packets fit.
pub(super) const TABLE: u16 = 64;

/// A back end that takes longer to answer is taken to hang.
const PATIENCE: Duration = Duration::from_secs(10);

/// A back end that takes longer to stop is left to itself: who waits for that may be a shard.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// What comes with a feature that can't be without another one (virtio 1.2 §5.1.3.1): each of the first needs one of the second.
const NEEDS: [(u64, u64); 8] = [
    (features::GUEST_TSO4, features::GUEST_CSUM),
    (features::GUEST_TSO6, features::GUEST_CSUM),
    (features::GUEST_ECN, features::GUEST_TSO4 | features::GUEST_TSO6),
    (features::HOST_TSO4, features::CSUM),
    (features::HOST_TSO6, features::CSUM),
    (features::HOST_USO, features::CSUM),
    (features::HOST_ECN, features::HOST_TSO4 | features::HOST_TSO6),
    // Large packets come in several frames.
    (features::GUEST_TSO4 | features::GUEST_TSO6, features::MRG_RXBUF),
];

/// Features by their names, for what is missing.
const NAMES: [(u64, &str); 9] = [
    (features::VERSION_1, "VIRTIO_F_VERSION_1"),
    (features::MRG_RXBUF, "VIRTIO_NET_F_MRG_RXBUF"),
    (features::CSUM, "VIRTIO_NET_F_CSUM"),
    (features::HOST_TSO4, "VIRTIO_NET_F_HOST_TSO4"),
    (features::HOST_TSO6, "VIRTIO_NET_F_HOST_TSO6"),
    (features::HOST_ECN, "VIRTIO_NET_F_HOST_ECN"),
    (features::HOST_USO, "VIRTIO_NET_F_HOST_USO"),
    (features::MQ, "VIRTIO_NET_F_MQ"),
    (features::VHOST_USER_PROTOCOL, "VHOST_USER_F_PROTOCOL_FEATURES"),
];

/// What is wanted of a back end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Features that there is use for.
    pub(super) features: u64,
    /// Those of them that must be there.
    pub(super) needed: u64,
    /// Pairs of queues.
    pub(super) queues: usize,
    pub(super) mtu_bytes: usize,
}

/// A session, which lasts as long as the connection.
#[derive(Debug)]
pub(super) struct Session {
    channel: Channel,
    /// What was agreed on.
    pub(super) features: u64,
    protocol: u64,
    /// How many rings the back end was told of, in whole or in part.
    rings: u32,
    /// Which pairs it uses.
    used: Vec<bool>,
    /// All of those, for as long as the back end may look at them, which it does also if they are disabled.
    memory: Vec<Memory>,
}

/// The rings of a pair of queues, on their way to who drives them.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) features: u64,
    pub(super) receive: RingMemory,
    pub(super) transmit: RingMemory,
}

/// A ring, in memory that the back end knows.
#[derive(Debug)]
pub(super) struct RingMemory {
    is_packed: bool,
    options: QueueOptions,
    /// Descriptors, what the driver writes, what the device writes.
    areas: [Memory; 3],
    tables: Option<IndirectTables>,
    /// By what the back end is told.
    pub(super) kick: OwnedFd,
}

impl Session {
    /// Agrees with a back end that has connected, or was connected to, and sets up the rings. `calls` is, for each pair, by what its shard
    /// is woken; those that are not used are set up, since pairs have numbers, and not enabled. `is_cut` is whether this side has ended the
    /// connection, so that its end says nothing of the back end.
    pub(super) fn new(
        stream: UnixStream,
        wanted: Wanted,
        memory: &Arc<SharedMemory>,
        calls: &[BorrowedFd<'_>],
        is_used: impl Fn(usize) -> bool,
        is_cut: impl Fn() -> bool,
    ) -> Result<(Self, Vec<Pair>), SessionError> {
        let channel = Channel::new(stream.into());
        let mut session = Self { channel, features: 0, protocol: 0, rings: 0, used: Vec::new(), memory: Vec::new() };
        match session.agree(wanted, memory, calls, is_used) {
            Ok(pairs) => Ok((session, pairs)),
            Err(error) => {
                // It may be working on those that it knows already.
                let is_left = match session.stop() {
                    Ok(()) => true,
                    Err(SessionError::Closed) => !is_cut(),
                    Err(_) => planted::is("vhost_user_always_left"),
                };
                if !is_left {
                    session.forget(memory);
                }
                Err(error)
            }
        }
    }

    /// Does all that a session begins with.
    fn agree(
        &mut self,
        wanted: Wanted,
        memory: &Arc<SharedMemory>,
        calls: &[BorrowedFd<'_>],
        is_used: impl Fn(usize) -> bool,
    ) -> Result<Vec<Pair>, SessionError> {
        self.be_patient(PATIENCE)?;
        self.negotiate(wanted)?;
        self.share(memory)?;
        let mut pairs = Vec::new();
        for (index, call) in (0..).zip(calls.iter().take(wanted.queues)) {
            let pair = self.pair(memory)?;
            for (index, ring) in [(2 * index, &pair.receive), (2 * index + 1, &pair.transmit)] {
                // First: also who refuses the rest may have begun.
                self.rings = u32::from(index) + 1;
                self.memory.extend(ring.memory());
                self.set_up(index, ring, *call)?;
            }
            pairs.push(pair);
        }
        for index in 0..pairs.len() {
            let is_used = is_used(index) || !self.can_enable();
            self.used.push(is_used);
            if is_used && self.can_enable() {
                self.enable(index)?;
            }
        }
        Ok(pairs)
    }

    /// Settles which features are in use.
    fn negotiate(&mut self, wanted: Wanted) -> Result<(), SessionError> {
        self.ask(&Request::SetOwner, &[])?;
        let offered = self.ask(&Request::GetFeatures, &[])?;
        let agreed = settle(offered & wanted.features);
        let missing = wanted.needed & !agreed;
        if let Some((_, feature)) = NAMES.iter().find(|(bit, _)| missing & bit != 0) {
            return Err(SessionError::Lacks { feature });
        }
        if agreed & features::VHOST_USER_PROTOCOL != 0 {
            let useful = protocol_features::MQ | protocol_features::REPLY_ACK | protocol_features::MTU;
            let protocol = self.ask(&Request::GetProtocolFeatures, &[])? & useful;
            self.ask(&Request::SetProtocolFeatures(protocol), &[])?;
            self.protocol = protocol;
        }
        if wanted.queues > 1 {
            let has_many = self.protocol & protocol_features::MQ != 0;
            let offered = if has_many { self.ask(&Request::GetQueueNum, &[])? } else { 1 };
            if offered < wanted.queues as u64 {
                return Err(SessionError::Queues { offered, wanted: wanted.queues });
            }
        }
        self.features = agreed;
        self.ask(&Request::SetFeatures(agreed), &[])?;
        if self.protocol & protocol_features::MTU != 0 {
            let mtu_bytes = wanted.mtu_bytes;
            self.ask(&Request::NetSetMtu(mtu_bytes as u64), &[]).map_err(|error| match error {
                SessionError::Refused { .. } => SessionError::Mtu { mtu_bytes },
                error => error,
            })?;
        }
        Ok(())
    }

    /// Shares the memory. Its addresses are this process's own, in descriptors too.
    fn share(&mut self, memory: &Arc<SharedMemory>) -> Result<(), SessionError> {
        let address = memory.start().addr().get() as u64;
        let bytes = memory.len() as u64;
        let region = RegionDescription { guest_address: address, bytes, user_address: address, file_offset: 0 };
        self.ask(&Request::SetMemTable(vec![region]), &[memory.as_fd()]).map(|_| ())
    }

    fn pair(&self, memory: &Arc<SharedMemory>) -> Result<Pair, SessionError> {
        let receive = RingMemory::new(self.features, memory, false)?;
        let transmit = RingMemory::new(self.features, memory, true)?;
        Ok(Pair { features: self.features, receive, transmit })
    }

    /// Tells the back end of a ring.
    fn set_up(&mut self, index: u8, ring: &RingMemory, call: BorrowedFd<'_>) -> Result<(), SessionError> {
        let number = u32::from(index);
        let file = RingFile { index, has_file: true };
        let base = if ring.is_packed { u32::from(packed::NEW) * 0x1_0001 } else { 0 };
        let [descriptors, available, used] = ring.areas.each_ref().map(|area| area.start().addr().get() as u64);
        self.ask(&Request::SetVringCall(file), &[call])?;
        self.ask(&Request::SetVringNum(RingState { index: number, value: RING.into() }), &[])?;
        self.ask(&Request::SetVringBase(RingState { index: number, value: base }), &[])?;
        let addresses = RingAddresses { index: number, flags: 0, descriptors, used, available, log: 0 };
        self.ask(&Request::SetVringAddr(addresses), &[])?;
        self.ask(&Request::SetVringKick(file), &[ring.kick.as_fd()]).map(|_| ())
    }

    /// Has the back end begin with a pair of queues, which it otherwise does by itself.
    fn enable(&mut self, pair: usize) -> Result<(), SessionError> {
        for index in rings_of(pair) {
            self.ask(&Request::SetVringEnable(RingState { index, value: 1 }), &[])?;
        }
        Ok(())
    }

    fn can_enable(&self) -> bool {
        self.features & features::VHOST_USER_PROTOCOL != 0
    }

    /// Has the back end stop at all rings, so that it touches nothing of them any more. The session is of no use then.
    pub(super) fn stop(&mut self) -> Result<(), SessionError> {
        let all = (0..self.rings).map(|index| Request::GetVringBase { index });
        self.ask_soon(all)
    }

    /// Ends it so that the memory of its rings, which the back end may be working on for ever, is never used again.
    pub(super) fn forget(self, memory: &SharedMemory) {
        for area in &self.memory {
            // Nobody restores it.
            let _ = memory.withhold(area.start().as_ptr(), area.len());
        }
    }

    /// Has the back end use a pair of queues no more, and go on with the others. Answers whether it touches nothing of them from then on, and
    /// nothing if it did not use them.
    ///
    /// A ring that is only disabled is not looked at again, but who is at it may still be copying: only the end of a ring is one of that too.
    pub(super) fn leave(&mut self, pair: usize) -> Result<Option<bool>, SessionError> {
        let was_used = self.used.get_mut(pair).is_some_and(std::mem::take);
        if !was_used {
            return Ok(None);
        }
        let rings = rings_of(pair);
        if !self.can_enable() {
            self.ask_soon(rings.map(|index| Request::GetVringBase { index }))?;
            return Ok(Some(true));
        }
        // Some back ends take the end of a ring of the first pair for that of all.
        let disabled = rings.map(|index| Request::SetVringEnable(RingState { index, value: 0 }));
        // It has an answer in any case, which comes behind what was asked before.
        self.ask_soon(disabled.chain([Request::GetFeatures]))?;
        Ok(Some(false))
    }

    /// Makes requests for whose answers a shard may be waiting.
    fn ask_soon(&mut self, requests: impl Iterator<Item = Request>) -> Result<(), SessionError> {
        self.be_patient(STOP_PATIENCE)?;
        for request in requests {
            self.ask(&request, &[])?;
        }
        self.be_patient(PATIENCE)
    }

    fn be_patient(&self, patience: Duration) -> Result<(), SessionError> {
        set_socket_timeout(&self.channel, Timeout::Recv, Some(patience))?;
        Ok(set_socket_timeout(&self.channel, Timeout::Send, Some(patience))?)
    }

    /// Makes a request, and waits for the answer if there is one: 0 otherwise.
    fn ask(&mut self, request: &Request, files: &[BorrowedFd<'_>]) -> Result<u64, SessionError> {
        let has_reply = request.has_reply();
        let needs_reply = !has_reply && self.protocol & protocol_features::REPLY_ACK != 0;
        self.channel.send(&request.encode(needs_reply), files)?;
        if !has_reply && !needs_reply {
            return Ok(0);
        }
        let answer = self.channel.receive()?.ok_or(SessionError::NoAnswer { request: request.name() })?;
        match Reply::decode(request, answer.header, &answer.payload, answer.files.len())? {
            Reply::Value(code) if needs_reply && code != 0 && !planted::is("vhost_user_refusal_passed") => {
                Err(SessionError::Refused { request: request.name(), code })
            }
            Reply::Value(value) => Ok(value),
            Reply::Ring(state) => Ok(state.value.into()),
        }
    }

    /// The connection. When it becomes readable the back end has gone, or says what nobody has asked for.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// The numbers of a pair's rings.
fn rings_of(pair: usize) -> Range<u32> {
    // A device has at most 128 pairs.
    let first = u32::try_from(2 * pair).unwrap_or(u32::MAX - 2);
    first..first + 2
}

/// The features that remain when those go that can't be without others.
pub(super) fn settle(offered: u64) -> u64 {
    let without = |bits: u64, (feature, needed): &(u64, u64)| if bits & needed == 0 { bits & !feature } else { bits };
    // What goes may be what another one needs: ECN needs segmentation, which needs checksums.
    (0..3).fold(offered, |bits, _| NEEDS.iter().fold(bits, without))
}

impl RingMemory {
    fn new(features: u64, memory: &Arc<SharedMemory>, has_tables: bool) -> Result<Self, SessionError> {
        let is_packed = features & features::RING_PACKED != 0;
        let options = QueueOptions {
            size: RING,
            has_event_index: features & features::EVENT_IDX != 0,
            is_in_order: features & features::IN_ORDER != 0,
            has_indirect: features & features::INDIRECT_DESC != 0,
        };
        let area = |bytes| memory.area(bytes).ok_or(SessionError::NoRoom { bytes: memory.len() });
        let [first, second, third] = area_bytes(is_packed);
        let areas = [area(first)?, area(second)?, area(third)?];
        let tables = if has_tables && options.has_indirect {
            let memory = area(IndirectTables::bytes(RING, TABLE))?;
            let address = memory.start().addr().get() as u64;
            Some(IndirectTables { memory, address, descriptors: TABLE })
        } else {
            None
        };
        let kick = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { is_packed, options, areas, tables, kick })
    }

    /// All that it consists of.
    fn memory(&self) -> impl Iterator<Item = Memory> {
        self.areas.iter().chain(self.tables.as_ref().map(|tables| &tables.memory)).cloned()
    }

    /// The driver's side of the ring, and how many descriptors its tables have.
    pub(super) fn driver(&self) -> Result<(DriverQueue, u16), SetupError> {
        let [first, second, third] = self.areas.clone();
        let tables = self.tables.as_ref();
        let descriptors = tables.map_or(0, |tables| tables.descriptors);
        if self.is_packed {
            let areas = packed::Areas { descriptors: first, driver_events: second, device_events: third };
            return Ok((DriverQueue::Packed(packed::Driver::new(&areas, self.options, tables)?), descriptors));
        }
        let areas = split::Areas { descriptors: first, available: second, used: third };
        Ok((DriverQueue::Split(split::Driver::new(&areas, self.options, tables)?), descriptors))
    }
}

fn area_bytes(is_packed: bool) -> [usize; 3] {
    if is_packed { packed::area_bytes(RING) } else { split::area_bytes(RING) }
}
