//! Opening paths that may come from anybody, below a directory that none of them leads out of.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Once;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2, readlinkat};
use rustix::io::Errno;

/// Opening must not wait for the other end of a pipe, and a terminal must not become the process's.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// On the way nothing is opened but to go on from there, and no link is followed.
const STEP: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// No way out: neither by `..`, absolute paths and links, nor by what `/proc` shows of open files.
const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// While others rename what is on the way, the kernel asks to try again.
const ATTEMPTS: usize = 16;

/// A directory, and how paths are opened below it.
pub(super) struct Root {
    directory: OwnedFd,
    /// The kernel opens whole paths (`openat2`).
    is_whole: bool,
}

impl Root {
    /// Finds out whether the kernel opens whole paths, and tells the log once if it does not: it is older than 5.6, or a filter of
    /// system calls does not know the call, as in some containers.
    pub(super) fn new(directory: OwnedFd) -> Result<Self, Errno> {
        let root = Self { directory, is_whole: true };
        match root.open_whole(c".", ResolveFlags::empty()) {
            // Filters say either.
            Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => {}
            outcome => return outcome.map(|_| root),
        }
        let root = Self { is_whole: false, ..root };
        root.open_by_parts(c".")?;
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            log::warn!(
                "the kernel has no openat2 (Linux 5.6) or a filter of system calls forbids it: files are opened part by part of their \
                 paths, which is slower, and symbolic links and `..` in them are refused"
            );
        });
        Ok(root)
    }

    /// Whether the kernel opens whole paths.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Opens what the kernel needs no disk for.
    ///
    /// # Errors
    /// `EAGAIN` if it needs one; `EINVAL` if it can't be asked for that (before Linux 5.12).
    pub(super) fn open_cached(&self, path: &CStr) -> Result<OwnedFd, Errno> {
        self.open_whole(path, ResolveFlags::CACHED)
    }

    /// Opens what is at a path. It may wait for a disk.
    ///
    /// # Errors
    /// `EXDEV` or `ELOOP` if the path leads out, or may do so.
    pub(super) fn open(&self, path: &CStr) -> Result<OwnedFd, Errno> {
        let open =
            || if self.is_whole { self.open_whole(path, ResolveFlags::empty()) } else { self.open_by_parts(path) };
        let again = |opened: &Result<_, Errno>| matches!(opened, Err(Errno::AGAIN | Errno::INTR));
        (0..ATTEMPTS).map(|_| open()).find(|opened| !again(opened)).unwrap_or(Err(Errno::AGAIN))
    }

    fn open_whole(&self, path: &CStr, more: ResolveFlags) -> Result<OwnedFd, Errno> {
        openat2(&self.directory, path, READ, Mode::empty(), INSIDE | more)
    }

    /// Opens one directory after the other, none of them by a link, so that each lies in the one before.
    fn open_by_parts(&self, path: &CStr) -> Result<OwnedFd, Errno> {
        let path = path.to_bytes();
        if path.starts_with(b"/") {
            return Err(Errno::XDEV);
        }
        // What ends in a slash is a directory, as it is in front of a dot.
        let mut parts = path.split(|&byte| byte == b'/').map(|part| if part.is_empty() { b"." } else { part });
        let last = parts.next_back().unwrap_or(b".");
        let mut reached = None;
        for part in parts {
            let next = step(at(&self.directory, reached.as_ref()), part, STEP)?;
            reached = Some(next);
        }
        step(at(&self.directory, reached.as_ref()), last, READ.union(OFlags::NOFOLLOW))
    }
}

fn at<'a>(root: &'a OwnedFd, reached: Option<&'a OwnedFd>) -> BorrowedFd<'a> {
    reached.map_or(root.as_fd(), AsFd::as_fd)
}

/// Opens what has a name in a directory, unless it is a link or leads up.
fn step(directory: BorrowedFd<'_>, name: &[u8], how: OFlags) -> Result<OwnedFd, Errno> {
    if name == b".." {
        return Err(Errno::XDEV);
    }
    match openat(directory, name, how, Mode::empty()) {
        // So says the kernel of a link where it looks for a directory.
        Err(Errno::NOTDIR) if readlinkat(directory, name, Vec::new()).is_ok() => Err(Errno::LOOP),
        opened => opened,
    }
}
