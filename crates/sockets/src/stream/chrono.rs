//! For how long a connection was busy, and what held it back: `tcpi_busy_time`, `tcpi_rwnd_limited`, `tcpi_sndbuf_limited`.

use core::time::Duration;

use sunstar_tcpip::time::Instant;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Doing {
    #[default]
    Nothing,
    /// Something is under way.
    Busy,
    /// Something waits that the other side's window does not take.
    RwndLimited,
    /// The application has more than there is room for, and all that there is has been sent.
    SndbufLimited,
}

/// Microseconds of each.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chrono {
    doing: Doing,
    since: Instant,
    busy: Duration,
    rwnd_limited: Duration,
    sndbuf_limited: Duration,
    last_data_at: Instant,
}

impl Chrono {
    /// From now on it does that.
    pub(super) fn turn_to(&mut self, now: Instant, doing: Doing) {
        if doing == self.doing {
            return;
        }
        (self.busy, self.rwnd_limited, self.sndbuf_limited) = self.spent(now);
        (self.doing, self.since) = (doing, now);
    }

    fn spent(&self, now: Instant) -> (Duration, Duration, Duration) {
        let passed = now - self.since;
        let add = |total: Duration, is_it: bool| if is_it { total + passed } else { total };
        (
            add(self.busy, self.doing != Doing::Nothing),
            add(self.rwnd_limited, self.doing == Doing::RwndLimited),
            add(self.sndbuf_limited, self.doing == Doing::SndbufLimited),
        )
    }

    /// Microseconds: busy with whatever, limited by the other side's window, limited by our buffer.
    pub(super) fn totals(&self, now: Instant) -> [u64; 3] {
        let (busy, rwnd, sndbuf) = self.spent(now);
        [busy, rwnd, sndbuf].map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }

    /// Bytes have come.
    pub(super) fn on_data(&mut self, now: Instant) {
        self.last_data_at = now;
    }

    /// When bytes came last, or the connection was seen first.
    pub(super) fn last_data_at(&self) -> Instant {
        self.last_data_at
    }
}
