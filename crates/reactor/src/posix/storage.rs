//! The kernel's files, opened below a directory.

use std::any::Any;
use std::cell::Cell;
use std::ffi::CString;
use std::fs::File;
use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use sunstar_packet::Buffer;
use sunstar_storage::platform::{DirectoryHandle, FileHandle, Storage, Wait};
use sunstar_storage::{Error, Identity, Kind, Metadata};

use crate::blocking::{BlockingError, blocking};

mod below;
#[cfg(test)]
mod tests;

use below::Root;

/// The kernel's files. What may wait for a disk is done by the shard's helper thread.
#[derive(Debug)]
pub(crate) struct PosixStorage;

impl Storage for PosixStorage {
    fn open_directory(&self, path: &[u8]) -> Wait<Rc<dyn DirectoryHandle>> {
        let Ok(path) = CString::new(path) else { return Wait::ready(Err(Error::NotFound)) };
        Wait::later(async move {
            let root = on_helper(move || {
                let root = open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
                root.and_then(Root::new).map_err(from_errno)
            });
            let root = root.await?;
            let directory = PosixDirectory { asks_cache: Cell::new(root.is_whole()), root: Arc::new(root) };
            Ok(Rc::new(directory) as Rc<dyn DirectoryHandle>)
        })
    }
}

struct PosixDirectory {
    /// Shared with the helper thread while it opens something.
    root: Arc<Root>,
    /// Whether the kernel can be asked to open only what it needs no disk for (Linux 5.12).
    asks_cache: Cell<bool>,
}

impl DirectoryHandle for PosixDirectory {
    fn open(&self, path: &[u8]) -> Wait<Rc<dyn FileHandle>> {
        let path = if path.is_empty() { b"." } else { path };
        let Ok(path) = CString::new(path) else { return Wait::ready(Err(Error::NotFound)) };
        if self.asks_cache.get() {
            match self.root.open_cached(&path) {
                Err(Errno::AGAIN) => {}
                Err(Errno::INVAL) => self.asks_cache.set(false),
                opened => return Wait::ready(PosixFile::opened(opened)),
            }
        }
        let root = Arc::clone(&self.root);
        Wait::later(async move {
            let opened = on_helper(move || Ok(root.open(&path)));
            PosixFile::opened(opened.await?)
        })
    }
}

/// A file or directory that is open.
struct PosixFile {
    /// What the drivers send from.
    file: Rc<File>,
    metadata: Metadata,
}

impl PosixFile {
    /// What was opened, if it is of a kind that is served.
    fn opened(opened: Result<OwnedFd, Errno>) -> Result<Rc<dyn FileHandle>, Error> {
        let descriptor = opened.map_err(from_errno)?;
        let stat = fstat(&descriptor).map_err(from_errno)?;
        let metadata = metadata(&stat).ok_or(Error::WrongKind)?;
        Ok(Rc::new(Self { file: Rc::new(File::from(descriptor)), metadata }))
    }
}

impl FileHandle for PosixFile {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn read_at(&self, offset: u64, len_bytes: usize) -> Wait<Buffer> {
        match read(&self.file, offset, len_bytes, ReadWriteFlags::NOWAIT) {
            // Not in memory, or the file system does not know; a part may be all there is, or all that is in memory.
            Err(Errno::AGAIN | Errno::OPNOTSUPP) => {}
            Ok(bytes) if bytes.len() < len_bytes && offset + (bytes.len() as u64) < self.metadata.len_bytes => {}
            outcome => return Wait::ready(outcome.map(Buffer::from).map_err(from_errno)),
        }
        // The helper thread may read after everybody here has lost interest, so it has a descriptor of its own.
        let file = match self.file.try_clone() {
            Ok(file) => file,
            Err(error) => return Wait::ready(Err(from_io(&error))),
        };
        Wait::later(async move {
            let bytes = on_helper(move || read_all(&file, offset, len_bytes).map_err(from_errno));
            bytes.await.map(Buffer::from)
        })
    }

    fn network_handle(&self) -> Option<Rc<dyn Any>> {
        Some(Rc::clone(&self.file) as Rc<dyn Any>)
    }
}

/// Reads once. Less than was asked for may come.
fn read(file: &File, offset: u64, len_bytes: usize, flags: ReadWriteFlags) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; len_bytes];
    let count = preadv2(file, &mut [IoSliceMut::new(&mut bytes)], offset, flags)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Reads until there is enough or no more.
fn read_all(file: &File, offset: u64, len_bytes: usize) -> Result<Vec<u8>, Errno> {
    let mut all = Vec::new();
    while all.len() < len_bytes {
        match read(file, offset + all.len() as u64, len_bytes - all.len(), ReadWriteFlags::empty()) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
            Ok(bytes) if bytes.is_empty() => break,
            Ok(bytes) => all.extend_from_slice(&bytes),
        }
    }
    Ok(all)
}

/// What is said of a file, if it is of a kind that is served.
fn metadata(stat: &Stat) -> Option<Metadata> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::Regular,
        FileType::Directory => Kind::Directory,
        _ => return None,
    };
    let identity = Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
        changed: since_1970(stat.st_ctime.try_into().ok(), stat.st_ctime_nsec.try_into().ok()),
    };
    Some(Metadata {
        kind,
        len_bytes: stat.st_size.try_into().unwrap_or_default(),
        modified: since_1970(stat.st_mtime.try_into().ok(), stat.st_mtime_nsec.try_into().ok()),
        identity,
    })
}

/// What was before 1970 is taken for its beginning.
fn since_1970(seconds: Option<u64>, nanos: Option<u32>) -> Duration {
    seconds.map_or(Duration::ZERO, |seconds| Duration::new(seconds, nanos.unwrap_or_default()))
}

/// Runs on the shard's helper thread.
async fn on_helper<R, F>(f: F) -> Result<R, Error>
where
    R: Send + 'static,
    F: FnOnce() -> Result<R, Error> + Send + 'static,
{
    match blocking(f).await {
        Ok(outcome) => outcome,
        Err(BlockingError::NoThread(error)) => Err(from_io(&error)),
        Err(BlockingError::Stopped | BlockingError::Panicked(_)) => Err(Error::Stopped),
    }
}

fn from_io(error: &std::io::Error) -> Error {
    Errno::from_io_error(error).map_or(Error::Unsupported, from_errno)
}

/// What an error of a system call means for a file.
fn from_errno(errno: Errno) -> Error {
    match errno {
        // A name that is too long is nobody's.
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => Error::NotFound,
        // The last two: the path leads out of the directory, or goes in circles or by a link that only the kernel has.
        Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::LOOP => Error::Denied,
        // Sockets and devices without a driver.
        Errno::NXIO | Errno::NODEV => Error::WrongKind,
        Errno::MFILE | Errno::NFILE => Error::OutOfDescriptors,
        Errno::NOSYS => Error::Unsupported,
        other => Error::Os(other.raw_os_error()),
    }
}
