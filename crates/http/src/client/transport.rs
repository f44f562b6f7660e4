//! One connection: its stream, and what has become of its bytes.

use core::task::{Context, Poll, Waker};
use core::time::Duration;

use smallvec::SmallVec;
use sunstar_http1::{ClientConnection, ClientEvent, Error as Refusal, Status};
use sunstar_net::Stream;
use sunstar_packet::Buffer;

use super::error::ClientError;
use super::keep_alive::KeepAlive;

/// The response's head.
pub(super) type Head = sunstar_http1::Response;

/// One connection to a server, with at most one request under way: one that follows another would be lost with it, and nobody would know
/// whether it was served.
pub(super) struct Transport {
    stream: Stream,
    http: ClientConnection,
    /// What the server has said last of how long it keeps the connection.
    keep_alive: KeepAlive,
    /// It has served before.
    pub(super) is_reused: bool,
    /// A part of the request was handed to the stream.
    pub(super) is_handed_over: bool,
    /// Bytes came since the request was begun.
    is_answered: bool,
    /// The server waits for the body.
    continues: bool,
    /// The stream takes no more. What it has received is still read.
    is_deaf: bool,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// That the stream takes the request as far as it was written.
    Sent,
    /// That the server wants the body.
    Continue,
    /// The response.
    Head,
}

/// A part of a response's body.
pub(super) enum Piece {
    Bytes(Buffer),
    End,
}

/// How an unused connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Good,
    /// The server has closed it, or it has failed.
    Stale,
    /// The server has sent what nothing was asked for: nobody knows what the next bytes would be the answer to.
    Unasked,
}

impl Transport {
    pub(super) fn new(stream: Stream, http: ClientConnection) -> Self {
        Self {
            stream,
            http,
            keep_alive: KeepAlive::default(),
            is_reused: false,
            is_handed_over: false,
            is_answered: false,
            continues: false,
            is_deaf: false,
        }
    }

    /// The state machine, to write a request by.
    pub(super) fn http(&mut self) -> &mut ClientConnection {
        &mut self.http
    }

    /// Prepares for a request.
    pub(super) fn begin(&mut self) {
        self.is_handed_over = false;
        self.is_answered = false;
        self.continues = false;
    }

    /// Whether another request may be sent, as far as is known without looking at the stream.
    pub(super) fn is_idle(&self) -> bool {
        (self.http.is_idle() && !self.is_deaf) || planted::is("client_half_read_kept")
    }

    /// Whether the server lets another request follow, as far as it has said.
    pub(super) fn may_serve(&self) -> bool {
        self.keep_alive.requests != Some(0) && self.keep_alive.idle != Some(Duration::ZERO)
    }

    /// How long the connection may be unused, of so much at most.
    pub(super) fn idle_time(&self, longest: Duration) -> Duration {
        self.keep_alive.idle.map_or(longest, |idle| idle.min(longest))
    }

    /// Whether the connection has ended in order, or is of no use to the server either.
    pub(super) fn is_over(&self) -> bool {
        self.http.is_closed() || (self.is_deaf && self.http.is_idle())
    }

    /// Whether the request's body was begun and not ended.
    pub(super) fn is_sending(&self) -> bool {
        self.http.is_sending()
    }

    /// Whether a response has begun to come.
    pub(super) const fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Looks at the stream of a connection that is not in use; wakes when that changes.
    pub(super) fn poll_health(&mut self, cx: &mut Context<'_>) -> Health {
        if !self.is_idle() {
            return Health::Unasked;
        }
        if planted::is("client_stale_kept") {
            return Health::Good;
        }
        match self.stream.poll_read(cx) {
            Poll::Pending => Health::Good,
            Poll::Ready(Ok(bytes)) if !bytes.is_empty() => Health::Unasked,
            Poll::Ready(_) => Health::Stale,
        }
    }

    /// The same, once.
    pub(super) fn health(&mut self) -> Health {
        self.poll_health(&mut Context::from_waker(Waker::noop()))
    }

    /// Sends and receives until the goal is reached or the response is there, whatever was waited for.
    pub(super) fn poll_progress(
        &mut self,
        cx: &mut Context<'_>,
        goal: Goal,
    ) -> Poll<Result<Option<Head>, ClientError>> {
        loop {
            if let Some(head) = self.next_head()? {
                return Poll::Ready(Ok(Some(head)));
            }
            if goal == Goal::Continue && self.continues {
                return Poll::Ready(Ok(None));
            }
            self.poll_send(cx);
            match self.poll_receive(cx) {
                // A server that answers early is listened to even if it takes all that is sent.
                Poll::Pending if goal == Goal::Sent && !self.http.has_output() => {
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(received) => received?,
            }
        }
    }

    /// The response, if it has come.
    fn next_head(&mut self) -> Result<Option<Head>, ClientError> {
        while let Some(event) = self.http.poll_event() {
            match event {
                ClientEvent::Interim(head) => self.continues |= head.status() == Status::CONTINUE,
                ClientEvent::Response(head) => {
                    self.on_head(&head);
                    return Ok(Some(head));
                }
                ClientEvent::Error(Refusal::Truncated) if !self.is_answered => return Err(ClientError::Closed),
                ClientEvent::Error(error) => return Err(ClientError::Refused(error)),
                ClientEvent::Body(_) | ClientEvent::End => unreachable!("a response's head comes before its body"),
            }
        }
        if self.http.is_closed() { Err(ClientError::Closed) } else { Ok(None) }
    }

    fn on_head(&mut self, head: &Head) {
        let said = KeepAlive::of(head.headers());
        let left = self.keep_alive.requests.map(|requests| requests.saturating_sub(1));
        self.keep_alive = KeepAlive { requests: said.requests.or(left), ..said };
    }

    /// Hands what was written to the stream when that takes it.
    fn poll_send(&mut self, cx: &mut Context<'_>) {
        if !self.http.has_output() {
            return;
        }
        let mut buffers = SmallVec::<[Buffer; 4]>::new();
        if self.is_deaf {
            self.http.poll_transmit(&mut buffers);
            return;
        }
        match self.stream.poll_writable(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                self.http.poll_transmit(&mut buffers);
                buffers.into_iter().for_each(|buffer| self.stream.enqueue(buffer));
                self.is_handed_over = true;
            }
            // A server may have answered and closed before it has read everything: reading tells what became of the request.
            Poll::Ready(Err(_)) => {
                self.is_deaf = true;
                self.http.poll_transmit(&mut buffers);
            }
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        match self.stream.poll_read(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(bytes)) if bytes.is_empty() => {
                self.http.handle_end_of_input();
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(bytes)) => {
                self.is_answered = true;
                // One reads only when all input was looked at, and then there is room.
                let _full = self.http.handle_input(bytes);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(ClientError::Net(error))),
        }
    }

    /// The next part of the body of the response whose head was the last.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, ClientError>> {
        loop {
            match self.http.poll_event() {
                Some(ClientEvent::Body(bytes)) => return Poll::Ready(Ok(Piece::Bytes(bytes))),
                Some(ClientEvent::End) => return Poll::Ready(Ok(Piece::End)),
                Some(ClientEvent::Error(error)) => return Poll::Ready(Err(ClientError::Refused(error))),
                Some(ClientEvent::Interim(_) | ClientEvent::Response(_)) => {
                    unreachable!("a body ends before another response")
                }
                None if self.http.is_closed() => return Poll::Ready(Err(ClientError::Closed)),
                None => match self.poll_receive(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(received) => received?,
                },
            }
        }
    }

    /// Ends the connection at once: the server has no use for the rest, nor has anybody here.
    pub(super) fn abort(mut self) {
        self.stream.abort();
    }
}
