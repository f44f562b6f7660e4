//! One side of a connection: what has arrived for it, and what it sends.

use std::cell::Cell;
use std::collections::VecDeque;
use std::task::{Context, Waker};

use sunstar_executor::Instant;
use sunstar_net::Error;
use sunstar_net::socket::DEFAULT_SEND_QUEUE_BYTES;
use sunstar_packet::Buffer;

/// Who has a side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Holder {
    /// The network: it is in the making, in a backlog, or between shards.
    Network,
    /// A socket.
    Socket,
    /// Nobody any more.
    Nobody,
}

/// What travels from one side to the other, in order.
pub(super) enum Item {
    /// The request to connect was granted.
    Granted,
    /// It was not.
    Refused,
    Data(Vec<u8>),
    /// So many bytes of the other direction were read.
    Window(usize),
    End,
    Reset,
}

/// One side of a connection.
pub(super) struct Half {
    pub(super) holder: Holder,
    pub(super) is_established: bool,
    pub(super) failure: Option<Error>,

    /// What has arrived and was not read.
    pub(super) arrived: VecDeque<Vec<u8>>,
    pub(super) has_end_arrived: bool,

    /// What the network has not taken yet.
    pub(super) queue: VecDeque<Buffer>,
    pub(super) queued_bytes: usize,
    pub(super) queue_limit_bytes: usize,
    pub(super) is_shut_down: bool,
    pub(super) is_end_sent: bool,
    /// Whether the shard knows that there is something to send.
    pub(super) is_listed: bool,

    /// Bytes that the network has taken and the other side has not read.
    pub(super) outstanding_bytes: usize,
    pub(super) window_bytes: usize,
    /// What is under way to the other side.
    pub(super) wire: VecDeque<Item>,
    /// When the last of it arrives.
    pub(super) last_arrival: Instant,

    /// What was put into the send queue and was not read by the other side: what the checker knows.
    pub(super) ledger: Ledger,
}

impl Half {
    pub(super) fn new(window_bytes: usize) -> Self {
        Self {
            holder: Holder::Network,
            is_established: false,
            failure: None,
            arrived: VecDeque::new(),
            has_end_arrived: false,
            queue: VecDeque::new(),
            queued_bytes: 0,
            queue_limit_bytes: DEFAULT_SEND_QUEUE_BYTES,
            is_shut_down: false,
            is_end_sent: false,
            is_listed: false,
            outstanding_bytes: 0,
            window_bytes,
            wire: VecDeque::new(),
            last_arrival: Instant::ORIGIN,
            ledger: Ledger::default(),
        }
    }

    /// How many bytes the network may take now.
    pub(super) fn sendable_bytes(&self) -> usize {
        self.queued_bytes.min(self.window_bytes.saturating_sub(self.outstanding_bytes))
    }

    /// Whether the network has taken all that it is to take.
    pub(super) fn is_flushed(&self) -> bool {
        self.queued_bytes == 0 && self.is_end_sent == self.is_shut_down
    }

    /// Takes bytes from the front of the send queue; the buffers that are used up go to `done`, to be dropped later.
    pub(super) fn take_queued(&mut self, len_bytes: usize, done: &mut Vec<Buffer>) -> Vec<u8> {
        let mut taken = Vec::with_capacity(len_bytes);
        while taken.len() < len_bytes {
            let Some(first) = self.queue.front_mut() else { break };
            let count = first.len().min(len_bytes - taken.len());
            taken.extend_from_slice(&first[..count]);
            if count == first.len() {
                done.extend(self.queue.pop_front());
            } else {
                first.advance(count);
            }
        }
        self.queued_bytes -= taken.len();
        taken
    }

    /// Ends both directions; answers what is to be dropped.
    pub(super) fn fail(&mut self, error: Error) -> VecDeque<Buffer> {
        self.failure = Some(error);
        self.queued_bytes = 0;
        std::mem::take(&mut self.queue)
    }
}

/// The bytes that one side has sent and the other has not read yet, in order.
#[derive(Default)]
pub(super) struct Ledger {
    bytes: VecDeque<u8>,
    /// How many were read and found right.
    read: u64,
}

impl Ledger {
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
    }

    /// Compares what was read with what was sent.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (front, back) = self.bytes.as_slices();
        let sent = front.iter().chain(back);
        let differs = |at| format!("byte {} that was read is not the one that was sent", self.read + at as u64);
        if bytes.len() > self.bytes.len() {
            return Err(format!("{} bytes were read, more than were sent", self.read + bytes.len() as u64));
        }
        if !is_prefix(bytes, front, back) {
            let at = bytes.iter().zip(sent).position(|(read, sent)| read != sent).unwrap_or(0);
            return Err(differs(at));
        }
        self.bytes.drain(..bytes.len());
        self.read += bytes.len() as u64;
        Ok(())
    }

    /// What is missing when the end has been read.
    pub(super) fn ended(&self) -> Result<(), String> {
        match self.bytes.len() {
            0 => Ok(()),
            missing => Err(format!("the end was read and {missing} bytes after the first {} were not", self.read)),
        }
    }
}

fn is_prefix(bytes: &[u8], front: &[u8], back: &[u8]) -> bool {
    let (first, second) = bytes.split_at(bytes.len().min(front.len()));
    front[..first.len()] == *first && back[..second.len()] == *second
}

/// The task that waits for something.
#[derive(Default)]
pub(super) struct WakerSlot(Cell<Option<Waker>>);

impl WakerSlot {
    /// Remembers the task of `cx`, in place of the last one.
    pub(super) fn register(&self, cx: &Context<'_>) {
        let old = self.0.take();
        match old {
            Some(old) if old.will_wake(cx.waker()) => self.0.set(Some(old)),
            old => {
                self.0.set(Some(cx.waker().clone()));
                drop(old);
            }
        }
    }

    pub(super) fn take(&self) -> Option<Waker> {
        self.0.take()
    }

    pub(super) fn is_waited_for(&self) -> bool {
        let waker = self.0.take();
        let is_there = waker.is_some();
        self.0.set(waker);
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_finds_what_is_lost_doubled_or_swapped() {
        let after = |read: &[&[u8]]| {
            let mut ledger = Ledger::default();
            ledger.sent(b"abc");
            ledger.sent(b"def");
            read.iter().try_for_each(|bytes| ledger.read(bytes)).and_then(|()| ledger.ended())
        };
        assert_eq!(after(&[b"ab", b"cdef"]), Ok(()));
        assert!(after(&[b"ab", b"def"]).is_err_and(|what| what.contains("byte 2 ")));
        assert!(after(&[b"abc", b"abc"]).is_err_and(|what| what.contains("byte 3 ")));
        assert!(after(&[b"abcdefg"]).is_err_and(|what| what.contains("7 bytes")));
        assert!(after(&[b"abc"]).is_err_and(|what| what.contains("3 bytes after the first 3")));
    }

    #[test]
    fn sending_takes_from_several_buffers() {
        let mut half = Half::new(5);
        for bytes in ["ab", "cdef"] {
            half.queue.push_back(Buffer::from(bytes));
            half.queued_bytes += bytes.len();
        }
        let mut done = Vec::new();
        assert_eq!(half.sendable_bytes(), 5);
        assert_eq!(half.take_queued(3, &mut done), b"abc");
        assert_eq!((half.queued_bytes, done.len()), (3, 1));
        assert_eq!(half.take_queued(3, &mut done), b"def");
        assert!(half.is_flushed() && half.queue.is_empty());
    }
}
