//! Loom models of the way back to other threads.

use core::future::Future;
use core::pin::pin;
use core::task::Context;

use loom::thread;

use super::answer::pair;

/// The answer comes while the future is polled, twice, and is neither lost nor read too early.
#[test]
fn loom_alien_answer_wakes() {
    loom::model(|| {
        let (sender, future) = pair::<Box<u32>>();
        let answering = thread::spawn(move || sender.send(Ok(Box::new(7))));
        let answer = loom::future::block_on(async move {
            let mut future = pin!(future);
            let mut polls = 0;
            core::future::poll_fn(|cx: &mut Context<'_>| {
                polls += 1;
                let polled = future.as_mut().poll(cx);
                if polled.is_pending() && polls == 1 { future.as_mut().poll(cx) } else { polled }
            })
            .await
        });
        assert_eq!(*answer.expect("the sender answers"), 7);
        answering.join().expect("no panic");
    });
}

/// Either end goes away first.
#[test]
fn loom_alien_answer_is_dropped() {
    loom::model(|| {
        let (sender, future) = pair::<Box<u32>>();
        let answering = thread::spawn(move || sender.send(Ok(Box::new(7))));
        drop(future);
        answering.join().expect("no panic");
    });
}
