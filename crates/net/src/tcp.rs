//! TCP.

use core::net::SocketAddr;
use core::ops::{Deref, DerefMut};
use core::task::{Context, Poll, ready};
use core::time::Duration;

use sunstar_packet::Buffer;

use crate::address::Address;
use crate::error::Error;
use crate::listener::{Listener, ListenerOptions};
use crate::socket::{ConnectOptions, Keepalive, StreamOption};
use crate::stream::{OwnedReadHalf, OwnedWriteHalf, Read, Stream, Write};

/// A TCP connection: a [`Stream`] with the options of TCP.
///
/// Reading, writing and the rest are those of [`Stream`], to which it derefs.
///
/// ```no_run
/// use std::time::Duration;
/// use sunstar_net::{Error, TcpStream};
///
/// async fn ask(server: std::net::SocketAddr) -> Result<(), Error> {
///     let mut stream = TcpStream::connect_timeout(server, Duration::from_secs(3)).await?;
///     stream.set_user_timeout(Some(Duration::from_secs(30)))?;
///     stream.write("PING\r\n").await?;
///     let answer = stream.read().await?;
///     assert_eq!(answer, b"PONG\r\n");
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct TcpStream(Stream);

impl TcpStream {
    /// Connects to an address. Dropping the future gives the connection up.
    ///
    /// # Errors
    /// As for [`Stream::connect`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn connect(address: SocketAddr) -> Result<Self, Error> {
        Stream::connect(address).await.map(Self)
    }

    /// As [`TcpStream::connect`], for at most `timeout`.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when the time is over; otherwise as for [`Stream::connect`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn connect_timeout(address: SocketAddr, timeout: Duration) -> Result<Self, Error> {
        Stream::connect_timeout(address, timeout).await.map(Self)
    }

    /// As [`TcpStream::connect`], with options.
    ///
    /// # Errors
    /// As for [`Stream::connect`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn connect_with(address: SocketAddr, options: &ConnectOptions) -> Result<Self, Error> {
        Stream::connect_with(address, options).await.map(Self)
    }

    /// Sets whether small segments are sent without waiting for acknowledgements (`TCP_NODELAY`). They are, for new streams.
    ///
    /// # Errors
    /// As for [`Stream::set_option`].
    pub fn set_nodelay(&self, is_on: bool) -> Result<(), Error> {
        self.set_option(StreamOption::NoDelay(is_on))
    }

    /// Sets whether and how a silent peer is probed.
    ///
    /// # Errors
    /// As for [`Stream::set_option`].
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> Result<(), Error> {
        self.set_option(StreamOption::Keepalive(keepalive))
    }

    /// Sets how long sent data may stay unacknowledged before the connection fails (RFC 5482); none means the system's.
    ///
    /// # Errors
    /// As for [`Stream::set_option`].
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> Result<(), Error> {
        self.set_option(StreamOption::UserTimeout(timeout))
    }

    /// This side's address.
    ///
    /// # Errors
    /// What the network says.
    pub fn local_address(&self) -> Result<SocketAddr, Error> {
        self.0.local_address().and_then(inet)
    }

    /// The other side's address.
    ///
    /// # Errors
    /// What the network says.
    pub fn peer_address(&self) -> Result<SocketAddr, Error> {
        self.0.peer_address().and_then(inet)
    }

    /// Takes the two directions apart, for two tasks. The stream closes when both are gone.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.0.into_split()
    }
}

/// Listens for TCP connections: a [`Listener`] at an IP address.
///
/// ```no_run
/// use sunstar_executor::{invoke_on_all, spawn};
/// use sunstar_net::{ListenerOptions, TcpListener};
///
/// # async fn start() -> Result<(), sunstar_executor::SubmitError> {
/// // Each shard gets its share of the connections.
/// invoke_on_all(|| async {
///     let address = "127.0.0.1:7".parse().expect("an address");
///     let mut listener = TcpListener::bind(address, ListenerOptions::default()).await.expect("the address is free");
///     spawn(async move {
///         while let Ok(mut stream) = listener.accept().await {
///             spawn(async move {
///                 while let Ok(bytes) = stream.read().await && !bytes.is_empty() {
///                     if stream.write(bytes).await.is_err() {
///                         return;
///                     }
///                 }
///             });
///         }
///     });
/// }).await
/// # }
/// ```
#[derive(Debug)]
pub struct TcpListener(Listener);

impl TcpListener {
    /// Listens at an address, on this shard and on all others that bind it; see [`Listener::bind`].
    ///
    /// # Errors
    /// As for [`Listener::bind`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn bind(address: SocketAddr, options: ListenerOptions) -> Result<Self, Error> {
        Listener::bind(address, options).await.map(Self)
    }

    /// The next connection; see [`Listener::accept`].
    ///
    /// # Errors
    /// As for [`Listener::accept`].
    pub async fn accept(&mut self) -> Result<TcpStream, Error> {
        self.0.accept().await.map(TcpStream)
    }

    /// [`TcpListener::accept`] for futures written by hand.
    ///
    /// # Errors
    /// As for [`Listener::accept`].
    pub fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<TcpStream, Error>> {
        Poll::Ready(ready!(self.0.poll_accept(cx)).map(TcpStream))
    }

    /// The address that it listens at, with the port that it got.
    ///
    /// # Panics
    /// If the network gave it another kind of address.
    pub fn local_address(&self) -> SocketAddr {
        self.0.local_address().inet().expect("what listens at an IP address has one")
    }
}

/// An address of TCP or UDP.
pub(crate) fn inet(address: Address) -> Result<SocketAddr, Error> {
    address.inet().ok_or(Error::Unsupported)
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        stream.0
    }
}

impl TryFrom<Stream> for TcpStream {
    type Error = Stream;

    /// Gives a stream that is none of TCP back.
    fn try_from(stream: Stream) -> Result<Self, Stream> {
        if stream.local_address().is_ok_and(|address| address.inet().is_some()) {
            Ok(Self(stream))
        } else {
            Err(stream)
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        listener.0
    }
}

impl Deref for TcpStream {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.0
    }
}

impl DerefMut for TcpStream {
    fn deref_mut(&mut self) -> &mut Stream {
        &mut self.0
    }
}

impl Deref for TcpListener {
    type Target = Listener;

    fn deref(&self) -> &Listener {
        &self.0
    }
}

impl Read for TcpStream {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Error>> {
        self.0.poll_read(cx)
    }
}

impl Write for TcpStream {
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
