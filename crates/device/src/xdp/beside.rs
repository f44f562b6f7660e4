//! Shards that send by a queue that is another shard's, each by a socket of its own for the same memory.
//!
//! The kernel tells only the queue's keeper what it has sent, whoever has sent it. The keeper marks the frame, in which there is no telling one sender
//! from another, and need not be: who has sent from a frame keeps it until he has found as many marks as he has sent pieces, so that it is nobody's
//! before all of it was sent. Who has sent from a frame that another one sends from, too, may wait for the other's piece instead of his own.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use sunstar_executor::Instant;
use sunstar_packet::{Packet, Pool};

use super::chunks::Chunks;
use super::queue::{DOWN_WAIT, RETRY_WAIT};
use super::sending::{Flushed, Left, Means, Sending, flush};
use super::socket::{Socket, TX_ENTRIES};
use crate::capabilities::Capabilities;
use crate::queue::{Counters, Queue, QueueError, Readiness};

#[cfg(test)]
mod tests;

/// As many pieces of a sender are out at most, sent or not: the ring that tells of them has room for those of several.
const MAX_OUT: usize = TX_ENTRIES as usize;

/// If so many are out, the keeper is called, who may be asleep. It is what a busy sender has out soon, and few for headers, of which a queue's
/// senders share some thousand.
const CALL_OUT: usize = MAX_OUT / 16;

/// What the keeper of a queue shares with those who send beside it.
pub(super) struct Beside {
    chunk_bytes: usize,
    /// How many pieces of each frame were sent for others than the keeper, and not found yet.
    sent: Box<[AtomicU32]>,
    has_senders: AtomicBool,
    is_asleep: AtomicBool,
    /// The keeper, if he sleeps.
    keeper: Mutex<Option<Waker>>,
}

impl Beside {
    /// For memory of so many bytes.
    pub(super) fn new(bytes: usize, chunk_bytes: usize) -> Arc<Self> {
        let sent = (0..bytes / chunk_bytes).map(|_| AtomicU32::new(0)).collect();
        let (has_senders, is_asleep) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { chunk_bytes, sent, has_senders, is_asleep, keeper: Mutex::new(None) })
    }

    /// From now on there may be senders, which come to their shards later.
    pub(super) fn expect_senders(&self) {
        self.has_senders.store(true, Ordering::Release);
    }

    /// Keeps the keeper's waker until somebody calls; answers whether anybody might. What was sent before is to be looked for afterwards.
    pub(super) fn keep(&self, cx: &Context<'_>) -> bool {
        let has_senders = self.has_senders.load(Ordering::Acquire);
        if has_senders {
            let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *keeper {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            self.is_asleep.store(true, Ordering::Relaxed);
            // Either the keeper sees from here on what was sent before a call, or the call sees that he sleeps.
            fence(Ordering::SeqCst);
        }
        has_senders
    }

    /// Has the keeper look what was sent.
    fn call(&self) {
        fence(Ordering::SeqCst);
        if !self.is_asleep.load(Ordering::Relaxed) {
            return;
        }
        self.is_asleep.store(false, Ordering::Relaxed);
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = keeper {
            waker.wake();
        }
    }

    fn mark(&self, address: u64) -> Option<&AtomicU32> {
        self.sent.get(usize::try_from(address).ok()? / self.chunk_bytes)
    }

    /// The kernel has sent a piece that is not the keeper's; answers whether that makes sense.
    pub(super) fn note(&self, address: u64) -> bool {
        let mark = self.mark(address).filter(|_| self.has_senders.load(Ordering::Relaxed));
        // The sender may give the frame to others as soon as he sees it.
        mark.map(|mark| mark.fetch_add(1, Ordering::Release)).is_some()
    }

    /// Whether a piece of that frame was sent, which is not told again.
    fn find(&self, address: u64) -> bool {
        let take = |count: u32| count.checked_sub(1);
        let mark = self.mark(address);
        mark.is_some_and(|mark| mark.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).is_ok())
    }
}

/// The end of a shard that has no queue: it sends beside one, and receives nothing.
pub(super) struct Sender {
    /// Is closed before the frames go.
    socket: Socket,
    chunks: Chunks,
    sending: Sending,
    beside: Arc<Beside>,
    /// What is out, in order.
    out: VecDeque<u64>,
    capabilities: Capabilities,
    pool: Rc<Pool>,
    is_full: bool,
    /// Whether packets were left behind until others of them have been sent.
    is_stuck: bool,
    is_down: bool,
    retry_at: Option<Instant>,
    counters: Counters,
}

impl Sender {
    pub(super) fn new(socket: Socket, beside: Arc<Beside>, capabilities: Capabilities, pool: Rc<Pool>) -> Self {
        Self {
            chunks: Chunks::new(Arc::clone(&socket.memory), beside.chunk_bytes),
            socket,
            sending: Sending::new(),
            beside,
            out: VecDeque::new(),
            capabilities,
            pool,
            is_full: false,
            is_stuck: false,
            is_down: false,
            retry_at: None,
            counters: Counters::default(),
        }
    }

    /// Takes back what was sent.
    fn reap(&mut self) {
        let Self { out, beside, chunks, .. } = self;
        let mut take_back = |address| {
            let was_sent = beside.find(address);
            let is_known = !was_sent || chunks.sent(address);
            debug_assert!(is_known, "it is out");
            was_sent
        };
        while out.front().is_some_and(|address| take_back(*address)) {
            out.pop_front();
        }
        if self.is_stuck {
            // What was sent in another order, as devices and others with the same frames may have it.
            out.retain(|address| !take_back(*address));
        }
    }

    fn retry_after(&mut self, now: Instant, wait: std::time::Duration) {
        let at = now + wait;
        self.retry_at = Some(self.retry_at.map_or(at, |other| other.min(at)));
    }
}

impl Queue for Sender {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn rx_burst(&mut self, now: Instant, _: &mut VecDeque<Packet>, _: usize) -> Result<usize, QueueError> {
        self.retry_at = None;
        self.reap();
        if self.is_down {
            self.is_down = !self.socket.is_up()?;
            if self.is_down {
                self.retry_after(now, DOWN_WAIT);
            }
        }
        Ok(0)
    }

    fn tx_burst(&mut self, now: Instant, packets: &mut VecDeque<Packet>) -> Result<usize, QueueError> {
        self.reap();
        let mut means = Means {
            socket: &mut self.socket,
            chunks: &mut self.chunks,
            pool: &self.pool,
            capabilities: &self.capabilities,
            counters: &mut self.counters,
            limit: MAX_OUT - self.out.len(),
            out: Some(&mut self.out),
        };
        let (count, left) = self.sending.put_all(&mut means, packets);
        self.is_full = left == Left::Full;
        self.is_stuck = matches!(left, Left::NoFrame | Left::AtLimit);
        let flushed = flush(&self.socket)?;
        if self.is_stuck || flushed == Flushed::Refused {
            self.retry_after(now, RETRY_WAIT);
        }
        if flushed == Flushed::Down {
            self.is_down = true;
            self.retry_after(now, DOWN_WAIT);
        }
        if self.is_stuck || flushed == Flushed::Refused || self.out.len() >= CALL_OUT {
            self.beside.call();
        }
        Ok(count)
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Readiness<'_> {
        match self.is_full && !self.is_down {
            true => Readiness::Descriptor { fd: self.socket.as_fd(), readable: false, writable: true },
            // Nothing comes here that could wake.
            false => Readiness::Woken,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.reap();
        if !self.out.is_empty() {
            // They may be sent still, and be marked when nobody waits for that: whoever had such a frame next would take it for sent.
            self.chunks.forget();
        }
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("socket", &self.socket).field("counters", &self.counters).finish_non_exhaustive()
    }
}
