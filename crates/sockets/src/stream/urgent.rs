//! Urgent data as Linux has them (tcp(7)): of all that is called urgent the last byte counts. It lies beside the stream, to be read with
//! `MSG_OOB`, or in it (`SO_OOBINLINE`); reading stops before it once, and the mark can be asked for (`SIOCATMARK`).

use sunstar_tcpip::tcp::connection::State;

use super::{Phase, Received, Stream, World};
use crate::errno::Errno;
use crate::numbers::{msg, ready};

/// The last byte that the other side has called urgent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Urgent {
    /// How far the stream goes with it; zero if there never was one.
    end: u64,
    /// It was read, or reading has gone past it.
    is_over: bool,
    /// Whoever waits for it has been told.
    is_told: bool,
}

impl Stream {
    /// Looks whether there is something urgent; answers who is to be told.
    pub(super) fn look_for_urgent(&mut self, world: &mut World<'_>) -> u32 {
        let Some(connection) = self.connection(world.stack) else { return 0 };
        let Some(end) = connection.urgent_end() else { return 0 };
        let has_come = connection.bytes_received() >= end;
        if self.urgent.end != end {
            self.urgent = Urgent { end, ..Urgent::default() };
        }
        let is_news = has_come && !self.urgent.is_told;
        self.urgent.is_told |= has_come;
        if is_news { ready::PRI } else { 0 }
    }

    /// How many bytes of the stream are to be read before the urgent one, if reading has not gone past it.
    pub(super) fn before_mark(&self, world: &mut World<'_>) -> Option<u64> {
        if self.urgent.end == 0 {
            return None;
        }
        let received = self.connection(world.stack)?.bytes_received();
        let position = received - u64::from(self.receivable(world.stack));
        (self.urgent.end - 1).checked_sub(position)
    }

    /// Whether the next byte is the urgent one (`SIOCATMARK`).
    pub(crate) fn is_at_mark(&self, world: &mut World<'_>) -> bool {
        self.before_mark(world) == Some(0)
    }

    /// Whether an urgent byte lies beside the stream.
    pub(super) fn has_urgent(&self, world: &mut World<'_>) -> bool {
        let ahead = self.before_mark(world).filter(|_| !self.wishes.is_oob_inline && !self.urgent.is_over);
        ahead.is_some_and(|ahead| ahead < u64::from(self.receivable(world.stack)))
    }

    /// Bytes that can be read in order, without an urgent one that lies beside and is the next.
    pub(super) fn readable(&self, world: &mut World<'_>) -> u32 {
        let is_beside = !self.wishes.is_oob_inline && self.is_at_mark(world);
        self.receivable(world.stack).saturating_sub(u32::from(is_beside))
    }

    /// Before something is read in order: steps over an urgent byte that lies beside the stream. Answers how many bytes may be read up to the
    /// next mark.
    pub(super) fn up_to_mark(&mut self, world: &mut World<'_>, is_peek: bool) -> usize {
        let is_next = self.is_at_mark(world) && self.receivable(world.stack) > 0;
        if is_next && !self.wishes.is_oob_inline && !is_peek && !planted::is("urgent_in_the_stream") {
            self.fetch(world, 1);
            if let Some(first) = self.front.front_mut() {
                first.advance(1);
            }
            self.front.pop_front_if(|first| first.is_empty());
        }
        match self.before_mark(world) {
            None | Some(0) => usize::MAX,
            Some(ahead) => usize::try_from(ahead).unwrap_or(usize::MAX),
        }
    }

    /// The byte behind `ahead` others. All stay where they are, and take room that the other side is not told of: who reads nothing else would
    /// take in all that comes before one urgent byte after the other.
    fn byte_at(&self, world: &mut World<'_>, ahead: usize) -> Option<u8> {
        let mut left = ahead;
        for part in &self.front {
            if let Some(byte) = part.get(left) {
                return Some(*byte);
            }
            left -= part.len();
        }
        self.connection(world.stack)?.peek(left)
    }

    /// recvmsg(2) with `MSG_OOB`; never waits.
    pub(super) fn receive_urgent(
        &mut self,
        world: &mut World<'_>,
        parts: &mut [&mut [u8]],
        flags: i32,
    ) -> Result<Received, Errno> {
        if !matches!(self.phase, Phase::Open(_)) {
            return Err(Errno::NOTCONN);
        }
        self.look_for_urgent(world);
        let ahead = self.before_mark(world).filter(|_| !self.wishes.is_oob_inline && !self.urgent.is_over);
        let ahead = usize::try_from(ahead.ok_or(Errno::INVAL)?).unwrap_or(usize::MAX);
        if ahead >= self.receivable(world.stack) as usize {
            let is_over = self.has_shut_read || self.state(world.stack) == State::Closed;
            return if is_over { Ok(Received::default()) } else { Err(Errno::AGAIN) };
        }
        let byte = self.byte_at(world, ahead).ok_or(Errno::AGAIN)?;
        self.urgent.is_over |= flags & msg::PEEK == 0;
        let room = parts.iter_mut().find_map(|part| part.first_mut());
        let bytes = usize::from(room.is_some());
        let cut = if bytes == 0 { msg::TRUNC } else { 0 };
        if let Some(room) = room {
            *room = byte;
        }
        Ok(Received { bytes, flags: msg::OOB | cut, ..Received::default() })
    }
}
