//! What happens to packets in one direction.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sunstar_executor::Instant;
use sunstar_packet::{CopyCounter, Packet};

use super::options::FaultOptions;
use super::random::Random;
use crate::cut::Cut;
use crate::edit;

/// What was done to packets in one direction. Of a large packet each of those counts that it stands for on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounters {
    /// Packets that came.
    pub packets: u64,
    /// Lost by chance.
    pub dropped: u64,
    /// Doubled.
    pub duplicated: u64,
    /// Held back longer than those behind them.
    pub reordered: u64,
    /// With a wrong bit.
    pub corrupted: u64,
    /// Lost because too many were under way.
    pub overflowed: u64,
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug)]
struct Fate {
    is_dropped: bool,
    is_duplicated: bool,
    is_reordered: bool,
    /// The bit that is wrong.
    corrupted: Option<u64>,
}

impl Fate {
    const fn is_good(self) -> bool {
        !self.is_dropped && !self.is_duplicated && !self.is_reordered && self.corrupted.is_none()
    }
}

/// A packet under way, and how many of the wire it stands for.
#[derive(Debug)]
struct Held {
    packet: Packet,
    count: usize,
}

/// Packets of one direction that are under way, and what becomes of those that come.
#[derive(Debug)]
pub(super) struct Direction {
    options: FaultOptions,
    /// One generator for each purpose, so that one fault more changes nothing about the others.
    drop: Random,
    duplicate: Random,
    reorder: Random,
    corrupt: Random,
    jitter: Random,
    /// By the time at which they arrive, then by the order in which they came.
    held: BTreeMap<(Instant, u64), Held>,
    /// How many packets of the wire those are.
    under_way: usize,
    /// What happens to the pieces of a large packet; empty between calls.
    fates: Vec<Fate>,
    sequence: u64,
    /// When the last one arrives of those that keep their order.
    last_due: Instant,
    /// Until when the line is busy with those before.
    busy_until: Instant,
    pub(super) counters: FaultCounters,
}

impl Direction {
    /// `stream` tells the directions of all queues apart.
    pub(super) const fn new(options: FaultOptions, stream: u64) -> Self {
        Self {
            options,
            drop: Random::new(options.seed, stream * 8),
            duplicate: Random::new(options.seed, stream * 8 + 1),
            reorder: Random::new(options.seed, stream * 8 + 2),
            corrupt: Random::new(options.seed, stream * 8 + 3),
            jitter: Random::new(options.seed, stream * 8 + 4),
            held: BTreeMap::new(),
            under_way: 0,
            fates: Vec::new(),
            sequence: 0,
            last_due: Instant::ORIGIN,
            busy_until: Instant::ORIGIN,
            counters: FaultCounters {
                packets: 0,
                dropped: 0,
                duplicated: 0,
                reordered: 0,
                corrupted: 0,
                overflowed: 0,
            },
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// When the next packet arrives.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.held.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes a packet that enters the line. A large one is cut, unless all of it fares alike.
    pub(super) fn admit(&mut self, now: Instant, packet: Packet, copies: &CopyCounter) {
        let Some(cut) = Cut::of(&packet) else {
            let fate = self.draw(packet.len());
            return self.meet(now, packet, fate, copies);
        };
        let mut fates = std::mem::take(&mut self.fates);
        fates.extend(cut.lens().map(|len| self.draw(len)));
        let arrives_at_once = self.options.rate_bits.is_none() && self.options.jitter.is_zero();
        // Nothing is under way on a line that takes no time.
        let has_room = self.options.delay.is_zero() || self.under_way + cut.count() <= self.options.limit_packets;
        if arrives_at_once && has_room && fates.iter().all(|fate| fate.is_good()) {
            self.hold(now, Held { packet, count: cut.count() }, false);
        } else {
            for (piece, fate) in cut.pieces(packet).zip(&fates) {
                self.meet(now, piece, *fate, copies);
            }
        }
        fates.clear();
        self.fates = fates;
    }

    /// Draws what happens to a packet: for each, in the same order, whatever became of those before.
    fn draw(&mut self, len: usize) -> Fate {
        self.counters.packets += 1;
        let is_dropped = self.options.drop.happens(&mut self.drop);
        let is_duplicated = self.options.duplicate.happens(&mut self.duplicate);
        let is_reordered = self.options.reorder.happens(&mut self.reorder);
        let is_corrupted = self.options.corrupt.happens(&mut self.corrupt);
        let bit = self.corrupt.below(len as u64 * 8);
        Fate { is_dropped, is_duplicated, is_reordered, corrupted: is_corrupted.then_some(bit) }
    }

    fn meet(&mut self, now: Instant, mut packet: Packet, fate: Fate, copies: &CopyCounter) {
        if fate.is_dropped {
            self.counters.dropped += 1;
            return;
        }
        if let Some(bit) = fate.corrupted {
            self.counters.corrupted += 1;
            packet = flip(packet, bit, copies);
        }
        if fate.is_duplicated {
            self.counters.duplicated += 1;
            self.hold(now, Held { packet: edit::duplicate(&packet), count: 1 }, false);
        }
        self.hold(now, Held { packet, count: 1 }, fate.is_reordered);
    }

    fn hold(&mut self, now: Instant, held: Held, is_reordered: bool) {
        let FaultOptions { delay, jitter, rate_bits, limit_packets, .. } = self.options;
        // What arrives at once is not under way.
        let takes_time = is_reordered || rate_bits.is_some() || !delay.is_zero() || !jitter.is_zero();
        if takes_time && self.under_way >= limit_packets {
            self.counters.overflowed += 1;
            return;
        }
        let mut due = self.transmitted(now, held.packet.len()) + delay;
        let jitter = u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX);
        due += Duration::from_nanos(self.jitter.below(jitter));
        if is_reordered {
            self.counters.reordered += 1;
            due += self.options.reorder_by;
        } else {
            due = due.max(self.last_due);
            self.last_due = due;
        }
        self.under_way += held.count;
        self.held.insert((due, self.sequence), held);
        self.sequence += 1;
    }

    /// When the last bit of a packet has been put on the line.
    fn transmitted(&mut self, now: Instant, bytes: usize) -> Instant {
        let Some(rate) = self.options.rate_bits else { return now };
        let nanos = bytes as u128 * 8 * 1_000_000_000 / u128::from(rate.get());
        self.busy_until = self.busy_until.max(now) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.busy_until
    }

    /// Puts up to `max` packets that have arrived behind those in `out`; answers how many.
    pub(super) fn release(&mut self, now: Instant, out: &mut VecDeque<Packet>, max: usize) -> usize {
        let mut count = 0;
        while count < max
            && let Some(entry) = self.held.first_entry()
            && entry.key().0 <= now
        {
            let Held { packet, count: of_wire } = entry.remove();
            self.under_way -= of_wire;
            out.push_back(packet);
            count += 1;
        }
        count
    }
}

/// Makes one bit of a packet wrong. Its checksum is completed before, since a partial one would hide the damage.
fn flip(packet: Packet, bit: u64, copies: &CopyCounter) -> Packet {
    let packet = edit::complete_checksum(packet, copies);
    let at = usize::try_from(bit / 8).unwrap_or_default();
    let mut byte = [0];
    if packet.copy_to_slice(at, &mut byte).is_err() {
        return packet;
    }
    edit::overwrite(packet, at, &[byte[0] ^ (1 << (bit % 8))], copies)
}
