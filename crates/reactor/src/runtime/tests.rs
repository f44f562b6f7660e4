use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use sunstar_executor::{Foreign, ShardId, current, spawn, submit_to, timer, yield_now};

use super::*;
use crate::driver::Backend;
use crate::signal::{Signal, on};
use crate::stop::{request_stop, stop_requested};

/// Tests run beside each other, on whatever processors there are.
fn shards(smp: usize) -> Config {
    Config { smp: Some(smp), overprovisioned: true, stop_on_signals: false, ..Config::default() }
}

/// Counts how many of it exist, in the whole process.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn the_main_function_runs_on_shard_0_and_its_answer_comes_back() {
    let name = run(shards(3), || async { thread::current().name().map(str::to_owned) });
    assert_eq!(name.expect("it returns").as_deref(), Some("shard-0"));
}

#[test]
fn there_is_room_for_many_descriptors_before_they_come() {
    run(shards(1), || async {}).expect("it returns");
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let room = status.lines().find_map(|line| line.strip_prefix("FDSize:")?.trim().parse().ok());
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    assert!(room >= Some(limit.min(1 << 16)), "{room:?}");
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
                return receiver.try_recv().map_or(Poll::Pending, Poll::Ready);
            }
            let (waker, sender) = (cx.waker().clone(), sender.clone());
            thread::spawn(move || {
                sender.send(5).expect("the receiver is alive");
                waker.wake();
            });
            Poll::Pending
        })
        .await
    });
    assert_eq!(answer.expect("it returns"), 5);
}

#[test]
fn tasks_that_are_left_are_dropped_before_run_returns() {
    let living = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&living);
    let outcome = run(shards(2), || async move {
        for _ in 0..10 {
            let counted = Counted::new(&count);
            spawn(async move {
                let _counted = counted;
                pending::<()>().await;
            });
        }
        yield_now().await;
    });
    outcome.expect("it returns");
    assert_eq!(living.load(Ordering::Relaxed), 0);
}

#[test]
fn a_main_function_that_panics_is_an_error_with_its_message() {
    let outcome: Result<(), _> = run(shards(2), || async { panic!("as the test wants") });
    assert!(matches!(outcome, Err(RunError::MainPanicked(message)) if message == "as the test wants"));
}

#[test]
fn looking_for_stalls_disturbs_no_sleep() {
    for backend in [Backend::IoUring, Backend::Epoll] {
        if crate::LinuxPlatform::with_backend(Some(backend)).is_err() {
            continue;
        }
        let notify = Duration::from_millis(5);
        let config = Config { reactor_backend: Some(backend), blocked_reactor_notify: notify, ..shards(1) };
        let sleeps = run(config, move || async move {
            let before = current::stats().sleeps;
            timer::sleep(notify * 60).await;
            current::stats().sleeps - before
        });
        assert!(sleeps.expect("it returns") < 10, "a shard with nothing to do sleeps until its timer is due");
    }
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
        pending::<()>().await;
    });
    assert!(matches!(outcome, Err(RunError::Stopped { listened: false, .. })));
}

#[test]
fn a_main_function_that_listens_but_does_not_end_is_dropped_after_its_time() {
    let timeout = Duration::from_millis(3);
    let outcome = run(Config { stop_timeout: timeout, ..shards(1) }, || async {
        request_stop();
        stop_requested().await;
        pending::<()>().await;
    });
    assert!(matches!(outcome, Err(RunError::Stopped { waited, listened: true }) if waited >= timeout));
}

#[test]
fn further_requests_take_no_time_away() {
    let config = Config { stop_timeout: Duration::MAX, ..shards(1) };
    let outcome = run(config, || async {
        request_stop();
        stop_requested().await;
        for _ in 0..10 {
            request_stop();
            timer::sleep(Duration::from_micros(10)).await;
        }
        "finished"
    });
    assert_eq!(outcome.expect("it returns"), "finished");
}

#[test]
fn a_wait_that_was_given_up_does_not_count_as_listening() {
    let config = Config { stop_timeout: Duration::MAX, ..shards(1) };
    let outcome = run(config, || async {
        let mut wait = Box::pin(stop_requested());
        assert!(std::future::poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await.is_pending());
        drop(wait);
        request_stop();
        pending::<()>().await;
    });
    assert!(matches!(outcome, Err(RunError::Stopped { listened: false, .. })));
}

/// Made on shard `at` of three, and holding one made on the shard before, down to shard 0.
async fn chain(
    at: u16,
    links: u16,
    count: Arc<AtomicUsize>,
) -> Foreign<(Counted, Option<Box<dyn std::any::Any + Send>>)> {
    let mut inner: Option<Box<dyn std::any::Any + Send>> = None;
    for link in 0..links {
        let (count, held) = (Arc::clone(&count), inner.take());
        let make = move || async move { Foreign::new((Counted::new(&count), held)) };
        inner = Some(Box::new(submit_to(ShardId::new((at + link) % 3), make).await.expect("the shard runs")));
    }
    let made =
        submit_to(ShardId::new((at + links) % 3), move || async move { Foreign::new((Counted::new(&count), inner)) });
    made.await.expect("the shard runs")
}

#[test]
fn what_is_nested_comes_home_at_the_end_however_deep() {
    let living = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&living);
    let outcome = run(shards(3), || async move {
        for (at, links) in [(0, 1), (1, 2), (2, 3), (0, 12)] {
            let chain = chain(at, links, Arc::clone(&count)).await;
            spawn(async move {
                let _chain = chain;
                pending::<()>().await;
            });
        }
        count.load(Ordering::Relaxed)
    });
    assert_eq!(outcome.expect("it returns"), 2 + 3 + 4 + 13);
    assert_eq!(living.load(Ordering::Relaxed), 0);
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
fn shards_that_are_not_pinned_stay_on_the_processors_to_use() {
    let allowed = affinity::allowed_cpus().expect("Linux knows");
    let last: CpuSet = allowed.iter().last().into_iter().collect();
    for thread_affinity in [None, Some(false)] {
        let config = Config { cpuset: Some(last.clone()), thread_affinity, ..shards(2) };
        let on = run(config, || async { submit_to(ShardId::new(1), async || affinity::allowed_cpus()).await });
        let on = on.expect("it returns").expect("the shard runs").expect("Linux knows");
        assert_eq!(on, last);
    }
    let on = run(shards(1), || async { affinity::allowed_cpus().expect("Linux knows") });
    assert_eq!(on.expect("it returns"), allowed);
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
    let allowed = affinity::allowed_cpus().expect("Linux knows").first().expect("the test runs somewhere");
    let cpus = [allowed, crate::cpu_set::MAX_CPUS - 1];
    let mut seats = Mesh::links(2).into_iter().zip(cpus).map(|(links, cpu)| Seat {
        backend: Backend::Epoll,
        links,
        place: Place { cpu, node: 0 },
        config: Arc::clone(&config),
        control: Arc::clone(&control),
    });
    let (good, bad) = (seats.next().expect("there are two"), seats.next().expect("there are two"));
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

#[test]
fn shards_answer_each_other() {
    let config = Config { idle_poll_time: Some(Duration::ZERO), ..shards(3) };
    let names = run(config, || async {
        let mut names = Vec::new();
        for shard in ShardId::all(3) {
            let name = || async { (current::shard_id(), thread::current().name().map(str::to_owned)) };
            names.push(submit_to(shard, name).await.expect("the shard runs"));
        }
        names
    });
    for (shard, (id, name)) in ShardId::all(3).zip(names.expect("it returns")) {
        assert_eq!((id, name), (shard, Some(format!("shard-{shard}"))));
    }
}

#[test]
fn any_shard_may_wait_for_the_stop_and_request_it() {
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    let outcome = run(shards(3), || async move {
        let waiting = ShardId::all(3).map(|shard| {
            let counter = Arc::clone(&counter);
            let wait = move || async move {
                stop_requested().await;
                counter.fetch_add(1, Ordering::Relaxed);
            };
            spawn(submit_to(shard, wait))
        });
        let waiting: Vec<_> = waiting.collect();
        submit_to(ShardId::new(2), || async { request_stop() }).await.expect("the shard runs");
        for task in waiting {
            task.await.expect("no panic").expect("the shard runs");
        }
    });
    outcome.expect("it returns");
    assert_eq!(told.load(Ordering::Relaxed), 3);
}

#[test]
fn what_is_under_way_between_shards_is_dropped_at_the_end() {
    let living = Arc::new(AtomicUsize::new(0));
    for _ in 0..20 {
        let count = Arc::clone(&living);
        let outcome = run(shards(3), || async move {
            for number in 0..1000_u16 {
                let (there, back, count) = (Counted::new(&count), Counted::new(&count), Arc::clone(&count));
                spawn(submit_to(ShardId::new(number % 3), move || async move {
                    let _there = there;
                    let foreign = Foreign::new(Counted::new(&count));
                    spawn(submit_to(ShardId::new((number + 1) % 3), move || async move {
                        let _foreign = foreign;
                        pending::<()>().await;
                    }));
                    if number % 7 == 0 {
                        pending::<()>().await;
                    }
                    back
                }));
            }
            yield_now().await;
        });
        outcome.expect("it returns");
        assert_eq!(living.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn signals_reach_every_shard_that_subscribes() {
    // A signal that is ignored where nobody handles it.
    let signal = Signal::from_number(libc::SIGURG).expect("it may be handled");
    let outcome = run(shards(3), move || async move {
        let mut subscribed = Vec::new();
        for shard in ShardId::all(3) {
            let subscribe = move || async move { Foreign::new(on(signal).expect("the system allows it")) };
            subscribed.push(submit_to(shard, subscribe).await.expect("the shard runs"));
        }
        // SAFETY: the signal is handled.
        assert_eq!(unsafe { libc::raise(signal.number()) }, 0);
        for arrivals in subscribed {
            let shard = arrivals.home();
            let receive = move || async move { arrivals.into_inner().expect("it is at home").recv().await };
            submit_to(shard, receive).await.expect("the shard runs");
        }
    });
    outcome.expect("it returns");
}

#[test]
fn a_quota_limits_the_shards_unless_their_number_is_given() {
    let allowed: CpuSet = "0-7".parse().expect("a valid list");
    let topology = Topology::flat(&allowed);
    let root = crate::topology::fixture::temporary_directory();
    crate::topology::fixture::put(&root.path().join("proc/self/cgroup"), "0::/");
    crate::topology::fixture::put(&root.path().join("sys/fs/cgroup/cpu.max"), "250000 100000");
    let quota = CpuQuota::read(root.path());
    let placed = |quota, smp| {
        let options = PlacementOptions { smp, ..PlacementOptions::default() };
        placed_within(quota, &topology, &allowed, &options).expect("there are enough processors").len()
    };
    assert_eq!(placed(quota.as_ref(), None), 3);
    assert_eq!(placed(quota.as_ref(), Some(5)), 5);
    assert_eq!(placed(None, None), 8);
}

#[test]
fn an_empty_set_of_processors_is_named_as_what_is_wrong() {
    let config = Config { smp: None, cpuset: Some(CpuSet::new()), ..shards(1) };
    let error = run(config, || async {}).expect_err("nothing to run on").to_string();
    assert!(error.starts_with("cpuset: "), "{error}");
}
