//! TCP.

use core::net::SocketAddr;
use core::time::Duration;

use sunstar_executor::combine::with_timeout;

use crate::error::Error;
use crate::names::{CONNECT_TIME, Resolver};
use crate::socket::{Keepalive, StreamOption};
use crate::typed::{TypedListener, TypedStream};

/// A TCP connection: a [`Stream`](crate::Stream) with the options of TCP.
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
pub type TcpStream = TypedStream<SocketAddr>;

impl TcpStream {
    /// Connects to a host by its name, or by an address in text, as the current shard's [`Resolver`] does it
    /// ([`Resolver::connect`]). Dropping the future gives the connection up.
    ///
    /// # Errors
    /// [`Error::NameServers`] also if no resolver was installed; otherwise as for [`Resolver::connect`].
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn connect_host(name: &str, port: u16) -> Result<Self, Error> {
        if let Ok(ip) = name.parse() {
            let connecting = Self::connect(SocketAddr::new(ip, port));
            return with_timeout(CONNECT_TIME, connecting).await.unwrap_or(Err(Error::TimedOut));
        }
        let resolver = Resolver::current().ok_or(Error::NameServers)?;
        resolver.connect(name, port).await.map(Self::of)
    }

    /// Sets whether small segments are sent without waiting for acknowledgements (`TCP_NODELAY`). They are, for new streams.
    ///
    /// # Errors
    /// As for [`Stream::set_option`](crate::Stream::set_option).
    pub fn set_nodelay(&self, is_on: bool) -> Result<(), Error> {
        self.set_option(StreamOption::NoDelay(is_on))
    }

    /// Sets whether and how a silent peer is probed.
    ///
    /// # Errors
    /// As for [`Stream::set_option`](crate::Stream::set_option).
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> Result<(), Error> {
        self.set_option(StreamOption::Keepalive(keepalive))
    }

    /// Sets how long sent data may stay unacknowledged before the connection fails (RFC 5482); none means the system's.
    ///
    /// # Errors
    /// As for [`Stream::set_option`](crate::Stream::set_option).
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> Result<(), Error> {
        self.set_option(StreamOption::UserTimeout(timeout))
    }
}

/// Listens for TCP connections: a [`Listener`](crate::Listener) at an IP address.
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
pub type TcpListener = TypedListener<SocketAddr>;
