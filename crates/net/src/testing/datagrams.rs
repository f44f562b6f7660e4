//! Datagrams over the network in memory: they arrive at once and in order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use sunstar_packet::Buffer;

use super::network::Network;
use crate::address::Address;
use crate::error::Error;
use crate::socket::DatagramSocket;

/// What came for a socket.
#[derive(Default)]
pub(super) struct Mailbox {
    arrived: VecDeque<(Vec<u8>, Address)>,
    reader: Option<Waker>,
}

pub(super) struct MemDatagram {
    network: Network,
    address: Address,
    peer: RefCell<Option<Address>>,
}

impl MemDatagram {
    pub(super) fn bind(network: Network, address: &Address) -> Result<Self, Error> {
        let mut state = network.state();
        let address = match address {
            Address::Inet(inet) => state.free_port(*inet).into(),
            Address::Unix(_) => address.clone(),
        };
        if state.mailboxes.insert(address.to_string(), Mailbox::default()).is_some() {
            return Err(Error::AddressInUse);
        }
        drop(state);
        Ok(Self { network, address, peer: RefCell::default() })
    }
}

impl DatagramSocket for MemDatagram {
    fn local_address(&self) -> Result<Address, Error> {
        Ok(self.address.clone())
    }

    fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Result<(Buffer, Address), Error>> {
        let mut state = self.network.state();
        let mailbox = state.mailboxes.get_mut(&self.address.to_string()).unwrap();
        if let Some((bytes, from)) = mailbox.arrived.pop_front() {
            return Poll::Ready(Ok((bytes.into(), from)));
        }
        mailbox.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn enqueue(&self, bytes: Buffer, to: Option<&Address>) {
        let peer = self.peer.borrow();
        let to = to.or(peer.as_ref()).unwrap().to_string();
        let mut state = self.network.state();
        if let Some(mailbox) = state.mailboxes.get_mut(&to) {
            mailbox.arrived.push_back((bytes.to_vec(), self.address.clone()));
            let reader = mailbox.reader.take();
            drop(state);
            reader.into_iter().for_each(Waker::wake);
        }
    }

    fn connect(&self, peer: &Address) -> Result<(), Error> {
        *self.peer.borrow_mut() = Some(peer.clone());
        Ok(())
    }
}
