//! Sockets that listen for streams.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::task::{Context, Poll};

use sunstar_net::socket::{Detached, ListenOptions, ListenSocket};
use sunstar_net::{Address, Error};

use super::connection::Connection;
use super::half::WakerSlot;
use super::host_net::Bound;
use super::{Network, add, subtract};
use crate::trace::{Record, Side};
use crate::world::ShardIo;

/// A socket that listens.
pub(super) struct Listener {
    network: Rc<Network>,
    io: Rc<ShardIo>,
    address: SocketAddrV4,
    options: ListenOptions,
    backlog: RefCell<VecDeque<Rc<Connection>>>,
    acceptor: WakerSlot,
    is_closed: Cell<bool>,
}

impl Bound for Listener {
    fn address(&self) -> SocketAddrV4 {
        self.address
    }

    fn shares_port(&self) -> bool {
        self.options.reuse_port
    }
}

impl Network {
    pub(super) fn listen(
        self: &Rc<Self>,
        io: &Rc<ShardIo>,
        address: SocketAddrV4,
        options: &ListenOptions,
    ) -> Result<Rc<Listener>, Error> {
        let host = io.place.host;
        let address = self.with_host(host, |host| host.address_to_listen(address, options.reuse_port))?;
        let listener = Rc::new(Listener {
            network: Rc::clone(self),
            io: Rc::clone(io),
            address,
            options: options.clone(),
            backlog: RefCell::default(),
            acceptor: WakerSlot::default(),
            is_closed: Cell::new(false),
        });
        add(&self.gauges.sockets, 1);
        self.with_host(host, |host| host.listeners.add(&listener));
        self.world.note(&Record::Listen { place: io.place, address });
        Ok(listener)
    }
}

impl Listener {
    pub(super) fn is_open(&self) -> bool {
        !self.is_closed.get()
    }

    /// Puts a connection into the backlog, if there is room.
    pub(super) fn offer(&self, connection: &Rc<Connection>) -> bool {
        let limit = usize::try_from(self.options.backlog).unwrap_or(usize::MAX).max(1);
        let has_room = self.backlog.borrow().len() < limit;
        if has_room {
            self.backlog.borrow_mut().push_back(Rc::clone(connection));
            self.wake();
        }
        has_room
    }

    fn wake(&self) {
        if let Some(waker) = self.acceptor.take() {
            self.io.wake(waker);
        }
    }
}

impl ListenSocket for Listener {
    fn local_address(&self) -> Result<Address, Error> {
        Ok(Address::Inet(self.address.into()))
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        let next = self.backlog.borrow_mut().pop_front();
        match next {
            Some(connection) => Poll::Ready(Ok(self.network.detach(connection, Side::Server))),
            None if self.is_closed.get() => Poll::Ready(Err(Error::Stopped)),
            None => {
                self.acceptor.register(cx);
                Poll::Pending
            }
        }
    }

    fn close(&self) {
        self.is_closed.set(true);
        self.wake();
    }
}

impl Drop for Listener {
    /// Resets what nobody has accepted.
    fn drop(&mut self) {
        subtract(&self.network.gauges.sockets, 1);
        self.network.with_host(self.io.place.host, |host| host.listeners.prune(self.address.port()));
        for connection in self.backlog.take() {
            connection.reset(Side::Server);
        }
    }
}
