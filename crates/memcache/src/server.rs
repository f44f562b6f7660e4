//! The server's side of a connection that speaks either protocol: bytes in, requests out.

mod binary;
mod line;
mod maintenance;
mod meta;

use alloc::boxed::Box;

use sunstar_packet::Buffer;

use crate::binary::REQUEST_MAGIC;
use crate::command::{RetrievalCommand, StorageCommand, StorageVerb};
use crate::endpoint::Endpoint;
use crate::input::{Block, Input, InputFull, LINE_END, Line};
use crate::limits::MAX_KEY_BYTES;
use crate::meta::MetaCommand;
use crate::reply::Refusal;
use crate::request::{Keys, Request};
use binary::Packet;
use line::Parsed;

/// The server's side of a connection.
///
/// It reads requests; they are to be answered in their order, by the methods of [`Output`](crate::Output).
///
/// ```
/// use sunstar_memcache::{Endpoint, Limits, Request};
/// use sunstar_packet::Buffer;
///
/// let endpoint = Endpoint::new(Limits::DEFAULT); // one per shard
/// let mut connection = endpoint.accept();
/// connection.handle_input(Buffer::from_static(b"set a 0 0 2\r\nhi\r\nget a\r\n"))?;
/// let Some(Request::Store(command, value)) = connection.poll_request() else { panic!("a value has come") };
/// assert!(command.key == b"a"[..] && value == b"hi"[..]);
/// assert!(matches!(connection.poll_request(), Some(Request::Retrieve { .. })));
/// assert!(connection.poll_request().is_none() && connection.wants_input());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ServerConnection {
    endpoint: Endpoint,
    input: Input,
    reading: Reading,
}

/// What is read next.
#[derive(Debug)]
enum Reading {
    /// The first byte, which tells the protocol.
    Start,
    Line,
    /// More keys of a line that is too long to be taken as a whole.
    Keys(RetrievalCommand),
    /// A value of so many bytes.
    Value(StorageCommand<Buffer>, usize),
    /// A value of so many bytes for the meta command with this key.
    MetaValue(Box<MetaCommand>, Buffer, usize),
    /// So many bytes that nobody wants.
    Skipped(usize),
    /// The binary protocol.
    Packet(Packet),
    Over,
}

impl Endpoint {
    /// The server's side of a new connection.
    pub fn accept(&self) -> ServerConnection {
        ServerConnection { endpoint: self.clone(), input: Input::default(), reading: Reading::Start }
    }
}

impl ServerConnection {
    /// Whether [`handle_input`](Self::handle_input) takes something: all that has come before was looked at.
    pub fn wants_input(&self) -> bool {
        self.input.is_empty() && !self.is_over()
    }

    /// Whether the connection is to be closed, after what was answered has been sent.
    pub fn is_over(&self) -> bool {
        matches!(self.reading, Reading::Over)
    }

    /// Whether a request has begun to come whose rest is missing.
    pub fn is_in_request(&self) -> bool {
        let is_between = matches!(self.reading, Reading::Start | Reading::Line | Reading::Packet(Packet::Header));
        !(self.is_over() || self.input.is_as_new() && is_between)
    }

    /// Takes what was received. What comes after the connection's end is dropped.
    ///
    /// # Errors
    /// While [`wants_input`](Self::wants_input) is false, since requests wait.
    pub fn handle_input(&mut self, buffer: Buffer) -> Result<(), InputFull> {
        if self.is_over() { Ok(()) } else { self.input.push(buffer) }
    }

    /// The next request; `None` when more input is needed.
    pub fn poll_request(&mut self) -> Option<Request> {
        loop {
            match &mut self.reading {
                Reading::Start => {
                    let is_binary = self.input.first()? == REQUEST_MAGIC;
                    self.reading = if is_binary { Reading::Packet(Packet::Header) } else { Reading::Line };
                }
                Reading::Line => {
                    if self.input.is_empty() {
                        return None;
                    }
                    if let Some(request) = self.poll_line()? {
                        return Some(request);
                    }
                }
                Reading::Keys(command) => {
                    let command = *command;
                    return self.poll_keys(command);
                }
                Reading::Value(..) => return self.poll_value(),
                Reading::MetaValue(..) => return self.poll_meta_value(),
                Reading::Skipped(left) => {
                    *left -= self.input.skip(*left);
                    if *left > 0 {
                        return None;
                    }
                    self.reading = Reading::Line;
                }
                Reading::Packet(_) => return self.poll_packet(),
                Reading::Over => return None,
            }
        }
    }

    /// Reads a command line; `None` if more input is needed, and nothing inside if a value has to be read before there is a request.
    fn poll_line(&mut self) -> Option<Option<Request>> {
        match self.input.read_line(&self.endpoint, self.endpoint.limits().line_bytes) {
            Line::Complete(line) => Some(self.take_line(&line)),
            Line::Partial => None,
            Line::TooLong => Some(Some(self.split_keys())),
        }
    }

    fn take_line(&mut self, line: &Buffer) -> Option<Request> {
        match line::parse(line, self.endpoint.limits()) {
            Parsed::Request(request) => {
                if let Request::Refused { .. } = request {
                    self.endpoint.count_error();
                } else if let Request::Quit = request {
                    self.end();
                }
                Some(request)
            }
            Parsed::Value(mut command, len) => {
                command.key = self.input.key_before(command.key, len + LINE_END.len());
                self.reading = Reading::Value(command, len);
                None
            }
            Parsed::MetaValue(command, key, len) => {
                let key = self.input.key_before(key, len + LINE_END.len());
                self.reading = Reading::MetaValue(command, key, len);
                None
            }
            Parsed::RefusedValue(request, len) => {
                self.endpoint.count_error();
                self.reading = Reading::Skipped(len + 2);
                Some(request)
            }
        }
    }

    /// Reads the beginning of a line that is too long, which only one with keys may be.
    fn split_keys(&mut self) -> Request {
        let Some(part) = self.input.split_line(&self.endpoint, self.endpoint.limits().line_bytes) else {
            return self.end_refused(Refusal::LineTooLong);
        };
        match line::parse(&part, self.endpoint.limits()) {
            Parsed::Request(Request::Retrieve { command, keys, .. }) => {
                self.reading = Reading::Keys(command);
                Request::Retrieve { command, keys, is_last: false }
            }
            _ => self.end_refused(Refusal::LineTooLong),
        }
    }

    fn poll_keys(&mut self, command: RetrievalCommand) -> Option<Request> {
        let max_bytes = self.endpoint.limits().line_bytes;
        let (part, is_last) = match self.input.read_line(&self.endpoint, max_bytes) {
            Line::Complete(line) => (line, true),
            Line::Partial => return None,
            Line::TooLong => match self.input.split_line(&self.endpoint, max_bytes) {
                Some(part) => (part, false),
                None => return Some(self.end_refused(Refusal::LineTooLong)),
            },
        };
        let keys = Keys::new(part);
        if keys.iter().any(|key| key.len() > MAX_KEY_BYTES) {
            // What is left of the line would be taken for commands.
            return Some(self.end_refused(Refusal::BadFormat));
        }
        if is_last {
            self.reading = Reading::Line;
        }
        Some(Request::Retrieve { command, keys, is_last })
    }

    fn poll_value(&mut self) -> Option<Request> {
        let Reading::Value(command, len) = &self.reading else { return None };
        let (refusal, left) = match self.input.read_block(&self.endpoint, *len, LINE_END) {
            Block::Partial => return None,
            Block::Complete(value) => {
                let Reading::Value(command, _) = core::mem::replace(&mut self.reading, Reading::Line) else {
                    return None;
                };
                return Some(Request::Store(command, value));
            }
            Block::Unended => {
                self.endpoint.count_bad_chunk();
                (Refusal::BadDataChunk, 0)
            }
            Block::NoMemory(left) => (Refusal::NoMemory, left),
        };
        self.endpoint.count_error();
        let request = Request::Refused {
            refusal,
            noreply: command.noreply,
            stale: (refusal == Refusal::NoMemory && command.verb == StorageVerb::Set).then(|| command.key.clone()),
        };
        self.reading = if left == 0 { Reading::Line } else { Reading::Skipped(left) };
        Some(request)
    }

    fn poll_meta_value(&mut self) -> Option<Request> {
        let Reading::MetaValue(command, key, len) = &self.reading else { return None };
        let len = *len;
        let block = self.input.read_block(&self.endpoint, len, LINE_END);
        let stale = command.replaces_anything().then(|| key.clone());
        let refused = |refusal, stale| Request::Refused { refusal, noreply: false, stale };
        let (next, request) = match block {
            Block::Partial => return None,
            Block::Complete(value) => {
                let Reading::MetaValue(command, key, _) = core::mem::replace(&mut self.reading, Reading::Line) else {
                    return None;
                };
                return Some(Request::Meta(command, key, value));
            }
            Block::Unended => {
                self.endpoint.count_bad_chunk();
                (Reading::Line, refused(Refusal::BadDataChunk, None))
            }
            Block::NoMemory(left) => (Reading::Skipped(left), refused(Refusal::NoMemory, stale)),
        };
        self.endpoint.count_error();
        self.reading = next;
        Some(request)
    }

    fn end_refused(&mut self, refusal: Refusal) -> Request {
        self.endpoint.count_error();
        self.end();
        Request::Refused { refusal, noreply: false, stale: None }
    }

    fn end(&mut self) {
        self.reading = Reading::Over;
        self.input.clear();
    }
}
