//! Parts of files that are to be sent; the same for all drivers.
//!
//! What is in memory is sent from there by the shard itself, which is the fastest. For what is not, the kernel would make the
//! shard wait for a disk, so it is read beside the shard first.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use rustix::fs::sendfile;
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::outgoing::FilePart;

#[cfg(test)]
mod tests;

/// The most bytes of a file that are sent by one system call, or read beside the shard before others get their turn.
pub(crate) const CHUNK_BYTES: u64 = 256 << 10;

/// How many chunks of one stream are sent before others get their turn.
pub(crate) const CHUNKS_AT_ONCE: usize = 4;

/// How far apart it is looked whether a file is in memory. The kernel reads ahead by larger pieces.
const SAMPLE_BYTES: u64 = 64 << 10;

/// How many bytes of a file are read at once to have them in memory.
const READ_BYTES: usize = 64 << 10;

/// How many bytes of the next chunk can be sent without waiting for a disk.
///
/// Samples tell: a gap between two of them, as memory pressure may leave it, is not seen.
pub(crate) fn resident_bytes(part: &FilePart) -> u64 {
    let len_bytes = part.len_bytes.min(CHUNK_BYTES);
    let samples = (0..len_bytes).step_by(SAMPLE_BYTES.try_into().expect("it is small"));
    let mut found = 0;
    for sample in samples {
        if !is_resident(&part.file, part.offset + sample) {
            return found;
        }
        found = sample + 1;
    }
    if found == len_bytes || is_resident(&part.file, part.offset + len_bytes - 1) { len_bytes } else { found }
}

/// Whether the byte at `offset` can be had without waiting, or what there is instead: an end or an error.
fn is_resident(file: &File, offset: u64) -> bool {
    let mut byte = [0];
    let slices = &mut [std::io::IoSliceMut::new(&mut byte)];
    // Some file systems can't say.
    !matches!(preadv2(file, slices, offset, ReadWriteFlags::NOWAIT), Err(Errno::AGAIN | Errno::OPNOTSUPP))
}

/// Sends up to `len_bytes` of what is next of a file, from where it is in memory. Zero says that the file has ended.
pub(crate) fn send(socket: BorrowedFd<'_>, part: &FilePart, len_bytes: u64) -> Result<u64, Errno> {
    let mut offset = part.offset;
    let len_bytes = len_bytes.min(CHUNK_BYTES).try_into().expect("a chunk is small");
    sendfile(socket, &*part.file, Some(&mut offset), len_bytes).map(|count| count as u64)
}

/// Waits until these bytes are in memory, or can't be had.
pub(crate) fn read_through(file: &File, mut offset: u64, mut len_bytes: u64) {
    let mut bytes = vec![0; READ_BYTES];
    while len_bytes > 0 {
        let room = bytes.len().min(usize::try_from(len_bytes).unwrap_or(usize::MAX));
        match file.read_at(&mut bytes[..room], offset) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Who sends it hears of it too.
            Ok(0) | Err(_) => return,
            Ok(count) => {
                offset += count as u64;
                len_bytes -= count as u64;
            }
        }
    }
}
