//! The in-memory link: two queues, of which each receives what the other one sends. Nothing is copied.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Waker};

use sunstar_executor::Instant;
use sunstar_packet::Packet;
use sunstar_wire::MacAddr;

use crate::capabilities::{Capabilities, Offloads};
use crate::queue::{Counters, Queue, QueueError, Readiness};

#[cfg(test)]
mod tests;

/// What a link does when a ring is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Packets stay with the sender, as they do at a network card that is slower than the processor.
    #[default]
    HoldBack,
    /// Packets are dropped and counted, as they are by a switch.
    Drop,
}

/// The shape of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// The longest IP packet in one piece, in bytes.
    pub mtu_bytes: usize,
    /// How many packets may be under way in each direction.
    pub ring_packets: usize,
    /// What happens to those that are more.
    pub when_full: WhenFull,
    /// What the ends need not do: packets arrive with partial checksums and in large pieces, as they were sent.
    pub offloads: Offloads,
    /// The addresses of the ends.
    pub macs: [MacAddr; 2],
}

impl Default for LinkOptions {
    /// An MTU of 1,500 bytes, rings of 64 packets that hold back, no offloads. So many are sent at once: the receiver takes whole rings,
    /// and packets don't move.
    fn default() -> Self {
        Self {
            mtu_bytes: 1500,
            ring_packets: 64,
            when_full: WhenFull::HoldBack,
            offloads: Offloads::NONE,
            macs: [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])],
        }
    }
}

/// Makes a link. Its ends belong to one thread, be it to one shard or to two that share the thread.
///
/// ```
/// use std::collections::VecDeque;
/// use sunstar_device::{LinkOptions, Queue, link};
/// use sunstar_executor::Instant;
/// use sunstar_packet::{Buffer, Packet};
///
/// let (mut here, mut there) = link(LinkOptions::default());
/// let mut packets = VecDeque::from([Packet::from(Buffer::from_static(b"any frame"))]);
/// assert_eq!(here.tx_burst(Instant::ORIGIN, &mut packets)?, 1);
/// let mut arrived = VecDeque::new();
/// assert_eq!(there.rx_burst(Instant::ORIGIN, &mut arrived, 32)?, 1);
/// assert_eq!(arrived[0].buffers()[0], b"any frame");
/// # Ok::<(), sunstar_device::QueueError>(())
/// ```
pub fn link(options: LinkOptions) -> (LinkQueue, LinkQueue) {
    let pipes: [Rc<RefCell<Pipe>>; 2] = Default::default();
    let end = |side: usize| LinkQueue {
        capabilities: Capabilities {
            mac: options.macs[side],
            mtu_bytes: options.mtu_bytes,
            queues: 1,
            tx: options.offloads,
            rx: options.offloads,
            rss: None,
        },
        ring_packets: options.ring_packets,
        when_full: options.when_full,
        tx: Rc::clone(&pipes[side]),
        rx: Rc::clone(&pipes[1 - side]),
        was_full: false,
        counters: Counters::default(),
    };
    (end(0), end(1))
}

/// One direction.
#[derive(Default)]
struct Pipe {
    packets: VecDeque<Packet>,
    /// Waits for packets.
    receiver: Option<Waker>,
    /// Waits for room.
    sender: Option<Waker>,
    is_closed: bool,
}

/// One end of a link. When it is dropped the other one receives what is under way, and then is told that it is gone.
pub struct LinkQueue {
    capabilities: Capabilities,
    ring_packets: usize,
    when_full: WhenFull,
    tx: Rc<RefCell<Pipe>>,
    rx: Rc<RefCell<Pipe>>,
    /// Whether the last burst left packets behind.
    was_full: bool,
    counters: Counters,
}

impl LinkQueue {
    /// Takes what may not be sent out of `packets`; answers how many bytes the first `room` of the others have.
    fn refuse(&mut self, packets: &mut VecDeque<Packet>, room: usize) -> (usize, u64) {
        let (mut refused, mut bytes, mut accepted) = (0, 0, 0);
        packets.retain(|packet| {
            if accepted == room {
                return true;
            }
            if self.capabilities.check(packet).is_err() {
                refused += 1;
                return false;
            }
            accepted += 1;
            bytes += packet.len() as u64;
            true
        });
        self.counters.tx_refused += refused as u64;
        (refused, bytes)
    }

    /// Deals with packets for which there is no room; answers how many are gone.
    fn on_full(&mut self, packets: &mut VecDeque<Packet>) -> usize {
        let left = packets.len();
        match self.when_full {
            WhenFull::HoldBack => {
                self.was_full = left > 0;
                self.counters.tx_full += u64::from(self.was_full);
                0
            }
            WhenFull::Drop => {
                packets.clear();
                self.counters.tx_dropped += left as u64;
                left
            }
        }
    }
}

impl Queue for LinkQueue {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, _now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        let (count, sender) = {
            let mut pipe = self.rx.borrow_mut();
            let count = pipe.packets.len().min(max);
            if count == 0 {
                return if pipe.is_closed && max > 0 { Err(QueueError::Gone) } else { Ok(0) };
            }
            self.counters.rx_bytes += pipe.packets.iter().take(count).map(|packet| packet.len() as u64).sum::<u64>();
            // All of them into nothing: the rings change places, and the packets don't.
            if out.is_empty() && count == pipe.packets.len() {
                std::mem::swap(out, &mut pipe.packets);
            } else {
                out.extend(pipe.packets.drain(..count));
            }
            (count, pipe.sender.take())
        };
        self.counters.rx_packets += count as u64;
        wake(sender);
        Ok(count)
    }

    fn tx_burst(&mut self, _now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        let room = {
            let pipe = self.tx.borrow();
            if pipe.is_closed {
                return Err(QueueError::Gone);
            }
            self.ring_packets.saturating_sub(pipe.packets.len())
        };
        self.was_full = false;
        if packets.is_empty() {
            return Ok(0);
        }
        let (refused, bytes) = self.refuse(packets, room);
        let count = packets.len().min(room);
        let receiver = {
            let mut pipe = self.tx.borrow_mut();
            if pipe.packets.is_empty() && count == packets.len() {
                std::mem::swap(packets, &mut pipe.packets);
            } else {
                pipe.packets.extend(packets.drain(..count));
            }
            if count > 0 { pipe.receiver.take() } else { None }
        };
        self.counters.tx_packets += count as u64;
        self.counters.tx_bytes += bytes;
        wake(receiver);
        Ok(refused + count + self.on_full(packets))
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Readiness<'_> {
        let mut rx = self.rx.borrow_mut();
        if !rx.packets.is_empty() || rx.is_closed {
            return Readiness::Ready;
        }
        let mut tx = self.tx.borrow_mut();
        if self.was_full {
            if tx.packets.len() < self.ring_packets {
                return Readiness::Ready;
            }
            keep(&mut tx.sender, cx);
        }
        keep(&mut rx.receiver, cx);
        Readiness::Woken
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

fn keep(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

/// Wakes whoever waits. That may run anybody's code, so no pipe may be borrowed.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Drop for LinkQueue {
    fn drop(&mut self) {
        for pipe in [&self.tx, &self.rx] {
            let (receiver, sender) = {
                let mut pipe = pipe.borrow_mut();
                pipe.is_closed = true;
                (pipe.receiver.take(), pipe.sender.take())
            };
            wake(receiver);
            wake(sender);
        }
        // Nobody is going to receive them.
        let _unreceived = std::mem::take(&mut self.rx.borrow_mut().packets);
    }
}

impl fmt::Debug for LinkQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkQueue").field("counters", &self.counters).finish_non_exhaustive()
    }
}
