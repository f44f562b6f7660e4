//! What goes wrong with sockets.

use thiserror::Error as ThisError;

/// Why an operation on a socket failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// Nobody listens at the address.
    #[error("the connection was refused")]
    ConnectionRefused,
    /// The peer ended the connection with a reset, or vanished.
    #[error("the connection was reset by the peer")]
    ConnectionReset,
    /// The connection was ended on this side.
    #[error("the connection was aborted")]
    ConnectionAborted,
    /// The way out of the connection is closed.
    #[error("the connection no longer takes data")]
    BrokenPipe,
    /// The socket is not connected.
    #[error("the socket is not connected")]
    NotConnected,
    /// The time for the operation has passed.
    #[error("timed out")]
    TimedOut,
    /// Another socket has the address.
    #[error("the address is in use")]
    AddressInUse,
    /// The address is not one of this host.
    #[error("the address is not available on this host")]
    AddressNotAvailable,
    /// There is nothing at the address; for Unix sockets.
    #[error("there is no such address")]
    NotFound,
    /// There is no such host, or nothing is known of its addresses.
    #[error("there is no such host")]
    UnknownHost,
    /// The servers that know names of hosts can't be asked, or do not answer.
    #[error("no name server has answered")]
    NameServers,
    /// The process may not do this.
    #[error("permission denied")]
    PermissionDenied,
    /// The host can't be reached.
    #[error("the host is unreachable")]
    HostUnreachable,
    /// The network can't be reached.
    #[error("the network is unreachable")]
    NetworkUnreachable,
    /// The datagram is larger than the socket or the path takes.
    #[error("the message is too long")]
    MessageTooLong,
    /// The process or the system has no descriptor left.
    #[error("no descriptor is left")]
    OutOfDescriptors,
    /// There is not enough memory or another bounded resource.
    #[error("out of memory or buffers")]
    OutOfMemory,
    /// The network does not have this kind of socket, address or option.
    #[error("not supported by this network")]
    Unsupported,
    /// A value is out of the range that the operation takes.
    #[error("invalid argument")]
    InvalidInput,
    /// The stream ended before all that was asked for.
    #[error("the stream ended too early")]
    UnexpectedEnd,
    /// What was asked for is longer than the limit that was given.
    #[error("longer than the limit")]
    LimitExceeded,
    /// The listener or the shard has stopped.
    #[error("stopped")]
    Stopped,
    /// Another error, by its number on this system.
    #[error("system error {0}")]
    Os(i32),
}
