//! Unix sockets by path: listening, also where a dead process has left one, and connecting.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

#[cfg(test)]
mod tests;

/// The longest path of a socket, in bytes (unix(7)).
pub(crate) const MAX_PATH_BYTES: usize = 107;

/// Why a socket can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// There is no path.
    #[error("a vhost-user device needs the path of a socket: vhost-user:PATH")]
    NoPath,
    /// The path is too long.
    #[error("{path:?} is no path of a socket: it may have {MAX_PATH_BYTES} bytes")]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// Somebody else listens there.
    #[error("{path:?} is in use: another process listens there")]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// There is something else.
    #[error("{path:?} is there already, and is no socket")]
    NotSocket {
        /// The path.
        path: PathBuf,
    },
    /// It may not be made, or not be connected to.
    #[error("no permission to use the socket {path:?}: {error}")]
    Permission {
        /// The path.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
    /// The folder is not there in which the socket is to be made.
    #[error("there is no folder for the socket {path:?}")]
    NoFolder {
        /// The path.
        path: PathBuf,
    },
    /// There is no socket to connect to.
    #[error("{path:?} is not there")]
    NotThere {
        /// The path.
        path: PathBuf,
    },
    /// The socket is there, and nobody listens.
    #[error("nobody listens at {path:?}")]
    NobodyListens {
        /// The path.
        path: PathBuf,
    },
    /// Somebody listens, before whom so many wait that there is no room for another one.
    #[error("{path:?} has too many who wait there to be served")]
    Busy {
        /// The path.
        path: PathBuf,
    },
    /// Something else.
    #[error("the socket {path:?}: {error}")]
    System {
        /// The path.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        error: io::Error,
    },
}

/// Checks that a socket can have that path.
///
/// # Errors
/// If it is empty, or too long.
pub(crate) fn check_path(path: &Path) -> Result<(), SocketError> {
    match path.as_os_str().len() {
        0 => Err(SocketError::NoPath),
        1..=MAX_PATH_BYTES => Ok(()),
        _ => Err(SocketError::TooLong { path: path.to_owned() }),
    }
}

/// Somebody who listens. Its file goes with it, unless somebody else has taken its place.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of its file.
    identity: (u64, u64),
}

impl Listener {
    /// Listens at a path. What a process that has died has left there is removed.
    ///
    /// # Errors
    /// [`SocketError`] says what is in the way.
    pub(crate) fn bind(path: &Path) -> Result<Self, SocketError> {
        check_path(path)?;
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path)?;
                UnixListener::bind(path)
            }
            result => result,
        };
        let listener = listener.map_err(|error| match refused(path, error) {
            SocketError::NotThere { path } => SocketError::NoFolder { path },
            error => error,
        })?;
        listener.set_nonblocking(true).map_err(|error| refused(path, error))?;
        let identity = identity(path).map_err(|error| refused(path, error))?;
        Ok(Self { listener, path: path.to_owned(), identity })
    }

    /// Whoever has connected, if anybody has. The connection does not block.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn accept(&self) -> io::Result<Option<OwnedFd>> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                Ok(Some(stream.into()))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            // Gone again before it was taken.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Connects to whoever listens at a path, without waiting until there is room. The connection does not block.
///
/// # Errors
/// [`SocketError`] says what is missing.
pub(crate) fn connect(path: &Path) -> Result<OwnedFd, SocketError> {
    check_path(path)?;
    connect_at_once(path).map_err(|error| refused(path, error))
}

/// A socket that blocks would wait for as long as whoever listens has no time.
fn connect_at_once(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Removes a socket at which nobody listens.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let kind = fs::symlink_metadata(path).map_err(|error| refused(path, error))?.file_type();
    if !kind.is_socket() {
        return Err(SocketError::NotSocket { path: path.to_owned() });
    }
    match connect_at_once(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            log::info!("{path:?} was left by a process that has ended, and is made anew");
            fs::remove_file(path).map_err(|error| refused(path, error))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(refused(path, error)),
        _ => Err(SocketError::InUse { path: path.to_owned() }),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// What it means that the system refuses.
fn refused(path: &Path, error: io::Error) -> SocketError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => SocketError::Permission { path, error },
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SocketError::NotThere { path },
        io::ErrorKind::ConnectionRefused => SocketError::NobodyListens { path },
        io::ErrorKind::AddrInUse => SocketError::InUse { path },
        io::ErrorKind::WouldBlock => SocketError::Busy { path },
        _ => SocketError::System { path, error },
    }
}
