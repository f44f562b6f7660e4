//! Requests under way.

use core::fmt;

use sunstar_http1::{HeaderLines, HeaderName};
use sunstar_packet::Buffer;

use super::Client;
use super::error::ClientError;
use super::exchange::{Body, Outgoing, Sent, receive_head, send_written};
use super::pool::Slot;
use super::response::Response;
use super::transport::Head;
use super::uri::Uri;
use crate::Pace;

/// A request that is put together. Made by [`Client::request`].
///
/// What is wrong with it is told when it is sent.
#[must_use = "nothing is sent before `send` or `stream`"]
pub struct RequestBuilder<'a> {
    client: &'a Client,
    outgoing: Result<Outgoing<'a>, ClientError>,
}

impl<'a> RequestBuilder<'a> {
    pub(super) fn new(client: &'a Client, method: &'a str, uri: &str) -> Self {
        let outgoing = uri.parse().map_err(ClientError::Uri).and_then(|uri: Uri| {
            if !client.0.connector.speaks(uri.authority().scheme()) {
                return Err(ClientError::Scheme);
            }
            // A field's name is a token as well.
            if method == "CONNECT" || method.is_empty() || HeaderName::new(method).is_none() {
                return Err(ClientError::Method);
            }
            let body = Body::Whole(Buffer::new());
            Ok(Outgoing { method, uri, lines: HeaderLines::new(), expects_continue: false, body, body_pace: None })
        });
        Self { client, outgoing }
    }

    /// Adds a field. `Host`, and those that frame the message or steer the connection, are written by the client; see
    /// [`HeaderName`].
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        if let Ok(outgoing) = &mut self.outgoing {
            let added = HeaderName::new(name).is_some_and(|name| outgoing.lines.add(name, value).is_ok());
            if !added {
                self.outgoing = Err(ClientError::Header);
            }
        }
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Buffer>) -> Self {
        if let Ok(outgoing) = &mut self.outgoing {
            outgoing.body = Body::Whole(body.into());
        }
        self
    }

    /// Asks the server whether it wants the body before that is sent (RFC 9110 §10.1.1), for large ones. If it answers that it does
    /// not know such questions (417), the request is sent once more without, unless the body has been begun by [`Upload`].
    pub fn expect_continue(mut self) -> Self {
        if let Ok(outgoing) = &mut self.outgoing {
            outgoing.expects_continue = true;
        }
        self
    }

    /// Sets how long the bodies of the request and of its response may stand still, and the least rate of the latter, in the place of
    /// [`ClientOptions::body`](super::ClientOptions::body).
    pub fn body_pace(mut self, pace: Pace) -> Self {
        if let Ok(outgoing) = &mut self.outgoing {
            outgoing.body_pace = Some(pace);
        }
        self
    }

    /// Sends the request, and waits for its response.
    ///
    /// Dropping the future gives the request up, wherever it is: its connection is closed if anything was sent.
    ///
    /// # Errors
    /// If the request is malformed, there is no connection, or no response in time, see [`ClientError`]. What statuses say is
    /// the caller's business.
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn send(self) -> Result<Response, ClientError> {
        let outgoing = self.outgoing?;
        let pace = outgoing.pace(&self.client.0.options);
        let Sent { slot, head } = outgoing.send(&self.client.0).await?;
        let Some(head) = head else { unreachable!("with a whole body one waits for the response") };
        Ok(Response::new(head, slot, pace))
    }

    /// Sends the request's head. The body follows piece by piece, in chunks if its length is not known. A body that was set
    /// before is dropped.
    ///
    /// It is ready when the stream has taken the head, and the server wants the body if it is asked. Dropping the future gives
    /// the request up.
    ///
    /// # Errors
    /// As for [`RequestBuilder::send`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn stream(self, length: Option<u64>) -> Result<Upload, ClientError> {
        let outgoing = Outgoing { body: Body::Streamed(length), ..self.outgoing? };
        let pace = outgoing.pace(&self.client.0.options);
        let Sent { slot, head } = outgoing.send(&self.client.0).await?;
        Ok(Upload { slot, head, pace })
    }
}

impl fmt::Debug for RequestBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RequestBuilder");
        match &self.outgoing {
            Ok(outgoing) => shown.field("method", &outgoing.method).field("uri", &outgoing.uri),
            Err(error) => shown.field("error", error),
        };
        shown.finish_non_exhaustive()
    }
}

/// A request whose body is being sent.
///
/// Dropping it gives the request up and closes its connection.
#[must_use = "a request is complete when `finish` was called"]
pub struct Upload {
    slot: Slot,
    /// The response, if it has come already.
    head: Option<Head>,
    pace: Pace,
}

impl Upload {
    /// Whether the server has answered already, so that it wants no more.
    pub const fn is_answered(&self) -> bool {
        self.head.is_some()
    }

    /// Sends more of the body, and waits while the network does not take it.
    ///
    /// If the future is dropped while it waits, the bytes are sent nevertheless.
    ///
    /// # Errors
    /// [`ClientError::Answered`] if the server has answered without waiting for the body: [`Upload::finish`] has the response. If
    /// the body would become too long, the connection fails, or the server does not take the bytes within the time that a body may
    /// stand still ([`ClientOptions::body`](super::ClientOptions::body), [`RequestBuilder::body_pace`]).
    pub async fn send_body(&mut self, bytes: impl Into<Buffer>) -> Result<(), ClientError> {
        if self.head.is_some() {
            return Err(ClientError::Answered);
        }
        let pool = self.slot.pool().clone();
        let Some(transport) = &mut self.slot.transport else { return Err(ClientError::Closed) };
        transport.http().send_body(bytes).map_err(ClientError::Body)?;
        let sent = send_written(transport, self.pace).await;
        match sent.inspect_err(|error| pool.count_timeout(*error))? {
            None => Ok(()),
            Some(head) => {
                pool.counters.count(|stats| &mut stats.responses);
                self.head = Some(head);
                Err(ClientError::Answered)
            }
        }
    }

    /// Ends the body, and waits for the response.
    ///
    /// # Errors
    /// If the body is shorter than was said; otherwise as for [`RequestBuilder::send`].
    pub async fn finish(mut self) -> Result<Response, ClientError> {
        if let Some(head) = self.head {
            return Ok(Response::new(head, self.slot, self.pace));
        }
        let pool = self.slot.pool().clone();
        let Some(transport) = &mut self.slot.transport else { return Err(ClientError::Closed) };
        transport.http().end_body().map_err(ClientError::Body)?;
        let received = async {
            match send_written(transport, self.pace).await? {
                Some(head) => Ok(head),
                None => receive_head(transport, &pool).await,
            }
        };
        let head = received.await.inspect_err(|error| pool.count_timeout(*error))?;
        pool.counters.count(|stats| &mut stats.responses);
        Ok(Response::new(head, self.slot, self.pace))
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("is_answered", &self.is_answered()).finish_non_exhaustive()
    }
}
