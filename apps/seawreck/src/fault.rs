//! What goes wrong with a connection or a request, by kind.

use sunstar::net;

/// Why a connection could not be made, or a request got no good answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody listens there.
    Refused,
    /// The host or the network can't be reached.
    Unreachable,
    /// There was no connection, or no answer, in time.
    TimedOut,
    /// The server ended the connection with a reset.
    Reset,
    /// The server ended the connection before the answer was complete.
    ClosedEarly,
    /// What came is no answer.
    BadAnswer,
    /// The answer has a status that was not expected.
    WrongStatus,
    /// The answer has other bytes than were expected.
    WrongBytes,
    /// This process has no descriptor left.
    NoDescriptor,
    /// This host has no port or address left to connect from.
    NoPort,
    /// Something else, which the log names once.
    Other,
}

/// How many kinds there are.
pub(crate) const KINDS: usize = Fault::ALL.len();

impl Fault {
    pub(crate) const ALL: [Self; 11] = [
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::Reset,
        Self::ClosedEarly,
        Self::BadAnswer,
        Self::WrongStatus,
        Self::WrongBytes,
        Self::NoDescriptor,
        Self::NoPort,
        Self::Other,
    ];

    /// In words, for people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed out",
            Self::Reset => "reset by the server",
            Self::ClosedEarly => "closed before the answer was complete",
            Self::BadAnswer => "malformed answer",
            Self::WrongStatus => "unexpected status",
            Self::WrongBytes => "unexpected bytes",
            Self::NoDescriptor => "no descriptor left",
            Self::NoPort => "no local port left",
            Self::Other => "other",
        }
    }

    /// As a name in files.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Reset => "reset",
            Self::ClosedEarly => "closed_early",
            Self::BadAnswer => "bad_answer",
            Self::WrongStatus => "wrong_status",
            Self::WrongBytes => "wrong_bytes",
            Self::NoDescriptor => "no_descriptor",
            Self::NoPort => "no_port",
            Self::Other => "other",
        }
    }
}

impl From<net::Error> for Fault {
    fn from(error: net::Error) -> Self {
        use net::Error;
        match error {
            Error::ConnectionRefused => Self::Refused,
            Error::HostUnreachable | Error::NetworkUnreachable => Self::Unreachable,
            Error::TimedOut => Self::TimedOut,
            Error::ConnectionReset | Error::ConnectionAborted | Error::BrokenPipe => Self::Reset,
            Error::UnexpectedEnd => Self::ClosedEarly,
            Error::OutOfDescriptors => Self::NoDescriptor,
            Error::AddressNotAvailable | Error::AddressInUse => Self::NoPort,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_place_and_its_names() {
        for (place, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, place);
            let same = |other: &&Fault| other.key() == fault.key() || other.words() == fault.words();
            assert_eq!(Fault::ALL.iter().filter(same).count(), 1);
        }
    }
}
