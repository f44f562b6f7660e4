//! Changes to packets that somebody else may be looking at: what is changed is copied before, and counted.

use sunstar_packet::{Buffer, BufferMut, Checksum, CopyCounter, Packet};
use sunstar_wire::checksum::Sum;

#[cfg(test)]
mod tests;

/// Where the checksum lies in a UDP header, in which zero says that there is none.
const UDP_CSUM_OFFSET: u16 = 6;

/// The same packet once more; its bytes are shared.
pub(crate) fn duplicate(packet: &Packet) -> Packet {
    let mut twin = Packet::new();
    for buffer in packet.buffers() {
        twin.push_back(buffer.clone()).expect("it has as many buffers as the packet");
    }
    twin.offload = packet.offload;
    twin
}

/// Overwrites the bytes from `at` on, as far as the packet goes. The buffers in which they lie are copied.
pub(crate) fn overwrite(packet: Packet, at: usize, bytes: &[u8], copies: &CopyCounter) -> Packet {
    let offload = packet.offload;
    let mut changed = Packet::new();
    let mut begin = 0;
    for buffer in packet.into_buffers() {
        let end = begin + buffer.len();
        let (first, last) = (at.max(begin), (at + bytes.len()).min(end));
        let len = buffer.len();
        let buffer = if first < last {
            let mut copy = BufferMut::with_capacity(0, len);
            copy.extend_from_slice(&buffer).expect("it was made for so many bytes");
            copy[first - begin..last - begin].copy_from_slice(&bytes[first - at..last - at]);
            copies.count(len);
            copy.freeze()
        } else {
            buffer
        };
        changed.push_back(buffer).expect("it has as many buffers as the packet");
        begin = end;
    }
    changed.offload = offload;
    changed
}

/// Does what a device does that completes checksums, so that damage shows afterwards; a checksum that was verified must be verified
/// again.
pub(crate) fn complete_checksum(mut packet: Packet, copies: &CopyCounter) -> Packet {
    let Checksum::Partial { csum_start, csum_offset } = packet.offload.checksum else {
        packet.offload.checksum = Checksum::Complete;
        return packet;
    };
    packet.offload.checksum = Checksum::Complete;
    packet.offload.segmentation = None;
    let start = csum_start as usize;
    let sum = Sum::of_chain(from(packet.buffers(), start));
    let checksum = if csum_offset == UDP_CSUM_OFFSET { sum.udp_checksum() } else { sum.checksum() };
    overwrite(packet, start + usize::from(csum_offset), &checksum.to_be_bytes(), copies)
}

/// The bytes of a chain from `start` on.
fn from(buffers: &[Buffer], start: usize) -> impl Iterator<Item = &[u8]> {
    let mut skip = start;
    buffers.iter().map(move |buffer| {
        let skipped = skip.min(buffer.len());
        skip -= skipped;
        &buffer[skipped..]
    })
}
