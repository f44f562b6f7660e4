//! The client's side of a connection.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;

use sunstar_packet::Buffer;

use crate::body::{BodyReader, Piece};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::fields::Fields;
use crate::framing::BodyLength;
use crate::head;
use crate::headers::{BadValue, HeaderLines, HeaderName, Headers};
use crate::input::{Input, InputFull, Progress};
use crate::output::{BodyError, BodyWriter, Output};
use crate::response::Response;
use crate::status::Status;
use crate::text;

/// What has arrived, in the order in which the server sent it.
#[derive(Debug)]
pub enum ClientEvent {
    /// An interim response, such as 100; the final one is still to come. There are at most
    /// [`Limits::interim_responses`](crate::Limits::interim_responses) of them before each.
    Interim(Response),
    /// The response to the oldest request. Unless [`Response::body`] says that there is none, its body follows.
    Response(Response),
    /// Bytes of the last response's body, without their coding. Never empty.
    Body(Buffer),
    /// The last response's body is complete.
    End,
    /// The server's bytes are refused, or missing; nothing more will come.
    Error(Error),
}

/// Why a request was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The body of another request is being sent.
    Sending,
    /// The connection has ended, or ends after the responses under way.
    Closing,
    /// Method, target or host have characters that don't belong there.
    BadLine,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sending => "another request is being sent",
            Self::Closing => "the connection takes no more requests",
            Self::BadLine => "the method, the target or the host is malformed",
        })
    }
}

impl core::error::Error for RequestError {}

enum Reading {
    Head,
    /// In a body, after which the connection stays open or not.
    Body(BodyReader, bool),
    Over,
}

/// The client's side of a connection: requests in, bytes out; bytes in, responses out.
///
/// Made by [`Endpoint::connect`]. Requests may be sent before earlier ones are answered; how many is the owner's business.
pub struct ClientConnection {
    endpoint: Endpoint,
    input: Input,
    reading: Reading,
    /// Of each request without response: whether it was `HEAD`, which has no body. The oldest first.
    unanswered: VecDeque<bool>,
    /// Interim responses to the oldest of them so far.
    interim: usize,
    output: Output,
    sending: Option<BodyWriter>,
    /// Behind the last body that has ended, until the next response.
    trailers: Option<Box<Headers>>,
}

impl ClientConnection {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            input: Input::default(),
            reading: Reading::Head,
            unanswered: VecDeque::new(),
            interim: 0,
            output: Output::default(),
            sending: None,
            trailers: None,
        }
    }

    /// The fields behind the body that has ended last, until the next response is handed out; `None` if there are none. Those that
    /// may not stand there are left out (RFC 9110 §6.5.1).
    pub fn trailers(&self) -> Option<&Headers> {
        self.trailers.as_deref()
    }

    /// Whether [`ClientConnection::handle_input`] takes a buffer.
    pub fn wants_input(&self) -> bool {
        !self.is_closed() && !self.input.has_ended() && self.input.has_room(&self.endpoint.0.limits)
    }

    /// Whether there is something for [`ClientConnection::poll_transmit`].
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// How many requests have no response yet.
    pub fn in_flight(&self) -> usize {
        self.unanswered.len()
    }

    /// Whether nothing is under way in either direction: every response has come to its end, every request was taken to its end
    /// by [`ClientConnection::poll_transmit`], and no byte came that nothing was asked for. Only then may another request be sent to
    /// a connection that was put aside.
    pub fn is_idle(&self) -> bool {
        let is_quiet = matches!(self.reading, Reading::Head) && self.input.is_empty() && !self.input.has_ended();
        is_quiet && self.unanswered.is_empty() && self.sending.is_none() && self.output.is_empty()
    }

    /// Whether the body of a request is being sent, that is begun and not ended.
    pub fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Whether no response will come any more, nor can a request be sent.
    pub fn is_closed(&self) -> bool {
        matches!(self.reading, Reading::Over)
    }

    /// Begins a request. `host` is the value of `Host`.
    ///
    /// # Errors
    /// When another request's body is being sent, the connection ends, or an argument is malformed.
    pub fn request(&mut self, method: &str, target: &str, host: &str) -> Result<RequestWriter<'_>, RequestError> {
        let is_target = !target.is_empty() && target.bytes().all(|byte| byte > b' ' && byte != 0x7f);
        if !text::is_token(method.as_bytes()) || !is_target || !text::is_authority(host.as_bytes()) {
            return Err(RequestError::BadLine);
        }
        if self.sending.is_some() {
            return Err(RequestError::Sending);
        }
        if self.is_closed() || self.input.has_ended() {
            return Err(RequestError::Closing);
        }
        let start = self.output.begin(&self.endpoint.0.frames);
        for part in [method, " ", target, " HTTP/1.1\r\nHost: ", host, "\r\n"] {
            self.output.put(part.as_bytes());
        }
        Ok(RequestWriter { is_head: method == "HEAD", connection: self, start, complete: false })
    }

    /// Sends more of the body that [`RequestWriter::stream`] has begun.
    ///
    /// # Errors
    /// When no body is being sent, or it would become too long.
    pub fn send_body(&mut self, buffer: impl Into<Buffer>) -> Result<(), BodyError> {
        let sending = self.sending.as_mut().ok_or(BodyError::NotStreaming)?;
        sending.write(&mut self.output, &self.endpoint.0.frames, buffer.into())
    }

    /// Ends the body that [`RequestWriter::stream`] has begun.
    ///
    /// # Errors
    /// When no body is being sent, or it is too short: then the connection is of no use any more.
    pub fn end_body(&mut self) -> Result<(), BodyError> {
        let sending = self.sending.take().ok_or(BodyError::NotStreaming)?;
        let finished = sending.finish(&mut self.output, &self.endpoint.0.frames, &HeaderLines::new());
        if finished.is_err() {
            self.finish();
        }
        finished
    }

    /// Moves what is to be sent to the end of `out`, and answers how many bytes it has.
    pub fn poll_transmit(&mut self, out: &mut impl Extend<Buffer>) -> usize {
        self.output.take(out)
    }

    /// Takes bytes that have arrived. Those that nobody will look at are dropped.
    ///
    /// # Errors
    /// The buffer comes back while there is no room, see [`ClientConnection::wants_input`].
    pub fn handle_input(&mut self, buffer: Buffer) -> Result<(), InputFull> {
        if self.is_closed() || self.input.has_ended() {
            return Ok(());
        }
        if !self.input.has_room(&self.endpoint.0.limits) {
            self.endpoint.0.counters.inputs_full.add(1);
            return Err(InputFull(buffer));
        }
        self.input.push(buffer);
        Ok(())
    }

    /// The server will send no more.
    pub fn handle_end_of_input(&mut self) {
        self.input.end();
    }

    /// What has arrived next; `None` when more input is needed.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        match &mut self.reading {
            Reading::Head => self.poll_head(),
            Reading::Body(reader, keeps_alive) => {
                let keeps_alive = *keeps_alive;
                match reader.poll(&mut self.input) {
                    Ok(Piece::Pending) => None,
                    Ok(Piece::Data(buffer)) => Some(ClientEvent::Body(buffer)),
                    Ok(Piece::End) => {
                        self.trailers = reader.take_trailers();
                        self.on_message_end(keeps_alive);
                        Some(ClientEvent::End)
                    }
                    Err(error) => Some(self.on_error(error)),
                }
            }
            Reading::Over => None,
        }
    }

    fn poll_head(&mut self) -> Option<ClientEvent> {
        let shared = &*self.endpoint.0;
        let is_head = self.unanswered.front().copied();
        let mut fields = Fields::new(&shared.tables);
        let read = self.input.read_head(shared, |bytes| {
            let Some(parts) = head::parse_response(bytes, &shared.limits, &mut fields)? else { return Ok(None) };
            let status = Status::new(parts.code).ok_or(Error::StartLine)?;
            let declared = parts.parts.framing.response_body(parts.parts.version)?;
            let is_head = if planted::is("unasked_taken") { is_head.or(Some(false)) } else { is_head };
            let is_head = is_head.ok_or(Error::Unasked)?;
            // What follows would be in a protocol that nobody asked for (RFC 9110 §15.2.2).
            if status == Status::SWITCHING_PROTOCOLS {
                return Err(Error::Unasked);
            }
            let length = if is_head || status.forbids_body() { BodyLength::Empty } else { declared };
            let body = BodyReader::new(length, &shared.limits)?;
            Ok(Some((parts.parts.len, (parts, status, length, body))))
        });
        match read {
            Ok(Progress::Complete(head, (parts, status, length, body))) => {
                shared.counters.heads.add(1);
                Some(self.on_response(Response::new(Headers::new(head, fields), &parts, status, length), body))
            }
            Ok(Progress::Partial) => None,
            Ok(Progress::Ended) if self.unanswered.is_empty() => {
                self.finish();
                None
            }
            Ok(Progress::Ended) => Some(self.on_error(Error::Truncated)),
            Err(error) => Some(self.on_error(error)),
        }
    }

    fn on_response(&mut self, response: Response, body: Option<BodyReader>) -> ClientEvent {
        if response.status().is_interim() {
            self.interim += 1;
            if self.interim > self.endpoint.0.limits.interim_responses && !planted::is("interim_unbounded") {
                return self.on_error(Error::TooManyInterim);
            }
            return ClientEvent::Interim(response);
        }
        self.interim = 0;
        self.unanswered.pop_front();
        self.trailers = None;
        match body {
            Some(body) => {
                let keeps_alive = response.keeps_alive() && response.body() != BodyLength::UntilClose;
                self.reading = Reading::Body(body, keeps_alive);
            }
            None => self.on_message_end(response.keeps_alive()),
        }
        ClientEvent::Response(response)
    }

    fn on_message_end(&mut self, keeps_alive: bool) {
        self.reading = Reading::Head;
        if !keeps_alive {
            self.finish();
        }
    }

    fn on_error(&mut self, error: Error) -> ClientEvent {
        self.endpoint.0.counters.errors.add(1);
        self.finish();
        ClientEvent::Error(error)
    }

    fn finish(&mut self) {
        self.reading = Reading::Over;
        self.unanswered.clear();
        self.input.clear();
        self.sending = None;
    }
}

/// The head of a request, which is written into the connection's output as it grows.
///
/// Made by [`ClientConnection::request`]. If it is dropped before [`send`](Self::send) or [`stream`](Self::stream), nothing is sent.
#[must_use = "nothing is sent before `send` or `stream`"]
pub struct RequestWriter<'a> {
    connection: &'a mut ClientConnection,
    is_head: bool,
    start: usize,
    complete: bool,
}

impl RequestWriter<'_> {
    /// Adds a field.
    ///
    /// # Errors
    /// When the value has control characters other than tabs.
    pub fn header(&mut self, name: HeaderName<'_>, value: impl AsRef<[u8]>) -> Result<&mut Self, BadValue> {
        self.connection.output.put_header(name, value.as_ref())?;
        Ok(self)
    }

    /// Adds lines that were checked before.
    pub fn lines(&mut self, lines: &HeaderLines) -> &mut Self {
        self.connection.output.put(lines.as_bytes());
        self
    }

    /// Asks the server to close after its response.
    pub fn close(&mut self) -> &mut Self {
        self.connection.output.put(b"Connection: close\r\n");
        self
    }

    /// Ends the head, and sends the whole body, which may be empty.
    pub fn send(mut self, body: impl Into<Buffer>) {
        let body = body.into();
        self.end_head();
        let connection = &mut *self.connection;
        if body.is_empty() {
            connection.output.put(b"\r\n");
        } else {
            connection.output.put_length(body.len() as u64);
            connection.output.push(&connection.endpoint.0.frames, body);
        }
    }

    /// Ends the head; the body follows by [`ClientConnection::send_body`] and [`ClientConnection::end_body`], in chunks when its
    /// length is not known.
    pub fn stream(mut self, length: Option<u64>) {
        self.end_head();
        let connection = &mut *self.connection;
        match length {
            Some(length) => connection.output.put_length(length),
            None => connection.output.put(b"Transfer-Encoding: chunked\r\n\r\n"),
        }
        connection.sending = Some(length.map_or(BodyWriter::Chunked, BodyWriter::Known));
    }

    fn end_head(&mut self) {
        self.complete = true;
        self.connection.unanswered.push_back(self.is_head);
    }
}

impl Drop for RequestWriter<'_> {
    fn drop(&mut self) {
        if !self.complete {
            self.connection.output.put_back(self.start);
        }
    }
}
