//! The task that watches the connections that nobody uses: which end, have waited for too long, or have the rest of a response to
//! drop.

use alloc::boxed::Box;
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};
use core::time::Duration;

use sunstar_executor::timer::{now, sleep_until};
use sunstar_executor::{Instant, TaskBuilder};

use super::pool::Pool;
use super::transport::{Health, Piece, Transport};
use super::uri::Authority;

/// What is left of a dropped response must have come by then.
const DRAIN_TIME: Duration = Duration::from_millis(500);

/// A connection with the rest of a response that nobody wants.
pub(super) struct Draining {
    host: Authority,
    transport: Box<Transport>,
    left_bytes: usize,
    pub(super) until: Instant,
}

impl Draining {
    pub(super) fn new(host: Authority, transport: Box<Transport>, left_bytes: usize) -> Self {
        Self { host, transport, left_bytes, until: now() + DRAIN_TIME }
    }

    /// Ready when the response has ended, or there is too much of it: whether it has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        loop {
            match self.transport.poll_body(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Piece::End)) => return Poll::Ready(true),
                Poll::Ready(Ok(Piece::Bytes(bytes))) => match self.left_bytes.checked_sub(bytes.len()) {
                    Some(left_bytes) => self.left_bytes = left_bytes,
                    None => return Poll::Ready(false),
                },
                Poll::Ready(Err(_)) => return Poll::Ready(false),
            }
        }
    }
}

/// Starts the watcher of a pool. It ends with the pool.
pub(super) fn spawn(pool: &Rc<Pool>) {
    TaskBuilder::new().name("http client").spawn(watch(Rc::downgrade(pool)));
}

async fn watch(pool: Weak<Pool>) {
    let mut alarm = pin!(sleep_until(Instant::FAR_FUTURE));
    poll_fn(|cx| {
        loop {
            let Some(pool) = pool.upgrade() else { return Poll::Ready(()) };
            let earlier = pool.watcher.replace(Some(cx.waker().clone()));
            drop(earlier);
            let next = pool.sweep(cx);
            pool.alarm.set(next);
            alarm.as_mut().reset(next);
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

impl Pool {
    /// Looks at every connection that nobody uses, and answers when to look again if nothing happens.
    fn sweep(self: &Rc<Self>, cx: &mut Context<'_>) -> Instant {
        let now = now();
        // What they have is given on when nothing is borrowed any more.
        let mut lost = Vec::new();
        let mut drained = Vec::new();
        let mut state = self.state.borrow_mut();
        for (name, host) in &mut state.hosts {
            let mut at = 0;
            while let Some(idle) = host.idle.get_mut(at) {
                let health = idle.transport.poll_health(cx);
                if health == Health::Good && idle.expires > now {
                    at += 1;
                    continue;
                }
                self.count_lost(health);
                lost.extend(host.idle.remove(at).map(|idle| (name.clone(), idle.transport)));
            }
        }
        let mut at = 0;
        while let Some(draining) = state.draining.get_mut(at) {
            match draining.poll(cx) {
                Poll::Pending if draining.until > now => at += 1,
                polled => drained.push((state.draining.swap_remove(at), polled == Poll::Ready(true))),
            }
        }
        drop(state);
        for (host, transport) in lost {
            drop(transport);
            self.put_back(&host, None);
        }
        for (draining, has_ended) in drained {
            self.end_draining(draining, has_ended);
        }
        self.next_deadline()
    }

    pub(super) fn end_draining(self: &Rc<Self>, draining: Draining, has_ended: bool) {
        let Draining { host, transport, .. } = draining;
        if has_ended && transport.is_idle() {
            self.counters.count(|stats| &mut stats.drained);
            self.put_back(&host, Some(transport));
            return;
        }
        self.counters.count(|stats| &mut stats.broken_off);
        transport.abort();
        self.put_back(&host, None);
    }

    fn next_deadline(&self) -> Instant {
        let state = self.state.borrow();
        let idle = state.hosts.values().flat_map(|host| &host.idle).map(|idle| idle.expires);
        idle.chain(state.draining.iter().map(|draining| draining.until)).min().unwrap_or(Instant::FAR_FUTURE)
    }
}
