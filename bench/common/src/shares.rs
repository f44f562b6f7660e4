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
const SLEEP: Duration = Duration::from_millis(1);

/// What the two tasks did.
struct Ledger {
    end: Instant,
    /// Until when the sleeper sleeps; the other has the core to itself until then.
    awake_from: Cell<Instant>,
    /// Run time of each.
    total: [Cell<Duration>; 2],
    /// Run time of each while both wanted the core.
    contested: [Cell<Duration>; 2],
}

/// Reports the per cent of all run time that the heavy group got. 75 is right.
///
/// A group that slept has to catch up to come to its share, so another figure tells its per cent of the run time in which nobody
/// slept: how hard it catches up.
fn compete<R: Groups>(reporter: Reporter, sleeper: Option<usize>) {
    run_as_task::<R, _>(move || async move {
        let groups = [R::group(SHARES[LIGHT]).await, R::group(SHARES[HEAVY]).await];
        let now = Instant::now();
        let ledger = Rc::new(Ledger {
            end: now + reporter.plan.shares,
            awake_from: Cell::new(now),
            total: [const { Cell::new(Duration::ZERO) }; 2],
            contested: [const { Cell::new(Duration::ZERO) }; 2],
        });
        let work = |me: usize| {
            let task = burn::<R>(Rc::clone(&ledger), me, sleeper == Some(me));
            R::spawn_in(groups[me], task)
        };
        let (light, heavy) = (work(LIGHT), work(HEAVY));
        light.await;
        heavy.await;
        let name = match sleeper {
            None => "shares",
            Some(LIGHT) => "shares_light_sleeps",
            Some(_) => "shares_heavy_sleeps",
        };
        reporter.value(name, "%", heavy_percent(&ledger.total), 1);
        if sleeper.is_some() {
            reporter.value(&format!("{name}_awake"), "%", heavy_percent(&ledger.contested), 1);
        }
    });
}

fn heavy_percent(run_time: &[Cell<Duration>; 2]) -> f64 {
    let [light, heavy] = [LIGHT, HEAVY].map(|group| run_time[group].get().as_secs_f64());
    100.0 * heavy / (light + heavy)
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
        ledger.total[me].set(ledger.total[me].get() + ran);
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
