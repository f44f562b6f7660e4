//! What goes wrong with requests.

use sunstar_http1::{BodyError, RequestError};
use thiserror::Error as ThisError;

use super::uri::UriError;

/// What took too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Phase {
    /// Waiting for a connection, as all that there may be are in use.
    Wait,
    /// Making a connection.
    Connect,
    /// Sending the request: the network did not take its next part.
    Send,
    /// Waiting for the response's head.
    Head,
    /// Waiting for the next part of the response's body.
    Body,
    /// Waiting for the rest of the response's body, which comes too slowly.
    BodyRate,
}

/// Why there is no response, or no more of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ThisError)]
#[non_exhaustive]
pub enum ClientError {
    /// The URI is none.
    #[error("{0}")]
    Uri(#[from] UriError),
    /// The connector does not speak what the URI's scheme says. The one of this crate knows `http` only.
    #[error("the scheme of the URI is not spoken by the client's connector: https needs one with TLS")]
    Scheme,
    /// The connector does not know the host. The one of this crate knows addresses and `localhost` only.
    #[error(
        "the host is unknown to the client's connector, which knows addresses and localhost unless it is another one"
    )]
    UnknownHost,
    /// The method is no token, or `CONNECT`, which asks for a tunnel.
    #[error("the method is malformed or not for clients")]
    Method,
    /// A field's name is none or one that the client writes itself, or its value has control characters.
    #[error("a header field is malformed, or one that the client writes itself")]
    Header,
    /// As many requests as may wait for a connection to the host.
    #[error("too many requests wait for a connection to the host")]
    Busy,
    /// Something took too long.
    #[error("timed out: {0:?}")]
    TimedOut(Phase),
    /// The connection could not be made.
    #[error("no connection: {0}")]
    Connect(sunstar_net::Error),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Net(sunstar_net::Error),
    /// The server closed the connection without a response.
    #[error("the server closed the connection without a response")]
    Closed,
    /// The server's bytes are refused; [`Truncated`](sunstar_http1::Error::Truncated) if the response breaks off.
    #[error("the response is refused: {0}")]
    Refused(sunstar_http1::Error),
    /// The request's body has another length than was said.
    #[error("{0}")]
    Body(BodyError),
    /// The server has answered before the end of the request's body, and wants no more of it: [`Upload::finish`](super::Upload::finish)
    /// has the response.
    #[error("the server has answered before the request's end")]
    Answered,
    /// The response's body is longer than was allowed.
    #[error("the response's body is longer than the limit")]
    TooLarge,
    /// A request could not be written.
    #[error("{0}")]
    Request(RequestError),
}

impl ClientError {
    /// Whether the connection failed, rather than the request.
    pub(super) const fn is_of_connection(self) -> bool {
        matches!(self, Self::Connect(_) | Self::Net(_) | Self::Closed | Self::TimedOut(Phase::Connect))
    }
}
