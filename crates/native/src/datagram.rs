//! Datagram sockets: UDP.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};

use sunstar_net::socket::DatagramSocket;
use sunstar_net::{Address, Error};
use sunstar_packet::Buffer;
use sunstar_tcpip::interface::InterfaceId;
use sunstar_tcpip::udp::{UdpId, UdpSendError};

use crate::error::{of_config, of_open, of_path, of_send};
use crate::network::inet;
use crate::shared::Shared;
use crate::spread::Lease;
use crate::wakers::keep;

/// A datagram socket of this shard's stack.
pub(crate) struct Datagrams {
    network: Rc<Shared>,
    id: UdpId,
    /// What became of a datagram that was not sent.
    failure: Cell<Option<Error>>,
    /// Groups that it has joined, and by which interfaces.
    groups: RefCell<Vec<(InterfaceId, IpAddr)>>,
    _lease: Option<Lease>,
}

/// Groups that a socket joins at most, as in Linux (`igmp_max_memberships`).
const MAX_GROUPS: usize = 20;

impl Datagrams {
    pub(crate) fn new(network: Rc<Shared>, id: UdpId, lease: Option<Lease>) -> Self {
        Self { network, id, failure: Cell::new(None), groups: RefCell::default(), _lease: lease }
    }
}

impl DatagramSocket for Datagrams {
    fn local_address(&self) -> Result<Address, Error> {
        self.network.look(|state| state.stack.udp().local(self.id)).map(Address::Inet).ok_or(Error::NotConnected)
    }

    fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Result<(Buffer, Address), Error>> {
        self.network.look(|state| {
            let udp = state.stack.udp();
            if let Some(received) = udp.receive(self.id) {
                let bytes = received.payload.into_buffer(state.stack.copies());
                return Poll::Ready(Ok((bytes, Address::Inet(received.from))));
            }
            if let Some(error) = udp.take_error(self.id) {
                return Poll::Ready(Err(of_path(error)));
            }
            keep(state.receivers.at(self.id.index()), cx);
            Poll::Pending
        })
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(error) = self.failure.take() {
            return Poll::Ready(Err(error));
        }
        let mut state = self.network.state();
        if state.stack.has_room_for_datagrams() {
            return Poll::Ready(Ok(()));
        }
        state.senders.push(cx.waker().clone());
        Poll::Pending
    }

    fn enqueue(&self, bytes: Buffer, to: Option<&Address>) {
        let sent = match to.map(inet).transpose() {
            Ok(to) => {
                let now = self.network.now();
                match self.network.state().stack.udp_send(now, self.id, to, bytes.into()) {
                    // One of several devices takes nothing. It is lost and counted, as on any line that is too narrow.
                    Err(UdpSendError::Full) => Ok(()),
                    sent => sent.map_err(of_send),
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            self.failure.set(Some(error));
        }
    }

    fn connect(&self, peer: &Address) -> Result<(), Error> {
        self.network.state().stack.udp_connect(self.id, inet(peer)?).map_err(of_open)
    }

    fn join_group(&self, group: IpAddr, scope_id: u32) -> Result<(), Error> {
        let interface = self.network.look(|state| state.stack.group_interface(group, scope_id)).map_err(of_config)?;
        let mut groups = self.groups.borrow_mut();
        if groups.contains(&(interface, group)) {
            return Err(Error::AddressInUse);
        }
        if groups.len() >= MAX_GROUPS {
            return Err(Error::OutOfMemory);
        }
        let now = self.network.now();
        self.network.state().stack.join_group(now, interface, group).map_err(of_config)?;
        groups.push((interface, group));
        Ok(())
    }

    fn leave_group(&self, group: IpAddr, scope_id: u32) -> Result<(), Error> {
        let interface = self.network.look(|state| state.stack.group_interface(group, scope_id)).map_err(of_config)?;
        let mut groups = self.groups.borrow_mut();
        let at = groups.iter().position(|joined| *joined == (interface, group)).ok_or(Error::AddressNotAvailable)?;
        groups.swap_remove(at);
        let now = self.network.now();
        self.network.state().stack.leave_group(now, interface, group);
        Ok(())
    }
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        let now = self.network.now();
        let waiting = {
            let mut state = self.network.state();
            for (interface, group) in self.groups.take() {
                state.stack.leave_group(now, interface, group);
            }
            state.stack.udp().close(self.id);
            state.receivers.get(self.id.index()).and_then(Option::take)
        };
        drop(waiting);
    }
}
