//! Unix sockets: between processes of one host.

use core::ops::{Deref, DerefMut};
use core::task::{Context, Poll, ready};

use sunstar_packet::Buffer;

use crate::address::{Address, UnixAddress};
use crate::datagram::Datagrams;
use crate::error::Error;
use crate::listener::{Listener, ListenerOptions};
use crate::socket::DatagramOptions;
use crate::stream::{OwnedReadHalf, OwnedWriteHalf, Read, Stream, Write};

/// A Unix stream: a [`Stream`] between processes of one host.
///
/// Reading, writing and the rest are those of [`Stream`], to which it derefs.
#[derive(Debug)]
pub struct UnixStream(Stream);

impl UnixStream {
    /// Connects to an address. Dropping the future gives the connection up.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is nothing at the path; otherwise as for [`Stream::connect`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn connect(address: UnixAddress) -> Result<Self, Error> {
        Stream::connect(address).await.map(Self)
    }

    /// Takes the two directions apart, for two tasks. The stream closes when both are gone.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.0.into_split()
    }
}

/// Listens for Unix streams: a [`Listener`] at a Unix address.
#[derive(Debug)]
pub struct UnixListener(Listener);

impl UnixListener {
    /// Listens at an address, on this shard and on all others that bind it; see [`Listener::bind`].
    ///
    /// # Errors
    /// As for [`Listener::bind`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn bind(address: UnixAddress, options: ListenerOptions) -> Result<Self, Error> {
        Listener::bind(address, options).await.map(Self)
    }

    /// The next connection; see [`Listener::accept`].
    ///
    /// # Errors
    /// As for [`Listener::accept`].
    pub async fn accept(&mut self) -> Result<UnixStream, Error> {
        self.0.accept().await.map(UnixStream)
    }

    /// [`UnixListener::accept`] for futures written by hand.
    ///
    /// # Errors
    /// As for [`Listener::accept`].
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<UnixStream, Error>> {
        Poll::Ready(ready!(self.0.poll_accept(cx)).map(UnixStream))
    }
}

/// A Unix datagram socket.
///
/// All waits are safe to drop: a datagram was sent wholly or not at all, and one that has come stays for the next receive.
#[derive(Debug)]
pub struct UnixDatagram(Datagrams);

impl UnixDatagram {
    /// Makes a socket at an address.
    ///
    /// # Errors
    /// If the address can't be had; [`Error::Unsupported`] if the shard has no network, or one without Unix sockets.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn bind(address: UnixAddress) -> Result<Self, Error> {
        Datagrams::bind(address.into(), &DatagramOptions::default()).map(Self)
    }

    /// Makes a socket without an address: it can send, but nobody can answer.
    ///
    /// # Errors
    /// As for [`UnixDatagram::bind`].
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn unbound() -> Result<Self, Error> {
        Self::bind(UnixAddress::Unnamed)
    }

    /// Sends to `peer` from now on where no address is given, and receives only from there.
    ///
    /// # Errors
    /// What the network says.
    pub fn connect(&self, peer: UnixAddress) -> Result<(), Error> {
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
    /// As for [`UnixDatagram::send`].
    pub async fn send_to(&mut self, bytes: impl Into<Buffer>, to: UnixAddress) -> Result<(), Error> {
        self.0.send(bytes.into(), Some(&to.into())).await
    }

    /// The next datagram and its sender.
    ///
    /// # Errors
    /// What became of earlier datagrams that were sent, as far as the network tells; later calls may succeed.
    pub async fn recv_from(&mut self) -> Result<(Buffer, UnixAddress), Error> {
        let (bytes, from) = self.0.receive().await?;
        Ok((bytes, unix(from)?))
    }

    /// This side's address.
    ///
    /// # Errors
    /// What the network says.
    pub fn local_address(&self) -> Result<UnixAddress, Error> {
        self.0.local_address().and_then(unix)
    }
}

fn unix(address: Address) -> Result<UnixAddress, Error> {
    match address {
        Address::Unix(address) => Ok(address),
        Address::Inet(_) => Err(Error::Unsupported),
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        stream.0
    }
}

impl TryFrom<Stream> for UnixStream {
    type Error = Stream;

    /// Gives a stream that is none of Unix back.
    fn try_from(stream: Stream) -> Result<Self, Stream> {
        if matches!(stream.local_address(), Ok(Address::Unix(_))) { Ok(Self(stream)) } else { Err(stream) }
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        listener.0
    }
}

impl Deref for UnixStream {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.0
    }
}

impl DerefMut for UnixStream {
    fn deref_mut(&mut self) -> &mut Stream {
        &mut self.0
    }
}

impl Deref for UnixListener {
    type Target = Listener;

    fn deref(&self) -> &Listener {
        &self.0
    }
}

impl Read for UnixStream {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        self.0.poll_read(cx)
    }
}

impl Write for UnixStream {
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_writable(cx)
    }

    fn enqueue(&mut self, bytes: Buffer) {
        self.0.enqueue(bytes);
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_flush(cx)
    }

    fn shutdown(&mut self) {
        self.0.shutdown();
    }
}
