//! A queue of a device, and what waits to be sent by it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::task::Context;

use sunstar_device::{Queue, QueueError, Readiness};
use sunstar_executor::Instant;
use sunstar_packet::{BufferMut, Packet, SizedPools};
use sunstar_tcpip::interface::{Capabilities, InterfaceId, InterfaceOptions, Link};

use crate::spread::SharedDevice;

/// Packets that are taken from a queue in a round. Few, since answers leave at the round's end: two hosts that take all that there is would
/// take turns, and one of them would always wait for the other.
pub const RX_BURST: usize = 32;

/// Packets that are taken in a round at most if they are long, as those of streams are: the more there are the more of them follow each other,
/// and are handed to their connections as one.
const MAX_RX_BURST: usize = 128;

/// Bytes of packets, on average, that count as long.
const LONG_BYTES: usize = 1_024;

/// A queue that has handed out so many bytes may have left others for the next round, though the packets were few.
const LARGE_BURST_BYTES: usize = 64 << 10;

/// Packets that are handed to a queue at once, and that wait for it at most; the rest of a segment that was begun comes on top.
pub const TX_BURST: usize = 64;

/// Room in front of what applications send, for the headers of datagrams.
const HEADROOM_BYTES: usize = 128;

/// How many errors of a device one message in the log stands for, after the first ones.
const ERRORS_PER_LOG: u64 = 4_096;

/// How a queue's descriptor ends the sleeps of its shard; of the platform that has descriptors.
pub trait Watch {
    /// Has the descriptor end the shard's next sleep as soon as it is readable or writable, as asked.
    ///
    /// # Errors
    /// What the system says.
    fn arm(&self, descriptor: BorrowedFd<'_>, readable: bool, writable: bool) -> io::Result<()>;
}

/// A queue of a device, as an interface of the stack.
pub(crate) struct Port {
    pub(crate) interface: InterfaceId,
    /// The device's name.
    pub(crate) name: String,
    pub(crate) queue: Box<dyn Queue>,
    /// The device, if other shards use it too.
    pub(crate) shared: Option<SharedDevice>,
    watch: Option<Box<dyn Watch>>,
    outbox: VecDeque<Packet>,
    /// Whether the last one of those is none yet.
    has_slot: bool,
    is_gone: bool,
    /// What applications send lies there, if the device has memory of its own.
    pub(crate) buffers: Option<SizedPools>,
    /// Buffers for which there was none of that.
    pub(crate) heap_buffers: u64,
    /// Packets that were dropped since the device is gone.
    pub(crate) lost: u64,
    pub(crate) errors: u64,
}

impl Port {
    pub(crate) fn new(
        interface: InterfaceId,
        name: &str,
        queue: Box<dyn Queue>,
        watch: Option<Box<dyn Watch>>,
    ) -> Self {
        Self {
            interface,
            name: name.to_owned(),
            queue,
            shared: None,
            watch,
            outbox: VecDeque::new(),
            has_slot: false,
            is_gone: false,
            buffers: None,
            heap_buffers: 0,
            lost: 0,
            errors: 0,
        }
    }

    /// What the stack is to know of a device.
    pub(crate) fn interface_options(queue: &dyn Queue) -> InterfaceOptions {
        let capabilities = queue.capabilities();
        InterfaceOptions {
            link: Link::Ethernet(capabilities.mac),
            mtu: u16::try_from(capabilities.mtu_bytes).unwrap_or(u16::MAX),
            capabilities: Capabilities {
                completes_checksums: capabilities.tx.checksum,
                segmentation_bytes: (capabilities.tx.tso4 && capabilities.tx.tso6).then_some(u16::MAX.into()),
            },
        }
    }

    /// Puts received packets into `inbox`; answers whether there may be more.
    pub(crate) fn receive(&mut self, now: Instant, inbox: &mut VecDeque<Packet>) -> bool {
        loop {
            let before = inbox.len();
            if self.is_gone {
                return false;
            }
            let result = self.queue.rx_burst(now, inbox, RX_BURST);
            let count = result.map_err(|error| self.fail(error)).unwrap_or(0);
            let bytes: usize = inbox.iter().skip(before).map(Packet::len).sum();
            let are_long = (RX_BURST * LONG_BYTES..LARGE_BURST_BYTES).contains(&bytes);
            if count < RX_BURST || !are_long || inbox.len() + RX_BURST > MAX_RX_BURST {
                return count >= RX_BURST || bytes >= LARGE_BURST_BYTES;
            }
        }
    }

    /// Takes a packet to be sent.
    pub(crate) fn push(&mut self, now: Instant, packet: Packet) {
        *self.slot() = packet;
        self.take_slot(now);
    }

    /// Where the next packet to be sent can be made. It has nothing, or what was made there and not [taken](Self::take_slot).
    pub(crate) fn slot(&mut self) -> &mut Packet {
        if !self.has_slot {
            // In its place: what is made elsewhere in small pieces is not moved.
            self.outbox.push_back(Packet::new());
            self.has_slot = true;
        }
        let last = self.outbox.len() - 1;
        &mut self.outbox[last]
    }

    /// Takes what was made in the slot.
    pub(crate) fn take_slot(&mut self, now: Instant) {
        self.has_slot = false;
        if self.is_gone {
            self.lost += 1;
            self.outbox.clear();
        } else if self.outbox.len() == TX_BURST {
            self.flush(now);
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.outbox.len() - usize::from(self.has_slot) < TX_BURST
    }

    /// An empty buffer for what is to be sent by the device, with room for `bytes`, and for headers in front.
    pub(crate) fn allocate_buffer(&mut self, bytes: usize) -> BufferMut {
        if let Some(buffers) = &self.buffers {
            if let Some(buffer) = buffers.take(bytes) {
                return buffer;
            }
            self.heap_buffers += 1;
        }
        BufferMut::with_capacity(HEADROOM_BYTES, bytes)
    }

    /// Hands over what waits. To be called in each round, since queues may have packets of their own to send: late ones, and
    /// those of other shards.
    pub(crate) fn flush(&mut self, now: Instant) {
        if std::mem::take(&mut self.has_slot) {
            self.outbox.pop_back();
        }
        if self.is_gone {
            return;
        }
        if let Err(error) = self.queue.tx_burst(now, &mut self.outbox) {
            self.fail(error);
        }
    }

    /// Whether the shard may sleep as far as the device goes.
    pub(crate) fn prepare_sleep(&mut self, cx: &mut Context<'_>) -> bool {
        if self.is_gone {
            return true;
        }
        let armed = match self.queue.poll_ready(cx) {
            Readiness::Ready => return false,
            Readiness::Woken => return true,
            Readiness::Descriptor { fd, readable, writable } => match &self.watch {
                Some(watch) => watch.arm(fd, readable, writable),
                // Nobody can wait for it, so it is polled.
                None => return false,
            },
        };
        if let Err(error) = armed {
            self.fail(QueueError::System(error));
            return false;
        }
        true
    }

    /// Gives back what is kept for reuse.
    pub(crate) fn free_unused_memory(&mut self) {
        self.outbox.shrink_to_fit();
        if let Some(buffers) = &self.buffers {
            buffers.free_unused_memory();
        }
        self.queue.free_unused_memory();
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.queue.deadline().filter(|_| !self.is_gone)
    }

    /// Something is wrong with the device: it is told of, but not for each packet.
    fn fail(&mut self, error: QueueError) {
        if matches!(error, QueueError::Gone) {
            self.is_gone = true;
            self.lost += self.outbox.len() as u64;
            self.outbox.clear();
            log::error!("{}: {error}: nothing is sent or received by it any more", self.name);
            return;
        }
        let before = self.errors;
        self.errors += 1;
        if before.is_power_of_two() || before.is_multiple_of(ERRORS_PER_LOG) {
            log::warn!("{}: {error}; {before} times before", self.name);
        }
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("name", &self.name).finish_non_exhaustive()
    }
}
