//! Tests of what waits on the wheel: futures, closures and the manual clock.

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{ManualClock, Timer, interval, interval_at, lowres, sleep, sleep_until};
use crate::current;
use crate::platform::Platform;
use crate::shard::Shard;
use crate::time::Instant;

const MS: Duration = Duration::from_millis(1);

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// A platform that is nothing but a clock.
struct Clock(Rc<Cell<Instant>>);

impl Platform for Clock {
    fn now(&self) -> Instant {
        self.0.get()
    }
    fn unix_time(&self) -> Duration {
        Duration::ZERO
    }

    fn entropy(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
    fn poll(&self) -> bool {
        false
    }
    fn sleep(&self, _deadline: Option<Instant>) {}
    fn doorbell(&self) -> Box<dyn sunstar_packet::Doorbell> {
        struct Silent;
        impl sunstar_packet::Doorbell for Silent {
            fn ring(&self) {}
        }
        Box::new(Silent)
    }
}

/// A shard whose clock the test moves.
struct Bench {
    shard: Shard,
    clock: Rc<Cell<Instant>>,
}

impl Bench {
    fn new() -> Self {
        let clock = Rc::new(Cell::new(Instant::ORIGIN));
        let platform = Box::new(Clock(Rc::clone(&clock)));
        let home = sunstar_packet::HomeOwner::new(platform.doorbell());
        let links = crate::message::Mesh::links(1).pop().expect("links of one shard");
        Self { shard: Shard::new(platform, home, links, MS), clock }
    }

    fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        current::enter(&self.shard, f)
    }

    /// Moves the clock and fires, as a round does.
    fn round(&self, now: Instant) -> usize {
        self.clock.set(now);
        self.enter(|| self.shard.timers.advance(now))
    }

    fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>, wakes: &Arc<Wakes>) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(wakes));
        self.enter(|| future.poll(&mut Context::from_waker(&waker)))
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl alloc::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_sleep_wakes_its_task_once_and_stays_ready() {
    let (bench, wakes) = (Bench::new(), Arc::default());
    let mut sleep = pin!(sleep_until(at(500)));
    assert_eq!(bench.shard.timers.len(), 0, "a sleep is armed by its first poll");
    assert!(bench.poll(sleep.as_mut(), &wakes).is_pending());
    assert_eq!(bench.round(at(499)), 0);
    assert!(!sleep.is_elapsed());
    assert_eq!(bench.round(at(500)), 1);
    assert_eq!(wakes.count(), 1);
    assert!(bench.poll(sleep.as_mut(), &wakes).is_ready());
    assert!(bench.poll(sleep.as_mut(), &wakes).is_ready());
    assert_eq!(Arc::strong_count(&wakes), 1);
}

#[test]
fn a_flood_of_timers_is_spread_over_rounds_in_order() {
    let (bench, wakes) = (Bench::new(), Arc::default());
    let count = super::MAX_FIRED_PER_ADVANCE + 10;
    let mut sleeps: Vec<_> = (0..count).map(|n| Box::pin(sleep_until(at(1000 - n as u64 % 7)))).collect();
    for sleep in &mut sleeps {
        assert!(bench.poll(sleep.as_mut(), &wakes).is_pending());
    }
    assert_eq!(bench.round(at(2000)), super::MAX_FIRED_PER_ADVANCE);
    assert!(bench.shard.timers.next_deadline().expect("ten are left") <= at(2000));
    assert!(sleeps.iter().filter(|sleep| !sleep.is_elapsed()).all(|sleep| sleep.deadline() == at(1000)));
    assert_eq!(bench.round(at(2000)), 10);
    assert_eq!(bench.shard.timers.next_deadline(), None);
}

#[test]
fn a_sleep_whose_time_has_passed_is_ready_at_once() {
    let (bench, wakes) = (Bench::new(), Arc::default());
    bench.round(at(100));
    let mut sleep = pin!(bench.enter(|| sleep(Duration::ZERO)));
    assert!(bench.poll(sleep.as_mut(), &wakes).is_ready());
    assert!(sleep.is_elapsed());
    assert_eq!(bench.shard.timers.counters().armed, 0);
}

#[test]
fn the_last_poll_decides_who_is_woken() {
    let (bench, first, second) = (Bench::new(), Arc::default(), Arc::default());
    let mut sleep = pin!(sleep_until(at(5)));
    assert!(bench.poll(sleep.as_mut(), &first).is_pending());
    assert!(bench.poll(sleep.as_mut(), &second).is_pending());
    bench.round(at(5));
    assert_eq!((first.count(), second.count()), (0, 1));
    assert_eq!(Arc::strong_count(&first), 1);
}

#[test]
fn a_sleep_can_be_reset_before_while_and_after_it_waits() {
    let (bench, wakes) = (Bench::new(), Arc::default());
    let mut sleep = pin!(sleep_until(at(5)));
    sleep.as_mut().reset(at(50));
    assert!(bench.poll(sleep.as_mut(), &wakes).is_pending());
    sleep.as_mut().reset(at(20));
    assert_eq!((bench.round(at(19)), bench.round(at(20))), (0, 1));
    sleep.as_mut().reset(at(30));
    assert!(!sleep.is_elapsed());
    assert!(bench.poll(sleep.as_mut(), &wakes).is_pending());
    assert_eq!((bench.round(at(29)), bench.round(at(30))), (0, 1));
    assert_eq!(wakes.count(), 2);
}

#[test]
fn dropping_a_sleep_cancels_it_under_any_shard_and_after_its_own() {
    let (one, other, wakes) = (Bench::new(), Bench::new(), Arc::default());
    let mut sleeps: Vec<_> = (0..3).map(|_| Box::pin(sleep_until(at(5)))).collect();
    for sleep in &mut sleeps {
        assert!(one.poll(sleep.as_mut(), &wakes).is_pending());
    }
    other.enter(|| sleeps.pop());
    assert_eq!((one.shard.timers.len(), other.shard.timers.len()), (2, 0));
    assert!(other.poll(sleeps[0].as_mut(), &wakes).is_pending());
    assert_eq!(one.shard.timers.len(), 2, "a sleep stays in the shard that armed it");
    drop(one);
    assert!(other.poll(sleeps[0].as_mut(), &wakes).is_pending());
    drop(sleeps);
    assert_eq!((wakes.count(), Arc::strong_count(&wakes)), (0, 1));
}

#[test]
fn an_interval_keeps_its_schedule_and_skips_what_it_missed() {
    let (bench, wakes) = (Bench::new(), Arc::default());
    bench.round(at(3));
    let mut interval = bench.enter(|| interval(Duration::from_nanos(10)));
    let mut tick = |bench: &Bench| bench.poll(pin!(interval.tick()), &wakes);
    assert_eq!(tick(&bench), Poll::Pending);
    bench.round(at(13));
    assert_eq!(tick(&bench), Poll::Ready(at(13)));
    assert_eq!(tick(&bench), Poll::Pending);
    bench.round(at(47));
    assert_eq!(tick(&bench), Poll::Ready(at(23)), "a late tick tells when it was due");
    assert_eq!(tick(&bench), Poll::Pending, "33 and 43 are skipped");
    bench.round(at(53));
    assert_eq!(tick(&bench), Poll::Ready(at(53)));
}

#[test]
fn an_interval_can_begin_at_once_and_anew() {
    let (bench, wakes) = (Bench::new(), Arc::default());
    bench.round(at(100));
    let mut interval = interval_at(at(100), MS);
    assert_eq!(bench.poll(pin!(interval.tick()), &wakes), Poll::Ready(at(100)));
    assert_eq!(interval.next_tick(), at(100) + MS);
    interval.reset_at(at(90));
    assert_eq!(bench.poll(pin!(interval.tick()), &wakes), Poll::Ready(at(90)));
}

#[test]
#[should_panic = "an interval needs a period"]
fn an_interval_needs_a_period() {
    drop(interval_at(at(0), Duration::ZERO));
}

#[test]
fn low_resolution_sleeps_fire_together() {
    let (bench, wakes) = (Bench::new(), Arc::default());
    bench.round(at(100));
    bench.clock.set(at(999_999));
    assert_eq!(bench.enter(lowres::now), at(100), "the clock of the round is not read again");
    assert_eq!(bench.enter(super::now), at(999_999));
    let mut sleeps: Vec<_> =
        [1, 500_000, 999_900].map(|nanos| Box::pin(bench.enter(|| lowres::sleep(Duration::from_nanos(nanos))))).into();
    for sleep in &mut sleeps {
        assert_eq!(sleep.deadline(), at(1_000_000));
        assert!(bench.poll(sleep.as_mut(), &wakes).is_pending());
    }
    assert_eq!(bench.round(at(1_000_000)), 3);
    assert_eq!(lowres::round_up(at(u64::MAX - 5)), Instant::FAR_FUTURE);
}

/// A closure that notes when it ran, and a look at the notes.
fn noting(bench: &Bench) -> (impl FnMut(&Timer) + use<>, Rc<RefCell<Vec<u64>>>) {
    let (clock, notes) = (Rc::clone(&bench.clock), Rc::new(RefCell::new(Vec::new())));
    let seen = Rc::clone(&notes);
    (move |_: &Timer| notes.borrow_mut().push(clock.get().as_nanos()), seen)
}

#[test]
fn a_timer_runs_its_closure_once() {
    let bench = Bench::new();
    let (note, seen) = noting(&bench);
    let timer = Timer::new(note);
    assert!(!timer.is_armed() && !timer.cancel());
    bench.enter(|| timer.arm_after(Duration::from_nanos(10)));
    assert_eq!(timer.deadline(), Some(at(10)));
    for now in 9..12 {
        bench.round(at(now));
    }
    assert_eq!(*seen.borrow(), [10]);
    assert!(!timer.is_armed());
    bench.enter(|| timer.arm(at(5)));
    bench.round(at(11));
    assert_eq!(*seen.borrow(), [10, 11], "a deadline that has passed fires in the next round");
    bench.enter(|| timer.arm(at(20)));
    bench.enter(|| timer.rearm(at(30)));
    assert!(timer.cancel() && !timer.cancel());
    assert_eq!(bench.round(at(40)), 0);
}

#[test]
#[should_panic = "the timer is armed already"]
fn an_armed_timer_cannot_be_armed() {
    let bench = Bench::new();
    let timer = Timer::new(|_| ());
    bench.enter(|| timer.arm(at(5)));
    bench.enter(|| timer.arm(at(6)));
}

#[test]
fn a_periodic_timer_skips_what_it_missed() {
    let bench = Bench::new();
    let (note, seen) = noting(&bench);
    let timer = Timer::new(note);
    bench.enter(|| timer.arm_periodic(Duration::from_nanos(10)));
    for now in [10, 20, 55, 59, 60] {
        bench.round(at(now));
    }
    assert_eq!(*seen.borrow(), [10, 20, 55, 60]);
    drop(timer);
    assert_eq!((bench.round(at(100)), Rc::strong_count(&seen)), (0, 1));
}

#[test]
fn a_closure_may_rearm_its_own_timer() {
    let bench = Bench::new();
    let runs = Rc::new(Cell::new(0));
    let counter = Rc::clone(&runs);
    let timer = Timer::new(move |timer| {
        counter.set(counter.get() + 1);
        timer.arm(at(0));
    });
    bench.enter(|| timer.arm(at(0)));
    for round in 1..4 {
        assert_eq!(bench.round(at(1)), 1, "a timer that arms itself does not hold up the round");
        assert_eq!(runs.get(), round);
    }
}

#[test]
fn a_closure_may_cancel_its_own_timer_and_others_that_are_due() {
    let bench = Bench::new();
    let (note, seen) = noting(&bench);
    let victim = Rc::new(Timer::new(note));
    let target = Rc::clone(&victim);
    let timer = Timer::new(move |timer| {
        assert!(target.cancel());
        assert!(timer.cancel(), "a periodic timer is armed while its closure runs");
    });
    bench.enter(|| timer.arm_periodic(Duration::from_nanos(10)));
    bench.enter(|| victim.arm(at(10)));
    assert_eq!(bench.round(at(10)), 1);
    assert_eq!(bench.round(at(100)), 0);
    assert!(seen.borrow().is_empty());
}

#[test]
fn a_closure_may_drop_its_own_timer() {
    let bench = Bench::new();
    let place = Rc::new(RefCell::new(None));
    let (own, witness) = (Rc::clone(&place), Rc::new(()));
    let held = Rc::clone(&witness);
    let timer = Timer::new(move |timer| {
        drop(own.borrow_mut().take());
        timer.rearm(at(50));
        assert!(!timer.is_armed(), "a dropped timer cannot be armed");
        assert_eq!(Rc::strong_count(&held), 2);
    });
    bench.enter(|| timer.arm_periodic(Duration::from_nanos(10)));
    *place.borrow_mut() = Some(timer);
    assert_eq!(bench.round(at(10)), 1);
    assert_eq!(Rc::strong_count(&witness), 1);
    assert_eq!(bench.round(at(100)), 0);
}

#[test]
#[cfg(feature = "std")]
fn a_panicking_closure_ends_only_its_own_timer() {
    let bench = Bench::new();
    let (note, seen) = noting(&bench);
    let faulty = Timer::new(|_| panic!("on purpose"));
    let sound = Timer::new(note);
    bench.enter(|| faulty.arm_periodic(Duration::from_nanos(10)));
    bench.enter(|| sound.arm(at(10)));
    assert_eq!(bench.round(at(10)), 2);
    assert_eq!(*seen.borrow(), [10]);
    assert_eq!(bench.shard.timers.panicked(), 1);
    bench.enter(|| faulty.rearm(at(20)));
    assert!(!faulty.is_armed());
}

#[test]
fn timers_tell_when_to_come_back() {
    let bench = Bench::new();
    let timer = Timer::new(|_| ());
    assert!(bench.shard.timers.is_empty());
    assert_eq!(bench.shard.timers.next_deadline(), None);
    bench.enter(|| timer.arm(Instant::FAR_FUTURE));
    assert_eq!(bench.shard.timers.next_deadline(), Some(Instant::FAR_FUTURE));
}

#[test]
fn a_manual_clock_moves_from_deadline_to_deadline() {
    let clock = ManualClock::new();
    let order = RefCell::new(Vec::new());
    let sleeper = |name: char, millis: &'static [u32]| {
        let (clock, order) = (clock.clone(), &order);
        async move {
            for millis in millis {
                clock.sleep(MS * *millis).await;
                order.borrow_mut().push((name, clock.now().as_nanos() / 1_000_000));
            }
        }
    };
    let (mut one, mut two) = (Box::pin(sleeper('a', &[5, 5])), Box::pin(sleeper('b', &[3, 7])));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..4 {
        let _ = (one.as_mut().poll(&mut cx), two.as_mut().poll(&mut cx));
        let next = clock.next_deadline().expect("somebody sleeps until the last step");
        clock.advance(next - clock.now());
        if clock.sleepers() == 0 {
            break;
        }
    }
    assert!(one.as_mut().poll(&mut cx).is_ready() && two.as_mut().poll(&mut cx).is_ready());
    assert_eq!(*order.borrow(), [('b', 3), ('a', 5), ('a', 10), ('b', 10)]);
}

#[test]
fn a_manual_clock_counts_and_forgets_its_sleepers() {
    let clock = ManualClock::default();
    let mut cx = Context::from_waker(Waker::noop());
    let mut sleeps: Vec<_> = (1..=4).map(|millis| Box::pin(clock.sleep(MS * millis))).collect();
    for sleep in &mut sleeps {
        assert!(sleep.as_mut().poll(&mut cx).is_pending());
    }
    sleeps[3].as_mut().reset(at(0) + MS * 2);
    drop(sleeps.remove(0));
    assert_eq!((clock.sleepers(), clock.advance(MS * 2), clock.sleepers()), (3, 2, 1));
    assert_eq!(clock.now(), at(2_000_000));
    assert!(clock.sleep(Duration::ZERO).deadline() == clock.now());
    let stray = sleeps.remove(1);
    drop(clock);
    drop(stray);
}

#[test]
#[should_panic = "called outside of a shard"]
fn a_sleep_needs_a_shard() {
    let _ = pin!(sleep_until(at(5))).poll(&mut Context::from_waker(Waker::noop()));
}
