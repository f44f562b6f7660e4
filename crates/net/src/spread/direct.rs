//! A listener whose shard keeps what it accepts.

use alloc::rc::Rc;
use core::task::{Context, Poll, ready};

use super::intake::{Intake, attach};
use super::shard::Spreading;
use super::tally::Tally;
use crate::address::Address;
use crate::error::Error;
use crate::listener::{ListenerOptions, ListenerStats, Spread};
use crate::socket::{ListenOptions, Stack};
use crate::stream::Stream;

/// A listening socket of this shard's own.
pub(crate) struct Direct {
    intake: Intake,
    tally: Rc<Tally>,
    spreading: Rc<Spreading>,
    address: Address,
}

impl Direct {
    /// Listens.
    pub(crate) fn bind(stack: &dyn Stack, address: &Address, options: &ListenerOptions) -> Result<Self, Error> {
        let spreading = Spreading::here();
        // The kernel lets one process bind an address twice when the port is shared.
        if !is_any_port(address) && spreading.direct.borrow().contains(address) {
            return Err(Error::AddressInUse);
        }
        let socket = stack.listen(address, &listen_options(options))?;
        let address = socket.local_address()?;
        spreading.direct.borrow_mut().push(address.clone());
        Ok(Self { intake: Intake::new(socket), tally: Tally::new(), spreading, address })
    }

    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, Error>> {
        loop {
            let Some(connection) = ready!(self.intake.poll_next_here(cx)) else {
                return Poll::Ready(Err(Error::Stopped));
            };
            if let Some(stream) = attach(connection, &self.tally, self.tally.take()) {
                return Poll::Ready(Ok(stream));
            }
        }
    }

    pub(crate) fn close(&self) {
        self.intake.socket.close();
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn stats(&self) -> ListenerStats {
        ListenerStats { failures: self.intake.failures(), ..self.tally.stats() }
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        let mut direct = self.spreading.direct.borrow_mut();
        if let Some(at) = direct.iter().position(|address| *address == self.address) {
            direct.swap_remove(at);
        }
    }
}

/// What the network is asked for.
pub(super) fn listen_options(options: &ListenerOptions) -> ListenOptions {
    ListenOptions {
        backlog: options.backlog,
        reuse_port: options.spread == Spread::ReusePort,
        is_shared: options.spread != Spread::Off,
        ipv6_only: options.ipv6_only,
        with_peer: options.spread == Spread::ClientPort,
    }
}

/// Whether the address leaves the port to the network.
pub(super) fn is_any_port(address: &Address) -> bool {
    address.inet().is_some_and(|address| address.port() == 0)
}
