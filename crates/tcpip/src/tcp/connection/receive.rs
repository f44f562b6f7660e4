//! The receiving side: what arrived, and the window.

use sunstar_packet::{Buffer, BufferMut};
use sunstar_wire::{SackBlock, SackBlocks, Seq};

use super::{Connection, Queues, State};
use crate::tcp::assembler::{Assembler, max_pieces};
use crate::time::Instant;

/// The largest window that the header can hold.
pub(super) const MAX_WINDOW: u32 = 0xffff;

/// At most so many pieces wait for the application, however small, or as many as may wait behind a gap: each may hold a whole frame of the
/// device. They are enough for the usual windows in pieces of 400 bytes.
const MAX_PIECES: usize = 16_384;

/// From so many waiting pieces on small ones are put together, so many at a time: each holds a frame of the device.
pub(super) const COLLAPSE_FROM: usize = 64;
pub(super) const COLLAPSED: usize = 16;
/// What is small, on average.
pub(super) const SMALL_BYTES: usize = 512;

impl Connection {
    /// The next received bytes, in the device's own memory.
    pub fn receive(&mut self) -> Option<Buffer> {
        let data = self.queues.as_mut()?.ready.pop_front()?;
        self.ready_bytes -= length(&data);
        if self.is_synchronized() && !self.has_fin && self.is_room_news() {
            self.acks.at_once();
        }
        Some(data)
    }

    /// Whether the other side should hear of the room at once, since it may be waiting for it: less than half of the window is left, and it
    /// doubles. Otherwise the next acknowledgement tells (as Linux; RFC 9293 §3.8.6.2.2 asks for steps, not for segments).
    fn is_room_news(&self) -> bool {
        let left = if self.rcv_adv.is_after(self.rcv_nxt) { self.rcv_adv - self.rcv_nxt } else { 0 };
        let capacity = self.receive_capacity().min(MAX_WINDOW << self.agreed.rcv_scale.shift());
        if left > capacity / 2 {
            return false;
        }
        let edge = self.window_edge();
        edge - self.rcv_adv >= 2 * self.snd_mss && edge - self.rcv_nxt >= 2 * left
    }

    /// Whether something was dropped, suppressed or found out about the path and not counted yet, as far as one look tells.
    #[inline]
    pub(in crate::tcp) fn has_uncounted(&self) -> bool {
        let is_any = |queues: &Queues| queues.refused | queues.unanswered | queues.board.refused() != 0;
        self.queues.as_deref().is_some_and(is_any) || self.history.is_some()
    }

    /// How many segments were dropped since the last time, since too many pieces wait, and how many edges of reports were not heard,
    /// since what was sent is in as many pieces as may be.
    pub(in crate::tcp) fn take_refused(&mut self) -> [u32; 2] {
        self.queues
            .as_deref_mut()
            .map_or([0; 2], |queues| [core::mem::take(&mut queues.refused), queues.board.take_refused()])
    }

    /// The received byte behind `ahead` others, which all stay where they are; none if so many do not wait.
    pub fn peek(&self, ahead: usize) -> Option<u8> {
        let mut left = ahead;
        for part in &self.queues.as_ref()?.ready {
            if let Some(byte) = part.get(left) {
                return Some(*byte);
            }
            left -= part.len();
        }
        None
    }

    /// How many received bytes wait.
    pub fn receivable(&self) -> u32 {
        self.ready_bytes
    }

    /// Whether the other side has ended its stream, and all of it was received.
    pub fn is_at_end(&self) -> bool {
        self.has_fin && self.ready_bytes == 0
    }

    /// Whether the other side has ended its stream, though there may be bytes to be read before the end.
    pub fn has_peer_ended(&self) -> bool {
        self.has_fin
    }

    /// Bytes that have come in order since the connection began. Counts 48 bits.
    pub fn bytes_received(&self) -> u64 {
        self.totals.received()
    }

    /// Takes in data that begin at `seq`, of which at least a part may be in the window.
    pub(super) fn take_data(&mut self, now: Instant, mut seq: Seq, data: impl Iterator<Item = Buffer>) {
        let most = max_pieces(self.receive_capacity());
        let before = self.rcv_nxt;
        for mut part in data {
            let (begin, len) = (seq, length(&part));
            seq += len;
            if begin.is_before(self.rcv_nxt) {
                let known = (self.rcv_nxt - begin).min(len);
                let kept = if planted::is("old_bytes_kept") { known } else { 0 };
                // Of a segment that brings something new as well.
                let kept = kept + u32::from(planted::is("trimmed_short") && known < len);
                part.advance((known - kept) as usize);
                self.note_duplicate(begin, known);
                self.acks.at_once();
            }
            let begin = begin.max(self.rcv_nxt);
            // What is behind the window comes again when there is room.
            let room = if begin.is_before(self.rcv_adv) { self.rcv_adv - begin } else { 0 };
            part.truncate(room as usize);
            let queues = self.queues.get_or_insert_default();
            if part.is_empty() {
                self.acks.at_once();
            } else if !queues.has_room() && queues.ready.len() >= most {
                queues.refused += 1;
                self.acks.at_once();
            } else if begin == self.rcv_nxt {
                self.take_in_order(part);
            } else {
                let inserted = queues.assembler.get_or_insert_default().insert(begin, part, most);
                queues.refused += u32::from(inserted.refused > 0);
                if let Some(known) = inserted.duplicate {
                    self.note_duplicate(known.left, known.right - known.left);
                }
                let history = self.history();
                history.out_of_order = history.out_of_order.saturating_add(1);
                self.acks.at_once();
                self.acks.be_quick();
            }
        }
        if self.rcv_nxt != before {
            self.on_taken_in_order(now, self.rcv_nxt - before);
        }
    }

    /// A segment has brought so many bytes that are in order now.
    #[inline]
    pub(super) fn on_taken_in_order(&mut self, now: Instant, bytes: u32) {
        self.acks.on_data(now, bytes, self.snd_mss);
        self.on_received(now, bytes);
    }

    /// Takes the next bytes of the stream, and what had waited behind them. [`Connection::on_taken_in_order`] is told when all of a
    /// segment are taken.
    #[inline]
    pub(super) fn take_in_order(&mut self, part: Buffer) {
        let len = length(&part);
        self.rcv_nxt += len;
        self.ready_bytes += len;
        let queues = self.queues.get_or_insert_default();
        queues.ready.push_back(part);
        if queues.ready.len() >= COLLAPSE_FROM {
            queues.collapse();
        }
        if let Some(assembler) = &mut queues.assembler {
            let known = assembler.known_before(self.rcv_nxt);
            let bytes = assembler.take_ready(self.rcv_nxt, &mut queues.ready);
            self.rcv_nxt += bytes;
            self.ready_bytes += bytes;
            if assembler.is_empty() {
                queues.assembler = None;
            }
            // The end of a gap, or of a part of one (RFC 5681 §4.2).
            self.acks.at_once();
            if let Some(known) = known {
                self.note_duplicate(known.left, known.right - known.left);
            }
        }
    }

    /// `len` bytes from `begin` on were there already: the next acknowledgement tells (RFC 2883 §4). One range fits, the first
    /// one, with what follows it.
    pub(super) fn note_duplicate(&mut self, begin: Seq, len: u32) {
        if !self.agreed.has_sack || len == 0 || planted::is("duplicate_untold") {
            return;
        }
        let end = begin + len;
        let noted =
            self.queues.get_or_insert_default().duplicate.get_or_insert(SackBlock { left: begin, right: begin });
        if begin.is_at_or_before(noted.right) && noted.left.is_at_or_before(begin) {
            noted.right = noted.right.max(end);
        }
    }

    /// The other side's stream ends at `seq`, up to which more may have to arrive.
    pub(super) fn take_fin(&mut self, seq: Seq) {
        self.acks.at_once();
        self.peer_fin.get_or_insert(seq);
        self.end_if_complete();
    }

    /// Ends the other side's stream if everything before its end has arrived.
    pub(super) fn end_if_complete(&mut self) {
        if self.has_fin || self.peer_fin != Some(self.rcv_nxt) {
            return;
        }
        self.has_fin = true;
        self.rcv_nxt += 1;
        self.state = match self.state {
            State::SynReceived | State::Established => State::CloseWait,
            State::FinWait1 => State::Closing,
            State::FinWait2 => State::TimeWait,
            other => other,
        };
    }

    /// Where the room ends that there is.
    fn room_edge(&self) -> Seq {
        let waiting = self.ready_bytes + self.assembler().map_or(0, Assembler::bytes);
        let most = MAX_WINDOW << self.agreed.rcv_scale.shift();
        self.rcv_nxt + self.receive_capacity().saturating_sub(waiting).min(most)
    }

    /// Where the window ends if it is told now. It never moves back (RFC 9293 §3.8.6.2.1), and forward only in steps that are
    /// worth a segment (§3.8.6.2.2).
    pub(super) fn window_edge(&self) -> Seq {
        self.window_edge_in(self.room_edge())
    }

    /// The same, where it is known where the room ends.
    #[inline]
    fn window_edge_in(&self, edge: Seq) -> Seq {
        let step = self.snd_mss.min(self.receive_capacity() / 2);
        let is_worth_it = edge.is_after(self.rcv_adv) && edge - self.rcv_adv >= step;
        if is_worth_it { edge } else { self.rcv_adv }
    }

    /// The window for the next segment, as it stands in the header, and from then on the other side's.
    pub(super) fn advertise(&mut self, is_syn: bool) -> u16 {
        let room_edge = self.room_edge();
        let edge = self.window_edge_in(room_edge);
        let room = if edge.is_after(self.rcv_nxt) { edge - self.rcv_nxt } else { 0 };
        let shift = if is_syn { 0 } else { self.agreed.rcv_scale.shift() };
        // Rounded up, since a window that was told must not shrink; but not again and again, beyond all room: by less than the rounding
        // it may (RFC 7323 §2.4).
        let rounded = (room + ((1 << shift) - 1)) >> shift;
        let is_beyond = (self.rcv_nxt + (rounded << shift)).is_after(room_edge + (1 << shift));
        let window = if is_beyond && !planted::is("window_creeps") { room >> shift } else { rounded }.min(MAX_WINDOW);
        self.rcv_adv = self.rcv_adv.max(self.rcv_nxt + (window << shift));
        u16::try_from(window).unwrap_or(u16::MAX)
    }

    pub(super) fn assembler(&self) -> Option<&Assembler> {
        self.queues.as_ref()?.assembler.as_deref()
    }

    /// Whether something came twice, or behind a gap, of which the next segment tells.
    #[inline]
    pub(super) fn has_reports(&self) -> bool {
        let is_any = |queues: &Queues| queues.assembler.is_some() || queues.duplicate.is_some();
        self.agreed.has_sack && self.queues.as_deref().is_some_and(is_any)
    }

    /// Whether something came twice of which the next segment tells.
    #[inline]
    pub(super) fn has_duplicate(&self) -> bool {
        self.queues.as_deref().is_some_and(|queues| queues.duplicate.is_some())
    }

    /// Bytes of the option that does so.
    pub(super) fn report_len(&self) -> u32 {
        let waiting = self.assembler().map_or(0, |assembler| assembler.sack_blocks().len());
        let has_duplicate = self.has_duplicate();
        // What fits beside timestamps (RFC 2018 §3).
        let most = if self.agreed.has_timestamps { 3 } else { 4 };
        4 + 8 * u32::try_from((waiting + usize::from(has_duplicate)).min(most)).unwrap_or(0)
    }

    /// What arrived twice, which is told once, and what arrived behind gaps.
    pub(super) fn take_reports(&mut self) -> SackBlocks {
        let Some(queues) = &mut self.queues else { return SackBlocks::NONE };
        let waiting = queues.assembler.as_deref().map_or(SackBlocks::NONE, Assembler::sack_blocks);
        let Some(twice) = queues.duplicate.take() else { return waiting };
        // Of what is behind gaps, that which contains it comes next (RFC 2883 §4.2).
        let is_around =
            |block: &&SackBlock| twice.left.is_at_or_after(block.left) && twice.right.is_at_or_before(block.right);
        let around = waiting.iter().find(is_around).copied();
        let rest = waiting.iter().copied().filter(|block| Some(*block) != around);
        core::iter::once(twice).chain(around).chain(rest).collect()
    }
}

impl Queues {
    /// Whether another piece may wait for the application, whatever its window.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.ready.len() < MAX_PIECES
    }

    /// A piece waits behind many others, since the application does not read. Of small ones one is made, in memory of its size, so that
    /// what waits takes not much more than what the window says.
    #[cold]
    fn collapse(&mut self) {
        self.apart += 1;
        if usize::from(self.apart) < COLLAPSED {
            return;
        }
        let first = self.ready.len() - COLLAPSED;
        let bytes: usize = self.ready.iter().skip(first).map(|piece| piece.len()).sum();
        self.apart = 0;
        if bytes >= COLLAPSED * SMALL_BYTES || planted::is("small_pieces_kept") {
            return;
        }
        let pieces = self.ready.split_off(first);
        let mut whole = BufferMut::with_capacity(0, bytes);
        for piece in &pieces {
            // There is room: it was made for them.
            let _ = whole.extend_from_slice(piece);
        }
        // It may grow further.
        self.apart = u8::from(bytes < SMALL_BYTES);
        self.ready.push_back(whole.freeze());
    }
}

fn length(data: &Buffer) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}
