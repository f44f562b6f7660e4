//! UDP.

use core::net::SocketAddr;
use core::task::{Context, Poll, ready};

use sunstar_packet::Buffer;

use crate::datagram::Datagrams;
use crate::error::Error;
use crate::socket::DatagramOptions;
use crate::tcp::inet;

/// A UDP socket.
///
/// All waits are safe to drop: a datagram was sent wholly or not at all, and one that has come stays for the next receive.
///
/// ```no_run
/// use sunstar_net::{Error, UdpSocket};
///
/// async fn echo() -> Result<(), Error> {
///     let mut socket = UdpSocket::bind("127.0.0.1:7".parse().expect("an address"))?;
///     loop {
///         let (bytes, peer) = socket.recv_from().await?;
///         socket.send_to(bytes, peer).await?;
///     }
/// }
/// ```
#[derive(Debug)]
pub struct UdpSocket(Datagrams);

impl UdpSocket {
    /// Makes a socket at an address. Port 0 gets a free port.
    ///
    /// # Errors
    /// If the address can't be had; [`Error::Unsupported`] if the shard has no network, or one without UDP.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        Self::bind_with(address, &DatagramOptions::default())
    }

    /// As [`UdpSocket::bind`], with options.
    ///
    /// # Errors
    /// As for [`UdpSocket::bind`].
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn bind_with(address: SocketAddr, options: &DatagramOptions) -> Result<Self, Error> {
        Datagrams::bind(address.into(), options).map(Self)
    }

    /// Sends to `peer` from now on where no address is given, and receives only from there.
    ///
    /// # Errors
    /// What the network says.
    pub fn connect(&self, peer: SocketAddr) -> Result<(), Error> {
        self.0.connect(&peer.into())
    }

    /// Waits for room in the send queue and puts a datagram to the connected peer into it.
    ///
    /// # Errors
    /// What became of earlier datagrams, as far as the network tells.
    pub async fn send(&mut self, bytes: impl Into<Buffer>) -> Result<(), Error> {
        self.0.send(bytes.into(), None).await
    }

    /// Waits for room in the send queue and puts a datagram into it.
    ///
    /// # Errors
    /// As for [`UdpSocket::send`].
    pub async fn send_to(&mut self, bytes: impl Into<Buffer>, to: SocketAddr) -> Result<(), Error> {
        self.0.send(bytes.into(), Some(&to.into())).await
    }

    /// Waits until the send queue is below its bound.
    ///
    /// # Errors
    /// As for [`UdpSocket::send`].
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_writable(cx)
    }

    /// Puts a datagram into the send queue without waiting; to the connected peer if no address is given.
    ///
    /// Who does not wait by [`UdpSocket::poll_writable`] before fills the queue without bound.
    pub fn enqueue(&mut self, bytes: impl Into<Buffer>, to: Option<SocketAddr>) {
        self.0.enqueue(bytes.into(), to.map(Into::into).as_ref());
    }

    /// The next datagram and its sender. What comes while the receive queue is full is dropped by the network.
    ///
    /// # Errors
    /// What became of earlier datagrams that were sent (nobody listens there); later calls may succeed.
    pub async fn recv_from(&mut self) -> Result<(Buffer, SocketAddr), Error> {
        let (bytes, from) = self.0.receive().await?;
        Ok((bytes, inet(from)?))
    }

    /// [`UdpSocket::recv_from`] for futures written by hand.
    ///
    /// # Errors
    /// As for [`UdpSocket::recv_from`].
    pub fn poll_recv_from(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Buffer, SocketAddr), Error>> {
        let (bytes, from) = ready!(self.0.poll_receive(cx))?;
        Poll::Ready(inet(from).map(|from| (bytes, from)))
    }

    /// This side's address, with the port that it got.
    ///
    /// # Errors
    /// What the network says.
    pub fn local_address(&self) -> Result<SocketAddr, Error> {
        self.0.local_address().and_then(inet)
    }
}
