//! Files in memory, for programs that serve them.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use sunstar_executor::timer::{sleep, unix_time};
use sunstar_packet::Buffer;
use sunstar_storage::platform::{self, DirectoryHandle, FileHandle, Storage, Wait};
use sunstar_storage::{Error, Identity, Kind, Metadata};

/// The files of a shard, all in memory. Clones are the same files.
///
/// There are regular files, and the directories that their paths name. Opening and reading take [`MemoryFiles::set_latency`] of the
/// virtual time.
#[derive(Clone, Default)]
pub struct MemoryFiles(Rc<Inner>);

#[derive(Default)]
struct Inner {
    files: RefCell<BTreeMap<Vec<u8>, Rc<Content>>>,
    latency: Cell<Duration>,
    next_number: Cell<u64>,
    open: Cell<usize>,
    is_opaque: Cell<bool>,
}

/// The bytes of a file, while it has a name or is open.
pub(crate) struct Content {
    bytes: RefCell<Vec<u8>>,
    inode: u64,
    modified: Cell<Duration>,
    /// The number of the last change.
    changed: Cell<u64>,
}

impl Content {
    /// So many bytes from `offset` on, or as many as there are.
    pub(crate) fn slice(&self, offset: u64, len_bytes: u64) -> Buffer {
        let bytes = self.bytes.borrow();
        let at = |place: u64| usize::try_from(place).map_or(bytes.len(), |place| place.min(bytes.len()));
        Buffer::copy_from_slice(&bytes[at(offset)..at(offset.saturating_add(len_bytes))])
    }
}

impl MemoryFiles {
    /// Makes them the current shard's.
    ///
    /// # Panics
    /// Outside of any shard.
    #[track_caller]
    pub fn install(&self) {
        platform::install(Rc::new(self.clone()));
    }

    /// Puts bytes into a file, in place of those that it has. Who has it open sees the new ones.
    ///
    /// # Panics
    /// Outside of any shard.
    pub fn write(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let number = self.number();
        let mut files = self.0.files.borrow_mut();
        let content = files.entry(path.as_bytes().to_vec()).or_insert_with(|| {
            let (bytes, modified) = (RefCell::default(), Cell::default());
            Rc::new(Content { bytes, inode: number, modified, changed: Cell::new(number) })
        });
        *content.bytes.borrow_mut() = bytes.into();
        content.modified.set(unix_time());
        content.changed.set(number);
    }

    /// Takes a file's name away. Who has it open keeps it.
    pub fn remove(&self, path: &str) {
        self.0.files.borrow_mut().remove(path.as_bytes());
    }

    /// How long opening and reading take. Without it they are done at once.
    pub fn set_latency(&self, latency: Duration) {
        self.0.latency.set(latency);
    }

    /// Whether the network takes files of this storage. It does unless this is called.
    pub fn set_known_to_network(&self, is_known: bool) {
        self.0.is_opaque.set(!is_known);
    }

    /// How many files are open.
    pub fn open_files(&self) -> usize {
        self.0.open.get()
    }

    fn number(&self) -> u64 {
        self.0.next_number.replace(self.0.next_number.get() + 1)
    }

    fn answer<T: 'static>(&self, answer: impl FnOnce() -> Result<T, Error> + 'static) -> Wait<T> {
        let latency = self.0.latency.get();
        if latency.is_zero() {
            return Wait::ready(answer());
        }
        Wait::later(async move {
            sleep(latency).await;
            answer()
        })
    }

    fn find(&self, path: &[u8]) -> Result<Rc<dyn FileHandle>, Error> {
        let path = normal(path)?;
        let files = self.0.files.borrow();
        let below = [path.as_slice(), b"/"].concat();
        let is_directory = path.is_empty() || files.keys().any(|name| name.starts_with(&below));
        let content = files.get(&path).map(Rc::clone);
        if content.is_none() && !is_directory {
            return Err(Error::NotFound);
        }
        self.0.open.set(self.0.open.get() + 1);
        Ok(Rc::new(MemoryFile { metadata: metadata(content.as_deref()), content, files: self.clone() }))
    }
}

impl std::fmt::Debug for MemoryFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryFiles").field("open", &self.0.open).finish_non_exhaustive()
    }
}

/// The path without `.` and `..`.
fn normal(path: &[u8]) -> Result<Vec<u8>, Error> {
    if path.starts_with(b"/") {
        return Err(Error::Denied);
    }
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|&byte| byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop().ok_or(Error::Denied)?),
            _ => segments.push(segment),
        }
    }
    Ok(segments.join(&b'/'))
}

fn metadata(content: Option<&Content>) -> Metadata {
    let identity = |content: &Content| Identity {
        device: 1,
        inode: content.inode,
        changed: Duration::from_nanos(content.changed.get()),
    };
    Metadata {
        kind: if content.is_some() { Kind::Regular } else { Kind::Directory },
        len_bytes: content.map_or(0, |content| content.bytes.borrow().len() as u64),
        modified: content.map_or(Duration::ZERO, |content| content.modified.get()),
        identity: content.map_or(Identity { device: 1, inode: 0, changed: Duration::ZERO }, identity),
    }
}

impl Storage for MemoryFiles {
    fn open_directory(&self, _path: &[u8]) -> Wait<Rc<dyn DirectoryHandle>> {
        let files = self.clone();
        self.answer(move || Ok(Rc::new(files) as Rc<dyn DirectoryHandle>))
    }
}

impl DirectoryHandle for MemoryFiles {
    fn open(&self, path: &[u8]) -> Wait<Rc<dyn FileHandle>> {
        let (files, path) = (self.clone(), path.to_vec());
        self.answer(move || files.find(&path))
    }
}

/// A file or directory that is open.
struct MemoryFile {
    /// None for a directory.
    content: Option<Rc<Content>>,
    metadata: Metadata,
    files: MemoryFiles,
}

impl FileHandle for MemoryFile {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn read_at(&self, offset: u64, len_bytes: usize) -> Wait<Buffer> {
        let Some(content) = self.content.clone() else { return Wait::ready(Err(Error::WrongKind)) };
        self.files.answer(move || Ok(content.slice(offset, len_bytes as u64)))
    }

    fn network_handle(&self) -> Option<Rc<dyn Any>> {
        let content = self.content.as_ref().filter(|_| !self.files.0.is_opaque.get())?;
        Some(Rc::clone(content) as Rc<dyn Any>)
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        self.files.0.open.set(self.files.0.open.get() - 1);
    }
}
