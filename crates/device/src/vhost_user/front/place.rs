//! Where front end and back end meet: a socket that one of them makes and the other one connects to.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::error::FrontError;
use super::options::FrontOptions;
use crate::vhost_user::socket::{Listener, SocketError, connect};

/// How long the back end is left alone after an attempt to connect to it.
const RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The socket's path, and if this side has made it, the socket, which goes with the value.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    listener: Option<Listener>,
}

impl Place {
    /// Makes the socket, if this side is to do that.
    pub(super) fn new(options: &FrontOptions) -> Result<Self, FrontError> {
        let path = options.path.clone();
        let listener = if options.is_server { Some(Listener::bind(&path)?) } else { None };
        Ok(Self { path, listener })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Connects, or waits until somebody does.
    pub(super) fn open(&self) -> Result<UnixStream, FrontError> {
        let Some(listener) = &self.listener else { return self.connect() };
        log::info!("waiting for a back end to connect to {}", self.path.display());
        loop {
            wait(&mut [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)], None);
            if let Some(stream) = self.accept(listener)? {
                return Ok(stream);
            }
        }
    }

    /// Tries once to connect or to accept, when there is reason to. Nothing if nobody has come, or if `stop` became readable first.
    pub(super) fn reopen(&self, stop: BorrowedFd<'_>) -> Result<Option<UnixStream>, FrontError> {
        let Some(listener) = &self.listener else {
            let is_stopped = is_readable(stop, None, Some(&RETRY));
            return if is_stopped { Ok(None) } else { self.connect().map(Some) };
        };
        if is_readable(stop, Some(listener.as_fd()), None) { Ok(None) } else { self.accept(listener) }
    }

    /// Leaves those who connect alone for a while, since something has failed that might at once again. Whoever is connected to is left alone
    /// before each attempt.
    pub(super) fn rest(&self, stop: BorrowedFd<'_>) {
        if self.listener.is_some() {
            is_readable(stop, None, Some(&RETRY));
        }
    }

    fn connect(&self) -> Result<UnixStream, FrontError> {
        let stream = connect(&self.path).map_err(|error| match error {
            SocketError::NotThere { path } => FrontError::NoSocket { path },
            SocketError::NobodyListens { path } => FrontError::Stale { path },
            error => FrontError::Socket(error),
        });
        self.blocking(UnixStream::from(stream?))
    }

    fn accept(&self, listener: &Listener) -> Result<Option<UnixStream>, FrontError> {
        let failed = |error| FrontError::Socket(SocketError::System { path: self.path.clone(), error });
        let stream = listener.accept().map_err(failed)?;
        stream.map(|stream| self.blocking(UnixStream::from(stream))).transpose()
    }

    /// A session waits for its answers.
    fn blocking(&self, stream: UnixStream) -> Result<UnixStream, FrontError> {
        let failed = |error| FrontError::Socket(SocketError::System { path: self.path.clone(), error });
        stream.set_nonblocking(false).map_err(failed)?;
        Ok(stream)
    }
}

/// Waits until `stop` or the other descriptor is readable, or the time is over; answers whether `stop` is.
pub(super) fn is_readable(stop: BorrowedFd<'_>, other: Option<BorrowedFd<'_>>, timeout: Option<&Timespec>) -> bool {
    let mut all = vec![PollFd::from_borrowed_fd(stop, PollFlags::IN)];
    all.extend(other.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    wait(&mut all, timeout);
    !all[0].revents().is_empty()
}

fn wait(all: &mut [PollFd<'_>], timeout: Option<&Timespec>) {
    while poll(all, timeout).is_err_and(|error| error == rustix::io::Errno::INTR) {}
}
