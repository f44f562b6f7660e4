//! How a request is sent, once and again.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::future::poll_fn;
use core::mem;
use core::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::maybe_yield;
use sunstar_executor::timer::{now, sleep};
use sunstar_http1::{ClientConnection, HeaderLines, HeaderName};
use sunstar_packet::Buffer;

use super::error::{ClientError, Phase};
use super::options::ClientOptions;
use super::pool::{Pool, Slot};
use super::transport::{Goal, Head, Transport};
use super::uri::Uri;
use crate::{Pace, Status};

/// Larger bodies are sent in parts of this size, so that a server that takes them slowly is told from one that takes nothing.
const PART_BYTES: usize = 64 << 10;

const EXPECT: HeaderName<'static> = HeaderName::constant("Expect");

/// A request as it is sent, and sent again.
pub(super) struct Outgoing<'a> {
    pub(super) method: &'a str,
    pub(super) uri: Uri,
    pub(super) lines: HeaderLines,
    pub(super) expects_continue: bool,
    pub(super) body: Body,
    /// In the place of the client's.
    pub(super) body_pace: Option<Pace>,
}

/// A request's body.
pub(super) enum Body {
    /// There as a whole.
    Whole(Buffer),
    /// It follows.
    Streamed(Option<u64>),
}

/// A request on its connection.
pub(super) struct Sent {
    pub(super) slot: Slot,
    /// The response, if it has come.
    pub(super) head: Option<Head>,
}

/// Why a request was not answered, and what the server may have seen of it.
struct Failure {
    error: ClientError,
    /// The connection had served before.
    was_reused: bool,
    is_handed_over: bool,
    is_answered: bool,
}

impl Failure {
    const fn without_connection(error: ClientError) -> Self {
        Self { error, was_reused: false, is_handed_over: false, is_answered: false }
    }
}

impl Outgoing<'_> {
    /// Sends the request, again where that is allowed. One whose body is there as a whole comes back with its response.
    pub(super) async fn send(&self, pool: &Rc<Pool>) -> Result<Sent, ClientError> {
        let begun = now();
        pool.counters.count(|stats| &mut stats.requests);
        let policy = pool.options.retry;
        let (mut retries, mut was_stale, mut needs_fresh) = (0, false, false);
        let mut asks = self.expects_continue && !matches!(&self.body, Body::Whole(body) if body.is_empty());
        let mut held = None;
        loop {
            let failure = match self.attempt(pool, held.take(), needs_fresh, asks).await {
                Ok(Sent { slot, head: None }) => return Ok(Sent { slot, head: None }),
                Ok(Sent { mut slot, head: Some(head) }) => {
                    pool.counters.count(|stats| &mut stats.responses);
                    // It was the question that was refused (RFC 9110 §10.1.1).
                    if mem::take(&mut asks) && head.status() == Status::EXPECTATION_FAILED {
                        pool.counters.count(|stats| &mut stats.retried);
                        // Who has waited for a connection does not wait behind those who came later.
                        slot.settle();
                        held = Some(slot);
                        continue;
                    }
                    pool.latency.record_duration(now() - begun);
                    return Ok(Sent { slot, head: Some(head) });
                }
                Err(failure) => failure,
            };
            pool.count_timeout(failure.error);
            let is_stale = failure.was_reused && !failure.is_handed_over && failure.error.is_of_connection();
            if is_stale && !was_stale {
                was_stale = true;
            } else if retries < policy.retries && self.may_repeat(&failure) {
                if !failure.was_reused {
                    sleep(policy.pause(retries)).await;
                }
                retries += 1;
            } else {
                return Err(failure.error);
            }
            // Where one of the kept connections has failed, the others may have too.
            needs_fresh |= failure.was_reused;
            pool.counters.count(|stats| &mut stats.retried);
        }
    }

    /// What is expected of its body and of the response's, with a time that never ends for none.
    pub(super) fn pace(&self, options: &ClientOptions) -> Pace {
        let pace = self.body_pace.unwrap_or(options.body);
        if pace.stall.is_zero() { Pace { stall: Duration::MAX, bytes_per_second: 0 } } else { pace }
    }

    /// Whether the failure allows to send the request again (RFC 9110 §9.2.2).
    fn may_repeat(&self, failure: &Failure) -> bool {
        let is_harmless = !failure.is_handed_over || is_idempotent(self.method) || planted::is("client_repeats_all");
        failure.error.is_of_connection() && !failure.is_answered && is_harmless
    }

    /// Sends the request once, by the right to a connection that it holds or a new one.
    async fn attempt(
        &self,
        pool: &Rc<Pool>,
        held: Option<Slot>,
        needs_fresh: bool,
        asks: bool,
    ) -> Result<Sent, Failure> {
        let mut slot = if let Some(slot) = held {
            slot
        } else {
            let mut slot = pool.acquire(self.uri.authority()).await.map_err(Failure::without_connection)?;
            if needs_fresh {
                slot.close();
            }
            slot
        };
        if let Some(transport) = &slot.transport {
            debug_assert!(transport.is_idle(), "a connection is put back only when it is of use");
            pool.counters.count(|stats| &mut stats.reused);
        } else {
            let transport = self.connect(pool).await.map_err(Failure::without_connection)?;
            slot.transport = Some(transport);
        }
        let Some(transport) = &mut slot.transport else { unreachable!("it was just made") };
        transport.begin();
        match self.exchange(transport, pool, asks).await {
            Ok(head) => Ok(Sent { slot, head }),
            Err(error) => Err(Failure {
                error,
                was_reused: transport.is_reused,
                is_handed_over: transport.is_handed_over,
                is_answered: transport.is_answered(),
            }),
        }
    }

    async fn connect(&self, pool: &Rc<Pool>) -> Result<Box<Transport>, ClientError> {
        let connecting = pool.connector.connect(self.uri.authority());
        let connected = with_timeout(pool.options.connect_timeout, connecting).await;
        match connected.unwrap_or(Err(ClientError::TimedOut(Phase::Connect))) {
            Ok(stream) => {
                pool.counters.count(|stats| &mut stats.connected);
                Ok(Box::new(Transport::new(stream, pool.endpoint.connect())))
            }
            Err(error) => {
                pool.counters.count(|stats| &mut stats.connect_failed);
                Err(error)
            }
        }
    }

    /// Sends what there is of the request, and waits for the response if that is all of it.
    async fn exchange(&self, transport: &mut Transport, pool: &Pool, asks: bool) -> Result<Option<Head>, ClientError> {
        let options = &pool.options;
        let pace = self.pace(options);
        let rest = self.write(transport.http(), asks)?;
        if asks && transport.is_sending() {
            match progress(transport, Goal::Continue, options.continue_timeout, Phase::Head).await {
                Ok(Some(head)) => return Ok(Some(head)),
                Ok(None) | Err(ClientError::TimedOut(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(rest) = rest {
            let mut rest = rest;
            while !rest.is_empty() {
                let part = rest.split_to(rest.len().min(PART_BYTES));
                transport.http().send_body(part).map_err(ClientError::Body)?;
                if let Some(head) = send_written(transport, pace).await? {
                    return Ok(Some(head));
                }
            }
            transport.http().end_body().map_err(ClientError::Body)?;
        }
        if let Some(head) = send_written(transport, pace).await? {
            return Ok(Some(head));
        }
        if transport.is_sending() { Ok(None) } else { receive_head(transport, pool).await.map(Some) }
    }

    /// Writes the head, and a small body that the server is not asked about. Answers what is left of others.
    fn write(&self, http: &mut ClientConnection, asks: bool) -> Result<Option<Buffer>, ClientError> {
        let mut request =
            http.request(self.method, self.uri.target(), self.uri.host_field()).map_err(ClientError::Request)?;
        request.lines(&self.lines);
        if asks {
            request.header(EXPECT, "100-continue").map_err(|_| ClientError::Header)?;
        }
        match &self.body {
            Body::Whole(body) if body.len() > PART_BYTES || asks => {
                request.stream(Some(body.len() as u64));
                return Ok(Some(body.clone()));
            }
            // Servers may ask for a length where a body is expected (RFC 9110 §8.6).
            Body::Whole(body) if body.is_empty() && matches!(self.method, "POST" | "PUT" | "PATCH") => {
                request.stream(Some(0));
                http.end_body().map_err(ClientError::Body)?;
            }
            Body::Whole(body) => request.send(body.clone()),
            Body::Streamed(length) => request.stream(*length),
        }
        Ok(None)
    }
}

/// Waits until the stream takes what was written, or the response is there.
pub(super) async fn send_written(transport: &mut Transport, pace: Pace) -> Result<Option<Head>, ClientError> {
    maybe_yield().await;
    progress(transport, Goal::Sent, pace.stall, Phase::Send).await
}

/// Waits for the response.
pub(super) async fn receive_head(transport: &mut Transport, pool: &Pool) -> Result<Head, ClientError> {
    match progress(transport, Goal::Head, pool.options.head_timeout, Phase::Head).await? {
        Some(head) => Ok(head),
        None => unreachable!("what is waited for is the head"),
    }
}

async fn progress(
    transport: &mut Transport,
    goal: Goal,
    timeout: Duration,
    phase: Phase,
) -> Result<Option<Head>, ClientError> {
    let progress = poll_fn(|cx| transport.poll_progress(cx, goal));
    with_timeout(timeout, progress).await.unwrap_or(Err(ClientError::TimedOut(phase)))
}

/// RFC 9110 §9.2.2.
fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}
