//! Operations on items of other shards: one message per shard carries all that was taken up together, and the answers are put
//! into the order of the requests.
//!
//! A shard answers as many of them as make some output, and sends the rest back: whoever asked for it waits for the client then. So no
//! more of answers is under way than one connection may have, whatever it asks for.

mod part;

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use sunstar::executor::ShardId;
use sunstar::executor::combine::when_all;
use sunstar::net::Error;
use sunstar::prelude::*;
use sunstar_memcache::{Endpoint, Key, Operation, Output, Value};

use crate::connection::OUTPUT_BYTES;
use crate::server::{Counters, Server};
use part::Part;
pub(crate) use part::Spares;

/// Operations that wait for other shards at the same time, of one connection.
const OPERATIONS: usize = 64;

/// Values may have so many bytes then, and one more.
const VALUE_BYTES: usize = 256 << 10;

/// Answers of another shard that lie in one buffer are passed on as they lie if they are this long. Fewer bytes would keep too much of
/// its memory from being used again, and are copied.
const LENT_BYTES: usize = 2048;

/// Answers in a row that are of one shard: its next ones.
#[derive(Clone, Copy)]
struct Row {
    shard: ShardId,
    count: usize,
}

/// What waits for other shards, and what has to wait behind it.
pub(crate) struct Batch {
    /// Whose answers follow.
    order: VecDeque<Row>,
    /// How many those are.
    waiting: usize,
    #[expect(clippy::vec_box, reason = "they cross as they lie: a message has room for a pointer and not for a part")]
    parts: Vec<Box<Part>>,
    /// The answers of other shards.
    arrived: Vec<Arrived>,
    /// The answers of this shard, and how long each is.
    here: Output,
    lengths: VecDeque<usize>,
    /// Of values that wait, here and in all batches of the shard.
    value_bytes: usize,
    under_way: Rc<Cell<usize>>,
}

impl Batch {
    /// Without operations; `under_way` counts the bytes of values that wait.
    pub(crate) fn new(endpoint: &Endpoint, under_way: &Rc<Cell<usize>>) -> Self {
        Self {
            order: VecDeque::new(),
            waiting: 0,
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
        self.waiting >= OPERATIONS || self.value_bytes >= VALUE_BYTES || self.here.len() >= OUTPUT_BYTES
    }

    /// Lets something be answered at once: into the output, or behind what waits.
    #[inline]
    pub(crate) fn answer_here(&mut self, output: &mut Output, answer: impl FnOnce(&mut Output)) {
        if self.is_empty() {
            return answer(output);
        }
        let before = self.here.len();
        answer(&mut self.here);
        self.expect(shard_id());
        self.lengths.push_back(self.here.len() - before);
    }

    /// Puts an operation to those that go to a shard.
    pub(crate) fn send_there(
        &mut self,
        server: &Server,
        shard: ShardId,
        operation: Operation,
        key: Key<'_>,
        value: Value,
    ) {
        let at = self.parts.iter().position(|part| part.shard == shard);
        let at = at.unwrap_or_else(|| {
            self.parts.push(server.spares.take(shard));
            self.parts.len() - 1
        });
        self.value_bytes += value.len();
        self.under_way.update(|bytes| bytes + value.len());
        self.parts[at].push(operation, key, value);
        self.expect(shard);
    }

    /// Puts a shard's next answer behind those that are expected.
    fn expect(&mut self, shard: ShardId) {
        self.waiting += 1;
        match self.order.back_mut() {
            Some(last) if last.shard == shard => last.count += 1,
            _ => self.order.push_back(Row { shard, count: 1 }),
        }
    }

    /// Sends operations, waits for answers, and writes those whose turn it is. What waits after that is to be sent for again, when the
    /// client has taken what was written.
    pub(crate) async fn advance(&mut self, server: &Server, output: &mut Output) -> Result<(), Error> {
        Counters::add(&server.counters.batches, self.parts.len());
        let ask = |mut part: Box<Part>| {
            server.peers().invoke_on(part.shard, move |server| async move {
                part.run(&server).await;
                part
            })
        };
        if self.parts.len() > 1 {
            let asked: Vec<_> = self.parts.drain(..).map(ask).collect();
            let answered = when_all(asked).await;
            self.begin_answering();
            for part in answered {
                self.take_answers(server, part.map_err(|_| Error::Stopped)?);
            }
        } else if let Some(part) = self.parts.pop() {
            let part = ask(part).await;
            self.begin_answering();
            self.take_answers(server, part.map_err(|_| Error::Stopped)?);
        }
        self.write(output);
        Ok(())
    }

    /// Takes note that values are where they belong, and of what this shard has answered meanwhile.
    fn begin_answering(&mut self) {
        self.forget_values();
        if self.lengths.is_empty() {
            return;
        }
        let mut buffers: Vec<Buffer> = Vec::new();
        self.here.poll_transmit(&mut buffers);
        let mut here_lengths = std::mem::take(&mut self.lengths);
        let here = self.of(shard_id());
        here.buffers.extend(buffers);
        here.lengths.append(&mut here_lengths);
    }

    /// Takes what another shard has answered. What that one had no room for is to be asked for again.
    fn take_answers(&mut self, server: &Server, mut part: Box<Part>) {
        let Arrived { buffers, lengths, .. } = self.of(part.shard);
        Counters::add(&server.counters.foreign, part.take_answers(buffers, lengths));
        if part.is_empty() {
            server.spares.keep(part);
        } else {
            self.parts.push(part);
        }
    }

    /// Writes the answers whose turn it is.
    fn write(&mut self, output: &mut Output) {
        while let Some(Row { shard, count }) = self.order.front().copied() {
            let written = self.next_of(shard).write(count, output);
            self.waiting -= written;
            if written < count {
                self.order[0].count -= written;
                return;
            }
            self.order.pop_front();
        }
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

/// The answers of one shard.
struct Arrived {
    shard: ShardId,
    buffers: VecDeque<Buffer>,
    lengths: VecDeque<usize>,
}

impl Arrived {
    /// Writes the next ones, so many if they are there, and tells how many those were.
    fn write(&mut self, count: usize, output: &mut Output) -> usize {
        let count = count.min(self.lengths.len());
        let mut left: usize = self.lengths.drain(..count).sum();
        while left > 0 {
            let front = self.buffers.front_mut().expect("the answers are as long as was said");
            let taken = front.split_to(left.min(front.len()));
            if front.is_empty() {
                self.buffers.pop_front();
            }
            left -= taken.len();
            if taken.len() < LENT_BYTES {
                output.put(&taken);
            } else {
                output.push(taken);
            }
        }
        count
    }
}
