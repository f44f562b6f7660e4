//! Loom models of the way back to other threads.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use loom::sync::Notify;
use loom::thread;

use super::answer::pair;

struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// The answer comes while the future is polled, with one waker and then another, and is neither lost nor read too early.
#[test]
fn loom_alien_answer_wakes() {
    loom::model(|| {
        let (sender, future) = pair::<Box<u32>>();
        let answering = thread::spawn(move || sender.send(Ok(Box::new(7))));
        let bell = Arc::new(Bell(Notify::new()));
        let waker = Waker::from(Arc::clone(&bell));
        let mut future = pin!(future);
        let mut polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let answer = loop {
            match polled {
                Poll::Ready(answer) => break answer,
                Poll::Pending => polled = future.as_mut().poll(&mut Context::from_waker(&waker)),
            }
            if polled.is_pending() {
                bell.0.wait();
            }
        };
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
