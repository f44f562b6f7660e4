//! A request and its response, under the application's hands.

use alloc::boxed::Box;
use core::cell::{RefCell, RefMut};

#[cfg(feature = "compression")]
use sunstar_http1::Request;
use sunstar_http1::{HeaderLines, Headers, Status};
use sunstar_packet::Buffer;
use sunstar_storage::File;

#[cfg(feature = "compression")]
use crate::compress::{Accepted, Coding, Encoder};
use crate::connection::{Connection, Piece};
use crate::error::Error;
use crate::router::Params;
use crate::watch::Watch;

/// One request on its way through the application: its body comes in by this, its response goes out.
///
/// What is left of the body when the handler is done is read and dropped, as long as that is at most 1 MiB; else the connection ends.
pub struct Exchange<'a> {
    /// Borrowed while the handler does something with it. In between it can send what it has for earlier requests.
    connection: &'a RefCell<&'a mut Connection>,
    watch: Watch<'a>,
    /// More of the request's body may come.
    has_body: bool,
    trailers: Option<Box<Headers>>,
    /// What a router has found.
    params: Option<Params>,
}

/// The head of a response, made by [`Exchange::respond`].
pub type ResponseWriter<'a> = sunstar_http1::ResponseWriter<RefMut<'a, sunstar_http1::Connection>>;

#[expect(clippy::await_holding_refcell_ref, reason = "who finds it borrowed leaves it to whom is waited for")]
impl<'a> Exchange<'a> {
    pub(crate) fn new(connection: &'a RefCell<&'a mut Connection>, watch: Watch<'a>, has_body: bool) -> Self {
        Self { connection, watch, has_body, trailers: None, params: None }
    }

    pub(crate) fn set_params(&mut self, params: Params) {
        self.params = Some(params);
    }

    /// The pattern that the request's path has fitted; `None` where it fitted none, or no [`Router`](crate::Router) was asked.
    ///
    /// Clients can't make up new ones, so it suits the labels of metrics.
    pub fn pattern(&self) -> Option<&str> {
        self.params.as_ref().map(Params::pattern)
    }

    /// The values of the parameters in the request's path; `None` where [`Exchange::pattern`] is. They are the caller's own, so that
    /// a response may be begun while they are looked at.
    pub fn params(&self) -> Option<Params> {
        self.params.clone()
    }

    /// Begins the response. [`ResponseWriter::send`] or [`ResponseWriter::stream`] end its head. Who waits for something else while
    /// it is being written keeps responses to earlier requests waiting.
    ///
    /// # Errors
    /// If the request was answered already.
    pub fn respond(&mut self, status: Status) -> Result<ResponseWriter<'_>, Error> {
        Connection::respond_by(RefMut::map(self.connection.borrow_mut(), |connection| &mut **connection), status)
    }

    /// Lets the request's body have at most so many bytes, of which none was asked for yet. More are answered by 413, before any is
    /// read where the length is known. [`Limits::body_bytes`](crate::Limits::body_bytes) is the bound for all requests.
    pub fn limit_body(&mut self, bytes: u64) {
        self.connection.borrow_mut().limit_body(bytes);
    }

    /// The next piece of the request's body, without its coding; `None` at its end. A client that waits to be asked for the body
    /// is asked (RFC 9110 §10.1.1).
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the body is refused, breaks off or does not come in time (which has been answered then, if nothing was before), if the
    /// response is complete and the connection ends with it, or the network fails.
    pub async fn body(&mut self) -> Result<Option<Buffer>, Error> {
        if !self.has_body {
            return Ok(None);
        }
        let mut connection = self.connection.borrow_mut();
        match connection.next_piece(&mut self.watch).await? {
            Piece::Bytes(bytes) => Ok(Some(bytes)),
            Piece::End => {
                self.has_body = false;
                self.trailers = connection.trailers().cloned().map(Box::new);
                Ok(None)
            }
        }
    }

    /// The fields behind the request's body, when [`Exchange::body`] has come to its end (RFC 9110 §6.5); `None` if there are none.
    /// Their size is bounded by [`Limits::trailer_bytes`](crate::Limits::trailer_bytes). Those that frame, route or authorise are
    /// left out.
    pub fn trailers(&self) -> Option<&Headers> {
        self.trailers.as_deref()
    }

    /// Sends more of the body that [`ResponseWriter::stream`] has begun, and waits while the client does not take it.
    ///
    /// Parts are collected until there are [`Limits::output_bytes`](crate::Limits::output_bytes) of them, the handler waits for the
    /// request's body or is done. [`Exchange::flush`] lets them leave earlier.
    ///
    /// If the future is dropped while it waits, the bytes are sent nevertheless.
    ///
    /// # Errors
    /// If no body is being sent, it would become too long, the client does not take it in time, or the network fails.
    pub async fn send_body(&mut self, bytes: impl Into<Buffer>) -> Result<(), Error> {
        self.connection.borrow_mut().send_body(bytes.into(), &mut self.watch).await
    }

    /// Sends a part of a file as the next part of the body that [`ResponseWriter::stream`] has begun with a known length. Where the
    /// network can, the bytes go from the file to it without passing through memory here. Waits while the client does not take
    /// them.
    ///
    /// If the file turns out to be shorter, the connection ends: the client can't be told otherwise.
    ///
    /// If the future is dropped while it waits, what was handed to the network is sent nevertheless.
    ///
    /// # Errors
    /// If no body is being sent, it would become too long, or goes in chunks; if the file or the network fails.
    pub async fn send_file(&mut self, file: &File, offset: u64, len_bytes: u64) -> Result<(), Error> {
        self.connection.borrow_mut().send_file(file, offset, len_bytes, &mut self.watch).await
    }

    /// Compresses the response's body as the client likes it best (`Accept-Encoding`), or not at all: if it takes nothing of the kind, or
    /// too many bodies are being compressed on this shard.
    #[cfg(feature = "compression")]
    pub fn encoder(&self, request: &Request) -> Encoder {
        let best = Accepted::of(request.headers()).best();
        best.and_then(|coding| self.encoder_for(coding)).unwrap_or_else(Encoder::identity)
    }

    /// Compresses the body in a certain way, unless too many are being compressed.
    #[cfg(feature = "compression")]
    pub(crate) fn encoder_for(&self, coding: Coding) -> Option<Encoder> {
        Encoder::new(coding, self.connection.borrow().shared())
    }

    /// Lets what was sent so far leave, as far as it was collected, and waits while the client does not take it. For responses that
    /// grow slowly.
    ///
    /// If the future is dropped while it waits, what was collected leaves later.
    ///
    /// # Errors
    /// If the client does not take it in time, or the network fails.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.connection.borrow_mut().transmit(&mut self.watch).await
    }

    /// Ends the body that [`ResponseWriter::stream`] has begun.
    ///
    /// # Errors
    /// If no body is being sent, or it is too short.
    pub fn end_body(&mut self) -> Result<(), Error> {
        self.connection.borrow_mut().end_body_with(&HeaderLines::new())
    }

    /// Ends the body that [`ResponseWriter::stream`] has begun, with fields behind it if it goes in chunks; to others they are not
    /// sent. [`ResponseWriter::announce_trailers`] tells of them in time, [`Request::takes_trailers`](crate::Request::takes_trailers)
    /// whether the client cares.
    ///
    /// # Errors
    /// If no body is being sent, a field may not stand there (RFC 9110 §6.5.1; then it may be tried again), or the body is too
    /// short.
    pub fn end_body_with(&mut self, trailers: &HeaderLines) -> Result<(), Error> {
        self.connection.borrow_mut().end_body_with(trailers)
    }
}
