use std::time::Duration;

use sunstar::reactor::{Config, run};

use super::*;
use crate::arrivals::{Rate, Spacing};
use crate::plan::{Arrivals, Transport};
use crate::protocol::in_buffer;
use crate::protocol::ping_pong::Echo;

/// A load of two connections on one shard in which a thousand requests are due.
fn late() -> Rc<Load<Echo>> {
    let arrivals = Arrivals { rate: Rate::constant(1000.0), spacing: Spacing::Constant };
    let plan = Plan {
        target: ([127, 0, 0, 1], 9).into(),
        from: Vec::new(),
        transport: Transport::Tcp,
        connections: 2,
        pipeline: 1,
        requests_per_connection: Some(1),
        arrivals: Some(arrivals),
        requests: None,
        duration: None,
        warm_up: Duration::ZERO,
        ramp: Duration::ZERO,
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        is_idle: false,
        seed: 1,
    };
    let share = plan.share(0, 1);
    let load = Load::new(Echo::new(1, in_buffer), plan, share);
    let begin = Instant::from_nanos(lowres::now().as_nanos() - 1_000_000_000);
    load.send(begin, begin, Instant::FAR_FUTURE);
    load
}

/// Runs a test on a shard.
fn on_a_shard(test: impl FnOnce() + Send + 'static) {
    let config = Config { smp: Some(1), overprovisioned: true, ..Config::default() };
    run(config, || async move { test() }).expect("a shard runs");
}

#[test]
fn who_has_taken_a_request_is_given_no_other_one() {
    on_a_shard(|| {
        let load = late();
        load.wait_for_request(0);
        load.wait_for_request(1);
        // It looks by itself before it is given one.
        assert!(load.take_request(0, Instant::ORIGIN, lowres::now()).is_some());
        load.give_out();
        assert!(load.slots[0].given.take().is_none(), "it has one already");
        assert!(load.slots[1].given.take().is_some());
    });
}

#[test]
fn requests_that_were_taken_and_not_sent_are_all_counted() {
    on_a_shard(|| {
        let load = late();
        let now = lowres::now();
        load.slots[0].given.set(Some(now));
        load.give_up(0, Some(now));
        let tally = load.take().tally;
        assert_eq!((tally.unanswered, tally.given_up), (2, 2));
    });
}

#[test]
fn what_was_due_before_the_end_is_sent_if_somebody_has_time_and_else_told() {
    on_a_shard(|| {
        let load = late();
        load.wait_for_request(1);
        let end = load.begin.get() + Duration::from_millis(100);
        load.end.set(end);
        load.drain(end);
        assert!(load.slots[1].given.take().is_some());
        let tally = load.take().tally;
        assert_eq!((tally.unsent, tally.given_up), (99, 99));
        // The first one of them was due 1.5 ms after the begin.
        assert!(tally.latencies.max().abs_diff(98_500_000) < 100_000, "{}", tally.latencies.max());
    });
}

#[test]
fn what_is_sent_late_by_nobody_elses_fault_is_told() {
    on_a_shard(|| {
        let load = late();
        load.wait_for_request(0);
        load.give_out();
        let given = load.take().tally.lateness;
        assert!(given.len() == 1 && given.min() >= 990_000_000, "{}", given.min());
        // This one has a connection only now, but was due while nobody looked.
        let now = lowres::now();
        assert!(load.take_request(1, now, now).is_some());
        let taken = load.take().tally.lateness;
        assert!(taken.len() == 1 && taken.min() >= 990_000_000, "{}", taken.min());
        // Nobody but the server kept this one waiting.
        load.paced.set(Instant::ORIGIN);
        assert!(load.take_request(1, now, now).is_some());
        assert_eq!(load.take().tally.lateness.max(), 0);
    });
}
