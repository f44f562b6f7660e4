//! The memory that streams receive into.

use std::cell::RefCell;
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use rustix::net::SocketAddrAny;
use rustix::net::{RecvFlags, recv, recvfrom};
use sunstar_packet::{Buffer, BufferMut, Pool, PoolOptions};

use crate::io_stats::IoCounters;

/// The most bytes of a stream that are received at once.
pub(super) const FRAME_BYTES: usize = 16 << 10;

/// The most frames that are lent to readers. When they are out, what comes is copied to memory of its own size, so that
/// readers who hold small pieces of them for long hold up nobody.
const LIMIT_FRAMES: usize = 1024;

/// The longest datagram that is received; none over IP is longer.
const DATAGRAM_BYTES: usize = 64 << 10;

/// Frames, lent to readers.
pub(super) struct Frames {
    pool: Pool,
    /// Receives what is copied out; made when it is first needed.
    spare: RefCell<Option<BufferMut>>,
}

/// A received datagram, or the length of one that was too long.
pub(super) type Datagram = Result<(Buffer, Option<SocketAddrAny>), usize>;

impl Frames {
    pub(super) fn new() -> Self {
        let options = PoolOptions { frame_bytes: FRAME_BYTES, headroom_bytes: 0, limit_frames: LIMIT_FRAMES };
        Self { pool: Pool::new(options).expect("the frames are small"), spare: RefCell::new(None) }
    }

    /// How many frames are lent, and how many may be.
    pub(super) fn lent(&self) -> (usize, usize) {
        (self.pool.counters().in_use_frames, LIMIT_FRAMES)
    }

    /// Receives what is there, at most [`FRAME_BYTES`], without waiting; nothing if the stream has ended.
    pub(super) fn receive(&self, socket: BorrowedFd<'_>, counters: &IoCounters) -> Result<Buffer, Errno> {
        counters.system_calls.add(1);
        let bytes = match self.pool.take() {
            Some(mut frame) => {
                receive_into(socket, &mut frame)?;
                frame.freeze()
            }
            None => {
                let copy = self.with_spare(FRAME_BYTES, |spare| {
                    receive_into(socket, spare)?;
                    Ok(Buffer::copy_from_slice(spare))
                })?;
                counters.short_frames.add(1);
                counters.copied_out_bytes.add(copy.len() as u64);
                copy
            }
        };
        counters.received_bytes.add(bytes.len() as u64);
        Ok(bytes)
    }

    /// Receives a datagram without waiting. It is copied to memory of its own size, since any may be as long as the longest.
    pub(super) fn receive_datagram(&self, socket: BorrowedFd<'_>, counters: &IoCounters) -> Result<Datagram, Errno> {
        counters.system_calls.add(1);
        self.with_spare(DATAGRAM_BYTES, |spare| {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            let ((bytes, _), len_bytes, from) = recvfrom(socket, spare.spare(), flags)?;
            if len_bytes > bytes.len() {
                return Ok(Err(len_bytes));
            }
            counters.received_bytes.add(len_bytes as u64);
            Ok(Ok((Buffer::copy_from_slice(bytes), from)))
        })
    }

    /// Gives memory back that nobody uses.
    pub(super) fn free_unused_memory(&self) {
        self.pool.free_unused_memory();
        drop(self.spare.take());
    }

    /// Calls `f` with empty memory for at least so many bytes.
    fn with_spare<R>(&self, bytes: usize, f: impl FnOnce(&mut BufferMut) -> R) -> R {
        let mut spare = self.spare.borrow_mut();
        let spare = match &mut *spare {
            Some(spare) if spare.tailroom() + spare.len() >= bytes => spare,
            small => small.insert(BufferMut::with_capacity(0, bytes)),
        };
        spare.truncate(0);
        f(spare)
    }
}

fn receive_into(socket: BorrowedFd<'_>, memory: &mut BufferMut) -> Result<(), Errno> {
    let ((bytes, _), _) = recv(socket, memory.spare(), RecvFlags::DONTWAIT)?;
    let count = bytes.len();
    // SAFETY: these are the first bytes of the tail room, and the kernel has written them.
    unsafe { memory.advance_len(count) };
    Ok(())
}
