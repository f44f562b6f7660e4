//! What stays on one core: tasks, wakes, yields, semaphores.

use std::future::Future;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Duration;

use crate::cli::Entry;
use crate::measure::{Reporter, sample};
use crate::ping_pong::{Table, play};

/// A single-threaded runtime, in its own words.
pub trait Runtime: 'static {
    /// The name in the tables.
    const NAME: &'static str;

    /// Runs a task on an executor pinned to `core` until it ends, on the calling thread or a new one.
    fn run<F: Future<Output = ()> + 'static>(core: usize, main: impl FnOnce() -> F + Send + 'static);

    /// Spawns a task on the current executor; the answer waits for its output.
    fn spawn<F: Future + 'static>(future: F) -> impl Future<Output = F::Output> + 'static;

    /// Lets the other tasks run.
    fn yield_now() -> impl Future<Output = ()>;

    /// Waits. The timer is armed at the latest by the first poll.
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static;
}

/// A runtime's own semaphore.
pub trait Semaphores: Runtime {
    /// The semaphore.
    type Semaphore: 'static;

    /// A semaphore with so many permits.
    fn semaphore(permits: usize) -> Self::Semaphore;

    /// Takes one permit, which the answer gives back when it is dropped.
    fn acquire(semaphore: &Self::Semaphore) -> impl Future<Output: Sized>;
}

/// How many tasks are in flight in `spawn_many`.
const MANY: u32 = 128;
/// How many tasks want the one permit.
const CONTENDERS: u32 = 4;

/// The benchmarks of tasks that apply to any runtime.
pub const fn entries<R: Runtime>() -> [Entry; 5] {
    [
        Entry::new(R::NAME, "spawn", spawn::<R>),
        Entry::new(R::NAME, "spawn_yield", spawn_yield::<R>),
        Entry::new(R::NAME, "spawn_many", spawn_many::<R>),
        Entry::new(R::NAME, "wake", wake::<R>),
        Entry::new(R::NAME, "yield", yields::<R>),
    ]
}

/// The benchmarks of a runtime's semaphore.
pub const fn semaphore_entries<R: Semaphores>() -> [Entry; 2] {
    [
        Entry::new(R::NAME, "semaphore", semaphore::<R>),
        Entry::new(R::NAME, "semaphore_contended", semaphore_contended::<R>),
    ]
}

/// Runs `main` as a task on the first core, so that no runtime gains by a special place for it.
pub(crate) fn run_as_task<R: Runtime, F: Future<Output = ()> + 'static>(main: impl FnOnce() -> F + Send + 'static) {
    R::run(0, move || async move { R::spawn(main()).await });
}

/// Spawns one task, waits for it, and so on.
fn spawn<R: Runtime>(reporter: Reporter) {
    run_as_task::<R, _>(move || async move {
        let sample = sample(reporter.plan.target, async |count| {
            for i in 0..count {
                black_box(R::spawn(async move { black_box(i) }).await);
            }
        })
        .await;
        reporter.nanos_per_op(sample);
    });
}

/// Spawns one task that yields before it ends, so that whoever joins it waits, also where a spawned task runs at once.
fn spawn_yield<R: Runtime>(reporter: Reporter) {
    run_as_task::<R, _>(move || async move {
        let sample = sample(reporter.plan.target, async |count| {
            for i in 0..count {
                let join = R::spawn(async move {
                    R::yield_now().await;
                    black_box(i)
                });
                black_box(join.await);
            }
        })
        .await;
        reporter.nanos_per_op(sample);
    });
}

/// Spawns some tasks, then waits for each.
fn spawn_many<R: Runtime>(reporter: Reporter) {
    run_as_task::<R, _>(move || async move {
        let mut joins = Vec::new();
        let sample = sample(reporter.plan.target, async |count| {
            for _ in 0..count {
                joins.extend((0..MANY).map(|i| Box::pin(R::spawn(async move { black_box(i) }))));
                for join in joins.drain(..) {
                    black_box(join.await);
                }
            }
        })
        .await;
        reporter.nanos_per_op(sample.per(MANY));
    });
}

/// Two tasks that wake each other in turn; one operation is one wake and the run that follows.
fn wake<R: Runtime>(reporter: Reporter) {
    run_as_task::<R, _>(move || async move {
        let sample = sample(reporter.plan.target, async |count| {
            let table = Rc::new(Table::default());
            let other = R::spawn(play(Rc::clone(&table), 1, count));
            play(table, 0, count).await;
            other.await;
        })
        .await;
        reporter.nanos_per_op(sample.per(2));
    });
}

/// Two tasks that yield to each other; one operation is one yield.
fn yields<R: Runtime>(reporter: Reporter) {
    run_as_task::<R, _>(move || async move {
        let sample = sample(reporter.plan.target, async |count| {
            let other = R::spawn(yield_times::<R>(count));
            yield_times::<R>(count).await;
            other.await;
        })
        .await;
        reporter.nanos_per_op(sample.per(2));
    });
}

async fn yield_times<R: Runtime>(count: u64) {
    for _ in 0..count {
        R::yield_now().await;
    }
}

/// One task takes and returns a permit that nobody else wants.
fn semaphore<R: Semaphores>(reporter: Reporter) {
    run_as_task::<R, _>(move || async move {
        let semaphore = R::semaphore(1);
        let sample = sample(reporter.plan.target, async |count| {
            for _ in 0..count {
                drop(black_box(R::acquire(&semaphore).await));
            }
        })
        .await;
        reporter.nanos_per_op(sample);
    });
}

/// Tasks that want the same permit and yield while they hold it, so that the others always wait.
fn semaphore_contended<R: Semaphores>(reporter: Reporter) {
    run_as_task::<R, _>(move || async move {
        let semaphore = Rc::new(R::semaphore(1));
        let sample = sample(reporter.plan.target, async |count| {
            let contenders: Vec<_> =
                (0..CONTENDERS).map(|_| Box::pin(R::spawn(contend::<R>(Rc::clone(&semaphore), count)))).collect();
            for contender in contenders {
                contender.await;
            }
        })
        .await;
        reporter.nanos_per_op(sample.per(CONTENDERS));
    });
}

async fn contend<R: Semaphores>(semaphore: Rc<R::Semaphore>, count: u64) {
    for _ in 0..count {
        let permit = R::acquire(&semaphore).await;
        R::yield_now().await;
        drop(permit);
    }
}
