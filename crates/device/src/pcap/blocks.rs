//! The blocks of a pcapng file (draft-ietf-opsawg-pcapng), little endian.

use sunstar_packet::Packet;

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET: u16 = 1;

const OPT_END: u16 = 0;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
const EPB_QUEUE: u16 = 6;

/// Bytes of an enhanced packet block beside the packet's own and their padding.
const PACKET_BLOCK_BYTES: usize = 28 + 8 + 8 + 4 + 4;

/// Which way a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Inbound = 1,
    Outbound = 2,
}

/// What stands at the begin of a file with packets of these interfaces.
pub(super) fn file_header(interfaces: &[&str], snap_bytes: u32) -> Vec<u8> {
    let mut out = Vec::new();
    block(&mut out, SECTION_HEADER, |out| {
        out.extend_from_slice(&BYTE_ORDER_MAGIC.to_le_bytes());
        // Version 1.0, of unknown length.
        out.extend_from_slice(&[1, 0, 0, 0]);
        out.extend_from_slice(&u64::MAX.to_le_bytes());
        option(out, SHB_USERAPPL, b"Sunstar");
        option(out, OPT_END, b"");
    });
    for interface in interfaces {
        block(&mut out, INTERFACE_DESCRIPTION, |out| {
            out.extend_from_slice(&LINKTYPE_ETHERNET.to_le_bytes());
            out.extend_from_slice(&[0; 2]);
            out.extend_from_slice(&snap_bytes.to_le_bytes());
            option(out, IF_NAME, interface.as_bytes());
            // Times count nanoseconds.
            option(out, IF_TSRESOL, &[9]);
            option(out, OPT_END, b"");
        });
    }
    out
}

/// How many bytes the block of a packet has, of which so many bytes are kept.
pub(super) const fn packet_bytes(kept: usize) -> usize {
    PACKET_BLOCK_BYTES + kept.next_multiple_of(4)
}

/// Where and when a packet was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Which of the file's interfaces.
    pub(super) interface: u32,
    pub(super) queue: u32,
    pub(super) way: Way,
    pub(super) unix_ns: u64,
}

/// Puts a packet behind what there is, with its first `kept` bytes.
pub(super) fn packet(out: &mut Vec<u8>, seen: Seen, packet: &Packet, kept: usize) {
    let Seen { interface, queue, way, unix_ns } = seen;
    block(out, ENHANCED_PACKET, |out| {
        out.extend_from_slice(&interface.to_le_bytes());
        let [a, b, c, d, high @ ..] = unix_ns.to_le_bytes();
        out.extend_from_slice(&high);
        out.extend_from_slice(&[a, b, c, d]);
        out.extend_from_slice(&saturated(kept).to_le_bytes());
        out.extend_from_slice(&saturated(packet.len()).to_le_bytes());
        let mut left = kept;
        for buffer in packet.buffers() {
            let part = &buffer[..buffer.len().min(left)];
            out.extend_from_slice(part);
            left -= part.len();
        }
        pad(out, kept);
        option(out, EPB_FLAGS, &(way as u32).to_le_bytes());
        option(out, EPB_QUEUE, &queue.to_le_bytes());
        option(out, OPT_END, b"");
    });
}

/// A block of that type, whose length stands before and behind its body.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = saturated(out.len() - begin + 4).to_le_bytes();
    out[begin + 4..begin + 8].copy_from_slice(&len);
    out.extend_from_slice(&len);
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&value[..usize::from(len)]);
    pad(out, usize::from(len));
}

/// Fills up to a multiple of four bytes.
fn pad(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&[0; 3][..len.next_multiple_of(4) - len]);
}

fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
