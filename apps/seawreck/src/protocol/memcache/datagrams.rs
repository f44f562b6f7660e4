//! The memcache protocol over UDP: each datagram has a frame header (protocol.txt of memcached, "UDP protocol") that says to which request
//! it belongs and which part of the answer it is.

use sunstar::packet::Buffer;

use super::{Answered, Memcache, Mix};
use crate::fault::Fault;
use crate::protocol::numbers::Numbered;
use crate::protocol::{Heard, Protocol, Verdict, in_buffer};

/// The number of the request, that of the part, how many parts there are, and two bytes that are reserved.
const HEADER_BYTES: usize = 8;

/// The memcache protocol on all sockets of a shard.
pub(crate) struct Datagrams {
    commands: Memcache,
}

/// A socket.
pub(crate) struct Session {
    asked: Numbered<Asked>,
    /// For requests to come; as many as were under way at the same time have one at most.
    spares: Vec<super::Session>,
    answered: Answered,
}

/// A request without answer. The parts of its answer are heard in their order; if one is lost or overtaken, so is the answer.
struct Asked {
    commands: super::Session,
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

impl Session {
    /// Takes note of an answer, or of something of which nothing can be made.
    fn end(&mut self, place: usize) {
        let Some(Asked { commands, .. }) = self.asked.answered(place) else { return };
        self.answered = commands.answered;
        // Who has heard nonsense, or more than an answer, hears nothing else any more.
        if commands.connection.is_idle() {
            self.spares.push(commands);
        }
    }
}

impl Protocol for Datagrams {
    const IS_ORDERED: bool = false;

    type Session = Session;

    fn session(&self) -> Session {
        // Sockets that follow each other may have the same port, and what comes late for the one is nothing for the other.
        let asked = Numbered::new(self.commands.draw_u16(), u16::MAX);
        Session { asked, spares: Vec::new(), answered: Answered::default() }
    }

    fn ask(&self, session: &mut Session, count: usize, is_last: bool, mut send: impl FnMut(Buffer)) {
        let mut datagram = Vec::new();
        for _ in 0..count {
            let mut commands = session.spares.pop().unwrap_or_else(|| self.commands.session());
            datagram.clear();
            datagram.extend([0; HEADER_BYTES]);
            self.commands.ask(&mut commands, 1, is_last, |bytes| datagram.extend_from_slice(&bytes));
            let [high, low] = session.asked.ask(Asked { commands, next_part: 0 }).to_be_bytes();
            datagram[..HEADER_BYTES].copy_from_slice(&[high, low, 0, 0, 0, 1, 0, 0]);
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
        let Some(place) = session.asked.place(request) else { return Ok(Heard::More) };
        let asked = session.asked.at(place);
        if part != asked.next_part {
            return Ok(Heard::More);
        }
        bytes.advance(HEADER_BYTES);
        // memcached numbers the parts of each item by themselves.
        asked.next_part = if part.saturating_add(1) >= parts { 0 } else { part + 1 };
        let verdict = match self.commands.hear(&mut asked.commands, &mut bytes) {
            Ok(Heard::More) => return Ok(Heard::More),
            Ok(Heard::Answer { verdict, .. }) => verdict,
            // It is known to whom this nonsense was said.
            Err(fault) => {
                asked.commands.answered = Answered { is_get: asked.commands.gets(), ..Answered::default() };
                Verdict::Bad(fault)
            }
        };
        session.end(place);
        Ok(Heard::Answer { place, verdict, is_last: false })
    }

    fn forget(&self, session: &mut Session) {
        session.asked.forget(0);
    }

    fn measured(&self, session: &Session) {
        self.commands.count(session.answered);
    }

    fn figures(&self) -> Vec<(&'static str, u64)> {
        self.commands.figures()
    }
}
