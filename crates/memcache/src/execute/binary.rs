//! Answers to requests of the binary protocol.

use smallvec::smallvec;

use crate::binary::{BinaryCommand, BinaryStatus, BinaryVerb};
use crate::command::StorageVerb;
use crate::meta::{MetaCommand, MetaVerb};
use crate::output::Output;
use crate::store::{Counted, Expiry, Found, FoundValue, Key, MetaCounted, Store, Stored};
use crate::value::Value;

impl Store {
    pub(super) fn execute_binary(
        &mut self,
        command: &BinaryCommand,
        key: Key<'_>,
        value: &Value,
        now_s: u32,
        output: &mut Output,
    ) {
        let BinaryCommand { tag, is_quiet, cas, .. } = *command;
        let at = |exptime: i64| Expiry::new(exptime, now_s);
        let (status, cas) = match command.verb {
            BinaryVerb::Get { with_key } => {
                let found = self.get(key, now_s);
                return answer_item(command, key.bytes(), with_key, true, found, output);
            }
            BinaryVerb::GetAndTouch { with_key, exptime } => {
                let found = self.get_and_touch(key, at(exptime), now_s);
                return answer_item(command, key.bytes(), with_key, true, found, output);
            }
            BinaryVerb::Touch { exptime } => {
                let found = self.get_and_touch(key, at(exptime), now_s);
                return answer_item(command, key.bytes(), false, false, found, output);
            }
            BinaryVerb::Store { verb, flags, exptime } => {
                let extends = matches!(verb, StorageVerb::Append | StorageVerb::Prepend);
                let wanted = if cas == 0 || extends { verb } else { StorageVerb::Cas(cas) };
                let about = (flags, at(exptime));
                let same = Some(cas).filter(|_| extends);
                stored(verb, self.store_if_same(wanted, key, about, value, same, now_s))
            }
            BinaryVerb::Delete => {
                let cas = Some(cas).filter(|cas| *cas != 0);
                let delete = MetaCommand { cas, ..MetaCommand::new(MetaVerb::Delete) };
                match self.delete_if_same(&delete, key, now_s) {
                    Stored::Stored(_) => (BinaryStatus::Ok, 0),
                    other => stored(StorageVerb::Set, other),
                }
            }
            BinaryVerb::Count { .. } => return self.count_binary(command, key, now_s, output),
        };
        match status {
            BinaryStatus::Ok if is_quiet => {}
            BinaryStatus::Ok => output.put_packet(tag, status, cas, &[], &[], 0),
            _ => output.put_packet_status(tag, status),
        }
    }

    fn count_binary(&mut self, command: &BinaryCommand, key: Key<'_>, now_s: u32, output: &mut Output) {
        let BinaryVerb::Count { direction, by, initial, exptime } = command.verb else { return };
        let count = MetaCommand {
            cas: Some(command.cas),
            delta: by,
            initial,
            vivify: exptime,
            order: smallvec![b'N'],
            ..MetaCommand::new(MetaVerb::Count(direction))
        };
        let status = match self.meta_count(&count, direction, key, now_s) {
            MetaCounted::Number { .. } if command.is_quiet => return,
            MetaCounted::Number { number, cas, .. } => {
                output.put_packet(command.tag, BinaryStatus::Ok, cas, &[], &[], size_of::<u64>());
                return output.put(&number.to_be_bytes());
            }
            MetaCounted::Exists => BinaryStatus::Exists,
            MetaCounted::Not(Counted::NotANumber) => BinaryStatus::NotANumber,
            MetaCounted::Not(Counted::NoMemory) => BinaryStatus::NoMemory,
            MetaCounted::Not(_) => BinaryStatus::NotFound,
        };
        output.put_packet_status(command.tag, status);
    }
}

/// How the storing of a value is told, and the item's unique number.
fn stored(verb: StorageVerb, stored: Stored) -> (BinaryStatus, u64) {
    let status = match (stored, verb) {
        (Stored::Stored(cas), _) => return (BinaryStatus::Ok, cas),
        (Stored::NotStored, StorageVerb::Add) | (Stored::Exists, _) => BinaryStatus::Exists,
        (Stored::NotStored, StorageVerb::Replace) | (Stored::NotFound, _) => BinaryStatus::NotFound,
        (Stored::NotStored, _) => BinaryStatus::NotStored,
        (Stored::NoMemory, _) => BinaryStatus::NoMemory,
        (Stored::TooLarge, _) => BinaryStatus::TooLarge,
    };
    (status, 0)
}

fn answer_item(
    command: &BinaryCommand,
    key: &[u8],
    with_key: bool,
    with_value: bool,
    found: Option<Found<'_>>,
    output: &mut Output,
) {
    let tag = command.tag;
    let told_key = if with_key { key } else { &[] };
    let Some(found) = found else {
        match (command.is_quiet, with_key) {
            (true, _) => {}
            (false, true) => output.put_packet(tag, BinaryStatus::NotFound, 0, &[], key, 0),
            (false, false) => output.put_packet_status(tag, BinaryStatus::NotFound),
        }
        return;
    };
    let value_bytes = if with_value { found.value.len() } else { 0 };
    output.put_packet(tag, BinaryStatus::Ok, found.cas, &found.flags.to_be_bytes(), told_key, value_bytes);
    match found.value {
        _ if !with_value => {}
        FoundValue::Small(bytes) => output.put(bytes),
        FoundValue::Large(value) => output.push_value(value.clone()),
    }
}
