//! The front end: a back end that is another process (a switch, a hypervisor's network) is driven as the NIC of a virtual machine is.

mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzed;
mod link;
mod options;
mod place;
mod queue;
mod session;
#[cfg(test)]
mod tests;

use std::fmt;
use std::os::fd::AsFd;
use std::sync::Arc;

use sunstar_packet::{FRAME_ALIGN, SlabMemory};
use sunstar_virtio::net::features;

pub use error::{FrontError, SessionError};
pub use options::{FrontOptions, Ring};

use crate::capabilities::{Capabilities, Offloads};
use crate::queue::{DetachedQueue, Device, DeviceMemory, Queue, TakeError};
use crate::send_memory::SendMemory;
use crate::shared_memory::SharedMemory;
use crate::vhost_user::LARGE_BYTES;
use crate::vhost_user::socket::SocketError;
use link::{Link, Seat, Slot};
use place::Place;
use queue::FrontQueue;
use session::{Session, Wanted};

/// Offloads that the stack relies on: a back end that comes back must have them again.
const RELIED_ON: u64 = features::CSUM
    | features::HOST_TSO4
    | features::HOST_TSO6
    | features::HOST_ECN
    | features::HOST_USO
    | features::MRG_RXBUF
    | features::MQ;

/// What the back end may do for packets that it hands over; later ones may not do more than the first one.
const RECEIVED: u64 = features::GUEST_CSUM | features::GUEST_TSO4 | features::GUEST_TSO6 | features::GUEST_ECN;

/// What a pair of queues takes of the memory: for rings and what is copied, for headers, and for what applications send. Slabs are not quite full.
const RING_BYTES: usize = 4 << 20;
const HEADER_BYTES: usize = 4 << 20;
const BUFFER_BYTES: usize = 32 << 20;

/// A back end in another process, to which this one lends memory for packets.
///
/// All of that memory is this process's: the back end puts what it has for us into frames of our pools, which the stack hands out as they are, and
/// reads what we send where it lies, if that is in the memory too. What is not is copied once, and counted
/// ([`Counters::tx_copies`](crate::Counters::tx_copies)). So the back end is trusted, as a virtual machine trusts its host: it can read and
/// write all of the [`SharedMemory`]. What it says about rings and packets is checked all the same.
///
/// When the back end has gone, packets are lost until it comes back, as with a cable that is pulled out; connections of the stack don't end by
/// that. A thread waits for it, and sets everything up anew: the one that comes must have the offloads that the first one had.
pub struct VhostUserFront {
    name: String,
    capabilities: Capabilities,
    memory: Arc<SharedMemory>,
    sends: SendMemory,
    link: Arc<Link>,
    /// Those that are not taken.
    slots: Vec<Option<Arc<Slot>>>,
}

impl VhostUserFront {
    /// Connects to a back end, or waits until one connects, however long that takes, and agrees with it.
    ///
    /// # Errors
    /// [`FrontError`] says what is missing.
    pub fn open(options: &FrontOptions, memory: Arc<SharedMemory>) -> Result<Self, FrontError> {
        options.check()?;
        let place = Place::new(options)?;
        let stream = place.open()?;
        let system = |error| FrontError::Socket(SocketError::System { path: options.path.clone(), error });
        let slots = (0..options.queues).map(|_| Slot::new().map(Arc::new)).collect::<Result<Vec<_>, _>>();
        let slots = slots.map_err(|error| system(error.into()))?;
        let calls: Vec<_> = slots.iter().map(|slot| slot.call.as_fd()).collect();
        let needed = features::VERSION_1 | if options.queues > 1 { features::VHOST_USER_PROTOCOL } else { 0 };
        let mut wanted =
            Wanted { features: options.features(), needed, queues: options.queues, mtu_bytes: options.mtu_bytes };
        let (session, pairs) = Session::new(stream, wanted, &memory, &calls, |_| true, || false)
            .map_err(|error| FrontError::Session { path: options.path.clone(), error })?;
        let agreed = session.features;
        if !planted::is("vhost_user_offloads_grow") {
            wanted.features &= agreed | !(RELIED_ON | RECEIVED);
        }
        wanted.needed |= agreed & RELIED_ON;
        let link = Link::start(place, session, pairs, wanted, Arc::clone(&memory), slots.clone()).map_err(system)?;
        let capabilities = Capabilities {
            mac: options.mac(),
            mtu_bytes: options.mtu_bytes,
            queues: options.queues,
            tx: offloads_sent(agreed),
            rx: offloads_received(agreed),
            rss: options.rss.flow_hash(options.queues),
        };
        let name = options.path.display().to_string();
        let shared: Arc<dyn SlabMemory> = memory.clone();
        let sends = SendMemory::new(&shared, options.queues * HEADER_BYTES, options.queues * BUFFER_BYTES, FRAME_ALIGN);
        Ok(Self { name, capabilities, memory, sends, link, slots: slots.into_iter().map(Some).collect() })
    }

    /// How many bytes of shared memory such a device takes beside the frames of its pools: for rings, for long packets, for what is copied, and
    /// for what is sent from where it lies ([`DetachedQueue::send_memory`]).
    pub const fn memory_bytes(queues: usize) -> usize {
        queues * (RING_BYTES + HEADER_BYTES + BUFFER_BYTES + LARGE_BYTES)
    }
}

fn offloads_sent(agreed: u64) -> Offloads {
    let has = |bit| agreed & bit != 0;
    Offloads {
        checksum: has(features::CSUM),
        tso4: has(features::HOST_TSO4),
        tso6: has(features::HOST_TSO6),
        tso_ecn: has(features::HOST_ECN),
        uso: has(features::HOST_USO),
        vlan: false,
    }
}

fn offloads_received(agreed: u64) -> Offloads {
    let has = |bit| agreed & bit != 0;
    Offloads {
        checksum: has(features::GUEST_CSUM),
        tso4: has(features::GUEST_TSO4),
        tso6: has(features::GUEST_TSO6),
        tso_ecn: has(features::GUEST_ECN),
        uso: false,
        vlan: false,
    }
}

impl Device for VhostUserFront {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn take_queue(&mut self, index: usize) -> Result<DetachedQueue, TakeError> {
        let queues = self.slots.len();
        let place = self.slots.get_mut(index).ok_or(TakeError::NoSuchQueue { index, queues })?;
        let slot = place.take().ok_or(TakeError::Taken { index })?;
        let (capabilities, memory) = (self.capabilities.clone(), Arc::clone(&self.memory));
        let seat = Seat::new(slot, Arc::clone(&self.link));
        let queue = DetachedQueue::new(move |pool| {
            FrontQueue::new(seat, capabilities, memory, pool).map(|queue| -> Box<dyn Queue> { Box::new(queue) })
        });
        let (frames, sends) = (Arc::clone(&self.memory) as _, self.sends.clone());
        Ok(queue.with_memory(DeviceMemory { frames, options: None, sends }))
    }
}

impl Drop for VhostUserFront {
    fn drop(&mut self) {
        // Nobody takes the others any more. The session ends with the last one who has the link.
        if Arc::strong_count(&self.link) > 1 {
            self.slots.iter().flatten().for_each(|slot| self.link.leave(slot, None));
        }
    }
}

impl fmt::Debug for VhostUserFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VhostUserFront")
            .field("name", &self.name)
            .field("capabilities", &self.capabilities)
            .finish_non_exhaustive()
    }
}
