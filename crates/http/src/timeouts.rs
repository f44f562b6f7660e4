//! How long a server waits for its clients.

use core::time::Duration;

/// How long a server waits for what a client is to send or to take. `None` and zero mean: as long as it takes.
///
/// Time that handlers take is not bounded by any of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// From the first byte of a request to the end of its head; for a connection's first request from the accept. Further bytes
    /// don't prolong it. Then the request is answered by 408, if anything of it has come, and the connection closes.
    pub head: Option<Duration>,
    /// For the body of a request, while somebody waits for it. Then the request is answered by 408, unless it is answered already,
    /// and the connection closes.
    pub body: Option<Pace>,
    /// Between requests, while nothing of a next one is there. Then the connection is closed without a word.
    pub idle: Option<Duration>,
    /// For taking what was sent: what counts is what the client's side acknowledges. Then the connection is reset, since what
    /// waits to be sent would hold memory after it. The rate is looked at from time to time only, so a client that stops is noticed
    /// after once to twice the time.
    pub output: Option<Pace>,
    /// For taking the whole of one response, from its first byte that had to wait. Then the connection is reset.
    pub response: Option<Duration>,
}

/// What is expected of a client that has something to send or to take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pace {
    /// The longest time without any progress.
    pub stall: Duration,
    /// The least rate, as an average over such times; zero means that any progress will do.
    pub bytes_per_second: u32,
}

impl Timeouts {
    /// What a server on the open Internet wants:
    ///
    /// | | | because |
    /// |---|---|---|
    /// | head | 20 s | it leaves in one or a few packets, and even a poor link repairs their loss in some seconds |
    /// | body | 30 s, 500 bytes/s | the worst of mobile links are faster, and no outage after which a client goes on is longer |
    /// | idle | 75 s | browsers come back within a minute, and load balancers in front keep theirs for 60 s |
    /// | output | 30 s, 500 bytes/s | as for bodies |
    /// | response | off | the rate bounds it already, and a large file over a slow link takes hours |
    pub const DEFAULT: Self = Self {
        head: Some(Duration::from_secs(20)),
        body: Some(Pace { stall: Duration::from_secs(30), bytes_per_second: 500 }),
        idle: Some(Duration::from_secs(75)),
        output: Some(Pace { stall: Duration::from_secs(30), bytes_per_second: 500 }),
        response: None,
    };

    /// No limit of time.
    pub const OFF: Self = Self { head: None, body: None, idle: None, output: None, response: None };
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Pace {
    /// No demands.
    const ANY: Self = Self { stall: Duration::MAX, bytes_per_second: 0 };

    /// How long somebody may take for the next bytes who had `left` for those that have come meanwhile.
    pub(crate) fn next(self, left: Duration, bytes: u64) -> Duration {
        if self.bytes_per_second == 0 {
            return if bytes > 0 { self.stall } else { left };
        }
        let nanos = bytes.saturating_mul(1_000_000_000) / u64::from(self.bytes_per_second);
        let left = left.saturating_add(Duration::from_nanos(nanos));
        if planted::is("pace_saved_up") { left } else { left.min(self.stall) }
    }
}

/// [`Timeouts`], with a time that never ends for what is off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) head: Duration,
    pub(crate) body: Pace,
    pub(crate) idle: Duration,
    pub(crate) output: Pace,
    pub(crate) response: Duration,
}

impl From<Timeouts> for Patience {
    fn from(timeouts: Timeouts) -> Self {
        let time = |time: Option<Duration>| time.filter(|time| !time.is_zero()).unwrap_or(Duration::MAX);
        let pace = |pace: Option<Pace>| pace.filter(|pace| !pace.stall.is_zero()).unwrap_or(Pace::ANY);
        Self {
            head: time(timeouts.head),
            body: pace(timeouts.body),
            idle: time(timeouts.idle),
            output: pace(timeouts.output),
            response: time(timeouts.response),
        }
    }
}
