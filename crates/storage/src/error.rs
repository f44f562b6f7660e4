//! What goes wrong with files.

use thiserror::Error as ThisError;

/// Why an operation on a file failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ThisError)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing of that name.
    #[error("there is no such file")]
    NotFound,
    /// The process may not open it, or the path leads out of the directory.
    #[error("permission denied, or the path leads outside")]
    Denied,
    /// It is neither a regular file nor a directory, or not the one of them that was asked for.
    #[error("it is not that kind of file")]
    WrongKind,
    /// The process or the system has no descriptor left.
    #[error("no descriptor is left")]
    OutOfDescriptors,
    /// The file is shorter than it was when it was opened.
    #[error("the file has become shorter")]
    Truncated,
    /// The shard has no storage, or the system lacks what it needs.
    #[error("not supported: the shard has no storage, or the system lacks what it needs")]
    Unsupported,
    /// The shard ends.
    #[error("stopped")]
    Stopped,
    /// Another error, by its number on this system.
    #[error("system error {0}")]
    Os(i32),
}
