//! The shards' clock: the processor's time stamp counter where it can be trusted, else the kernel's clock.
//!
//! Both count on from about the same origin as `CLOCK_MONOTONIC`. The counter is calibrated against it once
//! per process, in a few milliseconds, to some ten parts per million; it is not slewed afterwards, so the two
//! drift apart by up to a second a day. Nothing compares them: sleeps are relative. A shard that wakes looks, at most once
//! a second, whether the counter still keeps time; if it was off by more than a thousandth and a millisecond since the
//! last look (a virtual machine that moved, a counter that stopped), all shards go over to the kernel's clock,
//! continuing from the time they showed.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use sunstar_executor::Instant;

/// How long the counter is watched at the start of the process.
const CALIBRATION: Duration = Duration::from_millis(4);

/// A clock of one thread. It never goes backwards.
#[derive(Debug)]
pub struct Clock {
    counter: Cell<Option<Calibration>>,
    /// What is added to the kernel's clock: not zero after the counter was given up.
    offset: Cell<u64>,
    latest: Cell<u64>,
    /// When the counter was last compared: what it and the kernel's clock showed.
    checked: Cell<Option<(u64, u64)>>,
    given_up: &'static GivenUp,
}

/// Set when the counter is given up, to what is then added to the kernel's clock.
type GivenUp = OnceLock<u64>;

static GIVEN_UP: GivenUp = GivenUp::new();

/// How long the counter is trusted without a look.
const CHECK_PERIOD_NANOS: u64 = 1_000_000_000;

/// Whether a counter that showed `shown` nanoseconds while the kernel's clock went on by `passed` doesn't keep time.
fn is_off(shown: u64, passed: u64) -> bool {
    shown.abs_diff(passed) > passed / 1_000 + 1_000_000
}

impl Clock {
    /// The best clock that this machine has. The first call in a process takes some milliseconds.
    pub fn new() -> Self {
        static PROCESS: OnceLock<Option<Calibration>> = OnceLock::new();
        let clock = Self::with(*PROCESS.get_or_init(Calibration::of_this_machine), &GIVEN_UP);
        clock.follow();
        clock
    }

    /// The kernel's clock, whatever the machine has.
    pub fn of_kernel() -> Self {
        Self::with(None, &GIVEN_UP)
    }

    fn with(counter: Option<Calibration>, given_up: &'static GivenUp) -> Self {
        let counter = Cell::new(counter);
        Self { counter, offset: Cell::new(0), latest: Cell::new(0), checked: Cell::new(None), given_up }
    }

    /// Looks whether the counter still keeps time, if that is due. To be called now and then.
    pub(crate) fn check(&self) {
        if let Some(calibration) = self.counter.get() {
            let shown = calibration.nanos_at(counter::read());
            if self.checked.get().is_none_or(|(then, _)| shown.abs_diff(then) >= CHECK_PERIOD_NANOS) {
                let sample = Sample::take();
                self.compare(calibration.nanos_at(sample.counter), sample.nanos);
            }
            self.follow();
        }
    }

    /// Compares what the counter and the kernel's clock show now with what they showed at the last look.
    fn compare(&self, shown: u64, kernel: u64) {
        let Some((shown_then, kernel_then)) = self.checked.replace(Some((shown, kernel))) else { return };
        let (shown_passed, passed) = (shown.saturating_sub(shown_then), kernel.saturating_sub(kernel_then));
        if is_off(shown_passed, passed) {
            self.given_up.get_or_init(|| {
                log::warn!(
                    "the time stamp counter showed {shown_passed} ns while {passed} ns passed; \
                     all shards use the kernel's clock from now on"
                );
                shown.wrapping_sub(kernel)
            });
        }
    }

    /// Gives the counter up if another clock of the process has.
    fn follow(&self) {
        if let Some(&offset) = self.given_up.get() {
            self.offset.set(offset);
            self.counter.set(None);
        }
    }

    /// Whether the processor's counter is used.
    pub fn uses_counter(&self) -> bool {
        self.counter.get().is_some()
    }

    /// The time.
    #[inline]
    pub fn now(&self) -> Instant {
        let read = match self.counter.get() {
            Some(calibration) => calibration.nanos_at(counter::read()),
            None => kernel_nanos().wrapping_add(self.offset.get()),
        };
        let now = read.max(self.latest.get());
        self.latest.set(now);
        Instant::from_nanos(now)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// `CLOCK_REALTIME`: the time since the Unix epoch.
pub fn unix_time() -> Duration {
    let time = clock_gettime(ClockId::Realtime);
    // A clock that stands before 1970 is as good as one that stands at it.
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// `CLOCK_MONOTONIC` in nanoseconds. May be called from signal handlers.
pub(crate) fn kernel_nanos() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000_000 + nanos.unwrap_or(0)
}

/// A straight line from counter values to nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Calibration {
    counter_origin: u64,
    nanos_origin: u64,
    /// Nanoseconds per count, times 2³².
    rate: u64,
}

impl Calibration {
    fn of_this_machine() -> Option<Self> {
        if !counter::is_invariant() || !counter::is_trusted_by_kernel() {
            return None;
        }
        let first = Sample::take();
        let mut last = Sample::take();
        while Duration::from_nanos(last.nanos.saturating_sub(first.nanos)) < CALIBRATION {
            std::hint::spin_loop();
            last = Sample::take();
        }
        Self::between(first, last)
    }

    /// The line through two samples, or `None` if they make no sense.
    fn between(first: Sample, last: Sample) -> Option<Self> {
        let nanos = last.nanos.checked_sub(first.nanos)?;
        let counts = last.counter.checked_sub(first.counter)?;
        let rate = (u128::from(nanos) << 32).checked_div(u128::from(counts))?;
        let rate = u64::try_from(rate).ok().filter(|&rate| rate > 0)?;
        Some(Self { counter_origin: last.counter, nanos_origin: last.nanos, rate })
    }

    #[inline]
    fn nanos_at(&self, counter: u64) -> u64 {
        // Another processor's counter may lag by some counts behind the one that was calibrated.
        let counts = counter.saturating_sub(self.counter_origin);
        let nanos = (u128::from(counts) * u128::from(self.rate)) >> 32;
        #[expect(clippy::cast_possible_truncation, reason = "2^64 nanoseconds are 584 years of uptime")]
        let nanos = nanos as u64;
        self.nanos_origin + nanos
    }
}

/// The counter and the kernel's clock, read at nearly the same time.
#[derive(Debug, Clone, Copy)]
struct Sample {
    counter: u64,
    nanos: u64,
}

impl Sample {
    /// Tries a few times and keeps the try in which the two were closest: others were interrupted.
    fn take() -> Self {
        let attempt = || {
            let before = counter::read();
            let nanos = kernel_nanos();
            let width = counter::read().saturating_sub(before);
            (width, Self { counter: before + width / 2, nanos })
        };
        (0..8).map(|_| attempt()).min_by_key(|(width, _)| *width).expect("eight attempts were made").1
    }
}

#[cfg(target_arch = "x86_64")]
mod counter {
    use std::arch::x86_64::{__cpuid, _rdtsc};
    use std::fs;

    #[inline]
    pub(super) fn read() -> u64 {
        // SAFETY: reads a register; every x86-64 processor has it and Linux lets programs read it.
        unsafe { _rdtsc() }
    }

    /// Whether the counter runs at one speed in all power states: leaf 8000_0007h, EDX bit 8.
    pub(super) fn is_invariant() -> bool {
        const POWER_LEAF: u32 = 0x8000_0007;
        __cpuid(0x8000_0000).eax >= POWER_LEAF && __cpuid(POWER_LEAF).edx & (1 << 8) != 0
    }

    /// Whether the kernel keeps time by the counter: it has then found the counters of all processors to agree, and
    /// would stop using them if they ceased to.
    ///
    /// Under hypervisors too: Linux prefers the counter to `kvm-clock` and the like where it is invariant and sound, so
    /// their use tells against it.
    pub(super) fn is_trusted_by_kernel() -> bool {
        const FILE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let source = fs::read_to_string(FILE).unwrap_or_default();
        source.trim() == "tsc"
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod counter {
    pub(super) fn read() -> u64 {
        0
    }

    /// Elsewhere the kernel's clock already reads a counter from the program's own memory.
    pub(super) fn is_invariant() -> bool {
        false
    }

    pub(super) fn is_trusted_by_kernel() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE_GIGAHERTZ: Calibration =
        Calibration { counter_origin: 1_000, nanos_origin: 500, rate: (1 << 32) / 3 + 1 };

    #[test]
    fn counts_become_nanoseconds() {
        let first = Sample { counter: 7_000, nanos: 1_000_000 };
        let last = Sample { counter: 7_000 + 12_000_000, nanos: 1_000_000 + 4_000_000 };
        let calibration = Calibration::between(first, last).expect("sound samples");
        assert_eq!(calibration.nanos_at(last.counter), last.nanos);
        let an_hour = last.counter + 3_600 * 3_000_000_000;
        let error = calibration.nanos_at(an_hour).abs_diff(last.nanos + 3_600 * 1_000_000_000);
        assert!(error < 5_000, "rounding of the rate costs {error} ns in an hour");
    }

    #[test]
    fn a_counter_that_lags_behind_the_origin_shows_the_origin() {
        assert_eq!(THREE_GIGAHERTZ.nanos_at(0), 500);
        assert_eq!(THREE_GIGAHERTZ.nanos_at(4_000), 1_500);
    }

    #[test]
    fn years_do_not_overflow() {
        let ten_years = 10 * 365 * 86_400 * 1_000_000_000_u64;
        let shown = THREE_GIGAHERTZ.nanos_at(1_000 + 3 * ten_years);
        assert!(shown.abs_diff(ten_years) < 1_000_000_000, "{shown}");
    }

    #[test]
    fn samples_that_make_no_sense_are_refused() {
        let at = |counter, nanos| Sample { counter, nanos };
        assert_eq!(Calibration::between(at(5, 5), at(5, 9)), None, "a counter that stands");
        assert_eq!(Calibration::between(at(5, 5), at(4, 9)), None, "a counter that runs backwards");
        assert_eq!(Calibration::between(at(5, 5), at(9, 4)), None, "a clock that runs backwards");
        assert_eq!(Calibration::between(at(5, 5), at(9, 5)), None, "a clock that stands");
    }

    #[test]
    fn small_deviations_are_borne() {
        assert!(!is_off(1_000_900_000, 1_000_000_000));
        assert!(!is_off(999_100_000, 1_000_000_000));
        assert!(!is_off(0, 500_000), "shorter than the bound");
        assert!(is_off(1_003_000_000, 1_000_000_000));
        assert!(is_off(0, 1_000_000_000), "a counter that stands");
        assert!(is_off(3_600_000_000_000, 3_610_000_000_000));
    }

    #[test]
    fn a_counter_that_fails_is_given_up_by_all_clocks_and_time_goes_on() {
        static GIVEN_UP_HERE: GivenUp = GivenUp::new();
        let clock = || Clock::with(Some(THREE_GIGAHERTZ), &GIVEN_UP_HERE);
        let (first, second) = (clock(), clock());
        let kernel = kernel_nanos();
        let shown = kernel + 7_000_000_000;
        first.compare(shown, kernel);
        first.compare(shown + 2_000_000_000, kernel + 2_000_000_000);
        assert!(first.given_up.get().is_none(), "it keeps time");
        first.compare(shown + 9_000_000_000, kernel + 3_000_000_000);
        for clock in [&first, &second] {
            clock.follow();
            assert!(!clock.uses_counter());
            assert_eq!(clock.offset.get(), 13_000_000_000);
            assert!(clock.now() >= Instant::from_nanos(kernel + 13_000_000_000));
        }
    }

    #[test]
    fn both_clocks_go_forwards() {
        for clock in [Clock::new(), Clock::of_kernel()] {
            let mut latest = clock.now();
            for _ in 0..10_000 {
                let now = clock.now();
                assert!(now >= latest);
                latest = now;
            }
            assert!(latest > Instant::ORIGIN);
        }
    }

    #[test]
    fn a_reading_before_the_latest_shows_the_latest() {
        let clock = Clock::of_kernel();
        let later = u64::MAX - 1;
        clock.latest.set(later);
        assert_eq!(clock.now(), Instant::from_nanos(later));
    }

    #[test]
    fn threads_agree_within_the_time_it_takes_to_ask() {
        let clock = Clock::new();
        let before = clock.now();
        let elsewhere = std::thread::spawn(|| Clock::new().now()).join().expect("no panic");
        let after = clock.now();
        // The counters of different processors may differ by less than a message takes; a microsecond is plenty.
        let slack = Duration::from_micros(1);
        assert!(elsewhere + slack >= before && elsewhere <= after + slack, "{before:?} {elsewhere:?} {after:?}");
    }
}
