//! Glommio: one executor per core, shared channels in between.
//!
//! It runs a task once within `spawn_local`, so in `spawn` and `spawn_many` nobody ever waits: what is awaited has
//! ended before. `spawn_yield` compares like with like.

use std::future::Future;
use std::thread;
use std::time::Duration;

use glommio::channels::shared_channel::{SharedReceiver, SharedSender, new_bounded};
use glommio::sync::Semaphore;
use glommio::{Latency, LocalExecutorBuilder, Placement, Shares, TaskQueueHandle};
use sunstar_bench_common::cli::Entry;
use sunstar_bench_common::cross::{self, CAPACITY, Inline, Job};
use sunstar_bench_common::local::{Runtime, Semaphores};
use sunstar_bench_common::measure::{Reporter, sample};
use sunstar_bench_common::shares::Groups;

/// Glommio's executor.
pub(crate) struct Glommio;

/// Longer than any benchmark: the executors between which messages go never sleep.
const ALWAYS: Duration = Duration::from_secs(600);

impl Runtime for Glommio {
    const NAME: &'static str = "glommio";

    fn run<F: Future<Output = ()> + 'static>(core: usize, main: impl FnOnce() -> F + Send + 'static) {
        run_spinning(core, Duration::ZERO, main);
    }

    fn spawn<F: Future + 'static>(future: F) -> impl Future<Output = F::Output> + 'static {
        glommio::spawn_local(future)
    }

    async fn yield_now() {
        glommio::executor().yield_now().await;
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        glommio::timer::sleep(duration)
    }
}

fn run_spinning<F: Future<Output = ()> + 'static>(
    core: usize,
    spin: Duration,
    main: impl FnOnce() -> F + Send + 'static,
) {
    LocalExecutorBuilder::new(Placement::Fixed(core))
        .spin_before_park(spin)
        .spawn(move || async move { main().await })
        .and_then(glommio::ExecutorJoinHandle::join)
        .expect("the kernel has io_uring and allows the memory that the executor locks");
}

impl Semaphores for Glommio {
    type Semaphore = Semaphore;

    fn semaphore(permits: usize) -> Semaphore {
        Semaphore::new(permits as u64)
    }

    fn acquire(semaphore: &Semaphore) -> impl Future<Output: Sized> {
        semaphore.acquire_permit(1)
    }
}

impl Groups for Glommio {
    type Group = TaskQueueHandle;

    async fn group(shares: u16) -> TaskQueueHandle {
        let latency = Latency::Matters(Duration::from_millis(1));
        glommio::executor().create_task_queue(Shares::Static(shares.into()), latency, "bench")
    }

    fn spawn_in<F: Future + 'static>(group: TaskQueueHandle, future: F) -> impl Future<Output = F::Output> + 'static {
        glommio::spawn_local_into(future, group).expect("the group exists")
    }
}

/// The benchmarks between two executors.
pub(crate) const fn cross_entries() -> [Entry; 2] {
    [Entry::new(Glommio::NAME, "submit", submit), Entry::new(Glommio::NAME, "post", post)]
}

/// A number through one shared channel and back through another, both executors spinning.
fn submit(reporter: Reporter) {
    let (requests, inbox) = new_bounded::<u64>(CAPACITY);
    let (replies, answers) = new_bounded::<u64>(CAPACITY);
    let server = thread::spawn(move || run_spinning(1, ALWAYS, move || echo(inbox, replies)));
    run_spinning(0, ALWAYS, move || async move {
        let (requests, answers) = (requests.connect().await, answers.connect().await);
        let sample = sample(reporter.plan.target, async |count| {
            for i in 0..count {
                requests.send(i).await.expect("the server runs until the channel closes");
                answers.recv().await.expect("the server answers every request");
            }
        })
        .await;
        reporter.nanos_per_op(sample);
    });
    server.join().expect("the server doesn't panic");
}

async fn echo(inbox: SharedReceiver<u64>, replies: SharedSender<u64>) {
    let (inbox, replies) = (inbox.connect().await, replies.connect().await);
    while let Some(number) = inbox.recv().await {
        replies.send(number).await.expect("the requester waits");
    }
}

/// Closures through a shared channel.
fn post(reporter: Reporter) {
    let (jobs, inbox) = new_bounded::<Inline>(CAPACITY);
    let server = thread::spawn(move || {
        run_spinning(1, ALWAYS, move || async move {
            let inbox = inbox.connect().await;
            while let Some(job) = inbox.recv().await {
                job.run();
            }
        });
    });
    run_spinning(0, ALWAYS, move || async move {
        let jobs = jobs.connect().await;
        let sample = sample(reporter.plan.target, async |count| {
            let before = cross::rounds();
            for i in 0..count {
                jobs.send(Inline::consuming(cross::payload(i)))
                    .await
                    .expect("the server runs until the channel closes");
            }
            jobs.send(Inline::finishing()).await.expect("the server runs until the channel closes");
            while cross::rounds() == before {
                Glommio::yield_now().await;
            }
        })
        .await;
        reporter.millions_per_second(sample);
    });
    server.join().expect("the server doesn't panic");
}
