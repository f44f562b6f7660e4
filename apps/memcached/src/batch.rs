//! Operations on items of other shards: one message per shard carries all that was taken up together, and the answers are put
//! into the order of the requests.

use std::collections::VecDeque;

use sunstar::executor::combine::when_all;
use sunstar::executor::{IntoForeign, ShardId};
use sunstar::net::Error;
use sunstar::packet::ForeignBuffer;
use sunstar::prelude::*;
use sunstar_memcache::{COPIED_VALUE_BYTES, Endpoint, Operation, Output, Value};

use crate::server::{Counters, Server};

/// Operations that wait for other shards at the same time, of one connection. Their values may be large.
const OPERATIONS: usize = 64;

/// What waits for other shards, and what has to wait behind it.
pub(crate) struct Batch {
    /// Whose answer follows: a shard's next one.
    order: Vec<ShardId>,
    parts: Vec<Part>,
    /// The answers of this shard, and how long each is.
    here: Output,
    lengths: Vec<usize>,
}

/// What goes to one shard.
struct Part {
    shard: ShardId,
    operations: Vec<Foreign>,
    /// Keys and small values of them, one behind the other.
    bytes: Vec<u8>,
}

/// An operation on its way.
struct Foreign {
    operation: Operation,
    key_bytes: usize,
    value: ForeignValue,
}

enum ForeignValue {
    /// So many bytes behind the key.
    Small(usize),
    Large(Vec<ForeignBuffer>),
}

/// Answers on their way back, and how long each is.
struct Answers {
    buffers: Vec<ForeignBuffer>,
    lengths: Vec<usize>,
}

impl Batch {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        Self { order: Vec::new(), parts: Vec::new(), here: Output::new(endpoint), lengths: Vec::new() }
    }

    /// Whether nothing waits for another shard.
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.order.len() >= OPERATIONS
    }

    /// Lets something be answered at once: into the output, or behind what waits.
    #[inline]
    pub(crate) fn answer_here(&mut self, output: &mut Output, answer: impl FnOnce(&mut Output)) {
        if self.is_empty() {
            return answer(output);
        }
        let before = self.here.len();
        answer(&mut self.here);
        self.order.push(shard_id());
        self.lengths.push(self.here.len() - before);
    }

    /// Puts an operation to those that go to a shard.
    pub(crate) fn send_there(&mut self, shard: ShardId, operation: Operation, key: &[u8], value: Value) {
        let at = self.parts.iter().position(|part| part.shard == shard);
        let at = at.unwrap_or_else(|| {
            self.parts.push(Part { shard, operations: Vec::new(), bytes: Vec::new() });
            self.parts.len() - 1
        });
        let part = &mut self.parts[at];
        part.bytes.extend_from_slice(key);
        let value = if value.len() <= COPIED_VALUE_BYTES {
            value.pieces().iter().for_each(|piece| part.bytes.extend_from_slice(piece));
            ForeignValue::Small(value.len())
        } else {
            ForeignValue::Large(value.into_pieces().map(Buffer::into_foreign_here).collect())
        };
        part.operations.push(Foreign { operation, key_bytes: key.len(), value });
        self.order.push(shard);
    }

    /// Sends all operations, waits for the answers, and writes them in order.
    pub(crate) async fn finish(&mut self, server: &Server, output: &mut Output, now_s: u32) -> Result<(), Error> {
        let parts = std::mem::take(&mut self.parts);
        Counters::add(&server.counters.batches, parts.len());
        let ask = |part: Part| {
            Counters::add(&server.counters.foreign, part.operations.len());
            let shard = part.shard;
            let peers = server.peers();
            async move {
                let asked = peers.invoke_on(shard, move |server| async move { part.run(&server, now_s) });
                asked.await.map(|answers| (shard, answers))
            }
        };
        let answered = when_all(parts.into_iter().map(ask).collect::<Vec<_>>()).await;
        let mut arrived = vec![self.local()];
        for answers in answered {
            let (shard, answers) = answers.map_err(|_| Error::Stopped)?;
            let buffers = answers.buffers.into_iter().map(ForeignBuffer::into_buffer).collect();
            arrived.push(Arrived { shard, buffers, lengths: answers.lengths.into() });
        }
        for shard in self.order.drain(..) {
            let is_next = |arrived: &&mut Arrived| {
                let is_mixed = planted::is("memcached_answers_mixed") && !arrived.lengths.is_empty();
                arrived.shard == shard || is_mixed
            };
            let from = arrived.iter_mut().find(is_next).expect("all asked have answered");
            from.write_next(output);
        }
        Ok(())
    }

    fn local(&mut self) -> Arrived {
        let mut buffers: Vec<Buffer> = Vec::new();
        self.here.poll_transmit(&mut buffers);
        let lengths = std::mem::take(&mut self.lengths).into();
        Arrived { shard: shard_id(), buffers: buffers.into(), lengths }
    }
}

impl Part {
    /// Does the operations on the shard to which they have come.
    fn run(self, server: &Server, now_s: u32) -> Answers {
        let now_s = now_s.max(server.now_s());
        let mut bytes = Buffer::from(self.bytes);
        let mut output = Output::new(&server.endpoint);
        let mut lengths = Vec::with_capacity(self.operations.len());
        let mut store = server.store.borrow_mut();
        for Foreign { operation, key_bytes, value } in self.operations {
            let key = bytes.split_to(key_bytes);
            let value = match value {
                ForeignValue::Small(len) => Value::from(bytes.split_to(len)),
                ForeignValue::Large(pieces) => joined(pieces),
            };
            let before = output.len();
            store.execute(&operation, &key, &value, now_s, &mut output);
            lengths.push(output.len() - before);
        }
        let mut buffers: Vec<Buffer> = Vec::new();
        output.poll_transmit(&mut buffers);
        Answers { buffers: buffers.into_iter().map(Buffer::into_foreign_here).collect(), lengths }
    }
}

fn joined(pieces: Vec<ForeignBuffer>) -> Value {
    let mut value = Value::new();
    pieces.into_iter().for_each(|piece| value.push(piece.into_buffer()));
    value
}

/// The answers of one shard.
struct Arrived {
    shard: ShardId,
    buffers: VecDeque<Buffer>,
    lengths: VecDeque<usize>,
}

impl Arrived {
    fn write_next(&mut self, output: &mut Output) {
        let mut left = self.lengths.pop_front().expect("each operation has an answer");
        while left > 0 {
            let front = self.buffers.front_mut().expect("the answers are as long as was said");
            let taken = front.split_to(left.min(front.len()));
            if front.is_empty() {
                self.buffers.pop_front();
            }
            left -= taken.len();
            output.push(taken);
        }
    }
}
