//! Sockets whose addresses are of one kind: thin forms of those for any kind.

use core::fmt;
use core::marker::PhantomData;
use core::net::SocketAddr;
use core::ops::{Deref, DerefMut};
use core::task::{Context, Poll, ready};
use core::time::Duration;

use crate::address::{Address, UnixAddress};
use crate::error::Error;
use crate::listener::{Listener, ListenerOptions};
use crate::socket::ConnectOptions;
use crate::stream::{OwnedReadHalf, OwnedWriteHalf, Stream};

/// A kind of address: [`SocketAddr`] or [`UnixAddress`].
pub trait AddressKind: Into<Address> + TryFrom<Address, Error = Error> + fmt::Debug + 'static {}

impl AddressKind for SocketAddr {}
impl AddressKind for UnixAddress {}

/// A [`Stream`] between addresses of one kind: [`TcpStream`](crate::TcpStream), [`UnixStream`](crate::UnixStream).
///
/// Reading, writing and the rest are those of [`Stream`], to which it derefs.
pub struct TypedStream<A> {
    stream: Stream,
    kind: PhantomData<A>,
}

impl<A: AddressKind> TypedStream<A> {
    /// Connects to an address. Dropping the future gives the connection up.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is nothing at a Unix socket's path; otherwise as for [`Stream::connect`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn connect(address: A) -> Result<Self, Error> {
        Stream::connect(address).await.map(Self::of)
    }

    /// As [`TypedStream::connect`], for at most `timeout`.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when the time is over; otherwise as for [`TypedStream::connect`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn connect_timeout(address: A, timeout: Duration) -> Result<Self, Error> {
        Stream::connect_timeout(address, timeout).await.map(Self::of)
    }

    /// As [`TypedStream::connect`], with options.
    ///
    /// # Errors
    /// As for [`TypedStream::connect`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn connect_with(address: A, options: &ConnectOptions) -> Result<Self, Error> {
        Stream::connect_with(address, options).await.map(Self::of)
    }

    /// This side's address.
    ///
    /// # Errors
    /// What the network says.
    pub fn local_address(&self) -> Result<A, Error> {
        self.stream.local_address()?.try_into()
    }

    /// The other side's address.
    ///
    /// # Errors
    /// What the network says.
    pub fn peer_address(&self) -> Result<A, Error> {
        self.stream.peer_address()?.try_into()
    }

    /// Takes the two directions apart, for two tasks. The stream closes when both are gone.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.stream.into_split()
    }

    pub(crate) fn of(stream: Stream) -> Self {
        Self { stream, kind: PhantomData }
    }
}

impl<A> From<TypedStream<A>> for Stream {
    fn from(stream: TypedStream<A>) -> Self {
        stream.stream
    }
}

impl<A: AddressKind> TryFrom<Stream> for TypedStream<A> {
    type Error = Stream;

    /// Gives a stream whose addresses are of another kind back.
    fn try_from(stream: Stream) -> Result<Self, Stream> {
        if stream.local_address().and_then(A::try_from).is_ok() { Ok(Self::of(stream)) } else { Err(stream) }
    }
}

impl<A> Deref for TypedStream<A> {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.stream
    }
}

impl<A> DerefMut for TypedStream<A> {
    fn deref_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

impl<A> fmt::Debug for TypedStream<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

/// A [`Listener`] at an address of one kind: [`TcpListener`](crate::TcpListener), [`UnixListener`](crate::UnixListener).
///
/// What it does not have itself is in [`Listener`], to which it derefs.
pub struct TypedListener<A> {
    listener: Listener,
    kind: PhantomData<A>,
}

impl<A: AddressKind> TypedListener<A> {
    /// Listens at an address, on this shard and on all others that bind it; see [`Listener::bind`].
    ///
    /// # Errors
    /// As for [`Listener::bind`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn bind(address: A, options: ListenerOptions) -> Result<Self, Error> {
        let listener = Listener::bind(address, options).await?;
        Ok(Self { listener, kind: PhantomData })
    }

    /// The next connection; see [`Listener::accept`].
    ///
    /// # Errors
    /// As for [`Listener::accept`].
    pub async fn accept(&mut self) -> Result<TypedStream<A>, Error> {
        self.listener.accept().await.map(TypedStream::of)
    }

    /// [`TypedListener::accept`] for futures written by hand.
    ///
    /// # Errors
    /// As for [`Listener::accept`].
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<TypedStream<A>, Error>> {
        Poll::Ready(ready!(self.listener.poll_accept(cx)).map(TypedStream::of))
    }

    /// The address that it listens at, with the port that it got.
    ///
    /// # Panics
    /// If the network gave it another kind of address.
    pub fn local_address(&self) -> A {
        let address = self.listener.local_address().clone();
        address.try_into().expect("what listens at an address of one kind has none of another")
    }
}

impl<A> From<TypedListener<A>> for Listener {
    fn from(listener: TypedListener<A>) -> Self {
        listener.listener
    }
}

impl<A> Deref for TypedListener<A> {
    type Target = Listener;

    fn deref(&self) -> &Listener {
        &self.listener
    }
}

impl<A> fmt::Debug for TypedListener<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.listener.fmt(f)
    }
}
