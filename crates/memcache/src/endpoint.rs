//! What the connections of one shard share.

use alloc::rc::Rc;
use core::cell::Cell;

use sunstar_packet::{BufferMut, Pool, PoolCounters, PoolOptions};

use crate::joining::Pending;
use crate::limits::Limits;

/// Of one frame of output; holds the answers to a few dozen small requests.
pub(crate) const FRAME_BYTES: usize = 4096;

/// Room in front of a frame's first byte, for the headers of lower layers.
pub(crate) const HEADROOM_BYTES: usize = 128;

/// So many frames of output may be under way. What needs more takes memory of the heap.
const FRAMES: usize = 4096;

/// What the connections of one shard share: the limits, frames for output, the memory of values under way, counters. Clones share it
/// too.
///
/// Frames are taken while there is output and given back when it was sent, so an idle connection has none.
#[derive(Clone, Debug)]
pub struct Endpoint(Rc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    frames: Pool,
    pending: Pending,
    joined_lines: Cell<u64>,
    joined_values: Cell<u64>,
    values_refused: Cell<u64>,
    errors: Cell<u64>,
    bad_chunks: Cell<u64>,
}

/// What the connections of an endpoint have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Lines that did not lie in one buffer and were put together.
    pub joined_lines: u64,
    /// Values that did not lie in one buffer and were put together.
    pub joined_values: u64,
    /// Values that were not taken since [`Limits::pending_value_bytes`] were under way.
    pub values_refused: u64,
    /// Values of which nothing came for some [ticks](Endpoint::tick), and that gave way to others.
    pub values_given_up: u64,
    /// Requests or answers that are none, see [`Refusal`](crate::Refusal) and [`ReplyError`](crate::ReplyError).
    pub errors: u64,
    /// Those of them that are values without an end.
    pub bad_chunks: u64,
    /// Memory of incomplete values, in bytes.
    pub pending_value_bytes: usize,
    /// The frames of output. Those that were taken from the heap instead are its `exhausted`.
    pub frames: PoolCounters,
}

impl Endpoint {
    /// Without connections. Memory is taken when there is output for the first time.
    #[expect(clippy::missing_panics_doc, reason = "it does not panic: the frames have a fixed size")]
    pub fn new(limits: Limits) -> Self {
        let options = PoolOptions { frame_bytes: FRAME_BYTES, headroom_bytes: HEADROOM_BYTES, limit_frames: FRAMES };
        let frames = Pool::new(options).expect("frames are small");
        Self(Rc::new(Shared {
            limits,
            frames,
            pending: Pending::default(),
            joined_lines: Cell::new(0),
            joined_values: Cell::new(0),
            values_refused: Cell::new(0),
            errors: Cell::new(0),
            bad_chunks: Cell::new(0),
        }))
    }

    /// The limits of all connections.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// What the connections have done.
    pub fn counters(&self) -> Counters {
        Counters {
            joined_lines: self.0.joined_lines.get(),
            joined_values: self.0.joined_values.get(),
            values_refused: self.0.values_refused.get(),
            errors: self.0.errors.get(),
            bad_chunks: self.0.bad_chunks.get(),
            values_given_up: self.0.pending.given_up(),
            pending_value_bytes: self.0.pending.bytes(),
            frames: self.0.frames.counters(),
        }
    }

    /// How much memory incomplete values have, in bytes.
    pub fn pending_value_bytes(&self) -> usize {
        self.0.pending.bytes()
    }

    /// Lets time pass, by a second or so each: an incomplete value gives way to others when nothing of it has come for three of
    /// these in full. Without them none does.
    pub fn tick(&self) {
        self.0.pending.tick();
    }

    /// Gives the memory of output back in which nothing is under way. It looks at all frames that are free, so it is for when there is
    /// nothing to do.
    pub fn free_unused_memory(&self) {
        self.0.frames.free_unused_memory();
    }

    pub(crate) fn frame(&self) -> BufferMut {
        self.0.frames.take().unwrap_or_else(|| BufferMut::with_capacity(HEADROOM_BYTES, FRAME_BYTES))
    }

    pub(crate) fn count_joined_line(&self) {
        self.0.joined_lines.update(|count| count + 1);
    }

    pub(crate) fn count_joined_value(&self) {
        self.0.joined_values.update(|count| count + 1);
    }

    pub(crate) fn count_error(&self) {
        self.0.errors.update(|count| count + 1);
    }

    /// A value without an end is an error too.
    pub(crate) fn count_bad_chunk(&self) {
        self.0.bad_chunks.update(|count| count + 1);
    }

    pub(crate) fn count_refused_value(&self) {
        self.0.values_refused.update(|count| count + 1);
    }

    pub(crate) fn pending(&self) -> &Pending {
        &self.0.pending
    }
}
