//! One pair of queues of the back end, on its shard.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use sunstar_executor::Instant;
use sunstar_packet::{Buffer, CopyCounter, MAX_BUFFERS, Packet, Pool};
use sunstar_virtio::Broken;
use sunstar_virtio::net::device::{Put, ReceiveRing, Took, TransmitRing};

use super::port::{Port, Rings, Running};
use super::service::Service;
use crate::capabilities::Capabilities;
use crate::cut::cut;
use crate::edit::complete_checksum;
use crate::queue::{AttachError, Counters, Queue, QueueError, Readiness};
use crate::vhost_user::{LARGE_POOL, is_short};

/// How long a queue that found no frame waits until it tries again: nobody tells when frames come back.
const STARVED_WAIT: Duration = Duration::from_millis(1);

/// A burst puts packets into a driver's ring so many times at most: each time, a hostile driver can have as much read as is ever read for a packet
/// ([`MAX_BURST_DESCRIPTORS`](sunstar_virtio::net::device::MAX_BURST_DESCRIPTORS)). It is more than once where packets have to be cut before.
const MAX_PUTS: usize = 8;

/// A pair of queues, of which one shard has it. Each packet is copied once: out of the front end's memory, or into it.
pub(super) struct BackQueue {
    port: Arc<Port>,
    state: State,
}

/// All of it but the place where the rings are, so that it can be changed while those are worked on.
struct State {
    service: Arc<Service>,
    /// Whether the counters of the device are shown here, of which there is one.
    is_first: bool,
    capabilities: Capabilities,
    pool: Rc<Pool>,
    /// Frames for long packets.
    large: Option<Pool>,
    /// Packets that were made of one that the driver does not take as it is, and those before it.
    ready: VecDeque<Packet>,
    /// Whether the driver has to make room before anything can be sent.
    is_full: bool,
    /// Whether the shard has to look again before it sleeps: a burst has ended early, or the rings were being changed when they were to be worked
    /// on. What tells that this is over may be forgotten before.
    has_to_look_again: bool,
    /// When to try to get frames again.
    retry_at: Option<Instant>,
    counters: Counters,
    /// What completing checksums has copied.
    copies: CopyCounter,
}

impl BackQueue {
    pub(super) fn new(
        port: Arc<Port>,
        service: Arc<Service>,
        is_first: bool,
        capabilities: Capabilities,
        pool: Rc<Pool>,
    ) -> Result<Self, AttachError> {
        let frame_bytes = pool.take().ok_or(AttachError::NoFrame)?.tailroom();
        let max_packet_bytes = capabilities.max_rx_bytes();
        if frame_bytes.saturating_mul(MAX_BUFFERS) < max_packet_bytes {
            return Err(AttachError::FramesTooSmall { frame_bytes, max_packet_bytes, max_buffers: MAX_BUFFERS });
        }
        let state = State {
            service,
            is_first,
            capabilities,
            pool,
            // Without them small ones do.
            large: Pool::new(LARGE_POOL).ok(),
            ready: VecDeque::new(),
            is_full: false,
            has_to_look_again: false,
            retry_at: None,
            counters: Counters::default(),
            copies: CopyCounter::default(),
        };
        Ok(Self { port, state })
    }
}

impl State {
    /// Receives what the driver transmits.
    fn receive(&mut self, running: &mut Running<TransmitRing>, out: &mut VecDeque<Packet>, max: usize) -> Took {
        running.ring.ring().disable_notifications();
        let took = if running.is_enabled {
            running.ring.take(&self.pool, self.large.as_ref(), self.capabilities.max_rx_bytes(), max, out)
        } else {
            // What a ring that is disabled transmits goes nowhere ("Ring states").
            running.ring.discard(max).map(|has_to_tell| Took { has_to_tell, ..Took::default() })
        };
        if planted::is("vhost_user_copied_again") {
            out.iter_mut().for_each(|packet| *packet = Packet::from(Buffer::from(packet.buffers().concat())));
        }
        let took = took.unwrap_or_else(|error| self.fail(running, error));
        if took.has_to_tell {
            running.tell();
        }
        took
    }

    fn fail<R, T: Default>(&self, running: &mut Running<R>, error: Broken) -> T {
        running.fail();
        self.service.complain_of_ring(error);
        T::default()
    }

    /// Takes note of what was received.
    fn count_took(&mut self, now: Instant, took: Took) -> usize {
        self.counters.rx_packets += took.packets as u64;
        self.counters.rx_bytes += took.bytes;
        self.counters.rx_copies += took.packets as u64;
        self.counters.rx_copied_bytes += took.bytes;
        self.counters.rx_malformed += took.malformed;
        self.counters.rx_truncated += took.too_long;
        if took.is_starved {
            self.counters.rx_no_frames += 1;
            self.retry_at = Some(now + STARVED_WAIT);
        }
        took.packets
    }

    /// Takes note of what was sent.
    fn count_put(&mut self, put: Put) {
        self.counters.tx_packets += put.packets as u64;
        self.counters.tx_bytes += put.bytes;
        self.counters.tx_copies += put.packets as u64;
        self.counters.tx_copied_bytes += put.bytes;
        self.counters.tx_refused += put.refused;
        self.is_full = put.is_full;
        self.counters.tx_full += u64::from(put.is_full);
    }

    /// Puts packets into the ring of the driver, which are cut before if it does not take them as they are.
    fn send(&mut self, running: &mut Running<ReceiveRing>, packets: &mut VecDeque<Packet>) {
        let (mut has_to_tell, mut puts) = (false, 0);
        self.is_full = false;
        if planted::is("vhost_user_gathered") {
            for packet in packets.iter_mut() {
                let _ = packet.contiguous(packet.len(), &self.copies);
            }
        }
        running.ring.ring().disable_notifications();
        while !(running.is_broken || self.is_full || self.ready.is_empty() && packets.is_empty()) {
            if puts == MAX_PUTS {
                self.has_to_look_again = true;
                break;
            }
            puts += 1;
            let direct = packets.iter().take_while(|packet| self.is_direct(&running.ring, packet)).count();
            // Most often there is nothing in the way of any of them.
            let from = if self.ready.is_empty() && direct == packets.len() {
                &mut *packets
            } else {
                if self.ready.is_empty() {
                    self.ready.extend(packets.drain(..direct));
                }
                &mut self.ready
            };
            let put = running.ring.put(from).unwrap_or_else(|error| self.fail(running, error));
            has_to_tell |= put.has_to_tell;
            self.count_put(put);
            if self.ready.is_empty()
                && let Some(packet) = packets.pop_front_if(|packet| !self.is_direct(&running.ring, packet))
            {
                self.prepare(&running.ring, packet);
            }
        }
        if has_to_tell {
            running.tell();
        }
    }

    /// Whether a packet can be put in as it is.
    fn is_direct(&self, ring: &ReceiveRing, packet: &Packet) -> bool {
        ring.takes(&packet.offload) && self.capabilities.check(packet).is_ok()
    }

    /// Makes of a packet those that the driver takes.
    fn prepare(&mut self, ring: &ReceiveRing, packet: Packet) {
        if self.capabilities.check(&packet).is_err() {
            self.counters.tx_refused += 1;
            return;
        }
        cut(packet, |piece| {
            let is_taken = ring.takes(&piece.offload);
            self.ready.push_back(if is_taken { piece } else { complete_checksum(piece, &self.copies) });
        });
    }

    /// Nobody is there to get them.
    fn drop_all(&mut self, packets: &mut VecDeque<Packet>) {
        self.is_full = false;
        self.counters.tx_dropped += (self.ready.len() + packets.len()) as u64;
        self.ready.clear();
        packets.clear();
    }
}

impl Queue for BackQueue {
    fn capabilities(&self) -> &Capabilities {
        &self.state.capabilities
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        let Self { port, state } = self;
        state.retry_at = None;
        let took = port.work(|rings| {
            let running = rings.transmit.as_mut().filter(|running| !running.is_broken)?;
            Some(state.receive(running, out, max))
        });
        state.has_to_look_again |= took.is_none();
        Ok(took.flatten().map_or(0, |took| state.count_took(now, took)))
    }

    fn tx_burst(&mut self, _now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        let Self { port, state } = self;
        let before = packets.len();
        if before > 0 || !state.ready.is_empty() {
            let worked = port.work(|rings| match rings.receive.as_mut() {
                Some(running) if running.is_enabled && !running.is_broken => state.send(running, packets),
                _ => state.drop_all(packets),
            });
            state.has_to_look_again |= worked.is_none();
        } else {
            state.is_full = false;
        }
        Ok(before - packets.len())
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Readiness<'_> {
        // Without a frame nothing can be received, and nothing is asked for.
        let (receives, sends) = (self.state.retry_at.is_none(), self.state.is_full);
        self.port.clear_events();
        let is_ready = self.port.work(|Rings { transmit, receive }| {
            let has_more = transmit
                .as_mut()
                .filter(|running| receives && !running.is_broken)
                .is_some_and(|running| running.ring.ring().enable_notifications() | running.bells.kick.is_none());
            let has_room = receive
                .as_mut()
                .filter(|running| sends && !running.is_broken)
                .is_some_and(|running| running.ring.enable_notifications() | running.bells.kick.is_none());
            has_more || has_room
        });
        if is_ready == Some(true) || std::mem::take(&mut self.state.has_to_look_again) {
            return Readiness::Ready;
        }
        Readiness::Descriptor { fd: self.port.events(), readable: true, writable: false }
    }

    fn deadline(&self) -> Option<Instant> {
        self.state.retry_at
    }

    fn counters(&self) -> Counters {
        let mut counters = self.state.counters;
        counters.tx_copied_bytes += self.state.copies.bytes();
        if self.state.is_first {
            let of_device = self.state.service.counters();
            counters.reconnects = of_device.sessions.get().saturating_sub(1);
            counters.peer_errors = of_device.protocol_errors.get() + of_device.broken_rings.get();
        }
        counters
    }

    fn is_short_of_large_frames(&self) -> bool {
        self.state.large.as_ref().is_some_and(|large| is_short(large.counters().in_use_frames, 0))
    }

    fn free_unused_memory(&mut self) {
        self.state.ready.shrink_to_fit();
        self.state.large.iter().for_each(Pool::free_unused_memory);
    }
}

impl fmt::Debug for BackQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackQueue").field("counters", &self.state.counters).finish_non_exhaustive()
    }
}
