//! The applications on both hosts: what they send, and what they may get.

use std::sync::LazyLock;

use sunstar_packet::Buffer;
use sunstar_tcpip::stack::Stack;
use sunstar_tcpip::tcp::connection::{Connection, Failure, SendError, State};
use sunstar_tcpip::tcp::sockets::SocketId;
use sunstar_tcpip::time::Instant;
use sunstar_wire::FourTuple;

use super::link::Held;

/// One side of a connection.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) host: usize,
    pub(super) id: SocketId,
    /// As it sends.
    pub(super) flow: FourTuple,
    pub(super) sent: u32,
    pub(super) received: u32,
    /// Who may be the other side, by what was received.
    peers: Option<Vec<usize>>,
    /// The application has ended its stream, or all of it.
    pub(super) is_closed: bool,
    pub(super) is_let_go: bool,
    pub(super) was_aborted: bool,
    pub(super) failure: Option<Failure>,
    pub(super) is_over: bool,
}

/// What else may have ended connections.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Excuses {
    pub(super) lost_packets: u32,
    pub(super) path_errors: u32,
    /// Listeners stopped, or tables were full.
    pub(super) has_refused: bool,
    /// A device has taken nothing for a time.
    pub(super) has_paused: bool,
    /// Somebody has confirmed what he was not told.
    pub(super) has_guessed_answer: bool,
}

#[derive(Debug, Default)]
pub(super) struct Apps {
    pub(super) endpoints: Vec<Endpoint>,
    /// Connections into which something was smuggled that cannot be told from the truth.
    pub(super) tainted: Vec<FourTuple>,
}

/// So many losses in a row end a connection attempt.
const FATAL_LOSSES: u32 = 6;
/// So many requests without an answer let a neighbour be given up.
const FATAL_REQUESTS: u32 = 3;

/// Of so many bytes all streams are made, each from another place on; they are there twice, so that all parts are in one piece.
const PERIOD: usize = 65_521;
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let byte = |place: u32| place.wrapping_mul(0x9e37_79b1).rotate_left(place % 7).to_be_bytes()[0];
    let once: Vec<u8> = (0_u32..).take(PERIOD).map(byte).collect();
    [&once[..], &once].concat()
});

/// What an endpoint sends at a place of its stream.
fn stream(endpoint: usize, at: u32, len: usize) -> &'static [u8] {
    let begin = (usize::try_from(at).expect("64 bits") + endpoint * 7_919) % PERIOD;
    &PATTERN[begin..begin + len]
}

impl Apps {
    pub(super) fn add(&mut self, host: usize, id: SocketId, flow: FourTuple) {
        self.endpoints.push(Endpoint {
            host,
            id,
            flow,
            sent: 0,
            received: 0,
            peers: None,
            is_closed: false,
            is_let_go: false,
            was_aborted: false,
            failure: None,
            is_over: false,
        });
    }

    pub(super) fn taint(&mut self, flow: FourTuple) {
        self.tainted.extend([flow, flow.reversed()]);
    }

    pub(super) fn is_tainted(&self, flow: &FourTuple) -> bool {
        self.tainted.contains(flow)
    }

    /// An endpoint that the application still has, by any number.
    pub(super) fn choose(&self, at: u8) -> Option<usize> {
        let open: Vec<usize> = (0..self.endpoints.len()).filter(|&at| !self.endpoints[at].is_let_go).collect();
        open.get(usize::from(at).checked_rem(open.len())?).copied()
    }

    /// The only one that a host ever had with these addresses and ports.
    pub(super) fn only(&self, host: usize, flow: &FourTuple) -> Option<&Endpoint> {
        let mut these = self.endpoints.iter().filter(|endpoint| endpoint.host == host && endpoint.flow == *flow);
        these.next().filter(|_| these.next().is_none())
    }

    pub(super) fn send(&mut self, stack: &mut Stack, at: usize, len: usize, held: &Held) {
        let endpoint = &mut self.endpoints[at];
        match stack.tcp().send(endpoint.id, held.buffer(stream(at, endpoint.sent, len).to_vec())) {
            Ok(()) => endpoint.sent += u32::try_from(len).expect("short"),
            Err(SendError::Full(data)) => assert_eq!(data.len(), len),
            Err(SendError::Closed) => assert!(endpoint.is_closed || is_over(stack, endpoint.id)),
        }
    }

    /// Reads so many parts, which must be what one of the possible other sides has sent.
    pub(super) fn receive(&mut self, stack: &mut Stack, at: usize, parts: usize) {
        for _ in 0..parts {
            let Some(data) = stack.tcp().receive(self.endpoints[at].id) else { break };
            self.verify(at, &data);
        }
        let endpoint = &self.endpoints[at];
        let is_at_end = stack.tcp().connection(endpoint.id).is_some_and(|connection| connection.is_at_end());
        if is_at_end && !self.is_tainted(&endpoint.flow) {
            let is_whole = |peer: &usize| {
                let peer = &self.endpoints[*peer];
                peer.is_closed && peer.sent == endpoint.received
            };
            assert!(self.peers(at).iter().any(is_whole), "{endpoint:?} has got less than was sent");
        }
    }

    fn verify(&mut self, at: usize, data: &Buffer) {
        let begin = self.endpoints[at].received;
        self.endpoints[at].received += u32::try_from(data.len()).expect("short");
        if self.is_tainted(&self.endpoints[at].flow) {
            return;
        }
        let has_sent = |peer: &usize| {
            self.endpoints[*peer].sent >= self.endpoints[at].received && &data[..] == stream(*peer, begin, data.len())
        };
        let peers: Vec<usize> = self.peers(at).into_iter().filter(has_sent).collect();
        assert!(!peers.is_empty(), "nobody has sent what {:?} has received from {begin} on", self.endpoints[at]);
        self.endpoints[at].peers = Some(peers);
    }

    /// Who may be at the other side.
    fn peers(&self, at: usize) -> Vec<usize> {
        let this = &self.endpoints[at];
        let is_other =
            |&peer: &usize| self.endpoints[peer].host != this.host && self.endpoints[peer].flow.reversed() == this.flow;
        this.peers.clone().unwrap_or_else(|| (0..self.endpoints.len()).filter(is_other).collect())
    }

    pub(super) fn close(&mut self, now: Instant, stack: &mut Stack, at: usize) {
        self.look(stack, at);
        let endpoint = &mut self.endpoints[at];
        let is_opening = |connection: &Connection| connection.state() == State::SynSent;
        // Who closes before it is open is gone at once.
        endpoint.was_aborted |= stack.tcp().connection(endpoint.id).is_some_and(is_opening);
        self.endpoints[at].is_closed = true;
        stack.tcp().close(now, self.endpoints[at].id);
    }

    pub(super) fn release(&mut self, now: Instant, stack: &mut Stack, at: usize) {
        self.look(stack, at);
        let endpoint = &mut self.endpoints[at];
        (endpoint.is_let_go, endpoint.is_closed) = (true, true);
        // Who lets go while more may come may have to reset the other side.
        endpoint.was_aborted |= !endpoint.is_over;
        stack.tcp().release(now, endpoint.id);
    }

    pub(super) fn abort(&mut self, now: Instant, stack: &mut Stack, at: usize) {
        self.look(stack, at);
        let endpoint = &mut self.endpoints[at];
        (endpoint.is_let_go, endpoint.is_closed, endpoint.was_aborted) = (true, true, true);
        stack.tcp().abort(now, endpoint.id);
    }

    /// Looks whether an endpoint has ended, and why.
    pub(super) fn look(&mut self, stack: &mut Stack, at: usize) {
        let endpoint = &mut self.endpoints[at];
        if endpoint.is_let_go {
            return;
        }
        let connection = stack.tcp().connection(endpoint.id).expect("the application has it");
        endpoint.failure = connection.failure();
        endpoint.is_over = matches!(connection.state(), State::Closed | State::TimeWait);
    }

    fn others(&self, endpoint: &Endpoint) -> impl Iterator<Item = &Endpoint> {
        let (host, flow) = (1 - endpoint.host, endpoint.flow.reversed());
        self.endpoints.iter().filter(move |peer| peer.host == host && peer.flow == flow)
    }

    /// Whether an endpoint is over, or nothing will ever tell it that it is: there was a false end, or the other side has given up.
    pub(super) fn may_stay(&self, endpoint: &Endpoint) -> bool {
        let has_given_up = |peer: &Endpoint| peer.is_let_go || peer.failure.is_some();
        let is_over = endpoint.is_let_go || endpoint.is_over || self.is_tainted(&endpoint.flow);
        is_over || self.others(endpoint).any(has_given_up)
    }

    /// What came to its end without having been ended has a reason.
    pub(super) fn check_failure(&self, at: usize, excuses: &Excuses) {
        let endpoint = &self.endpoints[at];
        let Some(failure) = endpoint.failure.filter(|_| !self.is_tainted(&endpoint.flow)) else { return };
        let has_gone = self.others(endpoint).any(|peer| peer.was_aborted || peer.failure.is_some());
        let used_twice = self.only(endpoint.host, &endpoint.flow).is_none();
        let is_excused = match failure {
            Failure::Refused | Failure::Reset => has_gone || used_twice || excuses.path_errors > 0,
            Failure::TimedOut => has_gone || used_twice || excuses.has_paused || excuses.lost_packets >= FATAL_LOSSES,
            Failure::Unreachable => {
                excuses.path_errors > 0 || excuses.has_paused || excuses.lost_packets >= FATAL_REQUESTS
            }
        };
        assert!(is_excused || excuses.has_refused, "{endpoint:?} has no reason to fail; {excuses:?}");
    }

    /// What has ended well has arrived, if somebody was there to read it.
    pub(super) fn check_arrival(&self, at: usize) {
        let endpoint = &self.endpoints[at];
        let is_well = endpoint.is_over && endpoint.failure.is_none() && !endpoint.was_aborted;
        if !is_well || self.is_tainted(&endpoint.flow) || self.only(endpoint.host, &endpoint.flow).is_none() {
            return;
        }
        if let Some(peer) = self.only(1 - endpoint.host, &endpoint.flow.reversed())
            && !peer.was_aborted
            && peer.failure.is_none()
        {
            assert_eq!(peer.received, endpoint.sent, "{peer:?} has not got what {endpoint:?} has sent");
        }
    }
}

fn is_over(stack: &mut Stack, id: SocketId) -> bool {
    stack.tcp().connection(id).is_none_or(|connection| connection.state() == State::Closed)
}
