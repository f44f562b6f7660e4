//! The kernel's errors in the words of the contract.

use std::io;

use rustix::io::Errno;
use sunstar_net::Error;

/// What an error of a system call means for a socket.
pub(crate) fn from_errno(errno: Errno) -> Error {
    match errno {
        Errno::CONNREFUSED => Error::ConnectionRefused,
        Errno::CONNRESET => Error::ConnectionReset,
        Errno::CONNABORTED => Error::ConnectionAborted,
        Errno::PIPE | Errno::SHUTDOWN => Error::BrokenPipe,
        Errno::NOTCONN | Errno::DESTADDRREQ => Error::NotConnected,
        Errno::TIMEDOUT => Error::TimedOut,
        Errno::ADDRINUSE => Error::AddressInUse,
        Errno::ADDRNOTAVAIL | Errno::NODEV => Error::AddressNotAvailable,
        Errno::NOENT | Errno::NOTDIR => Error::NotFound,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Error::PermissionDenied,
        Errno::HOSTUNREACH | Errno::HOSTDOWN => Error::HostUnreachable,
        Errno::NETUNREACH | Errno::NETDOWN => Error::NetworkUnreachable,
        Errno::MSGSIZE => Error::MessageTooLong,
        Errno::MFILE | Errno::NFILE => Error::OutOfDescriptors,
        Errno::NOMEM | Errno::NOBUFS => Error::OutOfMemory,
        Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::NOPROTOOPT | Errno::PROTOTYPE => {
            Error::Unsupported
        }
        Errno::INVAL | Errno::NAMETOOLONG => Error::InvalidInput,
        other => Error::Os(other.raw_os_error()),
    }
}

/// As [`from_errno`], for errors in the form of the standard library.
pub(crate) fn from_io(error: io::Error) -> Error {
    match Errno::from_io_error(&error) {
        Some(errno) => from_errno(errno),
        None if error.kind() == io::ErrorKind::Unsupported => Error::Unsupported,
        None => Error::InvalidInput,
    }
}
