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

/// Selects the backend by trying: it sets up all that the drivers of so many shards need from the system at the same time, and
/// lets it go. So what is enough for some shards only is found out before any of them starts.
///
/// # Errors
/// If the one that was `asked_for` does not work here.
pub(crate) fn select(asked_for: Option<Backend>, shards: usize) -> io::Result<Selection> {
    if let Some(backend) = asked_for {
        try_out(backend, shards)?;
        return Ok(Selection { backend, why: Reason::AskedFor });
    }
    Ok(match try_out(Backend::IoUring, shards) {
        Ok(()) => Selection { backend: Backend::IoUring, why: Reason::ItWorks },
        Err(error) => Selection { backend: Backend::Epoll, why: Reason::Lacking(error) },
    })
}

fn try_out(backend: Backend, shards: usize) -> io::Result<()> {
    (0..shards).map(|_| make(backend)).collect::<io::Result<Vec<_>>>().map(drop)
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
