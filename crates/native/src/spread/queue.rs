//! A shard's end of a device that all shards use.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::task::Context;

use sunstar_device::{Capabilities, Counters, Queue, QueueError, Readiness};
use sunstar_executor::message::TryPostError;
use sunstar_executor::{Instant, IntoForeign, ShardId, current, local, try_post};
use sunstar_packet::{CopyCounter, ForeignPacket, Packet};

use super::SharedDevice;
use super::steer::{CONFIGURED, To, steer};
use crate::frames::copy_of;

/// Packets that wait in one place for another shard, or for the shard's next round, at most; further ones are dropped.
pub const MAX_FORWARDED_PACKETS: usize = 4_096;

/// Bytes of headers by which a packet's shard is found, at most: of Ethernet, of IPv4 and the ports behind them.
const HEADER_BYTES: usize = 14 + 60 + 8;

/// Packets that one message carries at most.
const BATCH: usize = 64;

/// What a shard has forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpreadCounters {
    /// Packets of flows that came here and belong elsewhere.
    pub rx_forwarded: u64,
    /// Packets that came here of which another shard has to know, or all: address resolution, routers, groups. Each shard that was told
    /// counts.
    pub rx_told: u64,
    /// Packets that were sent by another shard's queue.
    pub tx_forwarded: u64,
    /// Packets that were dropped since as many as may be waited.
    pub dropped: u64,
}

impl SpreadCounters {
    /// The sums of both.
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            rx_forwarded: self.rx_forwarded + other.rx_forwarded,
            rx_told: self.rx_told + other.rx_told,
            tx_forwarded: self.tx_forwarded + other.tx_forwarded,
            dropped: self.dropped + other.dropped,
        }
    }
}

/// Where a shard finds what others have for it.
#[derive(Default)]
struct Mailboxes(RefCell<Vec<(u64, Rc<Mailbox>)>>);

/// What others have for a shard's end of one device.
#[derive(Default)]
struct Mailbox {
    received: RefCell<VecDeque<Packet>>,
    to_send: RefCell<VecDeque<Packet>>,
    /// What this shard has put together, for whomever it is.
    given_back: RefCell<VecDeque<Packet>>,
    /// Whether the shard's end of the device is gone: what comes then is dropped.
    is_closed: Cell<bool>,
    counters: Cell<SpreadCounters>,
}

/// What the current shard has forwarded of a device's packets.
pub(super) fn counters(id: u64) -> SpreadCounters {
    Mailbox::find(id).map(|mailbox| mailbox.counters.get()).unwrap_or_default()
}

/// Lets the current shard's end of a device share out a packet.
pub(super) fn give_back(id: u64, mut packet: Packet) {
    if let Some(mailbox) = Mailbox::find(id) {
        let len = packet.len().min(HEADER_BYTES);
        // They were put in front one by one. There are so many bytes.
        let _ = packet.contiguous(len, &CopyCounter::default());
        // The stack bounds how many there are in a round.
        mailbox.given_back.borrow_mut().push_back(packet);
    }
}

/// What is to be done with packets of another shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Errand {
    /// They have come for this shard.
    Receive,
    /// They are to be sent by its queue.
    Send,
}

impl Mailbox {
    /// The current shard's mailbox for a device.
    fn find(id: u64) -> Option<Rc<Self>> {
        let mailboxes = local::get::<Mailboxes>()?;
        let mailboxes = mailboxes.0.borrow();
        mailboxes.iter().find(|(other, _)| *other == id).map(|(_, mailbox)| Rc::clone(mailbox))
    }

    fn count(&self, change: impl FnOnce(&mut SpreadCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// Makes the current shard's mailbox for a device.
    fn open(id: u64) -> Rc<Self> {
        let mailboxes = local::get::<Mailboxes>().unwrap_or_else(|| {
            let mailboxes = Rc::<Mailboxes>::default();
            local::set(Rc::clone(&mailboxes));
            mailboxes
        });
        let mailbox = Rc::<Self>::default();
        mailboxes.0.borrow_mut().push((id, Rc::clone(&mailbox)));
        mailbox
    }

    /// Puts packets into the current shard's mailbox, if it has one for the device.
    fn deliver(id: u64, errand: Errand, packets: Vec<ForeignPacket>) {
        let Some(mailbox) = Self::find(id).filter(|mailbox| !mailbox.is_closed.get()) else { return };
        let mut queue = match errand {
            Errand::Receive => mailbox.received.borrow_mut(),
            Errand::Send => mailbox.to_send.borrow_mut(),
        };
        for packet in packets {
            if queue.len() < MAX_FORWARDED_PACKETS {
                queue.push_back(packet.into_packet());
            } else {
                mailbox.count(|counters| counters.dropped += 1);
            }
        }
    }
}

/// A message that is to be sent.
type Message = Box<dyn FnOnce() + Send>;

/// Packets on their way to another shard.
struct Outgoing {
    to: ShardId,
    errand: Errand,
    packets: VecDeque<Packet>,
    /// A message for which there was no room.
    refused: Option<Message>,
}

impl Outgoing {
    fn new(to: ShardId, errand: Errand) -> Self {
        Self { to, errand, packets: VecDeque::new(), refused: None }
    }

    fn is_empty(&self) -> bool {
        self.packets.is_empty() && self.refused.is_none()
    }

    /// Takes a packet; answers whether there was room for it.
    fn push(&mut self, packet: Packet) -> bool {
        let has_room = self.packets.len() < MAX_FORWARDED_PACKETS;
        if has_room {
            self.packets.push_back(packet);
        }
        has_room
    }

    /// Sends messages, as far as there is room for them. What is for a shard that has stopped is lost.
    fn flush(&mut self, id: u64) {
        while let Some(message) = self.refused.take().or_else(|| self.next_message(id)) {
            match try_post(self.to, message) {
                Ok(()) => {}
                Err(TryPostError::Full(message)) => {
                    self.refused = Some(message);
                    return;
                }
                Err(TryPostError::Stopped(_)) => self.packets.clear(),
            }
        }
    }

    fn next_message(&mut self, id: u64) -> Option<Message> {
        let count = self.packets.len().min(BATCH);
        let errand = self.errand;
        let batch: Vec<_> = self.packets.drain(..count).map(IntoForeign::into_foreign_here).collect();
        (count > 0).then(|| Box::new(move || Mailbox::deliver(id, errand, batch)) as Message)
    }
}

/// A shard's end of a device that all shards use: what stands before its queue, if it has one.
pub struct SharedQueue {
    device: SharedDevice,
    here: usize,
    queue: Option<Box<dyn Queue>>,
    capabilities: Capabilities,
    mailbox: Rc<Mailbox>,
    /// Packets for each of the shards.
    received: Vec<Outgoing>,
    /// Packets for the shard that sends for this one.
    to_send: Option<Outgoing>,
    /// What came from the queue just now.
    fresh: VecDeque<Packet>,
    copies: CopyCounter,
}

impl SharedQueue {
    pub(super) fn new(device: SharedDevice, queue: Option<Box<dyn Queue>>, capabilities: Capabilities) -> Self {
        let (here, mailbox) = (current::shard_id(), Mailbox::open(device.id));
        let shards = || ShardId::all(current::shard_count());
        let sender = device.sender_for(here);
        let to_send = shards().find(|shard| queue.is_none() && shard.index() == sender);
        Self {
            here: here.index(),
            capabilities,
            mailbox,
            received: shards().map(|shard| Outgoing::new(shard, Errand::Receive)).collect(),
            to_send: to_send.map(|shard| Outgoing::new(shard, Errand::Send)),
            device,
            queue,
            fresh: VecDeque::new(),
            copies: CopyCounter::default(),
        }
    }

    pub(crate) const fn device(&self) -> &SharedDevice {
        &self.device
    }

    /// Gives each packet that has come to its shard.
    fn share_out(&mut self, out: &mut VecDeque<Packet>) {
        while let Some(packet) = self.fresh.pop_front() {
            match steer(&self.device.spread, &packet) {
                To::Finder => out.push_back(packet),
                To::Shard(shard) if shard == self.here => out.push_back(packet),
                To::Shard(shard) => self.forward(shard, packet, |counters| counters.rx_forwarded += 1),
                To::Configured if self.here == CONFIGURED => out.push_back(packet),
                To::Configured => self.forward(CONFIGURED, packet, |counters| counters.rx_told += 1),
                To::All => {
                    let here = self.here;
                    for shard in (0..self.received.len()).filter(|shard| *shard != here) {
                        let copy = copy_of(&packet, &self.copies);
                        self.forward(shard, copy, |counters| counters.rx_told += 1);
                    }
                    out.push_back(packet);
                }
            }
        }
    }

    fn forward(&mut self, shard: usize, packet: Packet, count: impl FnOnce(&mut SpreadCounters)) {
        let Some(outgoing) = self.received.get_mut(shard) else { return };
        if outgoing.push(packet) {
            self.mailbox.count(count);
        } else {
            self.mailbox.count(|counters| counters.dropped += 1);
        }
    }

    fn flush(&mut self) {
        let id = self.device.id;
        self.received.iter_mut().chain(&mut self.to_send).for_each(|outgoing| outgoing.flush(id));
    }
}

impl Drop for SharedQueue {
    /// Lets go of what others have left here, which belongs to them.
    fn drop(&mut self) {
        self.mailbox.is_closed.set(true);
        for queue in [&self.mailbox.received, &self.mailbox.to_send, &self.mailbox.given_back] {
            drop(queue.take());
        }
    }
}

impl Queue for SharedQueue {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> Result<usize, QueueError> {
        let before = out.len();
        out.append(&mut self.mailbox.received.borrow_mut());
        self.fresh.append(&mut self.mailbox.given_back.borrow_mut());
        let result = match &mut self.queue {
            Some(queue) => queue.rx_burst(now, &mut self.fresh, max),
            None => Ok(0),
        };
        self.share_out(out);
        self.flush();
        let count = out.len() - before;
        // What has come is worth more than an error that comes again.
        if count == 0 { result.map(|_| 0) } else { Ok(count) }
    }

    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        let Some(queue) = &mut self.queue else {
            let count = packets.len();
            let outgoing = self.to_send.as_mut().filter(|_| count > 0);
            let Some(outgoing) = outgoing else { return Ok(0) };
            while let Some(packet) = packets.pop_front() {
                if !outgoing.push(packet) {
                    self.mailbox.count(|counters| counters.dropped += 1);
                }
            }
            self.mailbox.count(|counters| counters.tx_forwarded += count as u64);
            self.flush();
            return Ok(count);
        };
        // Those of other shards have waited longer.
        let mut to_send = self.mailbox.to_send.borrow_mut();
        queue.tx_burst(now, &mut to_send)?;
        if to_send.is_empty() { queue.tx_burst(now, packets) } else { Ok(0) }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Readiness<'_> {
        let waits_here =
            [&self.mailbox.received, &self.mailbox.given_back].iter().any(|queue| !queue.borrow().is_empty());
        let waits_there = !self.received.iter().chain(&self.to_send).all(Outgoing::is_empty);
        match &mut self.queue {
            _ if waits_here || waits_there => Readiness::Ready,
            Some(queue) => queue.poll_ready(cx),
            // Messages end sleeps.
            None => Readiness::Woken,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.queue.as_ref()?.deadline()
    }

    fn counters(&self) -> Counters {
        self.queue.as_ref().map(|queue| queue.counters()).unwrap_or_default()
    }

    fn free_unused_memory(&mut self) {
        let Mailbox { received, to_send, given_back, .. } = &*self.mailbox;
        [received, to_send, given_back].into_iter().for_each(|queue| queue.borrow_mut().shrink_to_fit());
        self.received.iter_mut().chain(&mut self.to_send).for_each(|outgoing| outgoing.packets.shrink_to_fit());
        self.fresh.shrink_to_fit();
        if let Some(queue) = &mut self.queue {
            queue.free_unused_memory();
        }
    }
}

impl fmt::Debug for SharedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedQueue")
            .field("here", &self.here)
            .field("counters", &self.mailbox.counters)
            .finish_non_exhaustive()
    }
}
