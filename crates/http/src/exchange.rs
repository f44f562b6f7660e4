//! A request and its response, under the application's hands.

use sunstar_http1::{ResponseWriter, Status};
use sunstar_packet::Buffer;

use crate::connection::{Connection, Piece};
use crate::error::Error;
use crate::watch::Watch;

/// One request on its way through the application: its body comes in by this, its response goes out.
///
/// What is left of the body when the response is complete is read and dropped.
pub struct Exchange<'a> {
    connection: &'a mut Connection,
    watch: Watch<'a>,
    /// More of the request's body may come.
    has_body: bool,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(connection: &'a mut Connection, watch: Watch<'a>, has_body: bool) -> Self {
        Self { connection, watch, has_body }
    }

    /// Begins the response. [`ResponseWriter::send`] or [`ResponseWriter::stream`] end its head.
    ///
    /// # Errors
    /// If the request was answered already.
    pub fn respond(&mut self, status: Status) -> Result<ResponseWriter<'_>, Error> {
        self.connection.respond(status)
    }

    /// Lets the request's body have at most so many bytes, of which none was asked for yet. More are answered by 413, before any is
    /// read where the length is known. [`Limits::body_bytes`](crate::Limits::body_bytes) is the bound for all requests.
    pub fn limit_body(&mut self, bytes: u64) {
        self.connection.limit_body(bytes);
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
        match self.connection.next_piece(&mut self.watch).await? {
            Piece::Bytes(bytes) => Ok(Some(bytes)),
            Piece::End => {
                self.has_body = false;
                Ok(None)
            }
        }
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
        self.connection.send_body(bytes.into(), &mut self.watch).await
    }

    /// Lets what was sent so far leave, as far as it was collected, and waits while the client does not take it. For responses that
    /// grow slowly.
    ///
    /// If the future is dropped while it waits, what was collected leaves later.
    ///
    /// # Errors
    /// If the client does not take it in time, or the network fails.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.connection.transmit(&mut self.watch).await
    }

    /// Ends the body that [`ResponseWriter::stream`] has begun.
    ///
    /// # Errors
    /// If no body is being sent, or it is too short.
    pub fn end_body(&mut self) -> Result<(), Error> {
        self.connection.end_body()
    }
}
