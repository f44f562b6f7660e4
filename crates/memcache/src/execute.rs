//! What requests do with items, and how that is answered.

mod binary;
mod meta;

use alloc::boxed::Box;

use crate::binary::BinaryCommand;
use crate::command::{Direction, RetrievalCommand, StorageVerb};
use crate::meta::MetaCommand;
use crate::output::{COPIED_VALUE_BYTES, Output};
use crate::reply::{Refusal, Reply};
use crate::store::{Counted, Expiry, FoundValue, Key, Store, Stored};
use crate::value::Value;

/// What is to be done with one item. It can go to the shard that has the item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// To answer with the item, if it is there. The end of such answers is the caller's.
    Retrieve(RetrievalCommand),
    /// The same, and to end such answers.
    RetrieveLast(RetrievalCommand),
    /// To store a value.
    Store {
        /// What is demanded.
        verb: StorageVerb,
        /// What is stored with it.
        flags: u32,
        /// As [`StorageCommand::exptime`](crate::StorageCommand::exptime) says.
        exptime: i64,
        /// Whether to keep silent about it.
        noreply: bool,
    },
    /// To delete the item.
    Delete {
        /// Whether to keep silent about it.
        noreply: bool,
    },
    /// To change the number that it is.
    Count {
        /// Which way.
        direction: Direction,
        /// By how much.
        by: u64,
        /// Whether to keep silent about it.
        noreply: bool,
    },
    /// To let it expire at another time.
    Touch {
        /// As [`StorageCommand::exptime`](crate::StorageCommand::exptime) says.
        exptime: i64,
        /// Whether to keep silent about it.
        noreply: bool,
    },
    /// To delete the item without an answer, since it should have been replaced and could not be.
    Forget,
    /// What a meta command says.
    Meta(Box<MetaCommand>),
    /// What a request of the binary protocol says.
    Binary(BinaryCommand),
}

impl Operation {
    /// Converts the times that it says, which are as [`StorageCommand::exptime`](crate::StorageCommand::exptime) says.
    pub fn convert_times(&mut self, convert: impl Fn(i64) -> i64) {
        let times = match self {
            Self::Store { exptime, .. } | Self::Touch { exptime, .. } => [Some(exptime), None, None],
            Self::Retrieve(command) | Self::RetrieveLast(command) => [command.exptime.as_mut(), None, None],
            Self::Meta(command) => {
                let MetaCommand { exptime, vivify, recache, .. } = &mut **command;
                [exptime.as_mut(), vivify.as_mut(), recache.as_mut()]
            }
            Self::Binary(command) => [command.verb.exptime_mut(), None, None],
            Self::Delete { .. } | Self::Count { .. } | Self::Forget => return,
        };
        times.into_iter().flatten().for_each(|time| *time = convert(*time));
    }
}

/// What ends a value.
pub(crate) const CRLF: &[u8] = b"\r\n";

impl Store {
    /// Does what is to be done with the item of this key, and writes the answer. The value is of no interest but to
    /// [`Operation::Store`].
    pub fn execute(&mut self, operation: &Operation, key: Key<'_>, value: &Value, now_s: u32, output: &mut Output) {
        let (reply, noreply) = match *operation {
            Operation::Meta(ref command) => return self.execute_meta(command, key, value, now_s, output),
            Operation::Binary(ref command) => return self.execute_binary(command, key, value, now_s, output),
            Operation::Retrieve(command) => return self.retrieve(command, key, now_s, CRLF, output),
            Operation::RetrieveLast(command) => return self.retrieve(command, key, now_s, b"\r\nEND\r\n", output),
            Operation::Store { verb, flags, exptime, noreply } => {
                let stored = self.store(verb, key, flags, Expiry::new(exptime, now_s), value, now_s);
                let reply = match stored {
                    Stored::Stored(_) => Ok(Reply::Stored),
                    Stored::NotStored => Ok(Reply::NotStored),
                    Stored::Exists => Ok(Reply::Exists),
                    Stored::NotFound => Ok(Reply::NotFound),
                    Stored::NoMemory => Err(Refusal::NoMemory),
                    Stored::TooLarge => Err(Refusal::TooLarge),
                };
                (reply, noreply)
            }
            Operation::Delete { noreply } => {
                (Ok(if self.delete(key, now_s) { Reply::Deleted } else { Reply::NotFound }), noreply)
            }
            Operation::Count { direction, by, noreply } => {
                let reply = match self.count(direction, key, by, now_s) {
                    Counted::Number(number) => Ok(Reply::Number(number)),
                    Counted::NotFound => Ok(Reply::NotFound),
                    Counted::NotANumber => Err(Refusal::NotANumber),
                    Counted::NoMemory => Err(Refusal::NoMemory),
                };
                (reply, noreply)
            }
            Operation::Touch { exptime, noreply } => {
                let is_there = self.touch(key, Expiry::new(exptime, now_s), now_s);
                (Ok(if is_there { Reply::Touched } else { Reply::NotFound }), noreply)
            }
            Operation::Forget => return self.forget(key, now_s),
        };
        match reply {
            _ if noreply => {}
            Ok(reply) => output.put_reply(&reply),
            Err(refusal) => output.put_refusal(refusal),
        }
    }

    /// Writes the item with its line end and what follows, and what follows alone if there is no item.
    fn retrieve(&mut self, command: RetrievalCommand, key: Key<'_>, now_s: u32, behind: &[u8], output: &mut Output) {
        let found = match command.exptime {
            None => self.get(key, now_s),
            Some(exptime) => self.get_and_touch(key, Expiry::new(exptime, now_s), now_s),
        };
        let Some(found) = found else { return output.put(&behind[CRLF.len()..]) };
        output.put_item(key.bytes(), found.flags, command.with_cas.then_some(found.cas), found.value.len());
        output.put_found(&found.value, behind);
    }
}

impl Output {
    /// Writes the value of an item, and behind it its line end with what may follow.
    #[inline]
    fn put_found(&mut self, value: &FoundValue<'_>, behind: &[u8]) {
        match value {
            FoundValue::Small(bytes) => self.put_all([bytes, behind]),
            FoundValue::Large(value) => {
                debug_assert!(value.len() > COPIED_VALUE_BYTES, "it would be copied after all");
                self.push_value((*value).clone());
                self.put(behind);
            }
        }
    }
}
