//! What is said on the connections, and how an answer is known.

pub(crate) mod flow;
pub(crate) mod http;
pub(crate) mod memcache;
pub(crate) mod numbers;
pub(crate) mod ping_pong;

use sunstar::net::allocate_buffer;
use sunstar::packet::Buffer;

use crate::fault::Fault;

/// A protocol of requests and answers, for all connections of a shard.
///
/// The engine knows when to ask; the protocol makes the bytes of requests and finds the ends of answers. It reads no clock and sends nothing
/// itself.
pub(crate) trait Protocol: 'static {
    /// Whether there are requests and answers; otherwise bytes flow, and only their number matters.
    const ASKS: bool = true;

    /// Whether answers come in the order of the requests, so that none comes any more where one is missing. Otherwise each comes or is missing by
    /// itself, and [`Protocol::forget`] tells of those that are not waited for any longer.
    const IS_ORDERED: bool = true;

    /// What is remembered of one connection.
    type Session;

    /// A new connection's.
    fn session(&self) -> Self::Session;

    /// Hands the next `count` requests, at least one, to `send`, in as few buffers as may be. After the one that `is_last`, if `count` is one,
    /// the connection is to end.
    fn ask(&self, session: &mut Self::Session, count: usize, is_last: bool, send: impl FnMut(Buffer));

    /// Looks at bytes that have arrived until an answer is complete, and cuts off those that it has looked at. It is called again, with what
    /// is left, until there is no more.
    ///
    /// # Errors
    /// If they are no answer: then the connection is of no use any more.
    fn hear(&self, session: &mut Self::Session, bytes: &mut Buffer) -> Result<Heard, Fault>;

    /// Nobody waits any more for the answer to the oldest request that has none.
    fn forget(&self, session: &mut Self::Session) {
        let _ = session;
    }

    /// The answer that [`Protocol::hear`] or [`Protocol::hear_end`] has just found is one to a request that is measured.
    fn measured(&self, session: &Self::Session) {
        let _ = session;
    }

    /// What else was counted of what is measured, with a name for people and programs.
    fn figures(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// What is sent again and again, without end and without answers, if anything is.
    fn block(&self) -> Option<&Buffer> {
        None
    }

    /// The server sends no more: answers whether an answer ended by that.
    fn hear_end(&self, session: &mut Self::Session) -> Option<Verdict> {
        let _ = session;
        None
    }
}

/// What [`Protocol::hear`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// No answer ends any more in the bytes that have come.
    More,
    /// An answer ends.
    Answer {
        /// How many requests without an answer are older than the one that it is for.
        place: usize,
        verdict: Verdict,
        /// Whether the server ends the connection after it.
        is_last: bool,
    },
}

/// What is thought of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is what was asked for.
    Good,
    /// It is an answer, but not what was asked for.
    Bad(Fault),
}

/// Copies bytes to where the current shard's network sends them from without copying them again.
pub(crate) fn in_buffer(bytes: &[u8]) -> Buffer {
    let mut buffer = allocate_buffer(bytes.len());
    buffer.extend_from_slice(bytes).expect("it was made for that many bytes");
    buffer.freeze()
}
