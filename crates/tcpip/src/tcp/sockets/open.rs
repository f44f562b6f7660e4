//! Connections that we open.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use sunstar_wire::{AddressPair, FourTuple, Seq};

use super::{Entry, MAX_SPARES, NONE, Options, Place, SocketId, Sockets};
use crate::path::{MIN_PATH_MTU, PathError};
use crate::tcp::connection::{Connection, State};
use crate::tcp::fast_open::{FastOpenRequest, RESERVED_BYTES};
use crate::tcp::secret::FlowHash;
use crate::time::Instant;

/// Why a connection can't be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The address is in use (`EADDRINUSE`).
    InUse,
    /// All ports to this destination are in use, or almost all, and none was found that is free (`EADDRNOTAVAIL`).
    NoPort,
    /// There are as many connections as may be (`ENOBUFS`).
    Full,
    /// Source and destination are of different versions of IP (`EAFNOSUPPORT`).
    Mixed,
    /// There is no way to the destination (`ENETUNREACH`).
    NoRoute,
    /// The source address is none of ours (`EADDRNOTAVAIL`).
    NotOurs,
    /// The destination is link-local, there are several links, and it is not said which one is meant (`EINVAL`; RFC 4007 §6).
    NoScope,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InUse => "the address is in use",
            Self::NoPort => "no free port was found for this destination",
            Self::Full => "there are as many connections as may be",
            Self::Mixed => "source and destination are of different versions of IP",
            Self::NoRoute => "there is no way to the destination",
            Self::NotOurs => "the source address is none of ours",
            Self::NoScope => "the destination is link-local, and it is not said on which of several links",
        })
    }
}

impl core::error::Error for OpenError {}

impl Sockets {
    /// Opens a connection from an address to another one. Port 0 of the source stands for one that is free, and hard to guess (RFC
    /// 6056).
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn connect(
        &mut self,
        now: Instant,
        src: SocketAddr,
        dst: SocketAddr,
        options: impl Into<Rc<Options>>,
    ) -> Result<SocketId, OpenError> {
        let addresses = AddressPair::new(src.ip(), dst.ip()).ok_or(OpenError::Mixed)?;
        if self.connections.len() >= self.limits.connections as usize {
            return Err(OpenError::Full);
        }
        let mut flow = FourTuple { addresses, src_port: src.port(), dst_port: dst.port() };
        if src.port() == 0 {
            flow.src_port = self.choose_port(now, &flow).ok_or(OpenError::NoPort)?;
        } else if self.find(&flow).is_some() {
            return Err(OpenError::InUse);
        }
        let iss = self.hash(&flow).initial_sequence(now);
        let ts_offset = self.secret.timestamp_offset(&flow);
        let id = self.add(flow, Connection::connect(now, options.into(), iss, ts_offset), true, None)?;
        self.counters.connects += 1;
        self.mark(id.place);
        Ok(id)
    }

    /// The same with Fast Open (RFC 7413): the SYN carries the first of the request's data if a cookie is known or none is needed, and
    /// else asks for one. Answers how many bytes it carries; the others are to be sent as usual.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn connect_fast_open(
        &mut self,
        now: Instant,
        src: SocketAddr,
        dst: SocketAddr,
        options: impl Into<Rc<Options>>,
        request: FastOpenRequest,
    ) -> Result<(SocketId, u32), OpenError> {
        let (known, mss) = self.cookies.lookup(dst.ip());
        let option = request.needs_cookie.then_some(known);
        let id = self.connect(now, src, dst, options)?;
        let Some(entry) = self.entry_mut(id) else { return Err(OpenError::Full) };
        let room = match option {
            // No more than a cookie is asked for.
            Some(option) if option.is_request() => 0,
            _ => mss.unwrap_or(u16::MAX).min(entry.connection.options().mss),
        };
        let taken = entry.connection.open_fast(option, request.data, room.saturating_sub(RESERVED_BYTES));
        Ok((id, taken))
    }

    /// Whether a server's cookie is known (RFC 7413 §4.1.3).
    pub fn has_cookie(&self, server: IpAddr) -> bool {
        !self.cookies.lookup(server).0.is_request()
    }

    /// Forgets the cookies of all servers.
    pub fn forget_cookies(&mut self) {
        self.cookies.clear();
    }

    /// A segment of a connection, as we have sent it, was refused on its way. Answers whether there is such a connection that can
    /// have sent it, see [`Connection::handle_path_error`].
    pub fn handle_path_error(&mut self, now: Instant, flow: &FourTuple, seq: Seq, error: PathError) -> bool {
        let place = match self.find(flow) {
            Some(Place::Connection(place)) => place,
            Some(Place::HalfOpen(place)) => return self.on_half_open_refused(place, seq, error),
            _ => return false,
        };
        let Some(entry) = self.connections.get_mut(place) else { return false };
        let state = entry.connection.state();
        let is_believed = entry.connection.handle_path_error(now, seq, error);
        if is_believed {
            let has_ended = entry.connection.state() != state;
            self.after_change(now, place);
            if has_ended {
                self.notify(place);
            }
        }
        is_believed
    }

    /// A segment is cut since it has more bytes than the `room` that its link takes, see [`Connection::on_cut`].
    pub(crate) fn on_cut(&mut self, now: Instant, flow: &FourTuple, seq: Seq, room: usize) {
        let Some(Place::Connection(place)) = self.find(flow) else { return };
        if let Some(entry) = self.connections.get_mut(place) {
            entry.connection.on_cut(now, seq, u32::try_from(room).unwrap_or(u32::MAX));
        }
    }

    /// When the newest of what has arrived of a connection was sent.
    pub(crate) fn last_delivered(&self, flow: &FourTuple) -> Option<Instant> {
        let Some(Place::Connection(place)) = self.find(flow) else { return None };
        self.connections.get(place)?.connection.last_delivered()
    }

    /// Ends the connections from addresses that are gone, and forgets their strangers.
    pub(crate) fn cut_off(&mut self, now: Instant, is_gone: impl Fn(&FourTuple) -> bool) {
        let strangers = self.half_open.iter().filter(|(_, waiting)| is_gone(&waiting.flow));
        for place in strangers.map(|(place, _)| place).collect::<Vec<u32>>() {
            self.forget(place);
        }
        let open = |entry: &Entry| entry.connection.state() != State::Closed && is_gone(&entry.flow);
        let places: Vec<u32> =
            self.connections.iter().filter(|(_, entry)| open(entry)).map(|(place, _)| place).collect();
        for place in places {
            if let Some(entry) = self.connections.get_mut(place) {
                entry.connection.cut_off();
            }
            self.notify(place);
            self.after_change(now, place);
        }
    }

    /// The answer to a stranger was refused: who can't be reached can't confirm, and nobody here waits for that (RFC 5461 §4.1).
    fn on_half_open_refused(&mut self, place: u32, seq: Seq, error: PathError) -> bool {
        let Some(waiting) = self.half_open.get_mut(place).filter(|waiting| waiting.half_open.has_answered_with(seq))
        else {
            return false;
        };
        match error {
            PathError::TooBig { mtu } => waiting.half_open.limit_mss(crate::interface::mss_of(mtu.max(MIN_PATH_MTU))),
            _ => {
                self.counters.half_open_unreachable += 1;
                self.forget(place);
            }
        }
        true
    }

    /// Where a flow, as we send it, lies in the table.
    pub(super) fn flow_hash(&self, flow: &FourTuple) -> u32 {
        if planted::is("hash_unkeyed") {
            return unkeyed_hash(flow);
        }
        self.hash(flow).slot()
    }

    /// The hash of a flow, as we send it.
    pub(super) fn hash(&self, flow: &FourTuple) -> FlowHash {
        match self.hashed.get() {
            Some((latest, hash)) if latest == *flow => hash,
            Some((latest, hash)) if latest.dst_port == flow.dst_port && planted::is("hash_kept") => hash,
            _ => {
                let hash = self.secret.flow_hash(flow);
                self.hashed.set(Some((*flow, hash)));
                hash
            }
        }
    }

    /// Where a flow, as we send it, is.
    pub(super) fn find(&self, flow: &FourTuple) -> Option<Place> {
        let is_it = |packed| {
            let found = match Place::unpack(packed) {
                Place::Connection(place) => self.connections.get(place).map(|entry| &entry.flow),
                Place::HalfOpen(place) => self.half_open.get(place).map(|waiting| &waiting.flow),
                Place::Over(place) => self.over.get(place).map(|over| &over.flow),
            };
            found == Some(flow)
        };
        self.flows.find(self.flow_hash(flow), is_it).map(Place::unpack)
    }

    /// The same for a segment that has come, whose flow is that of its sender. While segments come for one connection, it is found
    /// without the table.
    #[inline]
    pub(super) fn find_again(&mut self, flow: &FourTuple) -> Option<Place> {
        if self.connections.get(self.recent).is_some_and(|entry| entry.flow.is_reverse_of(flow)) {
            return Some(Place::Connection(self.recent));
        }
        self.find_anew(&flow.reversed())
    }

    #[inline(never)]
    fn find_anew(&mut self, flow: &FourTuple) -> Option<Place> {
        let found = self.find(flow);
        let place = if let Some(Place::Connection(place)) = found { place } else { NONE };
        // Where they come for many, none is looked at in vain.
        self.recent = if place == self.latest { place } else { NONE };
        self.latest = place;
        found
    }

    /// Segments do not find a connection any more.
    pub(super) fn hide(&mut self, place: u32, flow: &FourTuple) {
        self.forget_recent(place);
        self.flows.remove(self.flow_hash(flow), Place::Connection(place).pack());
        self.ports.note_free(flow);
    }

    /// Segments find what comes after a connection in its place.
    pub(super) fn succeed(&mut self, place: u32, flow: &FourTuple, successor: Place) {
        self.forget_recent(place);
        self.flows.replace(self.flow_hash(flow), Place::Connection(place).pack(), successor.pack());
    }

    fn forget_recent(&mut self, place: u32) {
        if self.recent == place && !planted::is("recent_kept") {
            self.recent = NONE;
        }
    }

    /// A generation that no connection in the same place has had for a long time.
    pub(super) fn new_generation(&mut self) -> u32 {
        let generation = self.next_generation;
        // The largest one stands for nobody.
        self.next_generation = (generation + 1) % u32::MAX;
        generation
    }

    /// Adds a connection to the tables. What was found by its flow before, if anything, is `predecessor`.
    pub(super) fn add(
        &mut self,
        flow: FourTuple,
        connection: Connection,
        is_accepted: bool,
        predecessor: Option<Place>,
    ) -> Result<SocketId, OpenError> {
        let generation = self.new_generation();
        let entry = Entry {
            flow,
            generation,
            connection,
            is_accepted,
            is_shown_as_v6: false,
            has_work: false,
            has_event: false,
        };
        let place = self.connections.insert(entry);
        let (hash, packed) = (self.flow_hash(&flow), Place::Connection(place).pack());
        let is_there = match predecessor {
            Some(predecessor) => self.flows.replace(hash, predecessor.pack(), packed),
            None => self.flows.insert(hash, packed).is_ok(),
        };
        if !is_there {
            self.connections.discard(place);
            return Err(OpenError::Full);
        }
        Ok(SocketId { place, generation })
    }

    /// Takes a connection that is over out of the tables.
    pub(super) fn remove(&mut self, place: u32) {
        if !planted::is("timer_left") {
            self.connection_timers.disarm(place);
        }
        let Some(entry) = self.connections.get_mut(place) else { return };
        self.growth_bytes -= if planted::is("growth_kept") { 0 } else { entry.connection.grown() };
        let change = if planted::is("send_bytes_kept") { 0 } else { entry.connection.recount() };
        self.send_bytes = self.send_bytes.wrapping_add_signed(change);
        self.orphans.forget(entry.connection.is_orphan());
        if self.spares.len() < MAX_SPARES
            && let Some(spare) = entry.connection.salvage()
        {
            self.spares.push(spare);
        }
        let flow = entry.flow;
        self.hide(place, &flow);
        // It is large, and need not be moved for that.
        self.connections.discard(place);
    }
}

/// What anybody can choose addresses and ports for.
fn unkeyed_hash(flow: &FourTuple) -> u32 {
    let sum = |address: IpAddr| match address {
        IpAddr::V4(address) => u32::from(address),
        IpAddr::V6(address) => address.segments().iter().map(|&word| u32::from(word)).sum(),
    };
    let addresses = sum(flow.addresses.src()).wrapping_add(sum(flow.addresses.dst()));
    addresses.wrapping_add(u32::from(flow.src_port) + u32::from(flow.dst_port))
}
