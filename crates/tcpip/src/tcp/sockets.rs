//! All of a shard's TCP: listeners, connections, those that are half open, and those that are over.

mod answers;
mod cookies;
mod held;
mod input;
mod limits;
mod listen;
mod open;
mod orphans;
mod output;
mod over;
mod place;
mod ports;

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::cell::Cell;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use sunstar_packet::Buffer;
use sunstar_wire::{FourTuple, Seq, TcpFlags, TcpHeader};

use super::connection::{Connection, Options, Queues, SendError, State};
use super::fast_open::Cookies;
use super::half_open::HalfOpen;
use super::secret::{FlowHash, Secret};
use crate::flows::Flows;
use crate::free_ports::FreePorts;
use crate::neighbours::{Errand, Station};
use crate::rate::TokenBucket;
use crate::slab::Slab;
use crate::time::Instant;
use crate::timers::Timers;
use crate::zone;
pub(crate) use answers::{Answer, Origin};
use held::Held;
pub(crate) use input::AHEAD;
pub use limits::Limits;
use listen::Listener;
pub use open::OpenError;
use orphans::Orphans;
use over::{Over, Remembered};
use place::{NONE, Place};
use ports::PortChoice;

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Segments that came in, with right checksums.
    pub segments_received: u64,
    /// Segments that left, retransmitted ones included; large ones that the device cuts count once.
    pub segments_sent: u64,
    /// Segments with data that had been sent before.
    pub segments_retransmitted: u64,
    /// Connections that strangers have opened, and that we have.
    pub accepted: u64,
    /// Of those: open before our answer was confirmed (RFC 7413).
    pub fast_opened: u64,
    /// Connections that we have opened, or tried to.
    pub connects: u64,
    /// Connections that were not opened, since all ports for their destination were in use.
    pub ports_exhausted: u64,
    /// Connections that were not opened though not all ports were looked at, since that was done too often of late: some may have been free.
    pub port_searches_cut: u64,
    /// Segments of no connection, for ports on which nobody listens, or that were refused: a reset was sent.
    pub resets_sent: u64,
    /// The same over the rate of resets: nothing was sent.
    pub resets_suppressed: u64,
    /// SYNs that opened nothing, since the backlog was full, or their segments too small for a cookie.
    pub syns_dropped: u64,
    /// SYNs that were answered by a cookie, since as many strangers as may be had not confirmed (RFC 4987 §3.6).
    pub cookies_sent: u64,
    /// Connections that cookies have opened.
    pub cookies_accepted: u64,
    /// Segments of no connection that came while cookies are good, and brought none.
    pub cookies_failed: u64,
    /// Confirmations that were not heard, since the backlog was full or there was no room for a connection: they come again.
    pub confirmations_dropped: u64,
    /// Strangers who have not confirmed in time.
    pub half_open_expired: u64,
    /// Strangers who could not be reached, as the path has told.
    pub half_open_unreachable: u64,
    /// Connections that were over and forgotten early, since as many as may be were remembered.
    pub time_wait_dropped: u64,
    /// Connections that had been over and were opened anew by the same ports (RFC 6191).
    pub time_wait_reused: u64,
    /// Resets and answers that were dropped, since as many as may be waited.
    pub replies_dropped: u64,
    /// How often a buffer did not grow as far as its path could use, since all together had grown as much as they may.
    pub growth_refused: u64,
    /// Segments with data that were dropped, since too many pieces waited for the application or behind gaps.
    pub pieces_refused: u64,
    /// Edges of selective acknowledgements that were not heard, since what was sent was in as many pieces as may be.
    pub reports_refused: u64,
    /// How often a connection was found to send larger segments than get through, though no router has told (RFC 4821 §7.7).
    pub black_holes: u64,
    /// Segments that were to find out whether larger ones get through, and have arrived.
    pub path_probes_arrived: u64,
    /// The same that were lost.
    pub path_probes_lost: u64,
    /// Segments that did not fit their connection and were not answered, since others had been a short time ago (RFC 5961 §7).
    pub challenges_suppressed: u64,
    /// Connections that were let go and were reset before they had ended, since there were as many as may be, or memory was short.
    pub orphans_reset: u64,
    /// How often somebody asked for room to send and got little, since all connections together hold as much as they may.
    pub senders_held_back: u64,
    /// Connections that ended since the other side had not acknowledged or taken anything in time.
    pub timed_out: u64,
    /// SYNs that asked for smaller segments than are sent to anybody.
    pub small_mss_raised: u64,
    /// By how many slots an entry of the table of flows was ever put behind where it belongs, at most. It does not grow with floods.
    pub longest_probe: u64,
}

/// How full everything is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Connections that are open, or that the application has not let go.
    pub connections: usize,
    /// Strangers who have not confirmed.
    pub half_open: usize,
    /// Connections that are over and remembered.
    pub time_wait: usize,
    /// Entries of the table by which segments find all of those: as many, without what has ended and waits to be let go.
    pub flows: usize,
    /// Timers that are armed.
    pub timers: usize,
    /// Resets and answers that wait to be sent.
    pub replies: usize,
    /// Events that wait to be polled: at most one for each connection and each listener.
    pub events: usize,
    /// Memory of idle connections that waits for busy ones, in pieces.
    pub spares: usize,
    /// Bytes by which buffers have grown.
    pub growth_bytes: u64,
    /// Connections that the application has let go and that have not ended.
    pub orphans: usize,
    /// Bytes that were handed over and not acknowledged, as they were when their connections last had nothing more to send.
    pub send_bytes: u64,
}

/// Names a connection for as long as the application has not let it go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId {
    place: u32,
    generation: u32,
}

impl SocketId {
    /// A small number that no other connection of the application has at the same time, for tables.
    pub const fn index(self) -> usize {
        self.place as usize
    }
}

/// Names a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(u32);

impl ListenerId {
    /// A small number that no other listener has at the same time, for tables.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the application should look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection has changed: opened, received, got room, ended.
    Socket(SocketId),
    /// Connections can be accepted: as many as there are, since they are told of once.
    Listener(ListenerId),
}

/// A connection and who it is between.
#[derive(Debug)]
struct Entry {
    /// As we send.
    flow: FourTuple,
    /// Part of its name. It gets another one, that nobody knows, when it is let go.
    generation: u32,
    connection: Connection,
    /// In nobody's queue.
    is_accepted: bool,
    /// At an address of IPv6 that may stand for one of IPv4.
    is_shown_as_v6: bool,
    has_work: bool,
    has_event: bool,
}

/// What an idle connection takes, without the socket of the application. Together they stay within 512 bytes. What has lost, repeated or
/// moved much takes some more (`connection::history`).
const _: () = assert!(size_of::<Option<Entry>>() <= 440);

#[derive(Debug)]
struct Waiting {
    flow: FourTuple,
    listener: u32,
    half_open: HalfOpen,
    /// The station that has asked, if it is known.
    station: Option<Station>,
}

/// A shard's TCP, over anything that carries segments between addresses.
///
/// Segments come in by [`Sockets::handle_segment`] and leave by [`Sockets::poll_transmit`]; [`Sockets::deadline`] names when
/// [`Sockets::handle_timeout`] is due, and [`Sockets::poll_event`] what the application should look at.
#[derive(Debug)]
pub struct Sockets {
    secret: Secret,
    limits: Limits,
    flows: Flows,
    /// The flow whose hash was asked for last, and the hash: who comes and goes is looked up, put in and taken out one after the other.
    hashed: Cell<Option<(FourTuple, FlowHash)>>,
    /// The connection for which the latest segment came, or [`NONE`], and the same if that for the one before was it too: then the next
    /// one is probably for it as well.
    latest: u32,
    recent: u32,
    connections: Slab<Entry>,
    half_open: Slab<Waiting>,
    over: Remembered,
    connection_timers: Timers,
    half_open_timers: Timers,
    listeners: Slab<Listener>,
    bound: BTreeMap<(u16, IpAddr), u32>,
    /// Connections that may have something to send.
    work: VecDeque<u32>,
    answers: VecDeque<Answer>,
    /// How often strangers may be refused.
    resets: TokenBucket,
    /// What waits for devices that take nothing for now.
    held: Held,
    events: VecDeque<Event>,
    next_generation: u32,
    ports: PortChoice,
    cookies: Cookies,
    counters: Counters,
    /// By how much the buffers of all connections have grown.
    growth_bytes: u64,
    /// What all connections hold for others who have not acknowledged it.
    send_bytes: u64,
    orphans: Orphans,
    /// Memory for what is under way on a connection, from those that are idle now.
    #[expect(clippy::vec_box, reason = "the boxes go to the connections")]
    spares: Vec<Box<Queues>>,
}

/// So much memory for idle connections' next requests is kept: as many as are busy in a round or two.
const MAX_SPARES: usize = 1_024;

/// Who is no connection is refused so often, and so many at once: what floods us takes no more of what we send.
const RESET_INTERVAL: Duration = Duration::from_micros(100);
const RESET_BURST: u32 = 1_000;
/// Cookies of servers that are remembered at most (RFC 7413 §4.1.3.1).
const MAX_COOKIES: usize = 1_024;

impl Sockets {
    /// No listeners, no connections.
    pub fn new(secret: Secret, limits: Limits) -> Self {
        let flows = [limits.connections, limits.half_open, limits.time_wait].map(|limit| limit as usize).iter().sum();
        Self {
            secret,
            limits,
            flows: Flows::new(flows),
            hashed: Cell::new(None),
            latest: NONE,
            recent: NONE,
            connections: Slab::default(),
            half_open: Slab::default(),
            over: Remembered::default(),
            connection_timers: Timers::default(),
            half_open_timers: Timers::default(),
            listeners: Slab::default(),
            bound: BTreeMap::new(),
            work: VecDeque::new(),
            answers: VecDeque::new(),
            resets: TokenBucket::new(RESET_INTERVAL, RESET_BURST),
            held: Held::default(),
            events: VecDeque::new(),
            next_generation: 0,
            ports: PortChoice::default(),
            cookies: Cookies::new(MAX_COOKIES),
            counters: Counters::default(),
            growth_bytes: 0,
            send_bytes: 0,
            orphans: Orphans::default(),
            spares: Vec::new(),
        }
    }

    /// From now on ports of connections are chosen from these.
    pub fn set_free_ports(&mut self, ports: FreePorts) {
        self.ports.choose_from(ports);
    }

    /// From now on only ports are chosen for connections whose flow, as they send, passes: those whose answers come here.
    pub fn set_port_filter(&mut self, passes: impl Fn(&FourTuple) -> bool + 'static) {
        self.ports.set_filter(Box::new(passes));
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        Counters { longest_probe: self.flows.longest_probe() as u64, ..self.counters }
    }

    /// How many connections there are, half-open ones, and ones that are over.
    pub fn counts(&self) -> [usize; 3] {
        [self.connections.len(), self.half_open.len(), self.over.len()]
    }

    /// How full everything is.
    pub fn levels(&self) -> Levels {
        let timers = [&self.connection_timers, &self.half_open_timers];
        Levels {
            connections: self.connections.len(),
            half_open: self.half_open.len(),
            time_wait: self.over.len(),
            flows: self.flows.len(),
            timers: timers.into_iter().map(|timers| timers.armed() as usize).sum(),
            replies: self.answers.len() + self.held.answers(),
            events: self.events.len(),
            spares: self.spares.len(),
            growth_bytes: self.growth_bytes,
            orphans: self.orphans.len(),
            send_bytes: self.send_bytes,
        }
    }

    /// Gives back what is kept for reuse, as far as nobody uses it.
    pub(crate) fn free_unused_memory(&mut self) {
        self.flows.shrink();
        self.connection_timers.shrink();
        self.half_open_timers.shrink();
        self.connections.shrink();
        self.half_open.shrink();
        self.over.shrink();
        self.listeners.shrink();
        self.work.shrink_to_fit();
        self.answers.shrink_to_fit();
        self.events.shrink_to_fit();
        self.spares = Vec::new();
        self.orphans.shrink();
    }

    /// Whether there is something that the application should look at.
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// What the application should look at next.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        let has_event = match event {
            Event::Socket(id) => self.entry_mut(id).map(|entry| &mut entry.has_event),
            Event::Listener(ListenerId(place)) => self.listeners.get_mut(place).map(|listener| &mut listener.has_event),
        };
        if let Some(has_event) = has_event {
            *has_event = false;
        }
        Some(event)
    }

    /// A connection, as long as the application has not let it go.
    pub fn connection(&self, id: SocketId) -> Option<&Connection> {
        self.connections.get(id.place).filter(|entry| entry.generation == id.generation).map(|entry| &entry.connection)
    }

    /// The addresses and ports of a connection, as it sends.
    pub fn flow(&self, id: SocketId) -> Option<FourTuple> {
        self.marked_flow(id).map(|flow| zone::plain_flow(&flow))
    }

    /// The same as the stack knows it ([`zone`]).
    fn marked_flow(&self, id: SocketId) -> Option<FourTuple> {
        self.connections.get(id.place).filter(|entry| entry.generation == id.generation).map(|entry| entry.flow)
    }

    /// The other side's address; a link-local one with the number of its link (RFC 4007 §6).
    pub fn peer(&self, id: SocketId) -> Option<SocketAddr> {
        self.marked_flow(id).map(|flow| zone::shown(flow.dst()))
    }

    /// The same of this side.
    pub fn local(&self, id: SocketId) -> Option<SocketAddr> {
        let flow = self.marked_flow(id)?;
        let src = flow.src();
        let (_, link) = zone::split(flow.addresses.dst());
        Some(link.map_or(src, |link| zone::shown(SocketAddr::new(zone::marked(src.ip(), link), src.port()))))
    }

    /// Hands over bytes, see [`Connection::send`].
    ///
    /// # Errors
    /// Those of [`Connection::send`].
    pub fn send(&mut self, id: SocketId, data: Buffer) -> Result<(), SendError> {
        let entry = self.connections.get_mut(id.place).filter(|entry| entry.generation == id.generation);
        let entry = entry.ok_or(SendError::Closed)?;
        entry.connection.lend(|| self.spares.pop());
        entry.connection.send(data)?;
        if !core::mem::replace(&mut entry.has_work, true) {
            self.work.push_back(id.place);
        }
        Ok(())
    }

    /// Changes how a connection sends: [`Connection::set_corked`], [`Connection::push_all`], [`Connection::set_zero_linger`].
    /// Answers whether there is such a connection.
    pub fn configure(&mut self, id: SocketId, change: impl FnOnce(&mut Connection)) -> bool {
        let Some(entry) = self.entry_mut(id) else { return false };
        change(&mut entry.connection);
        self.mark(id.place);
        true
    }

    /// Hands over bytes also if there is no room, see [`Connection::send_beyond`].
    ///
    /// # Errors
    /// [`SendError::Closed`].
    pub fn send_beyond(&mut self, id: SocketId, data: Buffer) -> Result<(), SendError> {
        let entry = self.connections.get_mut(id.place).filter(|entry| entry.generation == id.generation);
        let entry = entry.ok_or(SendError::Closed)?;
        entry.connection.lend(|| self.spares.pop());
        entry.connection.send_beyond(data)?;
        self.mark(id.place);
        Ok(())
    }

    /// Changes the options of an open connection, of which [`Options::mss`] and what is offered to the other side stay as they were.
    /// Answers whether there is such a connection.
    pub fn set_options(&mut self, id: SocketId, options: Options) -> bool {
        let Some(entry) = self.entry_mut(id) else { return false };
        let before = entry.connection.grown();
        entry.connection.set_options(options);
        let given_back = before - entry.connection.grown();
        self.growth_bytes -= given_back;
        self.mark(id.place);
        true
    }

    /// The next received bytes, see [`Connection::receive`].
    pub fn receive(&mut self, id: SocketId) -> Option<Buffer> {
        let entry = self.connections.get_mut(id.place).filter(|entry| entry.generation == id.generation)?;
        let data = entry.connection.receive()?;
        let may_send = entry.connection.receivable() == 0 || entry.connection.must_acknowledge();
        if may_send && !core::mem::replace(&mut entry.has_work, true) {
            self.work.push_back(id.place);
        }
        Some(data)
    }

    /// Ends our stream, see [`Connection::close`].
    pub fn close(&mut self, now: Instant, id: SocketId) {
        let entry = self.connections.get_mut(id.place).filter(|entry| entry.generation == id.generation);
        if let Some(entry) = entry {
            entry.connection.lend(|| self.spares.pop());
            entry.connection.close();
            self.after_change(now, id.place);
        }
    }

    /// Lets a connection go: what was sent still arrives, what comes is dropped, and nobody hears of it any more. If received bytes
    /// wait, the other side is reset, since it would take them for read (RFC 2525 §2.17); and if [`Connection::set_zero_linger`] says
    /// so.
    pub fn release(&mut self, now: Instant, id: SocketId) {
        if !self.let_go(now, id) {
            return;
        }
        let Some(entry) = self.connections.get_mut(id.place) else { return };
        if entry.connection.receivable() > 0 || entry.connection.has_zero_linger() {
            self.abort_place(now, id.place, None);
        } else {
            entry.connection.lend(|| self.spares.pop());
            entry.connection.close();
            self.after_change(now, id.place);
            self.reap_orphans(now);
        }
    }

    /// Ends a connection at once and lets it go; the other side is reset.
    pub fn abort(&mut self, now: Instant, id: SocketId) {
        if self.let_go(now, id) {
            self.abort_place(now, id.place, None);
        }
    }

    /// Ends a connection; `expected` is the number that the other side expects next, if a segment of its has just told.
    fn abort_place(&mut self, now: Instant, place: u32, expected: Option<Seq>) {
        let Some(entry) = self.connections.get_mut(place) else { return };
        let (flow, reset) = (entry.flow, entry.connection.reset(now));
        if let Some(mut header) = reset {
            if let Some(seq) = expected {
                header = TcpHeader { seq, flags: TcpFlags::RST, ack: Seq::default(), ..header };
            }
            self.reply_as(Errand::Own, flow, header);
            self.counters.resets_sent += 1;
        }
        self.after_change(now, place);
    }

    fn entry_mut(&mut self, id: SocketId) -> Option<&mut Entry> {
        self.connections.get_mut(id.place).filter(|entry| entry.generation == id.generation)
    }

    /// Notes that a connection may have something to send.
    fn mark(&mut self, place: u32) {
        if let Some(entry) = self.connections.get_mut(place)
            && !core::mem::replace(&mut entry.has_work, true)
        {
            self.work.push_back(place);
        }
    }

    /// Notes that the application should look at a connection.
    fn notify(&mut self, place: u32) {
        let Some(entry) = self.connections.get_mut(place) else { return };
        if !entry.connection.is_orphan() && entry.is_accepted && !core::mem::replace(&mut entry.has_event, true) {
            self.events.push_back(Event::Socket(SocketId { place, generation: entry.generation }));
        }
    }

    /// After anything that may have changed a connection: what it wants to send, and whether it is over.
    fn after_change(&mut self, now: Instant, place: u32) {
        self.mark(place);
        let Some(entry) = self.connections.get(place) else { return };
        match entry.connection.state() {
            State::TimeWait => self.retire(now, place),
            State::Closed if entry.connection.is_orphan() => self.remove(place),
            // What comes for it from now on is for nobody (RFC 9293 §3.10.7.1), also if the application still looks at it.
            State::Closed => {
                let flow = entry.flow;
                self.hide(place, &flow);
            }
            _ => {}
        }
    }

    /// A connection is over on both sides: what has to be remembered of it becomes small. The application keeps what it has
    /// not read yet.
    fn retire(&mut self, now: Instant, place: u32) {
        let Some(entry) = self.connections.get_mut(place) else { return };
        // Its last acknowledgement leaves first.
        if entry.connection.owes_ack(now) {
            return;
        }
        let (flow, over) = (entry.flow, entry.connection.retire(now));
        if self.over.len() < self.limits.time_wait as usize || planted::is("time_wait_unbounded") {
            let over = self.over.insert(Over { flow, time_wait: over });
            self.succeed(place, &flow, Place::Over(over));
        } else {
            self.hide(place, &flow);
            self.counters.time_wait_dropped += 1;
        }
        self.after_change(now, place);
    }
}

/// The wildcard address of the same version.
fn unspecified(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(core::net::Ipv6Addr::UNSPECIFIED),
    }
}

/// The address at which a listener listens, of those that are bound, for a destination.
fn bound_at(bound: &BTreeMap<(u16, IpAddr), u32>, local: SocketAddr) -> Option<u32> {
    let exact = bound.get(&(local.port(), local.ip()));
    exact.or_else(|| bound.get(&(local.port(), unspecified(local.ip())))).copied()
}
