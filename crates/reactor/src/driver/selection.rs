//! Which backend a process uses.

use std::fmt;
use std::io;
use std::rc::Rc;

use super::epoll::EpollDriver;
use super::uring::UringDriver;
use super::{Backend, Driver};

/// The backend that was selected, and why.
#[derive(Debug)]
pub(crate) struct Selection {
    /// The backend.
    pub(crate) backend: Backend,
    why: Reason,
}

#[derive(Debug)]
enum Reason {
    AskedFor,
    ItWorks,
    /// This is why the better one does not work.
    Lacking(io::Error),
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reactor backend: {}, ", self.backend)?;
        match &self.why {
            Reason::AskedFor => f.write_str("as asked for"),
            Reason::ItWorks => f.write_str("which works here and costs the least"),
            Reason::Lacking(error) => write!(f, "since {} does not work here: {error}", Backend::IoUring),
        }
    }
}

/// Selects the backend by trying: it sets up all that a driver needs from the system, and lets it go.
///
/// # Errors
/// If the one that was `asked_for` does not work here.
pub(crate) fn select(asked_for: Option<Backend>) -> io::Result<Selection> {
    if let Some(backend) = asked_for {
        make(backend)?;
        return Ok(Selection { backend, why: Reason::AskedFor });
    }
    Ok(match make(Backend::IoUring) {
        Ok(_) => Selection { backend: Backend::IoUring, why: Reason::ItWorks },
        Err(error) => Selection { backend: Backend::Epoll, why: Reason::Lacking(error) },
    })
}

/// Makes a driver for the calling thread.
///
/// # Errors
/// If the backend does not work here.
pub(crate) fn make(backend: Backend) -> io::Result<Rc<dyn Driver>> {
    Ok(match backend {
        Backend::IoUring => Rc::new(UringDriver::new().map_err(explained)?),
        Backend::Epoll => Rc::new(EpollDriver::new()?),
    })
}

/// Says what the bare error number usually means here.
fn explained(error: io::Error) -> io::Error {
    let hint = match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES) => "the system or a container's profile forbids it",
        Some(libc::ENOMEM) => "the limit of locked memory (ulimit -l) is too small",
        Some(libc::EINVAL) => "the kernel is older than 6.1",
        _ => return error,
    };
    io::Error::new(error.kind(), format!("io_uring: {error}; {hint}"))
}
