//! The DHCP client of an interface (RFC 2131), as pure state: messages and time in, messages and leases out.
//!
//! It knows no sockets and changes no addresses: the stack sends what it is [asked for](Client::poll_output), and makes the
//! changes that a lease means.
//!
//! | state | what happens |
//! |---|---|
//! | [`State::Init`] | it waits a moment before it begins, after failures longer |
//! | [`State::Selecting`] | it looks for servers; the first offer that is sound is taken |
//! | [`State::Rebooting`] | it asks for the address that it had before |
//! | [`State::Requesting`] | it asks for what was offered |
//! | [`State::Probing`] | nobody must answer for the address before it is used (RFC 5227), else it is declined |
//! | [`State::Bound`] | the address is used |
//! | [`State::Renewing`], [`State::Rebinding`] | it asks its server, then any, to let it keep the address |
//! | [`State::Stopped`] | nothing |
//!
//! # Whom it believes
//! Anybody on the link can answer, so what counts is: the number of the question, our hardware address, and where one server was chosen,
//! that server. A server whose offer came to nothing is not chosen again at once. Whatever servers do, the client sends no more than
//! its back-off allows, and keeps one offer and one lease.

mod lease;
pub(crate) mod names;
#[cfg(test)]
mod tests;
mod timing;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::time::Duration;

use sunstar_wire::MacAddr;
use sunstar_wire::dhcpv4::{Code, Header, Kind, Message, Writer};

use crate::time::Instant;
pub use lease::{Lease, MAX_ROUTES};
use timing::{DECLINE_WAIT, LONG_LEASE, MAX_REBOOT_REQUESTS, MAX_REQUESTS, PROBES, SHUNNED_DISCOVERS, Timing};

/// What a client is made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What the server is to know the client by (RFC 2132 §9.14); the hardware address without it. At most 64 bytes are sent.
    pub client_id: Option<Vec<u8>>,
    /// The name that the client wants to be known by. At most 64 bytes are sent.
    pub host_name: Option<Box<str>>,
    /// Whether servers are asked to broadcast their answers. The stack takes them either way; some relays do not.
    pub asks_for_broadcast: bool,
    /// The address that the host had before, which it asks for first.
    pub previous: Option<Ipv4Addr>,
    /// Bytes of the largest packet that the interface takes.
    pub mtu: u16,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does nothing.
    Stopped,
    /// It waits before it begins.
    Init,
    /// It looks for servers.
    Selecting,
    /// It asks for the address that it had before.
    Rebooting,
    /// It asks for what was offered.
    Requesting,
    /// It looks whether somebody uses the address.
    Probing,
    /// The address is used.
    Bound,
    /// The address is used, and its server is asked to prolong that.
    Renewing,
    /// The address is used, and any server is asked to prolong that.
    Rebinding,
}

/// What the client wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// A message is to be sent from `from` to `to`, or to all stations if `to` is the broadcast address.
    Send {
        /// Our address, or the unspecified one.
        from: Ipv4Addr,
        /// The server, or the broadcast address.
        to: Ipv4Addr,
        /// What is sent.
        message: Box<Writer>,
    },
    /// The link is to be asked who has an address (RFC 5227 §2.1.1). Answers go to [`Client::handle_conflict`].
    Probe(Ipv4Addr),
    /// The host has this address and this configuration from now on, in the place of what it had.
    Bound(Box<Lease>),
    /// The host has no address of this client any more.
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
    pub naks: u64,
    /// Addresses that were declined, since somebody uses them.
    pub declined: u64,
    /// Leases that began or were prolonged.
    pub leases: u64,
    /// Leases that ended without being prolonged.
    pub expired: u64,
}

/// The client of one interface.
#[derive(Debug)]
pub struct Client {
    options: Options,
    mac: MacAddr,
    timing: Timing,
    state: State,
    xid: u32,
    /// What is asked for, or being probed.
    offer: Option<Box<Lease>>,
    /// What was used before, which is nice to have again.
    hint: Option<Ipv4Addr>,
    /// What is used.
    lease: Option<Box<Lease>>,
    /// Since when the lease counts: when it was asked for.
    leased_at: Instant,
    /// When the answer that is waited for was asked for first.
    asked_at: Instant,
    /// Since when the client has tried, for servers that count seconds.
    begun_at: Instant,
    /// When something is to be done.
    due: Option<Instant>,
    /// How often the present question was asked, or the address probed.
    tries: u32,
    /// How often an attempt has come to nothing since there was a lease.
    failures: u32,
    /// The server whose offer came to nothing last.
    shunned: Option<Ipv4Addr>,
    output: VecDeque<Output>,
    counters: Counters,
}

impl Client {
    /// A client that begins at once. `seed` is random.
    pub fn new(now: Instant, mac: MacAddr, seed: u64, options: Options) -> Self {
        Self {
            options,
            mac,
            timing: Timing::new(seed),
            state: State::Init,
            xid: 0,
            offer: None,
            hint: None,
            lease: None,
            leased_at: now,
            asked_at: now,
            begun_at: now,
            due: Some(now),
            tries: 0,
            failures: 0,
            shunned: None,
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

    /// When the lease ends; nothing if there is none, or it has no end.
    pub fn expires_at(&self) -> Option<Instant> {
        self.lease.as_ref()?.duration.map(|duration| self.leased_at + duration)
    }

    /// The address that must not be somebody else's, while that is found out.
    pub fn probed(&self) -> Option<Ipv4Addr> {
        self.offer.as_ref().filter(|_| self.state == State::Probing).map(|offer| offer.ip())
    }

    /// What was counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// When to call [`Client::handle_timeout`].
    pub const fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be done next. Ask until there is nothing, after each of the other calls.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// Gives the address back, and does nothing any more.
    pub fn stop(&mut self, now: Instant) {
        // What is being probed was given too. It is not ours to speak from, so that is said to all.
        let probed = self.offer.take().filter(|_| self.state == State::Probing);
        let used = self.lease.take();
        self.xid = self.timing.draw();
        if let Some(lease) = used.as_ref().or(probed.as_ref()) {
            let mut message = self.message(now, Kind::Release, lease.ip());
            add(&mut message, Code::SERVER_ID, &lease.server.octets());
            match used {
                Some(_) => self.send(lease.ip(), lease.server, message),
                None => self.broadcast(message),
            }
        }
        if used.is_some() {
            self.output.push_back(Output::Lost);
        }
        (self.state, self.due) = (State::Stopped, None);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        if self.expires_at().is_some_and(|end| end <= now) {
            self.counters.expired += 1;
            self.lose(now);
            if self.due > Some(now) {
                return;
            }
        }
        match self.state {
            State::Stopped => self.due = None,
            State::Init => self.begin(now),
            State::Selecting => self.discover(now),
            State::Rebooting if self.tries >= MAX_REBOOT_REQUESTS => self.start_over(now),
            State::Requesting if self.tries >= MAX_REQUESTS => {
                self.shunned = self.offer.as_ref().map(|offer| offer.server);
                self.start_over(now);
            }
            State::Rebooting | State::Requesting => self.request(now),
            State::Probing => self.probe(now),
            State::Bound | State::Renewing | State::Rebinding => self.prolong(now),
        }
    }

    /// A message has come to the client's port.
    pub fn handle_message(&mut self, now: Instant, message: &Message<'_>) {
        let header = message.header();
        let is_ours = header.is_reply && header.xid == self.xid && header.chaddr == self.mac;
        if !is_ours && !planted::is("dhcp_any_answer") {
            self.counters.ignored += 1;
            return;
        }
        let taken = match (message.kind(), self.state) {
            (Some(Kind::Offer), State::Selecting) => self.on_offer(now, message),
            (Some(Kind::Ack), State::Requesting | State::Rebooting) => self.on_ack(now, message),
            (Some(Kind::Ack), State::Renewing | State::Rebinding) => self.on_prolonged(now, message),
            (Some(Kind::Nak), _) => self.on_nak(now, message),
            _ => None,
        };
        match taken {
            Some(()) => self.counters.received += 1,
            None => self.counters.ignored += 1,
        }
    }

    /// Another station uses an address, or is about to, and does not let go of it. If it is ours, it is so no more.
    pub fn handle_conflict(&mut self, now: Instant, address: Ipv4Addr) {
        let is_probing = self.state == State::Probing;
        let probed = self.offer.take_if(|offer| is_probing && offer.ip() == address);
        let used = self.lease.take_if(|lease| lease.ip() == address);
        if used.is_some() {
            self.output.push_back(Output::Lost);
        }
        let Some(offer) = probed.or(used) else { return };
        self.counters.declined += 1;
        let mut message = self.message(now, Kind::Decline, Ipv4Addr::UNSPECIFIED);
        add(&mut message, Code::REQUESTED_ADDRESS, &offer.ip().octets());
        add(&mut message, Code::SERVER_ID, &offer.server.octets());
        self.broadcast(message);
        self.hint = None;
        self.start_over(now);
        // RFC 2131 §3.1, 5.
        self.due = self.due.max(Some(now + DECLINE_WAIT));
    }

    /// RFC 2131 §4.4.1: begins anew; §4.4.2: with the address that there was before.
    fn begin(&mut self, now: Instant) {
        (self.xid, self.tries, self.begun_at) = (self.timing.draw(), 0, now);
        match self.options.previous {
            Some(_) => {
                self.state = State::Rebooting;
                self.request(now);
            }
            None => self.discover(now),
        }
    }

    fn discover(&mut self, now: Instant) {
        self.state = State::Selecting;
        let mut message = self.question(now, Kind::Discover, Ipv4Addr::UNSPECIFIED);
        if let Some(hint) = self.hint {
            add(&mut message, Code::REQUESTED_ADDRESS, &hint.octets());
        }
        self.broadcast(message);
        self.wait_for_answer(now);
    }

    /// RFC 2131 §4.3.2: of a chosen server, or whoever knows the address.
    fn request(&mut self, now: Instant) {
        if self.tries == 0 {
            self.asked_at = now;
        }
        let mut message = self.question(now, Kind::Request, Ipv4Addr::UNSPECIFIED);
        match (&self.offer, self.options.previous) {
            (Some(offer), _) => {
                add(&mut message, Code::REQUESTED_ADDRESS, &offer.ip().octets());
                add(&mut message, Code::SERVER_ID, &offer.server.octets());
            }
            (None, Some(previous)) => add(&mut message, Code::REQUESTED_ADDRESS, &previous.octets()),
            (None, None) => {}
        }
        self.broadcast(message);
        self.wait_for_answer(now);
    }

    fn wait_for_answer(&mut self, now: Instant) {
        self.due = Some(now + self.timing.back_off(self.tries));
        self.tries += 1;
    }

    /// RFC 5227 §2.1.1, in a shorter time.
    fn probe(&mut self, now: Instant) {
        let Some(address) = self.probed() else { return self.start_over(now) };
        if self.tries < PROBES {
            self.tries += 1;
            self.due = Some(now + self.timing.probe_interval());
            self.output.push_back(Output::Probe(address));
        } else if let Some(lease) = self.offer.take() {
            self.bind(now, lease);
        }
    }

    fn bind(&mut self, now: Instant, lease: Box<Lease>) {
        // Who gives addresses for moments has us ask often.
        if self.lease.is_some() || lease.duration.is_none_or(|duration| duration >= LONG_LEASE) {
            self.failures = 0;
        }
        (self.state, self.shunned) = (State::Bound, None);
        self.leased_at = if planted::is("dhcp_lease_from_answer") { now } else { self.asked_at };
        (self.options.previous, self.hint) = (None, Some(lease.ip()));
        self.output.push_back(Output::Bound(lease.clone()));
        self.counters.leases += 1;
        self.due = lease.renew.map(|renew| self.leased_at + renew);
        self.lease = Some(lease);
        // It may have taken longer than the lease lasts.
        self.handle_timeout(now);
    }

    /// RFC 2131 §4.4.5: asks its server from T1 on, any from T2 on.
    fn prolong(&mut self, now: Instant) {
        let Some(lease) = &self.lease else { return self.start_over(now) };
        let (Some(rebind), Some(duration)) = (lease.rebind, lease.duration) else { return self.due = None };
        let (from, server) = (lease.ip(), lease.server);
        let (rebind_at, end) = (self.leased_at + rebind, self.leased_at + duration);
        let state = if now >= rebind_at { State::Rebinding } else { State::Renewing };
        if self.state == State::Bound {
            self.begun_at = now;
        }
        // A late answer to an earlier question would prolong the lease by more than the server has.
        (self.state, self.xid, self.asked_at) = (state, self.timing.draw(), now);
        let message = self.question(now, Kind::Request, from);
        let (to, next) = match state {
            State::Rebinding => (Ipv4Addr::BROADCAST, end),
            _ => (server, rebind_at),
        };
        self.send(from, to, message);
        self.due = Some(timing::half_way(now, next, duration));
    }

    fn on_offer(&mut self, now: Instant, message: &Message<'_>) -> Option<()> {
        let lease = Lease::read(message)?;
        let is_shunned = self.shunned == Some(lease.server);
        if is_shunned && (self.tries < SHUNNED_DISCOVERS || planted::is("dhcp_shuns_for_ever")) {
            return None;
        }
        (self.state, self.offer, self.tries) = (State::Requesting, Some(Box::new(lease)), 0);
        self.request(now);
        Some(())
    }

    fn on_ack(&mut self, now: Instant, message: &Message<'_>) -> Option<()> {
        let lease = Lease::read(message)?;
        let is_it = match (&self.offer, self.options.previous) {
            (Some(offer), _) => (offer.ip(), offer.server) == (lease.ip(), lease.server),
            (None, previous) => previous == Some(lease.ip()),
        };
        if !is_it {
            return None;
        }
        (self.state, self.offer, self.tries) = (State::Probing, Some(Box::new(lease)), 0);
        self.probe(now);
        Some(())
    }

    fn on_prolonged(&mut self, now: Instant, message: &Message<'_>) -> Option<()> {
        let (new, old) = (Lease::read(message)?, self.lease.as_ref()?);
        let is_server = self.state == State::Rebinding || new.server == old.server;
        if !is_server || new.ip() != old.ip() {
            return None;
        }
        if planted::is("dhcp_lease_not_prolonged") {
            self.asked_at = self.leased_at;
        }
        self.bind(now, Box::new(new));
        Some(())
    }

    fn on_nak(&mut self, now: Instant, message: &Message<'_>) -> Option<()> {
        let server = message.fixed_option(Code::SERVER_ID).map(Ipv4Addr::from)?;
        let is_it = match self.state {
            State::Rebooting | State::Rebinding => true,
            State::Requesting => self.offer.as_ref().is_some_and(|offer| offer.server == server),
            State::Renewing => self.lease.as_ref().is_some_and(|lease| lease.server == server),
            _ => false,
        };
        if !is_it {
            return None;
        }
        self.counters.naks += 1;
        self.shunned = (self.state == State::Requesting).then_some(server);
        self.hint = None;
        self.lose(now);
        Some(())
    }

    /// There is no address any more, and a new one is looked for.
    fn lose(&mut self, now: Instant) {
        if self.lease.take().is_some() {
            self.output.push_back(Output::Lost);
        }
        self.start_over(now);
    }

    /// The first time at once, then later and later.
    fn start_over(&mut self, now: Instant) {
        self.options.previous = None;
        (self.state, self.offer) = (State::Init, None);
        let wait = if self.failures == 0 { Duration::ZERO } else { self.timing.back_off(self.failures - 1) };
        self.failures = self.failures.saturating_add(1);
        self.due = Some(now + wait);
    }

    /// A message that says who we are and since when we ask.
    fn message(&self, now: Instant, kind: Kind, ciaddr: Ipv4Addr) -> Box<Writer> {
        let header = Header {
            is_reply: false,
            xid: self.xid,
            secs: u16::try_from((now - self.begun_at).as_secs()).unwrap_or(u16::MAX),
            is_broadcast: self.options.asks_for_broadcast && ciaddr.is_unspecified(),
            ciaddr,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            chaddr: self.mac,
        };
        let mut message = Box::new(Writer::new(&header, kind));
        let hardware = [&[1][..], &self.mac.0].concat();
        let client_id = self.options.client_id.as_deref().unwrap_or(&hardware);
        add(&mut message, Code::CLIENT_ID, first(client_id));
        message
    }

    /// One that also says what we want to know.
    fn question(&self, now: Instant, kind: Kind, ciaddr: Ipv4Addr) -> Box<Writer> {
        let mut message = self.message(now, kind, ciaddr);
        add(&mut message, Code::PARAMETER_LIST, &lease::PARAMETERS.map(|code| code.0));
        add(&mut message, Code::MAX_MESSAGE_SIZE, &self.options.mtu.max(576).to_be_bytes());
        if let Some(name) = &self.options.host_name {
            add(&mut message, Code::HOST_NAME, first(name.as_bytes()));
        }
        message
    }

    fn broadcast(&mut self, message: Box<Writer>) {
        self.send(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, message);
    }

    fn send(&mut self, from: Ipv4Addr, to: Ipv4Addr, message: Box<Writer>) {
        self.counters.sent += 1;
        self.output.push_back(Output::Send { from, to, message });
    }
}

/// What is sent of what others have chosen.
fn first(bytes: &[u8]) -> &[u8] {
    bytes.get(..64).unwrap_or(bytes)
}

/// All that is added fits: it is at most 200 bytes.
fn add(message: &mut Writer, code: Code, data: &[u8]) {
    let _ = message.option(code, data);
}
