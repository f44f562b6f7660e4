//! Responses.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use sunstar_executor::maybe_yield;
use sunstar_http1::BodyLength;
use sunstar_packet::Buffer;

use super::allowance::Allowance;
use super::error::ClientError;
use super::pool::Slot;
use super::transport::{Piece, Transport};
use crate::{Headers, Pace, Status, Version};

/// A response: its head, and its body as it comes.
///
/// When the body has come to its end, the connection goes back to the client's others. If the response is dropped before, what
/// is left is read and dropped if it is little ([`ClientOptions::drain_bytes`](super::ClientOptions::drain_bytes)), and the
/// connection is closed otherwise.
pub struct Response {
    head: sunstar_http1::Response,
    reading: Reading,
    /// Of a body whose length is known.
    left_bytes: Option<u64>,
    allowance: Allowance,
    trailers: Option<Box<Headers>>,
}

enum Reading {
    Body(Slot),
    Ended,
    Failed(ClientError),
}

impl Response {
    pub(super) fn new(head: sunstar_http1::Response, slot: Slot, pace: Pace) -> Self {
        let left_bytes = match head.body() {
            BodyLength::Empty => Some(0),
            BodyLength::Known(bytes) => Some(bytes),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        };
        let allowance = Allowance::new(pace);
        let reading = if head.body() == BodyLength::Empty { Reading::Ended } else { Reading::Body(slot) };
        Self { head, reading, left_bytes, allowance, trailers: None }
    }

    /// The status.
    pub const fn status(&self) -> Status {
        self.head.status()
    }

    /// The header fields.
    pub const fn headers(&self) -> &Headers {
        self.head.headers()
    }

    /// The version.
    pub const fn version(&self) -> Version {
        self.head.version()
    }

    /// The head as a whole.
    pub const fn head(&self) -> &sunstar_http1::Response {
        &self.head
    }

    /// What is still to come of a body whose length the server has told.
    pub const fn left_bytes(&self) -> Option<u64> {
        self.left_bytes
    }

    /// The fields behind the body, when it has ended and there are any. Those that may not stand there are left out
    /// (RFC 9110 §6.5.1).
    pub fn trailers(&self) -> Option<&Headers> {
        self.trailers.as_deref()
    }

    /// The next piece of the body, without its coding; `None` at its end. Who does not ask holds the server back.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the body breaks off, is refused, the connection fails, or nothing or too little comes in time
    /// ([`ClientOptions::body`](super::ClientOptions::body), [`RequestBuilder::body_pace`](super::RequestBuilder::body_pace)); again on every later call.
    pub async fn body(&mut self) -> Result<Option<Buffer>, ClientError> {
        let slot = match &mut self.reading {
            Reading::Body(slot) => slot,
            Reading::Ended => return Ok(None),
            Reading::Failed(error) => return Err(*error),
        };
        let Some(transport) = &mut slot.transport else { return Ok(None) };
        // A server that always has more must not keep the shard to itself.
        maybe_yield().await;
        match self.allowance.wait(poll_fn(|cx| transport.poll_body(cx))).await {
            Ok(Piece::Bytes(bytes)) => {
                self.on_bytes(bytes.len());
                Ok(Some(bytes))
            }
            Ok(Piece::End) => {
                self.trailers = transport.http().trailers().cloned().map(Box::new);
                self.reading = Reading::Ended;
                Ok(None)
            }
            Err(error) => {
                slot.pool().count_timeout(error);
                self.reading = Reading::Failed(error);
                Err(error)
            }
        }
    }

    /// The body as a whole, from where it was read to, if it has at most so many bytes.
    ///
    /// Dropping the future loses what it has read.
    ///
    /// # Errors
    /// [`ClientError::TooLarge`] if there are more; otherwise as for [`Response::body`].
    pub async fn collect(&mut self, limit_bytes: usize) -> Result<Buffer, ClientError> {
        if self.left_bytes.is_some_and(|bytes| bytes > limit_bytes as u64) {
            return Err(ClientError::TooLarge);
        }
        let first = self.body().await?.unwrap_or_default();
        if first.len() > limit_bytes {
            return Err(ClientError::TooLarge);
        }
        let Some(second) = self.body().await? else { return Ok(first) };
        let mut whole = Vec::from(&first[..]);
        let mut next = Some(second);
        while let Some(bytes) = next {
            if bytes.len() > limit_bytes - whole.len() {
                return Err(ClientError::TooLarge);
            }
            whole.extend_from_slice(&bytes);
            next = self.body().await?;
        }
        Ok(whole.into())
    }

    /// Takes note of bytes of the body. After the last one the connection is of use to others, whether anybody asks for the end
    /// or not.
    fn on_bytes(&mut self, count: usize) {
        self.allowance.on_bytes(count);
        let Some(left_bytes) = &mut self.left_bytes else { return };
        *left_bytes = left_bytes.saturating_sub(count as u64);
        if *left_bytes == 0
            && let Reading::Body(Slot { transport: Some(transport), .. }) = &mut self.reading
            && has_ended(transport)
        {
            self.reading = Reading::Ended;
        }
    }
}

/// Whether a body has ended of which all bytes are known to be there.
fn has_ended(transport: &mut Transport) -> bool {
    let polled = transport.poll_body(&mut Context::from_waker(Waker::noop()));
    matches!(polled, Poll::Ready(Ok(Piece::End)))
}

impl Drop for Response {
    fn drop(&mut self) {
        let Reading::Body(slot) = core::mem::replace(&mut self.reading, Reading::Ended) else { return };
        let drain_bytes = slot.pool().options.drain_bytes as u64;
        let is_little = self.left_bytes.is_none_or(|bytes| bytes <= drain_bytes);
        let is_of_use = self.head.keeps_alive() && self.head.body() != BodyLength::UntilClose;
        if is_little && is_of_use && !slot.transport.as_ref().is_some_and(|transport| transport.is_sending()) {
            slot.drain();
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head.fmt(f)
    }
}
