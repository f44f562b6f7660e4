//! Between two shards: requests and one-way messages.

use std::future::Future;

use sunstar_bench_common::cli::Entry;
use sunstar_bench_common::cross;
use sunstar_bench_common::local::Runtime;
use sunstar_bench_common::measure::{Reporter, sample};
use sunstar_executor::{ShardId, post, submit_to, yield_now};
use sunstar_reactor::{Config, run};

use crate::{Sunstar, on_cores};

/// The benchmarks between two shards.
pub(crate) const fn entries() -> [Entry; 2] {
    [Entry::new(Sunstar::NAME, "submit", round_trip), Entry::new(Sunstar::NAME, "post", one_way)]
}

/// Runs `main` on the first of two shards, both of which poll.
fn on_two_shards<F: Future<Output = ()> + 'static>(main: impl FnOnce() -> F + Send + 'static) {
    run(Config { poll_mode: true, ..on_cores([0, 1]) }, main).expect("two cores exist and may be used");
}

/// The other shard.
fn neighbour() -> ShardId {
    ShardId::new(1)
}

fn round_trip(reporter: Reporter) {
    on_two_shards(move || async move {
        let sample = sample(reporter.plan.target, async |count| {
            for i in 0..count {
                let answer = submit_to(neighbour(), move || async move { i }).await;
                assert_eq!(answer.expect("the other shard runs"), i);
            }
        })
        .await;
        reporter.nanos_per_op(sample);
    });
}

fn one_way(reporter: Reporter) {
    on_two_shards(move || async move {
        let sample = sample(reporter.plan.target, async |count| {
            let before = cross::rounds();
            for i in 0..count {
                let payload = cross::payload(i);
                post(neighbour(), move || cross::consume(payload)).await.expect("the other shard runs");
            }
            post(neighbour(), cross::finish_round).await.expect("the other shard runs");
            while cross::rounds() == before {
                yield_now().await;
            }
        })
        .await;
        reporter.millions_per_second(sample);
    });
}
