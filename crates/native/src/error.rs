//! What goes wrong in the stack, in the words of the contract, and as the kernel would put it.

use sunstar_net::Error;
use sunstar_tcpip::path::PathError;
use sunstar_tcpip::stack::ConfigError;
use sunstar_tcpip::tcp::connection::Failure;
use sunstar_tcpip::tcp::sockets::OpenError;
use sunstar_tcpip::udp::UdpSendError;

/// Why a connection is over.
pub(crate) const fn of_failure(failure: Failure) -> Error {
    match failure {
        Failure::Refused => Error::ConnectionRefused,
        Failure::Reset => Error::ConnectionReset,
        Failure::TimedOut => Error::TimedOut,
        Failure::Unreachable => Error::HostUnreachable,
    }
}

/// Why a socket can't be had.
pub(crate) const fn of_open(error: OpenError) -> Error {
    match error {
        OpenError::InUse => Error::AddressInUse,
        OpenError::NoPort | OpenError::NotOurs => Error::AddressNotAvailable,
        OpenError::Full => Error::OutOfMemory,
        OpenError::Mixed => Error::Unsupported,
        OpenError::NoRoute => Error::NetworkUnreachable,
        OpenError::NoScope => Error::InvalidInput,
    }
}

/// Why an interface or a group can't be had.
pub(crate) const fn of_config(error: ConfigError) -> Error {
    match error {
        ConfigError::NoInterface => Error::AddressNotAvailable,
        ConfigError::Address => Error::InvalidInput,
        ConfigError::Full => Error::OutOfMemory,
    }
}

/// What was heard of a datagram.
pub(crate) const fn of_path(error: PathError) -> Error {
    match error {
        PathError::Net => Error::NetworkUnreachable,
        PathError::Port => Error::ConnectionRefused,
        PathError::TooBig { .. } => Error::MessageTooLong,
        PathError::Protocol => Error::Unsupported,
        PathError::Host | PathError::Prohibited | PathError::TimeExceeded | PathError::ParameterProblem => {
            Error::HostUnreachable
        }
    }
}

/// Why a datagram was not sent.
pub(crate) const fn of_send(error: UdpSendError) -> Error {
    match error {
        UdpSendError::Closed | UdpSendError::NoDestination => Error::NotConnected,
        UdpSendError::NoRoute => Error::NetworkUnreachable,
        UdpSendError::NoScope => Error::InvalidInput,
        UdpSendError::TooLong => Error::MessageTooLong,
        UdpSendError::Broadcast => Error::PermissionDenied,
        UdpSendError::Full => Error::OutOfMemory,
    }
}
