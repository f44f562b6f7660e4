//! How files are served.

use std::borrow::ToOwned;
use std::ops::RangeInclusive;
use std::string::String;

/// How files are served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FilesOptions {
    /// The file that is served for its directory, if any is. `index.html`, unless it is changed.
    pub index: Option<String>,
    /// The value of `Cache-Control`, if any is sent. None is, unless it is changed.
    pub cache_control: Option<String>,
    /// Whether files are served whose names, or directories' names, begin with a dot. They are not, unless this is changed; those below
    /// `.well-known` (RFC 8615) always are.
    pub dot_files: bool,
    /// Whether a file beside the one that is asked for, with the ending of a coding (`.zst`, `.br`, `.gz`), is sent in its place to clients
    /// that take it, for types of files that are worth compressing. Looking for them costs a system call or more per request.
    pub precompressed: bool,
    /// How many bytes a file has that is compressed while it is sent, if its type is worth it: 1 KiB to 8 MiB, unless it is changed. Smaller
    /// ones gain nothing, and larger ones cost much processor time, for each request anew. An empty range compresses nothing.
    pub compressed_bytes: RangeInclusive<u64>,
}

impl Default for FilesOptions {
    fn default() -> Self {
        Self {
            index: Some("index.html".to_owned()),
            cache_control: None,
            dot_files: false,
            precompressed: true,
            compressed_bytes: 1 << 10..=8 << 20,
        }
    }
}
