//! The client's side of a connection that speaks the text protocol: requests out, answers in.

mod expected;

use alloc::collections::VecDeque;
use core::fmt;

use sunstar_packet::Buffer;

use crate::command::{Direction, RetrievalCommand, StorageCommand, StorageVerb};
use crate::endpoint::Endpoint;
use crate::input::{Block, Input, InputFull, LINE_END, Line};
use crate::limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::number::Decimal;
use crate::output::Output;
use crate::reply::Reply;
use crate::value::Value;
use expected::{Expected, Parsed};

/// An item that a server has.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its key.
    pub key: Buffer,
    /// What was stored with it.
    pub flags: u32,
    /// Its unique number, if that was asked for.
    pub cas: Option<u64>,
    /// Its value.
    pub value: Value,
}

/// What has come from the server.
#[derive(Debug)]
pub enum ClientEvent {
    /// One of the items that the oldest request asks for.
    Item(Item),
    /// One of the figures that the oldest request asks for: name and value.
    Figure(Buffer, Buffer),
    /// The oldest request is answered.
    Reply(Reply),
    /// What came is no answer, and nothing more can be made of the connection.
    Error(ReplyError),
}

/// Why what came from a server is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// A line that is none of those that may follow.
    Unexpected,
    /// Nobody has asked.
    Unasked,
    /// A line longer than [`Limits::line_bytes`](crate::Limits::line_bytes).
    LineTooLong,
    /// A value longer than [`Limits::item_bytes`](crate::Limits::item_bytes).
    ValueTooLong,
    /// A value that is not followed by a line end.
    ValueEnd,
    /// More values are under way than [`Limits::pending_value_bytes`](crate::Limits::pending_value_bytes) lets be put together.
    NoMemory,
    /// The server has ended the connection before it had answered.
    Truncated,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unexpected => "the server sent a line that is no answer to the request",
            Self::Unasked => "the server answered without having been asked",
            Self::LineTooLong => "the server sent a line that is too long",
            Self::ValueTooLong => "the server sent a value that is too long",
            Self::ValueEnd => "a value is longer than the server had said",
            Self::NoMemory => "there is no memory for the values that the server sends",
            Self::Truncated => "the server ended the connection before it had answered",
        })
    }
}

impl core::error::Error for ReplyError {}

/// Why a request was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// A key is empty, longer than [`MAX_KEY_BYTES`], or has spaces or control characters.
    Key,
    /// No key at all.
    NoKeys,
    /// The value is longer than the protocol can say.
    ValueTooLong,
    /// What is asked of the statistics has control characters, or is longer than a key.
    Argument,
    /// [`Limits::requests_in_flight`](crate::Limits::requests_in_flight) are not answered yet.
    TooMany,
    /// The connection has ended.
    Closed,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "a key must have 1 to 250 bytes, without spaces and control characters",
            Self::NoKeys => "there is no key",
            Self::ValueTooLong => "the value is too long",
            Self::Argument => "the statistics have no such name",
            Self::TooMany => "too many requests are not answered yet",
            Self::Closed => "the connection has ended",
        })
    }
}

impl core::error::Error for RequestError {}

/// The client's side of a connection.
///
/// Requests are written one behind the other and may be pipelined; answers come in their order, by
/// [`poll_event`](Self::poll_event).
///
/// ```
/// use sunstar_memcache::{ClientEvent, Endpoint, Limits, Reply, RetrievalCommand};
/// use sunstar_packet::Buffer;
///
/// let endpoint = Endpoint::new(Limits::DEFAULT); // one per shard
/// let mut client = endpoint.connect();
/// client.retrieve(RetrievalCommand::GET, [&b"a"[..], b"b"])?;
/// let mut out = Vec::new();
/// client.poll_transmit(&mut out);
/// assert_eq!(out.concat(), b"get a b\r\n");
///
/// client.handle_input(Buffer::from_static(b"VALUE a 0 2\r\nhi\r\nEND\r\n"))?;
/// let Some(ClientEvent::Item(item)) = client.poll_event() else { panic!("an item has come") };
/// assert!(item.key == b"a"[..] && item.value == b"hi"[..]);
/// assert!(matches!(client.poll_event(), Some(ClientEvent::Reply(Reply::End))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ClientConnection {
    endpoint: Endpoint,
    input: Input,
    output: Output,
    /// What was asked and is not answered, oldest first.
    unanswered: VecDeque<Expected>,
    /// The item whose value is under way, and how long that is.
    item: Option<(Item, usize)>,
    is_closed: bool,
}

impl Endpoint {
    /// The client's side of a new connection.
    pub fn connect(&self) -> ClientConnection {
        ClientConnection {
            endpoint: self.clone(),
            input: Input::default(),
            output: Output::new(self),
            unanswered: VecDeque::new(),
            item: None,
            is_closed: false,
        }
    }
}

impl ClientConnection {
    /// Asks for items: those that the server has come as [`ClientEvent::Item`], then [`Reply::End`].
    ///
    /// # Errors
    /// If a key is none, there is none, or the connection takes no request; nothing is sent then.
    pub fn retrieve<'k, K>(&mut self, command: RetrievalCommand, keys: K) -> Result<(), RequestError>
    where
        K: IntoIterator<Item = &'k [u8]> + Clone,
    {
        let mut count = 0;
        for key in keys.clone() {
            check_key(key)?;
            count += 1;
        }
        if count == 0 {
            return Err(RequestError::NoKeys);
        }
        self.ask(Expected::Items { with_cas: command.with_cas }, false)?;
        self.output.put(command.name().as_bytes());
        if let Some(exptime) = command.exptime {
            self.put_signed(exptime);
        }
        for key in keys {
            self.output.put_all([b" ", key]);
        }
        self.output.put(b"\r\n");
        Ok(())
    }

    /// Stores a value. [`COPIED_VALUE_BYTES`](crate::COPIED_VALUE_BYTES) and less are copied, others go as they are.
    ///
    /// # Errors
    /// If the key is none, the value too long, or the connection takes no request; nothing is sent then.
    pub fn store(&mut self, command: &StorageCommand<&[u8]>, value: impl Into<Value>) -> Result<(), RequestError> {
        let value = value.into();
        check_key(command.key)?;
        if value.len() > MAX_VALUE_BYTES {
            return Err(RequestError::ValueTooLong);
        }
        self.ask(Expected::Storage, command.noreply)?;
        self.output.put_all([
            command.verb.name().as_bytes(),
            b" ",
            command.key,
            b" ",
            Decimal::new(command.flags.into()).as_bytes(),
        ]);
        self.put_signed(command.exptime);
        self.output.put_all([b" ", Decimal::new(value.len() as u64).as_bytes()]);
        if let StorageVerb::Cas(unique) = command.verb {
            self.output.put_all([b" ", Decimal::new(unique).as_bytes()]);
        }
        self.end_line(command.noreply);
        self.output.push_value(value);
        self.output.put(b"\r\n");
        Ok(())
    }

    /// Deletes an item.
    ///
    /// # Errors
    /// If the key is none, or the connection takes no request; nothing is sent then.
    pub fn delete(&mut self, key: &[u8], noreply: bool) -> Result<(), RequestError> {
        check_key(key)?;
        self.ask(Expected::Deletion, noreply)?;
        self.output.put_all([b"delete ", key]);
        self.end_line(noreply);
        Ok(())
    }

    /// Changes the number that an item is.
    ///
    /// # Errors
    /// If the key is none, or the connection takes no request; nothing is sent then.
    pub fn count(&mut self, direction: Direction, key: &[u8], by: u64, noreply: bool) -> Result<(), RequestError> {
        check_key(key)?;
        self.ask(Expected::Number, noreply)?;
        self.output.put_all([direction.name().as_bytes(), b" ", key, b" ", Decimal::new(by).as_bytes()]);
        self.end_line(noreply);
        Ok(())
    }

    /// Lets an item expire at another time, as [`StorageCommand::exptime`] says.
    ///
    /// # Errors
    /// If the key is none, or the connection takes no request; nothing is sent then.
    pub fn touch(&mut self, key: &[u8], exptime: i64, noreply: bool) -> Result<(), RequestError> {
        check_key(key)?;
        self.ask(Expected::Touch, noreply)?;
        self.output.put_all([b"touch ", key]);
        self.put_signed(exptime);
        self.end_line(noreply);
        Ok(())
    }

    /// Deletes all items, in so many seconds.
    ///
    /// # Errors
    /// If the connection takes no request.
    pub fn flush_all(&mut self, delay_s: u32, noreply: bool) -> Result<(), RequestError> {
        self.ask(Expected::Ok, noreply)?;
        self.output.put_all([b"flush_all ", Decimal::new(delay_s.into()).as_bytes()]);
        self.end_line(noreply);
        Ok(())
    }

    /// Asks for the server's version.
    ///
    /// # Errors
    /// If the connection takes no request.
    pub fn version(&mut self) -> Result<(), RequestError> {
        self.ask(Expected::Version, false)?;
        self.output.put(b"version\r\n");
        Ok(())
    }

    /// Asks for figures: they come as [`ClientEvent::Figure`], then [`Reply::End`]. An empty argument asks for those that are general.
    ///
    /// # Errors
    /// If the argument is none, or the connection takes no request; nothing is sent then.
    pub fn stats(&mut self, argument: &str) -> Result<(), RequestError> {
        if argument.len() > MAX_KEY_BYTES || argument.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(RequestError::Argument);
        }
        self.ask(Expected::Figures, false)?;
        let space = if argument.is_empty() { "" } else { " " };
        self.output.put_all([b"stats", space.as_bytes(), argument.as_bytes(), b"\r\n"]);
        Ok(())
    }

    /// How many requests are not answered.
    pub fn in_flight(&self) -> usize {
        self.unanswered.len()
    }

    /// Whether nothing can come of the connection any more.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether all that was received is looked at and belongs to answers that are complete, and nothing waits to be sent.
    pub fn is_idle(&self) -> bool {
        !self.is_closed && self.unanswered.is_empty() && self.input.is_as_new() && self.output.is_empty()
    }

    /// Moves what is to be sent to `out`, and answers how many bytes that were.
    pub fn poll_transmit(&mut self, out: &mut impl Extend<Buffer>) -> usize {
        self.output.poll_transmit(out)
    }

    /// How many bytes wait to be sent.
    pub fn output_bytes(&self) -> usize {
        self.output.len()
    }

    /// Whether [`handle_input`](Self::handle_input) takes something: all that has come before was looked at.
    pub fn wants_input(&self) -> bool {
        !self.is_closed && self.input.is_empty()
    }

    /// Takes what was received. What comes after the connection's end is dropped.
    ///
    /// # Errors
    /// While [`wants_input`](Self::wants_input) is false, since events wait.
    pub fn handle_input(&mut self, buffer: Buffer) -> Result<(), InputFull> {
        if self.is_closed { Ok(()) } else { self.input.push(buffer) }
    }

    /// Takes note that the server has ended the connection, after all that has come before was polled: answers with an error if
    /// something is missing then.
    pub fn handle_end_of_input(&mut self) -> Option<ReplyError> {
        let is_truncated = !(self.is_closed || self.unanswered.is_empty() && self.input.is_as_new());
        let error = is_truncated.then(|| self.fail(ReplyError::Truncated));
        self.close();
        error
    }

    /// The next thing that has come; `None` when more input is needed.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        if self.is_closed {
            return None;
        }
        let event = if self.item.is_some() { self.poll_value() } else { self.poll_line() };
        event.unwrap_or_else(|error| Some(ClientEvent::Error(self.fail(error))))
    }

    fn poll_line(&mut self) -> Result<Option<ClientEvent>, ReplyError> {
        let line = match self.input.read_line(&self.endpoint, self.endpoint.limits().line_bytes) {
            Line::Complete(line) => line,
            Line::Partial => return Ok(None),
            Line::TooLong => return Err(ReplyError::LineTooLong),
        };
        let expected = self.unanswered.front().ok_or(ReplyError::Unasked)?;
        match expected.parse(&line).ok_or(ReplyError::Unexpected)? {
            Parsed::Reply(reply) => {
                self.unanswered.pop_front();
                Ok(Some(ClientEvent::Reply(reply)))
            }
            Parsed::Figure(name, value) => Ok(Some(ClientEvent::Figure(name, value))),
            Parsed::Item(item, len) => {
                if len > self.endpoint.limits().item_bytes && !planted::is("memcache_any_value") {
                    return Err(ReplyError::ValueTooLong);
                }
                self.item = Some((item, len));
                self.poll_value()
            }
        }
    }

    fn poll_value(&mut self) -> Result<Option<ClientEvent>, ReplyError> {
        let Some((item, len)) = &mut self.item else { return Ok(None) };
        item.value = match self.input.read_block(&self.endpoint, *len, LINE_END) {
            Block::Complete(value) => value,
            Block::Partial => return Ok(None),
            Block::Unended => return Err(ReplyError::ValueEnd),
            Block::NoMemory(_) => return Err(ReplyError::NoMemory),
        };
        Ok(self.item.take().map(|(item, _)| ClientEvent::Item(item)))
    }

    /// Takes note of a request to be written.
    fn ask(&mut self, expected: Expected, noreply: bool) -> Result<(), RequestError> {
        if self.is_closed {
            return Err(RequestError::Closed);
        }
        if !noreply {
            if self.unanswered.len() >= self.endpoint.limits().requests_in_flight {
                return Err(RequestError::TooMany);
            }
            self.unanswered.push_back(expected);
        }
        Ok(())
    }

    fn put_signed(&mut self, number: i64) {
        let sign = if number < 0 { " -" } else { " " };
        self.output.put_all([sign.as_bytes(), Decimal::new(number.unsigned_abs()).as_bytes()]);
    }

    fn end_line(&mut self, noreply: bool) {
        self.output.put(if noreply { b" noreply\r\n" } else { b"\r\n" });
    }

    fn fail(&mut self, error: ReplyError) -> ReplyError {
        self.endpoint.count_error();
        self.close();
        error
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.input.clear();
        self.unanswered.clear();
        self.item = None;
    }
}

fn check_key(key: &[u8]) -> Result<(), RequestError> {
    let is_good = (1..=MAX_KEY_BYTES).contains(&key.len()) && key.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    if is_good { Ok(()) } else { Err(RequestError::Key) }
}
