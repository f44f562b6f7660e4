//! What a client does, how often and for how long.

use core::time::Duration;

use crate::{Limits, Pace};

/// When requests are sent again.
///
/// A request is sent again if its connection failed, it can be repeated (its body is there as a whole), and either nothing of
/// it was handed to a connection or its method is idempotent (RFC 9110 §9.2.2) and not a byte of a response came. What timed
/// out when it was sent is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// How often at most, beside the first time.
    pub retries: u32,
    /// The pause before the first of them. It doubles each time. There is none if the connection had served before: that
    /// servers close those is their way.
    pub backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
}

impl RetryPolicy {
    /// Nothing is sent twice, but what a server has certainly not seen: a kept connection turned out to be closed before anything
    /// was handed to it. Nor does it count that a server did not like to be [asked](super::RequestBuilder::expect_continue).
    pub const NEVER: Self = Self { retries: 0, backoff: Duration::ZERO, max_backoff: Duration::ZERO };

    /// The pause before the retry of this number, counted from zero.
    pub(super) fn pause(&self, number: u32) -> Duration {
        let doubled = self.backoff.saturating_mul(2_u32.saturating_pow(number));
        doubled.min(self.max_backoff)
    }
}

impl Default for RetryPolicy {
    /// Two retries, after 50 and 100 ms.
    fn default() -> Self {
        Self { retries: 2, backoff: Duration::from_millis(50), max_backoff: Duration::from_secs(2) }
    }
}

/// What a [`Client`](super::Client) does, how often and for how long. All of it is per client, hence per shard.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Connections to one host at most, those that are being made and those that nobody uses included; one with 0. 64.
    pub connections_per_host: usize,
    /// Connections to all hosts at most; one with 0. 1,024.
    pub connections: usize,
    /// Connections to one host that are kept for later. More are closed. 32; with 0 none is kept.
    pub idle_per_host: usize,
    /// A connection that nobody uses is closed after so long, or a second before its server would close it if that says when
    /// (`Keep-Alive: timeout=`) and is earlier. 30 s.
    pub idle_timeout: Duration,
    /// Requests to one host that wait for a connection. Further ones fail with [`ClientError::Busy`](super::ClientError::Busy).
    /// 1,024.
    pub waiting_per_host: usize,
    /// How long a request waits for a connection. 30 s.
    pub wait_timeout: Duration,
    /// How long a connection may take to be made. 10 s.
    pub connect_timeout: Duration,
    /// How long after the end of a request its response may take to begin, that is until its head is complete. 30 s.
    pub head_timeout: Duration,
    /// How long a body may stand still, in either direction: a part of the request's that the network does not take, or the
    /// next part of the response's; a stall of zero means: as long as it takes. And the least rate of the response's, as an average over
    /// such times while somebody waits for it; with 0 any progress will do, as for a stream of events. 30 s, any progress. A request may
    /// have its own ([`RequestBuilder::body_pace`](super::RequestBuilder::body_pace)).
    pub body: Pace,
    /// How long a body is held back for a server that was asked to say whether it wants it. Then it is sent all the same
    /// (RFC 9110 §10.1.1). 1 s.
    pub continue_timeout: Duration,
    /// If a response is dropped before its end, so many bytes are read and dropped with it to keep the connection, for at most half a
    /// second. With more, the connection is closed. 64 KiB.
    pub drain_bytes: usize,
    /// When requests are sent again.
    pub retry: RetryPolicy,
    /// Bounds on what servers may send. The default has none on [`Limits::body_bytes`], since bodies are read piece by piece, and
    /// [`Response::collect`](super::Response::collect) has its own.
    pub limits: Limits,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connections_per_host: 64,
            connections: 1024,
            idle_per_host: 32,
            idle_timeout: Duration::from_secs(30),
            waiting_per_host: 1024,
            wait_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(30),
            body: Pace { stall: Duration::from_secs(30), bytes_per_second: 0 },
            continue_timeout: Duration::from_secs(1),
            drain_bytes: 64 << 10,
            retry: RetryPolicy::default(),
            limits: Limits { body_bytes: u64::MAX, ..Limits::DEFAULT },
        }
    }
}
