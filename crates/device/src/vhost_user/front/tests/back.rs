//! A back end for tests, in the same process: it knows the memory already.

use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use sunstar_virtio::net::{HEADER_BYTES, features};
use sunstar_virtio::{
    Chain, DeviceQueue, MappedRange, Memory, MemoryMap, QueueOptions, Region, Segment, Taken, packed, split,
};

use super::super::link::ring;
use crate::shared_memory::SharedMemory;
use crate::vhost_user::channel::{Channel, ChannelError};
use crate::vhost_user::message::{Reply, Request, RingAddresses, RingState, protocol_features};

/// All that front ends know.
pub(super) const ALL: u64 = features::VERSION_1
    | features::MRG_RXBUF
    | features::CSUM
    | features::GUEST_CSUM
    | features::HOST_TSO4
    | features::HOST_TSO6
    | features::HOST_ECN
    | features::HOST_USO
    | features::GUEST_TSO4
    | features::GUEST_TSO6
    | features::GUEST_ECN
    | features::INDIRECT_DESC
    | features::EVENT_IDX
    | features::IN_ORDER
    | features::MQ
    | features::RING_PACKED
    | features::VHOST_USER_PROTOCOL;

/// All of the shared memory, also where frames are.
struct Whole(Arc<SharedMemory>);

// SAFETY: it stays mapped as long as it is kept. Others make references to frames, but in a test never while these are read or written.
unsafe impl Region for Whole {
    fn start(&self) -> NonNull<u8> {
        self.0.start()
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// What a front end has said of a ring.
#[derive(Default)]
struct Told {
    size: u16,
    base: u32,
    addresses: Option<RingAddresses>,
    kick: Option<OwnedFd>,
    call: Option<OwnedFd>,
    is_enabled: bool,
}

/// A ring that works.
pub(super) struct BackRing {
    pub(super) queue: DeviceQueue,
    _kick: OwnedFd,
    call: OwnedFd,
    /// What the device writes.
    pub(super) used: Memory,
}

/// A back end with which a front end has agreed.
pub(super) struct Back {
    pub(super) session: Session,
    pub(super) features: u64,
    pub(super) rings: Vec<BackRing>,
    pub(super) map: MemoryMap,
}

/// The rest of a session, which ends with the value. Whatever is asked is answered.
pub(super) struct Session {
    stream: UnixStream,
    asked: Arc<Mutex<Vec<Request>>>,
    is_silent: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    fn new(stream: UnixStream, mut channel: Channel) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        let is_silent = Arc::new(AtomicBool::new(false));
        let says_nothing = Arc::clone(&is_silent);
        let thread = std::thread::spawn(move || {
            while let Ok(Some(message)) = channel.receive() {
                let (header, files) = (message.header, message.files.len());
                let request = Request::decode(header, &message.payload, files).expect("it is a request");
                let reply = match request {
                    Request::GetVringBase { index } => Reply::Ring(RingState { index, value: 0 }),
                    _ => Reply::Value(0),
                };
                let has_reply = (header.needs_reply || request.has_reply()) && !says_nothing.load(Ordering::Relaxed);
                noted.lock().expect("nobody panics").push(request);
                // Who asks may have gone already.
                let _ = has_reply.then(|| channel.send(&reply.encode(header.number), &[]));
            }
        });
        Self { stream, asked, is_silent, thread: Some(thread) }
    }

    /// Answers nothing any more, as one that hangs.
    pub(super) fn fall_silent(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }

    /// Says what nobody has asked for.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the front end is there");
    }

    /// What has been asked since this was called last.
    pub(super) fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut *self.asked.lock().expect("nobody panics"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Listens, and agrees with the front end that connects.
pub(super) fn accept(
    listener: &UnixListener,
    offered: u64,
    pairs: usize,
    memory: &Arc<SharedMemory>,
) -> JoinHandle<Result<Back, ChannelError>> {
    accept_until(listener, offered, pairs, 2 * pairs, memory)
}

/// The same with a front end that enables only so many of the rings.
pub(super) fn accept_until(
    listener: &UnixListener,
    offered: u64,
    pairs: usize,
    enabled: usize,
    memory: &Arc<SharedMemory>,
) -> JoinHandle<Result<Back, ChannelError>> {
    let listener = listener.try_clone().expect("descriptors are not short");
    let memory = Arc::clone(memory);
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a front end connects");
        Back::new(stream, offered, pairs, enabled, memory)
    })
}

/// Connects to a front end that listens, or is about to.
pub(super) fn connect(
    path: &Path,
    offered: u64,
    pairs: usize,
    memory: &Arc<SharedMemory>,
) -> JoinHandle<Result<Back, ChannelError>> {
    let path = path.to_owned();
    let memory = Arc::clone(memory);
    std::thread::spawn(move || {
        let stream = (0..6_000).find_map(|_| {
            let stream = UnixStream::connect(&path).ok();
            if stream.is_none() {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            stream
        });
        let stream = stream.expect("the front end listens within a minute");
        Back::new(stream, offered, pairs, 2 * pairs, memory)
    })
}

impl Back {
    /// Answers until so many rings of so many pairs of queues are enabled.
    fn new(
        stream: UnixStream,
        offered: u64,
        pairs: usize,
        enabled: usize,
        memory: Arc<SharedMemory>,
    ) -> Result<Self, ChannelError> {
        let twin = stream.try_clone().expect("descriptors are not short");
        let mut channel = Channel::new(stream.into());
        let mut told: Vec<Told> = std::iter::repeat_with(Told::default).take(2 * pairs).collect();
        let mut agreed = 0;
        while told.iter().filter(|ring| ring.is_enabled).count() < enabled {
            let message = channel.receive()?.expect("the socket blocks");
            let request =
                Request::decode(message.header, &message.payload, message.files.len()).expect("it is a request");
            let number = request.number();
            let mut file = message.files.into_iter().next();
            let value = match request {
                Request::GetFeatures => offered,
                Request::SetFeatures(bits) => {
                    agreed = bits;
                    0
                }
                Request::GetProtocolFeatures => protocol_features::MQ | protocol_features::REPLY_ACK,
                Request::GetQueueNum => pairs as u64,
                Request::SetVringNum(state) => {
                    told[state.index as usize].size = state.value.try_into().expect("a size");
                    0
                }
                Request::SetVringBase(state) => {
                    told[state.index as usize].base = state.value;
                    0
                }
                Request::SetVringAddr(addresses) => {
                    told[addresses.index as usize].addresses = Some(addresses);
                    0
                }
                Request::SetVringKick(ring) => {
                    let told = &mut told[usize::from(ring.index)];
                    told.kick = file.take();
                    told.is_enabled |= agreed & features::VHOST_USER_PROTOCOL == 0;
                    0
                }
                Request::SetVringCall(ring) => {
                    told[usize::from(ring.index)].call = file.take();
                    0
                }
                Request::SetVringEnable(state) => {
                    told[state.index as usize].is_enabled = state.value == 1;
                    0
                }
                _ => 0,
            };
            if message.header.needs_reply || request.has_reply() {
                channel.send(&Reply::Value(value).encode(number), &[])?;
            }
        }
        Ok(Self::at(Session::new(twin, channel), agreed, told, memory))
    }

    /// Works at the rings of which was told.
    fn at(session: Session, features: u64, told: Vec<Told>, memory: Arc<SharedMemory>) -> Self {
        let address = memory.start().addr().get() as u64;
        let ranges = vec![MappedRange { address, memory: Memory::new(Arc::new(Whole(memory))) }];
        let map = MemoryMap::new(ranges).expect("there is one range");
        let rings = told.into_iter().map(|ring| BackRing::new(ring, &map, features)).collect();
        Self { session, features, rings, map }
    }

    /// What has been sent by a pair of queues: headers and bytes.
    pub(super) fn take(&mut self, pair: usize) -> Vec<Vec<u8>> {
        let ring = &mut self.rings[2 * pair + 1];
        let mut packets = Vec::new();
        let mut chain = Chain::default();
        while ring.queue.take(&self.map, &mut chain).expect("the ring is fine") == Taken::Chain {
            let mut bytes = vec![0; 70_000];
            let len = chain.read(&self.map, 0, &mut bytes);
            bytes.truncate(len);
            ring.queue.put_used(chain.id(), 0);
            packets.push(bytes);
        }
        ring.publish();
        packets
    }

    /// Hands over a packet with its header, in one or several chains.
    pub(super) fn give(&mut self, pair: usize, packet: &[u8]) {
        let ring = &mut self.rings[2 * pair];
        let mut packet = packet.to_vec();
        let (mut chains, mut room) = (Vec::new(), 0);
        while room < packet.len() {
            let mut chain = Chain::default();
            let taken = ring.queue.take(&self.map, &mut chain).expect("the ring is fine");
            assert_eq!(taken, Taken::Chain, "there are frames");
            room += chain.writable().iter().map(|part| part.len as usize).sum::<usize>();
            chains.push(chain);
        }
        let count = u16::try_from(chains.len()).expect("few");
        packet[HEADER_BYTES - 2..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        let mut done = 0;
        for chain in chains {
            let written = chain.write(&self.map, 0, &packet[done..]);
            done += written;
            ring.queue.put_used(chain.id(), written.try_into().expect("small"));
        }
        ring.publish();
    }

    /// Hands back all that was sent, and answers how many packets.
    pub(super) fn echo(&mut self, pair: usize) -> usize {
        let packets = self.take(pair);
        packets.iter().for_each(|packet| self.give(pair, packet));
        packets.len()
    }
}

impl BackRing {
    fn new(told: Told, map: &MemoryMap, agreed: u64) -> Self {
        let has = |bit| agreed & bit != 0;
        let options = QueueOptions {
            size: told.size,
            has_event_index: has(features::EVENT_IDX),
            is_in_order: has(features::IN_ORDER),
            has_indirect: has(features::INDIRECT_DESC),
        };
        let addresses = told.addresses.expect("the ring's place was told");
        let is_packed = has(features::RING_PACKED);
        let bytes = if is_packed { packed::area_bytes(told.size) } else { split::area_bytes(told.size) };
        let area = |address, bytes: usize| {
            let len = bytes.try_into().expect("small");
            map.memory(Segment { address, len }).expect("it lies in the memory")
        };
        let first = area(addresses.descriptors, bytes[0]);
        let second = area(addresses.available, bytes[1]);
        let third = area(addresses.used, bytes[2]);
        let used = third.clone();
        let queue = if is_packed {
            assert_eq!(told.base, 0x8000_8000);
            let areas = packed::Areas { descriptors: first, driver_events: second, device_events: third };
            DeviceQueue::Packed(packed::Device::new(&areas, options, packed::NEW).expect("the areas fit"))
        } else {
            assert_eq!(told.base, 0);
            let areas = split::Areas { descriptors: first, available: second, used: third };
            DeviceQueue::Split(split::Device::new(&areas, options, 0).expect("the areas fit"))
        };
        let [kick, call] = [told.kick, told.call].map(|fd| fd.expect("the descriptor was told"));
        Self { queue, _kick: kick, call, used }
    }

    fn publish(&mut self) {
        if self.queue.publish() {
            ring(&self.call);
        }
    }
}
