//! The bounds that the machine sets: a cache line that goes there and back, and a bare ring.

use std::cell::UnsafeCell;
use std::hint::{black_box, spin_loop};
use std::mem::MaybeUninit;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::Entry;
use crate::cross::{CAPACITY, Inline, Job, rate, round_trip};
use crate::measure::{Reporter, pin};

/// The floors under `submit` and `post`.
pub const fn entries() -> [Entry; 3] {
    [
        Entry::new("floor", "submit", cache_line_ping_pong),
        Entry::new("floor", "post", ring_rate::<1>),
        Entry::new("floor-batch8", "post", ring_rate::<8>),
    ]
}

/// A value on cache lines of its own; two, because processors fetch them in pairs.
#[repr(align(128))]
#[derive(Default)]
struct Padded<T>(T);

/// One atomic line each way, both sides spinning.
fn cache_line_ping_pong(reporter: Reporter) {
    let there = Padded(AtomicU64::new(u64::MAX));
    let back = Padded(AtomicU64::new(u64::MAX));
    let mut seen = u64::MAX;
    let sample = round_trip(
        reporter.plan,
        |number| there.0.store(number, Ordering::Release),
        || Some(back.0.load(Ordering::Acquire)),
        || {
            let number = there.0.load(Ordering::Acquire);
            (number != std::mem::replace(&mut seen, number)).then_some(number)
        },
        |number| back.0.store(number, Ordering::Release),
    );
    reporter.nanos_per_op(sample);
}

/// How fast closures go through a bare ring whose producer tells its position once per `BATCH` messages.
fn ring_rate<const BATCH: usize>(reporter: Reporter) {
    let ring = Ring::default();
    let mut producer = Producer::<BATCH> { ring: &ring, tail: 0, seen_head: 0 };
    let mut consumer = Consumer { ring: &ring, head: 0 };
    let sample = rate(reporter.plan, |message, flush| producer.push(message, flush), || consumer.run());
    reporter.millions_per_second(sample);
}

struct Ring {
    /// How many messages were read, and how many were published.
    head: Padded<AtomicUsize>,
    tail: Padded<AtomicUsize>,
    slots: [UnsafeCell<MaybeUninit<Inline>>; CAPACITY],
}

// SAFETY: `head` and `tail` say which side may touch a slot, and `ring_rate` makes one producer and one consumer.
unsafe impl Sync for Ring {}

impl Default for Ring {
    fn default() -> Self {
        Self {
            head: Padded::default(),
            tail: Padded::default(),
            slots: [const { UnsafeCell::new(MaybeUninit::uninit()) }; CAPACITY],
        }
    }
}

/// The side that writes; it remembers the head that it last saw, so that it seldom reads the consumer's line.
struct Producer<'a, const BATCH: usize> {
    ring: &'a Ring,
    tail: usize,
    seen_head: usize,
}

impl<const BATCH: usize> Producer<'_, BATCH> {
    #[inline]
    fn push(&mut self, message: Inline, flush: bool) {
        while self.tail - self.seen_head == CAPACITY {
            self.seen_head = self.ring.head.0.load(Ordering::Acquire);
            spin_loop();
        }
        // SAFETY: the consumer has left this slot, as `head` is less than CAPACITY behind, and doesn't come back
        // before `tail` says so.
        unsafe { (*self.ring.slots[self.tail % CAPACITY].get()).write(message) };
        self.tail += 1;
        if flush || self.tail.is_multiple_of(BATCH) {
            self.ring.tail.0.store(self.tail, Ordering::Release);
        }
    }
}

/// The side that reads and runs.
struct Consumer<'a> {
    ring: &'a Ring,
    head: usize,
}

impl Consumer<'_> {
    #[inline]
    fn run(&mut self) -> bool {
        let tail = self.ring.tail.0.load(Ordering::Acquire);
        if self.head == tail {
            return false;
        }
        while self.head != tail {
            // SAFETY: slots below `tail` are written, and the producer leaves them alone until `head` has passed.
            unsafe { (*self.ring.slots[self.head % CAPACITY].get()).assume_init_read() }.run();
            self.head += 1;
        }
        self.ring.head.0.store(self.head, Ordering::Release);
        true
    }
}

/// How many times as far a loop of integer arithmetic, which shares nothing, gets on all of `cores` together as on the first one alone: what
/// shards could gain at best. Processors that are threads of one core share its units, so that it is little more than 1.
///
/// # Panics
/// If the system refuses to pin a thread.
pub fn scaling(cores: &[usize], time: Duration) -> f64 {
    let together = |cores: &[usize]| -> u64 {
        let barrier = &Barrier::new(cores.len());
        thread::scope(|scope| {
            let threads: Vec<_> =
                cores.iter().map(|&core| scope.spawn(move || arithmetic(core, time, barrier))).collect();
            threads.into_iter().map(|thread| thread.join().expect("it computes")).sum()
        })
    };
    let alone = cores.first().map_or(0, |first| together(&[*first]));
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let scaling = together(cores) as f64 / alone.max(1) as f64;
    scaling
}

/// How many times a core does some arithmetic, of which several operations can be done at the same time.
fn arithmetic(core: usize, time: Duration, barrier: &Barrier) -> u64 {
    pin(core);
    barrier.wait();
    let begun = Instant::now();
    let mut numbers: [u64; 8] = std::array::from_fn(|place| 1 + place as u64);
    let mut rounds = 0;
    while begun.elapsed() < time {
        for _ in 0..10_000 {
            // So many that a core of its own is never without work.
            for number in &mut numbers {
                *number ^= *number << 13;
                *number ^= *number >> 7;
                *number ^= *number << 17;
            }
        }
        numbers = black_box(numbers);
        rounds += 1;
    }
    rounds
}
