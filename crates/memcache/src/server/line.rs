//! Command lines.

use alloc::boxed::Box;

use smallvec::SmallVec;
use sunstar_packet::Buffer;

use crate::command::{Direction, RetrievalCommand, StorageCommand, StorageVerb};
use crate::limits::{Limits, MAX_KEY_BYTES, MAX_VALUE_BYTES, counted_item_bytes};
use crate::meta::MetaCommand;
use crate::number::{natural, signed};
use crate::reply::Refusal;
use crate::request::{Keys, Request, words};
use crate::server::{maintenance, meta};

/// As many words as any command but those with keys has, and one.
const WORDS: usize = 8;

/// The least that `cache_memlimit` takes, in mebibytes.
const LEAST_MEMLIMIT: u64 = 8;

/// The most that it takes: what is above was meant in bytes.
const MOST_MEMLIMIT: u64 = 1_000_000_000;

/// What a command line is.
pub(super) enum Parsed {
    Request(Request),
    /// A storage command, whose value of this many bytes follows.
    Value(StorageCommand<Buffer>, usize),
    /// A meta command, whose value of this many bytes follows, with its key.
    MetaValue(Box<MetaCommand>, Buffer, usize),
    /// One that can't be done, and whose value of this many bytes is to be skipped: it is no command.
    RefusedValue(Request, usize),
}

/// The retrieval command of this name, if there is one; its time is yet to be read.
pub(super) fn retrieval(name: &[u8]) -> Option<RetrievalCommand> {
    match name {
        // The second is older than any description of the protocol.
        b"get" | b"bget" => Some(RetrievalCommand::GET),
        b"gets" => Some(RetrievalCommand::GETS),
        b"gat" => Some(RetrievalCommand { with_cas: false, exptime: Some(0) }),
        b"gats" => Some(RetrievalCommand { with_cas: true, exptime: Some(0) }),
        _ => None,
    }
}

/// Reads a line without its end.
pub(super) fn parse(line: &Buffer, limits: &Limits) -> Parsed {
    let mut parameters = words(line);
    let name = parameters.next().unwrap_or_default();
    if let Some(command) = retrieval(name) {
        return Parsed::Request(retrieve(command, line, parameters).unwrap_or_else(refused));
    }
    if let [b'm', letter] = *name {
        return meta::parse(letter, line, limits);
    }
    let words: SmallVec<[&[u8]; WORDS]> = words(line).take(WORDS).collect();
    let verb = match name {
        b"set" => StorageVerb::Set,
        b"add" => StorageVerb::Add,
        b"replace" => StorageVerb::Replace,
        b"append" => StorageVerb::Append,
        b"prepend" => StorageVerb::Prepend,
        b"cas" => StorageVerb::Cas(0),
        _ => return Parsed::Request(other(line, &words).unwrap_or_else(refused)),
    };
    store(verb, line, &words, limits)
}

pub(super) fn refused(refusal: Refusal) -> Request {
    Request::Refused { refusal, noreply: false, stale: None }
}

fn retrieve<'a>(
    command: RetrievalCommand,
    line: &Buffer,
    mut words: impl Iterator<Item = &'a [u8]>,
) -> Result<Request, Refusal> {
    let exptime = match command.exptime {
        None => None,
        Some(_) => Some(signed(words.next().ok_or(Refusal::UnknownCommand)?).ok_or(Refusal::BadExptime)?),
    };
    let command = RetrievalCommand { exptime, ..command };
    // `gat` without keys asks for none; `get` without any is unknown.
    let Some(first) = words.next() else {
        let keys = Keys::new(Buffer::new());
        return exptime.map(|_| Request::Retrieve { command, keys, is_last: true }).ok_or(Refusal::UnknownCommand);
    };
    if first.len() > MAX_KEY_BYTES || words.any(|key| key.len() > MAX_KEY_BYTES) {
        return Err(Refusal::BadFormat);
    }
    Ok(Request::Retrieve { command, keys: Keys::with_first(from(line, first), first.len()), is_last: true })
}

fn store(verb: StorageVerb, line: &Buffer, words: &[&[u8]], limits: &Limits) -> Parsed {
    let parameters = if let StorageVerb::Cas(_) = verb { 6 } else { 5 };
    if words.len() != parameters && words.len() != parameters + 1 {
        return Parsed::Request(refused(Refusal::UnknownCommand));
    }
    let noreply = is_noreply(words);
    let refused = |refusal, stale| Request::Refused { refusal, noreply, stale };
    let Some(len) = signed(words[4]).and_then(|len| usize::try_from(len).ok()).filter(|len| *len <= MAX_VALUE_BYTES)
    else {
        return Parsed::Request(refused(Refusal::BadFormat, None));
    };
    let Some(command) = storage_command(verb, line, words, noreply) else {
        return Parsed::RefusedValue(refused(Refusal::BadFormat, None), len);
    };
    if counted_item_bytes(command.key.len(), len, command.flags) > limits.item_bytes {
        let stale = (verb == StorageVerb::Set).then(|| command.key.clone());
        return Parsed::RefusedValue(refused(Refusal::TooLarge, stale), len);
    }
    Parsed::Value(command, len)
}

fn storage_command(verb: StorageVerb, line: &Buffer, words: &[&[u8]], noreply: bool) -> Option<StorageCommand<Buffer>> {
    let key = key(line, words[1]).ok()?;
    let flags = signed(words[2])?.try_into().ok()?;
    let exptime = signed(words[3])?;
    let verb = match verb {
        StorageVerb::Cas(_) => StorageVerb::Cas(natural(words[5])?),
        verb => verb,
    };
    Some(StorageCommand { verb, key, flags, exptime, noreply })
}

fn other(line: &Buffer, words: &[&[u8]]) -> Result<Request, Refusal> {
    let noreply = is_noreply(words);
    let silent = |refusal| Request::Refused { refusal, noreply, stale: None };
    Ok(match words {
        [b"delete", name] => Request::Delete { key: key(line, name)?, noreply: false },
        [b"delete", _, b"0" | b"noreply"] | [b"delete", _, b"0", b"noreply"] => match key(line, words[1]) {
            Ok(key) => Request::Delete { key, noreply },
            Err(refusal) => silent(refusal),
        },
        [b"delete", _, _] | [b"delete", _, _, _] => silent(Refusal::BadDelete),
        [b"incr", rest @ ..] => count(Direction::Increment, line, rest, noreply)?,
        [b"decr", rest @ ..] => count(Direction::Decrement, line, rest, noreply)?,
        [b"touch", name, time] | [b"touch", name, time, _] => match (key(line, name), signed(time)) {
            (Ok(key), Some(exptime)) => Request::Touch { key, exptime, noreply },
            (Err(refusal), _) => silent(refusal),
            (_, None) => silent(Refusal::BadExptime),
        },
        [b"flush_all"] | [b"flush_all", b"noreply"] => Request::FlushAll { exptime: 0, noreply },
        [b"flush_all", time] | [b"flush_all", time, _] => match signed(time) {
            Some(exptime) => Request::FlushAll { exptime, noreply },
            None => silent(Refusal::BadExptime),
        },
        [b"version", ..] => Request::Version,
        [b"verbosity", b"noreply"] => Request::Verbosity { noreply },
        [b"verbosity", level] | [b"verbosity", level, _] => match natural(level) {
            Some(_) => Request::Verbosity { noreply },
            None => silent(Refusal::BadFormat),
        },
        [b"stats", ..] => Request::Stats(parameters(line, words)),
        [b"cache_memlimit", limit] | [b"cache_memlimit", limit, _] => match natural(limit) {
            None => silent(Refusal::UnknownCommand),
            Some(..LEAST_MEMLIMIT) => silent(Refusal::MemlimitTooSmall),
            Some(mebibytes @ ..=MOST_MEMLIMIT) => Request::CacheMemlimit { mebibytes, noreply },
            Some(_) => silent(Refusal::MemlimitTooLarge),
        },
        [b"quit", ..] => Request::Quit,
        // A browser was led here, and what follows its line may be chosen to be commands.
        _ if is_http(line) => Request::Quit,
        _ => return maintenance::parse(words, noreply).ok_or(Refusal::UnknownCommand),
    })
}

fn count(direction: Direction, line: &Buffer, words: &[&[u8]], noreply: bool) -> Result<Request, Refusal> {
    let ([name, delta] | [name, delta, _]) = words else { return Err(Refusal::UnknownCommand) };
    let request = key(line, name).and_then(|key| {
        let by = natural(delta).ok_or(Refusal::BadDelta)?;
        Ok(Request::Count { direction, key, by, noreply })
    });
    Ok(request.unwrap_or_else(|refusal| Request::Refused { refusal, noreply, stale: None }))
}

/// Whether the last word is a version of HTTP.
fn is_http(line: &[u8]) -> bool {
    words(line).last().is_some_and(|word| word.starts_with(b"HTTP/"))
}

/// Whether the last word asks for silence.
fn is_noreply(words: &[&[u8]]) -> bool {
    words.last().is_some_and(|word| *word == b"noreply") && words.len() < WORDS
}

fn key(line: &Buffer, word: &[u8]) -> Result<Buffer, Refusal> {
    let max_bytes = if planted::is("memcache_key_too_long") { usize::MAX } else { MAX_KEY_BYTES };
    if word.len() > max_bytes {
        return Err(Refusal::BadFormat);
    }
    line.slice_of(word).ok_or(Refusal::BadFormat)
}

/// What follows the first word.
fn parameters(line: &Buffer, words: &[&[u8]]) -> Buffer {
    words.get(1).map_or_else(Buffer::new, |first| from(line, first))
}

/// A line from one of its words on.
fn from(line: &Buffer, word: &[u8]) -> Buffer {
    line.slice(word.as_ptr().addr() - line.as_ptr().addr()..)
}
