//! Unix sockets in the file system, which outlive their descriptor there.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Context, Poll};

use std::cell::Cell;

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketType, bind, connect};
use sunstar_net::socket::{DatagramSocket, Detached, ListenSocket};
use sunstar_net::{Address, Error};
use sunstar_packet::Buffer;

use super::error::from_errno;

/// A path that a socket was bound to. It is removed when this is dropped, unless something else is there by then.
#[derive(Debug)]
pub(super) struct BoundPath {
    path: PathBuf,
    /// Device and inode.
    identity: Option<(u64, u64)>,
}

/// Binds a socket to a path. A socket that is there and that nobody listens to is in nobody's way.
pub(super) fn bind_to(
    socket: BorrowedFd<'_>,
    path: &[u8],
    system: &SocketAddrAny,
    kind: SocketType,
) -> Result<BoundPath, Error> {
    let path = PathBuf::from(OsStr::from_bytes(path));
    match bind(socket, system) {
        Err(Errno::ADDRINUSE) if is_stale(&path, system, kind) => {
            // If somebody else removes it at the same time, binding says how that went.
            let _ = fs::remove_file(&path);
            bind(socket, system)
        }
        outcome => outcome,
    }
    .map_err(from_errno)?;
    let identity = identity(&path);
    Ok(BoundPath { path, identity })
}

/// Whether a path is a socket to which nobody listens.
fn is_stale(path: &Path, system: &SocketAddrAny, kind: SocketType) -> bool {
    // Connecting to a file that is no socket is refused as well.
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    is_socket && super::make(system, kind).is_ok_and(|probe| connect(probe, system) == Err(Errno::CONNREFUSED))
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Drop for BoundPath {
    fn drop(&mut self) {
        if self.identity.is_some() && self.identity == identity(&self.path) {
            // It is gone, or can't be removed; in neither case is there anything else to do.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A socket with the path that goes with it.
pub(super) struct AtPath<S: ?Sized> {
    path: Cell<Option<BoundPath>>,
    socket: Rc<S>,
}

impl<S: ?Sized> AtPath<S> {
    pub(super) fn new(socket: Rc<S>, path: BoundPath) -> Self {
        Self { path: Cell::new(Some(path)), socket }
    }
}

impl ListenSocket for AtPath<dyn ListenSocket> {
    fn local_address(&self) -> Result<Address, Error> {
        self.socket.local_address()
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<Detached, Error>> {
        self.socket.poll_accept(cx)
    }

    fn close(&self) {
        drop(self.path.take());
        self.socket.close();
    }
}

impl DatagramSocket for AtPath<dyn DatagramSocket> {
    fn local_address(&self) -> Result<Address, Error> {
        self.socket.local_address()
    }

    fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<Result<(Buffer, Address), Error>> {
        self.socket.poll_receive(cx)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.socket.poll_writable(cx)
    }

    fn enqueue(&self, bytes: Buffer, to: Option<&Address>) {
        self.socket.enqueue(bytes, to);
    }

    fn connect(&self, peer: &Address) -> Result<(), Error> {
        self.socket.connect(peer)
    }
}
