//! What happens to packets in one direction.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sunstar_executor::Instant;
use sunstar_packet::{CopyCounter, Packet};

use super::options::FaultOptions;
use super::random::Random;
use crate::edit;

/// What was done to packets in one direction.
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
    held: BTreeMap<(Instant, u64), Packet>,
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

    /// Takes a packet that enters the line.
    pub(super) fn admit(&mut self, now: Instant, mut packet: Packet, copies: &CopyCounter) {
        self.counters.packets += 1;
        // What happens to a packet is drawn for each, in the same order, whatever became of those before.
        let is_dropped = self.options.drop.happens(&mut self.drop);
        let is_duplicated = self.options.duplicate.happens(&mut self.duplicate);
        let is_reordered = self.options.reorder.happens(&mut self.reorder);
        let is_corrupted = self.options.corrupt.happens(&mut self.corrupt);
        let bit = self.corrupt.below(packet.len() as u64 * 8);
        if is_dropped {
            self.counters.dropped += 1;
            return;
        }
        if is_corrupted {
            self.counters.corrupted += 1;
            packet = flip(packet, bit, copies);
        }
        if is_duplicated {
            self.counters.duplicated += 1;
            self.hold(now, edit::duplicate(&packet), false);
        }
        self.hold(now, packet, is_reordered);
    }

    fn hold(&mut self, now: Instant, packet: Packet, is_reordered: bool) {
        if self.held.len() >= self.options.limit_packets {
            self.counters.overflowed += 1;
            return;
        }
        let mut due = self.transmitted(now, packet.len()) + self.options.delay;
        let jitter = u64::try_from(self.options.jitter.as_nanos()).unwrap_or(u64::MAX);
        due += Duration::from_nanos(self.jitter.below(jitter));
        if is_reordered {
            self.counters.reordered += 1;
            due += self.options.reorder_by;
        } else {
            due = due.max(self.last_due);
            self.last_due = due;
        }
        self.held.insert((due, self.sequence), packet);
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
            out.push_back(entry.remove());
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
