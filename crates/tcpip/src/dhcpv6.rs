//! The DHCPv6 client of an interface (RFC 8415), as pure state: messages and time in, messages and leases out.
//!
//! It knows no sockets and changes no addresses: the stack sends what it is [asked for](Client::poll_output), and makes the
//! changes that a lease means. The stack also asks whether an address is free before it uses it, and says so if not.
//!
//! | state | what happens |
//! |---|---|
//! | [`State::Init`] | it waits a moment before it begins, after failures longer |
//! | [`State::Soliciting`] | it looks for servers; the one that wants it most is taken, or one that gives addresses at once |
//! | [`State::Requesting`] | it asks for what was offered |
//! | [`State::Bound`] | the addresses are used |
//! | [`State::Renewing`], [`State::Rebinding`] | it asks its server, then any, to let it keep the addresses |
//! | [`State::Declining`] | it tells its server that somebody else has an address |
//! | [`State::Informing`], [`State::Informed`] | it asks for name servers only; it has them |
//! | [`State::Releasing`] | it gives the addresses back |
//! | [`State::Stopped`] | nothing |
//!
//! # What it leaves out
//! It never confirms addresses (RFC 8415 §18.2.3): none outlives the client, since they are given back when it stops. What it was told to
//! like is a hint in its first question instead. It does not let servers reconfigure it (§18.2.11), and always speaks to all servers,
//! which every server hears.
//!
//! # Whom it believes
//! Anybody on the link can answer, so what counts is: the number of the question, our DUID, and where one server was chosen, that
//! server. Whatever servers do, the client sends no more than its back-off allows, and keeps four offers and one lease.

mod answers;
mod identity;
mod lease;
#[cfg(test)]
mod tests;
mod timing;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::Ipv6Addr;
use core::time::Duration;

use sunstar_wire::dhcpv6::{Code, Kind, Writer};

use crate::chance::Chance;
use crate::time::Instant;
pub use identity::{duid_of_host, duid_of_link, iaid};
use lease::MAX_DUID_BYTES;
pub use lease::{Lease, LeasedAddress, MAX_ADDRESSES};
use timing::{DEFAULT_MAX_RT, Exchange, SOUND_TIME};

/// Offers that are remembered at most, the best ones.
const MAX_OFFERS: usize = 4;

/// What is asked for: in all questions, and if nothing but information is asked for (RFC 8415 §21.7).
const PARAMETERS: [Code; 3] = [Code::NAME_SERVERS, Code::DOMAIN_LIST, Code::SOL_MAX_RT];
const INFORMATION: [Code; 4] =
    [Code::NAME_SERVERS, Code::DOMAIN_LIST, Code::INFORMATION_REFRESH_TIME, Code::INF_MAX_RT];

/// What a client is made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What servers know the host by (RFC 8415 §11): the same on each start. At most 130 bytes are sent.
    pub duid: Vec<u8>,
    /// Which of the host's interfaces it is: the same on each start, another one for each interface (§12).
    pub iaid: u32,
    /// Addresses that it would like to have, of which [`MAX_ADDRESSES`] are sent.
    pub hints: Vec<Ipv6Addr>,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Name servers and search domains.
    Stateless,
    /// Addresses, and those.
    Stateful,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does nothing.
    Stopped,
    /// It waits before it begins.
    Init,
    /// It looks for servers.
    Soliciting,
    /// It asks for what was offered.
    Requesting,
    /// The addresses are used.
    Bound,
    /// The addresses are used, and their server is asked to prolong that.
    Renewing,
    /// The addresses are used, and any server is asked to prolong that.
    Rebinding,
    /// It tells a server of addresses that others have.
    Declining,
    /// It gives addresses back.
    Releasing,
    /// It asks for information.
    Informing,
    /// It has information.
    Informed,
}

/// What the client wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// A message is to be sent from the link-local address to all servers of the link.
    Send(Box<Writer>),
    /// The host has these addresses and this configuration from now on, in the place of what it had.
    Bound(Box<Lease>),
    /// The host has nothing of this client any more.
    Lost,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that were sent.
    pub sent: u64,
    /// Messages that were taken in.
    pub received: u64,
    /// Messages for somebody else, at the wrong time, from the wrong server, or without what is needed.
    pub ignored: u64,
    /// Refusals by servers.
    pub refused: u64,
    /// Addresses that were declined, since somebody uses them.
    pub declined: u64,
    /// Leases that began or were prolonged, and information that was given.
    pub leases: u64,
    /// Leases that ended without being prolonged.
    pub expired: u64,
}

/// What a server would give.
#[derive(Debug)]
struct Offer {
    preference: u8,
    lease: Box<Lease>,
}

/// The client of one interface.
#[derive(Debug)]
pub struct Client {
    options: Options,
    mode: Mode,
    chance: Chance,
    state: State,
    /// What is asked.
    exchange: Option<Exchange>,
    /// What was offered, the best one first; while one is asked for, that is none of them.
    offers: Vec<Offer>,
    /// What is asked for, with its server.
    wanted: Option<Box<Lease>>,
    /// What is used.
    lease: Option<Box<Lease>>,
    /// Since when addresses are used.
    bound_at: Option<Instant>,
    /// Addresses that others have.
    declined: Vec<Ipv6Addr>,
    /// When the state's next step is due.
    due: Option<Instant>,
    sol_max_rt: Duration,
    inf_max_rt: Duration,
    /// How often an attempt has come to nothing lately.
    failures: u32,
    output: VecDeque<Output>,
    counters: Counters,
}

impl Client {
    /// A client that does nothing yet. `seed` is random.
    pub fn new(seed: u64, mut options: Options) -> Self {
        options.duid.truncate(MAX_DUID_BYTES);
        options.hints.truncate(MAX_ADDRESSES);
        Self {
            options,
            mode: Mode::Stateless,
            chance: Chance::new(seed),
            state: State::Stopped,
            exchange: None,
            offers: Vec::new(),
            wanted: None,
            lease: None,
            bound_at: None,
            declined: Vec::new(),
            due: None,
            sol_max_rt: DEFAULT_MAX_RT,
            inf_max_rt: DEFAULT_MAX_RT,
            failures: 0,
            output: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// How far it is.
    pub const fn state(&self) -> State {
        self.state
    }

    /// What the host has, if it has something.
    pub fn lease(&self) -> Option<&Lease> {
        self.lease.as_deref()
    }

    /// What was counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// When to call [`Client::handle_timeout`].
    pub fn deadline(&self) -> Option<Instant> {
        let change = self.lease.as_ref().and_then(|lease| lease.next_change());
        crate::stack::earliest(self.due, change)
    }

    /// What is to be done next. Ask until there is nothing, after each of the other calls.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// Begins, a moment later (RFC 8415 §18.2.1). Who asks for addresses already goes on, also if only information is wanted now; who asks for
    /// information asks for addresses too from now on, if they are wanted.
    pub fn start(&mut self, now: Instant, mode: Mode) {
        let is_running = !matches!(self.state, State::Stopped | State::Releasing);
        if is_running && self.mode >= mode {
            return;
        }
        self.rest();
        (self.mode, self.state, self.failures) = (mode, State::Init, 0);
        self.due = Some(now + timing::delay(&mut self.chance));
    }

    /// Gives the addresses back, and does nothing any more but to repeat that a few times if it is not answered.
    pub fn stop(&mut self, now: Instant) {
        if self.state == State::Releasing {
            return;
        }
        let used = self.lease.take();
        if used.is_some() {
            self.output.push_back(Output::Lost);
        }
        // What was asked for may have been given.
        let wanted = self.wanted.take().filter(|_| self.state == State::Requesting);
        self.rest();
        self.wanted = used.filter(|lease| !lease.addresses.is_empty()).or(wanted);
        if self.wanted.is_some() {
            self.ask(now, Kind::Release, State::Releasing);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.age(now);
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        match self.state {
            State::Stopped => self.due = None,
            State::Init if self.mode == Mode::Stateful => self.ask(now, Kind::Solicit, State::Soliciting),
            State::Init | State::Informed => self.ask(now, Kind::InformationRequest, State::Informing),
            State::Soliciting if !self.offers.is_empty() => self.choose(now),
            State::Requesting if self.is_exhausted() => self.choose(now),
            State::Releasing if self.is_exhausted() => self.rest(),
            State::Declining if self.is_exhausted() => self.end_declining(now),
            State::Bound | State::Renewing | State::Rebinding => self.prolong(now),
            _ => self.repeat(now),
        }
    }

    /// Another station has an address that was given: it is not used, and the server is told (RFC 8415 §18.2.8).
    pub fn handle_conflict(&mut self, now: Instant, address: Ipv6Addr) {
        let Some(lease) = self.lease.as_mut().filter(|lease| lease.has(address)) else { return };
        lease.addresses.retain(|other| other.address != address);
        let rest = lease.clone();
        self.declined.push(address);
        self.counters.declined += 1;
        self.options.hints.retain(|hint| *hint != address);
        self.offers.clear();
        self.wanted = Some(rest.clone());
        if rest.addresses.is_empty() {
            self.lease = None;
            self.output.push_back(Output::Lost);
        } else {
            self.output.push_back(Output::Bound(rest));
        }
        self.ask(now, Kind::Decline, State::Declining);
    }

    /// The server knows of the addresses that others have, or does not want to know it.
    fn end_declining(&mut self, now: Instant) {
        self.declined.clear();
        if self.lease.is_some() { self.use_lease() } else { self.start_over(now) }
    }

    /// The lease goes on.
    fn use_lease(&mut self) {
        (self.state, self.exchange) = (State::Bound, None);
        let lease = self.lease.as_ref();
        self.due = lease.and_then(|lease| lease.renew_at.or(lease.rebind_at));
    }

    /// Lets go of addresses whose time is over.
    fn age(&mut self, now: Instant) {
        let Some(lease) = self.lease.as_mut().filter(|lease| !lease.addresses.is_empty()) else { return };
        if !lease.age(now) {
            return;
        }
        if !lease.addresses.is_empty() {
            let lease = lease.clone();
            self.output.push_back(Output::Bound(lease));
            return;
        }
        self.counters.expired += 1;
        self.lose(now);
    }

    /// RFC 8415 §18.2.4, §18.2.5: asks its server from T1 on, any from T2 on.
    fn prolong(&mut self, now: Instant) {
        let Some(lease) = &self.lease else { return self.start_over(now) };
        let must_rebind = lease.rebind_at.is_some_and(|at| at <= now);
        let (kind, state) = if must_rebind { (Kind::Rebind, State::Rebinding) } else { (Kind::Renew, State::Renewing) };
        if self.state == state {
            return self.repeat(now);
        }
        self.ask(now, kind, state);
    }

    /// There are no addresses any more, and new ones are looked for; who does that already goes on.
    fn lose(&mut self, now: Instant) {
        if self.lease.take().is_some() {
            self.output.push_back(Output::Lost);
        }
        if !matches!(self.state, State::Soliciting | State::Requesting | State::Init) {
            self.start_over(now);
        }
    }

    /// The first time at once, then later and later. What is used stays until its time is over.
    fn start_over(&mut self, now: Instant) {
        let lasted = self.bound_at.take().map_or(Duration::ZERO, |at| now - at);
        self.failures = if lasted >= SOUND_TIME { 0 } else { self.failures };
        self.offers.clear();
        (self.state, self.exchange, self.wanted) = (State::Init, None, None);
        self.due = Some(now + timing::pause(self.failures, &mut self.chance));
        self.failures = self.failures.saturating_add(1);
    }

    fn rest(&mut self) {
        (self.state, self.exchange, self.wanted, self.due) = (State::Stopped, None, None, None);
        self.offers.clear();
        self.declined.clear();
    }

    /// Asks for what the best of the servers has offered that were not asked yet.
    fn choose(&mut self, now: Instant) {
        if self.offers.is_empty() {
            return self.start_over(now);
        }
        self.wanted = Some(self.offers.remove(0).lease);
        self.ask(now, Kind::Request, State::Requesting);
    }

    fn is_exhausted(&self) -> bool {
        self.exchange.as_ref().is_some_and(Exchange::is_exhausted)
    }

    /// Asks something, until it is answered.
    fn ask(&mut self, now: Instant, kind: Kind, state: State) {
        self.state = state;
        self.exchange = Some(Exchange::new(now, kind, &mut self.chance));
        self.repeat(now);
    }

    /// Asks it once more.
    fn repeat(&mut self, now: Instant) {
        let Some(mut exchange) = self.exchange.take() else { return self.start_over(now) };
        let max_rt = if exchange.kind == Kind::Solicit { self.sol_max_rt } else { self.inf_max_rt };
        let again = exchange.ask(now, max_rt, &mut self.chance);
        // From T2 on another question takes its place.
        let rebind_at = self.lease.as_ref().and_then(|lease| lease.rebind_at);
        self.due = match rebind_at.filter(|_| exchange.kind == Kind::Renew) {
            Some(rebind_at) => Some(again.min(rebind_at)),
            None => Some(again),
        };
        let message = self.message(now, &exchange);
        self.exchange = Some(exchange);
        self.counters.sent += 1;
        self.output.push_back(Output::Send(message));
    }

    /// A message (RFC 8415 §18.2). All that is added fits: it is at most 600 bytes.
    fn message(&self, now: Instant, exchange: &Exchange) -> Box<Writer> {
        let kind = exchange.kind;
        let mut message = Box::new(Writer::new(kind, exchange.transaction_id));
        add(&mut message, Code::CLIENT_ID, &self.options.duid);
        let lease = if matches!(kind, Kind::Renew | Kind::Rebind) { &self.lease } else { &self.wanted };
        let lease = lease.as_deref();
        if let (Kind::Request | Kind::Renew | Kind::Release | Kind::Decline, Some(lease)) = (kind, lease) {
            add(&mut message, Code::SERVER_ID, &lease.server);
        }
        add(&mut message, Code::ELAPSED_TIME, &exchange.elapsed(now).to_be_bytes());
        match kind {
            Kind::InformationRequest => {}
            Kind::Solicit => self.add_ia(&mut message, self.options.hints.iter().copied()),
            Kind::Decline => self.add_ia(&mut message, self.declined.iter().copied()),
            _ => {
                let addresses = lease.map_or(&[][..], |lease| &lease.addresses);
                self.add_ia(&mut message, addresses.iter().map(|address| address.address));
            }
        }
        match kind {
            Kind::Release | Kind::Decline => {}
            Kind::InformationRequest => add_codes(&mut message, &INFORMATION),
            _ => add_codes(&mut message, &PARAMETERS),
        }
        if kind == Kind::Solicit {
            add(&mut message, Code::RAPID_COMMIT, &[]);
        }
        message
    }

    fn add_ia(&self, message: &mut Writer, addresses: impl Iterator<Item = Ipv6Addr>) {
        let _ = message.ia_na(self.options.iaid, addresses.take(MAX_ADDRESSES));
    }
}

fn add(message: &mut Writer, code: Code, data: &[u8]) {
    let _ = message.option(code, data);
}

fn add_codes(message: &mut Writer, codes: &[Code]) {
    let _ = message
        .nested(Code::OPTION_REQUEST, |message| codes.iter().try_for_each(|code| message.push(&code.0.to_be_bytes())));
}
