//! For how long a connection waits for its client.

use core::time::Duration;

use sunstar_executor::Instant;
use sunstar_executor::timer::lowres;
use sunstar_http1::Awaits;

use crate::timeouts::Patience;

/// A client that has not taken as much as it is to take in such a part of the longest time has taken too little.
const LEAST_LOOK: u32 = 32;

/// What a connection's client has left of its time.
pub(crate) struct Waits {
    /// What the deadline is about; none if a request or a part of a body was handed out since.
    awaits: Option<Awaits>,
    deadline: Instant,
    /// No request has come yet.
    is_new: bool,
    /// What it had acknowledged at the last look.
    acknowledged_bytes: u64,
}

/// What it has left for the request that is being served.
#[derive(Clone, Copy)]
pub(crate) struct Allowance {
    /// It may take so long for the next bytes of the body.
    body_left_nanos: u64,
    /// When the response that is being sent is to be taken; in the far future until it has waited.
    response_deadline: Instant,
}

impl Allowance {
    /// That of no request.
    pub(crate) const NONE: Self = Self { body_left_nanos: 0, response_deadline: Instant::FAR_FUTURE };
}

/// One wait for a client.
pub(crate) struct Wait {
    /// When input is to have come.
    pub(crate) input: Instant,
    /// Unless the client has something to take until then.
    pub(crate) is_idle: bool,
    /// When to look at what the client has taken.
    pub(crate) look: Instant,
    /// When it is to have taken all.
    pub(crate) output: Instant,
}

impl Wait {
    /// For bytes that nobody needs.
    pub(crate) fn until(deadline: Instant) -> Self {
        let never = Instant::FAR_FUTURE;
        Self { input: deadline, is_idle: false, look: never, output: never }
    }
}

impl Waits {
    pub(crate) fn new(patience: &Patience) -> Self {
        Self {
            awaits: Some(Awaits::Request),
            deadline: if planted::is("head_not_armed") { Instant::FAR_FUTURE } else { lowres::now() + patience.head },
            is_new: true,
            acknowledged_bytes: 0,
        }
    }

    /// Whether no request has come yet.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// A request has come.
    pub(crate) fn on_request(&mut self, allowance: &mut Allowance, patience: &Patience) {
        self.awaits = None;
        self.is_new = false;
        if allowance.body_left_nanos == 0 || !planted::is("body_time_shared") {
            allowance.body_left_nanos = nanos(patience.body.stall);
        }
        if !planted::is("response_time_shared") {
            allowance.response_deadline = Instant::FAR_FUTURE;
        }
    }

    /// Begins to wait for input.
    pub(crate) fn input(&mut self, awaits: Awaits, allowance: &mut Allowance, patience: &Patience) -> Wait {
        let now = lowres::now();
        let restarts = match awaits {
            Awaits::Head => planted::is("head_time_restarts"),
            Awaits::Request => planted::is("idle_time_restarts") && !self.is_new,
            Awaits::Body | Awaits::Nothing => false,
        };
        if self.awaits != Some(awaits) || restarts {
            self.awaits = Some(awaits);
            match awaits {
                Awaits::Head if self.is_new || planted::is("head_time_of_idle") => {}
                Awaits::Head => self.deadline = now + patience.head,
                Awaits::Request => self.deadline = now + patience.idle,
                // Who gives a wait up and begins another one has been waiting since the first.
                Awaits::Body => self.deadline = now + Duration::from_nanos(allowance.body_left_nanos),
                Awaits::Nothing => self.deadline = Instant::FAR_FUTURE,
            }
        }
        let is_idle = awaits == Awaits::Request && !self.is_new;
        Wait { input: self.deadline, is_idle, look: now + patience.output.stall, output: Instant::FAR_FUTURE }
    }

    /// Bytes of a body have come in, which were waited for.
    pub(crate) fn on_body(&mut self, allowance: &mut Allowance, bytes: usize, patience: &Patience) {
        let left = self.deadline.saturating_duration_since(lowres::now());
        let left = if planted::is("body_time_restarts") { patience.body.stall } else { left };
        allowance.body_left_nanos = nanos(patience.body.next(left, bytes as u64));
        self.awaits = None;
    }

    /// Begins to wait for output to be taken.
    pub(crate) fn output(allowance: &mut Allowance, patience: &Patience) -> Wait {
        let now = lowres::now();
        if planted::is("response_time_restarts") {
            allowance.response_deadline = Instant::FAR_FUTURE;
        }
        allowance.response_deadline = allowance.response_deadline.min(now + patience.response);
        Wait {
            input: Instant::FAR_FUTURE,
            is_idle: false,
            look: now + patience.output.stall,
            output: allowance.response_deadline,
        }
    }

    /// Looks at what the client has acknowledged of what it was sent. Answers whether that will do.
    pub(crate) fn look(
        &mut self,
        wait: &mut Wait,
        sent_bytes: u64,
        unacknowledged_bytes: u64,
        patience: &Patience,
    ) -> bool {
        let acknowledged_bytes = sent_bytes.saturating_sub(unacknowledged_bytes);
        let progress = acknowledged_bytes.saturating_sub(self.acknowledged_bytes);
        self.acknowledged_bytes = acknowledged_bytes;
        if unacknowledged_bytes == 0 {
            wait.look = Instant::FAR_FUTURE;
            return true;
        }
        let now = lowres::now();
        if wait.is_idle && !planted::is("taking_is_idle") {
            // Who takes a response is not idle.
            self.deadline = self.deadline.max(now + patience.idle);
            wait.input = self.deadline;
        }
        let suffices = planted::is("slow_reader_kept") || (planted::is("output_rate_ignored") && progress > 0);
        let progress = if suffices { u64::MAX } else { progress };
        let left = patience.output.next(Duration::ZERO, progress);
        wait.look = now + left;
        left >= patience.output.stall / LEAST_LOOK
    }
}

/// A time without an end is one of some centuries.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
