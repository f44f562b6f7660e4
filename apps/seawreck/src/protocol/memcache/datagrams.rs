//! The memcache protocol over UDP: each datagram has a frame header (protocol.txt of memcached, "UDP protocol") that says to which request
//! it belongs and which part of the answer it is.

use sunstar::packet::Buffer;

use super::{Memcache, Mix};
use crate::fault::Fault;
use crate::protocol::{Heard, Protocol, in_buffer};

/// The number of the request, that of the part, how many parts there are, and two bytes that are reserved.
const HEADER_BYTES: usize = 8;

/// The memcache protocol on all sockets of a shard.
pub(crate) struct Datagrams {
    commands: Memcache,
}

/// A socket. What belongs to the oldest request without answer is heard, and its parts in their order; what is lost or overtaken is missing.
pub(crate) struct Session {
    commands: super::Session,
    next_asked: u16,
    next_heard: u16,
    next_part: u16,
}

impl Datagrams {
    /// Requests by chance, drawn from a seed.
    pub(crate) fn new(mix: &Mix, seed: u64) -> Self {
        Self { commands: Memcache::new(mix, seed, in_buffer) }
    }

    /// Stores all keys in turn, from this one on.
    pub(crate) fn filling(mix: &Mix, first: u64) -> Self {
        Self { commands: Memcache::filling(mix, first, in_buffer) }
    }
}

impl Protocol for Datagrams {
    type Session = Session;

    fn session(&self) -> Session {
        // Sockets that follow each other may have the same port, and what comes late for the one is nothing for the other.
        let first = self.commands.draw_u16();
        Session { commands: self.commands.session(), next_asked: first, next_heard: first, next_part: 0 }
    }

    fn ask(&self, session: &mut Session, count: usize, is_last: bool, mut send: impl FnMut(Buffer)) {
        let mut datagram = Vec::new();
        for _ in 0..count {
            datagram.clear();
            let [high, low] = session.next_asked.to_be_bytes();
            datagram.extend([high, low, 0, 0, 0, 1, 0, 0]);
            session.next_asked = session.next_asked.wrapping_add(1);
            self.commands.ask(&mut session.commands, 1, is_last, |bytes| datagram.extend_from_slice(&bytes));
            send(in_buffer(&datagram));
        }
    }

    fn hear(&self, session: &mut Session, bytes: &mut Buffer) -> Result<Heard, Fault> {
        // A datagram is heard as a whole.
        let mut bytes = std::mem::take(bytes);
        let Some((&[a, b, c, d, e, f, ..], _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return if bytes.is_empty() { Ok(Heard::More) } else { Err(Fault::BadAnswer) };
        };
        let [request, part, parts] = [[a, b], [c, d], [e, f]].map(u16::from_be_bytes);
        if (request, part) != (session.next_heard, session.next_part) {
            return Ok(Heard::More);
        }
        bytes.advance(HEADER_BYTES);
        // memcached numbers the parts of each item by themselves.
        session.next_part = if part.saturating_add(1) >= parts { 0 } else { part + 1 };
        match self.commands.hear(&mut session.commands, &mut bytes)? {
            Heard::More => Ok(Heard::More),
            answer @ Heard::Answer { .. } => {
                (session.next_heard, session.next_part) = (request.wrapping_add(1), 0);
                Ok(answer)
            }
        }
    }

    fn measured(&self, session: &Session) {
        self.commands.measured(&session.commands);
    }

    fn figures(&self) -> Vec<(&'static str, u64)> {
        self.commands.figures()
    }
}
