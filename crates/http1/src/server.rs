//! The server's side of a connection.

use alloc::boxed::Box;

use smallvec::SmallVec;
use sunstar_packet::Buffer;

use crate::body::{BodyReader, Piece};
use crate::date::Date;
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::fields::Fields;
use crate::framing::Version;
use crate::head;
use crate::headers::{HeaderLines, Headers};
use crate::input::{Input, InputFull, Progress};
use crate::output::{BodyError, BodyWriter, Output};
use crate::request::{self, Method, Request};
use crate::respond::{RespondError, ResponseWriter};
use crate::status::Status;
use crate::trailers::is_forbidden;

/// What has arrived, in the order in which the client sent it.
#[derive(Debug)]
pub enum Event {
    /// A request, which waits for [`Connection::respond`]. Unless [`Request::body`] says that there is none, its body follows.
    Request(Request),
    /// Bytes of the last request's body, without their coding. Never empty.
    Body(Buffer),
    /// The last request's body is complete.
    End,
    /// The client's bytes are refused, and those behind them are not looked at. If it happens within a body, the request that
    /// it belongs to stays unanswered until it is; else the refused request waits for an answer as others do, which
    /// [`Error::status`] suggests. The connection ends with it.
    Error(Error),
}

/// What a connection waits for, if it waits for input: what limits of time are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Awaits {
    /// The first byte of a next request. An empty line in front of it is not yet one (RFC 9112 §2.2).
    Request,
    /// The rest of a head.
    Head,
    /// The rest of the last request's body.
    Body,
    /// Nothing: what comes is not looked at.
    Nothing,
}

/// Where in the input the connection is.
enum Reading {
    /// Before or in a head.
    Head,
    /// In the body of the last request.
    Body(BodyReader),
    /// Behind the last thing that is looked at.
    Over,
}

/// A request that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) version: Version,
    /// The answer goes without body.
    pub(crate) is_head: bool,
    /// What the client wants, and the last word if it is false.
    pub(crate) keeps_alive: bool,
}

/// The server's side of a connection: bytes in, requests out; responses in, bytes out.
///
/// Made by [`Endpoint::accept`]. The crate's documentation shows the loop around it.
pub struct Connection {
    pub(crate) endpoint: Endpoint,
    input: Input,
    reading: Reading,
    /// Requests that are not answered, the oldest first. At most [`Limits::pipelined_requests`](crate::Limits), and one that
    /// was refused. A few of them need no memory of their own.
    exchanges: SmallVec<[Exchange; 4]>,
    pub(crate) output: Output,
    /// The body that is being sent, of the response to the oldest request.
    sending: Option<BodyWriter>,
    /// The connection ends after the response that is being sent.
    last: bool,
    /// Behind the last body that has ended, until the next request.
    trailers: Option<Box<Headers>>,
    /// The client waits before it sends the last request's body.
    awaits_continue: bool,
    stopping: bool,
    /// No further response will be sent.
    over: bool,
    /// The last response was ended by nothing but the end of the connection.
    is_cut_off: bool,
}

impl Connection {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            input: Input::default(),
            reading: Reading::Head,
            exchanges: SmallVec::new(),
            output: Output::default(),
            sending: None,
            last: false,
            trailers: None,
            awaits_continue: false,
            stopping: false,
            over: false,
            is_cut_off: false,
        }
    }

    /// Whether [`Connection::handle_input`] takes a buffer. While it does not, the client had better be held back, by not reading.
    pub fn wants_input(&self) -> bool {
        !matches!(self.reading, Reading::Over)
            && !self.input.has_ended()
            && self.input.has_room(&self.endpoint.0.limits)
    }

    /// Whether there is something for [`Connection::poll_transmit`].
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// How many bytes wait for [`Connection::poll_transmit`].
    pub fn output_bytes(&self) -> usize {
        self.output.bytes()
    }

    /// How many requests wait for their answers, or for the ends of them.
    pub fn in_flight(&self) -> usize {
        self.exchanges.len()
    }

    /// Whether the body of a response was begun and not ended.
    pub fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Whether the connection only waits for a next request: nothing of one is there, nothing is unanswered or unsent.
    pub fn is_idle(&self) -> bool {
        matches!(self.reading, Reading::Head)
            && self.exchanges.is_empty()
            && self.input.is_empty()
            && self.output.is_empty()
    }

    /// Whether there is nothing to remember of the client: the connection could be another one's, whose first request it awaits.
    pub fn is_as_new(&self) -> bool {
        let is_marked = self.last | self.awaits_continue | self.stopping | self.over | self.is_cut_off;
        self.is_idle() && !is_marked && self.sending.is_none() && self.trailers.is_none() && self.input.is_as_new()
    }

    /// What comes next.
    pub fn awaits(&self) -> Awaits {
        match self.reading {
            _ if self.input.has_ended() => Awaits::Nothing,
            Reading::Head if self.input.is_empty() => Awaits::Request,
            Reading::Head => Awaits::Head,
            Reading::Body(_) => Awaits::Body,
            Reading::Over => Awaits::Nothing,
        }
    }

    /// Whether no further response will be sent, nor anything more be read.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the connection may be closed: everything was handed out, and nothing more will come.
    ///
    /// Who closes while the client still sends risks that it loses the last response (RFC 9112 §9.6): better to shut the sending
    /// side down and read on for a while.
    pub fn should_close(&self) -> bool {
        self.over && self.output.is_empty()
    }

    /// Whether a response has broken off that only the end of the connection ends, as it is with HTTP/1.0: who does not reset the
    /// connection lets the client take the part for the whole.
    pub fn needs_reset(&self) -> bool {
        self.is_cut_off || self.sending == Some(BodyWriter::UntilClose)
    }

    /// Takes bytes that have arrived. Those that nobody will look at are dropped.
    ///
    /// # Errors
    /// The buffer comes back while there is no room, see [`Connection::wants_input`].
    pub fn handle_input(&mut self, buffer: Buffer) -> Result<(), InputFull> {
        if matches!(self.reading, Reading::Over) || self.input.has_ended() {
            return Ok(());
        }
        if !self.input.has_room(&self.endpoint.0.limits) {
            self.endpoint.0.counters.inputs_full.add(1);
            return Err(InputFull(buffer));
        }
        self.input.push(buffer);
        Ok(())
    }

    /// The client will send no more. What it has sent is still answered.
    pub fn handle_end_of_input(&mut self) {
        self.input.end();
    }

    /// Ends the connection when all that has arrived is answered; the last answer says so.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.settle();
    }

    /// Ends the connection after what waits to be sent, in the midst of a response if need be.
    pub fn abort(&mut self) {
        self.finish();
    }

    /// Allows the body that is being received, if one is, to have at most so many bytes more, whatever the
    /// [`Limits`](crate::Limits) allow beyond that. If it has more, it is refused by [`Error::BodyTooLarge`]: at once where its
    /// length is known.
    pub fn limit_body(&mut self, bytes: u64) {
        if let Reading::Body(reader) = &mut self.reading {
            reader.limit(bytes);
        }
    }

    /// Waits no longer for the rest of what the client is sending.
    ///
    /// A request whose head was begun is to be answered in its turn, by [`Status::REQUEST_TIMEOUT`] as a rule; so is one whose body
    /// was, unless it is answered already. The connection ends after that. If nothing was begun, it ends after what is in flight.
    pub fn give_up_input(&mut self) {
        match self.awaits() {
            Awaits::Head => self.expect_refusal(),
            Awaits::Body => self.end_after_newest(),
            Awaits::Request | Awaits::Nothing => {}
        }
        self.read_no_more();
        self.settle();
    }

    /// What has arrived next; `None` when more input is needed, or answers, or room for output.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        // It is asked until it has nothing more to say, and most connections have one request at a time.
        if matches!(self.reading, Reading::Head) && self.input.is_empty() && !self.input.has_ended() && !self.stopping {
            return None;
        }
        self.poll_input()
    }

    fn poll_input(&mut self) -> Option<Event> {
        let event = match &mut self.reading {
            Reading::Head => self.poll_head(),
            Reading::Body(reader) => {
                let piece = reader.poll(&mut self.input);
                if matches!(piece, Ok(Piece::End)) {
                    self.trailers = reader.take_trailers();
                }
                self.on_piece(piece)
            }
            Reading::Over => None,
        };
        if event.is_none() {
            self.settle();
        }
        event
    }

    /// The fields behind the body that has ended last (RFC 9110 §6.5), until the next request is handed out; `None` if there are
    /// none. Those that may not stand there, because they frame, route, or authorise, are left out (§6.5.1).
    pub fn trailers(&self) -> Option<&Headers> {
        self.trailers.as_deref()
    }

    /// Moves what is to be sent to the end of `out`, and answers how many bytes it has.
    ///
    /// The buffers shall be sent in this order. Small responses lie in one buffer, one behind the other.
    pub fn poll_transmit(&mut self, out: &mut impl Extend<Buffer>) -> usize {
        self.output.take(out)
    }

    /// Answers the oldest request that is not answered. `date` is now, if the server knows (RFC 9110 §6.6.1).
    ///
    /// The head is written as the writer is told; nothing is answered if it is dropped before its end.
    ///
    /// # Errors
    /// When no request waits, a body is being sent, or the status is interim.
    pub fn respond(&mut self, status: Status, date: Option<&Date>) -> Result<ResponseWriter<&mut Self>, RespondError> {
        ResponseWriter::begin(self, status, date)
    }

    /// The request that a response with this status would answer.
    pub(crate) fn next_to_answer(&self, status: Status) -> Result<Exchange, RespondError> {
        if status.is_interim() {
            return Err(RespondError::Interim);
        }
        if self.sending.is_some() {
            return Err(RespondError::Sending);
        }
        self.exchanges.first().copied().ok_or(RespondError::NothingAsked)
    }

    /// Tells the client to send the body of the last request, if it waits for that (RFC 9110 §10.1.1) and all requests before are
    /// answered. Answers whether it was told.
    pub fn send_continue(&mut self) -> bool {
        let tell = self.awaits_continue && self.exchanges.len() == 1 && self.sending.is_none();
        if tell {
            self.awaits_continue = false;
            self.output.begin(&self.endpoint.0.frames);
            self.output.put(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        tell
    }

    /// Sends more of the body that [`ResponseWriter::stream`] has begun.
    ///
    /// Takes any number of bytes; who has more than the client takes looks at [`Connection::output_bytes`].
    ///
    /// # Errors
    /// When no body is being sent, or it would become too long.
    pub fn send_body(&mut self, buffer: impl Into<Buffer>) -> Result<(), BodyError> {
        let sending = self.sending.as_mut().ok_or(BodyError::NotStreaming)?;
        sending.write(&mut self.output, &self.endpoint.0.frames, buffer.into())
    }

    /// Takes note that the next `len_bytes` of the body that [`ResponseWriter::stream`] has begun don't pass through the connection:
    /// the owner sends them by itself, from a file for instance, behind all that [`Connection::poll_transmit`] hands out before this
    /// call. Answers how many bytes it shall send: none if the response goes without body, as to `HEAD`.
    ///
    /// # Errors
    /// When no body is being sent, it would become too long, or it goes in chunks; nothing is to be sent then.
    ///
    /// # Panics
    /// When there is output, which would be sent too late: see [`Connection::has_output`].
    pub fn skip_body(&mut self, len_bytes: u64) -> Result<u64, BodyError> {
        assert!(!self.has_output(), "the output before is to be taken first");
        self.sending.as_mut().ok_or(BodyError::NotStreaming)?.skip(len_bytes)
    }

    /// Ends the body that [`ResponseWriter::stream`] has begun.
    ///
    /// # Errors
    /// When no body is being sent, or it is too short: then the connection ends.
    pub fn end_body(&mut self) -> Result<(), BodyError> {
        self.end_body_with(&HeaderLines::new())
    }

    /// Ends the body that [`ResponseWriter::stream`] has begun, with fields behind it (RFC 9110 §6.5) if it goes in chunks; to others
    /// they are not sent.
    ///
    /// Whatever is on the way may drop them, so nothing may depend on them; [`Request::takes_trailers`] tells of clients that
    /// want them.
    ///
    /// # Errors
    /// When no body is being sent, a field may not stand there (nothing was done then), or the body is too short: then the
    /// connection ends.
    pub fn end_body_with(&mut self, trailers: &HeaderLines) -> Result<(), BodyError> {
        if trailers.names().any(is_forbidden) {
            return Err(BodyError::Trailer);
        }
        let sending = self.sending.take().ok_or(BodyError::NotStreaming)?;
        let finished = sending.finish(&mut self.output, &self.endpoint.0.frames, trailers);
        self.last |= finished.is_err();
        self.on_answered();
        finished
    }

    /// Whether the connection can't go on after the response to the oldest request.
    pub(crate) fn ends_with(&self, exchange: Exchange) -> bool {
        let is_newest = self.exchanges.len() == 1;
        // A client that waits may or may not send the body after another answer (RFC 9110 §10.1.1).
        !exchange.keeps_alive || (is_newest && (self.awaits_continue || self.nothing_comes()))
    }

    /// The head of the response to the oldest request is written.
    pub(crate) fn on_head(&mut self, sending: BodyWriter, last: bool) {
        self.sending = Some(sending);
        self.last = last;
    }

    /// The response to the oldest request is complete.
    pub(crate) fn on_answered(&mut self) {
        self.sending = None;
        match self.exchanges.len() {
            0 | 1 => _ = self.exchanges.pop(),
            _ => _ = self.exchanges.remove(0),
        }
        if self.last {
            self.finish();
        } else {
            self.settle();
        }
    }

    fn poll_head(&mut self) -> Option<Event> {
        let shared = &*self.endpoint.0;
        let is_full = self.exchanges.len() >= shared.limits.pipelined_requests.max(1);
        if is_full || self.output.bytes() > shared.limits.output_bytes {
            if !self.input.is_empty() {
                let counters = &shared.counters;
                if is_full { &counters.pipelines_full } else { &counters.outputs_full }.add(1);
            }
            return None;
        }
        let mut fields = Fields::new(&shared.tables);
        let read = self.input.read_head(shared, |bytes| {
            let Some(parts) = head::parse_request(bytes, &shared.limits, &mut fields)? else { return Ok(None) };
            let checked = request::check(&bytes[..parts.parts.len], &parts)?;
            Ok(Some((parts.parts.len, (parts, checked))))
        });
        match read {
            Ok(Progress::Complete(head, (parts, checked))) => match BodyReader::new(checked.body(), &shared.limits) {
                Ok(body) => {
                    shared.counters.heads.add(1);
                    Some(self.on_request(Request::new(Headers::new(head, fields), parts, checked), body))
                }
                Err(error) => {
                    if !planted::is("large_body_unanswered") {
                        self.expect_refusal();
                    }
                    Some(self.on_error(error))
                }
            },
            Ok(Progress::Partial | Progress::Ended) => None,
            // Whoever has sent a part of a head and gone expects no answer.
            Err(Error::Truncated) => {
                shared.counters.errors.add(1);
                self.read_no_more();
                None
            }
            Err(error) => {
                self.expect_refusal();
                Some(self.on_error(error))
            }
        }
    }

    fn on_request(&mut self, request: Request, body: Option<BodyReader>) -> Event {
        self.exchanges.push(Exchange {
            version: request.version(),
            is_head: request.method() == Method::Head && !planted::is("head_answered_whole"),
            keeps_alive: request.keeps_alive(),
        });
        self.awaits_continue = request.expects_continue();
        self.trailers = None;
        match body {
            Some(body) => self.reading = Reading::Body(body),
            None => self.on_message_end(request.keeps_alive()),
        }
        Event::Request(request)
    }

    fn on_piece(&mut self, piece: Result<Piece, Error>) -> Option<Event> {
        match piece {
            Ok(Piece::Pending) => None,
            Ok(Piece::Data(buffer)) => {
                self.awaits_continue = false;
                Some(Event::Body(buffer))
            }
            Ok(Piece::End) => {
                self.awaits_continue = false;
                self.reading = Reading::Head;
                // The request was answered already if there is none.
                let keeps_alive = self.exchanges.last().is_none_or(|exchange| exchange.keeps_alive);
                self.on_message_end(keeps_alive);
                Some(Event::End)
            }
            Err(error) => {
                self.end_after_newest();
                Some(self.on_error(error))
            }
        }
    }

    /// What can't be understood, or does not come, is to be answered nevertheless.
    fn expect_refusal(&mut self) {
        self.exchanges.push(Exchange { version: Version::Http11, is_head: false, keeps_alive: false });
    }

    /// The body of the newest request does not come to its end.
    fn end_after_newest(&mut self) {
        if let Some(exchange) = self.exchanges.last_mut() {
            exchange.keeps_alive = false;
        }
        self.last |= self.exchanges.len() <= 1;
    }

    /// Nothing is read behind a request after which the client wants to close (RFC 9112 §9.6).
    fn on_message_end(&mut self, keeps_alive: bool) {
        if !keeps_alive {
            self.read_no_more();
        }
    }

    fn on_error(&mut self, error: Error) -> Event {
        self.endpoint.0.counters.errors.add(1);
        self.read_no_more();
        Event::Error(error)
    }

    fn read_no_more(&mut self) {
        self.reading = Reading::Over;
        self.input.clear();
    }

    /// Notices that nothing is left to be done.
    fn settle(&mut self) {
        if self.exchanges.is_empty() && self.nothing_comes() {
            self.finish();
        }
    }

    /// Whether no request comes any more, except for those that wait.
    fn nothing_comes(&self) -> bool {
        match self.reading {
            Reading::Head => self.input.is_empty() && (self.stopping || self.input.has_ended()),
            Reading::Body(_) => false,
            Reading::Over => true,
        }
    }

    fn finish(&mut self) {
        self.over = true;
        self.is_cut_off = self.needs_reset();
        self.sending = None;
        self.exchanges.clear();
        self.read_no_more();
    }
}
