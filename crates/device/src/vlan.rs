//! Several interfaces on one device, told apart by VLAN tags (IEEE 802.1Q).
//!
//! [`split`] makes of a queue one for each VLAN. What comes is given to the queue whose tag it has, without the tag; what leaves gets the tag of its queue,
//! with priority 0. One of them may be for frames without a VLAN. What is of another VLAN, or has two tags, is dropped and counted.
//!
//! The first one has the device's queue, and receives and sends for the others: it is to be polled in the same rounds as they are.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::task::Context;

use sunstar_executor::Instant;
use sunstar_packet::Packet;

use crate::capabilities::Capabilities;
use crate::queue::{Counters, Queue, QueueError, Readiness};

#[cfg(test)]
mod tests;

/// The largest VLAN identifier (IEEE 802.1Q §9.6: 4095 is reserved).
pub const MAX_VLAN: u16 = 4_094;

/// Packets that wait for each VLAN at most, either way. What comes on top is dropped; what is to leave stays where it is.
const MAX_WAITING_PACKETS: usize = 1_024;

/// Both addresses of an Ethernet header.
const ADDRESS_BYTES: usize = 12;
/// Type and tag.
const TAG_BYTES: usize = 4;
/// Types of tags: of customers, and of providers, which tell nothing here.
const CUSTOMER: [u8; 2] = [0x81, 0];
const PROVIDER: [u8; 2] = [0x88, 0xa8];

/// What belongs to one VLAN.
#[derive(Debug)]
struct Lane {
    /// None for frames without a VLAN.
    vlan: Option<u16>,
    received: RefCell<VecDeque<Packet>>,
    /// With their tags.
    to_send: RefCell<VecDeque<Packet>>,
    /// Whether there was no room for all that was to be sent.
    is_full: Cell<bool>,
    counters: Cell<Counters>,
}

impl Lane {
    fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }
}

/// The lanes of a device's queue.
#[derive(Debug)]
struct Lanes {
    all: Vec<Lane>,
    /// Frames of VLANs that are none of those.
    strangers: Cell<u64>,
    /// Whether something waits to be sent that the device was not asked to send.
    has_new: Cell<bool>,
    /// The lane that sends first: each in its turn.
    first: Cell<usize>,
    is_gone: Cell<bool>,
}

impl Lanes {
    /// A device that is gone is so for all.
    fn note<T>(&self, result: &Result<T, QueueError>) {
        if matches!(result, Err(QueueError::Gone)) {
            self.is_gone.set(true);
        }
    }

    /// Gives a frame that has come to its lane.
    fn sort(&self, mut packet: Packet) {
        let lane = match untag(&mut packet) {
            Some(vlan) => self.all.iter().find(|lane| lane.vlan == vlan),
            None => None,
        };
        let Some(lane) = lane else { return self.strangers.set(self.strangers.get() + 1) };
        let mut received = lane.received.borrow_mut();
        if received.len() >= MAX_WAITING_PACKETS {
            return lane.count(|counters| counters.rx_no_frames += 1);
        }
        lane.count(|counters| {
            counters.rx_packets += 1;
            counters.rx_bytes += packet.len() as u64;
        });
        received.push_back(packet);
    }
}

/// Takes the tag off a frame; answers its VLAN, where zero stands for none (IEEE 802.1Q §6.9.3). Nothing if the frame has two tags, or can't be
/// read.
fn untag(packet: &mut Packet) -> Option<Option<u16>> {
    let of = |vlan: u16| Some(vlan).filter(|vlan| *vlan != 0);
    if let Some(tag) = packet.offload.vlan.take() {
        return Some(of(tag.vid()));
    }
    let mut header = [0; ADDRESS_BYTES + 2 * TAG_BYTES];
    let len = packet.len().min(header.len());
    packet.copy_to_slice(0, &mut header[..len]).ok()?;
    let [addresses @ .., a, b, tci_0, tci_1, c, d, _, _] = header;
    match [a, b] {
        CUSTOMER if planted::is("vlan_tag_kept") => Some(of(u16::from_be_bytes([tci_0, tci_1]) & 0xfff)),
        CUSTOMER if packet.len() >= ADDRESS_BYTES + TAG_BYTES + 2 && ![CUSTOMER, PROVIDER].contains(&[c, d]) => {
            packet.trim_front(addresses.len() + TAG_BYTES).ok()?;
            packet.prepend(&addresses).ok()?;
            Some(of(u16::from_be_bytes([tci_0, tci_1]) & 0xfff))
        }
        CUSTOMER | PROVIDER => None,
        _ => Some(None),
    }
}

/// Puts a tag into a frame; answers whether that went.
fn tag(packet: &mut Packet, vlan: u16) -> bool {
    let mut header = [0; ADDRESS_BYTES + TAG_BYTES];
    let (addresses, rest) = header.split_at_mut(ADDRESS_BYTES);
    if packet.copy_to_slice(0, addresses).is_err() || packet.len() == ADDRESS_BYTES {
        return false;
    }
    let [tci_0, tci_1] = vlan.to_be_bytes();
    rest.copy_from_slice(&[CUSTOMER[0], CUSTOMER[1], tci_0, tci_1]);
    packet.trim_front(ADDRESS_BYTES).is_ok() && packet.prepend(&header).is_ok()
}

/// The queue of one VLAN, or of none.
pub struct VlanQueue {
    lanes: Rc<Lanes>,
    here: usize,
    /// The device's, if this one receives and sends for all.
    queue: Option<Box<dyn Queue>>,
    capabilities: Capabilities,
    /// What came from the device just now.
    fresh: VecDeque<Packet>,
}

/// Makes of a device's queue one for each VLAN, in their order; `None` stands for frames without one. Each is to be there once.
pub fn split(queue: Box<dyn Queue>, vlans: &[Option<u16>]) -> Vec<VlanQueue> {
    let lane = |vlan: &Option<u16>| Lane {
        vlan: *vlan,
        received: RefCell::default(),
        to_send: RefCell::default(),
        is_full: Cell::new(false),
        counters: Cell::default(),
    };
    let lanes = Rc::new(Lanes {
        all: vlans.iter().map(lane).collect(),
        strangers: Cell::new(0),
        has_new: Cell::new(false),
        first: Cell::new(0),
        is_gone: Cell::new(false),
    });
    let capabilities =
        Capabilities { tx: crate::Offloads { vlan: false, ..queue.capabilities().tx }, ..queue.capabilities().clone() };
    let mut queue = Some(queue);
    let end = |here| VlanQueue {
        lanes: Rc::clone(&lanes),
        here,
        queue: queue.take(),
        capabilities: capabilities.clone(),
        fresh: VecDeque::new(),
    };
    (0..vlans.len()).map(end).collect()
}

impl VlanQueue {
    fn lane(&self) -> &Lane {
        // Ends are made with their lanes.
        &self.lanes.all[self.here]
    }

    /// Takes what is to be sent, as far as there is room for it; answers how many.
    fn accept(&self, packets: &mut VecDeque<Packet>) -> usize {
        let lane = self.lane();
        let mut to_send = lane.to_send.borrow_mut();
        let count = packets.len().min(MAX_WAITING_PACKETS.saturating_sub(to_send.len()));
        for mut packet in packets.drain(..count) {
            let bytes = packet.len() as u64;
            // What the device would refuse is refused here, since it is counted here.
            let is_fit =
                self.capabilities.check(&packet).is_ok() && lane.vlan.is_none_or(|vlan| tag(&mut packet, vlan));
            lane.count(|counters| match is_fit {
                true => (counters.tx_packets, counters.tx_bytes) = (counters.tx_packets + 1, counters.tx_bytes + bytes),
                false => counters.tx_refused += 1,
            });
            to_send.extend(is_fit.then_some(packet));
            self.lanes.has_new.set(true);
        }
        lane.count(|counters| counters.tx_full += u64::from(!packets.is_empty()));
        lane.is_full.set(!packets.is_empty());
        count
    }
}

impl Lanes {
    /// Hands over what waits. Whom the device has no room for is the last one that it hears of, so that it tells when there is.
    fn send(&self, now: Instant, queue: &mut dyn Queue) -> Result<(), QueueError> {
        self.has_new.set(false);
        let count = self.all.len();
        let first = self.first.replace((self.first.get() + 1) % count);
        let waits = |lane: &usize| !self.all[*lane].to_send.borrow().is_empty();
        // If nothing waits the device is called all the same: it may have something to do.
        let is_idle = !(0..count).any(|lane| waits(&lane));
        let lanes = (first..first + count).map(|lane| lane % count).filter(|lane| is_idle || waits(lane));
        for lane in lanes.take(if is_idle { 1 } else { count }) {
            let mut to_send = self.all[lane].to_send.borrow_mut();
            let result = queue.tx_burst(now, &mut to_send);
            self.note(&result);
            result?;
            if !to_send.is_empty() {
                break;
            }
        }
        Ok(())
    }
}

impl Queue for VlanQueue {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        let result = match &mut self.queue {
            Some(queue) => queue.rx_burst(now, &mut self.fresh, max),
            None if self.lanes.is_gone.get() => Err(QueueError::Gone),
            None => Ok(0),
        };
        self.lanes.note(&result);
        self.fresh.drain(..).for_each(|packet| self.lanes.sort(packet));
        let mut received = self.lane().received.borrow_mut();
        let count = received.len().min(max);
        out.extend(received.drain(..count));
        // What has come is worth more than an error that comes again.
        if count == 0 { result.map(|_| 0) } else { Ok(count) }
    }

    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        if self.lanes.is_gone.get() {
            return Err(QueueError::Gone);
        }
        let count = self.accept(packets);
        if let Some(queue) = &mut self.queue {
            self.lanes.send(now, &mut **queue)?;
        }
        Ok(count)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Readiness<'_> {
        let lane = self.lane();
        let has_room_again = lane.is_full.get() && lane.to_send.borrow().len() < MAX_WAITING_PACKETS;
        let waits_here = has_room_again || !lane.received.borrow().is_empty();
        match &mut self.queue {
            _ if waits_here => Readiness::Ready,
            Some(_) if self.lanes.has_new.get() => Readiness::Ready,
            // Also of what it had no room for: that it was asked to send, so it tells when there is room.
            Some(queue) => queue.poll_ready(cx),
            // Who has the device is on the same shard.
            None => Readiness::Woken,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.queue.as_ref()?.deadline()
    }

    /// Those of the VLAN. Who has the device's queue counts what is lost there too, and frames of other VLANs.
    fn counters(&self) -> Counters {
        let own = self.lane().counters.get();
        let Some(queue) = &self.queue else { return own };
        let of = queue.counters();
        Counters {
            rx_truncated: of.rx_truncated,
            rx_malformed: of.rx_malformed,
            rx_other_vlan: self.lanes.strangers.get(),
            rx_no_frames: own.rx_no_frames + of.rx_no_frames,
            tx_refused: own.tx_refused + of.tx_refused,
            tx_dropped: of.tx_dropped,
            tx_full: own.tx_full + of.tx_full,
            tx_copies: of.tx_copies,
            tx_copied_bytes: of.tx_copied_bytes,
            reconnects: of.reconnects,
            peer_errors: of.peer_errors,
            ..own
        }
    }

    fn free_unused_memory(&mut self) {
        let lane = self.lane();
        lane.received.borrow_mut().shrink_to_fit();
        lane.to_send.borrow_mut().shrink_to_fit();
        self.fresh.shrink_to_fit();
        if let Some(queue) = &mut self.queue {
            queue.free_unused_memory();
        }
    }
}

impl fmt::Debug for VlanQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VlanQueue").field("vlan", &self.lane().vlan).finish_non_exhaustive()
    }
}
