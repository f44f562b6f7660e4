//! What sockets for datagrams of all kinds have in common.

use alloc::rc::Rc;
use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use sunstar_packet::Buffer;

use crate::address::Address;
use crate::error::Error;
use crate::socket::{self, DatagramOptions, DatagramSocket};

/// A datagram socket of any kind. One task at a time sends, and one receives.
pub(crate) struct Datagrams(Rc<dyn DatagramSocket>);

impl Datagrams {
    pub(crate) fn bind(address: Address, options: &DatagramOptions) -> Result<Self, Error> {
        socket::stack()?.bind(&address, options).map(Self)
    }

    pub(crate) fn connect(&self, peer: &Address) -> Result<(), Error> {
        self.0.connect(peer)
    }

    pub(crate) async fn send(&mut self, bytes: Buffer, to: Option<&Address>) -> Result<(), Error> {
        poll_fn(|cx| self.0.poll_writable(cx)).await?;
        self.0.enqueue(bytes, to);
        Ok(())
    }

    pub(crate) fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_writable(cx)
    }

    pub(crate) fn enqueue(&mut self, bytes: Buffer, to: Option<&Address>) {
        self.0.enqueue(bytes, to);
    }

    pub(crate) async fn receive(&mut self) -> Result<(Buffer, Address), Error> {
        poll_fn(|cx| self.0.poll_receive(cx)).await
    }

    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Buffer, Address), Error>> {
        self.0.poll_receive(cx)
    }

    pub(crate) fn local_address(&self) -> Result<Address, Error> {
        self.0.local_address()
    }
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams").field("local", &self.local_address()).finish()
    }
}
