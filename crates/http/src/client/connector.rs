//! How connections are made.

use alloc::boxed::Box;
use core::future::Future;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::pin::Pin;

use sunstar_net::{Error, Resolver, Stream};

use super::error::ClientError;
use super::uri::{Authority, Scheme};

/// A connection in the making.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Stream, ClientError>>>>;

/// Makes the connections of a client: finds hosts by their names, goes through proxies, speaks TLS. Any
/// [`StreamSocket`](sunstar_net::socket::StreamSocket) will do.
///
/// A closure is one that speaks `http`:
///
/// ```no_run
/// use sunstar_http::client::{Authority, Client, ClientError, ClientOptions};
/// use sunstar_net::Stream;
///
/// async fn connect(authority: Authority) -> Result<Stream, ClientError> {
///     let ip: std::net::IpAddr = match authority.host() {
///         "backend" => [10, 0, 0, 7].into(),
///         _ => return Err(ClientError::UnknownHost),
///     };
///     Stream::connect(std::net::SocketAddr::new(ip, authority.port())).await.map_err(ClientError::Connect)
/// }
///
/// let client = Client::with_connector(ClientOptions::default(), connect);
/// ```
pub trait Connector: 'static {
    /// Whether it makes connections for a scheme. For others requests fail with [`ClientError::Scheme`].
    fn speaks(&self, scheme: Scheme) -> bool {
        scheme == Scheme::Http
    }

    /// Begins a connection. [`ClientError::Connect`] says that it may be tried again. Dropping the future gives it up.
    fn connect(&self, authority: &Authority) -> Connecting;
}

impl<F, Fut> Connector for F
where
    F: Fn(Authority) -> Fut + 'static,
    Fut: Future<Output = Result<Stream, ClientError>> + 'static,
{
    fn connect(&self, authority: &Authority) -> Connecting {
        Box::pin(self(authority.clone()))
    }
}

/// The connector of clients that have no other: addresses, and `localhost` (RFC 6761 §6.3), by the shard's network, and other names by
/// the shard's [`Resolver`], if it has one.
#[derive(Clone, Copy, Default, Debug)]
pub struct Direct;

impl Connector for Direct {
    fn connect(&self, authority: &Authority) -> Connecting {
        let (ip, port) = (authority.ip(), authority.port());
        let host = Box::<str>::from(authority.host());
        Box::pin(async move {
            let to = async |ip: IpAddr| Stream::connect(SocketAddr::new(ip, port)).await.map_err(ClientError::Connect);
            match ip {
                Some(ip) => to(ip).await,
                None if matches!(&*host, "localhost" | "localhost.") => match to(Ipv4Addr::LOCALHOST.into()).await {
                    Err(ClientError::Connect(Error::ConnectionRefused)) => to(Ipv6Addr::LOCALHOST.into()).await,
                    made => made,
                },
                None => by_name(&host, port).await,
            }
        })
    }
}

async fn by_name(host: &str, port: u16) -> Result<Stream, ClientError> {
    let resolver = Resolver::current().ok_or(ClientError::UnknownHost)?;
    resolver.connect(host, port).await.map_err(|error| match error {
        Error::UnknownHost | Error::InvalidInput => ClientError::UnknownHost,
        error => ClientError::Connect(error),
    })
}
