use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::sync_channel;
use std::task::{Context, Poll, Waker};

use sunstar_executor::combine::parallel_for_each;
use sunstar_executor::{spawn, yield_now};

use super::*;
use crate::{Config, run};

fn on_shards<F>(test: impl FnOnce() -> F + Send + 'static)
where
    F: Future<Output = ()> + 'static,
{
    let config = Config { smp: Some(1), overprovisioned: true, stop_on_signals: false, ..Config::default() };
    run(config, test).expect("the test passes");
}

#[test]
fn results_come_back_from_another_thread_in_order() {
    on_shards(|| async {
        let here = thread::current().id();
        for round in 0..100 {
            let (there, answer) = blocking(move || (thread::current().id(), round)).await.expect("no panic");
            assert!(there != here && answer == round);
        }
    });
}

#[test]
fn a_panic_comes_back_as_an_error_and_the_thread_goes_on() {
    on_shards(|| async {
        let outcome = blocking(|| panic!("number {}", 7)).await;
        assert!(matches!(outcome, Err(BlockingError::Panicked(text)) if text == "number 7"));
        assert_eq!(blocking(|| 1).await.expect("no panic"), 1);
        assert_eq!(blocking_stats(), BlockingStats { calls: 2, panicked: 1, ..BlockingStats::default() });
    });
}

#[test]
fn callers_beyond_the_bound_wait() {
    on_shards(|| async {
        let (open, gate) = sync_channel::<()>(0);
        let started = Arc::new(AtomicUsize::new(0));
        let blocked = spawn(blocking(move || gate.recv()));
        let count = Arc::clone(&started);
        let others = spawn(parallel_for_each(0..2 * MAX_BLOCKING_CALLS, move |_| {
            let count = Arc::clone(&count);
            async move { blocking(move || count.fetch_add(1, Ordering::Relaxed)).await.map(drop) }
        }));
        while context::try_with(|context| context.helper()).expect("a shard").expect("it runs").room.waiters() == 0 {
            yield_now().await;
        }
        let helper = context::try_with(|context| context.helper()).expect("a shard").expect("it runs");
        assert_eq!(helper.waiting.borrow().len(), MAX_BLOCKING_CALLS);
        drop(open);
        assert!(blocked.await.expect("no panic").expect("no panic").is_err());
        others.await.expect("no panic").expect("no panic");
        assert_eq!(started.load(Ordering::Relaxed), 2 * MAX_BLOCKING_CALLS);
        assert_eq!(helper.room.available_units(), MAX_BLOCKING_CALLS);
        let stats = blocking_stats();
        assert_eq!((stats.calls, stats.waits), (2 * MAX_BLOCKING_CALLS as u64 + 1, MAX_BLOCKING_CALLS as u64 + 1));
        assert_eq!(stats.under_way, 0);
    });
}

#[test]
fn a_dropped_future_leaves_the_others_their_results() {
    on_shards(|| async {
        let kept = Arc::new(());
        for round in 0..300_usize {
            let result = Arc::clone(&kept);
            let mut call = Box::pin(blocking(move || result));
            if round % 3 > 0 {
                assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            if round % 3 > 1 {
                yield_now().await;
            }
            drop(call);
            assert_eq!(blocking(move || round).await.expect("no panic"), round);
        }
        assert_eq!(Arc::strong_count(&kept), 1, "all results are gone");
        let done = Box::pin(blocking(|| 7)).as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(done, Poll::Pending));
    });
}

#[test]
fn the_thread_ends_with_the_shard_even_if_a_call_blocks() {
    let (open, gate) = sync_channel::<()>(0);
    let (ended, end) = sync_channel(1);
    on_shards(|| async {
        let mut call = Box::pin(blocking(move || {
            let opened = gate.recv();
            ended.send(()).expect("somebody waits");
            opened
        }));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    });
    open.send(()).expect("the call waits");
    end.recv().expect("it goes on to its end");
}
