//! How long to measure, on which core, and how the result is told.

use std::time::{Duration, Instant};

use rustix::thread::CpuSet;

/// How much a run measures.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long the measured part of a benchmark lasts.
    pub target: Duration,
    /// How many timers are armed at once.
    pub timers: usize,
    /// How long after the first one is armed the first of all timers may fire.
    pub timer_lead: Duration,
    /// How many connections are open where there are very many.
    pub connections: usize,
    /// How long scheduling groups compete.
    pub shares: Duration,
    /// How long idle shards are watched.
    pub idle: Duration,
}

/// Knows what is being measured, and prints what came out.
#[derive(Clone, Copy, Debug)]
pub struct Reporter {
    peer: &'static str,
    bench: &'static str,
    /// How much to measure.
    pub plan: Plan,
}

/// How long an operation takes, and how many were done to tell.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// The median over the slices, in nanoseconds.
    pub nanos_per_op: f64,
    /// What the slowest of the fastest tenth of the slices took: an idea of the median on a machine without other users.
    pub fastest_tenth: f64,
    /// How many operations were measured.
    pub iterations: u64,
}

impl Reporter {
    /// A reporter for one benchmark of one peer.
    pub const fn new(peer: &'static str, bench: &'static str, plan: Plan) -> Self {
        Self { peer, bench, plan }
    }

    /// Reports the time of one operation, in nanoseconds.
    pub fn nanos_per_op(&self, sample: Sample) {
        self.line(self.bench, "ns/op", sample.nanos_per_op, sample.fastest_tenth, sample.iterations);
    }

    /// Reports millions of operations per second.
    pub fn millions_per_second(&self, sample: Sample) {
        self.line(self.bench, "M/s", 1e3 / sample.nanos_per_op, 1e3 / sample.fastest_tenth, sample.iterations);
    }

    /// Reports any figure, under a name of its own where one benchmark has several.
    pub fn value(&self, bench: &str, unit: &str, value: f64, iterations: u64) {
        self.line(bench, unit, value, value, iterations);
    }

    fn line(&self, bench: &str, unit: &str, value: f64, fastest_tenth: f64, iterations: u64) {
        let peer = self.peer;
        println!(
            r#"{{"bench":"{bench}","peer":"{peer}","unit":"{unit}","value":{value},"fastest_tenth":{fastest_tenth},"iterations":{iterations}}}"#
        );
    }
}

/// Pins the calling thread to `core`.
///
/// # Panics
/// If the system refuses: a figure from an unpinned thread would be worth nothing.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core);
    rustix::thread::sched_setaffinity(None, &set).expect("the core exists and may be used");
}

/// How long a slice of a measurement lasts. Somebody else's turn on the core, which lasts for milliseconds, spoils a few slices
/// and leaves the median alone.
const SLICE: Duration = Duration::from_millis(1);
/// Slices to take at least, and attempts to find out how many operations make one.
const SLICES: usize = 16;
const ATTEMPTS: usize = 3;

/// Measures `work` for `target` in slices of a millisecond. `work(n)` does `n` operations.
///
/// Finding out how many operations make a slice warms caches and pools.
pub async fn sample(target: Duration, mut work: impl AsyncFnMut(u64)) -> Sample {
    let mut slices = Slices::default();
    while let Some(count) = slices.next(target) {
        let start = Instant::now();
        work(count).await;
        slices.took(start.elapsed());
    }
    slices.sample()
}

/// As [`sample`], for work that isn't asynchronous.
pub fn sample_blocking(target: Duration, mut work: impl FnMut(u64)) -> Sample {
    let mut slices = Slices::default();
    while let Some(count) = slices.next(target) {
        let start = Instant::now();
        work(count);
        slices.took(start.elapsed());
    }
    slices.sample()
}

/// As [`sample`], for work that comes in batches: `work(n)` does at least `n` operations, and answers how many.
pub async fn sample_batches(target: Duration, mut work: impl AsyncFnMut(u64) -> u64) -> Sample {
    let mut batches = Batches::default();
    while let Some(count) = batches.slices.next(target) {
        let start = Instant::now();
        let done = work(count).await;
        batches.took(start.elapsed(), done);
    }
    batches.sample()
}

/// As [`sample_batches`], for work that isn't asynchronous.
pub fn sample_batches_blocking(target: Duration, mut work: impl FnMut(u64) -> u64) -> Sample {
    let mut batches = Batches::default();
    while let Some(count) = batches.slices.next(target) {
        let start = Instant::now();
        let done = work(count);
        batches.took(start.elapsed(), done);
    }
    batches.sample()
}

/// Slices that have a number of operations each of its own.
#[derive(Default)]
struct Batches {
    slices: Slices,
    /// Nanoseconds per operation of each slice, and its operations.
    took: Vec<(f64, u64)>,
}

impl Batches {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn took(&mut self, elapsed: Duration, done: u64) {
        if self.slices.calibrated {
            self.took.push((elapsed.as_nanos() as f64 / done as f64, done));
        }
        self.slices.took(elapsed);
    }

    fn sample(mut self) -> Sample {
        self.took.sort_by(|one, other| one.0.total_cmp(&other.0));
        Sample {
            nanos_per_op: self.took[self.took.len() / 2].0,
            fastest_tenth: self.took[self.took.len() / 10].0,
            iterations: self.took.iter().map(|(_, done)| done).sum(),
        }
    }
}

/// Decides how many operations come next, and keeps what they took.
struct Slices {
    count: u64,
    /// What runs of `count` operations took: attempts at first, slices once `calibrated`.
    took: Vec<Duration>,
    calibrated: bool,
}

impl Default for Slices {
    fn default() -> Self {
        Self { count: 64, took: Vec::with_capacity(4096), calibrated: false }
    }
}

impl Slices {
    /// How many operations to do next, if any.
    fn next(&mut self, target: Duration) -> Option<u64> {
        if self.calibrated {
            let enough = self.took.len() >= SLICES && self.took.iter().sum::<Duration>() >= target;
            return (!enough).then_some(self.count);
        }
        if self.took.len() == ATTEMPTS {
            if self.took.iter().all(|&took| took >= SLICE) {
                self.calibrated = true;
            } else {
                self.count *= 2;
            }
            self.took.clear();
        }
        Some(self.count)
    }

    fn took(&mut self, elapsed: Duration) {
        self.took.push(elapsed);
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn sample(mut self) -> Sample {
        self.took.sort_unstable();
        let nanos_per_op = |place: usize| self.took[place].as_nanos() as f64 / self.count as f64;
        Sample {
            nanos_per_op: nanos_per_op(self.took.len() / 2),
            fastest_tenth: nanos_per_op(self.took.len() / 10),
            iterations: self.count * self.took.len() as u64,
        }
    }
}

impl Sample {
    /// The same, where each iteration did `factor` operations.
    #[must_use]
    pub fn per(self, factor: u32) -> Self {
        let factor_f64 = f64::from(factor);
        Self {
            nanos_per_op: self.nanos_per_op / factor_f64,
            fastest_tenth: self.fastest_tenth / factor_f64,
            iterations: self.iterations * u64::from(factor),
        }
    }
}

/// A sequence of numbers that looks random and is the same in every run (xorshift).
#[derive(Clone, Debug)]
pub struct Sequence(u64);

impl Default for Sequence {
    fn default() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }
}

impl Sequence {
    /// A duration in `[from, from + span)`, to the nanosecond.
    pub fn duration(&mut self, from: Duration, span: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX).max(1);
        from + Duration::from_nanos(self.0 % span)
    }
}
