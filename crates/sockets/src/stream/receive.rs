//! Reading.

use alloc::vec::Vec;

use sunstar_tcpip::stack::Stack;
use sunstar_tcpip::tcp::connection::{Connection, State};

use super::{Phase, Stream, World};
use crate::errno::Errno;
use crate::numbers::{level, msg};

/// What came of receiving.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes that were put into the program's memory.
    pub bytes: usize,
    /// What is told beside them: level, type, data.
    pub control: Vec<(i32, i32, Vec<u8>)>,
    /// Flags of the message.
    pub flags: i32,
}

impl Stream {
    /// recvmsg(2), without waiting: fills one part after the other. Nothing received is the end.
    pub(crate) fn receive(
        &mut self,
        world: &mut World<'_>,
        parts: &mut [&mut [u8]],
        flags: i32,
    ) -> Result<Received, Errno> {
        if flags & msg::ERRQUEUE != 0 {
            return self.notices.receive(self.family, &self.wishes);
        }
        if flags & msg::OOB != 0 {
            return self.receive_urgent(world, parts, flags);
        }
        if self.deferred.is_some() {
            return Err(Errno::AGAIN);
        }
        if self.phase == Phase::Fresh && self.error.is_none() || matches!(self.phase, Phase::Listening(_)) {
            return Err(Errno::NOTCONN);
        }
        let wanted: usize = parts.iter().map(|part| part.len()).sum();
        let most = self.up_to_mark(world, flags & msg::PEEK != 0);
        let wanted = wanted.min(most);
        let available = self.receivable(world.stack) as usize;
        let is_short = flags & msg::WAITALL != 0 && available < wanted && !self.is_read_over(world.stack);
        if available == 0 || is_short && available < self.wishes.receive_capacity(world.settings) as usize {
            return self.receive_nothing(world, wanted);
        }
        let bytes = self.copy_out(world, parts, most, (flags & msg::PEEK != 0, flags & msg::TRUNC != 0));
        let mut control = Vec::new();
        if self.wishes.tells_inq {
            let left = i32::try_from(self.receivable(world.stack)).unwrap_or(i32::MAX);
            // The end that can be read counts, so that nobody waits for it (Linux).
            let is_end = left == 0 && self.has_peer_ended(world.stack);
            let left = if is_end { 1 } else { left };
            control.push((level::TCP, crate::numbers::control::INQ, left.to_ne_bytes().to_vec()));
        }
        Ok(Received { bytes, control, flags: 0 })
    }

    /// Whether nothing more will come.
    fn is_read_over(&self, stack: &mut Stack) -> bool {
        self.has_shut_read || self.has_peer_ended(stack) || self.state(stack) == State::Closed
    }

    pub(super) fn has_peer_ended(&self, stack: &mut Stack) -> bool {
        let is_over = |connection: &Connection| connection.is_at_end();
        self.connection(stack).is_some_and(is_over)
    }

    fn receive_nothing(&mut self, world: &mut World<'_>, wanted: usize) -> Result<Received, Errno> {
        if wanted == 0 {
            return Ok(Received::default());
        }
        if self.has_peer_ended(world.stack) {
            return Ok(self.end_of_stream(0));
        }
        if let Some(error) = self.take_error(world.stack) {
            return Err(error);
        }
        if self.has_shut_read || self.state(world.stack) == State::Closed {
            return Ok(self.end_of_stream(0));
        }
        Err(Errno::AGAIN)
    }

    fn end_of_stream(&self, left: i32) -> Received {
        let mut end = Received::default();
        if self.wishes.tells_inq {
            end.control.push((level::TCP, crate::numbers::control::INQ, left.to_ne_bytes().to_vec()));
        }
        end
    }

    /// Copies what has come; what is only looked at stays in front, and what is only counted is dropped.
    fn copy_out(
        &mut self,
        world: &mut World<'_>,
        parts: &mut [&mut [u8]],
        most: usize,
        (is_peek, is_trunc): (bool, bool),
    ) -> usize {
        let wanted = parts.iter().map(|part| part.len()).sum::<usize>().min(most);
        self.fetch(world, wanted);
        let (mut done, mut at, mut offset) = (0, 0, 0);
        for part in parts {
            let mut filled = 0;
            while filled < part.len()
                && done < wanted
                && let Some(buffer) = self.front.get(at)
            {
                let count = (buffer.len() - offset).min(part.len() - filled).min(wanted - done);
                if !is_trunc {
                    part[filled..filled + count].copy_from_slice(&buffer[offset..offset + count]);
                }
                (filled, offset, done) = (filled + count, offset + count, done + count);
                if offset == buffer.len() {
                    (at, offset) = (at + 1, 0);
                }
            }
        }
        if !is_peek {
            self.front.drain(..at);
            if let Some(first) = self.front.front_mut().filter(|_| offset > 0) {
                first.advance(offset);
            }
        }
        done
    }

    /// Takes so many bytes out of the connection, if there are.
    pub(super) fn fetch(&mut self, world: &mut World<'_>, wanted: usize) {
        let Phase::Open(id) = self.phase else { return };
        let mut have: usize = self.front.iter().map(|part| part.len()).sum();
        while have < wanted
            && let Some(part) = world.stack.tcp().receive(id)
        {
            have += part.len();
            self.front.push_back(part);
        }
    }
}
