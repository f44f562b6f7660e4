//! The stations of our networks and their Ethernet addresses: the cache of ARP (RFC 826, RFC 1122 §2.3.2) and of neighbour discovery
//! (RFC 4861 §7.3).
//!
//! Both have one form. Who has answered is taken for *reachable* for a while; then its address is *stale*, still used, and asked for again
//! of the station itself: with ARP at once, with neighbour discovery after a moment in which other traffic may show that it is there.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use sunstar_packet::Packet;
use sunstar_wire::MacAddr;

use crate::configuration::LinkParameters;
use crate::interface::InterfaceId;
use crate::rate::TokenBucket;
use crate::slab::Slab;
use crate::time::Instant;
use crate::timers::Timers;

/// How much is kept of neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourLimits {
    /// Neighbours; for a further one another one is forgotten. Those to whom nothing was sent since they are known, if they are, and
    /// who have confirmed nothing, have at most half of the places and, where more want in, at least a quarter: the oldest of them goes,
    /// those for whom nothing of our own waits before others. Otherwise it is who was not used for longest.
    pub neighbours: usize,
    /// Packets that wait for each neighbour's address; for a further one the oldest is dropped (RFC 1122 §2.3.2.2).
    pub waiting_packets: usize,
}

impl NeighbourLimits {
    /// For the largest networks that are put on one Ethernet.
    pub const DEFAULT: Self = Self { neighbours: 1_024, waiting_packets: 64 };
}

/// Between two requests for one neighbour of IPv4 (RFC 1122 §2.3.2.1).
const REQUEST_INTERVAL: Duration = Duration::from_secs(1);

/// So many requests are sent before a neighbour is taken for silent.
const REQUESTS: u8 = 3;

/// For so long an address is used without asking again.
const FRESH: Duration = Duration::from_secs(60);

/// An address that was not used or heard of for so long is forgotten.
const LIFETIME: Duration = Duration::from_secs(600);

/// For so long a stale address is used before it is asked for (`DELAY_FIRST_PROBE_TIME`).
const DELAY: Duration = Duration::from_secs(5);

/// So often, and so many at once, neighbours are asked for of whom nothing is known; and as many for datagrams.
const ASK_INTERVAL: Duration = Duration::from_millis(1);
const ASK_BURST: u32 = 512;

/// The same to answer others: anybody can have us answer addresses that he makes up.
const ANSWER_ASK_INTERVAL: Duration = Duration::from_millis(10);
const ANSWER_ASK_BURST: u32 = 64;

pub(crate) type Key = (InterfaceId, IpAddr);

/// Why a packet is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Somebody here wants it.
    Own,
    /// An application sends a datagram: as likely as not to answer one, whose address anybody may have made up.
    Datagram,
    /// It answers a packet that came from this station, if that is known: there it can go, whoever has its address.
    Answer(Option<Station>),
}

/// A station of a link.
pub(crate) type Station = (InterfaceId, MacAddr);

impl Errand {
    /// Where what leaves by an interface can go.
    fn back(self, interface: InterfaceId) -> Option<MacAddr> {
        match self {
            Self::Answer(Some((of, mac))) if of == interface => Some(mac),
            _ => None,
        }
    }
}

#[derive(Debug)]
enum State {
    /// Nobody has answered yet; packets wait.
    Unresolved(VecDeque<Waiting>),
    /// Known, and need not be asked for until then.
    Known { mac: MacAddr, fresh_until: Instant },
}

#[derive(Debug)]
struct Waiting {
    packet: Packet,
    /// The station from which that came what it answers.
    back: Option<MacAddr>,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    state: State,
    /// Requests since the last answer, and when to look again.
    requests: u8,
    look_again_at: Instant,
    /// Used though stale, a moment before it is asked for (RFC 4861 §7.3.2, DELAY).
    is_delayed: bool,
    /// Grows with each use.
    used: u64,
    /// Its name among the strangers, as long as it is one: nothing was sent to it since it is known, so anybody may have made it up.
    stranger: Option<Stranger>,
}

/// A name among the strangers: who is forgotten first is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Stranger {
    /// Somebody here has something for it, which would be lost with it.
    is_sought: bool,
    /// Grows with each.
    number: u64,
}

/// A request to be sent: to everybody who may have the address, or to the station that had it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) interface: InterfaceId,
    pub(crate) target: IpAddr,
    pub(crate) to: MacAddr,
}

/// What becomes of a packet for a neighbour.
#[derive(Debug)]
pub(crate) enum Output {
    /// It leaves, to this station.
    Send(MacAddr, Packet),
    /// It leaves, or the oldest one for the same neighbour instead, to the station from which that came what is answered: who has the
    /// address was not asked, or has not answered yet.
    SendBack(MacAddr, Packet),
    /// It waits; the oldest one had to go if there was no room.
    Waits { dropped: bool },
    /// As many neighbours were asked for as may be in this time.
    Refused,
}

/// Packets that wait no more since there is nobody to send them to.
#[derive(Debug, Default)]
pub(crate) struct GivenUp {
    /// This neighbour did not answer.
    pub(crate) silent: Vec<(Key, Packet)>,
    /// Others took its place.
    pub(crate) forgotten: usize,
    /// Others took its place, but it can go back to the station from which that came what it answers.
    pub(crate) back: Vec<(Key, MacAddr, Packet)>,
    /// Who did not answer.
    pub(crate) gone: Vec<Key>,
}

/// The cache of a stack, for all its interfaces.
#[derive(Debug)]
pub(crate) struct Neighbours {
    limits: NeighbourLimits,
    places: BTreeMap<Key, u32>,
    entries: Slab<Entry>,
    timers: Timers,
    requests: VecDeque<Request>,
    given_up: GivenUp,
    uses: u64,
    /// Places of strangers, in the order in which they are forgotten.
    strangers: BTreeMap<Stranger, u32>,
    next_stranger: u64,
    /// Neighbours that were forgotten for others.
    displaced: u64,
    asks: TokenBucket,
    answer_asks: TokenBucket,
    datagram_asks: TokenBucket,
    /// What routers have said, by link.
    links: Vec<(InterfaceId, LinkParameters)>,
    /// Grows whenever an address may have changed, or may have to be asked for.
    version: u32,
}

impl Neighbours {
    pub(crate) fn new(limits: NeighbourLimits) -> Self {
        Self {
            limits,
            places: BTreeMap::new(),
            entries: Slab::default(),
            timers: Timers::default(),
            requests: VecDeque::new(),
            given_up: GivenUp::default(),
            uses: 0,
            strangers: BTreeMap::new(),
            next_stranger: 0,
            displaced: 0,
            asks: TokenBucket::new(ASK_INTERVAL, ASK_BURST),
            answer_asks: TokenBucket::new(ANSWER_ASK_INTERVAL, ANSWER_ASK_BURST),
            datagram_asks: TokenBucket::new(ASK_INTERVAL, ASK_BURST),
            links: Vec::new(),
            version: 0,
        }
    }

    /// A number that is another one after every change of what is known.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// How fresh a neighbour is that has just shown that it is there.
    fn fresh_for(&self, (interface, address): Key) -> Duration {
        if address.is_ipv4() { FRESH } else { self.parameters(interface).reachable }
    }

    /// What routers say of a link (RFC 4861 §6.3.4).
    pub(crate) fn parameters(&self, interface: InterfaceId) -> LinkParameters {
        let said = self.links.iter().find(|(link, _)| *link == interface);
        said.map_or(LinkParameters::DEFAULT, |(_, parameters)| *parameters)
    }

    pub(crate) fn set_parameters(&mut self, interface: InterfaceId, parameters: LinkParameters) {
        self.links.retain(|(link, _)| *link != interface);
        self.links.push((interface, parameters));
    }

    /// Of stations that are known: the address, if it is the one that is asked for.
    pub(crate) fn mac(&self, interface: InterfaceId, address: IpAddr) -> Option<MacAddr> {
        match self.entries.get(*self.places.get(&(interface, address))?)?.state {
            State::Known { mac, .. } => Some(mac),
            State::Unresolved(_) => None,
        }
    }

    /// What is known of a neighbour may be wrong: it is asked when it is used next (RFC 4861 §7.2.5).
    pub(crate) fn doubt(&mut self, now: Instant, interface: InterfaceId, address: IpAddr) {
        let Some(&place) = self.places.get(&(interface, address)) else { return };
        if let Some(Entry { state: State::Known { fresh_until, .. }, .. }) = self.entries.get_mut(place) {
            *fresh_until = (*fresh_until).min(now);
            self.version = self.version.wrapping_add(1);
        }
    }

    /// What was sent by a neighbour at `sent` has arrived and was answered (RFC 4861 §7.3.1): it was there then.
    pub(crate) fn confirm(&mut self, sent: Instant, interface: InterfaceId, address: IpAddr) {
        let fresh = sent + self.fresh_for((interface, address));
        let Some(&place) = self.places.get(&(interface, address)) else { return };
        let Some(entry) = self.entries.get_mut(place) else { return };
        if let State::Known { fresh_until, .. } = &mut entry.state
            && *fresh_until < fresh
        {
            *fresh_until = fresh;
            entry.requests = 0;
            entry.is_delayed = false;
            entry.look_again_at = fresh + LIFETIME;
        }
    }

    /// How many neighbours are known or asked for.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many were forgotten for others, since there were as many as may be.
    pub(crate) fn displaced(&self) -> u64 {
        self.displaced
    }

    /// The address of a neighbour, if it is known and need not be asked for.
    pub(crate) fn known(&mut self, now: Instant, interface: InterfaceId, target: IpAddr) -> Option<MacAddr> {
        let place = *self.places.get(&(interface, target))?;
        let entry = self.entries.get_mut(place)?;
        match entry.state {
            State::Known { mac, fresh_until } if now < fresh_until || entry.requests > 0 || entry.is_delayed => {
                self.uses += 1;
                entry.used = self.uses;
                if let Some(name) = entry.stranger.take() {
                    self.strangers.remove(&name);
                }
                Some(mac)
            }
            _ => None,
        }
    }

    /// A packet is to be sent to a neighbour. Unless it can be sent, ask [`Neighbours::has_forgotten`] afterwards.
    pub(crate) fn output(&mut self, now: Instant, key: Key, errand: Errand, packet: Packet) -> Output {
        self.uses += 1;
        let (target, back) = (key.1, errand.back(key.0));
        let place = match (self.places.get(&key).copied(), back) {
            (Some(place), _) => place,
            (None, _) if self.may_ask(now, errand) => self.ask(now, key),
            (None, Some(back)) if !planted::is("answers_refused") => return Output::SendBack(back, packet),
            (None, _) => return Output::Refused,
        };
        let Some(entry) = self.entries.get_mut(place) else { return Output::Waits { dropped: true } };
        entry.used = self.uses;
        match &mut entry.state {
            State::Known { mac, fresh_until } => {
                let mac = *mac;
                if let Some(name) = entry.stranger.take() {
                    self.strangers.remove(&name);
                }
                let is_stale = now >= *fresh_until && entry.requests == 0 && !entry.is_delayed;
                if is_stale && target.is_ipv4() {
                    // RFC 1122 §2.3.2.1, (2): ask the station itself, and use what is known meanwhile.
                    self.request(now, place);
                } else if is_stale {
                    entry.is_delayed = true;
                    entry.look_again_at = now + DELAY;
                    self.timers.disarm(place);
                    self.timers.arm(place, now + DELAY);
                }
                Output::Send(mac, packet)
            }
            State::Unresolved(waiting) => {
                if let Some(name) = entry.stranger.as_mut().filter(|name| errand == Errand::Own && !name.is_sought) {
                    self.strangers.remove(name);
                    name.is_sought = true;
                    self.strangers.insert(*name, place);
                }
                waiting.push_back(Waiting { packet, back });
                let is_over = waiting.len() > self.limits.waiting_packets && !planted::is("neighbour_queue_unbounded");
                match if is_over { waiting.pop_front() } else { None } {
                    Some(Waiting { packet, back: Some(back) }) => Output::SendBack(back, packet),
                    oldest => Output::Waits { dropped: oldest.is_some() },
                }
            }
        }
    }

    /// Whether somebody of whom nothing is known may be asked for.
    fn may_ask(&mut self, now: Instant, errand: Errand) -> bool {
        match errand {
            Errand::Answer(_) if !planted::is("answers_ask") => self.answer_asks.take(now),
            Errand::Datagram => self.datagram_asks.take(now),
            Errand::Own | Errand::Answer(_) => self.asks.take(now),
        }
    }

    /// Who has an address has confirmed that our answer came to this station: so it is there, until a question tells better, and nobody
    /// has made it up. Answers with what has waited for it.
    pub(crate) fn introduce(&mut self, now: Instant, key: Key, mac: MacAddr) -> VecDeque<Packet> {
        if self.is_introduced(key.0, key.1) {
            return VecDeque::new();
        }
        let known = self.mac(key.0, key.1);
        let waiting = if known.is_none() { self.learn_until(now, key, mac, now, true) } else { VecDeque::new() };
        if known.is_none_or(|known| known == mac)
            && let Some(entry) = self.places.get(&key).and_then(|place| self.entries.get_mut(*place))
            && let Some(name) = entry.stranger.take()
        {
            self.strangers.remove(&name);
        }
        waiting
    }

    /// Whether nothing follows from [`Neighbours::introduce`], since the station of an address is known and no stranger.
    pub(crate) fn is_introduced(&self, interface: InterfaceId, address: IpAddr) -> bool {
        let entry = self.places.get(&(interface, address)).and_then(|place| self.entries.get(*place));
        entry.is_some_and(|entry| matches!(entry.state, State::Known { .. }) && entry.stranger.is_none())
            || planted::is("not_introduced")
    }

    /// A station has told its address. Answers with what has waited for it. Only if `may_add` is it remembered though nobody has
    /// asked for it (RFC 826, the merge flag).
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        address: IpAddr,
        mac: MacAddr,
        may_add: bool,
    ) -> VecDeque<Packet> {
        self.learn_until(now, (interface, address), mac, now + self.fresh_for((interface, address)), may_add)
    }

    /// The same of a station that has not shown that it hears us: its address is stale (RFC 4861 §7.2.3), unless it is what is known
    /// already.
    pub(crate) fn learn_stale(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        address: IpAddr,
        mac: MacAddr,
        may_add: bool,
    ) -> VecDeque<Packet> {
        if self.mac(interface, address) == Some(mac) {
            return VecDeque::new();
        }
        self.learn_until(now, (interface, address), mac, now, may_add)
    }

    fn learn_until(
        &mut self,
        now: Instant,
        key: Key,
        mac: MacAddr,
        fresh_until: Instant,
        may_add: bool,
    ) -> VecDeque<Packet> {
        let state = State::Known { mac, fresh_until };
        let Some(&place) = self.places.get(&key) else {
            if may_add {
                let look_again_at = now + LIFETIME;
                self.add(key, state, look_again_at);
            }
            return VecDeque::new();
        };
        let Some(entry) = self.entries.get_mut(place) else { return VecDeque::new() };
        let before = core::mem::replace(&mut entry.state, state);
        if !matches!(before, State::Known { mac: same, .. } if same == mac) {
            self.version = self.version.wrapping_add(1);
        }
        entry.requests = 0;
        entry.is_delayed = false;
        entry.look_again_at = now + LIFETIME;
        self.timers.disarm(place);
        self.timers.arm(place, now + LIFETIME);
        match before {
            State::Unresolved(waiting) => {
                // That is sent now.
                if let Some(name) = entry.stranger.take() {
                    self.strangers.remove(&name);
                }
                waiting.into_iter().map(|waiting| waiting.packet).collect()
            }
            State::Known { .. } => VecDeque::new(),
        }
    }

    /// When to call [`Neighbours::handle_timeout`], in microseconds; the largest number if that is never.
    #[inline]
    pub(crate) fn next_micros(&self) -> u64 {
        self.timers.next_micros()
    }

    /// Time has passed. Ask [`Neighbours::poll_request`] and [`Neighbours::take_given_up`] afterwards.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(place) = self.timers.poll(now) {
            let Some(entry) = self.entries.get(place) else { continue };
            if entry.look_again_at > now {
                self.timers.arm(place, entry.look_again_at);
            } else if (entry.requests == 0 && !entry.is_delayed) || entry.requests >= REQUESTS {
                if entry.requests > 0 {
                    self.given_up.gone.push(entry.key);
                }
                let key = entry.key;
                let waiting = self.remove(place);
                self.given_up.silent.extend(waiting.into_iter().map(|waiting| (key, waiting.packet)));
            } else {
                self.request(now, place);
            }
        }
    }

    /// Whether there is a request to be sent.
    pub(crate) fn has_request(&self) -> bool {
        !self.requests.is_empty()
    }

    /// The next request to be sent.
    pub(crate) fn poll_request(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    /// Whether packets wait no more, since others took the places of those whom they are for.
    pub(crate) fn has_forgotten(&self) -> bool {
        self.given_up.forgotten > 0 || !self.given_up.back.is_empty()
    }

    /// Packets that can't be sent, if there are any, and neighbours that are gone.
    pub(crate) fn take_given_up(&mut self) -> Option<GivenUp> {
        let is_any = self.has_forgotten() || !self.given_up.gone.is_empty() || !self.given_up.silent.is_empty();
        is_any.then(|| core::mem::take(&mut self.given_up))
    }

    fn ask(&mut self, now: Instant, key: Key) -> u32 {
        let state = State::Unresolved(VecDeque::new());
        let place = self.add(key, state, now);
        self.request(now, place);
        place
    }

    fn request(&mut self, now: Instant, place: u32) {
        let Some((interface, target)) = self.entries.get(place).map(|entry| entry.key) else { return };
        let interval = if target.is_ipv4() { REQUEST_INTERVAL } else { self.parameters(interface).retransmit };
        let Some(entry) = self.entries.get_mut(place) else { return };
        entry.requests += 1;
        entry.is_delayed = false;
        entry.look_again_at = now + interval;
        let to = match entry.state {
            State::Known { mac, .. } => mac,
            State::Unresolved(_) => MacAddr::BROADCAST,
        };
        self.timers.arm(place, entry.look_again_at);
        // Each neighbour has at most one waiting.
        self.requests.retain(|request| (request.interface, request.target) != (interface, target));
        self.requests.push_back(Request { interface, target, to });
    }

    fn add(&mut self, key: Key, state: State, look_again_at: Instant) -> u32 {
        self.make_room();
        let name = Stranger { is_sought: false, number: self.next_stranger };
        self.next_stranger += 1;
        let (used, stranger) = (self.uses, Some(name));
        let place =
            self.entries.insert(Entry { key, state, requests: 0, look_again_at, is_delayed: false, used, stranger });
        self.strangers.insert(name, place);
        self.places.insert(key, place);
        self.timers.arm(place, look_again_at);
        place
    }

    /// Forgets somebody if there is no place: strangers before those to whom we speak, as long as enough of them can be there at a time
    /// for one to become known.
    fn make_room(&mut self) {
        let limit = self.limits.neighbours.max(1);
        let is_full = self.entries.len() >= limit;
        let strangers = self.strangers.len();
        if planted::is("neighbours_unprotected") {
            if is_full {
                self.forget(self.least_used());
            }
        } else if strangers >= limit.div_ceil(2) || (is_full && strangers >= limit.div_ceil(4)) {
            self.forget(self.strangers.values().next().copied());
        } else if is_full {
            self.forget(self.least_used());
        }
    }

    fn least_used(&self) -> Option<u32> {
        let used = |place: u32| self.entries.get(place).map(|entry| entry.used);
        self.places.values().copied().min_by_key(|place| used(*place))
    }

    fn forget(&mut self, place: Option<u32>) {
        let Some(place) = place else { return };
        let Some(key) = self.entries.get(place).map(|entry| entry.key) else { return };
        self.displaced += 1;
        for Waiting { packet, back } in self.remove(place) {
            match back {
                Some(mac) => self.given_up.back.push((key, mac, packet)),
                None => self.given_up.forgotten += 1,
            }
        }
    }

    /// Forgets those of an interface, with what waits for them: others may be there when it comes back.
    pub(crate) fn forget_interface(&mut self, id: InterfaceId) {
        let places: Vec<u32> =
            self.places.iter().filter(|((interface, _), _)| *interface == id).map(|(_, place)| *place).collect();
        for place in places {
            self.remove(place);
        }
    }

    fn remove(&mut self, place: u32) -> VecDeque<Waiting> {
        self.timers.disarm(place);
        let Some(entry) = self.entries.remove(place) else { return VecDeque::new() };
        if let Some(name) = entry.stranger {
            self.strangers.remove(&name);
        }
        if let State::Known { .. } = entry.state {
            self.version = self.version.wrapping_add(1);
        }
        self.places.remove(&entry.key);
        let (interface, target) = entry.key;
        self.requests.retain(|request| (request.interface, request.target) != (interface, target));
        match entry.state {
            State::Unresolved(waiting) => waiting,
            State::Known { .. } => VecDeque::new(),
        }
    }
}

#[cfg(test)]
mod tests;
