//! What a shard does with its time.

use std::cell::Cell;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sunstar_executor::Instant;
use sunstar_executor::timer::{lowres, now};

use crate::context;

/// How a shard has spent its time since its start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TimeStats {
    /// All of it.
    pub up: Duration,
    /// In rounds that found nothing to do.
    pub polling: Duration,
    /// Asleep.
    pub asleep: Duration,
    /// The time that a processor ran the shard's thread.
    pub cpu: Duration,
}

impl TimeStats {
    /// The time in which the shard had something to do.
    pub fn busy(&self) -> Duration {
        self.up.saturating_sub(self.asleep + self.polling)
    }

    /// The time in which it was awake and yet no processor ran it: others had it.
    pub fn stolen(&self) -> Duration {
        self.up.saturating_sub(self.asleep + self.cpu)
    }
}

/// What the shard is doing, and since when, by the clock that rounds read at their beginning.
#[derive(Clone, Copy, Default)]
enum Doing {
    #[default]
    Work,
    Poll(Instant),
    Sleep(Instant),
}

/// The times behind [`TimeStats`]. Nothing here reads a clock but [`TimeCounters::begin`].
#[derive(Default)]
pub(crate) struct TimeCounters {
    began: Cell<Instant>,
    began_cpu: Cell<Duration>,
    doing: Cell<Doing>,
    polling: Cell<Duration>,
    asleep: Cell<Duration>,
}

impl TimeCounters {
    /// The shard begins with its rounds.
    pub(crate) fn begin(&self, now: Instant) {
        self.began.set(now);
        self.began_cpu.set(thread_cpu());
    }

    /// The round that began at `round` had something to do.
    #[inline]
    pub(crate) fn work(&self, round: Instant) {
        if !matches!(self.doing.get(), Doing::Work) {
            self.turn_to(Doing::Work, round);
        }
    }

    /// The round that began at `round` found nothing to do; answers for how long that has been so.
    pub(crate) fn poll(&self, round: Instant) -> Duration {
        if let Doing::Poll(since) = self.doing.get() {
            return round - since;
        }
        self.turn_to(Doing::Poll(round), round);
        Duration::ZERO
    }

    /// The shard goes to sleep after the round that began at `round`.
    pub(crate) fn sleep(&self, round: Instant) {
        self.turn_to(Doing::Sleep(round), round);
    }

    #[cold]
    fn turn_to(&self, next: Doing, now: Instant) {
        let (polling, asleep) = self.until(now);
        self.polling.set(polling);
        self.asleep.set(asleep);
        self.doing.set(next);
    }

    /// The times of polling and sleeping until `now`.
    fn until(&self, now: Instant) -> (Duration, Duration) {
        let (polling, asleep) = (self.polling.get(), self.asleep.get());
        match self.doing.get() {
            Doing::Work => (polling, asleep),
            Doing::Poll(since) => (polling + (now - since), asleep),
            Doing::Sleep(since) => (polling, asleep + (now - since)),
        }
    }

    /// What has come of it, if it is `now` and the round that goes on began at `round`.
    fn snapshot(&self, round: Instant, now: Instant) -> TimeStats {
        let (polling, asleep) = self.until(round);
        TimeStats {
            up: now - self.began.get(),
            polling,
            asleep,
            cpu: thread_cpu().saturating_sub(self.began_cpu.get()),
        }
    }
}

/// The time that a processor ran the calling thread.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How the calling shard has spent its time. Makes a system call.
///
/// # Panics
/// If the calling thread is no shard's, and outside of tasks.
pub fn time_stats() -> TimeStats {
    let stats = context::try_with(|context| context.platform().times().snapshot(lowres::now(), now()));
    stats.expect("called on a shard of a runtime")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn time_is_shared_out_by_rounds() {
        let times = TimeCounters::default();
        times.begin(at(1000));
        times.work(at(1000));
        assert_eq!(times.poll(at(1010)), Duration::ZERO);
        assert_eq!(times.poll(at(1015)), Duration::from_nanos(5));
        times.sleep(at(1030));
        times.work(at(1130));
        times.work(at(1140));
        assert_eq!(times.poll(at(1200)), Duration::ZERO, "it begins anew");
        // The round at 1201 is going on.
        let stats = times.snapshot(at(1201), at(1300));
        let nanos = |time: Duration| time.as_nanos();
        assert_eq!(
            (nanos(stats.up), nanos(stats.polling), nanos(stats.asleep), nanos(stats.busy())),
            (300, 21, 100, 179)
        );
    }

    #[test]
    fn stolen_time_is_what_no_processor_gave() {
        let millis = Duration::from_millis;
        let stats = TimeStats { up: millis(100), polling: millis(10), asleep: millis(50), cpu: millis(30) };
        assert_eq!((stats.busy(), stats.stolen()), (millis(40), millis(20)));
        assert_eq!(TimeStats { cpu: millis(60), ..stats }.stolen(), Duration::ZERO);
    }
}
