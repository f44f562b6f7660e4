//! Binding, listening, connecting, accepting, shutting down, closing.

use alloc::rc::Rc;
use core::net::{IpAddr, SocketAddr};

use sunstar_tcpip::stack::Stack;
use sunstar_tcpip::tcp::connection::State;
use sunstar_tcpip::tcp::sockets::{OpenError, SocketId};

use super::{Phase, Stream, World};
use crate::address::Family;
use crate::errno::Errno;
use crate::numbers::shut;

/// Ports that are chosen from for who binds to none.
const FIRST_PORT: u16 = 32_768;
const LAST_PORT: u16 = 60_999;

pub(super) fn open_error(error: OpenError) -> Errno {
    match error {
        OpenError::InUse => Errno::ADDRINUSE,
        OpenError::NoPort | OpenError::NotOurs => Errno::ADDRNOTAVAIL,
        OpenError::Full => Errno::NOBUFS,
        OpenError::Mixed => Errno::AFNOSUPPORT,
        OpenError::NoScope => Errno::INVAL,
        OpenError::NoRoute => Errno::NETUNREACH,
    }
}

impl Stream {
    /// bind(2).
    pub(crate) fn bind(&mut self, world: &mut World<'_>, mut address: SocketAddr) -> Result<(), Errno> {
        if self.phase != Phase::Fresh || self.local.is_some() {
            return Err(Errno::INVAL);
        }
        let is_any = address.ip().is_unspecified();
        if !is_any && !self.wishes.is_freebind && !world.stack.is_own(address.ip()) {
            return Err(Errno::ADDRNOTAVAIL);
        }
        if address.port() == 0 {
            let free = |port: &u16| !world.bound.contains_key(&SocketAddr::new(address.ip(), *port));
            let port = (FIRST_PORT..=LAST_PORT).find(free).ok_or(Errno::ADDRINUSE)?;
            address.set_port(port);
        }
        let mut taken = world.bound.iter().filter(|(other, _)| {
            let is_same = other.ip() == address.ip() || is_any || other.ip().is_unspecified();
            is_same && other.port() == address.port() && other.is_ipv4() == address.is_ipv4()
        });
        if taken.any(|(_, bound)| !bound.is_shared || !self.wishes.is_reusable) {
            return Err(Errno::ADDRINUSE);
        }
        self.note_bound(world, address);
        Ok(())
    }

    fn note_bound(&mut self, world: &mut World<'_>, address: SocketAddr) {
        let is_reusable = self.wishes.is_reusable;
        let bound = world.bound.entry(address).or_default();
        bound.is_shared = is_reusable && (bound.sockets == 0 || bound.is_shared);
        bound.sockets += 1;
        self.local = Some(address);
        self.has_bound = true;
    }

    fn forget_bound(&mut self, world: &mut World<'_>) {
        let Some(address) = self.local.filter(|_| core::mem::take(&mut self.has_bound)) else { return };
        if let Some(bound) = world.bound.get_mut(&address) {
            bound.sockets -= 1;
            if bound.sockets == 0 {
                world.bound.remove(&address);
            }
        }
    }

    /// listen(2). A second time only the backlog would change; it stays.
    pub(crate) fn listen(&mut self, world: &mut World<'_>, backlog: i32) -> Result<(), Errno> {
        match self.phase {
            Phase::Listening(_) => return Ok(()),
            Phase::Open(_) => return Err(Errno::INVAL),
            Phase::Fresh => {}
        }
        if self.local.is_none() {
            self.bind(world, SocketAddr::new(self.family.unspecified(), 0))?;
        }
        let local = self.local.ok_or(Errno::INVAL)?;
        let most = world.settings.somaxconn as usize;
        let backlog = usize::try_from(backlog).map_or(most, |backlog| backlog.min(most));
        self.backlog = backlog;
        let options = Rc::new(self.wishes.connection_options(world.settings));
        let listener = world.stack.listen(local, backlog, options).map_err(open_error)?;
        self.phase = Phase::Listening(listener);
        self.listen_fast(world);
        Ok(())
    }

    /// accept(2), without waiting: the next connection, as a socket.
    pub(crate) fn accept(&mut self, world: &mut World<'_>) -> Result<Self, Errno> {
        let Phase::Listening(listener) = self.phase else { return Err(Errno::INVAL) };
        let id = world.stack.tcp().accept(listener).ok_or(Errno::AGAIN)?;
        let mut accepted = Self::new(self.family, self.wishes.inherited());
        accepted.phase = Phase::Open(id);
        accepted.is_connected = true;
        accepted.local = world.stack.tcp().flow(id).map(|flow| flow.src());
        accepted.look(world);
        Ok(accepted)
    }

    /// connect(2), without waiting: [`Errno::INPROGRESS`] when it has begun, [`Errno::ALREADY`] when it had.
    pub(crate) fn connect(&mut self, world: &mut World<'_>, to: SocketAddr) -> Result<(), Errno> {
        match self.phase {
            Phase::Listening(_) => Err(Errno::ISCONN),
            Phase::Open(_) => self.go_on_connecting(world.stack, Errno::ALREADY),
            Phase::Fresh if self.deferred.is_some() => Err(Errno::ISCONN),
            Phase::Fresh if self.wishes.connects_fast => self.connect_fast(world, to),
            Phase::Fresh => {
                let id = self.begin_connecting(world, to)?;
                self.phase = Phase::Open(id);
                self.is_connected = false;
                self.look(world);
                Err(Errno::INPROGRESS)
            }
        }
    }

    /// What became of a connect that was begun; `under_way` if nothing did yet.
    pub(crate) fn go_on_connecting(&mut self, stack: &mut Stack, under_way: Errno) -> Result<(), Errno> {
        if self.is_connected {
            return Err(Errno::ISCONN);
        }
        match self.state(stack) {
            State::SynSent | State::SynReceived => Err(under_way),
            State::Closed => {
                let error = self.take_error(stack).unwrap_or(Errno::CONNABORTED);
                self.give_up(stack);
                Err(error)
            }
            _ => {
                self.is_connected = true;
                Ok(())
            }
        }
    }

    /// A connection that could not be opened is let go; the socket may connect again.
    fn give_up(&mut self, stack: &mut Stack) {
        if let Phase::Open(id) = self.phase {
            stack.tcp().release(sunstar_tcpip::time::Instant::default(), id);
        }
        self.phase = Phase::Fresh;
        (self.has_failed, self.has_shut_read, self.has_shut_write) = (false, false, false);
    }

    fn begin_connecting(&mut self, world: &mut World<'_>, to: SocketAddr) -> Result<SocketId, Errno> {
        let from = self.leaving_from(to)?;
        let options = Rc::new(self.wishes.connection_options(world.settings));
        let id = world.stack.connect(world.now, from, to, options).map_err(open_error)?;
        let flow = world.stack.tcp().flow(id);
        self.local = flow.map(|flow| flow.src()).or(self.local);
        Ok(id)
    }

    /// Where a connection to an address leaves from, if the program has said so.
    pub(super) fn leaving_from(&self, to: SocketAddr) -> Result<Option<SocketAddr>, Errno> {
        if to.port() == 0 {
            return Err(Errno::CONNREFUSED);
        }
        if self.family == Family::V4 && !to.is_ipv4() {
            return Err(Errno::AFNOSUPPORT);
        }
        Ok(self.local.map(|local| match (local.ip(), to.ip()) {
            // Who is bound to all addresses speaks from that of the right version.
            (ip, IpAddr::V4(_)) if ip.is_unspecified() => SocketAddr::new(Family::V4.unspecified(), local.port()),
            _ => local,
        }))
    }

    /// shutdown(2).
    pub(crate) fn shutdown(&mut self, world: &mut World<'_>, how: i32) -> Result<(), Errno> {
        if !(shut::RD..=shut::RDWR).contains(&how) {
            return Err(Errno::INVAL);
        }
        let id = match self.phase {
            Phase::Open(id) => id,
            Phase::Listening(_) => {
                if how != shut::WR {
                    self.stop_listening(world);
                }
                return Ok(());
            }
            Phase::Fresh => return Err(Errno::NOTCONN),
        };
        let state = self.state(world.stack);
        if state == State::Closed {
            return Err(Errno::NOTCONN);
        }
        self.has_shut_read |= how != shut::WR;
        if how != shut::RD {
            self.has_shut_write = true;
            world.stack.tcp().close(world.now, id);
        }
        self.look(world);
        Ok(())
    }

    fn stop_listening(&mut self, world: &mut World<'_>) {
        if let Phase::Listening(listener) = self.phase {
            world.stack.tcp().unlisten(world.now, listener);
            self.phase = Phase::Fresh;
        }
    }

    /// The last descriptor is closed.
    pub(crate) fn close(&mut self, world: &mut World<'_>) {
        self.stop_listening(world);
        self.forget_bound(world);
        let Phase::Open(id) = self.phase else { return };
        let is_zero = self.wishes.linger.is_some_and(|linger| linger.is_zero());
        world.stack.tcp().configure(id, |connection| connection.set_zero_linger(is_zero));
        // What was taken out of the connection and not read counts as well (RFC 2525 §2.17).
        let is_unread = self.front.iter().any(|part| !part.is_empty());
        if is_unread && !matches!(self.state(world.stack), State::SynSent | State::Closed) {
            world.stack.tcp().abort(world.now, id);
        } else {
            world.stack.tcp().release(world.now, id);
        }
    }

    /// Whether closing has to wait, as `SO_LINGER` says: what was sent is not acknowledged.
    pub(crate) fn lingers(&self, stack: &mut Stack) -> bool {
        let is_wanted = self.wishes.linger.is_some_and(|linger| !linger.is_zero()) && !self.is_nonblocking;
        is_wanted
            && !planted::is("linger_ignored")
            && self.connection(stack).is_some_and(|connection| {
                !connection.is_drained() && !matches!(connection.state(), State::Closed | State::TimeWait)
            })
    }

    /// Our address and the other side's.
    pub(crate) fn names(&self, stack: &mut Stack) -> (SocketAddr, Option<SocketAddr>) {
        let unbound = SocketAddr::new(self.family.unspecified(), 0);
        let flow = match self.phase {
            Phase::Open(id) => stack.tcp().flow(id),
            Phase::Fresh | Phase::Listening(_) => None,
        };
        (self.local.unwrap_or(unbound), flow.map(|flow| flow.dst()))
    }
}
