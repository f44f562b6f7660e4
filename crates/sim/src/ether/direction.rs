//! One direction of a link: the queue, the line, and what happens on it.

use std::collections::VecDeque;
use std::time::Duration;

use sunstar_executor::Instant;

use super::frame::{ETHERNET_BYTES, Frame};
use super::options::LinkOptions;
use crate::options::draw_time;
use crate::random::Random;

/// What has happened on all links of a world, or on one direction of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkCounters {
    /// Frames that were handed to the link.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that have left it at the other end.
    pub delivered: u64,
    /// Dropped since the queue was full.
    pub overflowed: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Longer than the black hole lets through.
    pub swallowed: u64,
    /// Doubled.
    pub duplicated: u64,
    /// Of which a part came before.
    pub overlapping: u64,
    /// Overtaken by those behind.
    pub reordered: u64,
    /// With a wrong bit.
    pub corrupted: u64,
}

impl LinkCounters {
    /// The sums.
    pub(super) const fn plus(&self, other: &Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            bytes: self.bytes + other.bytes,
            delivered: self.delivered + other.delivered,
            overflowed: self.overflowed + other.overflowed,
            lost: self.lost + other.lost,
            swallowed: self.swallowed + other.swallowed,
            duplicated: self.duplicated + other.duplicated,
            overlapping: self.overlapping + other.overlapping,
            reordered: self.reordered + other.reordered,
            corrupted: self.corrupted + other.corrupted,
        }
    }
}

/// A frame under way, and when it arrives.
type Due = (Instant, Frame);

/// One direction of a link.
#[derive(Debug)]
pub(super) struct Direction {
    pub(super) options: LinkOptions,
    random: Random,
    /// Frames in the queue and on the line: when each has left, and how long it is.
    leaving: VecDeque<(Instant, usize)>,
    queued_bytes: usize,
    busy_until: Instant,
    /// By arrival.
    under_way: VecDeque<Due>,
    /// When the last one arrives of those that keep their order.
    last_due: Instant,
    is_bad: bool,
    /// When the event comes that lets frames arrive.
    pub(super) alarm: Option<Instant>,
    pub(super) counters: LinkCounters,
}

impl Direction {
    pub(super) fn new(options: LinkOptions, random: Random) -> Self {
        Self {
            options,
            random,
            leaving: VecDeque::new(),
            queued_bytes: 0,
            busy_until: Instant::ORIGIN,
            under_way: VecDeque::new(),
            last_due: Instant::ORIGIN,
            is_bad: false,
            alarm: None,
            counters: LinkCounters::default(),
        }
    }

    /// When there is room for a frame in the queue: none if there is now.
    pub(super) fn full_until(&mut self, now: Instant) -> Option<Instant> {
        self.pass(now);
        let is_full = self.leaving.len() >= self.options.queue_frames || self.queued_bytes >= self.options.queue_bytes;
        self.leaving.front().map(|(at, _)| *at).filter(|_| is_full)
    }

    /// What has left the queue.
    fn pass(&mut self, now: Instant) {
        while let Some((_, bytes)) = self.leaving.pop_front_if(|(at, _)| *at <= now) {
            self.queued_bytes -= bytes;
        }
    }

    /// Takes a frame, if the queue has room for it or the sender `has_asked` for that; answers whether it has.
    pub(super) fn admit(&mut self, now: Instant, frame: Frame, has_asked: bool) -> bool {
        self.counters.frames += 1;
        self.counters.bytes += frame.len() as u64;
        let Some(left) = self.enqueue(now, frame.len(), has_asked) else {
            self.counters.overflowed += 1;
            return false;
        };
        if self.options.black_hole_bytes.is_some_and(|most| frame.len() > most + ETHERNET_BYTES) {
            self.counters.swallowed += 1;
        } else if self.is_lost() {
            self.counters.lost += 1;
        } else {
            self.carry(left, frame);
        }
        true
    }

    /// When the last bit of a frame has been put on the line; none if there is no room for it.
    fn enqueue(&mut self, now: Instant, bytes: usize, has_asked: bool) -> Option<Instant> {
        let Some(rate) = self.options.rate_bits else { return Some(now) };
        self.pass(now);
        // One frame fits into any queue, or nothing would ever get through.
        let is_full = self.leaving.len() >= self.options.queue_frames
            || self.queued_bytes.saturating_add(bytes) > self.options.queue_bytes;
        if is_full && !has_asked && !self.leaving.is_empty() && !planted::is("sim_queue_unbounded") {
            return None;
        }
        let nanos = u64::try_from(bytes as u128 * 8_000_000_000 / u128::from(rate.max(1))).unwrap_or(u64::MAX);
        self.busy_until = self.busy_until.max(now) + Duration::from_nanos(nanos);
        self.leaving.push_back((self.busy_until, bytes));
        self.queued_bytes += bytes;
        Some(self.busy_until)
    }

    fn is_lost(&mut self) -> bool {
        let random = &mut self.random;
        let by_burst = self.options.burst.is_some_and(|burst| {
            let turn = if self.is_bad { burst.end } else { burst.begin };
            self.is_bad ^= turn.happens(random);
            self.is_bad && burst.loss.happens(random)
        });
        self.options.loss.happens(random) || by_burst
    }

    /// A frame has been put on the line, and is not lost.
    fn carry(&mut self, left: Instant, mut frame: Frame) {
        let LinkOptions { latency, jitter, corruption, duplication, overlap, reorder, .. } = self.options;
        if corruption.happens(&mut self.random)
            && let Some(damaged) = frame.damaged(&mut self.random)
        {
            self.counters.corrupted += 1;
            frame = damaged;
        }
        let mut due = left + latency;
        if !jitter.is_zero() {
            due += draw_time(&mut self.random, &(Duration::ZERO..=jitter));
        }
        if duplication.happens(&mut self.random) {
            self.counters.duplicated += 1;
            let later = draw_time(&mut self.random, &self.options.reorder_by);
            self.hold(due + later, frame.clone());
        }
        if overlap.happens(&mut self.random)
            && let Some(part) = frame.part(&mut self.random)
        {
            self.counters.overlapping += 1;
            self.hold(due, part);
        }
        if reorder.happens(&mut self.random) {
            self.counters.reordered += 1;
            due += draw_time(&mut self.random, &self.options.reorder_by);
        } else {
            due = due.max(self.last_due);
            self.last_due = due;
        }
        self.hold(due, frame);
    }

    /// Puts a frame behind those that arrive no later.
    fn hold(&mut self, due: Instant, frame: Frame) {
        let behind = self.under_way.iter().rev().take_while(|(at, _)| *at > due).count();
        let place = self.under_way.len() - behind;
        if behind == 0 {
            self.under_way.push_back((due, frame));
        } else {
            self.under_way.insert(place, (due, frame));
        }
    }

    /// The next frame that has arrived.
    pub(super) fn arrived(&mut self, now: Instant) -> Option<Frame> {
        let (_, frame) = self.under_way.pop_front_if(|(at, _)| *at <= now)?;
        self.counters.delivered += 1;
        Some(frame)
    }

    /// When the next one arrives.
    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.under_way.front().map(|(at, _)| *at)
    }
}
