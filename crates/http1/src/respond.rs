//! Writing a response's head.

use core::fmt;
use core::ops::DerefMut;

use sunstar_packet::Buffer;

use crate::date::Date;
use crate::framing::Version;
use crate::headers::{BadValue, HeaderLines, HeaderName};
use crate::output::BodyWriter;
use crate::server::{Connection, Exchange};
use crate::status::Status;

/// Why there is nothing to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RespondError {
    /// No request waits for an answer; the connection may have ended.
    NothingAsked,
    /// The body of another response is being sent.
    Sending,
    /// The status announces another response and is none itself.
    Interim,
}

impl fmt::Display for RespondError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingAsked => "no request waits for an answer",
            Self::Sending => "another response is being sent",
            Self::Interim => "the status is that of an interim response",
        })
    }
}

impl core::error::Error for RespondError {}

/// The head of a response, which is written into the connection's output as it grows.
///
/// Made by [`Connection::respond`], or by [`ResponseWriter::begin`] for who lends the connection in another way than by a reference: the
/// connection is free again when the writer is gone. [`send`](Self::send) or [`stream`](Self::stream) end it; if it is dropped before, the request
/// is as unanswered as it was.
///
/// The connection adds what is its own business: `Content-Length` or `Transfer-Encoding` unless the status forbids a body,
/// and `Connection` where it has to say something. To a `HEAD` request the answer is what it would be to `GET`; its body is left out.
#[must_use = "nothing is answered before `send` or `stream`"]
pub struct ResponseWriter<C: DerefMut<Target = Connection>> {
    connection: C,
    exchange: Exchange,
    status: Status,
    /// Where in the output the head begins.
    start: usize,
    close: bool,
    complete: bool,
}

impl<C: DerefMut<Target = Connection>> ResponseWriter<C> {
    /// Begins the response to the oldest request that waits for one, with the date if it is to be told.
    ///
    /// # Errors
    /// When no request waits, a body is being sent, or the status is interim.
    pub fn begin(mut connection: C, status: Status, date: Option<&Date>) -> Result<Self, RespondError> {
        let exchange = connection.next_to_answer(status)?;
        let Connection { output, endpoint, .. } = &mut *connection;
        let start = output.begin(&endpoint.0.frames);
        match (status.line(), date) {
            (Some(line), Some(date)) => output.put_all([line, date.line()]),
            (Some(line), None) => output.put(line),
            (None, date) => {
                let date = date.map_or(&b""[..], |date| date.line());
                output.put_all([b"HTTP/1.1 ", &status.digits(), b" \r\n", date]);
            }
        }
        Ok(Self { connection, exchange, status, start, close: false, complete: false })
    }

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

    /// Announces the names of the fields that [`Connection::end_body_with`] will send (RFC 9110 §6.6.2).
    pub fn announce_trailers(&mut self, names: &[HeaderName<'_>]) -> &mut Self {
        if self.exchange.version == Version::Http11 {
            for (at, name) in names.iter().enumerate() {
                self.connection.output.put(if at == 0 { b"Trailer: " } else { b", " });
                self.connection.output.put(name.as_str().as_bytes());
            }
            self.connection.output.put(if names.is_empty() { b"" } else { b"\r\n" });
        }
        self
    }

    /// Ends the connection after this response.
    pub fn close(&mut self) -> &mut Self {
        self.close = true;
        self
    }

    /// Ends the head, and sends the whole body. Up to [`COPIED_BODY_BYTES`](crate::COPIED_BODY_BYTES) are copied behind the head; more
    /// stay in their buffer.
    pub fn send(mut self, body: impl Into<Buffer>) {
        let body = body.into();
        let writer = self.end_head(Some(body.len() as u64));
        let connection = &mut *self.connection;
        if writer != BodyWriter::Nothing {
            connection.output.push(&connection.endpoint.0.frames, body);
        }
        connection.on_answered();
    }

    /// Ends the head; the body follows by [`Connection::send_body`] and [`Connection::end_body`].
    ///
    /// A body whose length is not known goes in chunks, or to a client of HTTP/1.0 until the connection ends.
    pub fn stream(mut self, length: Option<u64>) {
        self.end_head(length);
    }

    fn end_head(&mut self, length: Option<u64>) -> BodyWriter {
        let Exchange { version, is_head, .. } = self.exchange;
        let forbidden = self.status.forbids_body();
        let chunked = length.is_none() && version == Version::Http11;
        let endless = length.is_none() && !chunked && !is_head && !forbidden;
        let last = self.close || endless || self.connection.ends_with(self.exchange);
        let output = &mut self.connection.output;
        if last {
            output.put(b"Connection: close\r\n");
        } else if version == Version::Http10 {
            output.put(b"Connection: keep-alive\r\n");
        }
        match length {
            // RFC 9110 §8.6: 204 must not have it, and 304 only that of another response.
            _ if forbidden => output.put(b"\r\n"),
            Some(length) => output.put_length(length),
            None if chunked => output.put(b"Transfer-Encoding: chunked\r\n\r\n"),
            None => output.put(b"\r\n"),
        }
        let writer = match length {
            _ if is_head || forbidden => BodyWriter::Nothing,
            Some(length) => BodyWriter::Known(length),
            None if chunked => BodyWriter::Chunked,
            None => BodyWriter::UntilClose,
        };
        self.complete = true;
        self.connection.on_head(writer, last);
        writer
    }
}

impl<C: DerefMut<Target = Connection>> Drop for ResponseWriter<C> {
    fn drop(&mut self) {
        if !self.complete {
            self.connection.output.put_back(self.start);
        }
    }
}
