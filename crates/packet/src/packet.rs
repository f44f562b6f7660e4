//! A packet: a short chain of buffers, and what the device has to do with it.

use core::cell::Cell;
use core::fmt;
use smallvec::SmallVec;

use crate::block::{OutOfMemory, allocation_failed};
use crate::buffer::Buffer;
use crate::buffer_mut::{BufferMut, TooShort};
use crate::foreign::ForeignBuffer;
use crate::home::HomeOwner;
use crate::offload::Offload;

#[cfg(all(test, not(loom)))]
mod tests;

/// A packet has at most this many buffers.
///
/// Enough for 64 KiB put together from Ethernet frames, or for as many scattered pieces as devices take.
pub const MAX_BUFFERS: usize = 64;

/// So many buffers are kept in the packet itself; longer chains take memory of the heap.
const INLINE_BUFFERS: usize = 3;

/// Room in front of what is copied or written to new memory here, for the headers of lower layers.
const HEADROOM_BYTES: usize = 128;

/// The chain has [`MAX_BUFFERS`] already; the buffer that was one too many comes back.
#[derive(Debug)]
pub struct ChainFull(pub Buffer);

impl fmt::Display for ChainFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a packet has at most {MAX_BUFFERS} buffers")
    }
}

impl core::error::Error for ChainFull {}

/// The chains of two packets are too long for one, see [`MAX_BUFFERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyBuffers;

impl fmt::Display for TooManyBuffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a packet has at most {MAX_BUFFERS} buffers")
    }
}

impl core::error::Error for TooManyBuffers {}

/// Counts what had to be copied where a view had to be contiguous; one per shard or per user.
#[derive(Debug, Default)]
pub struct CopyCounter {
    copies: Cell<u64>,
    bytes: Cell<u64>,
}

impl CopyCounter {
    /// How often something was copied.
    pub fn copies(&self) -> u64 {
        self.copies.get()
    }

    /// How many bytes were copied.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Takes note that so many bytes were copied.
    pub fn count(&self, bytes: usize) {
        self.copies.set(self.copies.get() + 1);
        self.bytes.set(self.bytes.get() + bytes as u64);
    }
}

/// A chain of at most [`MAX_BUFFERS`] buffers, none of them empty, with offload metadata.
#[derive(Default)]
pub struct Packet {
    chain: SmallVec<[Buffer; INLINE_BUFFERS]>,
    len: usize,
    /// What the device has done or shall do. Its positions follow when bytes are put in front or cut off there.
    pub offload: Offload,
}

impl Packet {
    /// A packet without bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes the packet has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the packet has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chain, first bytes first.
    pub fn buffers(&self) -> &[Buffer] {
        &self.chain
    }

    /// The chain, without its metadata.
    pub fn into_buffers(self) -> impl ExactSizeIterator<Item = Buffer> {
        self.chain.into_iter()
    }

    /// Takes the chain out; the packet has no bytes then, and its metadata stays as it is.
    pub fn drain(&mut self) -> impl Iterator<Item = Buffer> {
        self.len = 0;
        self.chain.drain(..)
    }

    /// Takes out what is behind the first `count` bytes, if that is something, and lies in one buffer that has the other bytes too or none of
    /// them. The packet has no bytes then, and its metadata stays as it is; otherwise nothing has changed.
    #[inline]
    pub fn take_behind(&mut self, count: usize) -> Option<Buffer> {
        match &mut self.chain[..] {
            [first, _] if first.len() == count => {}
            [only] if only.len() > count => only.advance(count),
            _ => return None,
        }
        let last = self.chain.pop();
        self.chain.clear();
        self.len = 0;
        last
    }

    /// Drops all bytes, and the metadata.
    pub fn clear(&mut self) {
        self.chain.clear();
        self.len = 0;
        self.offload = Offload::default();
    }

    /// Puts a buffer behind; an empty one is dropped.
    ///
    /// # Errors
    /// The buffer comes back when the chain is full.
    // Handles that were just written in three pieces are not passed on as two: the processor would have to wait for them.
    #[inline(always)]
    pub fn push_back(&mut self, buffer: Buffer) -> Result<(), ChainFull> {
        if buffer.is_empty() {
            return Ok(());
        }
        if self.chain.len() == MAX_BUFFERS {
            return Err(ChainFull(buffer));
        }
        self.len += buffer.len();
        self.chain.push(buffer);
        Ok(())
    }

    /// Puts a buffer in front; an empty one is dropped.
    ///
    /// # Errors
    /// The buffer comes back when the chain is full.
    pub fn push_front(&mut self, buffer: Buffer) -> Result<(), ChainFull> {
        let count = buffer.len();
        if buffer.is_empty() {
            return Ok(());
        }
        if self.chain.len() == MAX_BUFFERS {
            return Err(ChainFull(buffer));
        }
        self.len += count;
        self.chain.insert(0, buffer);
        self.offload.on_pushed_front(count);
        Ok(())
    }

    /// Puts a header in front: into the head room of the first buffer if nobody else sees that memory and the header
    /// fits, else as a new buffer on the heap with head room for more.
    ///
    /// # Errors
    /// The header comes back as a buffer when a new one is needed and the chain is full.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn prepend(&mut self, header: &[u8]) -> Result<(), ChainFull> {
        if self.try_prepend(header) {
            return Ok(());
        }
        let buffer = BufferMut::try_copy_from_slice(HEADROOM_BYTES, header, 0)
            .unwrap_or_else(|OutOfMemory| allocation_failed(HEADROOM_BYTES + header.len()));
        self.push_front(buffer.freeze())
    }

    /// Puts a header in front if it fits into the head room of the first buffer and nobody else sees that memory; answers whether. If
    /// not, nothing has changed.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn try_prepend(&mut self, header: &[u8]) -> bool {
        let fits = self.prepend_in_place(header);
        if fits {
            self.len += header.len();
            self.offload.on_pushed_front(header.len());
        }
        fits
    }

    #[cfg_attr(feature = "accounting", track_caller)]
    fn prepend_in_place(&mut self, header: &[u8]) -> bool {
        let Some(first) = self.chain.first_mut() else { return false };
        match core::mem::take(first).try_into_mut() {
            Ok(mut unique) => {
                let fits = unique.push_front(header).is_ok();
                *first = unique.freeze();
                fits
            }
            Err(shared) => {
                *first = shared;
                false
            }
        }
    }

    /// Copies short buffers into the tail room of the one before all of them, if that one is reachable, has the room, and nobody else sees its
    /// memory; answers how many bytes were copied. Those are at most `most`, of whole buffers. Nothing is done if an unreachable buffer is
    /// next behind them, since that has to be copied somewhere, and they with it.
    ///
    /// For devices that send from where bytes lie, if they reach them there: one more piece costs more than a few bytes.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn join_short(&mut self, most: usize, is_reachable: impl Fn(&Buffer) -> bool) -> usize {
        let [first, behind @ ..] = &self.chain[..] else { return 0 };
        let (mut count, mut bytes) = (0, 0);
        while let Some(buffer) = behind.get(count).filter(|buffer| bytes + buffer.len() <= most) {
            (count, bytes) = (count + 1, bytes + buffer.len());
        }
        if count == 0 || !is_reachable(first) || !behind.get(count).is_none_or(is_reachable) {
            return 0;
        }
        let Some((first, behind)) = self.chain.split_first_mut() else { return 0 };
        match core::mem::take(first).try_into_mut() {
            Ok(mut unique) if unique.tailroom() >= bytes => {
                for buffer in &behind[..count] {
                    // The room was looked at.
                    let _ = unique.extend_from_slice(buffer);
                }
                *first = unique.freeze();
            }
            Ok(unique) => {
                *first = unique.freeze();
                return 0;
            }
            Err(shared) => {
                *first = shared;
                return 0;
            }
        }
        self.chain.drain(1..=count);
        bytes
    }

    /// Moves the buffers of `tail` behind those of this packet, whose metadata stays as it is.
    ///
    /// # Errors
    /// When there would be more than [`MAX_BUFFERS`]; neither packet has changed then.
    pub fn append(&mut self, tail: &mut Self) -> Result<(), TooManyBuffers> {
        if self.chain.len() + tail.chain.len() > MAX_BUFFERS {
            return Err(TooManyBuffers);
        }
        self.len += core::mem::take(&mut tail.len);
        self.chain.append(&mut tail.chain);
        Ok(())
    }

    /// Cuts off the first `count` bytes.
    ///
    /// # Errors
    /// When the packet is shorter; nothing has changed then.
    #[inline]
    pub fn trim_front(&mut self, count: usize) -> Result<(), TooShort> {
        self.check(count)?;
        self.drop_front(count);
        self.offload.on_trimmed_front(count);
        Ok(())
    }

    /// Cuts off the last `count` bytes.
    ///
    /// # Errors
    /// When the packet is shorter; nothing has changed then.
    pub fn trim_back(&mut self, count: usize) -> Result<(), TooShort> {
        self.check(count)?;
        if count == 0 {
            return Ok(());
        }
        let (kept, cut) = self.locate(self.len - count);
        if cut == 0 {
            self.chain.truncate(kept);
        } else {
            self.chain.truncate(kept + 1);
            self.chain[kept].truncate(cut);
        }
        self.len -= count;
        Ok(())
    }

    /// Cuts off and returns the first `count` bytes.
    ///
    /// Both parts keep what says how the packet came (hash, VLAN tag, that the checksum was verified); what depends on its size
    /// (partial checksum, segmentation) is gone from both.
    ///
    /// # Errors
    /// When the packet is shorter; nothing has changed then.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn split_to(&mut self, count: usize) -> Result<Self, TooShort> {
        self.check(count)?;
        let (whole, cut) = self.locate(count);
        let mut chain: SmallVec<_> = self.chain.drain(..whole).collect();
        if cut > 0 {
            chain.push(self.chain[0].split_to(cut));
        }
        self.len -= count;
        self.offload = self.offload.of_parts();
        Ok(Self { chain, len: count, offload: self.offload })
    }

    /// The first `count` bytes in one piece.
    ///
    /// When they lie in several buffers they are copied to a new one, which takes their place in the chain, and that is
    /// counted: asking again for as many costs nothing.
    ///
    /// # Errors
    /// When the packet is shorter.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn contiguous(&mut self, count: usize, copies: &CopyCounter) -> Result<&[u8], TooShort> {
        // A header most often lies in the first buffer.
        if self.chain.first().is_some_and(|first| first.len() >= count) {
            return Ok(&self.chain[0][..count]);
        }
        self.check(count)?;
        self.join_front(count, copies);
        Ok(self.chain.first().map_or(&[], |first| &first[..count]))
    }

    /// The whole packet in one buffer; copied, and counted, when it has several.
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn into_buffer(mut self, copies: &CopyCounter) -> Buffer {
        self.join_front(self.len, copies);
        self.chain.pop().unwrap_or_default()
    }

    /// Makes bytes that are there contiguous.
    #[cfg_attr(feature = "accounting", track_caller)]
    fn join_front(&mut self, count: usize, copies: &CopyCounter) {
        if self.chain.first().is_none_or(|first| first.len() >= count) {
            return;
        }
        let mut front = BufferMut::with_capacity(HEADROOM_BYTES, count);
        self.read(0, front.append(count).expect("the buffer was made for so many bytes"));
        self.drop_front(count);
        self.len += count;
        self.chain.insert(0, front.freeze());
        copies.count(count);
    }

    /// Copies the bytes from `offset` on to `out`.
    ///
    /// # Errors
    /// When the packet has fewer bytes there than `out`.
    pub fn copy_to_slice(&self, offset: usize, out: &mut [u8]) -> Result<(), TooShort> {
        self.check(offset.saturating_add(out.len()))?;
        self.read(offset, out);
        Ok(())
    }

    /// Readies the packet for another shard. `home` is the home list of this shard, see [`Buffer::into_foreign`].
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn into_foreign(self, home: &HomeOwner) -> ForeignPacket {
        let Self { chain, len, offload } = self;
        let mut foreign = SmallVec::with_capacity(chain.len());
        for buffer in chain {
            foreign.push(buffer.into_foreign(home));
        }
        ForeignPacket { chain: foreign, len, offload }
    }

    /// Names the holder of all handles of the packet for the report of live handles.
    ///
    /// The name is only looked at with the feature `accounting`.
    #[must_use]
    pub fn held_by(mut self, holder: impl fmt::Display) -> Self {
        for buffer in &mut self.chain {
            *buffer = core::mem::take(buffer).held_by(&holder);
        }
        self
    }

    fn check(&self, count: usize) -> Result<(), TooShort> {
        if count <= self.len { Ok(()) } else { Err(TooShort { len_bytes: self.len }) }
    }

    /// How many whole buffers lie in the first `count` bytes, and how many bytes of the next one.
    fn locate(&self, count: usize) -> (usize, usize) {
        let mut left = count;
        for (at, buffer) in self.chain.iter().enumerate() {
            if buffer.len() > left {
                return (at, left);
            }
            left -= buffer.len();
        }
        (self.chain.len(), left)
    }

    /// Cuts off bytes that are there, and leaves the metadata alone.
    #[inline]
    fn drop_front(&mut self, count: usize) {
        self.len -= count;
        // A header, most often, in front of more.
        if let Some(first) = self.chain.first_mut()
            && first.len() > count
        {
            first.advance(count);
            return;
        }
        self.drop_buffers(count);
    }

    /// Cuts off bytes of which the first buffer has not too many.
    fn drop_buffers(&mut self, count: usize) {
        // All headers in one buffer, most often.
        if self.chain.first().is_some_and(|first| first.len() == count) {
            if let [first, last] = &mut self.chain[..] {
                // The same as below, and less work.
                core::mem::swap(first, last);
                self.chain.truncate(1);
            } else {
                self.chain.remove(0);
            }
            return;
        }
        let (whole, cut) = self.locate(count);
        self.chain.drain(..whole);
        if cut > 0 {
            self.chain[0].advance(cut);
        }
    }

    /// Copies bytes that are there.
    fn read(&self, offset: usize, mut out: &mut [u8]) {
        let (first, mut skip) = self.locate(offset);
        for buffer in &self.chain[first..] {
            let part = &buffer[skip..];
            let count = part.len().min(out.len());
            out[..count].copy_from_slice(&part[..count]);
            out = &mut out[count..];
            skip = 0;
        }
    }
}

impl From<Buffer> for Packet {
    fn from(buffer: Buffer) -> Self {
        let mut packet = Self::new();
        packet.push_back(buffer).expect("an empty chain has room");
        packet
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("len", &self.len)
            .field("chain", &self.chain)
            .field("offload", &self.offload)
            .finish()
    }
}

/// A packet that was readied for another shard.
#[derive(Debug, Default)]
pub struct ForeignPacket {
    chain: SmallVec<[ForeignBuffer; INLINE_BUFFERS]>,
    len: usize,
    offload: Offload,
}

impl ForeignPacket {
    /// How many bytes the packet has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the packet has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chain, first bytes first.
    pub fn buffers(&self) -> &[ForeignBuffer] {
        &self.chain
    }

    /// An ordinary packet of the shard where this has arrived, see [`ForeignBuffer::into_buffer`].
    #[cfg_attr(feature = "accounting", track_caller)]
    pub fn into_packet(self) -> Packet {
        let mut chain = SmallVec::with_capacity(self.chain.len());
        for buffer in self.chain {
            chain.push(buffer.into_buffer());
        }
        Packet { chain, len: self.len, offload: self.offload }
    }
}
