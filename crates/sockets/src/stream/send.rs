//! Writing.

use alloc::vec::Vec;
use core::net::SocketAddr;

use sunstar_packet::Buffer;
use sunstar_tcpip::stack::Stack;
use sunstar_tcpip::tcp::connection::State;
use sunstar_tcpip::tcp::sockets::SocketId;

use super::{Phase, Stream, World};
use crate::errno::Errno;
use crate::numbers::msg;

impl Stream {
    /// sendmsg(2), without waiting: answers how many bytes were taken, of which `done` had been taken before in the same call.
    pub(crate) fn send(
        &mut self,
        world: &mut World<'_>,
        parts: &[&[u8]],
        flags: i32,
        to: Option<SocketAddr>,
    ) -> Result<usize, Errno> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.opens_fast(flags & msg::FASTOPEN != 0) {
            let bytes = parts.concat();
            if let Some(taken) = self.send_fast(world, &bytes, to)? {
                self.notices.on_sent(&self.wishes, flags, self.written, taken == len);
                self.look(world);
                return Ok(taken);
            }
        }
        let id = self.sending(world)?;
        if len == 0 {
            return Ok(0);
        }
        let taken = self.take_room(world, u32::try_from(len).unwrap_or(u32::MAX)) as usize;
        if taken == 0 {
            self.set_lacks_space(world, true);
            return Err(Errno::AGAIN);
        }
        self.hand_over(world, id, parts, taken, flags)?;
        if taken < len {
            self.set_lacks_space(world, true);
        }
        self.notices.on_sent(&self.wishes, flags, self.written, taken == len);
        self.look(world);
        Ok(taken)
    }

    /// The connection, if it takes bytes.
    fn sending(&mut self, world: &mut World<'_>) -> Result<SocketId, Errno> {
        self.note_failure(world.stack);
        let Phase::Open(id) = self.phase else { return Err(self.error.take().unwrap_or(Errno::PIPE)) };
        if self.error.is_some() || self.has_shut_write {
            let closed = if planted::is("half_close_errno") { Errno::NOTCONN } else { Errno::PIPE };
            return Err(self.error.take().unwrap_or(closed));
        }
        match self.state(world.stack) {
            State::SynSent | State::SynReceived => Err(Errno::AGAIN),
            State::Established | State::CloseWait => Ok(id),
            _ => Err(Errno::PIPE),
        }
    }

    fn hand_over(
        &mut self,
        world: &mut World<'_>,
        id: SocketId,
        parts: &[&[u8]],
        taken: usize,
        flags: i32,
    ) -> Result<(), Errno> {
        let mut bytes = Vec::with_capacity(taken);
        for part in parts {
            let count = part.len().min(taken - bytes.len());
            bytes.extend_from_slice(&part[..count]);
        }
        let is_more = flags & msg::MORE != 0;
        let is_corked = self.wishes.is_corked;
        // What was cut goes on with the next call, as far as the stack knows.
        let is_whole = taken == parts.iter().map(|part| part.len()).sum();
        let (is_record, is_urgent) = (flags & msg::EOR != 0 && is_whole, flags & msg::OOB != 0 && is_whole);
        self.has_more = is_more && !is_corked;
        if is_more {
            world.stack.tcp().configure(id, |connection| connection.set_corked(true));
        }
        world.stack.tcp().send_beyond(id, Buffer::from(bytes)).map_err(|_| Errno::PIPE)?;
        // Without the flag all that waits leaves, unless the socket is corked.
        world.stack.tcp().configure(id, |connection| {
            if is_record {
                connection.end_record();
            }
            if is_urgent {
                connection.end_urgent();
            }
            connection.set_unpushed(is_more);
            if !is_more && !is_corked {
                connection.set_corked(false);
            }
        });
        self.written += taken as u64;
        Ok(())
    }

    /// Bytes that were handed over, were sent, were acknowledged.
    pub(super) fn progress(&self, stack: &mut Stack) -> [u64; 3] {
        let Some(connection) = self.connection(stack) else { return [self.written; 3] };
        let is_gone = connection.state() == State::Closed;
        let (waiting, unacked) =
            if is_gone { (0, 0) } else { (u64::from(connection.unsent()), u64::from(connection.unacknowledged())) };
        // The end of the stream has a number too, and is no byte.
        let unacked = unacked.min(self.written);
        [self.written, self.written.saturating_sub(waiting), self.written - unacked]
    }
}
