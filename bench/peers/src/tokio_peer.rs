//! Tokio: one current-thread runtime with a `LocalSet` per core, and its channels in between.
//!
//! The runtimes have no I/O driver, which spares them a system call whenever they look for events.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sunstar_bench_common::cli::Entry;
use sunstar_bench_common::cross::{self, CAPACITY, Inline, Job};
use sunstar_bench_common::local::{Runtime, Semaphores};
use sunstar_bench_common::measure::{Reporter, pin, sample};
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task;

/// The current-thread runtime.
pub(crate) struct Tokio;

impl Runtime for Tokio {
    const NAME: &'static str = "tokio";

    fn run<F: Future<Output = ()> + 'static>(core: usize, main: impl FnOnce() -> F + Send + 'static) {
        pin(core);
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime needs no rights");
        task::LocalSet::new().block_on(&runtime, async move { main().await });
    }

    fn spawn<F: Future + 'static>(future: F) -> impl Future<Output = F::Output> + 'static {
        let join = task::spawn_local(future);
        async move { join.await.expect("benchmarks don't panic") }
    }

    fn yield_now() -> impl Future<Output = ()> {
        task::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }
}

impl Semaphores for Tokio {
    type Semaphore = Semaphore;

    fn semaphore(permits: usize) -> Semaphore {
        Semaphore::new(permits)
    }

    fn acquire(semaphore: &Semaphore) -> impl Future<Output: Sized> {
        semaphore.acquire()
    }
}

/// The benchmarks between two runtimes.
pub(crate) const fn cross_entries() -> [Entry; 2] {
    [Entry::new(Tokio::NAME, "submit", submit), Entry::new(Tokio::NAME, "post", post)]
}

/// Keeps the runtime of the calling task from parking, until `stop`.
async fn poll_busily(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        task::yield_now().await;
    }
}

/// A request through a bounded channel, the answer through a `oneshot`, both runtimes kept polling.
fn submit(reporter: Reporter) {
    static STOP: AtomicBool = AtomicBool::new(false);
    let (requests, mut inbox) = mpsc::channel::<oneshot::Sender<u64>>(CAPACITY);
    let server = thread::spawn(move || {
        Tokio::run(1, || async move {
            task::spawn_local(poll_busily(&STOP));
            while let Some(reply) = inbox.recv().await {
                reply.send(1).expect("the requester waits");
            }
        });
    });
    Tokio::run(0, move || async move {
        task::spawn_local(poll_busily(&STOP));
        let client = Tokio::spawn(async move {
            sample(reporter.plan.target, async |count| {
                for _ in 0..count {
                    let (reply, answer) = oneshot::channel();
                    requests.send(reply).await.expect("the server runs until the channel closes");
                    answer.await.expect("the server answers every request");
                }
            })
            .await
        });
        reporter.nanos_per_op(client.await);
        STOP.store(true, Ordering::Relaxed);
    });
    server.join().expect("the server doesn't panic");
}

/// Closures through a bounded channel, received in batches.
fn post(reporter: Reporter) {
    const BATCH: usize = 64;
    let (jobs, mut inbox) = mpsc::channel::<Inline>(CAPACITY);
    let server = thread::spawn(move || {
        Tokio::run(1, || async move {
            let mut batch = Vec::with_capacity(BATCH);
            while inbox.recv_many(&mut batch, BATCH).await > 0 {
                batch.drain(..).for_each(Job::run);
            }
        });
    });
    Tokio::run(0, move || async move {
        let sample = sample(reporter.plan.target, async |count| {
            let before = cross::rounds();
            for i in 0..count {
                jobs.send(Inline::consuming(cross::payload(i)))
                    .await
                    .expect("the server runs until the channel closes");
            }
            jobs.send(Inline::finishing()).await.expect("the server runs until the channel closes");
            while cross::rounds() == before {
                task::yield_now().await;
            }
        })
        .await;
        reporter.millions_per_second(sample);
    });
    server.join().expect("the server doesn't panic");
}
