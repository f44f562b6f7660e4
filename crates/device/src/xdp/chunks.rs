//! Who has the frames that a socket shares with the kernel.

use std::mem;
use std::sync::Arc;

use sunstar_packet::{Buffer, BufferMut};

use crate::shared_memory::SharedMemory;

#[cfg(test)]
mod tests;

/// Room that the kernel keeps before what it receives (`XDP_PACKET_HEADROOM`), which is so the head room of the pool's frames: what is received
/// lies where a frame's content begins, and whoever sends the frame on finds room for headers.
pub(super) const HEADROOM_BYTES: usize = 256;

/// The frames of a socket's memory, by their place in it.
#[derive(Debug)]
pub(super) struct Chunks {
    memory: Arc<SharedMemory>,
    chunk_bytes: usize,
    states: Vec<Chunk>,
    posted: u32,
}

/// Who has a frame.
#[derive(Debug)]
enum Chunk {
    /// Not the kernel.
    Free,
    /// The kernel, to receive into.
    Posted(BufferMut),
    /// The kernel, which sends from it so many times.
    Sent { _kept: Buffer, times: u32 },
}

impl Chunks {
    pub(super) fn new(memory: Arc<SharedMemory>, chunk_bytes: usize) -> Self {
        let states = (0..memory.len() / chunk_bytes).map(|_| Chunk::Free).collect();
        Self { memory, chunk_bytes, states, posted: 0 }
    }

    /// How many frames the kernel has to receive into.
    pub(super) fn posted(&self) -> u32 {
        self.posted
    }

    /// Has the kernel receive into an empty frame; answers its address. The frame comes back if it does not lie in the memory as the kernel
    /// wants it.
    pub(super) fn post(&mut self, frame: BufferMut) -> Result<u64, BufferMut> {
        let (place, offset) = match self.place(frame.as_ptr(), frame.tailroom()) {
            Some(place) if place.1 == HEADROOM_BYTES && frame.is_empty() => place,
            _ => return Err(frame),
        };
        match self.states.get_mut(place) {
            Some(state @ Chunk::Free) => *state = Chunk::Posted(frame),
            _ => return Err(frame),
        }
        self.posted += 1;
        Ok((place * self.chunk_bytes + offset - HEADROOM_BYTES) as u64)
    }

    /// Takes a frame back into which the kernel has received `len` bytes at `address`. None if that makes no sense.
    pub(super) fn received(&mut self, address: u64, len: u32) -> Option<Buffer> {
        let address = usize::try_from(address).ok()?;
        let state =
            self.states.get_mut(address / self.chunk_bytes).filter(|state| matches!(state, Chunk::Posted(_)))?;
        let Chunk::Posted(mut frame) = mem::replace(state, Chunk::Free) else { return None };
        self.posted -= 1;
        // Some devices put something before the frame.
        let before = (address % self.chunk_bytes).checked_sub(HEADROOM_BYTES)?;
        let end = before + len as usize;
        if end > frame.tailroom() {
            return None;
        }
        // SAFETY: so many bytes of the tail room exist. The kernel has written those that follow `before`, and those before have been
        // initialised since the memory was mapped.
        unsafe { frame.advance_len(end) };
        let mut buffer = frame.freeze();
        buffer.advance(before);
        Some(buffer)
    }

    /// Whether a buffer can be sent from where it lies.
    pub(super) fn has(&self, buffer: &Buffer) -> bool {
        self.memory.offset_of(buffer.as_ptr(), buffer.len()).is_some()
    }

    /// How many pieces of a buffer that lies in the memory the kernel takes: none may reach over the end of a frame.
    pub(super) fn pieces(&self, buffer: &Buffer) -> usize {
        let Some(offset) = self.memory.offset_of(buffer.as_ptr(), buffer.len()) else { return 0 };
        (offset % self.chunk_bytes + buffer.len()).div_ceil(self.chunk_bytes)
    }

    /// Cuts off the first of those.
    pub(super) fn split_piece(&self, buffer: &mut Buffer) -> Buffer {
        let within = self.memory.offset_of(buffer.as_ptr(), buffer.len()).unwrap_or(0) % self.chunk_bytes;
        buffer.split_to(buffer.len().min(self.chunk_bytes - within))
    }

    /// Has the kernel send a piece of a buffer; answers its address. None if it does not lie in the memory, in one frame.
    pub(super) fn send(&mut self, buffer: Buffer) -> Option<u64> {
        let (place, offset) = self.place(buffer.as_ptr(), buffer.len())?;
        let state = self.states.get_mut(place)?;
        match state {
            Chunk::Free => *state = Chunk::Sent { _kept: buffer, times: 1 },
            // The first one keeps the frame for all of them.
            Chunk::Sent { times, .. } => *times += 1,
            Chunk::Posted(_) => return None,
        }
        Some((place * self.chunk_bytes + offset) as u64)
    }

    /// The kernel has sent what lay at an address; answers whether that makes sense.
    pub(super) fn sent(&mut self, address: u64) -> bool {
        let place = usize::try_from(address).map_or(usize::MAX, |address| address / self.chunk_bytes);
        match self.states.get_mut(place) {
            Some(state @ Chunk::Sent { times: 1, .. }) => *state = Chunk::Free,
            Some(Chunk::Sent { times, .. }) => *times -= 1,
            _ => return false,
        }
        true
    }

    /// Whether the kernel has anything to send from.
    pub(super) fn is_sending(&self) -> bool {
        self.states.iter().any(|state| matches!(state, Chunk::Sent { .. }))
    }

    /// Leaves all that the kernel has to it for ever.
    pub(super) fn forget(&mut self) {
        mem::forget(mem::take(&mut self.states));
    }

    /// In which frame bytes lie, and how far from its beginning, if all of them do.
    fn place(&self, start: *const u8, len: usize) -> Option<(usize, usize)> {
        let offset = self.memory.offset_of(start, len)?;
        let (place, within) = (offset / self.chunk_bytes, offset % self.chunk_bytes);
        (within + len <= self.chunk_bytes).then_some((place, within))
    }
}
