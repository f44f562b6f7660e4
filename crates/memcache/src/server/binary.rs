//! Packets of the binary protocol.

use sunstar_packet::Buffer;

use super::{Reading, ServerConnection};
use crate::binary::{
    BinaryCommand, BinaryRequest, BinaryStatus, BinaryTag, BinaryVerb, HEADER_BYTES, NEVER_MADE, REQUEST_MAGIC,
};
use crate::command::{Direction, StorageVerb};
use crate::input::Block;
use crate::limits::{MAX_KEY_BYTES, counted_item_bytes};
use crate::request::Request;
use crate::value::Value;

/// What is read next.
#[derive(Debug)]
pub(super) enum Packet {
    Header,
    /// The extras and the key of this command.
    Front(Header, Command),
    /// The value of this command, of so many bytes.
    Value(BinaryCommand, Buffer, usize),
    /// So many bytes that nobody wants.
    Skipped(usize),
}

/// The header of a request, whose lengths fit each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    tag: BinaryTag,
    key_bytes: usize,
    extras_bytes: usize,
    value_bytes: usize,
    cas: u64,
}

/// Commands by what they look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Get { with_key: bool },
    Touch,
    GetAndTouch { with_key: bool },
    Store(StorageVerb),
    Delete,
    Count(Direction),
    Flush,
    Noop,
    Verbosity,
    Version,
    Stats,
    Quit,
}

impl Command {
    /// The command with this opcode, and whether it is quiet; `None` for those that there are not, and for authentication.
    fn of(opcode: u8) -> Option<(Self, bool)> {
        Some(match opcode {
            0x00 => (Self::Get { with_key: false }, false),
            0x01 => (Self::Store(StorageVerb::Set), false),
            0x02 => (Self::Store(StorageVerb::Add), false),
            0x03 => (Self::Store(StorageVerb::Replace), false),
            0x04 => (Self::Delete, false),
            0x05 => (Self::Count(Direction::Increment), false),
            0x06 => (Self::Count(Direction::Decrement), false),
            0x07 => (Self::Quit, false),
            0x08 => (Self::Flush, false),
            0x09 => (Self::Get { with_key: false }, true),
            0x0a => (Self::Noop, false),
            0x0b => (Self::Version, false),
            0x0c => (Self::Get { with_key: true }, false),
            0x0d => (Self::Get { with_key: true }, true),
            0x0e => (Self::Store(StorageVerb::Append), false),
            0x0f => (Self::Store(StorageVerb::Prepend), false),
            0x10 => (Self::Stats, false),
            0x11 => (Self::Store(StorageVerb::Set), true),
            0x12 => (Self::Store(StorageVerb::Add), true),
            0x13 => (Self::Store(StorageVerb::Replace), true),
            0x14 => (Self::Delete, true),
            0x15 => (Self::Count(Direction::Increment), true),
            0x16 => (Self::Count(Direction::Decrement), true),
            0x17 => (Self::Quit, true),
            0x18 => (Self::Flush, true),
            0x19 => (Self::Store(StorageVerb::Append), true),
            0x1a => (Self::Store(StorageVerb::Prepend), true),
            0x1b => (Self::Verbosity, false),
            0x1c => (Self::Touch, false),
            0x1d => (Self::GetAndTouch { with_key: false }, false),
            0x1e => (Self::GetAndTouch { with_key: false }, true),
            0x23 => (Self::GetAndTouch { with_key: true }, false),
            0x24 => (Self::GetAndTouch { with_key: true }, true),
            _ => return None,
        })
    }

    /// Whether a request of this command may have such a header.
    fn fits(self, header: &Header) -> bool {
        let Header { key_bytes, extras_bytes, value_bytes, .. } = *header;
        let (extras, has_key, has_value) = match self {
            Self::Get { .. } | Self::Delete => (extras_bytes == 0, key_bytes > 0, false),
            Self::Touch | Self::GetAndTouch { .. } => (extras_bytes == 4, key_bytes > 0, false),
            Self::Store(StorageVerb::Append | StorageVerb::Prepend) => (extras_bytes == 0, key_bytes > 0, true),
            Self::Store(_) => (extras_bytes == 8, key_bytes > 0, true),
            Self::Count(_) => (extras_bytes == 20, key_bytes > 0, false),
            Self::Flush => (extras_bytes == 0 || extras_bytes == 4, key_bytes == 0, false),
            Self::Verbosity => (extras_bytes == 4, key_bytes == 0, false),
            Self::Noop | Self::Version | Self::Quit => (extras_bytes == 0, key_bytes == 0, false),
            Self::Stats => (extras_bytes == 0, true, false),
        };
        extras && has_key && (has_value || value_bytes == 0)
    }
}

impl ServerConnection {
    /// The next request of the binary protocol.
    pub(super) fn poll_packet(&mut self) -> Option<Request> {
        loop {
            let Reading::Packet(packet) = &mut self.reading else { return None };
            match packet {
                Packet::Header => {
                    let bytes = self.input.read_bytes(&self.endpoint, HEADER_BYTES)?;
                    if let Some(request) = self.take_header(&bytes) {
                        return Some(request);
                    }
                }
                Packet::Front(header, command) => {
                    let (header, command) = (*header, *command);
                    let len = header.extras_bytes + header.key_bytes;
                    let front = self.input.read_bytes(&self.endpoint, len)?;
                    if let Some(request) = self.take_front(header, command, front) {
                        return Some(request);
                    }
                }
                Packet::Value(..) => return self.poll_packet_value(),
                Packet::Skipped(left) => {
                    *left -= self.input.skip(*left);
                    if *left > 0 {
                        return None;
                    }
                    *packet = Packet::Header;
                }
            }
        }
    }

    fn take_header(&mut self, bytes: &Buffer) -> Option<Request> {
        let number = |at: usize| u32::from_be_bytes(*bytes[at..].first_chunk().expect("a header is as long"));
        let tag = BinaryTag { opcode: bytes[1], opaque: number(12).to_be_bytes() };
        if bytes[0] != REQUEST_MAGIC {
            // Where the next packet begins nobody knows.
            self.end();
            return Some(Request::Quit);
        }
        let key_bytes = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        let (extras_bytes, body_bytes) = (usize::from(bytes[4]), number(8) as usize);
        let front_bytes = key_bytes + extras_bytes;
        let body_bytes = if planted::is("memcache_packet_body") { body_bytes.max(front_bytes) } else { body_bytes };
        let Some(value_bytes) = body_bytes.checked_sub(front_bytes) else {
            return Some(self.end_packets(tag, BinaryStatus::UnknownCommand));
        };
        if key_bytes > MAX_KEY_BYTES && !planted::is("memcache_packet_key") {
            return Some(self.end_packets(tag, BinaryStatus::InvalidArguments));
        }
        let cas = u64::from(number(16)) << 32 | u64::from(number(20));
        let header = Header { tag, key_bytes, extras_bytes, value_bytes, cas };
        let Some((command, _)) = Command::of(tag.opcode) else {
            self.reading = Reading::Packet(Packet::Skipped(body_bytes));
            return Some(self.refuse_packet(tag, BinaryStatus::UnknownCommand, None));
        };
        if !command.fits(&header) {
            if command == Command::Verbosity {
                // Without a level it is none of the commands that memcached knows, which are few enough to go on.
                self.reading = Reading::Packet(Packet::Skipped(body_bytes));
                return Some(self.refuse_packet(tag, BinaryStatus::UnknownCommand, None));
            }
            return Some(self.end_packets(tag, BinaryStatus::InvalidArguments));
        }
        self.reading = Reading::Packet(Packet::Front(header, command));
        None
    }

    fn take_front(&mut self, header: Header, command: Command, mut key: Buffer) -> Option<Request> {
        self.reading = Reading::Packet(Packet::Header);
        let Header { tag, extras_bytes, value_bytes, cas, .. } = header;
        let extras = key.split_to(extras_bytes);
        let number = |at: usize| extras.get(at..at + 4).map_or(0, be32);
        let is_quiet = Command::of(tag.opcode).is_some_and(|(_, is_quiet)| is_quiet);
        let verb = match command {
            Command::Get { with_key } => BinaryVerb::Get { with_key },
            Command::Touch => BinaryVerb::Touch { exptime: number(0).into() },
            Command::GetAndTouch { with_key } => BinaryVerb::GetAndTouch { with_key, exptime: number(0).into() },
            Command::Store(verb) => BinaryVerb::Store { verb, flags: number(0), exptime: number(4).into() },
            Command::Delete => BinaryVerb::Delete,
            Command::Count(direction) => BinaryVerb::Count {
                direction,
                by: u64::from(number(0)) << 32 | u64::from(number(4)),
                initial: u64::from(number(8)) << 32 | u64::from(number(12)),
                exptime: Some(number(16)).filter(|time| *time != NEVER_MADE).map(i64::from),
            },
            other => return Some(Request::Binary(self.no_item(other, tag, is_quiet, number(0), key))),
        };
        let command = BinaryCommand { tag, verb, is_quiet, cas };
        let BinaryVerb::Store { flags, .. } = verb else {
            return Some(Request::Binary(BinaryRequest::Item(command, key, Value::new())));
        };
        if counted_item_bytes(key.len(), value_bytes, flags) > self.endpoint.limits().item_bytes {
            return Some(self.skip_value(&command, key, value_bytes, BinaryStatus::TooLarge));
        }
        let key = self.input.key_before(key, value_bytes);
        self.reading = Reading::Packet(Packet::Value(command, key, value_bytes));
        None
    }

    fn no_item(
        &mut self,
        command: Command,
        tag: BinaryTag,
        is_quiet: bool,
        exptime: u32,
        key: Buffer,
    ) -> BinaryRequest {
        match command {
            Command::Flush => BinaryRequest::Flush { tag, exptime, is_quiet },
            Command::Version => BinaryRequest::Version(tag),
            Command::Stats => BinaryRequest::Stats(tag, key),
            Command::Quit => {
                self.end();
                BinaryRequest::Quit { tag, is_quiet }
            }
            _ => BinaryRequest::Noop(tag),
        }
    }

    fn poll_packet_value(&mut self) -> Option<Request> {
        let Reading::Packet(Packet::Value(command, key, len)) = &self.reading else { return None };
        let (command, len) = (*command, *len);
        let key = key.clone();
        match self.input.read_block(&self.endpoint, len, b"") {
            Block::Partial | Block::Unended => None,
            Block::Complete(value) => {
                self.reading = Reading::Packet(Packet::Header);
                Some(Request::Binary(BinaryRequest::Item(command, key, value)))
            }
            Block::NoMemory(left) => Some(self.skip_value(&command, key, left, BinaryStatus::NoMemory)),
        }
    }

    /// Leaves out a value that can't be stored.
    fn skip_value(&mut self, command: &BinaryCommand, key: Buffer, len: usize, status: BinaryStatus) -> Request {
        let skipped = if planted::is("memcache_packet_skip") { len.saturating_sub(1) } else { len };
        self.reading = Reading::Packet(Packet::Skipped(skipped));
        let is_set = matches!(command.verb, BinaryVerb::Store { verb: StorageVerb::Set, .. }) && command.cas == 0;
        self.refuse_packet(command.tag, status, is_set.then_some(key))
    }

    fn refuse_packet(&self, tag: BinaryTag, status: BinaryStatus, stale: Option<Buffer>) -> Request {
        self.endpoint.count_error();
        Request::Binary(BinaryRequest::Refused { tag, status, stale })
    }

    fn end_packets(&mut self, tag: BinaryTag, status: BinaryStatus) -> Request {
        self.end();
        self.refuse_packet(tag, status, None)
    }
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
