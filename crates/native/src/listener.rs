//! Listeners.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use sunstar_net::socket::{Accepted, Detached, ListenSocket};
use sunstar_net::{Address, Error};
use sunstar_tcpip::tcp::sockets::ListenerId;

use crate::shared::Shared;
use crate::spread::Lease;
use crate::stream::{Held, Stream};
use crate::wakers::keep;

/// A listener of this shard's stack.
pub(crate) struct Listener {
    network: Rc<Shared>,
    local: SocketAddr,
    /// None once it was closed.
    id: Cell<Option<ListenerId>>,
    /// What was established when it was closed.
    rest: RefCell<VecDeque<Held>>,
    _lease: Option<Lease>,
}

impl Listener {
    pub(crate) fn new(network: Rc<Shared>, id: ListenerId, local: SocketAddr, lease: Option<Lease>) -> Self {
        Self { network, local, id: Cell::new(Some(id)), rest: RefCell::default(), _lease: lease }
    }

    fn accept(&self, id: ListenerId) -> Option<Held> {
        let accepted = self.network.state().stack.tcp().accept(id);
        accepted.map(|id| Held::new(Rc::clone(&self.network), id))
    }

    /// The next connection.
    fn poll_held(&self, cx: &Context<'_>) -> Poll<Result<Held, Error>> {
        let Some(id) = self.id.get() else {
            let next = self.rest.borrow_mut().pop_front();
            return Poll::Ready(next.ok_or(Error::Stopped));
        };
        match self.accept(id) {
            Some(held) => Poll::Ready(Ok(held)),
            None => {
                self.network.look(|state| keep(state.acceptors.at(id.index()), cx));
                Poll::Pending
            }
        }
    }
}

impl ListenSocket for Listener {
    fn local_address(&self) -> Result<Address, Error> {
        Ok(self.local.into())
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        self.poll_held(cx).map_ok(Held::detached)
    }

    fn poll_accept_here(&self, cx: &mut Context<'_>) -> Poll<Result<Accepted, Error>> {
        self.poll_held(cx).map(|held| Stream::open(held?).map(Accepted::Here).ok_or(Error::NotConnected))
    }

    fn close(&self) {
        let Some(id) = self.id.take() else { return };
        while let Some(held) = self.accept(id) {
            self.rest.borrow_mut().push_back(held);
        }
        let now = self.network.now();
        let acceptor = {
            let mut state = self.network.state();
            state.stack.tcp().unlisten(now, id);
            state.acceptors.get(id.index()).and_then(Option::take)
        };
        acceptor.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.close();
        for held in self.rest.take() {
            held.abort();
        }
    }
}
