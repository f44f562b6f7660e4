//! What a socket's send buffer holds, counted as Linux counts it: programs know `SO_SNDBUF` from there.
//!
//! Bytes lie in buffers of up to [`Connection::size_goal`], each of which takes [`OVERHEAD`] beside them. A new buffer is begun as long as all
//! of them together take less than the bound (`sk_stream_memory_free`), and one that was begun is filled whatever the bound says.

use sunstar_tcpip::tcp::connection::Connection;
use sunstar_tcpip::tcp::sockets::Limits;

use super::{Stream, World};

/// What Linux counts for a buffer beside its bytes: `SKB_TRUESIZE` of one that has room for headers.
const OVERHEAD: u32 = 1_280;

/// How a write looks at the send buffer.
#[derive(Clone, Copy, Debug)]
struct Room {
    goal: u32,
    mss: u32,
    /// Bytes that may leave while the write goes on.
    may_leave: u32,
    /// What the bound leaves.
    free: i64,
    unsent: u32,
    lowat: u32,
    /// Bytes of the last buffer that have not left.
    tail: u32,
}

impl Room {
    /// So many of `wanted` bytes are taken.
    fn fill(&mut self, wanted: u32) -> u32 {
        let mut left = wanted;
        while left > 0 {
            if self.tail == 0 || self.tail >= self.goal {
                let is_full = self.free <= 0 && !planted::is("send_buffer_unbounded");
                if is_full || self.unsent >= self.lowat {
                    break;
                }
                self.tail = 0;
                self.free -= i64::from(OVERHEAD);
            }
            let count = left.min(self.goal - self.tail);
            (self.tail, self.unsent, left) = (self.tail + count, self.unsent + count, left - count);
            self.free -= i64::from(count);
            if self.tail >= self.goal {
                self.push();
            }
        }
        wanted - left
    }

    /// A buffer is full: what may leave of it leaves before the next one is begun.
    fn push(&mut self) {
        let leaving = self.may_leave.min(self.unsent);
        let leaving = if leaving < self.unsent { leaving / self.mss * self.mss } else { leaving };
        self.may_leave -= leaving;
        self.unsent -= leaving;
        self.tail = self.tail.min(self.unsent);
    }
}

impl Stream {
    /// So many of `wanted` bytes the send buffer takes; notes the buffers that are begun for them.
    pub(super) fn take_room(&mut self, world: &mut World<'_>, wanted: u32) -> u32 {
        let lowat = self.wishes.notsent_lowat(world.settings);
        let bound = world.stack.tcp().send_bound(world.now);
        let Some(mut room) = self.connection(world.stack).map(|connection| self.room(connection, lowat, bound)) else {
            return 0;
        };
        let taken = room.fill(wanted);
        self.tail_begin = self.written + u64::from(taken) - u64::from(room.tail);
        taken
    }

    fn room(&self, connection: &Connection, lowat: u32, bound: u32) -> Room {
        let goal = connection.size_goal().max(1);
        Room {
            goal,
            mss: connection.mss().min(goal),
            may_leave: connection.may_leave(),
            free: i64::from(connection.send_capacity().min(bound)) - i64::from(self.wmem_queued(connection)),
            unsent: connection.unsent(),
            lowat,
            tail: self.tail(connection),
        }
    }

    /// Bytes of the last buffer that have not left.
    fn tail(&self, connection: &Connection) -> u32 {
        u32::try_from(self.written - self.tail_begin).unwrap_or(u32::MAX).min(connection.unsent())
    }

    /// What the send buffer takes (`sk_wmem_queued`).
    pub(super) fn wmem_queued(&self, connection: &Connection) -> u32 {
        let (unsent, tail) = (connection.unsent(), self.tail(connection));
        let waiting = (unsent - tail).div_ceil(connection.size_goal().max(1)) + u32::from(tail > 0);
        let sent = u32::try_from(connection.pieces_sent()).unwrap_or(u32::MAX);
        let buffers = sent.saturating_add(waiting);
        connection.unacknowledged().saturating_add(buffers.saturating_mul(OVERHEAD))
    }

    /// Whether a third of the bound is free, and little enough waits to be sent (`sk_stream_is_writeable`): what is told to those who wait.
    pub(crate) fn is_writable(&self, world: &mut World<'_>) -> bool {
        let lowat = self.wishes.notsent_lowat(world.settings);
        let bound = send_bound(world);
        let Some(connection) = self.connection(world.stack) else { return true };
        let memory = self.wmem_queued(connection);
        u64::from(connection.unsent()) * 2 < u64::from(lowat).max(1)
            && connection.send_capacity().min(bound).saturating_sub(memory) >= memory / 2
    }
}

/// The bound on a send buffer as far as memory for all of them goes. To ask changes nothing.
fn send_bound(world: &mut World<'_>) -> u32 {
    if world.stack.tcp().is_short_of_memory() { Limits::LEAST_SEND_BYTES } else { u32::MAX }
}
