//! What arrived before what precedes it.

use alloc::collections::VecDeque;

use sunstar_packet::Buffer;
use sunstar_wire::{SackBlock, SackBlocks, Seq};

#[cfg(test)]
mod tests;

/// At most so many pieces are kept, however small, and one for each [`PIECE_BYTES`] of the room that there may be: each may hold a whole
/// frame of the device.
pub const MAX_PIECES: usize = 4_096;

/// Of a window that has grown, pieces of so many bytes can all be kept. Frames of Ethernet carry more, and no piece holds more than twice as
/// much memory.
pub const PIECE_BYTES: u32 = 1_024;

/// How many pieces are kept of who may receive so many bytes.
pub fn max_pieces(capacity: u32) -> usize {
    MAX_PIECES + usize::try_from(capacity / PIECE_BYTES).unwrap_or(usize::MAX - MAX_PIECES)
}

/// Received bytes with gaps before them, in the device's buffers.
///
/// Exists only while there are gaps. It knows which ranges to report, the newest first (RFC 2018 §4).
#[derive(Debug, Default)]
pub struct Assembler {
    /// By sequence number; none is empty, and no two overlap.
    pieces: VecDeque<Piece>,
    bytes: u32,
    /// The ranges that were reported last, the newest first.
    recent: SackBlocks,
}

#[derive(Debug)]
struct Piece {
    seq: Seq,
    data: Buffer,
}

impl Piece {
    fn len(&self) -> u32 {
        length(&self.data)
    }

    fn end(&self) -> Seq {
        self.seq + self.len()
    }
}

/// What became of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// Bytes that were not there before.
    pub bytes: u32,
    /// The first part that was there already: a duplicate to report (RFC 2883 §4).
    pub duplicate: Option<SackBlock>,
    /// Bytes that were dropped, since there were as many pieces as may be.
    pub refused: u32,
}

impl Assembler {
    /// How many bytes wait.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The ranges that wait, the one that changed last first.
    pub fn sack_blocks(&self) -> SackBlocks {
        if planted::is("sack_block_lost") { self.recent.iter().skip(1).copied().collect() } else { self.recent }
    }

    /// Keeps what of a segment is new, in at most `most` pieces altogether. It lies behind the next expected number, and in the window.
    pub fn insert(&mut self, seq: Seq, mut data: Buffer, most: usize) -> Inserted {
        let mut inserted = Inserted::default();
        let mut at = self.place_of(seq);
        let mut seq = seq;
        if let Some(before) = at.checked_sub(1) {
            self.skip(before, &mut seq, &mut data, &mut inserted);
        }
        while !data.is_empty() {
            let room = self.pieces.get(at).map_or(u32::MAX, |next| next.seq - seq);
            let new = data.split_to(data.len().min(room as usize));
            if !new.is_empty() {
                seq += length(&new);
                if self.pieces.len() >= most {
                    inserted.refused += length(&new);
                } else {
                    self.add(at, seq - length(&new), new, &mut inserted);
                    at += 1;
                }
            }
            if !data.is_empty() {
                self.skip(at, &mut seq, &mut data, &mut inserted);
                at += 1;
            }
        }
        // What contains a duplicate is told with it (RFC 2883 §4.2), however long ago it came.
        if let Some(known) = inserted.duplicate
            && let Some(at) = self.place_of(known.left).checked_sub(1)
        {
            self.report(at);
        }
        inserted
    }

    /// Behind the pieces that begin at a number or before. Mostly that is the end.
    fn place_of(&self, seq: Seq) -> usize {
        let is_before = |piece: &Piece| piece.seq.is_at_or_before(seq);
        if self.pieces.back().is_none_or(is_before) {
            self.pieces.len()
        } else {
            self.pieces.partition_point(is_before)
        }
    }

    /// Hands out what has no gap before it any more, and answers how many bytes that are.
    pub fn take_ready(&mut self, rcv_nxt: Seq, out: &mut impl Extend<Buffer>) -> u32 {
        let mut next = rcv_nxt;
        while let Some(mut piece) = self.pieces.pop_front_if(|piece| piece.seq.is_at_or_before(next)) {
            self.bytes -= piece.len();
            // What came in order meanwhile may have covered the beginning, or all of it.
            let known = if planted::is("overlap_kept") { 0 } else { (next - piece.seq).min(piece.len()) };
            piece.data.advance(known as usize);
            next += length(&piece.data);
            out.extend((!piece.data.is_empty()).then_some(piece.data));
        }
        self.recent = self.recent.iter().copied().filter(|block| block.right.is_after(next)).collect();
        next - rcv_nxt
    }

    /// The first range that waits here and has come in order meanwhile, up to `rcv_nxt`: it came twice.
    pub fn known_before(&self, rcv_nxt: Seq) -> Option<SackBlock> {
        let left = self.pieces.front().map(|first| first.seq).filter(|left| left.is_before(rcv_nxt))?;
        let run = |end: Seq, piece: &Piece| (piece.seq == end).then(|| piece.end());
        let right = self.pieces.iter().try_fold(left, |end, piece| run(end, piece).ok_or(end));
        Some(SackBlock { left, right: right.unwrap_or_else(|end| end).min(rcv_nxt) })
    }

    /// Drops from `data`, which begins at `seq`, what the piece at `at` has.
    fn skip(&self, at: usize, seq: &mut Seq, data: &mut Buffer, inserted: &mut Inserted) {
        let end = self.pieces[at].end();
        if !end.is_after(*seq) {
            return;
        }
        let known = (end - *seq).min(length(data));
        inserted.duplicate.get_or_insert(SackBlock { left: *seq, right: *seq + known });
        data.advance(known as usize);
        *seq += known;
    }

    fn add(&mut self, at: usize, seq: Seq, data: Buffer, inserted: &mut Inserted) {
        let len = length(&data);
        inserted.bytes += len;
        self.bytes += len;
        self.pieces.insert(at, Piece { seq, data });
        self.report(at);
    }

    /// Puts the range around a piece in front of those that are reported.
    fn report(&mut self, at: usize) {
        // What was reported last grows piece by piece, and need not be walked along.
        let before = self.recent.first().filter(|block| block.right == self.pieces[at].seq).copied();
        let (mut first, mut last) = (at, at);
        while before.is_none() && first > 0 && self.pieces[first - 1].end() == self.pieces[first].seq {
            first -= 1;
        }
        while self.pieces.get(last + 1).is_some_and(|next| next.seq == self.pieces[last].end()) {
            last += 1;
        }
        let left = before.map_or(self.pieces[first].seq, |block| block.left);
        let block = SackBlock { left, right: self.pieces[last].end() };
        let is_apart = |other: &SackBlock| {
            other.right.is_before(block.left) || other.left.is_after(block.right) || planted::is("sack_not_merged")
        };
        let others = self.recent.iter().copied().filter(is_apart);
        self.recent = core::iter::once(block).chain(others).collect();
    }
}

/// Buffers of packets are shorter than 4 GiB.
fn length(data: &Buffer) -> u32 {
    u32::try_from(data.len()).unwrap_or(u32::MAX)
}
