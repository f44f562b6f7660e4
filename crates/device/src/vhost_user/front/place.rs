//! Where front end and back end meet: a socket that one of them makes and the other one connects to.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::error::FrontError;
use super::options::FrontOptions;

/// How long the back end is left alone after an attempt to connect to it.
const RETRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The socket's path, and if this side has made it, the socket.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    listener: Option<UnixListener>,
    file: Option<SocketFile>,
}

/// The name of a socket that this side has made, which goes with the value.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Place {
    /// Makes the socket, if this side is to do that.
    pub(super) fn new(options: &FrontOptions) -> Result<Self, FrontError> {
        let path = options.path.clone();
        let listener = if options.is_server { Some(listen(&path)?) } else { None };
        let file = listener.is_some().then(|| SocketFile(path.clone()));
        Ok(Self { path, listener, file })
    }

    /// What removes the socket, for whoever ends last.
    pub(super) fn take_file(&mut self) -> Option<SocketFile> {
        self.file.take()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Connects, or waits until somebody does.
    pub(super) fn open(&self) -> Result<UnixStream, FrontError> {
        let Some(listener) = &self.listener else { return connect(&self.path) };
        log::info!("waiting for a back end to connect to {}", self.path.display());
        let accepted = listener.accept().map(|(stream, _)| stream);
        accepted.map_err(|error| system(&self.path, "accepting a connection", error))
    }

    /// Tries once to connect, or to accept, when there is reason to; nothing if `stop` became readable first.
    pub(super) fn reopen(&self, stop: BorrowedFd<'_>) -> Option<Result<UnixStream, FrontError>> {
        let Some(listener) = &self.listener else {
            return (!is_readable(stop, None, Some(&RETRY))).then(|| connect(&self.path));
        };
        (!is_readable(stop, Some(listener.as_fd()), None)).then(|| self.open())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Waits until `stop` or the other descriptor is readable, or the time is over; answers whether `stop` is.
pub(super) fn is_readable(stop: BorrowedFd<'_>, other: Option<BorrowedFd<'_>>, timeout: Option<&Timespec>) -> bool {
    let mut all = vec![PollFd::from_borrowed_fd(stop, PollFlags::IN)];
    all.extend(other.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    while poll(&mut all, timeout).is_err_and(|error| error == rustix::io::Errno::INTR) {}
    !all[0].revents().is_empty()
}

fn connect(path: &Path) -> Result<UnixStream, FrontError> {
    UnixStream::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FrontError::NoSocket { path: path.to_owned() },
        io::ErrorKind::ConnectionRefused if is_socket(path) => FrontError::Stale { path: path.to_owned() },
        io::ErrorKind::ConnectionRefused => FrontError::NotSocket { path: path.to_owned() },
        io::ErrorKind::PermissionDenied => FrontError::Permission { path: path.to_owned() },
        _ => system(path, "connecting", error),
    })
}

fn is_socket(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// Makes a socket, in the place of one at which nobody listens any more.
fn listen(path: &Path) -> Result<UnixListener, FrontError> {
    let bind = || {
        UnixListener::bind(path).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => FrontError::Busy { path: path.to_owned() },
            io::ErrorKind::PermissionDenied => FrontError::Permission { path: path.to_owned() },
            _ => system(path, "making the socket", error),
        })
    };
    match bind() {
        Err(FrontError::Busy { .. }) => {}
        other => return other,
    }
    match connect(path) {
        Ok(_) => Err(FrontError::Busy { path: path.to_owned() }),
        Err(FrontError::Stale { .. }) => {
            fs::remove_file(path).map_err(|error| system(path, "removing a socket that is left over", error))?;
            bind()
        }
        Err(error) => Err(error),
    }
}

fn system(path: &Path, what: &'static str, error: io::Error) -> FrontError {
    FrontError::System { path: path.to_owned(), what, error }
}
