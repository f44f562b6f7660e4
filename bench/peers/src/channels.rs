//! Channels and queues of threads: flume, crossbeam's channel and its bounded queue, each polled by spinning.

use std::hint::spin_loop;

use crossbeam_queue::ArrayQueue;
use sunstar_bench_common::cli::Entry;
use sunstar_bench_common::cross::{Boxed, CAPACITY, Inline, Job, rate, round_trip};
use sunstar_bench_common::measure::Reporter;

/// The benchmarks of channels between two threads.
pub(crate) const fn entries() -> [Entry; 8] {
    [
        Entry::new("flume", "submit", flume_submit),
        Entry::new("flume", "post", flume_post::<Inline>),
        Entry::new("crossbeam-channel", "submit", channel_submit),
        Entry::new("crossbeam-channel", "post", channel_post::<Inline>),
        Entry::new("crossbeam-channel-boxed", "post", channel_post::<Boxed>),
        Entry::new("crossbeam-queue", "submit", queue_submit),
        Entry::new("crossbeam-queue", "post", queue_post::<Inline>),
        Entry::new("crossbeam-queue-boxed", "post", queue_post::<Boxed>),
    ]
}

fn flume_submit(reporter: Reporter) {
    let (requests, inbox) = flume::bounded(CAPACITY);
    let (replies, answers) = flume::bounded(CAPACITY);
    reporter.nanos_per_op(round_trip(
        reporter.plan,
        |number| requests.send(number).expect("both ends live"),
        || answers.try_recv().ok(),
        || inbox.try_recv().ok(),
        |number| replies.send(number).expect("both ends live"),
    ));
}

fn flume_post<J: Job>(reporter: Reporter) {
    let (jobs, inbox) = flume::bounded::<J>(CAPACITY);
    reporter.millions_per_second(rate(
        reporter.plan,
        |job, _| jobs.send(job).expect("both ends live"),
        || inbox.drain().map(Job::run).count() > 0,
    ));
}

fn channel_submit(reporter: Reporter) {
    let (requests, inbox) = crossbeam_channel::bounded(CAPACITY);
    let (replies, answers) = crossbeam_channel::bounded(CAPACITY);
    reporter.nanos_per_op(round_trip(
        reporter.plan,
        |number| requests.send(number).expect("both ends live"),
        || answers.try_recv().ok(),
        || inbox.try_recv().ok(),
        |number| replies.send(number).expect("both ends live"),
    ));
}

fn channel_post<J: Job>(reporter: Reporter) {
    let (jobs, inbox) = crossbeam_channel::bounded::<J>(CAPACITY);
    reporter.millions_per_second(rate(
        reporter.plan,
        |job, _| jobs.send(job).expect("both ends live"),
        || inbox.try_iter().map(Job::run).count() > 0,
    ));
}

fn queue_submit(reporter: Reporter) {
    let (requests, replies) = (ArrayQueue::new(CAPACITY), ArrayQueue::new(CAPACITY));
    reporter.nanos_per_op(round_trip(
        reporter.plan,
        |number| push(&requests, number),
        || replies.pop(),
        || requests.pop(),
        |number| push(&replies, number),
    ));
}

fn queue_post<J: Job>(reporter: Reporter) {
    let jobs = ArrayQueue::<J>::new(CAPACITY);
    reporter.millions_per_second(rate(reporter.plan, |job, _| push(&jobs, job), || jobs.pop().map(Job::run).is_some()));
}

fn push<T>(queue: &ArrayQueue<T>, mut item: T) {
    while let Err(full) = queue.push(item) {
        item = full;
        spin_loop();
    }
}
