//! Packets that come in pieces (RFC 791 §3.2, RFC 815, RFC 8200 §4.5).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use sunstar_packet::{BufferMut, CopyCounter, MAX_BUFFERS, Offload, Packet};

use crate::drops::{DropReason, Drops};
use crate::head::{Head, PieceKey};
use crate::interface::InterfaceId;
use crate::time::Instant;

#[cfg(test)]
mod tests;

/// How much is kept of packets of which not all has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReassemblyLimits {
    /// Packets; for a further one the oldest is dropped.
    pub packets: usize,
    /// Bytes, each fragment counted as at least the 2 KiB of the frame that it may keep; at the bound the oldest packets are
    /// dropped.
    pub bytes: usize,
}

impl ReassemblyLimits {
    /// As Linux (`ipfrag_high_thresh`).
    pub const DEFAULT: Self = Self { packets: 256, bytes: 4 << 20 };
}

/// For so long fragments are kept (RFC 1122 §3.3.2 asks for 60 to 120 s, from slower days; as `ipfrag_time` of Linux).
pub(crate) const LIFETIME: Duration = Duration::from_secs(30);

/// As many pieces as a packet of 64 KiB has on the narrowest link, and some.
const MAX_FRAGMENTS: usize = 128;

/// What a fragment costs at least.
const FRAME_BYTES: usize = 2_048;

#[derive(Debug)]
struct Incomplete {
    key: PieceKey,
    interface: InterfaceId,
    deadline: Instant,
    /// Of the fragment with offset 0.
    header: Option<Head>,
    /// By offset, none overlapping.
    parts: Vec<(usize, Packet)>,
    /// Bytes that are there, and in all if that is known.
    received: usize,
    total: Option<usize>,
    cost: usize,
    /// Nothing of it is wanted any more.
    is_poisoned: bool,
}

/// A packet of which not all has come in time.
#[derive(Debug)]
pub(crate) struct Expired {
    pub(crate) interface: InterfaceId,
    /// Its first fragment, if that is there.
    pub(crate) first: Option<(Head, Packet)>,
}

#[derive(Debug)]
pub(crate) struct Reassembly {
    limits: ReassemblyLimits,
    /// The oldest first; all live equally long.
    incomplete: VecDeque<Incomplete>,
    cost: usize,
}

impl Reassembly {
    pub(crate) fn new(limits: ReassemblyLimits) -> Self {
        Self { limits, incomplete: VecDeque::new(), cost: 0 }
    }

    /// How many packets are incomplete, and what is counted of their bytes.
    pub(crate) fn level(&self) -> (usize, usize) {
        (self.incomplete.len(), self.cost)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.incomplete.front().map(|oldest| oldest.deadline)
    }

    /// A packet that has come to the end of its time.
    pub(crate) fn poll_expired(&mut self, now: Instant, drops: &mut Drops) -> Option<Expired> {
        if self.deadline()? > now {
            return None;
        }
        let mut oldest = self.remove(0)?;
        drops.add_many(DropReason::FragmentTimeout, oldest.parts.len());
        let has_first = oldest.parts.first().is_some_and(|(offset, _)| *offset == 0);
        let header = oldest.header.filter(|_| has_first);
        Some(Expired {
            interface: oldest.interface,
            first: header.map(|header| (header, oldest.parts.swap_remove(0).1)),
        })
    }

    /// A fragment has come. Answers with the packet if it is complete now.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        header: &Head,
        payload: Packet,
        drops: &mut Drops,
        copies: &CopyCounter,
    ) -> Result<Option<(Head, Packet)>, DropReason> {
        let (offset, len) = (usize::from(header.fragment().offset()), payload.len());
        let has_more = header.fragment().has_more();
        if len == 0 || (has_more && len % 8 != 0) || offset + len > header.max_payload() {
            return Err(DropReason::FragmentMalformed);
        }
        let cost = len.max(FRAME_BYTES);
        self.make_room(cost, drops);
        let at = self.find_or_add(now, interface, header, drops);
        let incomplete = self.incomplete.get_mut(at).ok_or(DropReason::FragmentMemory)?;
        if let Err(reason) = incomplete.insert(header, offset, payload, has_more) {
            if reason != DropReason::FragmentDuplicate {
                drops.add_many(reason, incomplete.parts.len());
                self.cost -= incomplete.poison();
            }
            return Err(reason);
        }
        incomplete.cost += cost;
        self.cost += cost;
        if incomplete.total != Some(incomplete.received) {
            return Ok(None);
        }
        Ok(self.remove(at).and_then(|complete| complete.join(copies)))
    }

    fn find_or_add(&mut self, now: Instant, interface: InterfaceId, header: &Head, drops: &mut Drops) -> usize {
        let key = header.piece_key();
        if let Some(at) = self.incomplete.iter().position(|other| other.key == key) {
            return at;
        }
        if self.incomplete.len() >= self.limits.packets {
            self.drop_oldest(drops);
        }
        self.incomplete.push_back(Incomplete {
            key,
            interface,
            deadline: now + LIFETIME,
            header: None,
            parts: Vec::new(),
            received: 0,
            total: None,
            cost: 0,
            is_poisoned: false,
        });
        self.incomplete.len() - 1
    }

    fn make_room(&mut self, cost: usize, drops: &mut Drops) {
        while self.cost + cost > self.limits.bytes && !self.incomplete.is_empty() {
            self.drop_oldest(drops);
        }
    }

    fn drop_oldest(&mut self, drops: &mut Drops) {
        let dropped = self.remove(0).map_or(0, |oldest| oldest.parts.len());
        drops.add_many(DropReason::FragmentMemory, dropped);
    }

    fn remove(&mut self, at: usize) -> Option<Incomplete> {
        let removed = self.incomplete.remove(at)?;
        self.cost -= removed.cost;
        Some(removed)
    }
}

impl Incomplete {
    /// Puts a fragment in its place.
    fn insert(&mut self, header: &Head, offset: usize, payload: Packet, has_more: bool) -> Result<(), DropReason> {
        if self.is_poisoned {
            return Err(DropReason::FragmentOverlap);
        }
        let len = payload.len();
        let end = offset + len;
        let at = self.parts.partition_point(|(other, _)| *other < offset);
        let previous_end = at.checked_sub(1).map_or(0, |before| self.parts[before].0 + self.parts[before].1.len());
        let next = self.parts.get(at);
        let is_last_known = self.total.is_some_and(|total| total == end) != has_more;
        if next.is_some_and(|(other, part)| *other == offset && part.len() == len) && is_last_known {
            return Err(DropReason::FragmentDuplicate);
        }
        let is_overlapping = previous_end > offset || next.is_some_and(|(other, _)| *other < end);
        if is_overlapping && !planted::is("fragments_overlap") {
            return Err(DropReason::FragmentOverlap);
        }
        let is_beyond = self.total.is_some_and(|total| end > total || !has_more);
        let cuts_others = !has_more && next.is_some();
        if is_beyond || cuts_others {
            return Err(DropReason::FragmentMalformed);
        }
        if self.parts.len() >= MAX_FRAGMENTS {
            return Err(DropReason::FragmentMemory);
        }
        if !has_more {
            self.total = Some(end);
        }
        if offset == 0 {
            self.header = Some(header.clone());
        }
        self.received += len;
        self.parts.insert(at, (offset, payload));
        Ok(())
    }

    /// Drops what has come and takes no more (RFC 5722 §4). Answers what that had cost.
    fn poison(&mut self) -> usize {
        self.is_poisoned = true;
        self.parts = Vec::new();
        core::mem::take(&mut self.cost)
    }

    /// The whole packet. If its bytes lie in more buffers than a packet has, they are copied.
    fn join(self, copies: &CopyCounter) -> Option<(Head, Packet)> {
        let header = self.header?.into_whole();
        let buffers: usize = self.parts.iter().map(|(_, part)| part.buffers().len()).sum();
        let parts = self.parts.into_iter().map(|(_, part)| part);
        if buffers > MAX_BUFFERS {
            copies.count(self.received);
            let mut joined = BufferMut::with_capacity(0, self.received);
            for buffer in parts.flat_map(Packet::into_buffers) {
                // There is room: it was made for them.
                let _ = joined.extend_from_slice(&buffer);
            }
            return Some((header, Packet::from(joined.freeze())));
        }
        let mut whole = Packet::new();
        for mut part in parts {
            // There is room: it was counted.
            let _ = whole.append(&mut part);
        }
        // No device has seen the whole.
        whole.offload = Offload::default();
        Some((header, whole))
    }
}
