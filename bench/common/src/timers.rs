//! Timers among a million others: armed and cancelled, or armed and fired.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::cli::Entry;
use crate::local::{Runtime, run_as_task};
use crate::measure::{Reporter, Sequence, sample};

/// The timeouts that are armed in `timer_cancel`: late enough that none fires while it lasts.
const TIMEOUT: Duration = Duration::from_secs(60);
const TIMEOUT_SPAN: Duration = Duration::from_secs(600);
/// Over which span the timers of `timer_fire` are spread.
const FIRE_SPAN: Duration = Duration::from_millis(500);

/// The benchmarks of timers.
pub const fn entries<R: Runtime>() -> [Entry; 2] {
    [Entry::new(R::NAME, "timer_cancel", cancel::<R>), Entry::new(R::NAME, "timer_fire", fire::<R>)]
}

/// Arms a timer and cancels it while a million others stay armed.
fn cancel<R: Runtime>(reporter: Reporter) {
    run_as_task::<R, _>(move || async move {
        let mut sequence = Sequence::default();
        let mut armed: Vec<_> =
            (0..reporter.plan.timers).map(|_| Box::pin(R::sleep(sequence.duration(TIMEOUT, TIMEOUT_SPAN)))).collect();
        for sleep in &mut armed {
            poll_once(sleep).await;
        }
        let sample = sample(reporter.plan.target, async |count| {
            for _ in 0..count {
                let sleep = pin!(R::sleep(sequence.duration(TIMEOUT, TIMEOUT_SPAN)));
                poll_once(sleep).await;
            }
        })
        .await;
        reporter.nanos_per_op(sample);
    });
}

/// Polls `future`, which stays pending, once.
///
/// # Panics
/// If it is ready.
pub async fn poll_once(mut future: impl Future + Unpin) {
    poll_fn(|cx| {
        let pending = std::pin::Pin::new(&mut future).poll(cx).is_pending();
        assert!(pending, "a timer fired that was armed for minutes ahead");
        Poll::Ready(())
    })
    .await;
}

/// A million tasks sleep, all become due while the thread is away, and then run.
///
/// Two figures: arming (spawn the task, poll it once, arm) as `timer_arm`, and from the return of the thread until the last
/// task has run as `timer_fire`.
fn fire<R: Runtime>(reporter: Reporter) {
    run_as_task::<R, _>(move || async move {
        let timers = reporter.plan.timers;
        let armed = Rc::new(Cell::new(0));
        let fired = Rc::new(Cell::new(0));
        let mut sequence = Sequence::default();
        let start = Instant::now();
        let mut joins = Vec::with_capacity(timers);
        for _ in 0..timers {
            let deadline = sequence.duration(reporter.plan.timer_lead, FIRE_SPAN);
            let (armed, fired) = (Rc::clone(&armed), Rc::clone(&fired));
            joins.push(R::spawn(async move {
                let sleep = R::sleep(deadline.saturating_sub(start.elapsed()));
                armed.set(armed.get() + 1);
                sleep.await;
                fired.set(fired.get() + 1);
            }));
        }
        while armed.get() < timers {
            R::yield_now().await;
        }
        let arming = start.elapsed();
        assert!(
            arming < reporter.plan.timer_lead,
            "arming took {arming:?}: the first timers were due before the last was armed"
        );
        std::thread::sleep(reporter.plan.timer_lead + FIRE_SPAN + Duration::from_millis(10) - arming);
        let back = Instant::now();
        while fired.get() < timers {
            R::yield_now().await;
        }
        let firing = back.elapsed();
        for join in joins {
            join.await;
        }
        report(reporter, "timer_arm", arming);
        report(reporter, "timer_fire", firing);
    });
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn report(reporter: Reporter, name: &str, elapsed: Duration) {
    let timers = reporter.plan.timers;
    reporter.value(name, "ns/op", elapsed.as_nanos() as f64 / timers as f64, timers as u64);
}
