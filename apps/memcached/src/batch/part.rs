//! What goes to one shard: operations there, and with them back their answers.
//!
//! It crosses in the memory in which it was put together, and comes back for the next one, so that nothing is allocated on one shard and
//! freed on another. There are few bytes of it: each line of memory that goes from one processor to another takes time.

use std::cell::RefCell;
use std::mem;

use sunstar::executor::{IntoForeign, ShardId};
use sunstar::packet::ForeignBuffer;
use sunstar::prelude::*;
use sunstar_memcache::{COPIED_VALUE_BYTES, KEYS_AHEAD, Key, LARGE_VALUE_BYTES, Operation, Output, Value};

use crate::connection::OUTPUT_BYTES;
use crate::server::Server;

/// So many without operations are kept for their memory.
const SPARES: usize = 64;

pub(super) struct Part {
    pub(super) shard: ShardId,
    operations: Vec<Foreign>,
    /// So many of them are done, whose keys have so many bytes.
    done: usize,
    done_key_bytes: usize,
    /// What is done, once for several in a row that do the same.
    deeds: Vec<Deed>,
    /// One behind the other.
    keys: Vec<u8>,
    /// The small ones of those that are not done.
    values: Vec<u8>,
    /// To those that are done.
    answers: Vec<ForeignBuffer>,
}

/// An operation on its way.
struct Foreign {
    hash: u64,
    /// When it is done.
    answer_bytes: usize,
    key_bytes: u16,
    deed: u16,
}

struct Deed {
    operation: Operation,
    value: ForeignValue,
}

enum ForeignValue {
    /// So many bytes among the small ones.
    Small(usize),
    /// In the memory to which it came. The shard that keeps it copies it: the heap gives each thread memory of its own, and what one
    /// shard frees another does not use. If shards kept what others have, all of them could have nearly all of the memory for items.
    Large(Vec<ForeignBuffer>),
}

impl Part {
    fn new(shard: ShardId) -> Self {
        Self {
            shard,
            operations: Vec::new(),
            done: 0,
            done_key_bytes: 0,
            deeds: Vec::new(),
            keys: Vec::new(),
            values: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Puts an operation behind the others.
    pub(super) fn push(&mut self, operation: Operation, key: Key<'_>, value: Value) {
        let has_value = !value.is_empty();
        let value = if !has_value {
            ForeignValue::Small(0)
        } else if value.len() <= COPIED_VALUE_BYTES {
            value.pieces().iter().for_each(|piece| self.values.extend_from_slice(piece));
            ForeignValue::Small(value.len())
        } else {
            ForeignValue::Large(value.into_pieces().map(Buffer::into_foreign_here).collect())
        };
        let is_same = |deed: &Deed| matches!(deed.value, ForeignValue::Small(0)) && deed.operation == operation;
        if has_value || !self.deeds.last().is_some_and(is_same) {
            self.deeds.push(Deed { operation, value });
        }
        self.keys.extend_from_slice(key.bytes());
        let short = |count: usize| u16::try_from(count).expect("a part has few operations, and their keys are short");
        let (key_bytes, deed) = (short(key.bytes().len()), short(self.deeds.len() - 1));
        self.operations.push(Foreign { hash: key.hash(), answer_bytes: 0, key_bytes, deed });
    }

    /// Does the operations on the shard to which they have come, as far as there is room for their answers.
    pub(super) async fn run(&mut self, server: &Server) {
        let mut values = Buffer::from(mem::take(&mut self.values));
        let mut output = Output::new(&server.endpoint);
        let mut now_s = server.now_s();
        while output.len() < OUTPUT_BYTES && self.done < self.operations.len() {
            if self.done.is_multiple_of(KEYS_AHEAD) && self.operations.len() > 1 {
                server.store.borrow().look_ahead(self.keys());
            }
            let Foreign { hash, key_bytes, deed, .. } = self.operations[self.done];
            let Deed { operation, value } = &mut self.deeds[usize::from(deed)];
            let value = match value {
                ForeignValue::Small(0) => Value::new(),
                ForeignValue::Small(len) => Value::from(values.split_to(*len)),
                ForeignValue::Large(pieces) => joined(mem::take(pieces)),
            };
            if value.len() >= LARGE_VALUE_BYTES {
                server.prepare_for(&value).await;
                now_s = server.now_s();
            }
            let before = output.len();
            let key_end = self.done_key_bytes + usize::from(key_bytes);
            let key = Key::with_hash(&self.keys[self.done_key_bytes..key_end], hash);
            server.store.borrow_mut().execute(operation, key, &value, now_s, &mut output);
            self.operations[self.done].answer_bytes = output.len() - before;
            self.done += 1;
            self.done_key_bytes = key_end;
        }
        self.values.extend_from_slice(&values);
        output.poll_transmit(&mut Abroad(&mut self.answers));
    }

    /// The keys of the operations that are not done.
    fn keys(&self) -> impl Iterator<Item = Key<'_>> {
        let mut rest = &self.keys[self.done_key_bytes..];
        self.operations[self.done..].iter().map(move |operation| {
            let (key, behind) = rest.split_at(operation.key_bytes.into());
            rest = behind;
            Key::with_hash(key, operation.hash)
        })
    }

    /// Moves the answers out, and how long each is. What is left is to be done.
    pub(super) fn take_answers(
        &mut self,
        buffers: &mut impl Extend<Buffer>,
        lengths: &mut impl Extend<usize>,
    ) -> usize {
        buffers.extend(self.answers.drain(..).map(ForeignBuffer::into_buffer));
        let count = mem::take(&mut self.done);
        lengths.extend(self.operations.drain(..count).map(|operation| operation.answer_bytes));
        count
    }

    /// Whether all is done, and the answers are taken.
    pub(super) fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

fn joined(pieces: Vec<ForeignBuffer>) -> Value {
    let mut value = Value::new();
    pieces.into_iter().for_each(|piece| value.push(piece.into_buffer()));
    value
}

/// Where buffers go that are to cross.
struct Abroad<'a>(&'a mut Vec<ForeignBuffer>);

impl Extend<Buffer> for Abroad<'_> {
    fn extend<I: IntoIterator<Item = Buffer>>(&mut self, buffers: I) {
        self.0.extend(buffers.into_iter().map(Buffer::into_foreign_here));
    }
}

/// Parts that have nothing to carry.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "they cross as they lie: a message has room for a pointer and not for a part")]
pub(crate) struct Spares(RefCell<Vec<Box<Part>>>);

impl Spares {
    /// Gives their memory back.
    pub(crate) fn free(&self) {
        drop(self.0.take());
    }

    /// One without operations.
    pub(super) fn take(&self, shard: ShardId) -> Box<Part> {
        match self.0.borrow_mut().pop() {
            Some(mut part) => {
                part.shard = shard;
                part
            }
            None => Box::new(Part::new(shard)),
        }
    }

    /// Keeps one that has come back, if there are not many.
    pub(super) fn keep(&self, mut part: Box<Part>) {
        let mut spares = self.0.borrow_mut();
        if spares.len() < SPARES {
            part.operations.clear();
            part.done_key_bytes = 0;
            part.deeds.clear();
            part.keys.clear();
            part.values.clear();
            part.answers.clear();
            spares.push(part);
        }
    }
}
