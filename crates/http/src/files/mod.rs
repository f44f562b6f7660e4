//! A handler that serves the files of a directory.

mod conditional;
mod media;
#[cfg(test)]
pub(crate) mod naive_conditional;
#[cfg(test)]
pub(crate) mod naive_path;
#[cfg(test)]
pub(crate) mod naive_range;
mod options;
mod path;
mod range;
mod representation;
mod respond;

use std::string::String;
use std::vec::Vec;

use sunstar_http1::{HeaderLines, HeaderName, Method, Request, Status};
use sunstar_storage::{Directory, Error as StorageError, File, Kind};

pub use options::FilesOptions;

use crate::error::Error;
use crate::exchange::Exchange;
use path::{PathError, Target};

/// Serves the files of a directory, to GET and HEAD; OPTIONS is told so. It belongs to its shard.
///
/// - **Paths** are decoded once and name files below the directory; no path leads out of it, whatever it has in it (see
///   [`sunstar_storage`]). Names are bytes and need not be UTF-8. `.` and `..`, empty segments, encoded slashes and NUL, and names that
///   begin with a dot are answered by 404, malformed encodings by 400. Only regular files are served.
/// - **Directories** are served by their index file, after a redirect to the path with a slash. They are never listed.
/// - **Conditions** (RFC 9110 §13) hold against a strong `ETag`, made of what identifies the file and its state, and `Last-Modified`.
///   For the 50 ms after a change it is weak, since the system may not tell that change from the next one.
/// - **Ranges** (§14) of up to 16 parts are answered by 206, those that overlap or touch as one; more are ignored.
/// - **Codings** (§8.4): what can be compressed and is neither too small nor too large is compressed while it is sent, if the client
///   likes it. Its `ETag` is weak and ranges of it are not served. A file beside it with the ending `.zst`, `.br` or `.gz` that is not
///   older is sent in its place, and has ranges and a strong tag of its own.
///
/// Files go from the system's cache to the network without passing through memory here; small ones are read and leave in one piece
/// with the response's head.
///
/// ```no_run
/// use sunstar_http::files::{Files, FilesOptions};
/// use sunstar_http::{Exchange, Request, Server};
///
/// # async fn start() -> Result<(), sunstar_storage::Error> {
/// let files = Files::open("/srv/www", FilesOptions::default()).await?;
/// let server = Server::new(async move |request: Request, exchange: &mut Exchange<'_>| files.serve(&request, request.path(), exchange).await);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Files {
    root: Directory,
    options: FilesOptions,
    /// What every file is sent with.
    lines: HeaderLines,
}

/// What a path leads to.
enum Found {
    File(File, Vec<u8>),
    /// A directory, whose path lacks the slash at its end.
    Directory,
}

/// Why a request gets no file.
#[derive(Clone, Copy)]
enum Refusal {
    Status(Status),
    Storage(StorageError),
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl Files {
    /// Serves the files below a directory of the current shard's storage.
    ///
    /// # Errors
    /// If the directory can't be opened; [`StorageError::Unsupported`] if the shard has no storage, or `cache_control` is no value of a
    /// header.
    ///
    /// # Panics
    /// When polled outside of any shard.
    pub async fn open(path: impl AsRef<[u8]>, options: FilesOptions) -> Result<Self, StorageError> {
        let mut lines = HeaderLines::new();
        let mut add = |name, value: &str| lines.add(name, value).map(drop).map_err(|_| StorageError::Unsupported);
        // What a browser thinks that it is does not matter.
        add(HeaderName::constant("X-Content-Type-Options"), "nosniff")?;
        if let Some(value) = &options.cache_control {
            add(HeaderName::CACHE_CONTROL, value)?;
        }
        Ok(Self { root: Directory::open(path).await?, options, lines })
    }

    /// Answers a request by the file at `path`, as it came in the request, behind what leads to the directory: with `/file/` for that,
    /// `/file/a%20b` asks for `a%20b`. A slash in front of it does not matter.
    ///
    /// # Errors
    /// If the request was answered already, the network fails, or the file fails when a part of it was sent. The connection ends then.
    pub async fn serve(&self, request: &Request, path: &[u8], exchange: &mut Exchange<'_>) -> Result<(), Error> {
        match request.method() {
            Method::Get | Method::Head => {}
            Method::Options => return respond::methods(Status::NO_CONTENT, exchange),
            _ => return respond::methods(Status::METHOD_NOT_ALLOWED, exchange),
        }
        let found = match path::decode(path, self.options.dot_files) {
            Err(PathError::Malformed) => Err(Refusal::Status(Status::BAD_REQUEST)),
            Err(PathError::Refused) => Err(Refusal::Status(Status::NOT_FOUND)),
            Ok(target) => self.find(target).await.map_err(Refusal::Storage),
        };
        match found {
            Ok(Found::File(file, path)) => self.serve_file(request, file, &path, exchange).await,
            Ok(Found::Directory) => respond::moved(request, exchange),
            Err(refusal) => respond::refuse(exchange, refusal),
        }
    }

    async fn find(&self, target: Target) -> Result<Found, StorageError> {
        let Target { mut path, is_directory } = target;
        if is_directory {
            // The directory itself need not be readable.
            let index: &String = self.options.index.as_ref().ok_or(StorageError::NotFound)?;
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(index.as_bytes());
            return Ok(Found::File(self.root.open_file(&path).await?, path));
        }
        let file = self.root.entry(&path).await?;
        Ok(match file.metadata().kind {
            Kind::Regular => Found::File(file, path),
            Kind::Directory => Found::Directory,
        })
    }
}
