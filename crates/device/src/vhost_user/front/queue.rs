//! A pair of queues of a front end, on its shard.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use sunstar_executor::Instant;
use sunstar_packet::{MAX_BUFFERS, Packet, Pool};
use sunstar_virtio::Broken;
use sunstar_virtio::net::{HEADER_BYTES, Receiver, Transmitter, Unsent, features};

use super::link::{Seat, drain, ring};
use super::session::{Pair, RING};
use crate::capabilities::Capabilities;
use crate::queue::{AttachError, Counters, Queue, QueueError, Readiness};
use crate::shared_memory::{SharedMemory, Withheld};
use crate::vhost_user::{LARGE_POOL, is_short};

/// How long a queue without frames waits until it tries again: nobody tells when frames come back.
const STARVED_WAIT: Duration = Duration::from_millis(1);

/// A pair of queues of a [`VhostUserFront`](super::VhostUserFront).
pub(super) struct FrontQueue {
    seat: Seat,
    capabilities: Capabilities,
    memory: Arc<SharedMemory>,
    pool: Rc<Pool>,
    /// Frames for long packets, bounded whatever became of those that back ends had.
    large: Rc<Pool>,
    /// Of what was taken from the slot last.
    generation: u64,
    /// None while there is no back end.
    rings: Option<Rings>,
    /// Rings that were given up, which the back end has until its session has ended: what lies in them is nobody else's before.
    given_up: Option<Rings>,
    /// How many bytes the longest packet has with its header.
    needed_bytes: usize,
    /// Whether the descriptor is waited for, and may be readable.
    is_armed: bool,
    /// Whether the last burst left packets behind.
    is_full: bool,
    /// When to try to get frames again.
    retry_at: Option<Instant>,
    /// Without what the rings count themselves.
    counters: Counters,
}

/// What is driven while there is a back end.
struct Rings {
    receiver: Receiver<SharedMemory>,
    transmitter: Transmitter<SharedMemory>,
    rx_kick: OwnedFd,
    tx_kick: OwnedFd,
}

impl FrontQueue {
    pub(super) fn new(
        seat: Seat,
        capabilities: Capabilities,
        memory: Arc<SharedMemory>,
        pool: Rc<Pool>,
    ) -> Result<Self, AttachError> {
        let mut frame = pool.take().ok_or(AttachError::NoFrame)?;
        let frame_bytes = frame.tailroom();
        memory.offset_of(frame.spare().as_ptr().cast(), frame_bytes).ok_or(AttachError::OtherMemory)?;
        drop(frame);
        // It has no memory yet, and where there is none for it later, it has no frames.
        let large = Pool::with_memory(Arc::clone(&memory) as _, LARGE_POOL).map_err(|_| AttachError::NoFrame)?;
        let mut queue = Self {
            generation: 0,
            rings: None,
            given_up: None,
            needed_bytes: capabilities.max_rx_bytes() + HEADER_BYTES,
            is_armed: false,
            is_full: false,
            retry_at: None,
            counters: Counters::default(),
            seat,
            capabilities,
            memory,
            pool,
            large: Rc::new(large),
        };
        let pair = queue.follow();
        let is_mergeable = pair.as_ref().is_none_or(|pair| pair.features & features::MRG_RXBUF != 0);
        let max_buffers = if is_mergeable { MAX_BUFFERS } else { 1 };
        let frames = queue.needed_bytes.checked_div(frame_bytes).map_or(usize::MAX, |whole| whole + 1);
        if frames > max_buffers {
            let max_packet_bytes = queue.capabilities.max_rx_bytes();
            return Err(AttachError::FramesTooSmall { frame_bytes, max_packet_bytes, max_buffers });
        }
        queue.set_up(pair);
        Ok(queue)
    }

    /// What has become of the back end since this was called last.
    fn follow(&mut self) -> Option<Pair> {
        // First the descriptor: what becomes new behind this makes it readable again.
        drain(&self.seat.slot.call);
        self.let_go();
        let (generation, pair) = self.seat.slot.take();
        self.generation = generation;
        pair
    }

    /// Drops the rings, which the back end has left alone or never will, and what lies in them.
    fn let_go(&mut self) {
        self.stop();
        if let Some(rings) = self.given_up.take() {
            self.seat.slot.withhold_unless_left(self.generation, || rings.retire(&self.memory));
        }
    }

    /// Goes on with other rings, if there are any.
    fn set_up(&mut self, pair: Option<Pair>) {
        self.rings = pair.and_then(|pair| Rings::new(pair, &self.memory, &self.pool, &self.large));
    }

    /// Does nothing more with the rings.
    fn stop(&mut self) {
        if let Some(rings) = self.rings.take() {
            rings.count(&mut self.counters);
            self.given_up = Some(rings);
        }
        self.is_full = false;
        self.retry_at = None;
    }

    /// Follows the back end, if there is something new.
    #[inline]
    fn look(&mut self) {
        if self.seat.slot.generation() != self.generation {
            let pair = self.follow();
            self.counters.reconnects += u64::from(pair.is_some());
            self.set_up(pair);
        }
    }

    /// Gives up rings in which the back end has written what makes no sense: it has to begin anew.
    fn give_up(&mut self, error: Broken) {
        log::error!("a ring of {}: {error}", self.capabilities.mac);
        self.counters.peer_errors += 1;
        self.stop();
        self.seat.link.break_off(&self.seat.slot, self.generation);
    }
}

impl Rings {
    /// Takes hold of new rings, and lets the back end have frames.
    fn new(pair: Pair, memory: &Arc<SharedMemory>, pool: &Rc<Pool>, large: &Rc<Pool>) -> Option<Self> {
        let Pair { features, receive, transmit } = pair;
        // They lie in memory that was taken for them, so the areas fit; and the pool was looked at.
        let ((rx, _), (tx, table)) = (receive.driver().ok()?, transmit.driver().ok()?);
        let receiver = Receiver::new(rx, RING, features, Arc::clone(memory), Rc::clone(pool)).ok()?;
        let receiver = receiver.with_large(Rc::clone(large));
        let transmitter = Transmitter::new(tx, RING, table, Arc::clone(memory)).ok()?;
        let mut rings = Self { receiver, transmitter, rx_kick: receive.kick, tx_kick: transmit.kick };
        rings.receiver.disable_notifications();
        rings.transmitter.disable_notifications();
        rings.publish_frames();
        Some(rings)
    }

    /// Never uses what lies in them again; answers with what nobody else must use either.
    fn retire(self, memory: &SharedMemory) -> Vec<Withheld> {
        let mut withheld = Vec::new();
        self.receiver.retire(|start, len| withheld.extend(memory.withhold(start, len)));
        self.transmitter.retire(|start, len| withheld.extend(memory.withhold(start, len)));
        withheld
    }

    fn publish_frames(&mut self) {
        if self.receiver.publish() {
            ring(&self.rx_kick);
        }
    }

    /// Asks to be told when there is something; answers whether there is already.
    fn enable_notifications(&mut self, is_full: bool) -> bool {
        let has_room = is_full && self.transmitter.enable_notifications();
        if self.receiver.enable_notifications() || has_room {
            self.disable_notifications();
            return true;
        }
        false
    }

    fn disable_notifications(&mut self) {
        self.receiver.disable_notifications();
        self.transmitter.disable_notifications();
    }

    /// Adds what was counted here.
    fn count(&self, counters: &mut Counters) {
        let lost = self.receiver.counters();
        counters.rx_truncated += lost.truncated;
        counters.rx_malformed += lost.malformed;
        counters.tx_copies += self.transmitter.copies().copies();
        counters.tx_copied_bytes += self.transmitter.copies().bytes();
    }
}

impl Queue for FrontQueue {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        // First the descriptor: what becomes visible behind this makes it readable again.
        let was_armed = std::mem::take(&mut self.is_armed);
        if was_armed {
            drain(&self.seat.slot.call);
        }
        self.look();
        self.retry_at = None;
        let Some(rings) = &mut self.rings else { return Ok(0) };
        if was_armed {
            rings.disable_notifications();
        }
        let before = out.len();
        let result = rings.receiver.receive(out, max);
        let count = out.len() - before;
        self.counters.rx_packets += count as u64;
        self.counters.rx_bytes += out.iter().skip(before).map(|packet| packet.len() as u64).sum::<u64>();
        if let Err(error) = result {
            self.give_up(error);
            return Ok(count);
        }
        rings.publish_frames();
        if rings.receiver.is_starved(self.needed_bytes) {
            self.counters.rx_no_frames += 1;
            self.retry_at = Some(now + STARVED_WAIT);
        }
        Ok(count)
    }

    fn tx_burst(&mut self, _now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        self.look();
        self.is_full = false;
        let Some(rings) = &mut self.rings else {
            // As when a cable is pulled out.
            self.counters.tx_dropped += packets.len() as u64;
            return Ok(packets.drain(..).count());
        };
        if let Err(error) = rings.transmitter.reclaim() {
            self.give_up(error);
            return Ok(0);
        }
        let mut count = 0;
        while let Some(packet) = packets.front_mut() {
            let bytes = packet.len() as u64;
            let sent = match self.capabilities.check(packet) {
                Ok(()) => rings.transmitter.send(packet),
                Err(_) => Err(Unsent::Refused),
            };
            match sent {
                Ok(()) => {
                    self.counters.tx_packets += 1;
                    self.counters.tx_bytes += bytes;
                }
                Err(Unsent::Full) => {
                    self.is_full = true;
                    self.counters.tx_full += 1;
                    break;
                }
                Err(Unsent::Refused) => self.counters.tx_refused += 1,
                Err(Unsent::NoMemory) => self.counters.tx_dropped += 1,
            }
            packets.pop_front();
            count += 1;
        }
        if rings.transmitter.publish() {
            ring(&rings.tx_kick);
        }
        Ok(count)
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Readiness<'_> {
        if self.seat.slot.generation() != self.generation {
            return Readiness::Ready;
        }
        // Also with too few frames: what is short comes all the same.
        if let Some(rings) = &mut self.rings
            && rings.enable_notifications(self.is_full)
        {
            return Readiness::Ready;
        }
        self.is_armed = true;
        Readiness::Descriptor { fd: self.seat.slot.call.as_fd(), readable: true, writable: false }
    }

    fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    fn counters(&self) -> Counters {
        let mut counters = self.counters;
        counters.peer_errors += self.seat.slot.refused();
        if let Some(rings) = &self.rings {
            rings.count(&mut counters);
        }
        counters
    }

    fn is_short_of_large_frames(&self) -> bool {
        let retired = self.large.counters().retired_frames;
        self.rings.as_ref().is_some_and(|rings| is_short(rings.receiver.held_large_frames(), retired))
    }

    fn free_unused_memory(&mut self) {
        self.large.free_unused_memory();
        if let Some(rings) = &mut self.rings {
            match rings.transmitter.reclaim() {
                Ok(_) => rings.transmitter.free_unused_memory(),
                Err(error) => self.give_up(error),
            }
        }
    }
}

impl Drop for FrontQueue {
    fn drop(&mut self) {
        // The back end would go on writing into the frames.
        let has_rings = self.rings.is_some() || self.given_up.is_some();
        self.seat.leave(has_rings.then_some(self.generation));
        self.let_go();
    }
}

impl fmt::Debug for FrontQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontQueue").field("counters", &self.counters()).finish_non_exhaustive()
    }
}
