//! Sending by a socket's ring.

use std::collections::VecDeque;
use std::io;

use rustix::io::Errno;
use sunstar_packet::{Buffer, BufferMut, Packet, Pool};

use super::chunks::Chunks;
use super::pieces;
use super::ring::{MORE, Piece};
use super::socket::Socket;
use crate::capabilities::Capabilities;
use crate::queue::{Counters, QueueError};

/// What is shorter is copied beside what must be: that costs less than one more piece.
const MIN_PIECE_BYTES: usize = 256;

/// Packets on their way into a socket's ring.
pub(super) struct Sending {
    /// The pieces of the packet that is being sent; empty between calls.
    pieces: Vec<Buffer>,
    /// Whether something was copied behind the headers of the packet that is sent next, where it lies from then on.
    is_joined: bool,
}

/// What packets are sent with.
pub(super) struct Means<'a> {
    pub(super) socket: &'a mut Socket,
    pub(super) chunks: &'a mut Chunks,
    pub(super) pool: &'a Pool,
    pub(super) capabilities: &'a Capabilities,
    pub(super) counters: &'a mut Counters,
    /// So many pieces may be put into the ring, if there is room for them.
    pub(super) limit: usize,
    /// Where their addresses are kept in order, if who has sent them has to find out what was sent.
    pub(super) out: Option<&'a mut VecDeque<u64>>,
}

/// Why packets were left behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Left {
    /// There are none left.
    Nothing,
    /// The ring is full.
    Full,
    /// As many pieces are out as may be.
    AtLimit,
    /// There is no frame to copy to.
    NoFrame,
}

/// What came of having the kernel send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flushed {
    Done,
    /// It takes nothing now.
    Refused,
    /// The interface is down.
    Down,
}

impl Sending {
    pub(super) fn new() -> Self {
        Self { pieces: Vec::with_capacity(pieces::MOST), is_joined: false }
    }

    /// Puts packets into the ring; answers how many were taken, and why no more.
    pub(super) fn put_all(&mut self, with: &mut Means<'_>, packets: &mut VecDeque<Packet>) -> (usize, Left) {
        let mut count = 0;
        while let Some(packet) = packets.front_mut() {
            let len = packet.len() as u64;
            if with.capabilities.check(packet).is_err() {
                with.counters.tx_refused += 1;
            } else {
                match self.put(with, packet) {
                    Left::Nothing => {
                        with.counters.tx_packets += 1;
                        with.counters.tx_bytes += len;
                    }
                    left => {
                        with.counters.tx_full += 1;
                        with.socket.tx.publish();
                        return (count, left);
                    }
                }
            }
            packets.pop_front();
            count += 1;
        }
        with.socket.tx.publish();
        (count, Left::Nothing)
    }

    /// Puts a packet, which the device can send, into the ring.
    fn put(&mut self, with: &mut Means<'_>, packet: &mut Packet) -> Left {
        if with.socket.tx.room(1) == 0 {
            return Left::Full;
        }
        let joined = packet.join_short(MIN_PIECE_BYTES, |buffer| with.chunks.has(buffer));
        with.counters.tx_copied_bytes += joined as u64;
        self.is_joined |= joined > 0;
        let put = match self.cut(with, packet) {
            Some(copied) => self.put_pieces(with, copied),
            None => Left::NoFrame,
        };
        self.pieces.clear();
        put
    }

    /// Puts the pieces of a packet into the ring, for which so many bytes were copied.
    fn put_pieces(&mut self, with: &mut Means<'_>, copied: usize) -> Left {
        let count = u32::try_from(self.pieces.len()).unwrap_or(u32::MAX);
        if self.pieces.len() > with.limit {
            return Left::AtLimit;
        }
        if with.socket.tx.room(count) < count {
            return Left::Full;
        }
        with.limit -= self.pieces.len();
        let mut left = self.pieces.len();
        for buffer in self.pieces.drain(..) {
            left -= 1;
            let len = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
            let address = with.chunks.send(buffer).expect("pieces are of this memory, and nobody receives into them");
            let options = if left > 0 { MORE } else { 0 };
            with.socket.tx.push(Piece { address, len, options });
            if let Some(out) = &mut with.out {
                out.push_back(address);
            }
        }
        let was_joined = std::mem::take(&mut self.is_joined);
        with.counters.tx_copies += u64::from(copied > 0 || was_joined);
        with.counters.tx_copied_bytes += copied as u64;
        Left::Nothing
    }

    /// Makes pieces of a packet: buffers in this memory, as they are, and copies of others. Answers how many bytes were copied; `None` if
    /// there is no frame for them.
    fn cut(&mut self, with: &Means<'_>, packet: &Packet) -> Option<usize> {
        let buffers = packet.buffers();
        let takes_pieces = takes_pieces(with, buffers);
        let mut copy: Option<BufferMut> = None;
        let mut copied = 0;
        for (place, buffer) in buffers.iter().enumerate() {
            let goes_along = copy.is_some() && buffer.len() < MIN_PIECE_BYTES;
            if takes_pieces && !goes_along && is_direct(with.chunks, buffers, place) {
                self.pieces.extend(copy.take().map(BufferMut::freeze));
                let mut rest = buffer.clone();
                while !rest.is_empty() {
                    self.pieces.push(with.chunks.split_piece(&mut rest));
                }
                continue;
            }
            if copy.is_none() {
                copy = Some(with.pool.take()?);
            }
            copy.as_mut()?.extend_from_slice(buffer).ok()?;
            copied += buffer.len();
        }
        self.pieces.extend(copy.map(BufferMut::freeze));
        Some(copied)
    }
}

/// Whether a buffer can be a piece of its own: it lies in this memory, and is not short and before what must be copied.
fn is_direct(chunks: &Chunks, buffers: &[Buffer], place: usize) -> bool {
    let [buffer, behind @ ..] = &buffers[place..] else { return false };
    chunks.has(buffer) && (buffer.len() >= MIN_PIECE_BYTES || behind.first().is_none_or(|next| chunks.has(next)))
}

/// Whether the kernel takes as many pieces as a packet may be, with copies between those that can be sent as they lie.
fn takes_pieces(with: &Means<'_>, buffers: &[Buffer]) -> bool {
    let pieces = |place| is_direct(with.chunks, buffers, place).then(|| with.chunks.pieces(&buffers[place]));
    pieces::count((0..buffers.len()).map(pieces)) <= with.socket.max_pieces
}

/// Has the kernel send what is in a socket's ring.
pub(super) fn flush(socket: &Socket) -> Result<Flushed, QueueError> {
    loop {
        let waiting = socket.tx.waiting();
        if waiting == 0 || !socket.tx.needs_wakeup() {
            return Ok(Flushed::Done);
        }
        match socket.kick() {
            Ok(()) | Err(Errno::AGAIN | Errno::BUSY | Errno::NOBUFS) => {}
            Err(Errno::NXIO) => return Err(QueueError::Gone),
            Err(Errno::NETDOWN) => return Ok(Flushed::Down),
            Err(error) => return Err(io::Error::from(error).into()),
        }
        // A device that has the frames itself goes on by itself. Else the kernel takes some at a time.
        if socket.is_zero_copy {
            return Ok(Flushed::Done);
        }
        if socket.tx.waiting() == waiting {
            return Ok(Flushed::Refused);
        }
    }
}
