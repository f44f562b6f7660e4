//! A task that keeps its shard is reported while it does.

use std::future::poll_fn;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use sunstar_executor::{ShardId, TaskBuilder, post};
use sunstar_reactor::{Config, run, stall_stats};

/// A logger that keeps what it is given.
struct Kept(Mutex<Vec<String>>);

static LOG: Kept = Kept(Mutex::new(Vec::new()));

impl Kept {
    fn find(&self, text: &str) -> Option<String> {
        let messages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        messages.iter().find(|message| message.contains(text)).cloned()
    }
}

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record.args().to_string());
    }

    fn flush(&self) {}
}

fn config() -> Config {
    static LOGGING: Once = Once::new();
    LOGGING.call_once(|| {
        log::set_logger(&LOG).expect("nobody else sets one");
        log::set_max_level(log::LevelFilter::Warn);
    });
    Config {
        smp: Some(1),
        overprovisioned: true,
        blocked_reactor_notify: Duration::from_millis(5),
        blocked_reactor_reports_per_minute: 1000,
        ..Config::default()
    }
}

/// Keeps the shard until a report that contains `text` has been written, or for some minutes at most.
#[inline(never)]
fn spin_until_reported(text: &str) -> Option<String> {
    for _ in 0..100_000 {
        if let Some(report) = LOG.find(text) {
            return Some(report);
        }
        for _ in 0..20_000 {
            spin_loop();
        }
    }
    black_box(None)
}

#[test]
fn a_task_that_spins_is_reported_while_it_does() {
    let (report, stats) = run(config(), || async {
        let spinner = TaskBuilder::new().name("spinner").spawn(async { spin_until_reported("\"spinner\"") });
        let report = spinner.await.expect("no panic");
        (report, stall_stats().expect("the detector is on"))
    })
    .expect("it returns");
    let report = report.expect("a stall is reported while it lasts");
    assert!(report.starts_with("shard 0: task \"spinner\", spawned at "), "{report}");
    assert!(report.contains("tests/stall.rs"), "{report}");
    assert!(report.contains("spin_until_reported"), "the backtrace shows where it spins: {report}");
    assert!(!report.contains("on_tick"), "the handler's own frames are left out: {report}");
    assert!(stats.stalls >= 1 && stats.longest > Duration::ZERO, "{stats:?}");
}

#[test]
fn a_task_that_spins_after_a_sleep_is_reported() {
    let report = run(config(), || async {
        let slept = Arc::new(AtomicBool::new(false));
        let mut waker_thread = None;
        poll_fn(|cx| {
            if slept.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            let (waker, slept) = (cx.waker().clone(), Arc::clone(&slept));
            waker_thread.get_or_insert_with(|| {
                thread::spawn(move || {
                    // Several periods of the timer, so that its handler finds the shard asleep.
                    thread::sleep(Duration::from_millis(50));
                    slept.store(true, Ordering::Release);
                    waker.wake();
                })
            });
            Poll::Pending
        })
        .await;
        let spinner = TaskBuilder::new().name("late spinner").spawn(async { spin_until_reported("\"late spinner\"") });
        spinner.await.expect("no panic")
    })
    .expect("it returns");
    assert!(report.is_some(), "the timer is armed again after a sleep");
}

#[test]
fn a_message_that_spins_is_reported_as_one() {
    let report = run(config(), || async {
        let (sender, receiver) = std::sync::mpsc::channel();
        let spin = move || drop(sender.send(spin_until_reported("shard 0: a message from")));
        post(ShardId::new(0), spin).await.expect("the shard runs");
        loop {
            match receiver.try_recv() {
                Ok(report) => break report,
                Err(_) => sunstar_executor::yield_now().await,
            }
        }
    })
    .expect("it returns");
    assert!(report.expect("messages are watched too").contains("spin_until_reported"));
}

#[test]
fn without_a_threshold_nothing_is_watched() {
    let config = Config { blocked_reactor_notify: Duration::ZERO, ..config() };
    assert_eq!(run(config, || async { stall_stats() }).expect("it returns"), None);
}
