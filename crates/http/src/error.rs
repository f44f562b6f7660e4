//! What ends a connection.

use sunstar_http1::{BadValue, BodyError, RespondError};
use thiserror::Error as ThisError;

use crate::router::ParamError;

/// Why a request could not be served. The connection ends with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// The client's connection failed.
    #[error(transparent)]
    Net(sunstar_net::Error),
    /// A connection of the handler's own failed, such as one to another server.
    #[error("a connection behind the server failed: {0}")]
    Upstream(#[from] sunstar_net::Error),
    /// The handler failed, for the reason given.
    #[error("the handler failed: {0}")]
    Handler(&'static str),
    /// The client's bytes are refused.
    #[error("refused: {0}")]
    Refused(sunstar_http1::Error),
    /// The client took too long to send a request, or to take a response.
    #[error("the client took too long")]
    TimedOut,
    /// The response is complete and the connection ends with it, so the rest of the body is not received.
    #[error("no more of the body is received after the last response")]
    Answered,
    /// A response is out of turn.
    #[error("{0}")]
    Respond(RespondError),
    /// A field's value is none.
    #[error("{0}")]
    BadValue(BadValue),
    /// A file could not be read.
    #[error("a file: {0}")]
    Storage(#[from] sunstar_storage::Error),
    /// A body could not be compressed, for want of memory.
    #[error("the encoder failed")]
    Encoder,
    /// A parameter of the path has no value that suits the handler; answered by 400.
    #[error("{0}")]
    Parameter(ParamError),
    /// A body has another length than was said.
    #[error("{0}")]
    Body(BodyError),
}

/// What a handler comes to.
pub(crate) type Handled = Result<(), Error>;

impl From<RespondError> for Error {
    fn from(error: RespondError) -> Self {
        Self::Respond(error)
    }
}

impl From<BadValue> for Error {
    fn from(error: BadValue) -> Self {
        Self::BadValue(error)
    }
}

impl From<ParamError> for Error {
    fn from(error: ParamError) -> Self {
        Self::Parameter(error)
    }
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}
