//! Unix sockets: between processes of one host.

use crate::address::UnixAddress;
use crate::datagram::Datagrams;
use crate::error::Error;
use crate::socket::DatagramOptions;
use crate::typed::{TypedListener, TypedStream};

/// A Unix stream: a [`Stream`](crate::Stream) between processes of one host.
pub type UnixStream = TypedStream<UnixAddress>;

/// Listens for Unix streams: a [`Listener`](crate::Listener) at a Unix address.
pub type UnixListener = TypedListener<UnixAddress>;

/// A Unix datagram socket.
pub type UnixDatagram = Datagrams<UnixAddress>;

impl UnixDatagram {
    /// Makes a socket without an address: it can send, but nobody can answer.
    ///
    /// # Errors
    /// As for [`Datagrams::bind`].
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn unbound() -> Result<Self, Error> {
        Self::bind_with(UnixAddress::Unnamed, &DatagramOptions::default())
    }
}
