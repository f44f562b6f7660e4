use std::cell::Cell;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sunstar_executor::{spawn, timer, yield_now};

use super::*;
use crate::stop::{request_stop, stop_requested};

/// Tests run beside each other, on whatever processors there are.
fn shards(smp: usize) -> Config {
    Config { smp: Some(smp), overprovisioned: true, stop_on_signals: false, ..Config::default() }
}

#[test]
fn the_main_function_runs_on_shard_0_and_its_answer_comes_back() {
    let name = run(shards(3), || async { thread::current().name().map(str::to_owned) });
    assert_eq!(name.expect("it returns").as_deref(), Some("shard-0"));
}

#[test]
fn shards_that_poll_for_ever_stop_too() {
    let config = Config { poll_mode: true, ..shards(2) };
    assert_eq!(run(config, || async { 1 }).expect("it returns"), 1);
}

#[test]
fn many_tasks_wake_each_other() {
    let total = run(shards(1), || async {
        let sum = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let sum = Rc::clone(&sum);
                spawn(async move {
                    yield_now().await;
                    sum.set(sum.get() + number);
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
        sum.get()
    });
    assert_eq!(total.expect("it returns"), 4950);
}

#[test]
fn a_waker_from_another_thread_ends_a_sleep() {
    let config = Config { idle_poll_time: Some(Duration::ZERO), ..shards(1) };
    let answer = run(config, || async {
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut asked = false;
        std::future::poll_fn(move |cx| {
            if std::mem::replace(&mut asked, true) {
                return receiver.try_recv().map_or(std::task::Poll::Pending, std::task::Poll::Ready);
            }
            let (waker, sender) = (cx.waker().clone(), sender.clone());
            thread::spawn(move || {
                sender.send(5).expect("the receiver is alive");
                waker.wake();
            });
            std::task::Poll::Pending
        })
        .await
    });
    assert_eq!(answer.expect("it returns"), 5);
}

#[test]
fn tasks_that_are_left_are_dropped_before_run_returns() {
    struct Counted(Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    let dropped = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&dropped);
    let outcome = run(shards(2), || async move {
        for _ in 0..10 {
            let counted = Counted(Arc::clone(&counter));
            spawn(async move {
                let _counted = counted;
                std::future::pending::<()>().await;
            });
        }
        yield_now().await;
    });
    outcome.expect("it returns");
    assert_eq!(dropped.load(Ordering::Relaxed), 10);
}

#[test]
fn a_main_function_that_panics_is_an_error_with_its_message() {
    let outcome: Result<(), _> = run(shards(2), || async { panic!("as the test wants") });
    assert!(matches!(outcome, Err(RunError::MainPanicked(message)) if message == "as the test wants"));
}

#[test]
fn a_main_function_that_listens_may_finish_what_it_does() {
    let outcome = run(shards(2), || async {
        spawn(async {
            yield_now().await;
            assert!(request_stop());
        });
        stop_requested().await;
        yield_now().await;
        "finished"
    });
    assert_eq!(outcome.expect("it returns"), "finished");
}

#[test]
fn a_main_function_that_does_not_listen_is_dropped_at_once() {
    let config = Config { stop_timeout: Duration::MAX, ..shards(2) };
    let outcome = run(config, || async {
        request_stop();
        std::future::pending::<()>().await;
    });
    assert!(matches!(outcome, Err(RunError::Stopped { .. })));
}

#[test]
fn a_main_function_that_listens_but_does_not_end_is_dropped_after_its_time() {
    let timeout = Duration::from_millis(3);
    let outcome = run(Config { stop_timeout: timeout, ..shards(1) }, || async {
        request_stop();
        stop_requested().await;
        std::future::pending::<()>().await;
    });
    assert!(matches!(outcome, Err(RunError::Stopped { waited }) if waited >= timeout));
}

#[test]
fn a_second_request_does_not_wait_for_the_timeout() {
    let config = Config { stop_timeout: Duration::MAX, ..shards(1) };
    let outcome = run(config, || async {
        request_stop();
        stop_requested().await;
        request_stop();
        std::future::pending::<()>().await;
    });
    assert!(matches!(outcome, Err(RunError::Stopped { .. })));
}

#[test]
fn shards_run_on_the_processors_they_were_placed_on() {
    let allowed = affinity::allowed_cpus().expect("Linux knows");
    let last = allowed.iter().last().expect("the test runs somewhere");
    let config = Config { cpuset: Some([last].into_iter().collect()), smp: None, overprovisioned: false, ..shards(1) };
    let on = run(config, || async { affinity::allowed_cpus().expect("Linux knows") });
    assert_eq!(on.expect("it returns").iter().collect::<Vec<_>>(), [last]);
}

#[test]
fn by_default_every_allowed_processor_has_a_shard() {
    let config = Config { stop_on_signals: false, ..Config::default() };
    run(config, || async { yield_now().await }).expect("all shards start, pinned, and stop");
}

#[test]
fn a_timer_ends_a_sleep_not_before_its_time() {
    for idle_poll_time in [Duration::ZERO, Duration::from_micros(100)] {
        let config = Config { idle_poll_time: Some(idle_poll_time), ..shards(1) };
        let (deadline, woken) = run(config, || async {
            let deadline = timer::now() + Duration::from_millis(2);
            timer::sleep_until(deadline).await;
            (deadline, timer::now())
        })
        .expect("it returns");
        assert!(woken >= deadline);
    }
}

#[test]
fn what_cannot_be_placed_is_refused() {
    let config = Config { smp: Some(100_000), overprovisioned: false, ..shards(1) };
    assert!(matches!(run(config, || async {}), Err(RunError::Placement(PlacementError::TooFewCpus { .. }))));
}

#[test]
fn a_shard_that_cannot_start_makes_the_others_return() {
    let control = Arc::new(Control::new(2));
    let config = Arc::new(Config { thread_affinity: Some(true), ..shards(2) });
    let seat = |shard, cpu| Seat {
        shard,
        place: Place { cpu, node: 0 },
        config: Arc::clone(&config),
        control: Arc::clone(&control),
    };
    let allowed = affinity::allowed_cpus().expect("Linux knows").first().expect("the test runs somewhere");
    let (good, bad) = (seat(0, allowed), seat(1, crate::cpu_set::MAX_CPUS - 1));
    let ran = Arc::new(Mutex::new(false));
    let runs = Arc::clone(&ran);
    let good =
        thread::spawn(move || good.supervise(|| async move { *runs.lock().expect("not poisoned") = true }).is_err());
    let bad = thread::spawn(move || bad.serve().is_err());
    assert!(good.join().expect("no panic"));
    assert!(bad.join().expect("no panic"));
    assert!(!*ran.lock().expect("not poisoned"));
    let failure = control.take_failure().expect("shard 1 gave a reason").to_string();
    assert!(failure.starts_with("shard 1 on processor 8191 cannot be pinned to it: "), "{failure}");
}

#[test]
fn without_sysfs_every_allowed_processor_is_a_core() {
    let allowed: CpuSet = "1,3".parse().expect("a valid list");
    let nowhere = Path::new("/does/not/exist");
    assert_eq!(topology(nowhere, &allowed).expect("a fallback"), Topology::flat(&allowed));
}
