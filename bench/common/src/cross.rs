//! What crosses from one core to another: messages one way, and there and back.

use std::cell::Cell;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::measure::{Plan, Sample, pin, sample_blocking};

/// How many messages a bounded channel holds.
pub const CAPACITY: usize = 1024;
/// What a posted closure carries.
pub type Payload = [u64; 4];

thread_local! {
    static SUM: Cell<u64> = const { Cell::new(0) };
}

/// How many rounds of [`rate`] have been received to their end.
static ROUNDS: AtomicU64 = AtomicU64::new(0);

/// What every posted closure does with its 32 bytes.
#[inline]
pub fn consume(payload: Payload) {
    SUM.with(|sum| sum.set(sum.get().wrapping_add(payload[0] ^ payload[3])));
}

/// What the last closure of a round does: tells the sender that all before it have run.
pub fn finish_round() {
    ROUNDS.fetch_add(1, Ordering::Release);
}

/// How many rounds were finished; the sender waits for it to grow.
pub fn rounds() -> u64 {
    ROUNDS.load(Ordering::Acquire)
}

/// A message that is run where it arrives.
pub trait Job: Send + 'static {
    /// One that [consumes](consume) `payload`.
    fn consuming(payload: Payload) -> Self;
    /// One that [ends a round](finish_round).
    fn finishing() -> Self;
    /// Runs it.
    fn run(self);
}

/// A closure without allocation: what to call, and with which 32 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Inline {
    call: fn(Payload),
    payload: Payload,
}

impl Job for Inline {
    #[inline]
    fn consuming(payload: Payload) -> Self {
        Self { call: consume, payload }
    }

    fn finishing() -> Self {
        Self { call: |_| finish_round(), payload: [0; 4] }
    }

    #[inline]
    fn run(self) {
        (self.call)(self.payload);
    }
}

/// A closure as most programs would send it.
pub type Boxed = Box<dyn FnOnce() + Send>;

impl Job for Boxed {
    #[inline]
    fn consuming(payload: Payload) -> Self {
        Box::new(move || consume(payload))
    }

    fn finishing() -> Self {
        Box::new(finish_round)
    }

    #[inline]
    fn run(self) {
        self();
    }
}

/// The payload of the message number `i`.
#[inline]
pub fn payload(i: u64) -> Payload {
    [i, i + 1, i + 2, i + 3]
}

/// Measures how many jobs per second go from core 0 to core 1 and run there.
///
/// `send` waits for room; with `true` it also flushes what it holds back. `run` runs what has arrived without
/// waiting, and answers whether that was anything.
pub fn rate<J: Job>(plan: Plan, mut send: impl FnMut(J, bool), mut run: impl FnMut() -> bool + Send) -> Sample {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(1);
            while !stop.load(Ordering::Relaxed) {
                if !run() {
                    spin_loop();
                }
            }
        });
        pin(0);
        let sample = sample_blocking(plan.target, |count| {
            let before = rounds();
            for i in 0..count {
                send(J::consuming(payload(i)), false);
            }
            send(J::finishing(), true);
            while rounds() == before {
                spin_loop();
            }
        });
        stop.store(true, Ordering::Relaxed);
        sample
    })
}

/// Measures how long a number takes from core 0 to core 1 and back; both sides poll.
pub fn round_trip(
    plan: Plan,
    mut ask: impl FnMut(u64),
    mut answered: impl FnMut() -> Option<u64>,
    mut asked: impl FnMut() -> Option<u64> + Send,
    mut answer: impl FnMut(u64) + Send,
) -> Sample {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(1);
            while !stop.load(Ordering::Relaxed) {
                if let Some(number) = asked() {
                    answer(number);
                }
            }
        });
        pin(0);
        let sample = sample_blocking(plan.target, |count| {
            for i in 0..count {
                ask(i);
                while answered() != Some(i) {}
            }
        });
        stop.store(true, Ordering::Relaxed);
        sample
    })
}
