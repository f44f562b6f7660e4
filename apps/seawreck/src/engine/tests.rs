use std::net::TcpListener;
use std::time::Duration;

use sunstar::reactor::{Config, run};

use super::*;
use crate::arrivals::{Rate, Spacing};
use crate::plan::{Arrivals, Transport};
use crate::protocol::in_buffer;
use crate::protocol::ping_pong::Echo;

/// What a load of two connections does that sends a thousand requests a second.
fn plan() -> Plan {
    let arrivals = Arrivals { rate: Rate::constant(1000.0), spacing: Spacing::Constant };
    Plan {
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
    }
}

fn load(plan: Plan) -> Rc<Load<Echo>> {
    let share = plan.share(0, 1);
    Load::new(Echo::new(1, in_buffer), plan, share)
}

/// The same on one shard, when a thousand requests are due.
fn late() -> Rc<Load<Echo>> {
    let load = load(plan());
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
        assert!(load.take_request(0, lowres::now()).is_some());
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
        assert_eq!(load.take().tally.unsent, 0, "they wait on");
        load.leave_unsent(end + Duration::from_millis(900));
        let tally = load.take().tally;
        assert_eq!((tally.unsent, tally.given_up, tally.lost), (99, 99, 0));
        // They were due from 1.5 ms after the begin to 0.5 ms before the end.
        let (least, most) = (tally.latencies.min(), tally.latencies.max());
        assert!(least.abs_diff(900_500_000) < 1_000_000 && most.abs_diff(998_500_000) < 1_000_000, "{least} {most}");
    });
}

#[test]
fn who_ends_it_before_its_time_measures_only_what_is_known_to_be_long() {
    on_a_shard(|| {
        let load = late();
        let end = load.begin.get() + Duration::from_millis(100);
        load.drain(end);
        let ago = |millis: u64| Instant::from_nanos(lowres::now().as_nanos() - millis * 1_000_000);
        load.known.set(Duration::from_millis(50));
        drop(load.take());
        // Some of these have waited for longer than any other took, and that is known; of the others nothing is.
        [60, 51, 49, 1].into_iter().for_each(|millis| load.leave_unanswered(ago(millis)));
        let tally = load.take().tally;
        assert_eq!((tally.unanswered, tally.given_up, tally.unknown, tally.lost), (4, 2, 2, 0));
        // As exactly as a histogram has it.
        assert!(tally.latencies.min() >= 50_900_000 && tally.latencies.max() >= 60_000_000);
        // Those for which there was no connection have waited for one, however long others took.
        load.leave_unsent(end + Duration::from_millis(10));
        let tally = load.take().tally;
        assert_eq!((tally.unsent, tally.given_up, tally.unknown, tally.lost), (100, 100, 0, 0));
        assert!(tally.latencies.min() >= 9_990_000);
    });
}

#[test]
fn who_is_given_up_with_an_older_one_has_no_latency() {
    on_a_shard(|| {
        let load = late();
        load.fail(Fault::TimedOut, load.begin.get(), true);
        load.fail(Fault::TimedOut, lowres::now(), false);
        load.fail(Fault::Reset, lowres::now(), true);
        let tally = load.take().tally;
        assert_eq!((tally.failed[Fault::TimedOut as usize], tally.bad()), (2, 3));
        assert_eq!((tally.given_up, tally.lost, tally.latencies.len()), (1, 1, 1));
        assert!(tally.latencies.min() >= 999_000_000, "{}", tally.latencies.min());
    });
}

#[test]
fn what_was_just_given_to_a_connection_that_ends_counts_not_with_next_to_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let target = silent.local_addr().expect("it has one");
    let config = Config { smp: Some(1), overprovisioned: true, ..Config::default() };
    let test = move || async move {
        // Nothing is due but what is given here.
        let arrivals = Some(Arrivals { rate: Rate::constant(1e-6), spacing: Spacing::Constant });
        let timeout = Duration::from_secs(3600);
        let rare =
            Plan { target, connections: 1, pipeline: 4, requests_per_connection: None, arrivals, timeout, ..plan() };
        let load = load(rare);
        Rc::clone(&load).open().await;
        let now = lowres::now();
        load.send(now, now, Instant::FAR_FUTURE);
        let slot = &load.slots[0];
        let give = || {
            slot.is_idle.set(false);
            slot.given.set(Some(lowres::now()));
            slot.wake();
        };
        while !slot.is_idle.get() {
            lowres::sleep(Duration::from_millis(1)).await;
        }
        give();
        while !slot.is_idle.get() {
            lowres::sleep(Duration::from_millis(1)).await;
        }
        // The first one is found to have waited for too long in the round in which the second one is due.
        slot.look_after(Instant::FAR_FUTURE);
        give();
        while load.tally.borrow().bad() < 2 {
            lowres::sleep(Duration::from_millis(1)).await;
        }
        let tally = load.take().tally;
        assert_eq!((tally.failed[Fault::TimedOut as usize], tally.given_up, tally.lost), (2, 0, 2));
        load.drain(lowres::now());
        load.cut(Duration::ZERO).await;
    };
    run(config, test).expect("a shard runs");
}

/// How late the requests were that have left, in milliseconds.
fn lateness(load: &Load<Echo>, after_millis: u64) -> Vec<u64> {
    load.leave(load.begin.get() + Duration::from_millis(after_millis));
    let times = load.take().tally.lateness;
    times.iter_recorded().map(|time| time.value_iterated_to() / 1_000_000).collect()
}

#[test]
fn what_is_sent_late_by_nobody_elses_fault_is_told() {
    on_a_shard(|| {
        let load = late();
        let at = |millis| load.begin.get() + Duration::from_millis(millis);
        let near = |late: Vec<u64>, millis: u64| late.len() == 1 && late[0].abs_diff(millis) <= millis / 50;
        // There was a connection, but nobody looked, and then it took its time until it left.
        load.paced.set(at(500));
        assert_eq!(load.depart(at(200), at(100)), None);
        assert!(load.take().tally.lateness.is_empty(), "it has not left");
        assert!(near(lateness(&load, 800), 600));
        // This one has a connection only later.
        load.depart(at(200), at(700));
        assert!(near(lateness(&load, 800), 400));
        // Nobody but the server kept this one waiting, until it could be sent.
        load.depart(at(600), at(700));
        assert!(near(lateness(&load, 800), 100));
        load.depart(at(700), at(600));
        assert!(near(lateness(&load, 800), 100));
        load.wait_for_request(0);
        load.give_out();
        assert!(load.paced.get() >= lowres::now() && load.slots[0].given.take().is_some());
        assert!(lateness(&load, 900).is_empty(), "it has no more than been given");
    });
}

#[test]
fn connections_that_were_held_are_asked_some_at_a_time() {
    on_a_shard(|| {
        let connections = ASKED_AT_ONCE + 2;
        let load = load(Plan { connections, requests_per_connection: None, arrivals: None, is_idle: true, ..plan() });
        let now = lowres::now();
        load.send(now, now, Instant::FAR_FUTURE);
        let asked = || load.slots.iter().filter(|slot| slot.given.get().is_some()).count();
        assert_eq!((asked(), load.is_done(0), load.has_ended()), (0, false, false));
        load.ask_each();
        assert_eq!((asked(), load.is_done(0), load.is_done(connections - 1)), (ASKED_AT_ONCE, true, false));
        // Whenever one has ended, the next one is.
        (0..ASKED_AT_ONCE).for_each(|_| load.release());
        assert_eq!((asked(), load.is_done(connections - 1)), (connections, true));
    });
}
