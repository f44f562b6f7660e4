//! Each checker finds what it is for.

use std::cell::RefCell;
use std::future::pending;
use std::mem::forget;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::combine::with_timeout;
use sunstar_executor::timer::sleep;
use sunstar_executor::{TaskBuilder, spawn, yield_now};

use super::support::*;
use crate::{Failure, Sim, SimError, SimOptions};

fn failure(sim: Sim) -> (Failure, String) {
    let error: SimError = sim.run().expect_err("the world fails");
    let text = error.to_string();
    assert!(text.starts_with(&format!("seed {} failed at ", error.seed)), "{text}");
    (error.failure, text)
}

#[test]
fn a_deadlock_names_who_waits_for_what() {
    let mut sim = Sim::new(1);
    sim.background_host("server", 1, || async {
        let stream = accept(&listen(80)).await;
        pending::<()>().await;
        drop(stream);
    });
    sim.host("client", 2, || async {
        let stream = connect(&at("server", 80)).await.unwrap();
        TaskBuilder::new().name("helper").spawn(pending::<()>());
        drop(read(&stream).await);
    });
    let (failure, text) = failure(sim);
    assert!(matches!(failure, Failure::Deadlock(_)));
    for part in ["\"helper\"", "\"main\"", "shard 0 of client", "read on connection 0", "with 10.0.0.1:80"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("of server"), "who serves may wait: {text}");
}

#[test]
fn a_timer_that_is_always_due_is_a_circle() {
    let world = |period| {
        let mut sim = Sim::with_options(1, SimOptions { futile_rounds: 1_000, ..SimOptions::default() });
        sim.host("busy", 1, move || async move {
            for _ in 0..10_000 {
                sleep(period).await;
            }
        });
        sim.limit_time(Duration::from_secs(20_000));
        sim
    };
    let (failure, text) = failure(world(Duration::from_micros(1)));
    assert!(matches!(failure, Failure::Livelock(_)) && text.contains("\"main\""), "{text}");
    world(Duration::from_secs(1)).run().unwrap();
}

#[test]
fn who_turns_in_circles_is_found_whether_time_passes_or_not() {
    for cost_us in [0, 5] {
        let cost = Duration::from_micros(cost_us);
        let options = SimOptions {
            futile_rounds: 1000,
            round_cost: cost..=cost,
            task_quota: Duration::ZERO,
            ..SimOptions::default()
        };
        let mut sim = Sim::with_options(1, options);
        sim.host("busy", 1, || async {
            loop {
                yield_now().await;
            }
        });
        let (failure, text) = failure(sim);
        assert!(matches!(failure, Failure::Livelock(_)) && text.contains("\"main\""), "{text}");
    }
}

#[test]
fn who_does_not_end_runs_out_of_time() {
    let mut sim = Sim::new(1);
    sim.host("sleeper", 1, || async {
        loop {
            sleep(Duration::from_secs(60)).await;
        }
    });
    let (failure, text) = failure(sim);
    assert!(matches!(failure, Failure::OutOfTime(_)) && text.contains("of sleeper"), "{text}");
}

#[test]
fn panics_are_failures() {
    let mut sim = Sim::new(1);
    sim.host("host", 1, || async { panic!("oh dear") });
    let (failed, text) = failure(sim);
    assert!(matches!(failed, Failure::MainPanicked { .. }) && text.contains("oh dear"), "{text}");

    let mut sim = Sim::new(1);
    sim.background_host("host", 2, || async {
        drop(spawn(async { panic!("oh dear") }));
    });
    sim.host("other", 1, || async {});
    let (failed, text) = failure(sim);
    assert!(matches!(failed, Failure::TasksPanicked { shard: 0, count: 1, .. }), "{text}");
}

#[test]
fn tasks_that_outlive_their_host_are_leaks() {
    let mut sim = Sim::new(1);
    sim.host("host", 1, || async {
        drop(TaskBuilder::new().name("brief").spawn(sleep(Duration::from_millis(900))));
        drop(TaskBuilder::new().name("left").spawn(pending::<()>()));
    });
    let (failure, text) = failure(sim);
    assert!(matches!(failure, Failure::Leak(_)) && text.contains("\"left\"") && !text.contains("brief"), "{text}");
}

#[test]
fn sockets_streams_buffers_and_handles_that_nobody_drops_are_leaks() {
    let leaked = |take: fn(&Stream, &sunstar_packet::Buffer)| {
        let mut sim = Sim::new(1);
        sim.background_host("server", 1, || async {
            let stream = accept(&listen(80)).await;
            write(&stream, "hello").await.unwrap();
            pending::<()>().await;
        });
        sim.host("client", 1, move || async move {
            let stream = connect(&at("server", 80)).await.unwrap();
            take(&stream, &read(&stream).await.unwrap());
        });
        sim.run().err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(leaked(|_, _| ()), "");
    let text = leaked(|stream, _| forget(Rc::clone(stream)));
    assert!(text.contains("1 sockets") && text.contains("1 connections"), "{text}");
    let text = leaked(|_, bytes| forget(bytes.clone()));
    assert!(text.contains("1 buffers"), "{text}");

    let held = Rc::new(RefCell::new(None));
    let mut sim = Sim::new(1);
    let holder = Rc::clone(&held);
    sim.host("host", 1, || async move {
        holder.replace(Some(spawn(async {})));
    });
    let (failure, text) = failure(sim);
    assert!(matches!(failure, Failure::Leak(_)) && text.contains("still holds"), "{text}");
}

#[test]
fn worlds_can_be_watched_and_left() {
    let mut sim = Sim::new(1);
    sim.background_host("server", 1, || async {
        let listener = listen(80);
        loop {
            drop(accept(&listener).await);
        }
    });
    sim.host("client", 1, || async {
        for _ in 0..10 {
            drop(connect(&at("server", 80)).await.unwrap());
            sleep(Duration::from_secs(1)).await;
        }
    });
    sim.run_for(Duration::from_millis(4500)).unwrap();
    assert_eq!(sim.now().as_nanos(), 4_500_000_000);
    assert_eq!(sim.network_counters().connections, 5);
    sim.run_until(|sim| sim.network_counters().connections == 8).unwrap();
    assert_eq!(sim.now().as_nanos() / 1_000_000_000, 7);
    assert!(!sim.has_ended());
    sim.run_for(Duration::from_secs(10)).unwrap();
    assert!(sim.has_ended());
    assert_eq!(sim.network_counters().connections, 10);
    drop(sim);
}

#[test]
fn who_sleeps_costs_nothing() {
    let mut sim =
        Sim::with_options(1, SimOptions { time_limit: Duration::from_secs(1_000_000), ..SimOptions::default() });
    sim.background_host("idle", 8, || async {
        listen(80);
        pending::<()>().await;
    });
    sim.host("sleeper", 1, || sleep(Duration::from_secs(500_000)));
    let report = sim.run().unwrap();
    assert_eq!(report.ended_at.as_nanos() / 1_000_000_000, 500_001);
    assert!(report.rounds < 30 && report.events < 30, "{} rounds, {} events", report.rounds, report.events);
}

#[test]
fn a_panicked_task_that_makes_others_wait_is_named() {
    let mut sim = Sim::new(1);
    sim.background_host("server", 2, || async {
        let listener = listen(80);
        let stream = accept(&listener).await;
        drop(spawn(async { panic!("oh dear") }));
        pending::<()>().await;
        drop(stream);
    });
    sim.host("client", 1, || async {
        drop(read(&connect(&at("server", 80)).await.unwrap()).await);
    });
    let (failure, text) = failure(sim);
    assert!(matches!(failure, Failure::Deadlock(_)));
    assert!(text.contains("1 tasks panicked on shard 0 of server"), "{text}");
}

/// Waits for something that comes soon, with a limit that is after the end of the world.
async fn brief_wait() {
    let refused = with_timeout(Duration::from_secs(86_400), connect(&at("host", 9))).await;
    assert!(refused.is_ok_and(|outcome| outcome.is_err()));
}

#[test]
fn a_limit_that_was_not_reached_is_no_event() {
    let mut sim = Sim::new(1);
    sim.host("host", 1, brief_wait);
    let report = sim.run().unwrap();
    assert!(report.ended_at.as_nanos() < 1_100_000_000, "{:?}", report.ended_at);

    let mut sim = Sim::new(1);
    sim.host("host", 1, || async {
        brief_wait().await;
        pending::<()>().await;
    });
    let (failure, text) = failure(sim);
    assert!(matches!(failure, Failure::Deadlock(_)), "{text}");
}

#[test]
fn a_distant_timer_costs_the_same_however_often_the_shard_sleeps() {
    let mut sim = Sim::new(1);
    sim.background_host("server", 1, || async {
        let stream = accept(&listen(80)).await;
        while let Ok(bytes) = read(&stream).await
            && !bytes.is_empty()
        {
            write(&stream, bytes).await.unwrap();
        }
    });
    sim.host("client", 1, || async {
        let stream = connect(&at("server", 80)).await.unwrap();
        let talk = async {
            for _ in 0..1000 {
                write(&stream, "x").await.unwrap();
                drop(read(&stream).await.unwrap());
                sleep(Duration::from_millis(1)).await;
            }
        };
        with_timeout(Duration::from_secs(1800), talk).await.unwrap();
    });
    sim.run_until(|sim| sim.network_counters().segments >= 1000).unwrap();
    assert!(sim.world.events_to_come() < 20, "{}", sim.world.events_to_come());
}

#[test]
fn any_time_may_be_let_pass() {
    let mut sim = Sim::with_options(1, SimOptions { time_limit: Duration::MAX, ..SimOptions::default() });
    sim.background_host("host", 1, pending);
    sim.run_for(Duration::MAX).unwrap();
    sim.run_for(Duration::MAX).unwrap();
}

#[test]
#[should_panic = "all hosts are in the background"]
fn a_world_in_which_nobody_has_a_purpose_is_refused() {
    let mut sim = Sim::new(1);
    sim.background_host("server", 1, || async { panic!("nobody would notice") });
    drop(sim.run());
}

#[test]
fn the_trace_of_a_world_that_leaks_is_complete() {
    struct Sink(Rc<RefCell<Vec<&'static str>>>);
    impl Drop for Sink {
        fn drop(&mut self) {
            self.0.borrow_mut().push("flushed");
        }
    }
    let seen = Rc::new(RefCell::new(Vec::new()));
    let sink = Sink(Rc::clone(&seen));
    let mut sim = Sim::new(1);
    sim.trace_to(move |_| sink.0.borrow_mut().push("line"));
    sim.host("host", 1, || async { forget(listen(80)) });
    let (failure, text) = failure(sim);
    assert!(matches!(failure, Failure::Leak(_)), "{text}");
    assert_eq!(seen.borrow().last(), Some(&"flushed"));
}
