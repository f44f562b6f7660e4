//! The lines of meta commands.

use alloc::boxed::Box;
use alloc::vec::Vec;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use smallvec::SmallVec;
use sunstar_packet::Buffer;

use super::line::{Parsed, refused};
use crate::command::Direction;
use crate::limits::{Limits, MAX_KEY_BYTES, MAX_VALUE_BYTES, counted_item_bytes};
use crate::meta::{MAX_OPAQUE_BYTES, MetaCommand, MetaMode, MetaVerb, TOLD};
use crate::number::{natural, signed};
use crate::reply::Refusal;
use crate::request::{Request, words};

/// Base64 with padding. What its last letter has besides the bytes of the key is left out, as memcached does.
const CODING: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Words of a line at most: command, key and flags.
const WORDS: usize = 19;

/// Reads the line of a command that begins with `m` and has one letter more.
pub(super) fn parse(letter: u8, line: &Buffer, limits: &Limits) -> Parsed {
    let words: SmallVec<[&[u8]; WORDS + 1]> = words(line).take(WORDS + 1).collect();
    let verb = match letter {
        b'g' => MetaVerb::Get,
        b's' => MetaVerb::Store(MetaMode::Set),
        b'd' => MetaVerb::Delete,
        b'a' => MetaVerb::Count(Direction::Increment),
        b'e' => return Parsed::Request(debug(line, &words).unwrap_or_else(refused)),
        b'n' => return Parsed::Request(Request::MetaNoop),
        _ => return Parsed::Request(refused(Refusal::UnknownCommand)),
    };
    if let MetaVerb::Store(_) = verb {
        return store(verb, line, &words, limits);
    }
    let request = item(verb, line, &words).unwrap_or_else(refused);
    Parsed::Request(request)
}

fn item(verb: MetaVerb, line: &Buffer, words: &[&[u8]]) -> Result<Request, Refusal> {
    check_words(verb, words)?;
    let mut command = MetaCommand::new(verb);
    let read = read_flags(&mut command, words[1], line, &words[2..]);
    let key = match verb {
        MetaVerb::Get => read?,
        // The original says no more of those.
        _ => read.map_err(|_| Refusal::InvalidOrDuplicateFlag)?,
    };
    set_mode(&mut command, words)?;
    check_opaque(&command)?;
    Ok(Request::Meta(Box::new(command), key, crate::Value::new()))
}

fn check_words(verb: MetaVerb, words: &[&[u8]]) -> Result<(), Refusal> {
    if words.len() < 2 {
        return Err(Refusal::UnknownCommand);
    }
    if words[1].len() > MAX_KEY_BYTES {
        return Err(Refusal::BadFormat);
    }
    if words.len() > WORDS {
        return Err(if verb == MetaVerb::Get { Refusal::TooManyGetFlags } else { Refusal::TooManyFlags });
    }
    Ok(())
}

fn store(verb: MetaVerb, line: &Buffer, words: &[&[u8]], limits: &Limits) -> Parsed {
    let len = words.get(2).and_then(|len| signed(len)).and_then(|len| usize::try_from(len).ok());
    let Some(len) = len.filter(|len| *len <= MAX_VALUE_BYTES) else {
        return Parsed::Request(refused(check_words(verb, words).err().unwrap_or(Refusal::BadFormat)));
    };
    let (command, key) = match store_command(verb, line, words) {
        Ok(read) => read,
        Err(refusal) => return Parsed::RefusedValue(refused(refusal), len),
    };
    if counted_item_bytes(key.len(), len, command.flags) > limits.item_bytes {
        let stale = command.replaces_anything().then_some(key);
        let refusal = Refusal::TooLarge;
        return Parsed::RefusedValue(Request::Refused { refusal, noreply: false, stale }, len);
    }
    Parsed::MetaValue(command, key, len)
}

fn store_command(verb: MetaVerb, line: &Buffer, words: &[&[u8]]) -> Result<(Box<MetaCommand>, Buffer), Refusal> {
    check_words(verb, words)?;
    let mut command = MetaCommand::new(verb);
    let key = read_flags(&mut command, words[1], line, &words[3..])?;
    set_mode(&mut command, words)?;
    check_opaque(&command)?;
    Ok((Box::new(command), key))
}

fn debug(line: &Buffer, words: &[&[u8]]) -> Result<Request, Refusal> {
    let name = words.get(1).filter(|name| name.len() <= MAX_KEY_BYTES).ok_or(Refusal::BadFormat)?;
    let mut command = MetaCommand::new(MetaVerb::Debug);
    command.is_key_binary = words.get(2).is_some_and(|flag| *flag == b"b");
    let key = if command.is_key_binary { decoded(name) } else { line.slice_of(name) };
    Ok(Request::Meta(Box::new(command), key.ok_or(Refusal::BadFormat)?, crate::Value::new()))
}

/// Reads flags, and the key as they say. Of several faults the last one is told, unless one ends the reading.
fn read_flags(command: &mut MetaCommand, name: &[u8], line: &Buffer, flags: &[&[u8]]) -> Result<Buffer, Refusal> {
    let mut seen = [false; 127];
    let mut fault = None;
    for flag in flags {
        let (letter, token) = (flag[0], &flag[1..]);
        let mark = seen.get_mut(usize::from(letter)).ok_or(Refusal::DuplicateFlag)?;
        if core::mem::replace(mark, !planted::is("memcache_flag_twice")) {
            return Err(Refusal::DuplicateFlag);
        }
        if TOLD.contains(&letter) {
            command.order.push(letter);
        }
        match read_flag(command, letter, token) {
            Ok(()) => {}
            Err(Refusal::InvalidFlag) => return Err(Refusal::InvalidFlag),
            // This one has no words of its own.
            Err(Refusal::BadFormat) => fault = fault.or(Some(Refusal::BadFormat)),
            Err(other) => fault = Some(other),
        }
        if letter == b'b' && decoded(name).is_none() {
            fault = Some(Refusal::BadKeyCoding);
        }
    }
    if let Some(fault) = fault {
        return Err(fault);
    }
    let key = if command.is_key_binary { decoded(name) } else { line.slice_of(name) };
    key.ok_or(Refusal::BadFormat)
}

fn read_flag(command: &mut MetaCommand, letter: u8, token: &[u8]) -> Result<(), Refusal> {
    let time = || signed(token).map(Some).ok_or(Refusal::BadToken);
    match letter {
        b'b' => command.is_key_binary = true,
        b'q' => command.is_quiet = true,
        b'v' => command.wants_value = true,
        b'u' => command.is_unseen = true,
        b'I' => command.is_invalidation = true,
        b'T' => command.exptime = time()?,
        b'N' => command.vivify = time()?,
        b'R' => command.recache = time()?,
        b'C' => command.cas = Some(natural(token).ok_or(Refusal::BadToken)?),
        b'F' => {
            let flags = natural(token).and_then(|flags| flags.try_into().ok());
            command.flags = flags.ok_or(Refusal::BadFormat)?;
        }
        b'J' => command.initial = natural(token).ok_or(Refusal::BadInitial)?,
        b'D' => command.delta = natural(token).ok_or(Refusal::BadMetaDelta)?,
        b'M' if token.len() != 1 => return Err(Refusal::BadModeLength),
        b'O' => command.opaque = token.into(),
        // The last two are for proxies.
        b's' | b't' | b'c' | b'f' | b'l' | b'h' | b'k' | b'M' | b'P' | b'L' => {}
        _ => return Err(Refusal::InvalidFlag),
    }
    Ok(())
}

/// Reads the mode, which means something for two commands.
fn set_mode(command: &mut MetaCommand, words: &[&[u8]]) -> Result<(), Refusal> {
    let Some(mode) = words[2..].iter().find(|flag| flag[0] == b'M') else { return Ok(()) };
    command.verb = match (command.verb, mode[1]) {
        (MetaVerb::Store(_), b'S') => MetaVerb::Store(MetaMode::Set),
        (MetaVerb::Store(_), b'E') => MetaVerb::Store(MetaMode::Add),
        (MetaVerb::Store(_), b'R') => MetaVerb::Store(MetaMode::Replace),
        (MetaVerb::Store(_), b'A') => MetaVerb::Store(MetaMode::Append),
        (MetaVerb::Store(_), b'P') => MetaVerb::Store(MetaMode::Prepend),
        (MetaVerb::Store(_), _) => return Err(Refusal::BadStoreMode),
        (MetaVerb::Count(_), b'I' | b'+') => MetaVerb::Count(Direction::Increment),
        (MetaVerb::Count(_), b'D' | b'-') => MetaVerb::Count(Direction::Decrement),
        (MetaVerb::Count(_), _) => return Err(Refusal::BadCountMode),
        (verb, _) => verb,
    };
    Ok(())
}

fn check_opaque(command: &MetaCommand) -> Result<(), Refusal> {
    if command.opaque.len() < MAX_OPAQUE_BYTES { Ok(()) } else { Err(Refusal::OpaqueTooLong) }
}

/// A key that was sent in base64.
fn decoded(text: &[u8]) -> Option<Buffer> {
    let bytes: Vec<u8> = CODING.decode(text).ok()?;
    (!bytes.is_empty()).then(|| Buffer::from(bytes))
}
