//! UDP.

use core::net::SocketAddr;

use crate::datagram::Datagrams;

/// A UDP socket. Port 0 gets a free port.
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
pub type UdpSocket = Datagrams<SocketAddr>;
