//! UDP.

use core::net::{IpAddr, SocketAddr};

use crate::datagram::Datagrams;
use crate::error::Error;

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

impl UdpSocket {
    /// Receives from now on what is sent to a multicast group and the socket's port, if the socket is bound to all addresses or to the
    /// group: by the interface with the number `scope_id`, as [`SocketAddrV6`](core::net::SocketAddrV6) has it, or by the one that the
    /// network chooses if that is zero. It ends with the socket.
    ///
    /// # Errors
    /// [`Error::AddressInUse`] if the socket has joined it there; [`Error::InvalidInput`] if it is no group; [`Error::Unsupported`] if the
    /// network knows none; what else the network says.
    pub fn join_group(&self, group: IpAddr, scope_id: u32) -> Result<(), Error> {
        self.socket().join_group(group, scope_id)
    }

    /// The opposite, with the same interface.
    ///
    /// # Errors
    /// [`Error::AddressNotAvailable`] if the socket has not joined it there; as for [`UdpSocket::join_group`].
    pub fn leave_group(&self, group: IpAddr, scope_id: u32) -> Result<(), Error> {
        self.socket().leave_group(group, scope_id)
    }
}
