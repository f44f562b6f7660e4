//! Scheduling groups with 100 and 300 shares that compete for one core.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::cli::Entry;
use crate::local::{Runtime, run_as_task};
use crate::measure::Reporter;

/// A runtime with scheduling groups.
pub trait Groups: Runtime {
    /// A group.
    type Group: Copy;

    /// Makes a group of that many shares.
    fn group(shares: u16) -> impl Future<Output = Self::Group>;

    /// Spawns a task in a group.
    fn spawn_in<F: Future + 'static>(group: Self::Group, future: F) -> impl Future<Output = F::Output> + 'static;
}

/// The benchmarks of groups.
pub const fn entries<R: Groups>() -> [Entry; 3] {
    [
        Entry::new(R::NAME, "shares", |reporter| compete::<R>(reporter, None)),
        Entry::new(R::NAME, "shares_light_sleeps", |reporter| compete::<R>(reporter, Some(LIGHT))),
        Entry::new(R::NAME, "shares_heavy_sleeps", |reporter| compete::<R>(reporter, Some(HEAVY))),
    ]
}

const LIGHT: usize = 0;
const HEAVY: usize = 1;
const SHARES: [u16; 2] = [100, 300];
/// How long a task works before it yields.
const CHUNK: Duration = Duration::from_micros(20);
/// How much the sleeping task works between two sleeps, and how long it sleeps.
const WORK: Duration = Duration::from_millis(10);
const SLEEP: Duration = Duration::from_millis(2);

/// What the two tasks did.
struct Ledger {
    end: Instant,
    /// Until when the sleeper sleeps; the other has the core to itself until then.
    awake_from: Cell<Instant>,
    /// Run time of each while both wanted the core.
    contested: [Cell<Duration>; 2],
}

/// Reports the per cent of contested run time that the heavy group got. 75 is right.
///
/// Run time in which the sleeper sleeps is nobody's to share and isn't counted.
fn compete<R: Groups>(reporter: Reporter, sleeper: Option<usize>) {
    run_as_task::<R, _>(move || async move {
        let groups = [R::group(SHARES[LIGHT]).await, R::group(SHARES[HEAVY]).await];
        let now = Instant::now();
        let ledger = Rc::new(Ledger {
            end: now + reporter.plan.shares,
            awake_from: Cell::new(now),
            contested: [const { Cell::new(Duration::ZERO) }; 2],
        });
        let work = |me: usize| {
            let task = burn::<R>(Rc::clone(&ledger), me, sleeper == Some(me));
            R::spawn_in(groups[me], task)
        };
        let (light, heavy) = (work(LIGHT), work(HEAVY));
        light.await;
        heavy.await;
        let seconds = |me: usize| ledger.contested[me].get().as_secs_f64();
        let percent = 100.0 * seconds(HEAVY) / (seconds(LIGHT) + seconds(HEAVY));
        report(reporter, sleeper, percent);
    });
}

fn report(reporter: Reporter, sleeper: Option<usize>, percent: f64) {
    let name = match sleeper {
        None => "shares",
        Some(LIGHT) => "shares_light_sleeps",
        Some(_) => "shares_heavy_sleeps",
    };
    reporter.value(name, "%", percent, 1);
}

async fn burn<R: Groups>(ledger: Rc<Ledger>, me: usize, sleeps: bool) {
    let mut worked = Duration::ZERO;
    loop {
        let start = Instant::now();
        if start >= ledger.end {
            return;
        }
        let mut ran = Duration::ZERO;
        while ran < CHUNK {
            ran = start.elapsed();
        }
        if sleeps || start >= ledger.awake_from.get() {
            ledger.contested[me].set(ledger.contested[me].get() + ran);
        }
        worked += ran;
        if sleeps && worked >= WORK {
            worked = Duration::ZERO;
            ledger.awake_from.set(Instant::now() + SLEEP);
            R::sleep(SLEEP).await;
        } else {
            R::yield_now().await;
        }
    }
}
