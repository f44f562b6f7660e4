//! Operations on items of other shards: one message per shard carries all that was taken up together, and the answers are put
//! into the order of the requests.
//!
//! A shard answers as many of them as make some output, and sends the rest back: whoever asked for it waits for the client then. So no
//! more of answers is under way than one connection may have, whatever it asks for.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use sunstar::executor::combine::when_all;
use sunstar::executor::{IntoForeign, ShardId};
use sunstar::net::Error;
use sunstar::packet::ForeignBuffer;
use sunstar::prelude::*;
use sunstar_memcache::{COPIED_VALUE_BYTES, Endpoint, Key, Operation, Output, Value};

use crate::connection::OUTPUT_BYTES;
use crate::server::{Counters, Server};

/// Operations that wait for other shards at the same time, of one connection.
const OPERATIONS: usize = 64;

/// Values may have so many bytes then, and one more.
const VALUE_BYTES: usize = 256 << 10;

/// What waits for other shards, and what has to wait behind it.
pub(crate) struct Batch {
    /// Whose answer follows: a shard's next one.
    order: VecDeque<ShardId>,
    parts: Vec<Part>,
    /// The answers of other shards.
    arrived: Vec<Arrived>,
    /// The answers of this shard, and how long each is.
    here: Output,
    lengths: VecDeque<usize>,
    /// Of values that wait, here and in all batches of the shard.
    value_bytes: usize,
    under_way: Rc<Cell<usize>>,
}

/// What goes to one shard.
struct Part {
    shard: ShardId,
    operations: VecDeque<Foreign>,
    /// Keys and small values of them, one behind the other.
    bytes: Vec<u8>,
}

/// An operation on its way.
struct Foreign {
    operation: Operation,
    hash: u64,
    key_bytes: usize,
    value: ForeignValue,
}

enum ForeignValue {
    /// So many bytes behind the key.
    Small(usize),
    /// In the memory to which it came. The shard that keeps it copies it: the heap gives each thread memory of its own, and what one
    /// shard frees another does not use. If shards kept what others have, all of them could have nearly all of the memory for items.
    Large(Vec<ForeignBuffer>),
}

/// Answers on their way back, and how long each is.
struct Answers {
    buffers: Vec<ForeignBuffer>,
    lengths: VecDeque<usize>,
    /// What is to be asked for again.
    rest: Option<Part>,
}

impl Batch {
    /// Without operations; `under_way` counts the bytes of values that wait.
    pub(crate) fn new(endpoint: &Endpoint, under_way: &Rc<Cell<usize>>) -> Self {
        Self {
            order: VecDeque::new(),
            parts: Vec::new(),
            arrived: Vec::new(),
            here: Output::new(endpoint),
            lengths: VecDeque::new(),
            value_bytes: 0,
            under_way: Rc::clone(under_way),
        }
    }

    /// Whether nothing waits for another shard.
    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.order.len() >= OPERATIONS || self.value_bytes >= VALUE_BYTES || self.here.len() >= OUTPUT_BYTES
    }

    /// Lets something be answered at once: into the output, or behind what waits.
    #[inline]
    pub(crate) fn answer_here(&mut self, output: &mut Output, answer: impl FnOnce(&mut Output)) {
        if self.is_empty() {
            return answer(output);
        }
        let before = self.here.len();
        answer(&mut self.here);
        self.order.push_back(shard_id());
        self.lengths.push_back(self.here.len() - before);
    }

    /// Puts an operation to those that go to a shard.
    pub(crate) fn send_there(&mut self, shard: ShardId, operation: Operation, key: Key<'_>, value: Value) {
        let at = self.parts.iter().position(|part| part.shard == shard);
        let at = at.unwrap_or_else(|| {
            self.parts.push(Part { shard, operations: VecDeque::new(), bytes: Vec::new() });
            self.parts.len() - 1
        });
        let part = &mut self.parts[at];
        part.bytes.extend_from_slice(key.bytes());
        self.value_bytes += value.len();
        self.under_way.update(|bytes| bytes + value.len());
        let value = if value.len() <= COPIED_VALUE_BYTES {
            value.pieces().iter().for_each(|piece| part.bytes.extend_from_slice(piece));
            ForeignValue::Small(value.len())
        } else {
            ForeignValue::Large(value.into_pieces().map(Buffer::into_foreign_here).collect())
        };
        part.operations.push_back(Foreign { operation, hash: key.hash(), key_bytes: key.bytes().len(), value });
        self.order.push_back(shard);
    }

    /// Sends operations, waits for answers, and writes those whose turn it is. What waits after that is to be sent for again, when the
    /// client has taken what was written.
    pub(crate) async fn advance(&mut self, server: &Server, output: &mut Output) -> Result<(), Error> {
        let parts = std::mem::take(&mut self.parts);
        Counters::add(&server.counters.batches, parts.len());
        let ask = |part: Part| {
            let shard = part.shard;
            let peers = server.peers();
            async move {
                let asked = peers.invoke_on(shard, move |server| async move { part.run(&server).await });
                asked.await.map(|answers| (shard, answers))
            }
        };
        let answered = when_all(parts.into_iter().map(ask).collect::<Vec<_>>()).await;
        self.forget_values();
        self.take_local();
        for answers in answered {
            let (shard, answers) = answers.map_err(|_| Error::Stopped)?;
            Counters::add(&server.counters.foreign, answers.lengths.len());
            let buffers = answers.buffers.into_iter().map(ForeignBuffer::into_buffer);
            self.of(shard).extend(buffers, answers.lengths);
            self.parts.extend(answers.rest);
        }
        while let Some(shard) = self.order.front().copied()
            && self.next_of(shard).write_next(output)
        {
            self.order.pop_front();
        }
        Ok(())
    }

    /// The answers of which the next one follows, if it is that of this shard.
    fn next_of(&mut self, shard: ShardId) -> &mut Arrived {
        let is_there = |arrived: &Arrived| !arrived.lengths.is_empty();
        match self.arrived.iter().position(is_there).filter(|_| planted::is("memcached_answers_mixed")) {
            Some(at) => &mut self.arrived[at],
            None => self.of(shard),
        }
    }

    /// The answers of a shard.
    fn of(&mut self, shard: ShardId) -> &mut Arrived {
        let at = self.arrived.iter().position(|arrived| arrived.shard == shard);
        let at = at.unwrap_or_else(|| {
            self.arrived.push(Arrived { shard, buffers: VecDeque::new(), lengths: VecDeque::new() });
            self.arrived.len() - 1
        });
        &mut self.arrived[at]
    }

    fn take_local(&mut self) {
        let mut buffers: Vec<Buffer> = Vec::new();
        self.here.poll_transmit(&mut buffers);
        let lengths = std::mem::take(&mut self.lengths);
        self.of(shard_id()).extend(buffers, lengths);
    }

    /// Takes note that values are where they belong.
    fn forget_values(&mut self) {
        let bytes = std::mem::take(&mut self.value_bytes);
        self.under_way.update(|sum| sum - bytes);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.forget_values();
    }
}

impl Part {
    /// Does the operations on the shard to which they have come.
    async fn run(mut self, server: &Server) -> Answers {
        let mut bytes = Buffer::from(self.bytes);
        let mut output = Output::new(&server.endpoint);
        let mut lengths = VecDeque::with_capacity(self.operations.len());
        while output.len() < OUTPUT_BYTES
            && let Some(Foreign { operation, hash, key_bytes, value }) = self.operations.pop_front()
        {
            let key = bytes.split_to(key_bytes);
            let value = match value {
                ForeignValue::Small(len) => Value::from(bytes.split_to(len)),
                ForeignValue::Large(pieces) => joined(pieces),
            };
            let before = output.len();
            server.prepare_for(&value).await;
            let key = Key::with_hash(&key, hash);
            server.store.borrow_mut().execute(&operation, key, &value, server.now_s(), &mut output);
            lengths.push_back(output.len() - before);
        }
        let mut buffers: Vec<Buffer> = Vec::new();
        output.poll_transmit(&mut buffers);
        let buffers = buffers.into_iter().map(Buffer::into_foreign_here).collect();
        let rest = (!self.operations.is_empty()).then(|| Self { bytes: bytes.to_vec(), ..self });
        Answers { buffers, lengths, rest }
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
    fn extend(&mut self, buffers: impl IntoIterator<Item = Buffer>, lengths: VecDeque<usize>) {
        self.buffers.extend(buffers);
        self.lengths.extend(lengths);
    }

    /// Writes the next answer, if there is one.
    fn write_next(&mut self, output: &mut Output) -> bool {
        let Some(mut left) = self.lengths.pop_front() else { return false };
        while left > 0 {
            let front = self.buffers.front_mut().expect("the answers are as long as was said");
            let taken = front.split_to(left.min(front.len()));
            if front.is_empty() {
                self.buffers.pop_front();
            }
            left -= taken.len();
            output.push(taken);
        }
        true
    }
}
