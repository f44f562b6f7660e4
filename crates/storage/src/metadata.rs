//! What is known of a file without reading it.

use core::time::Duration;

/// What a file was when it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Which kind of file it is.
    pub kind: Kind,
    /// Its size.
    pub len_bytes: u64,
    /// When its content was changed last, since 1970 began in Greenwich; 0 if that was before.
    pub modified: Duration,
    /// Which file it is, in which state.
    pub identity: Identity,
}

/// The kinds of files that can be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Bytes.
    Regular,
    /// Other files.
    Directory,
}

/// Tells files apart, and the states of a file.
///
/// Two that are equal are of the same bytes, as far as the file system's clock can tell: `changed` grows with every change,
/// also where [`Metadata::modified`] was set back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The number of the file system.
    pub device: u64,
    /// The number of the file there.
    pub inode: u64,
    /// When the file or what is known of it was changed last, since 1970.
    pub changed: Duration,
}
