//! The connections of a client: how many there are, who has them, who waits for them, and which are kept.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::{Rc, Weak};
use alloc::vec::Vec;
use core::cell::{Cell, OnceCell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};

use sunstar_executor::Instant;
use sunstar_executor::combine::with_timeout;
use sunstar_executor::sync::{Promise, Promised, promise};
use sunstar_executor::timer::now;
use sunstar_executor::{Reserve, add_reserve};
use sunstar_http1::Endpoint;
use sunstar_metrics::{Buckets, Distribution, Registration};

use super::connector::Connector;
use super::error::{ClientError, Phase};
use super::options::ClientOptions;
use super::stats::{ClientStats, Counters};
use super::transport::{Health, Transport};
use super::uri::Authority;
use super::watch::{self, Draining};

/// What a client's requests share.
pub(super) struct Pool {
    pub(super) options: ClientOptions,
    pub(super) connector: Box<dyn Connector>,
    pub(super) endpoint: Endpoint,
    pub(super) counters: Counters,
    /// From the begin of a request until the head of its response.
    pub(super) latency: Distribution,
    pub(super) published: OnceCell<Registration>,
    pub(super) state: RefCell<State>,
    /// Wakes the task that watches what is kept.
    pub(super) watcher: RefCell<Option<Waker>>,
    is_watched: Cell<bool>,
    /// When the watcher will look by itself.
    pub(super) alarm: Cell<Instant>,
}

/// The connections.
#[derive(Default)]
pub(super) struct State {
    pub(super) hosts: BTreeMap<Authority, Host>,
    /// Responses that nobody reads, on their way to the end.
    pub(super) draining: Vec<Draining>,
    /// All connections: in use, kept, draining, being made.
    open: usize,
    /// Of the next request that waits.
    next_ticket: u64,
}

/// The connections to one host.
#[derive(Default)]
pub(super) struct Host {
    open: usize,
    /// The last one to be used is at the back, and used first.
    pub(super) idle: VecDeque<Idle>,
    /// In order of their tickets.
    waiting: VecDeque<Waiter>,
}

/// A connection that is kept for later.
pub(super) struct Idle {
    pub(super) transport: Box<Transport>,
    since: Instant,
    pub(super) expires: Instant,
}

struct Waiter {
    ticket: u64,
    promise: Promise<Slot>,
}

/// The right to one connection, and the connection if there is one. Dropping it gives the right on, and the connection with it if
/// that is fit for another request.
pub(super) struct Slot {
    pool: Rc<Pool>,
    host: Authority,
    pub(super) transport: Option<Box<Transport>>,
    /// The watcher has the right now.
    is_given: bool,
}

impl Slot {
    fn new(pool: &Rc<Pool>, host: Authority, transport: Option<Box<Transport>>) -> Self {
        Self { pool: Rc::clone(pool), host, transport, is_given: false }
    }

    pub(super) const fn pool(&self) -> &Rc<Pool> {
        &self.pool
    }

    /// Closes the connection, if there is one, and keeps the right to another.
    pub(super) fn close(&mut self) {
        if self.transport.take().is_some() {
            self.pool.count_lost(Health::Good);
        }
    }

    /// Makes ready for another request: keeps the connection if that is fit for it, and the right in any case.
    pub(super) fn settle(&mut self) {
        self.transport = self.take_idle().and_then(|transport| self.pool.vet(transport));
        if let Some(transport) = &mut self.transport {
            transport.is_reused = true;
        }
    }

    /// Takes the connection if nothing is under way on it, and ends it otherwise.
    fn take_idle(&mut self) -> Option<Box<Transport>> {
        match self.transport.take()? {
            transport if transport.is_idle() => Some(transport),
            // The server closes, or was refused: nothing is broken off.
            transport if transport.is_over() => None,
            transport => {
                self.pool.counters.count(|stats| &mut stats.broken_off);
                transport.abort();
                None
            }
        }
    }

    /// Reads the rest of a response, as long as that is little, so that the connection may be kept.
    pub(super) fn drain(mut self) {
        let Some(transport) = self.transport.take() else { return };
        self.is_given = true;
        let mut draining = Draining::new(self.host.clone(), transport, self.pool.options.drain_bytes);
        if let Poll::Ready(has_ended) = self.pool.as_watcher(|cx| draining.poll(cx)) {
            return self.pool.end_draining(draining, has_ended);
        }
        let until = draining.until;
        self.pool.state.borrow_mut().draining.push(draining);
        self.pool.wake_by(until);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.is_given {
            return;
        }
        let kept = self.take_idle();
        self.pool.put_back(&self.host, kept);
    }
}

/// What asking for a connection comes to.
enum Asked {
    Had(Slot),
    MustWait(Waiting),
    /// A kept connection was of no use.
    Again,
}

impl Reserve for Pool {
    fn free_unused_memory(&self) {
        self.endpoint.free_unused_memory();
    }
}

impl Pool {
    pub(super) fn new(options: ClientOptions, connector: Box<dyn Connector>) -> Rc<Self> {
        let pool = Rc::new(Self {
            endpoint: Endpoint::new(options.limits),
            options,
            connector,
            counters: Counters::default(),
            latency: Distribution::new(Buckets::LATENCY),
            published: OnceCell::new(),
            state: RefCell::default(),
            watcher: RefCell::default(),
            is_watched: Cell::new(false),
            alarm: Cell::new(Instant::FAR_FUTURE),
        });
        add_reserve(Rc::downgrade(&pool) as Weak<dyn Reserve>);
        pool
    }

    pub(super) fn stats(&self) -> ClientStats {
        let state = self.state.borrow();
        let sum = |of: fn(&Host) -> usize| state.hosts.values().map(of).sum::<usize>() as u64;
        ClientStats {
            open: state.open as u64,
            idle: sum(|host| host.idle.len()),
            waiting: sum(|host| host.waiting.len()),
            ..self.counters.get()
        }
    }

    /// Waits for the right to a connection to a host, in the order of the calls. A kept connection comes with it.
    pub(super) async fn acquire(self: &Rc<Self>, host: &Authority) -> Result<Slot, ClientError> {
        if !self.is_watched.replace(true) {
            watch::spawn(self);
        }
        loop {
            match self.ask(host)? {
                Asked::Had(slot) => return Ok(slot),
                Asked::Again => {}
                Asked::MustWait(waiting) => {
                    let waited = with_timeout(self.options.wait_timeout, waiting).await;
                    return waited.unwrap_or(Err(ClientError::TimedOut(Phase::Wait)));
                }
            }
        }
    }

    fn ask(self: &Rc<Self>, host: &Authority) -> Result<Asked, ClientError> {
        let mut state = self.state.borrow_mut();
        let is_first = state.hosts.get(host).is_none_or(|host| host.waiting.is_empty());
        if is_first && let Some(idle) = state.hosts.get_mut(host).and_then(|host| host.idle.pop_back()) {
            drop(state);
            return Ok(self.reuse(host, idle).map_or(Asked::Again, Asked::Had));
        }
        let open = state.hosts.get(host).map_or(0, |host| host.open);
        if is_first && open < self.options.connections_per_host.max(1) {
            if state.open < self.options.connections.max(1) {
                state.open(host);
                return Ok(Asked::Had(Slot::new(self, host.clone(), None)));
            }
            if let Some(evicted) = state.evict() {
                state.open(host);
                drop(state);
                drop(evicted);
                self.counters.count(|stats| &mut stats.expired);
                return Ok(Asked::Had(Slot::new(self, host.clone(), None)));
            }
        }
        let waiting = state.hosts.get(host).map_or(0, |host| host.waiting.len());
        if !planted::is("client_waits_unbounded") && waiting >= self.options.waiting_per_host {
            self.counters.count(|stats| &mut stats.rejected);
            return Err(ClientError::Busy);
        }
        let (promise, promised) = promise();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.hosts.entry(host.clone()).or_default().waiting.push_back(Waiter { ticket, promise });
        Ok(Asked::MustWait(Waiting { pool: Rc::clone(self), host: host.clone(), ticket, promised }))
    }

    /// Takes a kept connection, unless it turns out to be of no use.
    fn reuse(self: &Rc<Self>, host: &Authority, idle: Idle) -> Option<Slot> {
        let Idle { mut transport, expires, .. } = idle;
        let health = transport.health();
        // On a late shard the watcher may not have looked yet.
        if health == Health::Good && expires > now() {
            transport.is_reused = true;
            return Some(Slot::new(self, host.clone(), Some(transport)));
        }
        self.count_lost(health);
        drop(transport);
        self.put_back(host, None);
        None
    }

    pub(super) fn count_timeout(&self, error: ClientError) {
        match error {
            ClientError::TimedOut(Phase::Wait) => self.counters.count(|stats| &mut stats.waited_in_vain),
            ClientError::TimedOut(Phase::BodyRate) => self.counters.count(|stats| &mut stats.too_slow),
            ClientError::TimedOut(_) => self.counters.count(|stats| &mut stats.timed_out),
            _ => {}
        }
    }

    pub(super) fn count_lost(&self, health: Health) {
        match health {
            Health::Good => self.counters.count(|stats| &mut stats.expired),
            Health::Stale => self.counters.count(|stats| &mut stats.stale),
            Health::Unasked => self.counters.count(|stats| &mut stats.unasked),
        }
    }

    /// Gives the right to a connection on, with the connection if there is one and it is fit: to the one who has waited longest of
    /// those who may have it, or to be kept.
    pub(super) fn put_back(self: &Rc<Self>, host: &Authority, transport: Option<Box<Transport>>) {
        let mut kept = transport.and_then(|transport| self.vet(transport));
        let mut state = self.state.borrow_mut();
        if let Some((to, promise)) = state.next_waiter(host, self.options.connections_per_host.max(1)) {
            let mut closed = None;
            if to != *host {
                state.close(host);
                state.open(&to);
                closed = kept.take();
            }
            drop(state);
            if let Some(transport) = &mut kept {
                transport.is_reused = true;
            }
            if closed.is_some() {
                self.counters.count(|stats| &mut stats.expired);
            }
            drop(closed);
            // Whoever is gone gives it back.
            drop(promise.resolve(Slot::new(self, to, kept)));
            return;
        }
        let room = self.options.idle_per_host;
        match (kept, state.hosts.get_mut(host)) {
            (Some(transport), Some(host)) if host.idle.len() < room => {
                let since = now();
                let expires = since + transport.idle_time(self.options.idle_timeout);
                host.idle.push_back(Idle { transport, since, expires });
                drop(state);
                self.wake_by(expires);
            }
            (closed, _) => {
                state.close(host);
                drop(state);
                if closed.is_some() {
                    self.counters.count(|stats| &mut stats.expired);
                }
            }
        }
    }

    /// Closes all connections that are kept.
    pub(super) fn close_idle(self: &Rc<Self>) {
        let mut state = self.state.borrow_mut();
        let of_host = |(name, host): (&Authority, &mut Host)| {
            host.idle.drain(..).map(|idle| (name.clone(), idle.transport)).collect::<Vec<_>>()
        };
        let idle: Vec<_> = state.hosts.iter_mut().flat_map(of_host).collect();
        drop(state);
        for (host, transport) in idle {
            self.count_lost(Health::Good);
            drop(transport);
            self.put_back(&host, None);
        }
    }

    /// Looks whether a connection is fit for another request, and lets the watcher know when that changes.
    fn vet(&self, mut transport: Box<Transport>) -> Option<Box<Transport>> {
        if !transport.may_serve() {
            return None;
        }
        match self.as_watcher(|cx| transport.poll_health(cx)) {
            Health::Good => Some(transport),
            lost => {
                self.count_lost(lost);
                None
            }
        }
    }

    /// Polls for the watcher. If that was never there, it will poll by itself.
    fn as_watcher<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        let watcher = self.watcher.borrow().clone();
        poll(&mut Context::from_waker(watcher.as_ref().unwrap_or(Waker::noop())))
    }

    /// Lets the watcher look at what is kept by then.
    fn wake_by(&self, deadline: Instant) {
        if deadline < self.alarm.get() {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(watcher) = &*self.watcher.borrow() {
            watcher.wake_by_ref();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.wake();
    }
}

impl State {
    fn open(&mut self, host: &Authority) {
        self.open += 1;
        self.hosts.entry(host.clone()).or_default().open += 1;
    }

    fn close(&mut self, host: &Authority) {
        let Some(entry) = self.hosts.get_mut(host) else { return };
        self.open -= 1;
        entry.open -= 1;
        if entry.open == 0 && entry.waiting.is_empty() {
            self.hosts.remove(host);
        }
    }

    /// Takes the connection that nobody has used for longest.
    fn evict(&mut self) -> Option<Box<Transport>> {
        let since = |host: &Host| host.idle.front().map(|idle| idle.since);
        let oldest = self.hosts.iter().filter_map(|(name, host)| Some((since(host)?, name))).min()?;
        let name = oldest.1.clone();
        let idle = self.hosts.get_mut(&name)?.idle.pop_front()?;
        self.close(&name);
        Some(idle.transport)
    }

    /// Takes who has waited longest of those who may have the right to a connection to `host`: those who wait for that host, and
    /// those who wait only because there are so many connections in all.
    fn next_waiter(&mut self, host: &Authority, per_host: usize) -> Option<(Authority, Promise<Slot>)> {
        let may_have = |name: &Authority, other: &Host| name == host || other.open < per_host;
        let first = |(name, other): (&Authority, &Host)| {
            let front = other.waiting.front()?;
            may_have(name, other).then(|| (front.ticket, name.clone()))
        };
        let (_, name) = self.hosts.iter().filter_map(first).min()?;
        let waiter = self.hosts.get_mut(&name)?.waiting.pop_front()?;
        Some((name, waiter.promise))
    }
}

/// A place in the queue for a connection.
struct Waiting {
    pool: Rc<Pool>,
    host: Authority,
    ticket: u64,
    promised: Promised<Slot>,
}

impl Future for Waiting {
    type Output = Result<Slot, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let granted = ready!(Pin::new(&mut self.promised).poll(cx));
        // It can't be broken: the queue lives as long as the pool, which this holds.
        Poll::Ready(granted.map_err(|_| ClientError::Busy))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.pool.state.borrow_mut();
        let Some(host) = state.hosts.get_mut(&self.host) else { return };
        let Ok(at) = host.waiting.binary_search_by_key(&self.ticket, |waiter| waiter.ticket) else { return };
        let waiter = host.waiting.remove(at);
        if host.open == 0 && host.waiting.is_empty() {
            state.hosts.remove(&self.host);
        }
        drop(state);
        drop(waiter);
    }
}
