//! What the connections of one shard share.

use alloc::rc::Rc;
use core::cell::Cell;

use sunstar_packet::{Pool, PoolCounters, PoolOptions};

use crate::client::ClientConnection;
use crate::fields::Tables;
use crate::limits::Limits;
use crate::output::{FRAME_BYTES, HEADROOM_BYTES};
use crate::server::Connection;

/// So many frames of output may be under way. What needs more takes memory of the heap.
const FRAMES: usize = 4096;

/// What the connections of one shard share: the limits, frames for output, counters. Clones share it too.
///
/// Frames are taken while there is output and given back when it was sent, so an idle connection has none.
#[derive(Clone, Debug)]
pub struct Endpoint(pub(crate) Rc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) frames: Pool,
    pub(crate) tables: Rc<Tables>,
    pub(crate) counters: CounterCells,
}

/// What the connections of an endpoint have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Heads of messages that were read: of requests by servers, of responses by clients.
    pub heads: u64,
    /// Heads of them that did not lie in one buffer and were put together.
    pub joined_heads: u64,
    /// Bytes that were copied for it.
    pub joined_bytes: u64,
    /// Messages that were refused, see [`Error`](crate::Error).
    pub errors: u64,
    /// How often a server looked for a next request and left it alone, since
    /// [`Limits::pipelined_requests`](crate::Limits::pipelined_requests) were not answered.
    pub pipelines_full: u64,
    /// The same, since [`Limits::output_bytes`](crate::Limits::output_bytes) waited to be taken.
    pub outputs_full: u64,
    /// Buffers that were not taken since [`Limits::input_bytes`](crate::Limits::input_bytes) or
    /// [`Limits::input_buffers`](crate::Limits::input_buffers) were there.
    pub inputs_full: u64,
    /// The frames of output. Those that were taken from the heap instead are its `exhausted`.
    pub frames: PoolCounters,
}

#[derive(Debug, Default)]
pub(crate) struct CounterCells {
    pub(crate) heads: Counter,
    pub(crate) joined_heads: Counter,
    pub(crate) joined_bytes: Counter,
    pub(crate) errors: Counter,
    pub(crate) pipelines_full: Counter,
    pub(crate) outputs_full: Counter,
    pub(crate) inputs_full: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(Cell<u64>);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.set(self.0.get() + count);
    }
}

impl Endpoint {
    /// Without connections. Memory is taken when there is output for the first time.
    #[expect(clippy::missing_panics_doc, reason = "it does not panic: the frames have a fixed size")]
    pub fn new(limits: Limits) -> Self {
        let options = PoolOptions { frame_bytes: FRAME_BYTES, headroom_bytes: HEADROOM_BYTES, limit_frames: FRAMES };
        let frames = Pool::new(options).expect("frames are small");
        Self(Rc::new(Shared { limits, frames, tables: Rc::default(), counters: CounterCells::default() }))
    }

    /// The server's side of a new connection.
    pub fn accept(&self) -> Connection {
        Connection::new(self.clone())
    }

    /// The client's side of a new connection.
    pub fn connect(&self) -> ClientConnection {
        ClientConnection::new(self.clone())
    }

    /// Gives the memory of output back in which nothing is under way. It looks at all frames that are free, so it is for when there is
    /// nothing to do.
    pub fn free_unused_memory(&self) {
        self.0.frames.free_unused_memory();
    }

    /// The limits of all connections.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// What the connections have done.
    pub fn counters(&self) -> Counters {
        let cells = &self.0.counters;
        Counters {
            heads: cells.heads.0.get(),
            joined_heads: cells.joined_heads.0.get(),
            joined_bytes: cells.joined_bytes.0.get(),
            errors: cells.errors.0.get(),
            pipelines_full: cells.pipelines_full.0.get(),
            outputs_full: cells.outputs_full.0.get(),
            inputs_full: cells.inputs_full.0.get(),
            frames: self.0.frames.counters(),
        }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::new(Limits::DEFAULT)
    }
}
