//! What a platform must provide: the contract between files and whoever stores them.
//!
//! All methods are called on the shard that the storage was installed on. None blocks: what has to wait for a disk is a [`Wait`] that is
//! ready later. Dropping a [`Wait`] gives the operation up; what it opens all the same is closed.

use alloc::boxed::Box;
use alloc::rc::Rc;
use core::any::Any;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use sunstar_executor::local;
use sunstar_packet::Buffer;

use crate::error::Error;
use crate::metadata::Metadata;

/// The files of one shard.
pub trait Storage: 'static {
    /// Opens a directory by a path of the platform's, which is trusted.
    fn open_directory(&self, path: &[u8]) -> Wait<Rc<dyn DirectoryHandle>>;
}

/// A directory that is open.
pub trait DirectoryHandle: 'static {
    /// Opens what is at a relative path, which may come from anybody. An empty path is the directory itself.
    ///
    /// # Errors
    /// [`Error::Denied`] for paths that lead out, also by symbolic links. [`Error::WrongKind`] for what is neither a regular file nor a
    /// directory.
    fn open(&self, path: &[u8]) -> Wait<Rc<dyn FileHandle>>;
}

/// A file that is open for reading. It is closed when the last handle goes.
pub trait FileHandle: 'static {
    /// What it was when it was opened.
    fn metadata(&self) -> &Metadata;

    /// Reads up to `len_bytes` from `offset` on. Less comes only at the end of the file; nothing behind it.
    fn read_at(&self, offset: u64, len_bytes: usize) -> Wait<Buffer>;

    /// What the platform's network takes in `StreamSocket::enqueue_file`, if it takes files.
    fn network_handle(&self) -> Option<Rc<dyn Any>>;
}

/// The answer of a platform, at once or later.
pub struct Wait<T>(State<T>);

enum State<T> {
    Ready(Option<Result<T, Error>>),
    Pending(Pin<Box<dyn Future<Output = Result<T, Error>>>>),
}

impl<T> Wait<T> {
    /// An answer that is there.
    pub const fn ready(answer: Result<T, Error>) -> Self {
        Self(State::Ready(Some(answer)))
    }

    /// An answer that comes later.
    pub fn later(answer: impl Future<Output = Result<T, Error>> + 'static) -> Self {
        Self(State::Pending(Box::pin(answer)))
    }
}

impl<T: Unpin> Future for Wait<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Ready(answer) => Poll::Ready(answer.take().expect("a future is not polled after its end")),
            State::Pending(answer) => answer.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for Wait<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").finish_non_exhaustive()
    }
}

/// What a shard finds its storage by.
struct Installed(Rc<dyn Storage>);

/// Makes a storage the current shard's.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn install(storage: Rc<dyn Storage>) {
    local::set(Rc::new(Installed(storage)));
}

/// The current shard's storage.
///
/// # Errors
/// [`Error::Unsupported`] if none was installed.
///
/// # Panics
/// Outside of any shard.
#[track_caller]
pub fn storage() -> Result<Rc<dyn Storage>, Error> {
    local::get::<Installed>().map(|installed| Rc::clone(&installed.0)).ok_or(Error::Unsupported)
}
