//! Directories and files.

use alloc::rc::Rc;
use core::any::Any;
use core::fmt;

use sunstar_packet::Buffer;

use crate::error::Error;
use crate::metadata::{Kind, Metadata};
use crate::platform::{self, DirectoryHandle, FileHandle};

/// A directory that is open: the root of all paths that are opened by it. It belongs to its shard.
#[derive(Clone)]
pub struct Directory(Rc<dyn DirectoryHandle>);

impl Directory {
    /// Opens a directory by a path of the platform's. Dropping the future gives it up.
    ///
    /// # Errors
    /// What the platform says; [`Error::Unsupported`] if the shard has no storage.
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn open(path: impl AsRef<[u8]>) -> Result<Self, Error> {
        Ok(Self(platform::storage()?.open_directory(path.as_ref()).await?))
    }

    /// Opens what is at a relative path, a regular file or a directory. The path may come from anybody: it does not lead out of this
    /// directory, and nothing but regular files and directories is opened. Dropping the future gives it up.
    ///
    /// # Errors
    /// [`Error::Denied`] for what may not be read and for paths that lead out, also by symbolic links; [`Error::WrongKind`] for sockets,
    /// pipes and devices; what the platform says.
    pub async fn entry(&self, path: impl AsRef<[u8]>) -> Result<File, Error> {
        self.0.open(path.as_ref()).await.map(File)
    }

    /// As [`Directory::entry`], for regular files only.
    ///
    /// # Errors
    /// As for [`Directory::entry`], and [`Error::WrongKind`] for directories.
    pub async fn open_file(&self, path: impl AsRef<[u8]>) -> Result<File, Error> {
        let file = self.entry(path).await?;
        if file.metadata().kind == Kind::Regular { Ok(file) } else { Err(Error::WrongKind) }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").finish_non_exhaustive()
    }
}

/// A file that is open for reading; or a directory, of which nothing but its metadata can be had. It belongs to its shard.
#[derive(Clone)]
pub struct File(Rc<dyn FileHandle>);

impl File {
    /// What it was when it was opened. Others may change it at any time.
    pub fn metadata(&self) -> &Metadata {
        self.0.metadata()
    }

    /// Reads up to `len_bytes` from `offset` on. Less comes only at the end of the file; nothing behind it. Dropping the future
    /// gives it up.
    ///
    /// # Errors
    /// What the platform says.
    pub async fn read_at(&self, offset: u64, len_bytes: usize) -> Result<Buffer, Error> {
        self.0.read_at(offset, len_bytes).await
    }

    /// What the platform's network takes as a file to be sent, if it takes files; see `sunstar_net::Stream::send_file`.
    pub fn network_handle(&self) -> Option<Rc<dyn Any>> {
        self.0.network_handle()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File").field("metadata", self.metadata()).finish_non_exhaustive()
    }
}
