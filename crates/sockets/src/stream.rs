//! A stream socket: what a program has set, what it has not read, and the connection or listener behind it.

mod fast_open;
mod info;
mod notices;
mod open;
mod options;
mod queued;
mod readiness;
mod receive;
mod send;
mod urgent;

use alloc::collections::{BTreeMap, VecDeque};
use core::net::SocketAddr;

use sunstar_packet::Buffer;
use sunstar_tcpip::stack::Stack;
use sunstar_tcpip::tcp::connection::{Connection, Failure, State};
use sunstar_tcpip::tcp::sockets::{ListenerId, SocketId};
use sunstar_tcpip::time::Instant;

use crate::address::Family;
use crate::errno::Errno;
use crate::settings::Settings;
use notices::Notices;
pub(crate) use options::Wishes;
use readiness::Seen;
use urgent::Urgent;

pub use notices::ErrorMessage;
pub use receive::Received;

/// How far a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Neither connected nor listening.
    Fresh,
    Listening(ListenerId),
    Open(SocketId),
}

/// What calls of sockets need beside the socket.
pub(crate) struct World<'a> {
    pub(crate) stack: &'a mut Stack,
    pub(crate) settings: &'a Settings,
    pub(crate) now: Instant,
    /// Addresses that programs have bound, and how often; and whether all of those may share it.
    pub(crate) bound: &'a mut BTreeMap<SocketAddr, Bound>,
}

/// Who has bound an address.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bound {
    pub(crate) sockets: u32,
    pub(crate) is_shared: bool,
}

/// A stream socket.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) family: Family,
    pub(crate) phase: Phase,
    pub(crate) wishes: Wishes,
    pub(crate) is_nonblocking: bool,
    local: Option<SocketAddr>,
    /// Whom to connect with as soon as there is something to send (`TCP_FASTOPEN_CONNECT`).
    deferred: Option<SocketAddr>,
    /// Whether `local` is noted among those that are bound.
    has_bound: bool,
    /// Connections that may wait to be accepted.
    backlog: usize,
    /// Whether the program knows that the connection is open.
    is_connected: bool,
    /// What has gone wrong and nobody has heard of (`SO_ERROR`).
    error: Option<Errno>,
    /// Whether that was looked at for the connection's failure.
    has_failed: bool,
    has_shut_read: bool,
    has_shut_write: bool,
    /// Taken out of the connection and not read: the rest of a piece, or what was only looked at.
    front: VecDeque<Buffer>,
    /// Bytes that were handed to the connection.
    written: u64,
    /// Where in the stream the last buffer begins of those that wait to be sent.
    tail_begin: u64,
    /// The last call has held them back (`MSG_MORE`): until the next one, or until something is acknowledged.
    has_more: bool,
    notices: Notices,
    urgent: Urgent,
    seen: Seen,
}

impl Stream {
    pub(crate) fn new(family: Family, wishes: Wishes) -> Self {
        Self {
            family,
            phase: Phase::Fresh,
            wishes,
            is_nonblocking: false,
            local: None,
            deferred: None,
            has_bound: false,
            backlog: 0,
            is_connected: false,
            error: None,
            has_failed: false,
            has_shut_read: false,
            has_shut_write: false,
            front: VecDeque::new(),
            written: 0,
            tail_begin: 0,
            has_more: false,
            notices: Notices::default(),
            urgent: Urgent::default(),
            seen: Seen::default(),
        }
    }

    /// The connection behind the socket.
    pub(crate) fn connection<'a>(&self, stack: &'a mut Stack) -> Option<&'a Connection> {
        match self.phase {
            Phase::Open(id) => stack.tcp().connection(id),
            Phase::Fresh | Phase::Listening(_) => None,
        }
    }

    fn state(&self, stack: &mut Stack) -> State {
        self.connection(stack).map_or(State::Closed, Connection::state)
    }

    /// Notes why the connection is over, once.
    fn note_failure(&mut self, stack: &mut Stack) {
        let Some(failure) = self.connection(stack).and_then(Connection::failure).filter(|_| !self.has_failed) else {
            return;
        };
        self.has_failed = true;
        self.has_shut_read = true;
        self.has_shut_write = true;
        let had_ended = self.seen.has_peer_ended;
        self.error = Some(match failure {
            Failure::Refused => Errno::CONNREFUSED,
            // The other side had ended its stream, and does not take ours (Linux).
            Failure::Reset if had_ended => Errno::PIPE,
            Failure::Reset => Errno::CONNRESET,
            Failure::TimedOut => Errno::TIMEDOUT,
            Failure::Unreachable => Errno::HOSTUNREACH,
        });
    }

    /// What has gone wrong, once (`SO_ERROR`).
    pub(crate) fn take_error(&mut self, stack: &mut Stack) -> Option<Errno> {
        self.note_failure(stack);
        if planted::is("error_told_twice") { self.error } else { self.error.take() }
    }

    /// How many bytes can be read in order, up to an urgent one (`SIOCINQ`).
    pub(crate) fn readable_count(&self, world: &mut World<'_>) -> u32 {
        let receivable = self.receivable(world.stack);
        let ahead = self.before_mark(world).filter(|_| !self.wishes.is_oob_inline);
        ahead.map_or(receivable, |ahead| receivable.min(u32::try_from(ahead).unwrap_or(u32::MAX)))
    }

    /// How many received bytes can be read at once.
    pub(crate) fn receivable(&self, stack: &mut Stack) -> u32 {
        let front: usize = self.front.iter().map(|part| part.len()).sum();
        let behind = self.connection(stack).map_or(0, Connection::receivable);
        behind.saturating_add(u32::try_from(front).unwrap_or(u32::MAX))
    }
}
