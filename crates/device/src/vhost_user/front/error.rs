//! Why there is no front end.

use std::io;
use std::path::PathBuf;

use crate::vhost_user::channel::ChannelError;
use crate::vhost_user::message::MessageError;
use crate::vhost_user::options::VhostUserOptionError;
use crate::vhost_user::socket::SocketError;

/// Why a front end can't be had.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The socket can't be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// There is no such device.
    #[error(transparent)]
    Options(#[from] VhostUserOptionError),
    /// There is no socket.
    #[error(
        "there is no socket {path:?}: the back end must be started first, or connect to this side, which makes the socket then \
         (vhost-user:PATH,server)"
    )]
    NoSocket {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is something, at which nobody listens.
    #[error("nobody listens at {path:?}: it is left over from a process that has ended, or is no socket")]
    Stale {
        /// Where it is.
        path: PathBuf,
    },
    /// The session with the back end does not come about.
    #[error("the back end at {path:?}: {error}")]
    Session {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        error: SessionError,
    },
}

/// Why a back end and a front end don't come together.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The back end lacks what is needed.
    #[error("it lacks {feature}, which is needed")]
    Lacks {
        /// The first of those features.
        feature: &'static str,
    },
    /// The back end has fewer queues.
    #[error("it has {offered} pairs of queues, fewer than the {wanted} that are wanted")]
    Queues {
        /// How many it has.
        offered: u64,
        /// How many are wanted.
        wanted: usize,
    },
    /// The back end does not answer.
    #[error("it does not answer {request}")]
    NoAnswer {
        /// The request's name in the protocol.
        request: &'static str,
    },
    /// The back end has another MTU.
    #[error("it refuses an MTU of {mtu_bytes} bytes: both sides need the same")]
    Mtu {
        /// The MTU of this side.
        mtu_bytes: usize,
    },
    /// The back end refuses something.
    #[error("it refuses {request}, with {code}")]
    Refused {
        /// The request's name in the protocol.
        request: &'static str,
        /// What it says.
        code: u64,
    },
    /// The back end has closed the connection.
    #[error("it has closed the connection")]
    Closed,
    /// What comes from it is not of this protocol.
    #[error("what it says is not of the vhost-user protocol: {0}")]
    Protocol(String),
    /// The memory that is shared has no room for the rings.
    #[error("there is no room for rings in {bytes} bytes of shared memory")]
    NoRoom {
        /// How large it is.
        bytes: usize,
    },
    /// Something else.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl From<ChannelError> for SessionError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Closed | ChannelError::Cut => Self::Closed,
            ChannelError::System(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                Self::Closed
            }
            error => Self::Protocol(error.to_string()),
        }
    }
}

impl From<MessageError> for SessionError {
    fn from(error: MessageError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<rustix::io::Errno> for SessionError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::System(error.into())
    }
}
