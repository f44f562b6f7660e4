//! Sockets for datagrams, and their two directions.

use alloc::rc::Rc;
use core::fmt;
use core::future::poll_fn;
use core::marker::PhantomData;
use core::task::{Context, Poll, ready};

use sunstar_packet::Buffer;

use crate::address::Address;
use crate::error::Error;
use crate::socket::{self, DatagramOptions, DatagramSocket};
use crate::typed::AddressKind;

/// A datagram socket with addresses of one kind: [`UdpSocket`](crate::UdpSocket), [`UnixDatagram`](crate::UnixDatagram).
///
/// All waits are safe to drop: a datagram was sent wholly or not at all, and one that has come stays for the next receive.
pub struct Datagrams<A> {
    receiver: DatagramReceiver<A>,
    sender: DatagramSender<A>,
}

/// The receiving direction of a datagram socket. There is one, so one task at a time receives.
pub struct DatagramReceiver<A>(Half<A>);

/// The sending direction of a datagram socket. There is one, so one task at a time sends.
pub struct DatagramSender<A>(Half<A>);

/// What both directions have.
struct Half<A> {
    socket: Rc<dyn DatagramSocket>,
    kind: PhantomData<A>,
}

impl<A: AddressKind> Datagrams<A> {
    /// Makes a socket at an address.
    ///
    /// # Errors
    /// If the address can't be had; [`Error::Unsupported`] if the shard has no network, or one without such sockets.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn bind(address: A) -> Result<Self, Error> {
        Self::bind_with(address, &DatagramOptions::default())
    }

    /// As [`Datagrams::bind`], with options.
    ///
    /// # Errors
    /// As for [`Datagrams::bind`].
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn bind_with(address: A, options: &DatagramOptions) -> Result<Self, Error> {
        let socket = socket::stack()?.bind(&address.into(), options)?;
        let half = |socket| Half { socket, kind: PhantomData };
        Ok(Self { receiver: DatagramReceiver(half(Rc::clone(&socket))), sender: DatagramSender(half(socket)) })
    }

    /// Sends to `peer` from now on where no address is given, and receives only from there.
    ///
    /// # Errors
    /// What the network says.
    pub fn connect(&self, peer: A) -> Result<(), Error> {
        self.sender.connect(peer)
    }

    /// Sends to the connected peer; see [`DatagramSender::send`].
    ///
    /// # Errors
    /// As for [`DatagramSender::send`].
    pub async fn send(&mut self, bytes: impl Into<Buffer>) -> Result<(), Error> {
        self.sender.send(bytes).await
    }

    /// Sends to an address; see [`DatagramSender::send_to`].
    ///
    /// # Errors
    /// As for [`DatagramSender::send`].
    pub async fn send_to(&mut self, bytes: impl Into<Buffer>, to: A) -> Result<(), Error> {
        self.sender.send_to(bytes, to).await
    }

    /// The next datagram and its sender; see [`DatagramReceiver::recv_from`].
    ///
    /// # Errors
    /// As for [`DatagramReceiver::recv_from`].
    pub async fn recv_from(&mut self) -> Result<(Buffer, A), Error> {
        self.receiver.recv_from().await
    }

    /// The receiving and the sending direction, for two futures of one task, or for futures written by hand.
    pub fn split(&mut self) -> (&mut DatagramReceiver<A>, &mut DatagramSender<A>) {
        (&mut self.receiver, &mut self.sender)
    }

    /// Takes the two directions apart, for two tasks. The socket closes when both are gone.
    pub fn into_split(self) -> (DatagramReceiver<A>, DatagramSender<A>) {
        (self.receiver, self.sender)
    }

    /// This side's address, with the port that it got.
    ///
    /// # Errors
    /// What the network says.
    pub fn local_address(&self) -> Result<A, Error> {
        self.receiver.local_address()
    }
}

impl<A> Datagrams<A> {
    /// What the network knows it by.
    pub(crate) fn socket(&self) -> &dyn DatagramSocket {
        &*self.receiver.0.socket
    }
}

impl<A: AddressKind> DatagramReceiver<A> {
    /// The next datagram and its sender. What comes while the receive queue is full is dropped by the network.
    ///
    /// # Errors
    /// What became of earlier datagrams that were sent, as far as the network tells (nobody listens there); later calls may
    /// succeed.
    pub async fn recv_from(&mut self) -> Result<(Buffer, A), Error> {
        poll_fn(|cx| self.poll_recv_from(cx)).await
    }

    /// [`DatagramReceiver::recv_from`] for futures written by hand.
    ///
    /// # Errors
    /// As for [`DatagramReceiver::recv_from`].
    pub fn poll_recv_from(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Buffer, A), Error>> {
        let (bytes, from) = ready!(self.0.socket.poll_receive(cx))?;
        Poll::Ready(from.try_into().map(|from| (bytes, from)))
    }

    /// The socket's address; see [`Datagrams::local_address`].
    ///
    /// # Errors
    /// What the network says.
    pub fn local_address(&self) -> Result<A, Error> {
        self.0.socket.local_address()?.try_into()
    }
}

impl<A: AddressKind> DatagramSender<A> {
    /// Waits for room in the send queue and puts a datagram to the connected peer into it.
    ///
    /// # Errors
    /// What became of earlier datagrams, as far as the network tells.
    pub async fn send(&mut self, bytes: impl Into<Buffer>) -> Result<(), Error> {
        poll_fn(|cx| self.poll_writable(cx)).await?;
        self.enqueue(bytes, None);
        Ok(())
    }

    /// Waits for room in the send queue and puts a datagram into it.
    ///
    /// # Errors
    /// As for [`DatagramSender::send`].
    pub async fn send_to(&mut self, bytes: impl Into<Buffer>, to: A) -> Result<(), Error> {
        poll_fn(|cx| self.poll_writable(cx)).await?;
        self.enqueue(bytes, Some(to));
        Ok(())
    }

    /// Waits until the send queue is below its bound.
    ///
    /// # Errors
    /// As for [`DatagramSender::send`].
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.socket.poll_writable(cx)
    }

    /// Puts a datagram into the send queue without waiting; to the connected peer if no address is given.
    ///
    /// Who does not wait by [`DatagramSender::poll_writable`] before fills the queue without bound.
    pub fn enqueue(&mut self, bytes: impl Into<Buffer>, to: Option<A>) {
        let to: Option<Address> = to.map(Into::into);
        self.0.socket.enqueue(bytes.into(), to.as_ref());
    }

    /// Sends to `peer` from now on where no address is given; see [`Datagrams::connect`].
    ///
    /// # Errors
    /// What the network says.
    pub fn connect(&self, peer: A) -> Result<(), Error> {
        self.0.socket.connect(&peer.into())
    }

    /// The socket's address; see [`Datagrams::local_address`].
    ///
    /// # Errors
    /// What the network says.
    pub fn local_address(&self) -> Result<A, Error> {
        self.0.socket.local_address()?.try_into()
    }
}

impl<A> fmt::Debug for Datagrams<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.receiver.0.debug("Datagrams", f)
    }
}

impl<A> fmt::Debug for DatagramReceiver<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("DatagramReceiver", f)
    }
}

impl<A> fmt::Debug for DatagramSender<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("DatagramSender", f)
    }
}

impl<A> Half<A> {
    fn debug(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name).field("local", &self.socket.local_address()).finish()
    }
}
