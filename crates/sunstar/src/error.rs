//! Why an application ends.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use sunstar_reactor::RunError;

use crate::escape::Escaped;

/// Why an application's main function ends without success: a message, and whose fault it is.
///
/// [`App`](crate::App) shows the message as one line on standard error. The process then ends with exit code 2 if what
/// the user asked for can't be had ([`Error::usage`], [`Error::listening`]), else with 1.
///
/// Every other error becomes a failure by `?`, with its sources. For that reason this type is no
/// [`std::error::Error`] itself.
pub struct Error {
    is_usage: bool,
    message: String,
}

impl Error {
    /// What the user asked for can't be had: exit code 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self { is_usage: true, message: message.to_string() }
    }

    /// Something went wrong while running: exit code 1.
    pub fn failure(message: impl fmt::Display) -> Self {
        Self { is_usage: false, message: message.to_string() }
    }

    /// One can't listen at `address`, or bind a socket to it, because of `cause`.
    ///
    /// That is the user's to mend, exit code 2, if the address is in use, is not available on this host, is
    /// malformed or does not exist, or if its use is not permitted; these are recognised in [`sunstar_net::Error`] and
    /// [`std::io::Error`], also among the sources of `cause`. Anything else is a failure.
    pub fn listening<E>(address: impl fmt::Display, cause: E) -> Self
    where
        E: StdError + 'static,
    {
        Self::about_address(format_args!("listen on {address}"), cause)
    }

    /// What one wants to do with an address is not possible because of `cause`, as for [`Error::listening`].
    pub(crate) fn about_address<E>(what: impl fmt::Display, cause: E) -> Self
    where
        E: StdError + 'static,
    {
        let is_usage = chain(&cause).any(is_refusal_of_address);
        Self { is_usage, message: format!("cannot {what}: {}", chained(&cause)) }
    }

    /// Whether what the user asked for can't be had, so that the exit code is 2.
    pub fn is_usage(&self) -> bool {
        self.is_usage
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_usage { "usage" } else { "failure" };
        write!(f, "{kind}: {}", self.message)
    }
}

impl<E> From<E> for Error
where
    E: StdError + 'static,
{
    fn from(error: E) -> Self {
        Self::failure(chained(&error))
    }
}

/// How an application ends.
pub(crate) enum Ending {
    /// In order.
    Done,
    /// With a text that was asked for, and nothing else.
    Shown(String),
    /// With one line about what went wrong.
    Failed(Error),
}

impl Ending {
    /// The ending of a runtime that did not come to its main function's end.
    pub(crate) fn of_runtime(error: RunError) -> Self {
        let is_usage = match &error {
            // Nobody had anything to finish.
            RunError::Stopped { listened: false, .. } => return Self::Done,
            RunError::Placement(_) => true,
            RunError::Start { source, .. } => {
                // So many shards need more descriptors than the process may have.
                let too_many = source.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error());
                too_many || matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported)
            }
            _ => false,
        };
        Self::Failed(if is_usage { Error::usage(error) } else { Error::failure(error) })
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Done | Self::Shown(_) => 0,
            Self::Failed(error) => 1 + u8::from(error.is_usage),
        }
    }

    /// What is to be seen on standard error: a line with its end.
    pub(crate) fn line(&self, application: &str) -> Option<String> {
        match self {
            Self::Failed(error) => Some(format!("{application}: error: {}\n", Escaped(&error.message))),
            Self::Done | Self::Shown(_) => None,
        }
    }
}

/// An error and its sources.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error: &&'a (dyn StdError + 'static)| error.source())
}

/// The messages of an error and its sources, without those that the one before ends in already.
fn chained(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    for message in chain(error).map(ToString::to_string) {
        if text.is_empty() {
            text = message;
        } else if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
    }
    text
}

fn is_refusal_of_address(error: &(dyn StdError + 'static)) -> bool {
    use sunstar_net::Error as Net;
    let by_net = |error: &Net| {
        matches!(
            error,
            Net::AddressInUse
                | Net::AddressNotAvailable
                | Net::PermissionDenied
                | Net::NotFound
                | Net::InvalidInput
                | Net::Unsupported
        )
    };
    let by_system = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::AddrInUse
                | io::ErrorKind::AddrNotAvailable
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotFound
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::Unsupported
        )
    };
    error.downcast_ref().is_some_and(by_net) || error.downcast_ref().is_some_and(by_system)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use sunstar_reactor::placement::PlacementError;

    #[derive(Debug, thiserror::Error)]
    #[error("shard 1 gave up")]
    struct Outer(#[source] sunstar_net::Error);

    #[test]
    fn addresses_that_cannot_be_had_are_the_users_to_mend() {
        let error = Error::listening("127.0.0.1:80", Outer(sunstar_net::Error::AddressInUse));
        assert!(error.is_usage());
        assert_eq!(error.to_string(), "cannot listen on 127.0.0.1:80: shard 1 gave up: the address is in use");
        assert!(Error::listening("[::]:80", io::Error::from(io::ErrorKind::PermissionDenied)).is_usage());
        assert!(!Error::listening("[::]:80", sunstar_net::Error::OutOfDescriptors).is_usage());
    }

    #[test]
    fn other_errors_are_failures() {
        let fails = || -> Result<(), Error> { Err(Outer(sunstar_net::Error::AddressInUse))? };
        let error = fails().expect_err("it fails");
        assert_eq!(format!("{error:?}"), "failure: shard 1 gave up: the address is in use");
    }

    #[test]
    fn endings_have_their_exit_codes() {
        let code = |error| Ending::of_runtime(error).exit_code();
        assert_eq!(code(RunError::Placement(PlacementError::NoShards)), 2);
        let start = |kind| RunError::Start { shard: 0, cpu: 0, action: "x", source: io::Error::from(kind) };
        assert_eq!(code(start(io::ErrorKind::PermissionDenied)), 2);
        assert_eq!(code(start(io::ErrorKind::OutOfMemory)), 1);
        let full = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert_eq!(code(RunError::Start { shard: 5, cpu: 0, action: "x", source: full }), 2);
        assert_eq!(code(RunError::MainPanicked(String::new())), 1);
        assert_eq!(code(RunError::Stopped { waited: Duration::ZERO, listened: true }), 1);
        assert_eq!(code(RunError::Stopped { waited: Duration::ZERO, listened: false }), 0);
    }

    #[test]
    fn the_line_is_one_line() {
        let line = Ending::Failed(Error::failure("a\nb")).line("x");
        assert_eq!(line.as_deref(), Some("x: error: a\\nb\n"));
    }
}
